//! What does every test need: a server, ways to call it, and what it logged.

use std::{
    fmt::Debug,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::ResourceSpans,
};
use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use proto::{
    common::v1::{ErrorReason, Role},
    identity::v1::EmployeeClientVisibility,
};
use service_kit::{
    auth::{Authenticator, Credential, Gate, ServiceSecrets},
    caller::{Actor, Facts},
    config::{Reflection, ServerSettings},
    error::Error,
    fields::Currency,
    limited,
    policy::{Access, Policy, Rule, rule},
    serve::{App, Bound, PoolFigures, Ready, serve},
    telemetry::{context, metrics::Metrics, spans::Spans},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, service::Routes, transport::Channel};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::SubscriberExt;

pub const SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";
/// The one method of the service.
pub const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// A method that exists only for those who are signed in.
pub const PRIVATE: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Private";
/// The one credential that stands for somebody.
pub const TOKEN: &str = "good";

/// What the handler does with the text that it is sent; its text is the answer.
pub type Behaviour = Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, Error>> + Send + Sync>;

/// A handler as a closure.
pub fn handler<F>(handle: impl Fn(String) -> F + Send + Sync + 'static) -> Behaviour
where
    F: Future<Output = Result<String, Error>> + Send + 'static,
{
    Arc::new(move |text| Box::pin(handle(text)))
}

/// Answers with what it was sent.
pub fn echo() -> Behaviour {
    handler(async |text| Ok(text))
}

/// A server that is running.
pub struct Server {
    pub address: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub stop: CancellationToken,
    pub served: JoinHandle<()>,
    pub ready: Arc<Switch>,
}

/// How a server shall be started.
pub struct Plan {
    pub settings: ServerSettings,
    pub routes: Routes,
    pub rules: &'static [Rule],
    pub spans: Option<Spans>,
}

impl Plan {
    pub fn new(behaviour: Behaviour) -> Self {
        Self::with(behaviour, |_| {})
    }

    /// With settings changed.
    pub fn with(behaviour: Behaviour, change: impl FnOnce(&mut ServerSettings)) -> Self {
        record_lines();
        let mut settings = ServerSettings::loopback();
        change(&mut settings);
        let service = TraceServiceServer::new(Handler(behaviour));
        let routes = Routes::new(limited!(service, &settings));
        Self { settings, routes, rules: RULES, spans: None }
    }

    pub async fn start(self) -> Server {
        let bound = Bound::bind(&self.settings).await.unwrap();
        let (address, admin) = (bound.address(), bound.admin_address());
        let stop = CancellationToken::new();
        let ready = Arc::new(Switch::default());
        let app = App {
            name: "test-service",
            routes: self.routes,
            pages: axum::Router::new(),
            gate: gate(self.rules, self.settings.reflection),
            descriptor: descriptor(),
            ready: Arc::clone(&ready) as Arc<dyn Ready>,
            metrics: Metrics::new("test-service"),
            background: Vec::new(),
            settle: None,
            spans: self.spans,
        };
        let token = stop.clone();
        let settings = self.settings;
        let served =
            tokio::spawn(async move { serve(app, bound, &settings, token).await.unwrap() });
        Server { address, admin, stop, served, ready }
    }
}

impl Server {
    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub async fn client(&self) -> TraceServiceClient<Channel> {
        TraceServiceClient::new(self.channel().await)
    }

    /// Calls with some text, and returns what was answered.
    pub async fn say(&self, text: &str) -> Result<String, Status> {
        answer_text(self.client().await.export(request(text)).await)
    }

    /// Sends a request that no generated client would send.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(request.version() == Version::HTTP_2)
            .build_http();
        let (mut head, body) = request.into_parts();
        head.uri = format!("http://{}{}", self.address, head.uri).parse().unwrap();
        let response = client.request(Request::from_parts(head, body)).await.unwrap();
        Answer::read(response).await
    }

    /// Sends bytes as the body of a gRPC call.
    pub async fn call_raw(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::post(path)
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    /// One page of an operator's port.
    pub async fn admin_page(&self, path: &str) -> Answer {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let uri = format!("http://{}{path}", self.admin.unwrap()).parse().unwrap();
        Answer::read(client.get(uri).await.unwrap()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Answer {
    pub async fn read<B>(response: http::Response<B>) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Debug>,
    {
        let (head, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Self { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers }
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).or_else(|| self.trailers.get(name));
        value.map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The status, wherever it stands.
    pub fn grpc_status(&self) -> Status {
        let found =
            if self.headers.contains_key("grpc-status") { &self.headers } else { &self.trailers };
        Status::from_header_map(found).unwrap()
    }

    /// Code, reason and message of the refusal.
    pub fn refusal(&self) -> (tonic::Code, String, String) {
        let status = self.grpc_status();
        (status.code(), reason_of(&status), status.message().to_owned())
    }
}

/// The reason in the trailer, which must be that in the details.
pub fn reason_of(status: &Status) -> String {
    use tonic_types::StatusExt;
    let reason = status.metadata().get("error-reason").unwrap().to_str().unwrap().to_owned();
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.as_str(), "clientele"));
    reason
}

/// A message that holds some text.
pub fn request(text: &str) -> ExportTraceServiceRequest {
    let spans = ResourceSpans { schema_url: text.to_owned(), ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

/// The text in an answer.
pub fn answer_text(
    answer: Result<Response<ExportTraceServiceResponse>, Status>,
) -> Result<String, Status> {
    answer.map(|answer| answer.into_inner().partial_success.unwrap_or_default().error_message)
}

/// A message as it stands in a body: flag, length, bytes.
pub fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    frame
}

/// A whole request body.
pub fn body(text: &str) -> Vec<u8> {
    framed(0, &request(text).encode_to_vec())
}

struct Handler(Behaviour);

#[tonic::async_trait]
impl TraceService for Handler {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans;
        let text = spans.first().map(|spans| spans.schema_url.clone()).unwrap_or_default();
        let error_message = (self.0)(text).await?;
        let partial_success = Some(ExportTracePartialSuccess { rejected_spans: 0, error_message });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

/// A database that can be switched off.
#[derive(Default)]
pub struct Switch(pub std::sync::atomic::AtomicBool);

#[tonic::async_trait]
impl Ready for Switch {
    async fn ready(&self) -> Result<(), String> {
        let off = self.0.load(std::sync::atomic::Ordering::SeqCst);
        if off { Err("switched off".to_owned()) } else { Ok(()) }
    }

    fn pool(&self) -> PoolFigures {
        PoolFigures { size: 8, idle: 5 }
    }
}

struct KnowsOneToken;

#[tonic::async_trait]
impl Authenticator for KnowsOneToken {
    async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error> {
        if credential.expose() != TOKEN {
            return Err(Error::Unauthenticated(ErrorReason::TokenInvalid));
        }
        Ok(Facts {
            account_id: 7,
            actor: Actor::Employee(1),
            role: Role::Employee,
            permissions: Vec::new(),
            default_currency: Currency::parse("CHF").unwrap(),
            time_zone: service_kit::caller::Tz::UTC,
            visibility: EmployeeClientVisibility::Account,
            session_id: None,
            account_closed: false,
        })
    }
}

const RULES: &[Rule] = &[rule(METHOD, Access::Public), rule(PRIVATE, Access::SignedIn)];

fn gate(rules: &[Rule], reflection: Reflection) -> Gate {
    Gate {
        policy: Policy::new(rules),
        authenticator: Arc::new(KnowsOneToken),
        service_secrets: ServiceSecrets::default(),
        reflection,
    }
}

/// The service, as far as the layers and reflection want to know it.
fn descriptor() -> &'static [u8] {
    static DESCRIPTOR: OnceLock<Vec<u8>> = OnceLock::new();
    DESCRIPTOR.get_or_init(|| {
        let method = |name: &str| MethodDescriptorProto {
            name: Some(name.to_owned()),
            input_type: Some(".google.protobuf.Empty".to_owned()),
            output_type: Some(".google.protobuf.Empty".to_owned()),
            ..MethodDescriptorProto::default()
        };
        let (package, service) = SERVICE.rsplit_once('.').unwrap();
        let service = ServiceDescriptorProto {
            name: Some(service.to_owned()),
            method: vec![method("Export"), method("Private")],
            ..ServiceDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("trace_service.proto".to_owned()),
            package: Some(package.to_owned()),
            service: vec![service],
            ..FileDescriptorProto::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    })
}

/// A line of the log, with what was known of its request.
#[derive(Debug, Clone, Default)]
pub struct Line {
    pub level: String,
    pub target: String,
    pub message: String,
    pub fields: Vec<(String, String)>,
    pub request_id: String,
}

impl Line {
    pub fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value)
    }
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// Every line that was logged about a request. Waits for the line of the call itself, which
/// is written a moment after its caller has the answer.
pub async fn lines_of(request_id: &str) -> Vec<Line> {
    for _ in 0..200 {
        let lines: Vec<_> = LINES
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.request_id == request_id)
            .cloned()
            .collect();
        if lines.iter().any(|line| line.target == "call") {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no line for {request_id}");
}

/// The line of the call itself.
pub async fn line_of(request_id: &str) -> Line {
    let lines = lines_of(request_id).await;
    let mut calls = lines.into_iter().filter(|line| line.target == "call");
    let line = calls.next().unwrap();
    assert!(calls.next().is_none(), "one line for each call");
    line
}

/// Everything logged so far, as one text.
pub fn whole_log() -> String {
    format!("{:?}", LINES.lock().unwrap())
}

/// Keeps what is logged, from now on.
pub fn record_lines() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let subscriber = tracing_subscriber::registry()
            .with(tracing_subscriber::EnvFilter::new("info,call=debug"))
            .with(Recorder);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

struct Recorder;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut line = Line {
            level: event.metadata().level().to_string(),
            target: event.metadata().target().to_owned(),
            request_id: context::current().map(|call| call.id().to_owned()).unwrap_or_default(),
            ..Line::default()
        };
        event.record(&mut line);
        LINES.lock().unwrap().push(line);
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name().to_owned(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name().to_owned(), value));
        }
    }
}
