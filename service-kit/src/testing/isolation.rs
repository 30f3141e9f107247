//! Can anybody reach a row of another account by its id?
//!
//! Generated from the descriptor: every field of every request that holds an id is tried with
//! the id of another account's row. A method with such a field and without an example call
//! fails, so that a new method cannot be forgotten.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, ReflectMessage, Value};
use tonic::{Code, transport::Channel};

use super::{
    descriptor::{self, Reached},
    raw,
    refusal::Refusal,
};
use crate::policy::{Access, Rule};

/// What the check needs to know about a service.
pub struct Service<'a> {
    pub package: &'a str,
    pub policy: &'a [Rule],
    /// Fields that are output only there: `("/crm.v1.ClientService/CreateClient", "client.id")`.
    pub ignored: &'a [(&'a str, &'a str)],
    /// Fields by which a list is narrowed or a batch is named: there another account's id reads
    /// as nothing.
    pub omitted: &'a [(&'a str, &'a str)],
    /// For each method a call that would succeed, encoded.
    pub examples: BTreeMap<&'a str, Vec<u8>>,
}

/// Ids of one kind of row: one of another account, and one that nobody has.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    pub foreign: i64,
    pub unknown: i64,
}

/// Everything that gave another account's row away: nothing, or sentences.
pub async fn leaks(
    service: &Service<'_>,
    channel: &Channel,
    token: &str,
    ids: impl Fn(&str, &str) -> Ids,
) -> Vec<String> {
    leaks_also_by_work(service, channel, token, ids, async |_: &str| 0).await
}

/// The same, and whatever takes more work for a row of another account's than for none, or less:
/// `statements` says how many the calls of a method have taken so far.
pub async fn leaks_also_by_work(
    service: &Service<'_>,
    channel: &Channel,
    token: &str,
    ids: impl Fn(&str, &str) -> Ids,
    statements: impl AsyncFn(&str) -> u64,
) -> Vec<String> {
    let mut leaks = Vec::new();
    for (method, reached) in id_fields(service) {
        let path = descriptor::path(&method);
        let Some(example) = service.examples.get(path.as_str()) else {
            leaks.push(format!("{path} takes {} and has no example here", reached.name()));
            continue;
        };
        let ids = ids(&path, &reached.name());
        let tried = async |id| {
            let before = statements(&path).await;
            let answer = answer(channel, token, &method, example, &reached, id).await;
            (answer, statements(&path).await - before)
        };
        let (foreign, of_foreign) = tried(ids.foreign).await;
        let (unknown, of_unknown) = tried(ids.unknown).await;
        if of_foreign != of_unknown {
            leaks.push(format!(
                "{path} takes {of_foreign} statements for another account's {} and {of_unknown} for an unknown one",
                reached.name()
            ));
        }
        let omitted = service.omitted.contains(&(path.as_str(), reached.name().as_str()));
        match (foreign, unknown) {
            (Ok(foreign), Ok(unknown)) if omitted && foreign == unknown => {}
            (Ok(_), _) => leaks.push(format!("{path} took another account's {}", reached.name())),
            (Err(foreign), Err(unknown)) if foreign.code == Code::NotFound && foreign == unknown => {}
            (foreign, unknown) => leaks.push(format!(
                "{path} tells another account's {} from an unknown one, or does not say NOT_FOUND: {foreign:?}, {unknown:?}",
                reached.name()
            )),
        }
    }
    leaks
}

/// Every field that an employee can put an id into.
pub fn id_fields(service: &Service<'_>) -> Vec<(MethodDescriptor, Reached)> {
    let pool = descriptor::pool();
    let mut found = Vec::new();
    for method in descriptor::methods(&pool, service.package) {
        let path = descriptor::path(&method);
        if service.policy.iter().any(|rule| rule.method == path && rule.access == Access::Service) {
            continue;
        }
        for reached in descriptor::fields(&method.input()) {
            let name = reached.name();
            // Every number that could be an id is one, unless it is listed.
            if reached.field().kind() == Kind::Int64
                && !service.ignored.contains(&(path.as_str(), name.as_str()))
            {
                found.push((method.clone(), reached));
            }
        }
    }
    found
}

async fn answer(
    channel: &Channel,
    token: &str,
    method: &MethodDescriptor,
    example: &[u8],
    reached: &Reached,
    id: i64,
) -> Result<Bytes, Refusal> {
    let mut message = DynamicMessage::decode(method.input(), example).unwrap();
    set(&mut message, reached, id);
    let bytes = prost_reflect::prost::Message::encode_to_vec(&message);
    let answer = raw::call(channel, &descriptor::path(method), raw::request(bytes, token)).await;
    answer.map(tonic::Response::into_inner).map_err(|status| Refusal::of(&status))
}

pub(super) fn set(message: &mut DynamicMessage, reached: &Reached, id: i64) {
    let (last, above) = reached.path.split_last().unwrap();
    let mut place = message;
    for field in above {
        place = match place.get_field_mut(field) {
            Value::Message(inner) => inner,
            // The example has one that is good.
            Value::List(list) if matches!(list.first(), Some(Value::Message(_))) => {
                let Some(Value::Message(first)) = list.first_mut() else { unreachable!() };
                first
            }
            _ => panic!("{} is no message, nor a list that begins with one", field.full_name()),
        };
    }
    assert_eq!(place.descriptor(), *last.parent_message());
    let id = Value::I64(id);
    place.set_field(last, if last.is_list() { Value::List(vec![id]) } else { id });
}
