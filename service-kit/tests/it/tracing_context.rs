//! Do the spans of several services make one trace?

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use service_kit::{
    config::{LogFormat, TelemetrySettings},
    error::Error,
    telemetry::{self, TelemetryGuard, context},
};
use tonic::{Response, Status};

use crate::harness::{METHOD, Plan, body, echo, handler, lines_of, request};

/// A collector that keeps what it gets: each span with the name of its service.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_service in request.into_inner().resource_spans {
            let attributes = of_service.resource.unwrap().attributes;
            let name = attributes.iter().find(|pair| pair.key == "service.name").unwrap();
            let Some(Value::StringValue(service)) = name.value.clone().unwrap().value else {
                panic!()
            };
            let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts, and says where.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let service = TraceServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        endpoint
    }

    fn span_of(&self, service: &str) -> Span {
        let spans = self.0.lock().unwrap();
        let mut found = spans.iter().filter(|(name, _)| name == service);
        let span = found.next().unwrap_or_else(|| panic!("no span of {service}"));
        assert!(found.next().is_none(), "one span for each call");
        span.1.clone()
    }
}

fn telemetry(service: &'static str, endpoint: &str) -> TelemetryGuard {
    crate::harness::record_lines();
    let settings = TelemetrySettings {
        service,
        format: LogFormat::Text,
        filter: "info".to_owned(),
        otlp_endpoint: Some(endpoint.to_owned()),
    };
    telemetry::init(&settings).unwrap()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|pair| pair.key == key);
    match found.and_then(|pair| pair.value.clone()).and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key} is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_and_their_caller_share_one_trace() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let (front_telemetry, back_telemetry) =
        (telemetry("front", &endpoint), telemetry("back", &endpoint));

    let mut back = Plan::new(handler(async |_| Err(Error::internal("broken"))));
    back.spans = back_telemetry.spans();
    let back = back.start().await;

    let client = TraceServiceClient::new(back.channel().await);
    let mut front = Plan::new(handler(move |text| {
        let mut client = client.clone();
        async move {
            let mut call = tonic::Request::new(request(&text));
            context::carry(call.metadata_mut());
            let status = client.export(call).await.unwrap_err();
            Ok(status.message().to_owned())
        }
    }));
    front.spans = front_telemetry.spans();
    let front = front.start().await;

    let callers = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", callers), ("x-request-id", "trace-1")];
    let answer = front.call_raw(METHOD, &headers, body("hello s3cret")).await;
    assert!(
        String::from_utf8_lossy(&answer.body).contains("Request id: trace-1"),
        "the id goes along"
    );
    while lines_of("trace-1").await.iter().filter(|line| line.target == "call").count() < 2 {
        tokio::task::yield_now().await;
    }
    front_telemetry.flush().await;
    back_telemetry.flush().await;

    let (front, back) = (collector.span_of("front"), collector.span_of("back"));
    assert_eq!(hex::encode(&front.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex::encode(&front.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(back.trace_id, front.trace_id);
    assert_eq!(back.parent_span_id, front.span_id);
    assert_eq!(front.name, METHOD.trim_start_matches('/'));
    assert_eq!(front.kind(), SpanKind::Server);
    assert_eq!(attribute(&front, "rpc.system"), "grpc");
    assert_eq!(attribute(&front, "rpc.service"), crate::harness::SERVICE);
    assert_eq!(attribute(&front, "rpc.method"), "Export");
    assert_eq!(attribute(&front, "rpc.grpc.status_code"), "0");
    assert_eq!(attribute(&front, "request.id"), "trace-1");
    assert_eq!(attribute(&back, "rpc.grpc.status_code"), "13");
    assert_eq!(front.status.clone().unwrap_or_default().code(), StatusCode::Unset);
    assert_eq!(back.status.clone().unwrap_or_default().code(), StatusCode::Error);
    assert!(front.end_time_unix_nano > front.start_time_unix_nano);
    let exported = format!("{front:?} {back:?}");
    assert!(!exported.contains("s3cret") && !exported.contains("broken"), "{exported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_caller_does_not_want_kept_is_not_exported() {
    let collector = Collector::default();
    let telemetry = telemetry("quiet", &collector.start().await);
    let mut plan = Plan::new(echo());
    plan.spans = telemetry.spans();
    let server = plan.start().await;
    let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    server
        .call_raw(METHOD, &[("traceparent", unsampled), ("x-request-id", "trace-2")], body("x"))
        .await;
    lines_of("trace-2").await;
    telemetry.flush().await;
    assert!(collector.0.lock().unwrap().is_empty());
}
