//! A JSON object as the same pairs a query string gives, so that one parser validates both.

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use crate::http::Problem;

/// The members of a JSON object in their order, repeated ones kept: they are an error of the caller, not ours to
/// resolve.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Values of one array: each has a copy of its name, and a body of 64 KiB has room for a long name and thousands of values.
const MOST_VALUES: usize = 64;

/// Reads the object; an array gives its name several times.
pub(in crate::http) fn parse(json: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let members: Members = serde_json::from_slice(json).map_err(|error| Problem::malformed_body(error.to_string()))?;
    let mut pairs = Vec::new();
    for (name, value) in members.0 {
        match value {
            Value::Array(values) if values.len() > MOST_VALUES => {
                let name = crate::capture::request::shorten(&name);
                let text = format!("{name:?} has more than {MOST_VALUES} values");
                return Err(Problem::malformed_body(text));
            }
            Value::Array(values) => {
                for value in &values {
                    pairs.push((name.clone(), text(&name, value)?));
                }
            }
            value => pairs.push((name.clone(), text(&name, &value)?)),
        }
    }
    Ok(pairs)
}

fn text(name: &str, value: &Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let name = crate::capture::request::shorten(name);
            Err(Problem::malformed_body(format!(
                "{name:?} is neither a string nor a number nor true or false"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_become_the_pairs_of_a_query() {
        let json = br#"{"seconds": 5, "event": "wall", "threads": true, "include": ["a", "b"]}"#;
        let expected = [
            ("seconds", "5"),
            ("event", "wall"),
            ("threads", "true"),
            ("include", "a"),
            ("include", "b"),
        ];
        assert_eq!(
            parse(json).unwrap(),
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        assert_eq!(parse(b"{}").unwrap(), []);
    }

    #[test]
    fn repeated_members_stay_visible() {
        assert_eq!(parse(br#"{"pid": 1, "pid": 2}"#).unwrap().len(), 2);
    }

    #[test]
    fn a_long_name_is_not_repeated_for_each_of_many_values() {
        let array = |values: usize| format!(r#"{{"{}":[{}0]}}"#, "n".repeat(30_000), "0,".repeat(values - 1));
        assert_eq!(parse(array(64).as_bytes()).unwrap().len(), 64);
        let problem = parse(array(15_000).as_bytes()).unwrap_err();
        assert_eq!(problem.code(), "malformed_body");
        assert!(format!("{problem:?}").len() < 1000);
    }

    #[test]
    fn what_is_no_flat_object_is_refused() {
        let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for bad in [
            "",
            "[]",
            "1",
            "{",
            r#"{"a": null}"#,
            r#"{"a": {}}"#,
            r#"{"a": [[1]]}"#,
            "{} {}",
            &nested,
        ] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err().code(), "malformed_body", "{bad:.20}");
        }
    }
}
