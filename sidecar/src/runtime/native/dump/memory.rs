//! The memory of a process that stands still (`/proc/PID/mem`), read through a buffer of fixed size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::layout::Segment;
use super::page_map::PageMap;

/// Bytes that are read at a time.
pub(super) const CHUNK: usize = 256 << 10;

/// What is read of a process.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    pages: PageMap,
    page: u64,
    /// Pages that could not be read and are zero in the copy.
    pub(super) unreadable: u64,
}

impl Memory {
    /// Of the process whose `mem` and `pagemap` these are.
    pub(super) fn new(file: File, pagemap: File, page: u64) -> Self {
        Self {
            file,
            pages: PageMap::new(pagemap, page),
            page,
            unreadable: 0,
        }
    }

    /// Reads what is kept of a segment, and gives it to `put` piece by piece, with the number of pages that could not be read.
    ///
    /// # Errors
    /// Those of `put`, and of asking which pages are there.
    pub(super) fn copy<E: From<io::Error>>(
        &mut self,
        segment: &Segment,
        chunk: &mut [u8; CHUNK],
        put: &mut impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = segment.address + segment.kept;
        let mut at = segment.address;
        while at < end {
            let size = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let bytes = &mut chunk[..size];
            match segment.has_gaps {
                true => self.read_touched(at, bytes)?,
                false => self.read(at, bytes),
            }
            put(bytes, self.unreadable)?;
            at += size as u64;
        }
        Ok(())
    }

    /// Pages that were never touched are not read: they would be from then on, and where the program itself hands them out
    /// (`userfaultfd`), it cannot.
    fn read_touched(&mut self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        let end = address + bytes.len() as u64;
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let page = self.page;
        self.pages.pages::<io::Error>(address..end, |first, pages| {
            for (number, _) in (0..).zip(pages).filter(|(_, page)| page.is_touched()) {
                let start = first + number * page;
                match runs.last_mut() {
                    Some((_, end)) if *end == start => *end += page,
                    _ => runs.push((start, start + page)),
                }
            }
            Ok(())
        })?;
        bytes.fill(0);
        let place = |at: u64| usize::try_from(at.min(end) - address).unwrap_or_default();
        for (start, end) in runs {
            if let Some(run) = bytes.get_mut(place(start)..place(end)) {
                self.read(start, run);
            }
        }
        Ok(())
    }

    /// Reads all; a page that the kernel does not give is zero, and counted.
    fn read(&mut self, address: u64, bytes: &mut [u8]) {
        let mut read = 0;
        while read < bytes.len() {
            let at = address + read as u64;
            match self.file.read_at(&mut bytes[read..], at) {
                Ok(more) if more > 0 => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    let left = self.page - at % self.page;
                    let end = read
                        .saturating_add(usize::try_from(left).unwrap_or(usize::MAX))
                        .min(bytes.len());
                    bytes[read..end].fill(0);
                    read = end;
                    self.unreadable += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::native::maps::Permissions;

    fn copied(address: u64, size: u64, has_gaps: bool) -> (Vec<u8>, u64) {
        let open = |name: &str| File::open(format!("/proc/self/{name}")).unwrap();
        let mut memory = Memory::new(open("mem"), open("pagemap"), procfs::page_size());
        let segment = Segment {
            address,
            kept: size,
            size,
            permissions: Permissions::default(),
            has_gaps,
        };
        let mut all = Vec::new();
        let mut put = |bytes: &[u8], _| {
            all.extend_from_slice(bytes);
            Ok::<(), io::Error>(())
        };
        memory.copy(&segment, &mut [0; CHUNK], &mut put).unwrap();
        (all, memory.unreadable)
    }

    #[test]
    fn what_is_there_is_copied_and_what_is_not_is_zero() {
        let page = usize::try_from(procfs::page_size()).unwrap();
        let mut bytes = vec![0_u8; 3 * CHUNK];
        let start = page - bytes.as_ptr().addr() % page;
        let size = 2 * CHUNK + page;
        for at in [0, page - 1, 7 * page, CHUNK, 2 * CHUNK + 5] {
            bytes[start + at] = 9;
        }
        let address = (bytes.as_ptr().addr() + start) as u64;
        for has_gaps in [true, false] {
            let (copy, unreadable) = copied(address, size as u64, has_gaps);
            assert!(copy == bytes[start..start + size], "{has_gaps}");
            assert_eq!(unreadable, 0);
        }
        // Nothing is mapped at the first addresses.
        let (copy, unreadable) = copied(0, 2 * page as u64, false);
        assert_eq!((copy, unreadable), (vec![0; 2 * page], 2));
        assert_eq!(copied(0, 2 * page as u64, true).1, 0, "nothing is asked for");
    }
}
