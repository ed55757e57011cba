//! `.gnu_debugdata`: a symbol table that distributions leave in stripped files, packed by xz.

use std::io::{self, Write};

use super::super::source::Source;
use super::Elf;

/// Packed bytes that are read; those of glibc are 100 KB.
const PACKED_LIMIT: u64 = 4 << 20;

/// Unpacked bytes that are kept. The bytes of one file are free again before the next.
const UNPACKED_LIMIT: usize = 12 << 20;

/// The file within.
pub(in super::super) fn unpack(source: &Source, elf: &Elf) -> Option<Source> {
    let section = elf.section(".gnu_debugdata")?;
    let packed = Elf::unpacked(source, section, PACKED_LIMIT)?;
    if unpacked_size(&packed)? > UNPACKED_LIMIT as u64 {
        return None;
    }
    let mut capped = Capped(Vec::new());
    lzma_rs::xz_decompress(&mut packed.as_slice(), &mut capped).ok()?;
    Some(source.unpacked(capped.0))
}

/// What the packed bytes say that they become, from the heads of their pieces (`xz-file-format.txt`, LZMA2): the unpacker
/// keeps everything in memory before it writes.
fn unpacked_size(packed: &[u8]) -> Option<u64> {
    const STREAM_HEADER: usize = 12;
    const CHECKS: [usize; 16] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
    let check = *CHECKS.get(usize::from(packed.get(7)? & 0xf))?;
    let half = |at: usize| Some(u16::from_be_bytes(packed.get(at..at + 2)?.try_into().ok()?));
    let mut size = 0_u64;
    let mut at = STREAM_HEADER;
    // A block begins with its length, 0 is where the index begins.
    while *packed.get(at)? != 0 {
        let data = at + (usize::from(*packed.get(at)?) + 1) * 4;
        at = data;
        loop {
            let control = *packed.get(at)?;
            match control {
                0 => break,
                1 | 2 => {
                    let length = usize::from(half(at + 1)?) + 1;
                    size += length as u64;
                    at += 3 + length;
                }
                0x80.. => {
                    size += (u64::from(control & 0x1f) << 16) + u64::from(half(at + 1)?) + 1;
                    let head = if control >= 0xc0 { 6 } else { 5 };
                    at += head + usize::from(half(at + 3)?) + 1;
                }
                _ => return None,
            }
        }
        at += 1;
        // Filled up to a multiple of four.
        at += (at - data).next_multiple_of(4) - (at - data) + check;
    }
    Some(size)
}

/// Refuses what is too much.
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > UNPACKED_LIMIT {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
