//! What exactly was refused, as a caller reads it?

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Everything of a refusal that a caller can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub reason: String,
    pub message: String,
    /// The bad fields, in order.
    pub fields: Vec<String>,
    pub metadata: Vec<(String, String)>,
    /// Seconds until a retry makes sense.
    pub retry_after: Option<String>,
    /// The same, exactly.
    pub retry_delay: Option<Duration>,
}

impl Refusal {
    /// The parts of a status; trailers and details must say the same.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
        let trailer =
            |name| status.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(trailer("error-reason").as_deref(), Some(info.reason.as_str()), "{status:?}");
        assert_eq!(info.domain, "clientele");
        let retry_after = trailer("retry-after");
        let retry_delay = details.retry_info().and_then(|retry| retry.retry_delay);
        let rounded = retry_delay.map(|delay| delay.as_secs().max(1).to_string());
        assert_eq!(retry_after, rounded, "{status:?}");
        let mut metadata: Vec<_> = info.metadata.clone().into_iter().collect();
        metadata.sort();
        let fields = details.bad_request().map(|bad| {
            bad.field_violations.iter().map(|violation| violation.field.clone()).collect()
        });
        Self {
            code: status.code(),
            reason: info.reason.clone(),
            message: status.message().to_owned(),
            fields: fields.unwrap_or_default(),
            metadata,
            retry_after,
            retry_delay,
        }
    }

    /// Code and reason alone.
    pub fn said(&self) -> (Code, &str) {
        (self.code, self.reason.as_str())
    }
}

/// The size of a status in trailers, as HTTP/2 counts it.
pub fn trailers(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// The refusal in an answer that must be one.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> Refusal {
    Refusal::of(&answer.expect_err("this must be refused"))
}
