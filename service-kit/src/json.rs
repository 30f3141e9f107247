//! How does JSON from the database look on the wire?

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::Value as Json;

/// An object as a `google.protobuf.Struct`; nothing where it is none.
pub fn to_struct(json: Json) -> Option<Struct> {
    let Json::Object(object) = json else { return None };
    Some(Struct { fields: object.into_iter().map(|(key, value)| (key, to_value(value))).collect() })
}

fn to_value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(flag),
        // Numbers on the wire are doubles: a large one keeps its digits as text.
        Json::Number(number) => match number.as_f64().filter(|_| is_exact(&number)) {
            Some(number) => Kind::NumberValue(number),
            None => Kind::StringValue(number.to_string()),
        },
        Json::String(text) => Kind::StringValue(text),
        Json::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(to_value).collect() })
        }
        object @ Json::Object(_) => {
            return Value { kind: to_struct(object).map(Kind::StructValue) };
        }
    };
    Value { kind: Some(kind) }
}

/// Whether a double holds it digit for digit.
fn is_exact(number: &serde_json::Number) -> bool {
    const LARGEST: i64 = 1 << 53;
    number.as_i64().is_none_or(|integer| (-LARGEST..=LARGEST).contains(&integer))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_has_its_place() {
        let json = json!({
            "null": null, "flag": true, "few": 7, "many": i64::MAX, "text": "x",
            "list": [1, "two"], "object": { "deep": 1.5 },
        });
        let fields = to_struct(json).unwrap().fields;
        let kind = |name: &str| fields[name].kind.clone().unwrap();
        assert_eq!(kind("null"), Kind::NullValue(0));
        assert_eq!(kind("flag"), Kind::BoolValue(true));
        assert_eq!(kind("few"), Kind::NumberValue(7.0));
        assert_eq!(kind("many"), Kind::StringValue(i64::MAX.to_string()));
        assert_eq!(kind("text"), Kind::StringValue("x".into()));
        assert!(matches!(kind("list"), Kind::ListValue(list) if list.values.len() == 2));
        assert!(matches!(kind("object"), Kind::StructValue(object) if object.fields.len() == 1));
        assert_eq!(to_struct(json!([])), None);
    }
}
