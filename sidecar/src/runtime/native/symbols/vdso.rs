//! Names in the code that the kernel puts into each process: the same file for all, so our own is read.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use super::frame::{Frame, Names};
use super::object_file;
use super::source::Source;

/// Its name in `/proc/PID/maps`.
const NAME: &str = "[vdso]";

/// The frames at each of the `offsets`; [`NAME`] where it cannot be read.
pub(super) fn resolve(offsets: &[u64], deadline: Instant, names: &mut Names) -> Vec<Vec<Frame>> {
    let module = names.intern(NAME);
    let named = own(deadline).and_then(|source| object_file::resolve(&source, offsets, &module, names));
    named.unwrap_or_else(|| {
        let frame = Frame::plain(Arc::clone(&module), Arc::clone(&module), module);
        vec![vec![frame]; offsets.len()]
    })
}

/// Ours, out of our own memory.
fn own(deadline: Instant) -> Option<Source> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with(NAME))?;
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let memory = File::open("/proc/self/mem").ok()?;
    Some(Source::of_range(memory, start, end.checked_sub(start)?, deadline))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_clock_of_the_kernel_has_a_name() {
        let mut names = Names::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let size = own(deadline).unwrap().length();
        let offsets: Vec<u64> = (0..size / 16).map(|number| number * 16).collect();
        let found = resolve(&offsets, deadline, &mut names);
        let clock = if cfg!(target_arch = "aarch64") {
            "__kernel_clock_gettime"
        } else {
            "clock_gettime"
        };
        assert!(found.iter().flatten().any(|frame| frame.name.ends_with(clock)));
    }
}
