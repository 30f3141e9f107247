//! What is logged, in which form, and where do traces go?

use std::{fmt, str::FromStr};

use super::Reader;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object on each line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("neither text nor json"),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// What a service tells about itself.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// As traces and metrics name it: `identity-service`.
    pub service: &'static str,
    pub format: LogFormat,
    /// A level, or directives such as `info,sqlx=debug`.
    pub filter: String,
    /// A collector that takes OTLP over gRPC; without one no traces are exported.
    pub otlp_endpoint: Option<String>,
}

impl TelemetrySettings {
    pub fn read(reader: &mut Reader<'_>, service: &'static str) -> Self {
        Self {
            service,
            format: reader.parsed("LOG_FORMAT", LogFormat::default()),
            filter: reader.parsed("LOG_LEVEL", "info".to_owned()),
            otlp_endpoint: otlp_endpoint(reader),
        }
    }
}

fn otlp_endpoint(reader: &mut Reader<'_>) -> Option<String> {
    let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let endpoint = reader.text(name)?;
    if !endpoint.starts_with("http://") {
        reader.problem(format!(
            "{name} is {endpoint:?}: name a collector near by in clear, such as http://127.0.0.1:4317."
        ));
    }
    Some(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    #[test]
    fn formats_and_endpoints_are_checked() {
        let source = Source::from([
            ("LOG_FORMAT", "xml"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ]);
        let mut reader = Reader::new(&source);
        let settings = TelemetrySettings::read(&mut reader, "crm-service");
        assert_eq!((settings.format, settings.filter.as_str()), (LogFormat::Text, "info"));
        let sentences = reader.finish(&[]).unwrap_err().to_string();
        assert_eq!(sentences.lines().count(), 2, "{sentences}");
    }
}
