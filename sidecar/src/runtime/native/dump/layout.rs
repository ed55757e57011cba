//! Where in a core file each page of a process goes: only those that are there take room, however much is reserved around them.
//!
//! Called by [`super`], before the process stands still, to know how much room it takes, and again when it does.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use super::page_map::PageMap;
use super::regions::{Contents, Region, Regions};
use crate::runtime::native::maps::Permissions;

/// Segments that are kept, 32 bytes each: twice what `vm.max_map_count` allows where nothing was changed.
pub(super) const MOST_SEGMENTS: usize = 131_072;

/// Bytes of `smaps` that are read: some 700 for a mapping.
const LIMIT: u64 = 256 << 20;

/// Bytes of the note that says which files are mapped where; the kernel itself writes none that is larger than 4 MiB.
const MOST_OF_FILES: usize = 2 << 20;

/// Pages between two that were touched which are written as zeros, as a segment of its own takes more.
const GAP: u64 = 4;

/// The longest such gap, for programs with very many pieces.
const MOST_GAP: u64 = 16 << 20;

/// Why there is no layout.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayoutError {
    /// It would take too many segments.
    #[error("its memory is in more than {MOST_SEGMENTS} pieces")]
    TooManyPieces,
    /// The process may not be looked into, or is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Whoever waits for it gave up.
    #[error("given up")]
    GivenUp,
}

/// A piece of memory: some pages that are in the file, and behind them some that are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) address: u64,
    /// Bytes in the file.
    pub(super) kept: u64,
    /// Bytes in memory, at least as many.
    pub(super) size: u64,
    pub(super) permissions: Permissions,
    /// Some pages in the file were never touched: they are zero, and are not to be read.
    pub(super) has_gaps: bool,
}

impl Segment {
    fn end(&self) -> u64 {
        self.address + self.size
    }

    /// Takes what follows into itself, if no more than `gap` bytes of zeros are written for it.
    fn join(&mut self, next: &Self, gap: u64) -> bool {
        let between = self.size - self.kept;
        let is_near = next.kept == 0 || between == 0 || self.has_gaps && between <= gap;
        let is_alike = self.permissions == next.permissions && self.has_gaps == next.has_gaps;
        let joins = self.end() == next.address && is_alike && is_near;
        if joins {
            if next.kept > 0 {
                self.kept = self.size + next.kept;
            }
            self.size += next.size;
        }
        joins
    }
}

/// A file that is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MappedFile {
    pub(super) range: (u64, u64),
    pub(super) offset: u64,
    /// Its place among the names.
    name: usize,
}

/// All pieces, by address.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) segments: Vec<Segment>,
    pub(super) files: Vec<MappedFile>,
    names: Vec<Vec<u8>>,
    /// Bytes of the names as often as they are mapped.
    of_names: usize,
    /// Files without an entry, for want of room.
    pub(super) unnamed: usize,
    pub(super) page: u64,
    gap: u64,
    most: usize,
}

