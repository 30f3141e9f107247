//! How does a test go through any list, whatever is in it?

use prost_reflect::{DynamicMessage, Value, prost::Message};

use super::{descriptor, repeats::method};

/// Every method of a package that answers page by page.
pub fn list_methods(package: &str) -> Vec<String> {
    let methods = descriptor::methods(&descriptor::pool(), package);
    let paged = methods.iter().filter(|it| it.input().get_field_by_name("page_token").is_some());
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
