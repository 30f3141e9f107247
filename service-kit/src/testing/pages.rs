//! How does a test go through any list, whatever is in it?

use prost_reflect::{DynamicMessage, MethodDescriptor, Value, prost::Message};

use super::{descriptor, repeats::method};

/// Every method of a package that answers with one page after the other.
pub fn list_methods(package: &str) -> Vec<String> {
    let methods = descriptor::methods(&descriptor::pool(), package);
    let is_paged = |it: &&MethodDescriptor| {
        !it.is_server_streaming() && it.input().get_field_by_name("page_token").is_some()
    };
    let paged = methods.iter().filter(is_paged);
    paged.map(descriptor::path).collect()
}

/// A request for one row behind a place; from the beginning on where there is none.
pub fn one_of_a_page(path: &str, page_token: &str) -> Vec<u8> {
    let mut request = DynamicMessage::new(method(path).input());
    request.set_field_by_name("page_size", Value::I32(1));
    request.set_field_by_name("page_token", Value::String(page_token.to_owned()));
    request.encode_to_vec()
}

/// Where an answer says that the next page begins.
pub fn next_page_token(path: &str, answer: &[u8]) -> String {
    let answer = DynamicMessage::decode(method(path).output(), answer).unwrap();
    answer.get_field_by_name("next_page_token").unwrap().as_str().unwrap().to_owned()
}

/// The ids of the rows of an answer.
pub fn listed(path: &str, answer: &[u8]) -> Vec<i64> {
    let answer = DynamicMessage::decode(method(path).output(), answer).unwrap();
    let mut lists = answer.fields().filter_map(|(_, value)| value.as_list());
    let rows = lists.next().unwrap_or_default();
    assert!(lists.next().is_none(), "{path} answers with one list");
    rows.iter().map(|row| id_of(row.as_message().unwrap())).collect()
}

/// The id of a row, or of what it is about.
fn id_of(row: &DynamicMessage) -> i64 {
    match row.get_field_by_name("id") {
        Some(id) => id.as_i64().unwrap(),
        None => row.fields().find_map(|(_, value)| Some(id_of(value.as_message()?))).unwrap(),
    }
}
