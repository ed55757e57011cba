//! The primitives of a JFR chunk: numbers of both encodings and strings of all. Every read is checked against the end.
//!
//! Called by the other modules of this folder. Source: the JDK's `RecordingInput` and `StringParser`.

use std::borrow::Cow;

use super::JfrError;
use crate::profile::modified_utf8;

/// A place in a chunk.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Whole numbers have seven bits per byte, as is usual; else they have their full width.
    compressed: bool,
}

/// A string as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// None, or an empty one.
    Empty,
    /// Modified UTF-8.
    Utf8(&'a [u8]),
    /// Latin-1.
    Latin1(&'a [u8]),
    /// UTF-16, each unit a number.
    Utf16(&'a [u8], bool),
    /// The string of that key in the pool of strings.
    Pooled(u64),
}

impl<'a> Text<'a> {
    /// What it says, if that is not somewhere else.
    pub(super) fn decode(self) -> Cow<'a, str> {
        match self {
            Self::Empty | Self::Pooled(_) => Cow::Borrowed(""),
            Self::Utf8(bytes) => modified_utf8::decode(bytes),
            Self::Latin1(bytes) => bytes.iter().copied().map(char::from).collect(),
            Self::Utf16(bytes, compressed) => {
                let mut cursor = Cursor::new(bytes, compressed);
                let units = std::iter::from_fn(|| u16::try_from(cursor.short().ok()?).ok());
                char::decode_utf16(units)
                    .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect()
            }
        }
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], compressed: bool) -> Self {
        Self {
            rest: bytes,
            compressed,
        }
    }

    /// Bytes until the end.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], JfrError> {
        self.rest.split_off(..length).ok_or(JfrError::Cut)
    }

    pub(super) fn byte(&mut self) -> Result<u8, JfrError> {
        self.rest.split_off_first().copied().ok_or(JfrError::Cut)
    }

    /// A number of 64 bits.
    pub(super) fn long(&mut self) -> Result<u64, JfrError> {
        self.number(8)
    }

    /// A number of 32 bits.
    pub(super) fn int(&mut self) -> Result<u64, JfrError> {
        self.number(4)
    }

    /// A number of 16 bits.
    pub(super) fn short(&mut self) -> Result<u64, JfrError> {
        self.number(2)
    }

    fn number(&mut self, width: usize) -> Result<u64, JfrError> {
        if !self.compressed {
            return Ok(big_endian(self.take(width)?));
        }
        let mut value = 0;
        for shift in (0..56).step_by(7) {
            let byte = u64::from(self.byte()?);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        // Unlike protobuf's, the ninth byte is the last and has eight bits.
        Ok(value | u64::from(self.byte()?) << 56)
    }

    /// A number of things that follow, each of which takes a byte at least.
    pub(super) fn count(&mut self) -> Result<usize, JfrError> {
        let count = self.int()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.left() => Ok(count),
            _ => Err(JfrError::Count(count)),
        }
    }

    pub(super) fn text(&mut self) -> Result<Text<'a>, JfrError> {
        Ok(match self.byte()? {
            0 | 1 => Text::Empty,
            2 => Text::Pooled(self.long()?),
            encoding @ (3 | 5) => {
                let length = self.count()?;
                let bytes = self.take(length)?;
                if encoding == 3 {
                    Text::Utf8(bytes)
                } else {
                    Text::Latin1(bytes)
                }
            }
            4 => {
                let units = self.count()?;
                let start = self.rest;
                for _ in 0..units {
                    self.short()?;
                }
                let length = start.len() - self.left();
                Text::Utf16(start.get(..length).unwrap_or_default(), self.compressed)
            }
            other => return Err(JfrError::Encoding(other)),
        })
    }
}

/// The value of at most eight bytes.
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_nine_bytes_at_most_and_the_ninth_has_eight_bits() {
        let mut cursor = Cursor::new(
            &[0x96, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7],
            true,
        );
        assert_eq!(cursor.int().unwrap(), 150);
        assert_eq!(cursor.long().unwrap(), u64::MAX);
        assert_eq!(cursor.byte().unwrap(), 7);
        assert!(Cursor::new(&[0x80], true).long().is_err());
    }

    #[test]
    fn numbers_may_have_their_full_width() {
        let mut cursor = Cursor::new(&[0, 0, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9], false);
        assert_eq!((cursor.int().unwrap(), cursor.short().unwrap()), (256, 7));
        assert_eq!(cursor.long().unwrap(), 9);
    }

    #[test]
    fn strings_are_read_in_every_encoding() {
        let text = |bytes: &[u8]| Cursor::new(bytes, true).text().map(|text| text.decode().into_owned());
        assert_eq!(text(&[0]).unwrap(), "");
        assert_eq!(text(&[1]).unwrap(), "");
        assert_eq!(text(b"\x03\x03a\xc3\xa9").unwrap(), "aé");
        assert_eq!(text(b"\x05\x02a\xe9").unwrap(), "aé");
        assert_eq!(text(b"\x04\x03a\xb5\xb0\x03\xae\xb9\x03").unwrap(), "a\u{1d4ae}");
        assert_eq!(text(b"\x04\x01\xb5\xb0\x03").unwrap(), "\u{fffd}", "half of a pair");
        assert_eq!(Cursor::new(&[2, 7], true).text().unwrap(), Text::Pooled(7));
        for bad in [
            &b"\x03\x05a"[..],
            b"\x04\x09a",
            b"\x06",
            b"",
            b"\x03\xff\xff\xff\xff\x7fa",
        ] {
            assert!(text(bad).is_err(), "{bad:?}");
        }
    }
}
