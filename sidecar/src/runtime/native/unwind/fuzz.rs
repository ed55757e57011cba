//! A door for `tests/fuzz`. Only with the feature `fuzzing`.

use std::fs::File;

use super::tables::Tables;
use super::{Cache, Modules, Walk, add, walk};
use crate::runtime::native::sample::Registers;

/// The return addresses of a stack in a process that has mapped only this file, `offset` of it at `start`; `None` if it is no ELF
/// file.
pub fn walk_in(file: File, (start, offset): (u64, u64), beginning: (Registers, &[u8])) -> Option<(Vec<u64>, Walk)> {
    const LENGTH: u64 = 1 << 20;
    let tables = Tables::read(file)?;
    let mut modules = Modules::default();
    let addresses = start..start.saturating_add(LENGTH);
    add(&mut modules, "shop".to_owned(), (addresses, offset), &tables);
    let mut frames = Vec::new();
    let end = walk(&modules, &mut Cache::default(), beginning, &mut frames);
    Some((frames, end))
}
