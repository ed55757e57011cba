//! What the Go linker writes into every executable: toolchain version, main package, main module.
//!
//! Format: Go's `debug/buildinfo`. From 1.18 on the strings follow the 32-byte header; before, the header points to
//! them. Survives `-ldflags="-s -w"`. Knows no process; called by [`super::detect`] with an open executable.

use std::fs::File;

use super::executable::Executable;
use crate::varint;

const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
const ALIGNMENT: u64 = 16;
const HEADER_SIZE: usize = 32;

/// Linkers make one or two; an executable with more is forged.
const SEARCHED_SEGMENTS: usize = 4;

/// How far into a data segment we search when no section names the place. The linker puts it first; what precedes
/// it with external linking (`.tm_clone_table`, `.init_array`, `.data.rel.ro` of C libraries) is far less.
const SEARCH_LIMIT: u64 = 1 << 20;

/// `go1.26.8 X:nodwarf5` and `devel go1.27-… Thu Nov 21 …` are both shorter.
const VERSION_LIMIT: usize = 256;

/// The first lines of the module list are enough: `path` and `mod` come before the dependencies.
const MODULES_LIMIT: usize = 4096;

/// Text `go version -m` begins after; 16 bytes in front of the module list.
const SENTINEL_SIZE: usize = 16;

/// What the executable says about itself; all of it the app's to forge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BuildInfo {
    /// E.g. `go1.26.8`.
    pub(super) version: Option<String>,
    /// Import path of package main; `command-line-arguments` when built from files.
    pub(super) package: Option<String>,
    /// Path of the main module.
    pub(super) module: Option<String>,
}

/// Reads the build information of an executable; `None` when it is not made by Go.
pub(super) fn read(file: &File) -> Option<BuildInfo> {
    let executable = Executable::parse(file)?;
    if let Some(section) = executable.build_info_section()
        && let Some(address) = find_magic(&executable, section.start, section.end)
    {
        // The linker's own section is proof enough, with or without readable strings.
        return Some(decode(&executable, address).unwrap_or_default());
    }
    executable.data_segments().take(SEARCHED_SEGMENTS).find_map(|segment| {
        let address = find_magic(&executable, segment.start, segment.end)?;
        // A program about Go (a scanner, a debugger) may hold the magic as data: here only a version makes it one.
        decode(&executable, address).filter(|info| info.version.is_some())
    })
}

/// The first magic at an aligned address in `start..end`.
fn find_magic(executable: &Executable<'_>, start: u64, end: u64) -> Option<u64> {
    // A multiple of the alignment, so that no magic crosses from one chunk into the next.
    const CHUNK: u64 = 64 << 10;
    let mut at = start.checked_next_multiple_of(ALIGNMENT)?;
    let end = end.min(at.saturating_add(SEARCH_LIMIT));
    while at < end {
        let chunk = executable.read(at, usize::try_from(CHUNK.min(end - at)).ok()?)?;
        let found = chunk
            .chunks_exact(usize::try_from(ALIGNMENT).ok()?)
            .position(|block| block.starts_with(MAGIC));
        if let Some(block) = found {
            return at.checked_add(block as u64 * ALIGNMENT);
        }
        if (chunk.len() as u64) < CHUNK {
            return None;
        }
        at = at.checked_add(CHUNK)?;
    }
    None
}

fn decode(executable: &Executable<'_>, address: u64) -> Option<BuildInfo> {
    const INLINE_STRINGS: u8 = 2;
    let header = executable.read(address, HEADER_SIZE)?;
    let (pointer_size, flags) = (*header.get(14)?, *header.get(15)?);
    let (version, modules) = if flags & INLINE_STRINGS != 0 {
        inline_strings(executable, address.checked_add(HEADER_SIZE as u64)?)?
    } else {
        let pointers = Pointers {
            executable,
            size: usize::from(pointer_size),
            big_endian: flags & 1 != 0,
        };
        let version = pointers.string(pointers.at(&header, 16)?, VERSION_LIMIT)?;
        let modules = pointers
            .at(&header, 16 + pointers.size)
            .and_then(|at| pointers.string(at, MODULES_LIMIT));
        (version, modules.unwrap_or_default())
    };
    let (package, module) = parse_modules(&modules);
    Some(BuildInfo {
        version: plausible_version(&version),
        package,
        module,
    })
}

/// Two strings, each behind its length as a varint.
fn inline_strings(executable: &Executable<'_>, address: u64) -> Option<(Vec<u8>, Vec<u8>)> {
    const VARINT_LIMIT: usize = 10;
    let window = executable.read(address, 2 * VARINT_LIMIT + VERSION_LIMIT + MODULES_LIMIT)?;
    let mut rest = window.as_slice();
    let length = varint::take(&mut rest)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= VERSION_LIMIT)?;
    let version = rest.split_off(..length)?;
    let modules = match varint::take(&mut rest) {
        Some(length) => &rest[..rest.len().min(usize::try_from(length).unwrap_or(usize::MAX))],
        None => &[],
    };
    Some((version.to_owned(), modules.to_owned()))
}

/// Go string headers as they lie in the data segment before 1.18: a pointer and a length.
struct Pointers<'a> {
    executable: &'a Executable<'a>,
    size: usize,
    big_endian: bool,
}

impl Pointers<'_> {
    fn at(&self, bytes: &[u8], offset: usize) -> Option<u64> {
        let word = bytes.get(offset..offset.checked_add(self.size)?)?;
        Some(match (self.size, self.big_endian) {
            (8, false) => u64::from_le_bytes(word.try_into().ok()?),
            (8, true) => u64::from_be_bytes(word.try_into().ok()?),
            (4, false) => u32::from_le_bytes(word.try_into().ok()?).into(),
            (4, true) => u32::from_be_bytes(word.try_into().ok()?).into(),
            _ => return None,
        })
    }

    /// The string whose header is at `address`, cut after `limit` bytes.
    fn string(&self, address: u64, limit: usize) -> Option<Vec<u8>> {
        let header = self.executable.read(address, 2 * self.size)?;
        let length = usize::try_from(self.at(&header, self.size)?).unwrap_or(usize::MAX);
        self.executable.read(self.at(&header, 0)?, length.min(limit))
    }
}

/// The lines `path\t<package>` and `mod\t<module>\t…` of the module list.
fn parse_modules(modules: &[u8]) -> (Option<String>, Option<String>) {
    let text = modules.get(SENTINEL_SIZE..).unwrap_or_default();
    // The last line may be cut by our limit, or be the closing sentinel.
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(&[][..], |end| &text[..end]);
    let mut found = (None, None);
    for line in whole.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b'\t');
        let slot = match fields.next() {
            Some(b"path") => &mut found.0,
            Some(b"mod") => &mut found.1,
            _ => continue,
        };
        if slot.is_none() {
            *slot = fields.next().and_then(printable);
        }
    }
    found
}

fn plausible_version(version: &[u8]) -> Option<String> {
    let text = printable(version)?;
    // `go1.26.8`, or what `git` knows of a toolchain built from source.
    let plausible = text.starts_with("go1.") || text.starts_with("devel ");
    // Experiments and build dates follow after a space: not for a table.
    let short = if text.starts_with("devel ") {
        text.as_str()
    } else {
        text.split(' ').next()?
    };
    plausible.then(|| short.chars().take(64).collect())
}

/// Import paths and versions are printable ASCII without spaces at the ends; anything else is forged.
fn printable(bytes: &[u8]) -> Option<String> {
    let plain = !bytes.is_empty() && bytes.len() <= 512 && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    plain.then(|| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests;
