//! What does a caller see of a panic, and what the log?

use std::{env, panic::catch_unwind, process::Command};

use service_kit::{
    config::{LogFormat, TelemetrySettings},
    error::Error,
    telemetry,
};
use tonic::Code;

use crate::harness::{METHOD, Plan, body, handler, lines_of};

/// Security checklist 53.
#[tokio::test]
async fn a_panic_is_an_internal_error_with_the_request_id_and_nothing_else() {
    let server = Plan::new(handler(async |text| {
        assert!(text != "boom", "secret-{text}");
        Ok::<_, Error>(text)
    }))
    .start()
    .await;
    let answer = server.call_raw(METHOD, &[("x-request-id", "panic-1")], body("boom")).await;
    let (code, reason, message) = answer.refusal();
    assert_eq!((code, reason.as_str()), (Code::Internal, "INTERNAL"));
    assert_eq!(message, "Internal error. Request id: panic-1");
    assert_eq!(answer.header("x-request-id"), "panic-1");
    assert_eq!(server.say("fine").await.unwrap(), "fine", "others are served");

    let lines = lines_of("panic-1").await;
    let call = lines.iter().find(|line| line.target == "call").unwrap();
    assert_eq!(call.level, "ERROR");
    assert!(!format!("{lines:?}").contains("secret-boom"));
}

/// Set in the process that is there to panic: what it was sent.
const SENT: &str = "SENT_TO_A_PROCESS_THAT_PANICS";

/// Security checklist 59.
///
/// The hook is that of a whole process, so that another one has to panic: this test itself,
/// started again.
#[tokio::test]
async fn the_log_says_where_a_panic_was_and_nothing_of_what_was_sent() {
    if let Ok(sent) = env::var(SENT) {
        return panic_twice(&sent);
    }
    let name = "panics::the_log_says_where_a_panic_was_and_nothing_of_what_was_sent";
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env(SENT, "s3cret");
    let output = again.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let panics: Vec<_> = printed.lines().filter(|line| line.contains("panics.rs:")).collect();
    assert_eq!(panics.len(), 2, "{printed}");
    assert!(panics[0].contains("ERROR") && panics[0].contains("(withheld)"), "{printed}");
    assert!(panics[1].contains("words of the source"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
}

fn panic_twice(sent: &str) {
    let settings = TelemetrySettings {
        service: "panics",
        format: LogFormat::Text,
        filter: "info".to_owned(),
        otlp_endpoint: None,
    };
    let _log = telemetry::init(&settings).unwrap();
    catch_unwind(|| panic!("it was sent {sent}")).unwrap_err();
    catch_unwind(|| panic!("words of the source")).unwrap_err();
}
