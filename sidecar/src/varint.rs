//! Numbers of seven bits per byte, the least significant first: protobuf's, and those of Go's executables.
//!
//! Knows no message. Called by the pprof reader and by what looks into Go's profiles and build information.

/// A number of which not all bytes have come yet.
#[derive(Debug, Default)]
pub struct Varint {
    value: u64,
    bytes: u32,
}

/// More than 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a varint of more than 64 bits")]
pub struct TooLong;

impl Varint {
    /// Takes the next byte; the number if it was the last.
    ///
    /// # Errors
    /// The number does not end within 64 bits.
    pub fn push(&mut self, byte: u8) -> Result<Option<u64>, TooLong> {
        // The tenth byte has room for one bit.
        if self.bytes == 9 && byte > 1 {
            return Err(TooLong);
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.bytes);
        self.bytes += 1;
        Ok((byte < 0x80).then(|| std::mem::take(self).value))
    }

    /// Nothing has come, or nothing since the last whole number.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

/// Takes a number off the front; `None` if it is cut or too long.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut varint = Varint::default();
    loop {
        if let Some(value) = varint.push(*bytes.split_off_first()?).ok()? {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_ends_within_64_bits() {
        let mut largest = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 7][..];
        assert_eq!((take(&mut largest), largest), (Some(u64::MAX), &[7][..]));
        assert_eq!(
            take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]),
            None
        );
        assert_eq!(take(&mut &[0x80; 20][..]), None);
        assert_eq!(take(&mut &[0x96][..]), None);
    }

    proptest! {
        #[test]
        fn what_prost_writes_is_read_back(value in any::<u64>()) {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!((take(&mut rest), rest.len()), (Some(value), 0));
        }
    }
}
