//! A file of machine code in which names are looked for: by symbol tables, debug information and a packed table.

use sideflame::runtime::native::symbols::Frame;
use sideflame::runtime::native::symbols::fuzz::object_file;

use crate::{Seed, parts};

/// No name is longer, nor what is shown of a file without one.
const NAME_LIMIT: usize = 4096;

pub(crate) fn run(bytes: &[u8]) {
    let step = (bytes.len() as u64 / 256).max(1);
    let offsets: Vec<u64> = (0..300).map(|number| number * step).collect();
    if let Some(found) = object_file(parts::file(bytes), &offsets) {
        assert_eq!(found.len(), offsets.len());
        found.iter().for_each(|frames| check(frames));
    }
}

/// What holds for the frames of any address: there is one, and the last one was really called.
pub(crate) fn check(frames: &[Frame]) {
    let last = frames.len() - 1;
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame.inlined, number != last, "{frames:?}");
        assert!(frame.name.len() <= NAME_LIMIT, "{frame:?}");
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("full", include_bytes!("../../../sidecar/tests/data/elf/full").to_vec()),
        ("packed", include_bytes!("../../../sidecar/tests/data/elf/packed").to_vec()),
        ("symbols", include_bytes!("../../../sidecar/tests/data/elf/symbols").to_vec()),
        ("tables", include_bytes!("../../../sidecar/tests/data/elf/tables").to_vec()),
        ("mini", include_bytes!("../../../sidecar/tests/data/elf/mini").to_vec()),
    ]
}
