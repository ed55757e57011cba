//! Names of addresses that something else than a capture has found, by what names those of a capture.

use sideflame::process::{ProcessTable, TargetRoot};
use sideflame::runtime::native::mapping::{Backing, FileId, Mapping};
use sideflame::runtime::native::symbols::{Place, Symbolizer, Symbols};

/// What names the code of a process.
///
/// # Panics
/// The process has ended.
pub fn symbolizer(pid: i32) -> Symbolizer {
    let table = ProcessTable::default();
    let root = TargetRoot::open(&table, table.id_of(pid).unwrap()).unwrap();
    Symbolizer::new(Some(root), &table, &[nix::unistd::geteuid().as_raw()], None)
}

/// The frames at each of these addresses of a process.
///
/// # Panics
/// The process has ended.
pub fn names(pid: i32, addresses: &[u64]) -> (Symbols, Vec<Place>) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mappings: Vec<Mapping> = maps.lines().filter_map(mapping).collect();
    let mut symbolizer = symbolizer(pid);
    let mut places = Vec::new();
    for address in addresses {
        let mapping = mappings.iter().find(|mapping| mapping.contains(*address));
        places.push(mapping.map_or(Place::UNKNOWN, |mapping| symbolizer.user(pid, mapping, *address, true)));
    }
    (symbolizer.resolve(), places)
}

/// What a line of `maps` says is executable.
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let rights = fields.next()?;
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let offset = hex(fields.next()?);
    let (major, minor) = fields.next()?.split_once(':')?;
    let inode: u64 = fields.next()?.parse().unwrap();
    let path = fields.next().unwrap_or_default();
    let device = |text| u32::from_str_radix(text, 16).unwrap();
    let backing = match path {
        "[vdso]" => Backing::Vdso,
        path if path.starts_with('/') => Backing::File {
            path: path.into(),
            id: FileId {
                device: (device(major), device(minor)),
                inode,
            },
        },
        _ => Backing::Anonymous,
    };
    rights.contains('x').then(|| Mapping {
        start: hex(start),
        end: hex(end),
        offset,
        backing,
    })
}
