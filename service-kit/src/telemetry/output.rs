//! How is an event written as one line, whatever is in it?
//!
//! Both forms say who is being served, for every line that is written inside a request; and
//! in neither can a value end the line or pass for another field.
//!
//! Two kinds of field names mean something: `said.x` is for programs alone, because the
//! message says it already, and `x_ms` is a number of milliseconds.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use chrono::SecondsFormat;
use serde_json::{Map, Value};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::{context, line};
use crate::{clock, config::LogFormat};

/// Writes events to standard error.
pub struct Output(LogFormat);

impl Output {
    pub fn new(format: LogFormat) -> Self {
        Self(format)
    }
}

impl<S: Subscriber> Layer<S> for Output {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut facts = Facts::default();
        event.record(&mut facts);
        let time = clock::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut line = match self.0 {
            LogFormat::Text => text(&time, event.metadata(), facts),
            LogFormat::Json => json(&time, event.metadata(), facts),
        };
        line.push('\n');
        // Where the log cannot be written there is nowhere to say so.
        let _nowhere_to_say = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// What an event says.
#[derive(Default)]
struct Facts {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Facts {
    fn add(&mut self, field: &Field, value: Value) {
        self.fields.push((field.name(), value));
    }
}

impl Visit for Facts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text.into());
        }
    }
}

/// `2026-03-01T12:00:00.000Z INFO message field=value`
fn text(time: &str, metadata: &Metadata<'_>, facts: Facts) -> String {
    let mut line = format!("{time} {} ", metadata.level());
    if metadata.target() != line::TARGET {
        let _infallible = write!(line, "{}: ", metadata.target());
    }
    push_without_controls(&mut line, &facts.message);
    let for_people = facts.fields.into_iter().filter(|(name, _)| !name.starts_with("said."));
    for (name, value) in for_people.chain(request_fields()) {
        push_field(&mut line, name, &value);
    }
    line
}

fn push_field(line: &mut String, name: &str, value: &Value) {
    let (name, unit) = match name.strip_suffix("_ms") {
        Some(name) => (name, "ms"),
        None => (name, ""),
    };
    let _infallible = match value {
        Value::String(text) if is_plain(text) => write!(line, " {name}={text}{unit}"),
        Value::String(text) => {
            let mut quoted = String::new();
            push_without_controls(&mut quoted, &format!("{text:?}"));
            write!(line, " {name}={quoted}{unit}")
        }
        other => write!(line, " {name}={other}{unit}"),
    };
}

/// Whether a value can stand in a line without quotes.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || (c.is_ascii_graphic() && !"\"=\\".contains(c));
    !text.is_empty() && text.chars().all(plain)
}

fn push_without_controls(line: &mut String, text: &str) {
    for c in text.chars() {
        // Also what looks like a blank, ends a line or turns the direction of writing.
        if c.is_control() || !(c.is_ascii() || c.is_alphanumeric()) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

/// One object, whose strings serde escapes.
fn json(time: &str, metadata: &Metadata<'_>, facts: Facts) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), time.into());
    object.insert("level".to_owned(), metadata.level().as_str().into());
    object.insert("target".to_owned(), metadata.target().into());
    object.insert("message".to_owned(), facts.message.into());
    let service = context::current().map(|request| ("service", Value::from(request.service())));
    for (name, value) in facts.fields.into_iter().chain(service).chain(request_fields()) {
        object.insert(name.trim_start_matches("said.").to_owned(), value);
    }
    Value::Object(object).to_string()
}

/// Which request this was about, if it was about one.
fn request_fields() -> impl Iterator<Item = (&'static str, Value)> {
    context::current().into_iter().flat_map(|request| {
        [("request_id", request.id().into()), ("trace_id", request.trace.trace_id().into())]
    })
}

#[cfg(test)]
mod tests {
    use tracing::Level;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What both forms make of the same event.
    struct Both(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Both {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            for form in [text, json] {
                let mut facts = Facts::default();
                event.record(&mut facts);
                self.0.lock().unwrap().push(form("NOW", event.metadata(), facts));
            }
        }
    }

    fn lines(emit: impl FnOnce()) -> Vec<String> {
        let lines = std::sync::Arc::default();
        let subscriber = tracing_subscriber::registry().with(Both(std::sync::Arc::clone(&lines)));
        tracing::subscriber::with_default(subscriber, emit);
        let lines = lines.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn people_and_programs_read_the_same_facts() {
        let lines = lines(|| {
            tracing::event!(target: line::TARGET, Level::INFO, said.code = "OK", db_ms = 1.8, account = 7, "done OK");
        });
        assert_eq!(lines[0], "NOW INFO done OK db=1.8ms account=7");
        let object: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(object["code"], "OK");
        assert_eq!(object["db_ms"], 1.8);
        assert_eq!(object["message"], "done OK");
    }

    #[test]
    fn nothing_invisible_stands_in_a_line_as_it_is() {
        for odd in ['\u{202e}', '\u{2028}', '\u{200b}', '\u{a0}', '\u{7f}'] {
            let lines =
                lines(|| tracing::warn!(target: "t", path = format!("a{odd}b"), "said a{odd}b"));
            assert!(!lines[0].contains(odd), "{:?}", lines[0]);
        }
        let lines = lines(|| tracing::warn!(target: "t", name = "Zoë", "said Zoë"));
        assert_eq!(lines[0], "NOW WARN t: said Zoë name=Zoë");
    }

    #[test]
    fn no_value_can_forge_a_line_or_a_field() {
        let evil = "x\nNOW ERROR forged=\"1\" \u{1b}[31m";
        let lines = lines(|| tracing::warn!(target: "t", path = evil, "said {evil}"));
        assert_eq!(lines.len(), 2);
        for line in &lines {
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        assert_eq!(
            lines[0],
            "NOW WARN t: said x\\nNOW ERROR forged=\"1\" \\u{1b}[31m \
             path=\"x\\nNOW ERROR forged=\\\"1\\\" \\u{1b}[31m\""
        );
    }
}
