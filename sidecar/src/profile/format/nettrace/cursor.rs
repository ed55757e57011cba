//! Takes numbers and texts off the front of some bytes, as nettrace writes them: little-endian and packed.
//!
//! Knows no block. Called by everything that reads the content of one. `None` always means that the bytes end too early, or that a
//! number has more bits than its type.

use std::borrow::Cow;

/// The bytes that are left.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A floating-point number of eight bytes.
    pub fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A number of 4 or 8 bytes.
    pub fn pointer(&mut self, size: usize) -> Option<u64> {
        if size == 4 {
            self.u32().map(u64::from)
        } else {
            self.u64()
        }
    }

    /// A size of four bytes.
    pub fn size(&mut self) -> Option<usize> {
        self.u32().map(|size| size as usize)
    }

    /// A number of seven bits per byte, the least significant first.
    pub fn var64(&mut self) -> Option<u64> {
        let first = self.u8()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.u8()?;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The same, of at most 32 bits.
    pub fn var32(&mut self) -> Option<u32> {
        self.var64().and_then(|value| u32::try_from(value).ok())
    }

    /// Text in UTF-16 up to a zero, which is taken, too. It is not decoded yet.
    pub fn utf16(&mut self) -> Option<Utf16<'a>> {
        let (units, _) = self.rest.as_chunks::<2>();
        let end = units.iter().position(|unit| *unit == [0, 0])?;
        let text = self.take(2 * end)?;
        self.take(2)?;
        Some(Utf16(text))
    }

    /// Text in UTF-8 with its length before it; what is none becomes U+FFFD.
    pub fn utf8(&mut self) -> Option<Cow<'a, str>> {
        let length = usize::try_from(self.var32()?).ok()?;
        self.take(length).map(String::from_utf8_lossy)
    }
}

/// Text as .NET has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utf16<'a>(&'a [u8]);

impl Utf16<'_> {
    /// Replaces what is in `text`; lone surrogates become U+FFFD.
    pub fn decode_into(self, text: &mut String) {
        text.clear();
        let (units, _) = self.0.as_chunks::<2>();
        let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
        text.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    }

    /// The text.
    pub fn decode(self) -> String {
        let mut text = String::new();
        self.decode_into(&mut text);
        text
    }

    /// Its length in units of two bytes.
    pub fn len(self) -> usize {
        self.0.len() / 2
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_within_their_type() {
        let var = |bytes: &[u8]| Cursor::new(bytes).var64();
        assert_eq!(var(&[0x7f]), Some(127));
        assert_eq!(var(&[0x80, 1]), Some(128));
        assert_eq!(
            var(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Some(u64::MAX)
        );
        assert_eq!(var(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), None);
        assert_eq!(var(&[0x80; 11]), None);
        assert_eq!(var(&[0x80]), None);
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).var32(), None);
        assert_eq!(Cursor::new(&[1, 2, 3]).u32(), None);
        assert_eq!(Cursor::new(&[1, 0, 0, 0, 2]).pointer(4), Some(1));
    }

    #[test]
    fn texts_end_at_their_zero_or_not_at_all() {
        let mut cursor = Cursor::new(b"a\0\x3d\xd8\0\xde\0\0b\0\0\0c\0");
        assert_eq!(cursor.utf16().map(Utf16::decode).as_deref(), Some("a😀"));
        assert_eq!(cursor.utf16().map(Utf16::decode).as_deref(), Some("b"));
        assert_eq!(cursor.utf16(), None);
        assert_eq!(
            Cursor::new(b"\0\xd8\0\0").utf16().map(Utf16::decode).as_deref(),
            Some("\u{fffd}")
        );
        assert_eq!(Cursor::new(b"\x02ab").utf8().as_deref(), Some("ab"));
        assert_eq!(Cursor::new(b"\x03ab").utf8(), None);
    }
}
