//! Java's modified UTF-8, in which async-profiler writes names of classes, methods and threads: as UTF-8, but with a
//! character beyond U+FFFF as two surrogates of three bytes each, and U+0000 as two bytes.
//!
//! Called by the readers. Source: "The Java Virtual Machine Specification" §4.4.7.

use std::borrow::Cow;

/// The text; what is neither encoding becomes U+FFFD.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Some(c) = pair(rest) {
            text.push(c);
            rest = rest.get(6..).unwrap_or_default();
            continue;
        }
        if let Some(behind) = rest.strip_prefix(&[0xc0, 0x80]) {
            text.push('\0');
            rest = behind;
            continue;
        }
        // Up to the next byte with which one of the two may begin.
        let special = |byte: &u8| matches!(byte, 0xed | 0xc0);
        let end = rest.iter().skip(1).position(special).map_or(rest.len(), |at| at + 1);
        let (plain, behind) = rest.split_at(end);
        text.push_str(&String::from_utf8_lossy(plain));
        rest = behind;
    }
    Cow::Owned(text)
}

/// The character of two surrogates at the start of `bytes`.
fn pair(bytes: &[u8]) -> Option<char> {
    let [
        0xed,
        high @ 0xa0..=0xaf,
        high_low @ 0x80..=0xbf,
        0xed,
        low @ 0xb0..=0xbf,
        low_low @ 0x80..=0xbf,
        ..,
    ] = *bytes
    else {
        return None;
    };
    let ten_bits = |above: u8, below: u8| u32::from(above & 0x0f) << 6 | u32::from(below & 0x3f);
    char::from_u32(0x1_0000 + (ten_bits(high, high_low) << 10) + ten_bits(low, low_low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Java's `DataOutputStream.writeUTF` writes it.
    fn encode(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for unit in text.encode_utf16() {
            match unit {
                0 => bytes.extend([0xc0, 0x80]),
                0xd800..=0xdfff => {
                    let [high, low] = unit.to_be_bytes();
                    bytes.extend([0xed, 0x80 | (high & 0x0f) << 2 | low >> 6, 0x80 | low & 0x3f]);
                }
                unit => bytes.extend(char::from_u32(unit.into()).unwrap().to_string().bytes()),
            }
        }
        bytes
    }

    #[test]
    fn names_beyond_the_first_plane_survive() {
        assert_eq!(decode(b"\xed\xa0\xb5\xed\xb2\xae.run"), "\u{1d4ae}.run");
        assert_eq!(decode("é\u{1d4ae}퟿".as_bytes()), "é\u{1d4ae}퟿", "already UTF-8");
        assert_eq!(
            decode(b"\xed\xa0\xb5x\xff"),
            "\u{fffd}\u{fffd}\u{fffd}x\u{fffd}",
            "half of a pair"
        );
        assert_eq!(decode(b"\xed"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn every_text_survives(text in any::<String>()) {
            let bytes = encode(&text);
            prop_assert_eq!(decode(&bytes), text);
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }
}
