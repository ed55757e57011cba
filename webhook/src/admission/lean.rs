//! The object of a review without the long lists that no decision looks at.
//!
//! `env` of a container and `managedFields` are most of a big pod: skipped, 1,500 variables cost 0.16 ms instead of 1.1 ms.
//! The key stays, with an empty list, so that no pointer of a patch changes. Called by `review`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Lists of these names are skipped. Only lists: `env` is also a common label.
const UNREAD: [&str; 2] = ["env", "managedFields"];

/// For `#[serde(deserialize_with)]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Lean { skip: false }.deserialize(deserializer)
}

/// A value; an empty list in place of a list if `skip`.
#[derive(Debug, Clone, Copy)]
struct Lean {
    skip: bool,
}

impl<'de> DeserializeSeed<'de> for Lean {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lean {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        if self.skip {
            while list.next_element::<IgnoredAny>()?.is_some() {}
        } else {
            while let Some(value) = list.next_element_seed(Self { skip: false })? {
                values.push(value);
            }
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let skip = UNREAD.contains(&key.as_str());
            let value = entries.next_value_seed(Self { skip })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lean(text: &str) -> Value {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = deserialize(&mut deserializer).unwrap();
        deserializer.end().unwrap();
        value
    }

    #[test]
    fn lists_that_no_decision_reads_are_empty_and_everything_else_is_as_it_came() {
        let text = r#"{"metadata":{"managedFields":[{"a":1}],"labels":{"env":"production"}},"spec":{"containers":
            [{"name":"app","env":[{"name":"A","value":"]}"}],"ports":[{"containerPort":8080}],"x":[-1,1.5,true,null,"é",[],{}]}]}}"#;
        let mut whole: Value = serde_json::from_str(text).unwrap();
        whole["metadata"]["managedFields"] = Value::Array(Vec::new());
        whole["spec"]["containers"][0]["env"] = Value::Array(Vec::new());
        assert_eq!(lean(text), whole);
    }

    #[test]
    fn numbers_and_shapes_of_every_kind_survive() {
        for text in [
            "null",
            "[18446744073709551615,-9223372036854775808,1e300,0.1]",
            r#"{"env":{"a":[1]},"managedFields":null}"#,
            r#"{"env":"x"}"#,
        ] {
            assert_eq!(lean(text), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(10_000);
        assert!(deserialize(&mut serde_json::Deserializer::from_str(&deep)).is_err());
    }
}
