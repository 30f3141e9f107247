//! How does the program of a service begin and end?

use std::process::ExitCode;

use crate::{
    config::{Reader, Source, StartError, TelemetrySettings},
    telemetry::{self, TelemetryGuard, spans::Spans},
};

/// A program that has read its settings and started its log.
pub struct Program<S> {
    pub settings: S,
    telemetry: TelemetryGuard,
    described: String,
}

impl<S> Program<S> {
    /// Reads the environment. Settings that begin with `prefix` and are none stop the start.
    pub fn begin(
        name: &'static str,
        prefix: &str,
        read: impl FnOnce(&mut Reader<'_>) -> S,
    ) -> Result<Self, StartError> {
        let source = Source::environment();
        let mut reader = Reader::new(&source);
        let settings = read(&mut reader);
        let telemetry = TelemetrySettings::read(&mut reader, name);
        let described = reader.describe();
        reader.finish(&[prefix])?;
        Ok(Self { settings, telemetry: telemetry::init(&telemetry)?, described })
    }

    /// Where its traces go, if anywhere.
    pub fn spans(&self) -> Option<Spans> {
        self.telemetry.spans()
    }

    /// Shows what was read, secrets hidden.
    pub fn show_settings(&self) {
        for setting in self.described.lines() {
            tracing::info!("{setting}");
        }
    }

    /// Tells the last of what there is to tell.
    pub async fn end(self) {
        self.telemetry.flush().await;
    }
}

/// Nothing more to say, or the reason why not on standard error.
pub fn exit(done: Result<(), StartError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
