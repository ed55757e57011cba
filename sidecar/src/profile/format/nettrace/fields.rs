//! Fields of events that describe themselves, as those of managed code do: which there are, and their values in a payload.
//!
//! Of versions 4 and 5. Must not know an event. Called by [`super::metadata`] and by who wants values.

use super::cursor::{Cursor, Utf16};

/// Fields of one event, those of objects in it counted.
const MOST: usize = 512;
/// Objects in objects.
const DEEPEST: usize = 8;
/// Longest name of a field, in bytes of the stream.
const MAX_NAME: usize = 1 << 10;

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name; that of an object's members stands alone.
    pub name: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Object(Vec<Field>),
    Signed(usize),
    Unsigned(usize),
    Single,
    Double,
    Text,
    /// Of so many bytes, and not looked at.
    Other(usize),
}

/// A value.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A number of any type.
    Number(f64),
    /// Text.
    Text(Utf16<'a>),
}

/// Reads descriptions: a number of fields, and each with its type and name.
///
/// `None` if they are malformed, or have a type whose length is not known.
pub fn read(cursor: &mut Cursor<'_>) -> Option<Vec<Field>> {
    let mut left = MOST;
    members(cursor, DEEPEST, &mut left)
}

fn members(cursor: &mut Cursor<'_>, depth: usize, left: &mut usize) -> Option<Vec<Field>> {
    let count = cursor.u32()? as usize;
    *left = left.checked_sub(count)?;
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        // `TypeCode` of .NET.
        let kind = match cursor.u32()? {
            1 => Kind::Object(members(cursor, depth.checked_sub(1)?, left)?),
            // A bool has the size of Win32's.
            3 => Kind::Unsigned(4),
            4 | 8 => Kind::Unsigned(2),
            5 => Kind::Signed(1),
            6 => Kind::Unsigned(1),
            7 => Kind::Signed(2),
            9 => Kind::Signed(4),
            10 => Kind::Unsigned(4),
            11 => Kind::Signed(8),
            12 => Kind::Unsigned(8),
            13 => Kind::Single,
            14 => Kind::Double,
            15 | 17 => Kind::Other(16),
            16 => Kind::Other(8),
            18 => Kind::Text,
            _ => return None,
        };
        let name = cursor.utf16().filter(|name| name.len() <= MAX_NAME)?;
        fields.push(Field {
            name: name.decode(),
            kind,
        });
    }
    Some(fields)
}

/// Hands each value of a payload to `take`, with the name of its field; `None` if the payload is too short for its fields.
pub fn each<'a>(fields: &[Field], payload: &mut Cursor<'a>, take: &mut dyn FnMut(&str, Value<'a>)) -> Option<()> {
    for Field { name, kind } in fields {
        let number = match kind {
            Kind::Object(members) => {
                each(members, payload, take)?;
                continue;
            }
            Kind::Text => {
                take(name, Value::Text(payload.utf16()?));
                continue;
            }
            Kind::Other(size) => {
                payload.take(*size)?;
                continue;
            }
            Kind::Single => f64::from(f32::from_bits(payload.u32()?)),
            Kind::Double => payload.f64()?,
            Kind::Signed(size) => signed(payload.take(*size)?),
            Kind::Unsigned(size) => unsigned(payload.take(*size)?),
        };
        take(name, Value::Number(number));
    }
    Some(())
}

#[expect(clippy::cast_precision_loss, reason = "a counter beyond 2^53 is rounded")]
fn unsigned(bytes: &[u8]) -> f64 {
    bytes
        .iter()
        .rev()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) as f64
}

#[expect(clippy::cast_precision_loss, reason = "a counter beyond 2^53 is rounded")]
fn signed(bytes: &[u8]) -> f64 {
    let negative = bytes.last().is_some_and(|high| high & 0x80 != 0);
    let start = if negative { -1_i64 } else { 0 };
    bytes
        .iter()
        .rev()
        .fold(start, |number, byte| number << 8 | i64::from(*byte)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::nettrace::example::utf16;

    fn described(fields: &[(u32, &str)]) -> Vec<u8> {
        let mut bytes = u32::try_from(fields.len()).unwrap().to_le_bytes().to_vec();
        for (kind, name) in fields {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(utf16(name));
        }
        bytes
    }

    fn values(fields: &[Field], payload: &[u8]) -> Option<Vec<String>> {
        let mut values = Vec::new();
        each(fields, &mut Cursor::new(payload), &mut |name, value| {
            values.push(match value {
                Value::Number(number) => format!("{name}={number}"),
                Value::Text(text) => format!("{name}={}", text.decode()),
            });
        })?;
        Some(values)
    }

    #[test]
    fn numbers_and_texts_are_found_in_objects_too() {
        let mut object = 1_u32.to_le_bytes().to_vec();
        object.extend(1_u32.to_le_bytes());
        object.extend(described(&[
            (18, "Name"),
            (14, "Mean"),
            (9, "Count"),
            (16, "At"),
            (6, "Small"),
        ]));
        object.extend(utf16("Payload"));
        let fields = read(&mut Cursor::new(&object)).unwrap();
        let mut payload = utf16("gc-count");
        payload.extend(1.5_f64.to_le_bytes());
        payload.extend((-3_i32).to_le_bytes());
        payload.extend([0; 8]);
        payload.push(200);
        let expected = ["Name=gc-count", "Mean=1.5", "Count=-3", "Small=200"].map(str::to_owned);
        assert_eq!(values(&fields, &payload), Some(expected.to_vec()));
        for end in 0..payload.len() {
            assert_eq!(values(&fields, &payload[..end]), None, "{end}");
        }
        for end in 0..object.len() {
            assert_eq!(read(&mut Cursor::new(&object[..end])), None, "{end}");
        }
    }

    #[test]
    fn what_lies_about_its_size_is_no_description() {
        assert_eq!(read(&mut Cursor::new(&[0xff; 64])), None);
        assert_eq!(read(&mut Cursor::new(&described(&[(19, "Array")]))), None);
        let deep: Vec<u8> = std::iter::repeat_n([1, 0, 0, 0], 64).flatten().collect();
        assert_eq!(read(&mut Cursor::new(&deep)), None);
    }
}
