//! Protobuf's outermost layer: the fields of one message, one after the other, without copying.
//!
//! Called by the pprof reader, which decodes each field when its turn comes; a message decoded as a whole could take
//! forty times its size in memory.

use crate::varint;

/// The bytes are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("broken protobuf at byte {offset}")]
pub struct WireError {
    /// Where the field begins that cannot be read.
    pub offset: usize,
}

/// The content of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A number.
    Varint(u64),
    /// A string, a message or packed numbers.
    Bytes(&'a [u8]),
    /// 4 or 8 bytes, which `profile.proto` has none of.
    Fixed,
}

/// Iterates over the fields of a message; ends after the first error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    whole: &'a [u8],
    offset: usize,
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn of(message: &'a [u8]) -> Self {
        Self {
            whole: message,
            offset: 0,
        }
    }

    fn field_at(&self, offset: usize) -> Option<(u32, Content<'a>, usize)> {
        let mut rest = self.whole.get(offset..)?;
        let key = varint::take(&mut rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|&number| number > 0)?;
        let content = match key & 7 {
            0 => Content::Varint(varint::take(&mut rest)?),
            2 => {
                let length = usize::try_from(varint::take(&mut rest)?).ok()?;
                Content::Bytes(rest.split_off(..length)?)
            }
            1 => rest.split_off(..8).map(|_| Content::Fixed)?,
            5 => rest.split_off(..4).map(|_| Content::Fixed)?,
            _ => return None,
        };
        Some((number, content, self.whole.len() - rest.len()))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Content<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.whole.len() {
            return None;
        }
        let offset = self.offset;
        self.offset = self.whole.len();
        let (number, content, end) = match self.field_at(offset) {
            Some(field) => field,
            None => return Some(Err(WireError { offset })),
        };
        self.offset = end;
        Some(Ok((number, content)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order() {
        let message = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 2, 3, 4];
        let fields: Vec<_> = Fields::of(&message).map(Result::unwrap).collect();
        assert_eq!(
            fields,
            [
                (1, Content::Varint(150)),
                (2, Content::Bytes(b"hi")),
                (3, Content::Fixed)
            ]
        );
    }

    #[test]
    fn broken_fields_are_errors_and_end_the_message() {
        for message in [
            &[0x08][..],
            &[0x12, 5, 1],
            &[0x0b],
            &[0x00, 1],
            &[0x08, 0xff],
            &[0x08; 1],
            &[0x1d, 1],
        ] {
            let fields: Vec<_> = Fields::of(message).collect();
            assert_eq!(fields, [Err(WireError { offset: 0 })], "{message:?}");
        }
        let eleven = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(Fields::of(&eleven).next().unwrap().is_err());
    }
}
