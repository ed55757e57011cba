//! Streams for tests and for `tests/fuzz`.

#![expect(clippy::unwrap_used, reason = "no block of a test is too long")]

use super::{SAMPLING_OFFSET, TAG_BEGIN, TAG_END, TAG_NULL, TRACE_LEN};

pub(super) fn object(stream: &mut Vec<u8>, name: &str, content: &[u8]) {
    stream.extend([TAG_BEGIN, TAG_BEGIN, TAG_NULL]);
    for word in [4, 4, u32::try_from(name.len()).unwrap()] {
        stream.extend(word.to_le_bytes());
    }
    stream.extend(name.as_bytes());
    stream.push(TAG_END);
    if name != "Trace" {
        stream.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        stream.resize(stream.len().next_multiple_of(4), 0);
    }
    stream.extend(content);
    stream.push(TAG_END);
}

/// A whole one of .NET Core 3.0 to .NET 9.
pub fn version4(blocks: &[&[u8]]) -> Vec<u8> {
    let mut stream = b"Nettrace\x14\0\0\0!FastSerialization.1".to_vec();
    let mut trace = vec![0; TRACE_LEN];
    trace[SAMPLING_OFFSET..].copy_from_slice(&1_000_000_u32.to_le_bytes());
    object(&mut stream, "Trace", &trace);
    for block in blocks {
        object(&mut stream, "EventBlock", block);
    }
    stream.push(TAG_NULL);
    stream
}

/// A whole one of .NET 10.
pub fn version6(blocks: &[&[u8]]) -> Vec<u8> {
    let mut stream = b"Nettrace\0\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    for block in blocks {
        stream.extend((u32::try_from(block.len()).unwrap() | 2 << 24).to_le_bytes());
        stream.extend(*block);
    }
    stream.extend([0; 4]);
    stream
}
