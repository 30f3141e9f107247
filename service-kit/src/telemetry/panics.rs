//! What is logged of a panic?

use std::panic::PanicHookInfo;

/// Logs where it happened, and its message only if that was written in the source.
///
/// A message that was put together at run time may hold what a caller sent, as in
/// `called unwrap() on Err("…")`; the hook of the standard library would print it.
pub fn log_without_values() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, message_in_source = literal(panic), "panic");
    }));
}

fn literal(panic: &PanicHookInfo<'_>) -> &'static str {
    panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(withheld)")
}
