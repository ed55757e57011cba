//! Streams for tests and for `tests/fuzz`.

#![expect(clippy::unwrap_used, reason = "no block of a test is too long")]

use super::framing::{TAG_BEGIN, TAG_END, TAG_NULL, TRACE_LEN};

/// Appends an object of versions 4 and 5.
pub(crate) fn object(stream: &mut Vec<u8>, name: &str, content: &[u8]) {
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

/// 2026-11-26 12:00:00.250, ticks at that time, ticks per second.
pub(super) fn trace_start() -> Vec<u8> {
    let utc = [2026_u16, 11, 4, 26, 12, 0, 0, 250];
    let mut bytes: Vec<u8> = utc.iter().flat_map(|part| part.to_le_bytes()).collect();
    bytes.extend(5_000_u64.to_le_bytes());
    bytes.extend(1_000_000_000_u64.to_le_bytes());
    bytes
}

/// One of .NET Core 3.0 to .NET 10 up to its first block.
pub(crate) fn begin_version4() -> Vec<u8> {
    let mut stream = b"Nettrace\x14\0\0\0!FastSerialization.1".to_vec();
    let mut trace = trace_start();
    for word in [8_u32, 4711, 2, 1_000_000] {
        trace.extend(word.to_le_bytes());
    }
    assert_eq!(trace.len(), TRACE_LEN as usize);
    object(&mut stream, "Trace", &trace);
    stream
}

/// A whole one with these blocks of events.
pub fn version4(blocks: &[&[u8]]) -> Vec<u8> {
    let mut stream = begin_version4();
    for block in blocks {
        object(&mut stream, "EventBlock", block);
    }
    stream.push(TAG_NULL);
    stream
}

/// Appends a block of version 6.
pub(super) fn block6(stream: &mut Vec<u8>, kind: u32, content: &[u8]) {
    stream.extend((u32::try_from(content.len()).unwrap() | kind << 24).to_le_bytes());
    stream.extend(content);
}

/// One of version 6 up to its first block behind `Trace`.
pub(super) fn begin_version6() -> Vec<u8> {
    let mut stream = b"Nettrace\0\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut trace = trace_start();
    for word in [8_u32, 0] {
        trace.extend(word.to_le_bytes());
    }
    block6(&mut stream, 1, &trace);
    stream
}

/// A whole one of version 6 with these blocks of events.
pub fn version6(blocks: &[&[u8]]) -> Vec<u8> {
    let mut stream = begin_version6();
    for block in blocks {
        block6(&mut stream, 2, block);
    }
    stream.extend([0; 4]);
    stream
}

/// Text as .NET writes it.
#[cfg(test)]
pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// The content of a block of events with compressed headers.
#[cfg(test)]
pub(crate) fn event_block(rows: &[&[u8]]) -> Vec<u8> {
    let mut block = vec![20, 0, 1, 0];
    block.extend([0; 16]);
    block.extend(rows.concat());
    block
}

/// The payload of `BulkType`: ids and names of types.
#[cfg(test)]
pub(crate) fn bulk_types(types: &[(u64, &str)]) -> Vec<u8> {
    let mut payload = u32::try_from(types.len()).unwrap().to_le_bytes().to_vec();
    payload.extend([0; 2]);
    for (id, name) in types {
        payload.extend(id.to_le_bytes());
        payload.extend([0; 8 + 4 + 4 + 1]);
        payload.extend(utf16(name));
        payload.extend(1_u32.to_le_bytes());
        payload.extend([0; 8]);
    }
    payload
}

/// The payload of `GCBulkNode` with this number: types and sizes of objects.
#[cfg(test)]
pub(crate) fn bulk_nodes(number: u32, objects: &[(u64, u64)]) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.extend(u32::try_from(objects.len()).unwrap().to_le_bytes());
    payload.extend([0; 2]);
    for (type_id, size) in objects {
        for word in [0, *size, *type_id, 0] {
            payload.extend(word.to_le_bytes());
        }
    }
    payload
}

/// The payload of `GCHeapStats` of .NET 5 and later: what survived in each generation.
#[cfg(test)]
pub(crate) fn heap_stats(survived: [u64; 4]) -> Vec<u8> {
    let mut payload = Vec::new();
    for survived in survived {
        payload.extend((2 * survived).to_le_bytes());
        payload.extend(survived.to_le_bytes());
    }
    payload.extend([0; 8 + 8 + 3 * 4 + 2 + 8 + 8]);
    payload
}
