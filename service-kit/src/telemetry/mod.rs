//! How does a running service tell what it does?
//!
//! By one log line for each call ([`line`]), by figures ([`metrics`]) and, where a collector
//! is named, by traces ([`spans`]). What they tell is gathered in the [`context`] of the
//! request while it is served. None of them ever holds a token, an e-mail address or a
//! message.

pub mod codes;
pub mod context;
pub mod line;
pub mod metrics;
mod output;
mod panics;
pub mod spans;
pub mod trace;

use std::sync::OnceLock;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use self::{output::Output, spans::Spans};
use crate::config::{StartError, TelemetrySettings};

/// Sends what is left when it is told to, at the end of the program.
pub struct TelemetryGuard {
    spans: Option<Spans>,
}

/// Starts telling. To be called inside the runtime, once by each service of the process: the
/// first call decides the form of the log lines, and each gets its own traces.
pub fn init(settings: &TelemetrySettings) -> Result<TelemetryGuard, StartError> {
    start_log(settings)?;
    let connect = |endpoint: &String| Spans::connect(settings.service, endpoint);
    let spans = settings.otlp_endpoint.as_ref().map(connect).transpose()?;
    Ok(TelemetryGuard { spans })
}

impl TelemetryGuard {
    /// Where a server hands in its spans, if anybody collects them.
    pub fn spans(&self) -> Option<Spans> {
        self.spans.clone()
    }

    /// Exports the last spans. It may take some seconds where the collector does not answer.
    pub async fn flush(self) {
        if let Some(spans) = self.spans {
            spans.flush().await;
        }
    }
}

fn start_log(settings: &TelemetrySettings) -> Result<(), StartError> {
    static STARTED: OnceLock<()> = OnceLock::new();
    let filter = EnvFilter::builder().parse(&settings.filter).map_err(|error| {
        StartError::new(format!(
            "LOG_LEVEL is {:?}: {error}; write error, warn, info, debug or trace.",
            settings.filter
        ))
    })?;
    STARTED.get_or_init(|| {
        let log = tracing_subscriber::registry().with(filter).with(Output::new(settings.format));
        // A test may have installed a subscriber of its own: it stays, and so does its view
        // of panics.
        if log.try_init().is_ok() {
            panics::log_without_values();
        }
    });
    Ok(())
}
