//! The stream of an EventPipe session. How it is cut into pieces does not matter, and what is whole has as many bytes as came.

use sideflame::runtime::dotnet::completeness::{CompletenessCheck, Flaw, Stream};

use crate::Seed;

/// The first byte is the length of a piece.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else {
        return;
    };
    let whole = check(stream, stream.len().max(1));
    if let Ok(facts) = &whole {
        assert_eq!(facts.bytes, stream.len() as u64);
        assert!(facts.blocks <= facts.bytes);
    }
    assert_eq!(check(stream, usize::from(piece).max(1)), whole);
}

fn check(stream: &[u8], piece: usize) -> Result<Stream, Flaw> {
    let mut check = CompletenessCheck::default();
    for piece in stream.chunks(piece) {
        check.feed(piece)?;
    }
    check.finish()
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("version4", [b"\x07", version4(&[b"x", b"", b"12345"]).as_slice()].concat()),
        ("version6", [b"\x03", version6(&[b"abc", b"d"]).as_slice()].concat()),
        ("another", b"\x40FLR\0\0\x02\0\x01".to_vec()),
    ]
}

/// .NET Core 3.0 to .NET 9.
fn version4(blocks: &[&[u8]]) -> Vec<u8> {
    let mut stream = b"Nettrace\x14\0\0\0!FastSerialization.1".to_vec();
    object(&mut stream, "Trace", &[1; 48]);
    for block in blocks {
        object(&mut stream, "EventBlock", block);
    }
    stream.push(1);
    stream
}

fn object(stream: &mut Vec<u8>, name: &str, content: &[u8]) {
    stream.extend([5, 5, 1]);
    for word in [4, 4, u32::try_from(name.len()).unwrap()] {
        stream.extend(word.to_le_bytes());
    }
    stream.extend(name.as_bytes());
    stream.push(6);
    if name != "Trace" {
        stream.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        stream.resize(stream.len().next_multiple_of(4), 0);
    }
    stream.extend(content);
    stream.push(6);
}

/// .NET 10.
fn version6(blocks: &[&[u8]]) -> Vec<u8> {
    let mut stream = b"Nettrace\0\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    for block in blocks {
        stream.extend((u32::try_from(block.len()).unwrap() | 2 << 24).to_le_bytes());
        stream.extend(*block);
    }
    stream.extend([0; 4]);
    stream
}
