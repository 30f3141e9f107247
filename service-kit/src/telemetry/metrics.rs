//! Which figures does a service keep, what are they called and when do they move?
//!
//! Each server has its own registry, because the all-in-one runs two of them in one process;
//! every figure bears the name of its service. A service adds figures of its own with
//! [`Metrics::register`].

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge, histogram::Histogram,
    },
    registry::Registry,
};

use super::{codes::code_text, context::Outcome};
use crate::serve::{Ready, methods::Method};

/// Seconds; from a cached answer to the longest that a call may take.
const DURATION_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// What stands in place of a method that does not exist: callers must not be able to make
/// up labels, each of which costs memory for ever.
const UNKNOWN: &str = "unknown";

/// The figures of one server. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Figures>);

struct Figures {
    registry: Mutex<Registry>,
    rpcs: Family<RpcLabels, Counter>,
    durations: Family<MethodLabel, Histogram, fn() -> Histogram>,
    statements: Family<MethodLabel, Counter>,
    in_flight: Gauge,
    shed: Counter,
    http: Family<HttpLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RpcLabels {
    method: Arc<str>,
    code: &'static str,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MethodLabel {
    method: Arc<str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HttpLabels {
    status: u16,
}

impl Metrics {
    /// The figures that every server has.
    pub fn new(service: &'static str) -> Self {
        let mut registry = Registry::with_labels([("service".into(), service.into())].into_iter());
        let figures = Figures {
            rpcs: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            statements: Family::default(),
            in_flight: Gauge::default(),
            shed: Counter::default(),
            http: Family::default(),
            registry: Mutex::default(),
        };
        // The library appends `_total` to counters.
        registry.register(
            "rpc_requests",
            "RPCs answered, refused or given up by their callers",
            figures.rpcs.clone(),
        );
        registry.register(
            "rpc_duration_seconds",
            "Time from the first byte of an RPC to the last of its answer",
            figures.durations.clone(),
        );
        registry.register(
            "rpc_statements",
            "Statements that RPCs sent to the database",
            figures.statements.clone(),
        );
        registry.register("rpc_in_flight", "RPCs being served now", figures.in_flight.clone());
        registry.register(
            "rpc_shed",
            "RPCs refused because too many were in flight",
            figures.shed.clone(),
        );
        registry.register(
            "http_requests",
            "Requests that were not RPCs, such as preflights",
            figures.http.clone(),
        );
        Self(Arc::new(Figures { registry: Mutex::new(registry), ..figures }))
    }

    /// Adds figures of the service's own.
    ///
    /// ```
    /// # use service_kit::telemetry::metrics::Metrics;
    /// use prometheus_client::metrics::gauge::Gauge;
    ///
    /// let waiting: Gauge = Gauge::default();
    /// let metrics = Metrics::new("identity-service");
    /// metrics.register(|registry| {
    ///     registry.register("hashing_waiting", "Passwords waiting to be hashed", waiting.clone());
    /// });
    /// assert!(metrics.render().contains("hashing_waiting"));
    /// ```
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.0.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All of it, in the text format of `OpenMetrics`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a string does not fail.
        let _infallible = encode(&mut text, &registry);
        text
    }

    /// Asks the database pool at every scrape.
    pub(crate) fn register_pool(&self, ready: Arc<dyn Ready>) {
        let (size, idle) = (Arc::clone(&ready), ready);
        self.register(|registry| {
            let help = "Connections to the database";
            register_count(registry, "db_pool_size", help, move || size.pool().size);
            let help = "Connections that no query uses";
            register_count(registry, "db_pool_idle", help, move || idle.pool().idle);
        });
    }

    /// An RPC begins.
    pub(crate) fn begin(&self) {
        self.0.in_flight.inc();
    }

    /// An RPC is over, in whatever way.
    pub(crate) fn end(
        &self,
        method: Option<&Arc<Method>>,
        outcome: &Outcome,
        took: Duration,
        statements: u32,
    ) {
        self.0.in_flight.dec();
        let method = method.map_or_else(|| UNKNOWN.into(), |method| Arc::clone(&method.name));
        let code = code_text(outcome.code);
        let labels =
            RpcLabels { method: Arc::clone(&method), code, reason: outcome.reason.clone() };
        self.0.rpcs.get_or_create(&labels).inc();
        let method = MethodLabel { method };
        self.0.statements.get_or_create(&method).inc_by(statements.into());
        self.0.durations.get_or_create(&method).observe(took.as_secs_f64());
    }

    /// A request that is not an RPC is over.
    pub(crate) fn count_http(&self, status: StatusCode) {
        self.0.http.get_or_create(&HttpLabels { status: status.as_u16() }).inc();
    }

    /// An RPC is refused because too many are in flight.
    pub(crate) fn count_shed(&self) {
        self.0.shed.inc();
    }
}

/// Adds a figure that is counted whenever somebody asks.
pub fn register_count<C, N>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    count: C,
) where
    C: Fn() -> N + Send + Sync + 'static,
    N: TryInto<i64> + 'static,
{
    registry.register_collector(Box::new(Counted { name, help, count }));
}

struct Counted<C> {
    name: &'static str,
    help: &'static str,
    count: C,
}

impl<C, N> Collector for Counted<C>
where
    C: Fn() -> N + Send + Sync + 'static,
    N: TryInto<i64> + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = ConstGauge::new((self.count)().try_into().unwrap_or(i64::MAX));
        let kind = gauge.metric_type();
        gauge.encode(encoder.encode_descriptor(self.name, self.help, None, kind)?)
    }
}

impl<C> fmt::Debug for Counted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn method() -> Arc<Method> {
        Arc::new(Method {
            name: "crm.v1.ClientService/GetClient".into(),
            streaming: false,
            quiet: false,
        })
    }

    #[test]
    fn calls_are_counted_by_method_code_and_reason() {
        let metrics = Metrics::new("crm-service");
        metrics.begin();
        metrics.begin();
        let refused = Outcome { code: Code::NotFound, reason: "NOT_FOUND".to_owned() };
        metrics.end(Some(&method()), &refused, Duration::from_millis(3), 2);
        let text = metrics.render();
        for line in [
            "rpc_requests_total{service=\"crm-service\",method=\"crm.v1.ClientService/GetClient\",\
             code=\"NOT_FOUND\",reason=\"NOT_FOUND\"} 1",
            "rpc_in_flight{service=\"crm-service\"} 1",
            "rpc_statements_total{service=\"crm-service\",method=\"crm.v1.ClientService/GetClient\"} 2",
            "rpc_duration_seconds_count{service=\"crm-service\",method=\"crm.v1.ClientService/GetClient\"} 1",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn callers_cannot_make_up_labels() {
        let metrics = Metrics::new("crm-service");
        metrics.begin();
        let refused = Outcome { code: Code::Unimplemented, reason: "METHOD_UNKNOWN".to_owned() };
        metrics.end(None, &refused, Duration::ZERO, 0);
        assert!(metrics.render().contains("method=\"unknown\""));
    }

    #[test]
    fn two_servers_count_apart() {
        let (one, other) = (Metrics::new("one"), Metrics::new("other"));
        one.count_shed();
        assert!(one.render().contains("rpc_shed_total{service=\"one\"} 1"));
        assert!(other.render().contains("rpc_shed_total{service=\"other\"} 0"));
    }
}
