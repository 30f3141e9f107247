//! How do traces reach a collector?
//!
//! A span is put together once, when its request is over, from the ids that the request had
//! all along ([`super::trace`]): what we told the next service, what the log says and what
//! the collector gets are the same ids, and without a collector nothing is done at all.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor},
};

use super::{
    codes::{code_text, is_servers_fault},
    context::{Outcome, RequestContext},
};
use crate::config::StartError;

/// How long a collector may take for a batch.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);

/// The spans of one service, on their way in batches.
#[derive(Clone)]
pub struct Spans {
    batch: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

impl Spans {
    /// Sends to a collector of OTLP over gRPC. To be called inside the runtime.
    pub fn connect(service: &'static str, endpoint: &str) -> Result<Self, StartError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_LIMIT)
            .build()
            .map_err(|error| {
                StartError::new(format!(
                    "OTEL_EXPORTER_OTLP_ENDPOINT is {endpoint:?}, where no traces can be sent: {error}."
                ))
            })?;
        let mut batch = BatchSpanProcessor::builder(exporter).build();
        batch.set_resource(&Resource::builder().with_service_name(service).build());
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).build();
        Ok(Self { batch: Arc::new(batch), scope })
    }

    /// Hands in the span of a call that is over. `name` is `crm.v1.ClientService/GetClient`.
    pub fn record(&self, request: &RequestContext, name: String, outcome: &Outcome) {
        if !request.trace.is_sampled() {
            return;
        }
        let (trace_id, span_id, parent_id) = request.trace.ids();
        let flags = TraceFlags::SAMPLED;
        let end_time = SystemTime::now();
        self.batch.on_end(SpanData {
            span_context: SpanContext::new(
                TraceId::from(trace_id),
                SpanId::from(span_id),
                flags,
                false,
                TraceState::NONE,
            ),
            parent_span_id: parent_id.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: parent_id.is_some(),
            span_kind: SpanKind::Server,
            start_time: end_time - request.started.elapsed(),
            end_time,
            attributes: attributes(request, &name, outcome),
            name: name.into(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: status(outcome),
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Exports what is left, and ends. Blocks a thread that may be blocked.
    pub(super) async fn flush(self) {
        let export = move || self.batch.shutdown();
        match tokio::task::spawn_blocking(export).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not exported"),
            Err(error) => tracing::warn!(%error, "the last traces were not exported"),
        }
    }
}

/// Who called what with which result; nothing of what was said.
fn attributes(request: &RequestContext, name: &str, outcome: &Outcome) -> Vec<KeyValue> {
    let (service, method) = name.rsplit_once('/').unwrap_or(("", name));
    let mut attributes = vec![
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rpc.service", service.to_owned()),
        KeyValue::new("rpc.method", method.to_owned()),
        KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(outcome.code))),
        KeyValue::new("request.id", request.id().to_owned()),
    ];
    if let Some((account, _)) = request.caller() {
        attributes.push(KeyValue::new("account.id", *account));
    }
    attributes
}

/// On a server's span only the server's faults are errors: so say the conventions for gRPC.
fn status(outcome: &Outcome) -> Status {
    if is_servers_fault(outcome.code) {
        Status::error(code_text(outcome.code))
    } else {
        Status::Unset
    }
}
