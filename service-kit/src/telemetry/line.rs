//! What does the log say about each call?
//!
//! One line, when the answer is through:
//! `crm.v1.ClientService/GetClient OK 3.1ms account=7 actor=employee:3 queries=2 db=1.8ms
//! request_id=… trace_id=…`. What is the server's fault is an error, what is the caller's is
//! information, and health checks, reflection and preflights are for debugging only.

use std::{sync::Arc, time::Duration};

use http::{Method as Verb, StatusCode};
use tonic::Code;
use tracing::Level;

use super::{
    codes::{code_text, is_servers_fault},
    context::{self, Outcome, RequestContext},
};

/// By this name the filter knows these lines: `LOG_LEVEL=info,call=warn` leaves them out.
pub const TARGET: &str = "call";

/// Longer paths are of nobody's method and only fill the log.
const MAX_PATH_CHARS: usize = 200;

/// Writes an event whose level is known at run time only.
macro_rules! event_at {
    ($level:expr, $($fields:tt)+) => {
        match $level {
            Level::ERROR => tracing::event!(target: TARGET, Level::ERROR, $($fields)+),
            Level::DEBUG => tracing::event!(target: TARGET, Level::DEBUG, $($fields)+),
            _ => tracing::event!(target: TARGET, Level::INFO, $($fields)+),
        }
    };
}

/// The line for an RPC.
pub fn write_rpc(request: &Arc<RequestContext>, path: &str, outcome: &Outcome) {
    let level = rpc_level(request, outcome);
    let name = path_shown(path.strip_prefix('/').unwrap_or(path));
    let code = code_text(outcome.code);
    let took = millis(request.started.elapsed());
    let (queries, waited) = request.database();
    let (account, actor) =
        request.caller().map(|(account, actor)| (*account, actor.as_str())).unzip();
    context::enter(request, || {
        event_at!(
            level,
            said.method = name,
            said.code = code,
            said.took_ms = took,
            reason = (!outcome.reason.is_empty()).then_some(outcome.reason.as_str()),
            account,
            actor,
            queries = (queries > 0).then_some(queries),
            db_ms = (queries > 0).then(|| millis(waited)),
            "{name} {code} {took}ms"
        );
    });
}

/// The line for a request that was none, such as a preflight or a browser gone astray.
/// Without a status nobody waited for the answer.
pub fn write_http(
    request: &Arc<RequestContext>,
    verb: &Verb,
    path: &str,
    status: Option<StatusCode>,
) {
    let level = http_level(verb, status);
    let path = path_shown(path);
    let status = status.map_or("cancelled".to_owned(), |status| status.as_u16().to_string());
    let took = millis(request.started.elapsed());
    context::enter(request, || {
        event_at!(
            level,
            said.verb = verb.as_str(),
            said.path = path,
            said.status = status,
            said.took_ms = took,
            "{verb} {path} {status} {took}ms"
        );
    });
}

fn rpc_level(request: &RequestContext, outcome: &Outcome) -> Level {
    let quiet = request.method().is_some_and(|method| method.quiet);
    match outcome.code {
        code if is_servers_fault(code) => Level::ERROR,
        Code::Ok | Code::Cancelled | Code::NotFound if quiet => Level::DEBUG,
        _ => Level::INFO,
    }
}

fn http_level(verb: &Verb, status: Option<StatusCode>) -> Level {
    match status {
        Some(status) if status.is_server_error() => Level::ERROR,
        _ if verb == Verb::OPTIONS => Level::DEBUG,
        _ => Level::INFO,
    }
}

/// Milliseconds with one decimal, as people compare them.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn path_shown(path: &str) -> &str {
    path.char_indices().nth(MAX_PATH_CHARS).map_or(path, |(end, _)| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_decimal() {
        assert_eq!(format!("{}ms", millis(Duration::from_micros(3_149))), "3.1ms");
        assert_eq!(format!("{}ms", millis(Duration::from_secs(2))), "2000ms");
    }

    #[test]
    fn long_paths_are_cut_between_characters() {
        assert_eq!(path_shown("/short"), "/short");
        assert_eq!(path_shown(&"é".repeat(300)).chars().count(), MAX_PATH_CHARS);
    }
}