impl Layout {
    /// Of the process whose folder is `process`. `goes_on` is asked now and then.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub(super) fn read(process: &Path, page: u64, goes_on: &mut dyn FnMut() -> bool) -> Result<Self, LayoutError> {
        let mut pages = PageMap::new(File::open(process.join("pagemap"))?, page);
        let mut rows = BufReader::new(File::open(process.join("smaps"))?.take(LIMIT));
        let mut regions = Regions::new(&mut rows)?;
        let mut layout = Self::new(page, MOST_SEGMENTS);
        while let Some(region) = regions.next()? {
            layout.add(&region, &mut pages, goes_on)?;
        }
        match rows.get_ref().limit() {
            0 => Err(LayoutError::TooManyPieces),
            _ => Ok(layout),
        }
    }

    fn new(page: u64, most: usize) -> Self {
        Self {
            segments: Vec::new(),
            files: Vec::new(),
            names: Vec::new(),
            of_names: 0,
            unnamed: 0,
            page,
            gap: GAP * page,
            most,
        }
    }

    /// Bytes of memory that are in the file.
    pub(super) fn kept(&self) -> u64 {
        self.segments.iter().map(|segment| segment.kept).sum()
    }

    /// The name of a mapped file.
    pub(super) fn name(&self, file: &MappedFile) -> &[u8] {
        self.names.get(file.name).map_or(b"", Vec::as_slice)
    }

    fn add(
        &mut self,
        region: &Region,
        pages: &mut PageMap,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), LayoutError> {
        let Region { start, end, .. } = *region;
        self.add_file(region);
        let first = self.first_page(region);
        let mut at = start;
        match region.contents {
            Contents::Hidden => return Ok(()),
            Contents::Whole => {
                self.keep(region, &mut at, start..end)?;
            }
            Contents::Nothing => {}
            Contents::Memory | Contents::Touched | Contents::Written if region.touched > 0 => {
                let page = self.page;
                pages.pages(start..end, |address, pages| {
                    if !goes_on() {
                        return Err(LayoutError::GivenUp);
                    }
                    let mut run: Option<Range<u64>> = None;
                    for (number, entry) in (0..).zip(pages) {
                        let address = address + number * page;
                        let is_kept = match region.contents {
                            Contents::Written if Some(address) != first => entry.is_written(),
                            _ => entry.is_touched(),
                        };
                        match &mut run {
                            Some(run) if is_kept => run.end += page,
                            None if is_kept => run = Some(address..address + page),
                            Some(_) => self.keep(region, &mut at, run.take().unwrap_or_default())?,
                            None => {}
                        }
                    }
                    run.map_or(Ok(()), |run| self.keep(region, &mut at, run))
                })?;
            }
            Contents::Memory | Contents::Touched | Contents::Written => {}
        }
        self.skip(region, &mut at, end)
    }

    /// The page of a file that says which file it is.
    fn first_page(&self, region: &Region) -> Option<u64> {
        let is_first = region.file.as_ref().is_some_and(|(offset, _)| *offset == 0);
        (is_first && region.permissions.readable).then_some(region.start)
    }

    fn add_file(&mut self, region: &Region) {
        const ENTRY: usize = 24;
        let Some((offset, name)) = &region.file else { return };
        let size = self.of_names + name.len() + 1 + (self.files.len() + 1) * ENTRY;
        if region.contents == Contents::Hidden || size > MOST_OF_FILES {
            self.unnamed += usize::from(region.contents != Contents::Hidden);
            return;
        }
        if self.names.last() != Some(name) {
            self.names.push(name.clone());
        }
        self.of_names += name.len() + 1;
        self.files.push(MappedFile {
            range: (region.start, region.end),
            offset: *offset,
            name: self.names.len() - 1,
        });
    }

    /// Keeps the pages of `run`, and has those between `at` and it without contents.
    fn keep(&mut self, region: &Region, at: &mut u64, run: Range<u64>) -> Result<(), LayoutError> {
        self.skip(region, at, run.start)?;
        *at = run.end;
        let size = run.end - run.start;
        self.put(region, run.start, (size, size))
    }

    /// Has the pages from `at` to `end` without contents.
    fn skip(&mut self, region: &Region, at: &mut u64, end: u64) -> Result<(), LayoutError> {
        let (address, size) = (*at, end.saturating_sub(*at));
        *at = end;
        match size {
            0 => Ok(()),
            size => self.put(region, address, (0, size)),
        }
    }

    fn put(&mut self, region: &Region, address: u64, (kept, size): (u64, u64)) -> Result<(), LayoutError> {
        let segment = Segment {
            address,
            kept,
            size,
            permissions: region.permissions,
            has_gaps: region.contents == Contents::Memory,
        };
        let gap = self.gap;
        let last = self.segments.last_mut().filter(|_| address > region.start);
        if last.is_some_and(|last| last.join(&segment, gap)) {
            return Ok(());
        }
        if self.segments.len() == self.most {
            self.join_all()?;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Makes room for segments by larger gaps.
    fn join_all(&mut self) -> Result<(), LayoutError> {
        while self.segments.len() > self.most / 4 * 3 {
            if self.gap >= MOST_GAP {
                return match self.segments.len() < self.most {
                    true => Ok(()),
                    false => Err(LayoutError::TooManyPieces),
                };
            }
            self.gap *= 2;
            let gap = self.gap;
            self.segments.dedup_by(|next, segment| segment.join(next, gap));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    fn region(start: u64, end: u64, contents: Contents) -> Region {
        Region {
            start: start * PAGE,
            end: end * PAGE,
            permissions: Permissions {
                readable: true,
                writable: true,
                ..Permissions::default()
            },
            contents,
            file: None,
            touched: PAGE,
        }
    }

    /// A layout of regions, each with the pages of it that were touched.
    fn laid_out(most: usize, regions: &[(Region, &[Range<u64>])]) -> Result<Layout, LayoutError> {
        let mut layout = Layout::new(PAGE, most);
        for (region, runs) in regions {
            let mut at = region.start;
            for run in *runs {
                layout.keep(region, &mut at, run.start * PAGE..run.end * PAGE)?;
            }
            layout.skip(region, &mut at, region.end)?;
        }
        Ok(layout)
    }

    fn segments(layout: &Layout) -> Vec<(u64, u64, u64)> {
        let pages = |segment: &Segment| (segment.address / PAGE, segment.kept / PAGE, segment.size / PAGE);
        layout.segments.iter().map(pages).collect()
    }

    #[test]
    fn a_reservation_takes_the_room_of_what_was_touched() {
        let reserved = region(10, 1 << 25, Contents::Memory);
        let layout = laid_out(100, &[(reserved, &[12..13, 15..16, 1000..1002, 1002..1003])]).unwrap();
        assert_eq!(segments(&layout), [(10, 6, 990), (1000, 3, (1 << 25) - 1000)]);
        assert_eq!(layout.kept(), 9 * PAGE);
        // What a file has is not zero, however short the gap.
        let of_a_file = region(10, 20, Contents::Touched);
        let layout = laid_out(100, &[(of_a_file, &[10..11, 12..13])]).unwrap();
        assert_eq!(segments(&layout), [(10, 1, 2), (12, 1, 8)]);
        let ends = [region(1, 2, Contents::Memory), region(2, 3, Contents::Memory)];
        let layout = laid_out(100, &ends.map(|region| (region, &[][..]))).unwrap();
        assert_eq!(segments(&layout), [(1, 0, 1), (2, 0, 1)], "as they are mapped");
    }

    #[test]
    fn memory_in_very_many_pieces_is_joined_until_it_fits_or_refused() {
        let pieces: Vec<Range<u64>> = (0..1000).map(|piece| piece * 10..piece * 10 + 1).collect();
        let wide = || region(0, 10_000, Contents::Memory);
        let apart = laid_out(2000, &[(wide(), &pieces)]).unwrap();
        assert_eq!((apart.segments.len(), apart.kept()), (1000, 1000 * PAGE));
        let joined = laid_out(100, &[(wide(), &pieces)]).unwrap();
        assert!(
            joined.segments.len() <= 100 && joined.kept() > 9000 * PAGE,
            "{joined:?}"
        );
        // All of it is there, once.
        for layout in [&apart, &joined] {
            let mut at = 0;
            for segment in &layout.segments {
                assert!(segment.address == at && segment.kept <= segment.size, "{segment:?}");
                at = segment.end();
            }
            assert_eq!(at, 10_000 * PAGE);
        }
        let of_a_file = region(0, 10_000, Contents::Touched);
        let refused = laid_out(100, &[(of_a_file, &pieces)]);
        assert!(matches!(refused, Err(LayoutError::TooManyPieces)));
    }

    #[test]
    fn our_own_memory_has_the_pages_that_we_touched() {
        let (mut goes_on, us) = (|| true, Path::new("/proc/self"));
        let mut bytes = vec![0_u8; 64 << 20];
        let middle = bytes.len() / 2;
        bytes[middle] = 7;
        let layout = Layout::read(us, procfs::page_size(), &mut goes_on).unwrap();
        let address = bytes.as_ptr().addr() as u64 + middle as u64;
        let holds = |segment: &&Segment| (segment.address..segment.end()).contains(&address);
        let segment = layout.segments.iter().find(holds).unwrap();
        assert!(
            address < segment.address + segment.kept && segment.kept < 8 << 20,
            "{segment:?}"
        );
        let program = layout.files.iter().find(|file| {
            let name = String::from_utf8_lossy(layout.name(file)).into_owned();
            name == std::env::current_exe().unwrap().to_string_lossy() && file.offset == 0
        });
        let first = program.unwrap().range.0;
        let header = layout.segments.iter().find(|segment| segment.address == first).unwrap();
        assert!(header.kept >= layout.page, "{header:?}");
        assert!(matches!(
            Layout::read(us, layout.page, &mut || false),
            Err(LayoutError::GivenUp)
        ));
    }
}
