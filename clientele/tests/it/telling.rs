//! What can those learn who look on?

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use proto::{crm::v1 as pb, identity::v1 as id};
use rustix::process::Signal;
use service_kit::testing::cluster;
use tonic::{Request, Response, Status};

use crate::{all_in_one, services::Services, support::folder};

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_log_is_json_where_that_is_set() {
    let database = cluster::empty_database().await;
    let mut services = Services::on(database.url.expose());
    services.identity.push(("LOG_FORMAT", "json".to_owned()));
    let identity = services.start_identity();
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();

    let call = identity.line_with("AuthService/SignUp");
    let lines: Vec<serde_json::Value> = identity
        .printed()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    assert!(lines.len() > 1, "its settings, and the call");
    let call: serde_json::Value = serde_json::from_str(&call).unwrap();
    assert_eq!(call["service"], "identity-service");
    assert_eq!(call["method"], "identity.v1.AuthService/SignUp");
    assert_eq!((&call["level"], &call["code"]), (&"INFO".into(), &"OK".into()));
    assert!(call["took_ms"].is_number() && call["request_id"].is_string(), "{call}");
}

/// Security checklist 59: whatever is called, and however much is logged.
#[tokio::test(flavor = "multi_thread")]
async fn no_credential_and_no_address_is_printed() {
    let database = cluster::empty_database().await;
    let letters = folder("letters");
    let mut services = Services::on(database.url.expose());
    services.identity.push(("IDENTITY_MAIL_FOLDER", letters.path().display().to_string()));
    for of in [&mut services.identity, &mut services.crm] {
        of.push(("LOG_LEVEL", "debug".to_owned()));
    }
    let (mut identity, mut crm) = (services.start_identity(), services.start_crm());
    let private = use_everything_private(&services, letters.path()).await;
    identity.line_with("AuthService/ResetPassword");
    crm.line_with("ClientService/CreateClient");
    for program in [&mut crm, &mut identity] {
        program.signal(Signal::TERM);
        assert!(program.ended().success());
        let printed = program.printed_until_its_end().to_lowercase();
        assert!(printed.contains("debug"), "much is logged");
        for text in &private {
            assert!(!printed.contains(&text.to_lowercase()), "{text} in:\n{printed}");
        }
    }
}

/// Calls with passwords, credentials, a code, addresses and numbers; returns them all.
async fn use_everything_private(services: &Services, letters: &Path) -> Vec<String> {
    const EMAIL: &str = "quillon@private.example";
    const PHONE: &str = "+44 20 7946 0958";
    const PASSWORDS: [&str; 3] = ["marmalade sandwich", "wrong umbrella", "another sandwich"];
    let mut caller = services.caller();
    let mut auth = caller.auth();
    let request = id::SignUpRequest {
        account: Some(id::SignUpAccount { name: "Acme".into(), ..Default::default() }),
        employee: Some(id::SignUpEmployee {
            email: EMAIL.into(),
            password: PASSWORDS[0].into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    caller.token = auth.sign_up(request).await.unwrap().into_inner().token;
    let wrong = id::LoginRequest { email: EMAIL.into(), password: PASSWORDS[1].into() };
    auth.login(wrong).await.unwrap_err();
    let request = id::IssueTokensRequest {
        email: EMAIL.into(),
        password: PASSWORDS[0].into(),
        ..Default::default()
    };
    let session = auth.issue_tokens(request).await.unwrap().into_inner();
    let refresh = id::RefreshTokensRequest { refresh_token: session.refresh_token.clone() };
    auth.refresh_tokens(refresh).await.unwrap();
    let me = id::Employee { phone_number: PHONE.into(), ..Default::default() };
    let update = id::UpdateMeRequest { employee: Some(me), ..Default::default() };
    auth.update_me(caller.signed(update)).await.unwrap();
    let client = pb::Client {
        first_name: "Cleo".into(),
        email: "cleo@private.example".into(),
        phone_number: PHONE.into(),
        ..Default::default()
    };
    let create = pb::CreateClientRequest { client: Some(client), ..Default::default() };
    caller.clients().create_client(caller.signed(create)).await.unwrap();

    let forgotten = id::RequestPasswordResetRequest { email: EMAIL.into(), ..Default::default() };
    auth.request_password_reset(forgotten).await.unwrap();
    let code = code_in_a_letter(letters).await;
    let reset = id::ResetPasswordRequest {
        code: code.clone(),
        new_password: PASSWORDS[2].into(),
        ..Default::default()
    };
    auth.reset_password(reset).await.unwrap();

    let mut private: Vec<String> = PASSWORDS.map(str::to_owned).into();
    private.extend([EMAIL, "cleo@private.example", PHONE].map(str::to_owned));
    private.extend([caller.token, session.access_token, session.refresh_token, code]);
    private
}

/// Waits for a letter with a code for a new password.
async fn code_in_a_letter(letters: &Path) -> String {
    let patience = Instant::now() + Duration::from_secs(90);
    while Instant::now() < patience {
        let files = fs::read_dir(letters).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        let mut words = texts
            .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>());
        if let Some(code) = words.find(|word| word.starts_with("clp_")) {
            return code;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no letter came");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_hand_one_trace_to_the_collector_that_is_set() {
    let collector = Collector::start().await;
    let database = cluster::empty_database().await;
    let mut services = Services::on(database.url.expose());
    for of in [&mut services.identity, &mut services.crm] {
        of.push(("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.clone()));
    }
    let (identity, crm) = (services.start_identity(), services.start_crm());
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();
    caller.list().await.unwrap();
    for mut program in [crm, identity] {
        program.signal(Signal::TERM);
        assert!(program.ended().success());
    }
    collector.assert_that_a_list_is_one_trace();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_all_in_one_hands_one_trace_to_the_collector_that_is_set() {
    let collector = Collector::start().await;
    let folder = folder("traces");
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str())];
    let (mut program, mut caller) = all_in_one::start(&folder.path().join("data"), &settings);
    caller.sign_up("ana").await.unwrap();
    caller.list().await.unwrap();
    program.signal(Signal::TERM);
    assert!(program.ended().success());
    collector.assert_that_a_list_is_one_trace();
}

/// A collector that keeps what it gets: each span with the name of its service.
struct Collector {
    endpoint: String,
    spans: Received,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<(String, Span)>>>);

impl Collector {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans = Received::default();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(spans.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        Self { endpoint, spans }
    }

    /// What crm did and what identity did for it, each told by the service itself.
    fn assert_that_a_list_is_one_trace(&self) {
        let list = self.span_of("crm-service", "crm.v1.ClientService/ListClients");
        let question = self.span_of("identity-service", "identity.v1.TokenService/ValidateToken");
        assert_eq!(list.trace_id.len(), 16);
        assert_eq!(question.trace_id, list.trace_id);
        assert_eq!(question.parent_span_id, list.span_id);
    }

    fn span_of(&self, service: &str, name: &str) -> Span {
        let spans = self.spans.0.lock().unwrap();
        let mut found = spans.iter().filter(|(of, span)| of == service && span.name == name);
        let (_, span) = found.next().unwrap_or_else(|| panic!("no {name} of {service}: {spans:?}"));
        assert!(found.next().is_none(), "one span for each call");
        span.clone()
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_service in request.into_inner().resource_spans {
            let attributes = of_service.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|pair| pair.key == "service.name");
            let Some(Value::StringValue(service)) =
                name.and_then(|name| name.value).and_then(|value| value.value)
            else {
                return Err(Status::invalid_argument("whose spans are these?"));
            };
            let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
