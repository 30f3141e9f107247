//! Where does this request stand in a trace that may span services?
//!
//! The ids are those of [W3C Trace Context](https://www.w3.org/TR/trace-context/): whoever
//! calls us names a trace and its own span in `traceparent`, and whomever we call is told the
//! same trace and our span.

use http::HeaderMap;

/// The header, in and on to the next service.
pub const TRACEPARENT_HEADER: &str = "traceparent";

const SAMPLED: u8 = 0b01;

/// Our span in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    span: u64,
    parent: Option<u64>,
    sampled: bool,
}

impl Trace {
    /// A span of our own in the caller's trace; in a trace of our own when the caller names
    /// none, or several, or one that is malformed.
    pub fn incoming(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(TRACEPARENT_HEADER).iter();
        let named = match (values.next(), values.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            _ => None,
        };
        match named {
            Some((trace, parent, sampled)) => {
                Self { id: trace, span: random_nonzero(), parent: Some(parent), sampled }
            }
            None => Self::begin(),
        }
    }

    /// The first span of a new trace.
    pub fn begin() -> Self {
        let id = u128::from(random_nonzero()) << 64 | u128::from(rand::random::<u64>());
        Self { id, span: random_nonzero(), parent: None, sampled: true }
    }

    /// The `traceparent` for whomever we call: the same trace, with us as the parent.
    pub fn outgoing(&self) -> String {
        let flags = if self.sampled { SAMPLED } else { 0 };
        format!("00-{:032x}-{:016x}-{flags:02x}", self.id, self.span)
    }

    /// As logs show it and collectors find it.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.id)
    }

    /// The trace, our span and that of whoever called.
    pub(super) fn ids(&self) -> (u128, u64, Option<u64>) {
        (self.id, self.span, self.parent)
    }

    /// Whether whoever began the trace wants it to be kept.
    pub(super) fn is_sampled(&self) -> bool {
        self.sampled
    }
}

/// Trace, parent and whether it is sampled: `00-<32 hex>-<16 hex>-<2 hex>`.
fn parse(value: &[u8]) -> Option<(u128, u64, bool)> {
    let text = std::str::from_utf8(value).ok()?;
    let version = hex(text.get(0..2)?)?;
    // Later versions may only append fields; 255 will never be one.
    let length_fits = match version {
        0 => text.len() == 55,
        255 => false,
        _ => text.len() == 55 || text.as_bytes().get(55) == Some(&b'-'),
    };
    let dashes = [2, 35, 52].iter().all(|&at| text.as_bytes().get(at) == Some(&b'-'));
    if !length_fits || !dashes {
        return None;
    }
    let trace = hex(text.get(3..35)?)?;
    let parent = u64::try_from(hex(text.get(36..52)?)?).ok()?;
    let flags = u8::try_from(hex(text.get(53..55)?)?).ok()?;
    (trace != 0 && parent != 0).then_some((trace, parent, flags & SAMPLED != 0))
}

/// Lower case only, as the recommendation demands; `from_str_radix` alone takes `+` and `A`.
fn hex(text: &str) -> Option<u128> {
    let strict = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    strict.then(|| u128::from_str_radix(text, 16).ok())?
}

fn random_nonzero() -> u64 {
    rand::random::<u64>().max(1)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn incoming(values: &[&str]) -> Trace {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT_HEADER, HeaderValue::from_str(value).unwrap());
        }
        Trace::incoming(&headers)
    }

    #[test]
    fn the_callers_trace_goes_on_with_our_span() {
        let trace = incoming(&[VALID]);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.parent, Some(0x00f0_67aa_0ba9_02b7));
        let outgoing = trace.outgoing();
        assert!(outgoing.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{outgoing}");
        assert!(!outgoing.contains("00f067aa0ba902b7"), "the next parent is our span");
        assert!(outgoing.ends_with("-01"));
        let next = incoming(&[&outgoing]);
        assert_eq!(next.parent, Some(trace.span));
    }

    #[test]
    fn what_is_not_sampled_stays_so() {
        let trace = incoming(&[&VALID.replace("-01", "-00")]);
        assert!(!trace.is_sampled() && trace.outgoing().ends_with("-00"));
    }

    #[test]
    fn a_later_version_is_understood_as_far_as_it_goes() {
        assert!(incoming(&[&VALID.replacen("00", "01", 1)]).parent.is_some());
        assert!(incoming(&[&format!("{}-more", VALID.replacen("00", "cc", 1))]).parent.is_some());
    }

    #[test]
    fn anything_else_begins_a_new_trace() {
        let malformed = [
            String::new(),
            "00".to_owned(),
            VALID.to_uppercase(),
            VALID.replacen("00", "ff", 1),
            VALID.replacen("00", "+0", 1),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            VALID.replace('-', "_"),
            format!("{VALID}-more"),
            format!("{}x", VALID.replacen("00", "01", 1)),
            VALID[..54].to_owned(),
        ];
        for value in malformed {
            assert_eq!(incoming(&[&value]).parent, None, "{value:?}");
        }
        assert_eq!(incoming(&[VALID, VALID]).parent, None, "two headers");
        assert_eq!(incoming(&[]).parent, None);
        assert_ne!(Trace::begin().trace_id(), Trace::begin().trace_id());
    }
}
