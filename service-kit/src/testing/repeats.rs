//! Can every call that changes something be sent again without a second effect?
//!
//! Generated from the descriptor: which requests have a `request_id`, and how a call looks with
//! one, and with one and something else in it.

use prost_reflect::{
    DynamicMessage, Kind, MethodDescriptor, ReflectMessage, Value, prost::Message,
};

use tonic::transport::Channel;

use super::{
    descriptor::{self, Reached},
    isolation::{self, Service},
    raw,
    refusal::Refusal,
};

const REQUEST_ID: &str = "request_id";

/// A method by its path.
pub fn method(path: &str) -> MethodDescriptor {
    let (service, name) = path.trim_start_matches('/').split_once('/').unwrap();
    let service = descriptor::pool().get_service_by_name(service).expect(path);
    service.methods().find(|method| method.name() == name).expect(path)
}

pub fn is_repeatable(method: &MethodDescriptor) -> bool {
    method.input().get_field_by_name(REQUEST_ID).is_some()
}

/// Methods that change something and cannot be repeated although they are no exception, and the
/// other way round: none, or sentences.
pub fn wrongly_repeatable(
    package: &str,
    changes: impl Fn(&str) -> bool,
    exceptions: &[&str],
) -> Vec<String> {
    let mut found = Vec::new();
    for method in descriptor::methods(&descriptor::pool(), package) {
        let path = descriptor::path(&method);
        let should = changes(&path) && !exceptions.contains(&path.as_str());
        match (should, is_repeatable(&method)) {
            (true, false) => found.push(format!("{path} has no {REQUEST_ID}")),
            (false, true) => found.push(format!("{path} has a {REQUEST_ID}")),
            _ => {}
        }
    }
    found
}

/// A call under a request id.
pub fn under(method: &MethodDescriptor, body: &[u8], request_id: &str) -> Vec<u8> {
    let mut message = DynamicMessage::decode(method.input(), body).unwrap();
    message.set_field_by_name(REQUEST_ID, Value::String(request_id.to_owned()));
    message.encode_to_vec()
}

/// The same call with something else in it, in the first text or number that may be another;
/// none where there is none. `kept` has the full names of fields that must stay.
pub fn with_something_else(
    method: &MethodDescriptor,
    body: &[u8],
    kept: &[&str],
) -> Option<Vec<u8>> {
    let mut message = DynamicMessage::decode(method.input(), body).unwrap();
    let fields = descriptor::fields(&method.input());
    let may_differ = |reached: &&Reached| {
        let field = reached.field();
        let is_inside_something_repeated =
            reached.path.iter().any(prost_reflect::FieldDescriptor::is_list);
        field.name() != REQUEST_ID
            && !is_inside_something_repeated
            && !kept.contains(&field.full_name())
    };
    let of_kind = |kind: Kind| {
        fields.iter().filter(may_differ).find(|reached| reached.field().kind() == kind)
    };
    let reached = of_kind(Kind::String).or_else(|| of_kind(Kind::Int64))?;
    let (last, above) = reached.path.split_last()?;
    let mut place = &mut message;
    for field in above {
        let Value::Message(inner) = place.get_field_mut(field) else {
            panic!("{} is no message", field.full_name())
        };
        place = inner;
    }
    let other = match place.get_field(last).as_ref() {
        Value::I64(number) => Value::I64(number + 1),
        // Good as a name and as an address.
        _ => Value::String("other@example.com".to_owned()),
    };
    assert_eq!(place.descriptor(), *last.parent_message());
    place.set_field(last, other);
    Some(message.encode_to_vec())
}

/// Calls that do not name a missing id and a bad `request_id` together: none, or sentences. `free`
/// has ids that may be missing.
pub async fn faults_named_apart(
    service: &Service<'_>,
    channel: &Channel,
    token: &str,
    free: &[(&str, &str)],
) -> Vec<String> {
    let mut found = Vec::new();
    for (method, reached) in isolation::id_fields(service) {
        let (path, name) = (descriptor::path(&method), reached.name());
        if !is_repeatable(&method) {
            continue;
        }
        let Some(example) = service.examples.get(path.as_str()) else {
            found.push(format!("{path} takes {name} and has no example here"));
            continue;
        };
        let body = under(&method, example, "nonsense");
        let mut message = DynamicMessage::decode(method.input(), body.as_slice()).unwrap();
        isolation::set(&mut message, &reached, 0);
        let request = raw::request(message.encode_to_vec(), token);
        let fields = match raw::call(channel, &path, request).await {
            Ok(_) => Vec::new(),
            Err(status) => Refusal::of(&status).fields,
        };
        let may_be_missing = free.contains(&(path.as_str(), name.as_str()));
        let names_id = fields.iter().any(|field| is_named(&name, field));
        if names_id == may_be_missing || !fields.iter().any(|field| field == REQUEST_ID) {
            found.push(format!(
                "{path} without {name} and with a bad {REQUEST_ID} names {fields:?}"
            ));
        }
    }
    found
}

/// Whether a field that is named is this one, also where it is one of several:
/// `allocations[0].instalment_id`.
fn is_named(reached: &str, named: &str) -> bool {
    let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let of_one = |part: &String| part.split('[').next().unwrap_or_default().to_owned();
    parts(named).iter().map(of_one).collect::<Vec<_>>() == parts(reached)
}
