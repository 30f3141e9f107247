//! What can those learn who look on?

use std::{
    path::Path,
    sync::{Arc, Mutex},
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
use service_kit::testing::{cluster, http};
use tonic::{Request, Response, Status};

use crate::{
    all_in_one,
    services::{Services, free_address, settings},
    support::{code_in_a_letter, folder, run_with},
};

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
    let figures = [free_address(), free_address()];
    for (of, name, address) in [
        (&mut services.identity, "IDENTITY_ADMIN_LISTEN", &figures[0]),
        (&mut services.crm, "CRM_ADMIN_LISTEN", &figures[1]),
    ] {
        of.retain(|(set, _)| *set != name);
        of.push((name, address.clone()));
    }
    let (mut identity, mut crm) = (services.start_identity(), services.start_crm());
    let private = use_everything_private(&services, letters.path()).await;
    identity.line_with("AuthService/ChangeEmail");
    crm.line_with("ClientService/CreateClient");
    for address in figures {
        let page = http::get(&address, "/metrics").await.to_lowercase();
        assert!(page.contains("rpc_"), "{page}");
        for text in &private {
            assert!(!page.contains(&text.to_lowercase()), "{text} in:\n{page}");
        }
    }
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

/// Calls and commands with passwords, credentials, codes, addresses and numbers; returns them all.
async fn use_everything_private(services: &Services, letters: &Path) -> Vec<String> {
    const EMAIL: &str = "quillon@private.example";
    const PHONE: &str = "+44 20 7946 0958";
    const PASSWORDS: [&str; 6] = [
        "marmalade sandwich",
        "wrong umbrella",
        "another sandwich",
        "guest's sandwich",
        "the last sandwich",
        "operator's sandwich",
    ];
    const OTHERS: [&str; 4] = [
        "cleo@private.example",
        "guest@private.example",
        "quillon@moved.example",
        "operator@private.example",
    ];
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
        email: OTHERS[0].into(),
        phone_number: PHONE.into(),
        ..Default::default()
    };
    let create = pb::CreateClientRequest { client: Some(client), ..Default::default() };
    caller.clients().create_client(caller.signed(create)).await.unwrap();

    let verification = code_in_a_letter(letters, "clv_").await;
    let verify = id::VerifyEmailRequest { code: verification.clone(), ..Default::default() };
    auth.verify_email(verify).await.unwrap();
    let forgotten = id::RequestPasswordResetRequest { email: EMAIL.into(), ..Default::default() };
    auth.request_password_reset(forgotten).await.unwrap();
    let code = code_in_a_letter(letters, "clp_").await;
    let reset = id::ResetPasswordRequest {
        code: code.clone(),
        new_password: PASSWORDS[2].into(),
        ..Default::default()
    };
    auth.reset_password(reset).await.unwrap();
    let mut private: Vec<String> = PASSWORDS.map(str::to_owned).into();
    private.extend(OTHERS.map(str::to_owned));
    private.extend([EMAIL, PHONE].map(str::to_owned));
    private.extend([session.access_token, session.refresh_token, verification, code]);
    private.push(std::mem::take(&mut caller.token));

    let login = id::LoginRequest { email: EMAIL.into(), password: PASSWORDS[2].into() };
    caller.token = auth.login(login).await.unwrap().into_inner().token;
    private.push(caller.token.clone());
    let api_key = Some(id::ApiKey { name: "Robot".into(), ..Default::default() });
    let create = id::CreateApiKeyRequest { api_key, ..Default::default() };
    let made = caller.api_keys().create_api_key(caller.signed(create)).await.unwrap();
    let mut program = caller.clone();
    program.token = made.into_inner().secret;
    let list = program.signed(id::ListEmployeesRequest::default());
    program.employees().list_employees(list).await.unwrap();
    let invitation = Some(id::Invitation { email: OTHERS[1].into(), ..Default::default() });
    let invite = id::InviteEmployeeRequest { invitation, ..Default::default() };
    caller.employees().invite_employee(caller.signed(invite)).await.unwrap();
    let join = code_in_a_letter(letters, "cli_").await;
    let (code, password) = (join.clone(), PASSWORDS[3].into());
    let accept = id::AcceptInviteRequest { code, password, ..Default::default() };
    private.push(auth.accept_invite(accept).await.unwrap().into_inner().token);
    private.extend([program.token, join]);

    let (old_password, new_password) = (PASSWORDS[2].into(), PASSWORDS[4].into());
    let change = id::ChangePasswordRequest { old_password, new_password };
    let changed = auth.change_password(caller.signed(change)).await.unwrap().into_inner();
    caller.token = changed.token;
    let (password, new_email) = (PASSWORDS[4].into(), OTHERS[2].into());
    let change = id::ChangeEmailRequest { password, new_email, ..Default::default() };
    auth.change_email(caller.signed(change)).await.unwrap();
    private.push(caller.token);

    let new = ["create-super-admin", "--email", OTHERS[3], "--account-name", "Acme"];
    let own = settings(&services.identity);
    let said = run_with(&format!("{}\n", PASSWORDS[5]), "identity-service", &new, &own);
    assert!(private.iter().all(|text| !said.contains(text)), "{said}");
    private
}

/// Security checklist 59: nor is it in what a collector gets.
#[tokio::test(flavor = "multi_thread")]
async fn no_credential_and_no_address_is_in_a_trace() {
    let collector = Collector::start().await;
    let database = cluster::empty_database().await;
    let letters = folder("letters");
    let mut services = Services::on(database.url.expose());
    services.identity.push(("IDENTITY_MAIL_FOLDER", letters.path().display().to_string()));
    for of in [&mut services.identity, &mut services.crm] {
        of.push(("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.clone()));
        of.push(("LOG_LEVEL", "debug".to_owned()));
    }
    let programs = [services.start_identity(), services.start_crm()];
    let private = use_everything_private(&services, letters.path()).await;
    for mut program in programs.into_iter().rev() {
        program.signal(Signal::TERM);
        assert!(program.ended().success());
    }
    collector.span_of("crm-service", "crm.v1.ClientService/CreateClient");
    let spans = format!("{:?}", collector.spans.0.lock().unwrap()).to_lowercase();
    assert!(spans.contains("authservice/changeemail"), "{spans}");
    for text in &private {
        assert!(!spans.contains(&text.to_lowercase()), "{text} in:\n{spans}");
    }
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
