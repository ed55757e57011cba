//! The object of a review without the long lists that no decision looks at.
//!
//! `env` of a container and `managedFields` are most of a big pod: skipped, 1,500 variables cost 0.16 ms instead of 1.1 ms.
//! The key stays, with an empty list; of an `env` that is not empty one item stays, so that a patch appends to it, and it has
//! the names that a decision may ask for. Called by `review`.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, json};

use crate::inject::variables::NAMES;

/// How much of a list is kept. Only of lists: `env` is also a common label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    /// Whether it has items, and which of [`NAMES`].
    Names,
    Nothing,
}

impl Keep {
    fn of(key: &str) -> Self {
        match key {
            "env" => Self::Names,
            "managedFields" => Self::Nothing,
            _ => Self::All,
        }
    }
}

/// Values that are kept of one object. A pod of the 256 containers at which we end has some 15,000, and a value takes up to
/// 200 bytes: three megabytes of `[0,0,…]` would take 150 of memory.
const MOST_VALUES: usize = 1 << 15;

/// An object, or what could be kept of it.
#[derive(Debug, Default)]
pub(super) struct LeanObject {
    /// Null where there is none.
    pub(super) value: Value,
    /// It has more than [`MOST_VALUES`]; those beyond are missing.
    pub(super) is_cut: bool,
}

impl<'de> Deserialize<'de> for LeanObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = Cell::new(Some(MOST_VALUES));
        let value = Lean {
            keep: Keep::All,
            left: &left,
        }
        .deserialize(deserializer)?;
        Ok(Self {
            value,
            is_cut: left.get().is_none(),
        })
    }
}

/// A value; of a list what `keep` says.
#[derive(Debug, Clone, Copy)]
struct Lean<'a> {
    keep: Keep,
    /// How many more may be kept; `None` after one more was there.
    left: &'a Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for Lean<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(1)));
        if self.left.get().is_none() {
            IgnoredAny::deserialize(deserializer)?;
            return Ok(Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lean<'_> {
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
        match self.keep {
            Keep::All => {
                while self.left.get().is_some() {
                    let Some(value) = list.next_element_seed(self)? else {
                        return Ok(Value::Array(values));
                    };
                    values.push(value);
                }
            }
            Keep::Names => {
                let (mut found, mut is_empty) = ([false; NAMES.len()], true);
                while let Some(asked) = list.next_element_seed(OneOf(&NAMES))? {
                    is_empty = false;
                    if let Some(index) = asked {
                        found[index] = true;
                    }
                }
                let names = NAMES.iter().zip(found).filter(|(_, found)| *found);
                values.extend(names.map(|(name, _)| json!({ "name": name })));
                if values.is_empty() && !is_empty {
                    values.push(Value::Null);
                }
            }
            Keep::Nothing => {}
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while self.left.get().is_some() {
            let Some(key) = entries.next_key::<String>()? else {
                return Ok(Value::Object(map));
            };
            let keep = Keep::of(&key);
            let value = entries.next_value_seed(Self { keep, ..self })?;
            map.insert(key, value);
        }
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object(map))
    }
}

/// Which of these texts a value is, or has as its `name`; nothing of it is kept.
#[derive(Debug, Clone, Copy)]
struct OneOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneOf {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|one| *one == text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<usize>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<usize>, A::Error> {
        let mut found = None;
        while let Some(is_name) = entries.next_key_seed(Self(&["name"]))? {
            if is_name.is_some() {
                found = entries.next_value_seed(self)?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lean(text: &str) -> Value {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let object = LeanObject::deserialize(&mut deserializer).unwrap();
        deserializer.end().unwrap();
        assert!(!object.is_cut);
        object.value
    }

    #[test]
    fn lists_that_no_decision_reads_are_empty_and_everything_else_is_as_it_came() {
        let text = r#"{"metadata":{"managedFields":[{"a":1}],"labels":{"env":"production"}},"spec":{"containers":
            [{"name":"app","env":[{"name":"A","value":"]}"}],"ports":[{"containerPort":8080}],"x":[-1,1.5,true,null,"é",[],{}]}]}}"#;
        let mut whole: Value = serde_json::from_str(text).unwrap();
        whole["metadata"]["managedFields"] = Value::Array(Vec::new());
        whole["spec"]["containers"][0]["env"] = json!([null]);
        assert_eq!(lean(text), whole);
    }

    #[test]
    fn of_an_environment_its_emptiness_and_some_names_are_known() {
        for (env, expected) in [
            ("[]", json!([])),
            (
                r#"[{"name":"A","value":"JAVA_TOOL_OPTIONS"},1,[],null,"x",{"a":{}}]"#,
                json!([null]),
            ),
            (
                r#"[{"name":"A"},{"value":{"a":[1]},"name":"JAVA_TOOL_OPTIONS"},{}]"#,
                json!([{"name": NAMES[0]}]),
            ),
            (
                r#"[{"n\u0061me":"JAVA_TOOL_OPTION\u0053"}]"#,
                json!([{"name": NAMES[0]}]),
            ),
            (
                r#"[{"name":"DOTNET_EventPipeThreadSamplingRate"},{"name":"JAVA_TOOL_OPTIONS"}]"#,
                json!([{"name": NAMES[0]}, {"name": NAMES[1]}]),
            ),
        ] {
            assert_eq!(lean(&format!("{{\"env\":{env}}}")), json!({ "env": expected }), "{env}");
        }
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
        assert!(serde_json::from_str::<LeanObject>(&deep).is_err());
    }

    #[test]
    fn values_beyond_the_cap_are_not_kept_and_the_text_is_still_checked() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        let map = |count: usize| {
            let entries: Vec<String> = (0..count).map(|number| format!("\"{number}\":[]")).collect();
            format!("{{{}}}", entries.join(","))
        };
        for text in [list(MOST_VALUES - 1), map(MOST_VALUES - 1)] {
            assert!(!serde_json::from_str::<LeanObject>(&text).unwrap().is_cut);
        }
        for text in [
            list(MOST_VALUES),
            map(MOST_VALUES),
            list(1_000_000),
            format!("[{},[{{}}]]", list(MOST_VALUES)),
        ] {
            let object = serde_json::from_str::<LeanObject>(&text).unwrap();
            assert!(object.is_cut);
            assert!(serde_json::from_str::<LeanObject>(&text[..text.len() - 1]).is_err());
        }
        let env = format!("{{\"env\":{}}}", list(1_000_000));
        assert!(
            !serde_json::from_str::<LeanObject>(&env).unwrap().is_cut,
            "what is not read counts nothing"
        );
    }
}
