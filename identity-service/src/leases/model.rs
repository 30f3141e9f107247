//! How do revocations and places in their log look on the wire?

use proto::identity::v1::{self as pb, revocation::Holder as Shown};
use service_kit::{
    fields::{Fields, Flaw},
    lease::{
        LEASE,
        feed::Word,
        log::{Numbered, Position},
    },
};
use uuid::Uuid;

/// An event as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Revocation {
    pub account_id: i64,
    pub kind: String,
    pub id: i64,
}

/// A request, understood.
#[derive(Debug)]
pub struct Request {
    pub start: Uuid,
    pub applied: Option<Position>,
    /// None: it only acknowledges.
    pub ping: Option<i64>,
}

impl Request {
    pub fn parse(fields: &mut Fields, request: &pb::WatchRevocationsRequest) -> Option<Self> {
        let start = Uuid::try_parse(&request.start_id);
        let start = fields.take("start_id", start.map_err(|_| Flaw::bad("must be a UUID")));
        let applied = request.applied.as_ref().map(|sent| {
            Position::parse(sent).ok_or_else(|| Flaw::bad("must be the position of a response"))
        });
        let applied = fields.take("applied", applied.transpose());
        let ping = match request.ping {
            0 => Ok(None),
            1.. => Ok(Some(request.ping)),
            _ => Err(Flaw::bad("must be 0, or the number of a ping")),
        };
        let ping = fields.take("ping", ping);
        Some(Self { start: start?, applied: applied?, ping: ping? })
    }
}

/// A response, to a ping or to none. A lease goes out only with all that there is to say.
pub fn response(word: Word<Revocation>, ping: Option<i64>) -> pb::WatchRevocationsResponse {
    let ping = ping.filter(|_| word.is_all);
    let lease = ping.filter(|_| word.gives()).and_then(|_| LEASE.try_into().ok());
    pb::WatchRevocationsResponse {
        reset: word.reset,
        revocations: word.events.into_iter().map(shown).collect(),
        position: Some(word.position.into()),
        ping: ping.unwrap_or_default(),
        lease,
    }
}

fn shown(numbered: Numbered<Revocation>) -> pb::Revocation {
    let Numbered { number, event } = numbered;
    let holder = match event.kind.as_str() {
        "account" => Some(Shown::WholeAccount(true)),
        "employee" => Some(Shown::EmployeeId(event.id)),
        "session" => Some(Shown::SessionId(event.id)),
        "api_key" => Some(Shown::ApiKeyId(event.id)),
        // A later version's, whose turn it was while ours still runs: about the whole account.
        _ => None,
    };
    pb::Revocation { number, account_id: event.account_id, holder }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(is_all: bool, may_give: bool) -> Word<Revocation> {
        let event = |kind: &str, id| Revocation { account_id: 3, kind: kind.to_owned(), id };
        let events = ["account", "employee", "session", "api_key", "robot"];
        let numbered = events
            .into_iter()
            .zip(8..)
            .map(|(kind, number)| Numbered { number, event: event(kind, number * 10) });
        let position = Position { epoch: Uuid::from_u128(1), number: 12 };
        Word { reset: false, events: numbered.collect(), position, is_all, may_give }
    }

    #[test]
    fn a_lease_goes_out_with_the_last_word_only_and_to_a_ping_only() {
        let leased = response(word(true, true), Some(4));
        let second = prost_types::Duration { seconds: 1, nanos: 0 };
        assert_eq!((leased.ping, leased.lease), (4, Some(second)));
        for (word, ping, answered) in [
            (word(false, true), Some(4), 0),
            (word(true, false), Some(4), 4),
            (word(true, true), None, 0),
        ] {
            let response = response(word, ping);
            assert_eq!((response.ping, response.lease), (answered, None));
        }
    }

    #[test]
    fn what_a_later_version_revokes_is_told_all_the_same() {
        let response = response(word(true, true), None);
        let holders: Vec<_> = response.revocations.iter().map(|it| it.holder).collect();
        let known = [
            Shown::WholeAccount(true),
            Shown::EmployeeId(90),
            Shown::SessionId(100),
            Shown::ApiKeyId(110),
        ];
        assert_eq!(holders[..4], known.map(Some));
        assert_eq!(holders[4], None);
        assert!(response.revocations.iter().all(|it| it.account_id == 3));
    }

    #[test]
    fn a_request_has_a_start_and_what_a_response_had() {
        let place = pb::LogPosition { epoch: Uuid::from_u128(1).to_string(), number: 7 };
        let good = pb::WatchRevocationsRequest {
            start_id: Uuid::from_u128(2).to_string(),
            applied: Some(place),
            ping: 3,
        };
        let parse = |request: &_| Request::parse(&mut Fields::default(), request);
        let request = parse(&good).unwrap();
        assert_eq!((request.ping, request.applied.unwrap().number), (Some(3), 7));
        let anonymous = pb::WatchRevocationsRequest { start_id: String::new(), ..good.clone() };
        let nowhere = Some(pb::LogPosition::default());
        let nowhere = pb::WatchRevocationsRequest { applied: nowhere, ..good.clone() };
        let backwards = pb::WatchRevocationsRequest { ping: -1, ..good.clone() };
        for bad in [anonymous, nowhere, backwards] {
            assert!(parse(&bad).is_none(), "{bad:?}");
        }
        let quiet = pb::WatchRevocationsRequest { applied: None, ping: 0, ..good };
        let quiet = parse(&quiet).unwrap();
        assert_eq!((quiet.ping, quiet.applied), (None, None));
    }
}
