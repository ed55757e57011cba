//! Doors for `tests/fuzz`. Only with the feature `fuzzing`.

use std::fs::File;
use std::time::{Duration, Instant};

use super::frame::{Frame, Names};
use super::source::Source;
use super::{kallsyms, object_file, perf_map};

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Names at these offsets of a file; `None` if it is no ELF file.
pub fn object_file(file: File, offsets: &[u64]) -> Option<Vec<Vec<Frame>>> {
    let source = Source::of_file(file, deadline()).ok()?;
    let mut names = Names::default();
    let module = names.intern("shop");
    object_file::resolve(&source, offsets, &module, &mut names)
}

/// Names at these addresses by a perf map.
pub fn perf_map(text: &[u8], addresses: &[u64]) -> Vec<Vec<Frame>> {
    perf_map::resolve(text, addresses, deadline(), &mut Names::default())
}

/// Names at these addresses of the kernel.
pub fn kallsyms(text: &[u8], addresses: &[u64]) -> Vec<Vec<Frame>> {
    kallsyms::resolve(Some(text), addresses, deadline(), &mut Names::default())
}
