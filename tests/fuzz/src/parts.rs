//! Several texts in one input, and inputs as files.

use std::fs::File;
use std::io::{Seek, Write};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Between two parts. A line, so that corpora can be read.
const BETWEEN: &[u8] = b"\n====\n";

/// The parts of an input; those that are missing are empty, the last one has the rest.
pub(crate) fn split<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = [&[][..]; N];
    let mut rest = bytes;
    for (index, part) in parts.iter_mut().enumerate() {
        let end = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        match end.filter(|_| index + 1 < N) {
            Some(end) => (*part, rest) = (&rest[..end], &rest[end + BETWEEN.len()..]),
            None => (*part, rest) = (rest, &[]),
        }
    }
    parts
}

/// An input of such parts.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(BETWEEN)
}

/// A file in memory that holds `bytes`, open at its beginning.
pub(crate) fn file(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create("fuzz", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}
