//! Why can it not be done, and does it help to try again?

use std::{fmt, time::Duration};

use tonic::{Code, Status};

/// A sentence for whoever started it, that says what to do.
#[derive(Debug)]
pub struct Fault {
    sentence: String,
    cause: Cause,
}

/// What it is that cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Something on this side, such as the file.
    Here,
    /// The server is away.
    Away,
    /// The server will not do it.
    Refused,
    /// The server did something else under the same request id.
    Reused,
}

impl Fault {
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), cause: Cause::Here }
    }

    /// Whether there is something to go on with under the same request id: whoever was refused
    /// before a row was answered has sent nothing that counts.
    pub fn leaves_something(&self, is_reached: bool, is_answered: bool) -> bool {
        match self.cause {
            Cause::Here | Cause::Away => is_reached || is_answered,
            Cause::Refused => is_answered,
            Cause::Reused => false,
        }
    }

    /// The same, with another line.
    #[must_use]
    pub fn and(self, line: &str) -> Self {
        Self { sentence: format!("{}\n{line}", self.sentence), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Why a stream ended before its time.
#[derive(Debug)]
pub enum Break {
    /// The connection or the server, which may be better soon.
    Passing(String),
    /// It would be the same again.
    Final(Fault),
}

impl From<Status> for Break {
    fn from(status: Status) -> Self {
        let reason = status.metadata().get("error-reason");
        let Some(reason) = reason.and_then(|reason| reason.to_str().ok()) else {
            // Nobody said this but the connection.
            return Self::Passing(format!("The connection broke ({}).", status.message()));
        };
        let sentence = format!("{} ({reason})", status.message());
        match status.code() {
            Code::Unavailable | Code::Aborted | Code::DeadlineExceeded => Self::Passing(sentence),
            Code::ResourceExhausted if reason == "OVERLOADED" => Self::Passing(sentence),
            _ if reason == "REQUEST_ID_REUSED" => {
                Self::Final(Fault { sentence, cause: Cause::Reused })
            }
            _ => Self::Final(Fault { sentence, cause: Cause::Refused }),
        }
    }
}

/// How often it is tried again without coming further.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Bears so much and no more.
#[derive(Debug, Default)]
pub struct Patience {
    tries: u32,
    has_reached: bool,
}

impl Patience {
    /// The server was there.
    pub fn reach(&mut self) {
        self.has_reached = true;
    }

    /// What to say, and how long to wait before the next try; or the end of it. Whoever never
    /// got anywhere has most likely the wrong address, and learns so at once.
    pub fn with(&mut self, broken: Break, came_further: bool) -> Result<(String, Duration), Fault> {
        let said = match broken {
            Break::Final(fault) => return Err(fault),
            Break::Passing(said) => said,
        };
        if came_further {
            (self.tries, self.has_reached) = (0, true);
        }
        self.tries += 1;
        if !self.has_reached || self.tries > TRIES {
            return Err(Fault { sentence: said, cause: Cause::Away });
        }
        Ok((said, FIRST_PAUSE * 2_u32.pow(self.tries - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Break {
        Status::unavailable("gone").into()
    }

    #[test]
    fn it_is_tried_again_as_long_as_it_gets_further() {
        let mut patience = Patience::default();
        assert!(patience.with(broken(), false).is_err(), "it never got anywhere");
        patience.reach();
        assert!(patience.with(broken(), false).is_ok(), "it was there");
        let mut patience = Patience::default();
        for _ in 0..100 {
            assert_eq!(patience.with(broken(), true).unwrap().1, FIRST_PAUSE);
        }
        let again = (0..100).take_while(|_| patience.with(broken(), false).is_ok()).count();
        assert_eq!(again, 5);
    }

    #[test]
    fn it_is_gone_on_only_with_what_was_begun() {
        let fault = |code, reason: &'static str| {
            let mut status = Status::new(code, "No.");
            status.metadata_mut().insert("error-reason", reason.parse().unwrap());
            let Break::Final(fault) = Break::from(status) else { panic!("{reason}") };
            fault
        };
        let reused = fault(Code::InvalidArgument, "REQUEST_ID_REUSED");
        assert!(!reused.leaves_something(true, true));
        let refused = fault(Code::Unauthenticated, "TOKEN_INVALID");
        assert!(!refused.leaves_something(true, false) && refused.leaves_something(true, true));
        let away = Patience::default().with(broken(), false).unwrap_err();
        assert!(!away.leaves_something(false, false) && away.leaves_something(true, false));
    }

    #[test]
    fn a_refusal_is_final_and_a_broken_connection_is_not() {
        let said = |code, reason: &'static str| {
            let mut status = Status::new(code, "No.");
            status.metadata_mut().insert("error-reason", reason.parse().unwrap());
            matches!(Break::from(status), Break::Final(_))
        };
        assert!(said(Code::PermissionDenied, "PERMISSION_DENIED"));
        assert!(said(Code::Internal, "INTERNAL"));
        assert!(said(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
        assert!(!said(Code::ResourceExhausted, "OVERLOADED"));
        assert!(!said(Code::Aborted, "CONFLICT"));
        assert!(matches!(Break::from(Status::unknown("h2")), Break::Passing(_)));
    }
}
