//! What a scalar means: the words and numbers of YAML 1.1 as kubectl takes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libyaml_safer::{BOOL_TAG, FLOAT_TAG, INT_TAG, NULL_TAG};
use serde_json::{Number, Value};

/// The tag of `<<`.
pub(super) const MERGE: &str = "tag:yaml.org,2002:merge";
const BINARY: &str = "tag:yaml.org,2002:binary";

/// The value of a scalar; `plain` if it stands without quotes.
pub(super) fn value(text: String, tag: Option<&str>, plain: bool) -> Result<Value, String> {
    match tag {
        None if plain => untagged(text),
        Some(BINARY) => {
            let compact: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(compact).map_err(|error| format!("!!binary: {error}"))?;
            Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Some(tag @ (BOOL_TAG | INT_TAG | FLOAT_TAG | NULL_TAG)) => {
            let value = untagged(text.clone())?;
            let fits = match tag {
                BOOL_TAG => value.is_boolean(),
                INT_TAG => value.is_i64() || value.is_u64(),
                FLOAT_TAG => value.is_number(),
                _ => value.is_null(),
            };
            let name = tag.rsplit(':').next().unwrap_or_default();
            if fits {
                Ok(value)
            } else {
                Err(format!("{text:?} is no !!{name}"))
            }
        }
        // Timestamps and tags of others, too.
        _ => Ok(Value::String(text)),
    }
}

/// A key as JSON has it.
pub(super) fn key(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Err("a key must not be null"),
        Value::Array(_) | Value::Object(_) => Err("a key must not be a list or a mapping"),
    }
}

fn untagged(text: String) -> Result<Value, String> {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Ok(Value::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Ok(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => Err(format!("JSON has no {text}")),
        _ => Ok(number(&text).unwrap_or(Value::String(text))),
    }
}

/// A number in any of the forms of YAML 1.1 but the sexagesimal one, which kubectl takes for a string.
fn number(text: &str) -> Option<Value> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return None;
    }
    let text = text.replace('_', "");
    integer(&text).or_else(|| float(&text))
}

fn integer(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Rust would take another sign.
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, base).ok()?;
    let number = if text.starts_with('-') { -magnitude } else { magnitude };
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => Some(number.into()),
        (_, Ok(number)) => Some(number.into()),
        _ => None,
    }
}

fn float(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let spelled = digits.contains(|c: char| c.is_ascii_digit())
        && digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    let number: f64 = text.parse().ok().filter(|number: &f64| spelled && number.is_finite())?;
    whole(number)
        .map(Value::from)
        .or_else(|| Number::from_f64(number).map(Value::Number))
}

/// A number without a fraction as what it is: JSON does not tell 1.0 from 1, and neither does the API server.
pub(super) fn whole(number: f64) -> Option<i64> {
    const END: f64 = (1_u64 << 63) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "it is compared with the range")]
    (number.fract() == 0.0 && number.abs() < END).then_some(number as i64)
}
