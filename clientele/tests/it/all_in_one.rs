//! `cargo run`: everything with one command.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use proto::identity::v1 as pb;
use rustix::process::{Signal, geteuid};
use service_kit::testing::cluster;

use crate::support::{Caller, Program, binary, folder, nobody};

/// Starts it on free ports, and finds out from what it prints whom to call.
pub fn start(data: &Path, settings: &[(&str, &str)]) -> (Program, Caller) {
    let program = Program::start("clientele", &[], &[&on_free_ports(data), settings].concat());
    let caller = caller_of(&program);
    (program, caller)
}

pub fn on_free_ports(data: &Path) -> [(&str, &str); 5] {
    [
        ("CLIENTELE_DATA_DIR", data.to_str().unwrap()),
        ("IDENTITY_LISTEN", "127.0.0.1:0"),
        ("CRM_LISTEN", "127.0.0.1:0"),
        ("IDENTITY_ADMIN_LISTEN", "off"),
        ("CRM_ADMIN_LISTEN", "off"),
    ]
}

pub fn caller_of(program: &Program) -> Caller {
    let line = program.line_with("Clientele is running");
    let address = |service: &str| {
        let rest = line.split(&format!("{service} on ")).nth(1).unwrap();
        rest.split([',', ' ']).next().unwrap().trim_end_matches('.').to_owned()
    };
    Caller::new(&address("identity-service"), &address("crm-service"))
}

/// The process of the private PostgreSQL, while there is one.
fn postgres(data: &Path) -> Option<String> {
    let pid = fs::read_to_string(data.join("postgres/cluster/postmaster.pid")).ok()?;
    let pid = pid.lines().next()?.to_owned();
    Path::new("/proc").join(&pid).exists().then_some(pid)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_start_is_enough_for_a_first_call_and_nothing_is_left_running() {
    let folder = folder("all-in-one");
    for (name, signal) in [("term", Signal::TERM), ("int", Signal::INT)] {
        let data = folder.path().join(name);
        let (mut program, mut caller) = start(&data, &[]);
        caller.sign_up("ana").await.unwrap();
        caller.create("Ada", "").await.unwrap();
        assert_eq!(caller.list().await.unwrap().len(), 1);
        assert!(postgres(&data).is_some());
        program.signal(signal);
        assert!(program.ended().success());
        assert_eq!(postgres(&data), None);
        assert!(caller.list().await.is_err());
    }
}

/// Without a mail server nobody has to look for a letter.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_file_of_each_letter_and_the_code_in_it_is_good() {
    let folder = folder("letters-by-default");
    let data = folder.path().join("data");
    let (program, mut caller) = start(&data, &[]);
    caller.sign_up("ana").await.unwrap();
    let email = "ana@example.com".to_owned();
    let code = code_of(&program.line_with("wrote a letter"), &data, "clv_");
    let request = pb::VerifyEmailRequest { code, ..Default::default() };
    let verified = caller.auth().verify_email(request).await.unwrap();
    assert_eq!(verified.into_inner().email, email);

    let request = pb::RequestPasswordResetRequest { email: email.clone(), ..Default::default() };
    caller.auth().request_password_reset(request).await.unwrap();
    let code = code_of(&program.line_with("wrote a letter"), &data, "clp_");
    let password = "a sandwich with cheese";
    let new_password = password.to_owned();
    let request = pb::ResetPasswordRequest { code, new_password, ..Default::default() };
    caller.auth().reset_password(request).await.unwrap();
    caller.log_in("ana").await.unwrap_err();
    let request = pb::LoginRequest { email, password: password.to_owned() };
    caller.auth().login(request).await.unwrap();
}

/// The code of a kind in the letter whose file a line of the log names.
fn code_of(line: &str, data: &Path, kind: &str) -> String {
    let path = line.split_once("path=").unwrap().1.split_whitespace().next().unwrap();
    assert_eq!(Path::new(path).parent(), Some(&*data.join("mail")), "{line}");
    let letter = fs::read_to_string(path).unwrap();
    letter.split_whitespace().find(|word| word.starts_with(kind)).expect(&letter).to_owned()
}

/// Whoever runs the tests as root has tried only that with all the others; whoever runs them as
/// somebody else has tried this one with each of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_user_starts_it_twice_with_everything_of_their_own() {
    if !geteuid().is_root() {
        return;
    }
    let user = nobody();
    let folder = folder("ordinary");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
    // Where it was built may be closed to others.
    let program = folder.path().join("clientele");
    fs::copy(binary("clientele"), &program).unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(user.uid), Some(user.gid)).unwrap();
    let data = home.join("data");
    let settings = [&on_free_ports(&data)[..], &[("HOME", home.to_str().unwrap())]].concat();

    for start in 1..=2 {
        let mut program = Program::start_as(&user, &program, &settings);
        let mut caller = caller_of(&program);
        caller.sign_up(&format!("ana{start}")).await.unwrap();
        caller.create("Ada", "").await.unwrap();
        assert_eq!(caller.list().await.unwrap().len(), 1);
        let postgres_process = Path::new("/proc").join(postgres(&data).unwrap());
        assert_eq!(fs::metadata(postgres_process).unwrap().uid(), user.uid);
        program.signal(Signal::TERM);
        assert!(program.ended().success());
        assert_eq!(postgres(&data), None);
    }
    assert_eq!(fs::metadata(&data).unwrap().uid(), user.uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_is_there_after_an_end_of_any_kind() {
    let folder = folder("restart");
    let data = folder.path().join("data");
    let (mut program, mut caller) = start(&data, &[]);
    caller.sign_up("ana").await.unwrap();
    caller.create("Ada", "").await.unwrap();
    let token = caller.token;
    program.kill();

    let (mut program, mut caller) = start(&data, &[]);
    caller.log_in("ana").await.unwrap();
    assert_eq!(caller.token, token, "the keys were kept too");
    assert_eq!(caller.list().await.unwrap().len(), 1);
    program.signal(Signal::TERM);
    assert!(program.ended().success());

    let (_program, mut caller) = start(&data, &[]);
    caller.log_in("ana").await.unwrap();
    assert_eq!((caller.token.as_str(), caller.list().await.unwrap().len()), (token.as_str(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_servers_are_used_instead_with_one_database_or_two() {
    let folder = folder("existing");
    let (one, other) = (cluster::empty_database().await, cluster::empty_database().await);
    let (one, other) = (one.url.expose(), other.url.expose());
    let (third, fourth) = (cluster::empty_database().await, cluster::empty_database().await);
    let combinations: [&[(&str, &str)]; 4] = [
        &[("DATABASE_URL", one)],
        &[("IDENTITY_DATABASE_URL", one), ("CRM_DATABASE_URL", other)],
        &[("IDENTITY_DATABASE_URL", other), ("DATABASE_URL", third.url.expose())],
        // The other one is private.
        &[("CRM_DATABASE_URL", fourth.url.expose())],
    ];
    for (number, settings) in combinations.into_iter().enumerate() {
        let data = folder.path().join(number.to_string());
        let (_program, mut caller) = start(&data, settings);
        let name = format!("ana{number}");
        caller.sign_up(&name).await.unwrap();
        caller.create("Ada", "").await.unwrap();
        assert_eq!(caller.list().await.unwrap().len(), 1, "{number}");
        assert_eq!(postgres(&data).is_some(), number == 3, "{number}");
    }
}
