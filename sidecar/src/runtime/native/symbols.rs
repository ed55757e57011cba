//! Addresses of machine code become names.
//!
//! In two steps, so that memory is bounded by what was sampled and not by what the processes have mapped. While the capture runs,
//! [`Symbolizer::user`] and its siblings number the addresses and open the files behind them, which may be gone a moment later. At the end
//! [`Symbolizer::resolve`] goes through each file once, with the sorted addresses that are asked of it: a symbol table is
//! streamed, never held, and one file's tables are gone before the next file's are read.
//!
//! Files are those of the profiled processes and hostile. They are reached by [`TargetRoot`], read by `pread` only (a mapped
//! file that its owner truncates would kill us), and every table has a cap. Called by `record`; knows no stacks.

mod demangle;
mod dwarf;
pub(super) mod elf;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod go_frames;
mod gopclntab;
mod kallsyms;
mod lines;
mod object_file;
mod opening;
mod perf_map;
mod places;
pub(super) mod source;
mod vdso;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mapping::{Backing, FileId, Mapping};
use crate::process::{ProcessTable, TargetRoot};

pub use frame::Frame;
pub use places::Place;

use frame::Names;
use go_frames::GoFrames;
use opening::Opener;
use places::{Places, Space};
use source::Source;

/// Files that stay open until the end: some libraries in each of the processes of a program. Of more, names are read
/// from what the path leads to then, if it still is the same file.
const OPEN_FILES: usize = 128;

/// Perf maps that stay open.
const PERF_MAPS: usize = 64;

/// Files that are told apart at all.
const FILES: usize = 4096;

/// How long names may be looked for after the capture, all files together. kube-apiserver with all of its addresses takes less than a second.
const RESOLVE_TIME: Duration = Duration::from_secs(20);

/// Said where that was not enough.
const LATE: &str = "names are incomplete: the files that have them took too long to read";

/// Sentences that [`Symbols::reasons`] has at most.
const REASONS: usize = 8;

/// Collects addresses while a capture runs.
#[derive(Debug)]
pub struct Symbolizer {
    opener: Opener,
    kallsyms: Option<File>,
    files: Vec<Mapped>,
    by_id: HashMap<FileId, u32>,
    open_files: usize,
    perf_maps: HashMap<i32, Option<File>>,
    places: Places,
    go_frames: GoFrames,
}

/// A mapped file.
#[derive(Debug)]
struct Mapped {
    pid: i32,
    mapping: Mapping,
    file: Option<File>,
}

impl Symbolizer {
    /// `root` is that of the target, whose forked children may be gone before they were looked at; none of a whole node. `users` may own a perf map. `kallsyms`
    /// is `/proc/kallsyms`, opened by who may see addresses in it.
    pub fn new(root: Option<TargetRoot>, table: &ProcessTable, users: &[u32], kallsyms: Option<File>) -> Self {
        Self {
            opener: Opener::new(root, table.clone(), users.to_vec()),
            kallsyms,
            files: Vec::new(),
            by_id: HashMap::new(),
            open_files: 0,
            perf_maps: HashMap::new(),
            places: Places::default(),
            go_frames: GoFrames::default(),
        }
    }

    /// An address of a process within `mapping`, whatever backs it. `is_leaf` is false for return addresses, which may be those of what
    /// stands behind the call: the call itself is looked up.
    pub fn user(&mut self, pid: i32, mapping: &Mapping, address: u64, is_leaf: bool) -> Place {
        let address = called(address, is_leaf);
        match &mapping.backing {
            Backing::Anonymous => self.generated(pid, address),
            Backing::Vdso => self.places.number(Space::Vdso, address.saturating_sub(mapping.start)),
            Backing::File { id, .. } => {
                let Some(file) = self.file(pid, mapping, *id) else {
                    return Place::UNKNOWN;
                };
                self.places.number(Space::File(file), mapping.offset_of(address))
            }
        }
    }

    /// An address of a process that lies in no file: code that was made while the program ran, whose names are in a perf map.
    pub fn anonymous(&mut self, pid: i32, address: u64, is_leaf: bool) -> Place {
        self.generated(pid, called(address, is_leaf))
    }

    /// An address within the kernel.
    pub fn kernel(&mut self, address: u64, is_leaf: bool) -> Place {
        self.places.number(Space::Kernel, called(address, is_leaf))
    }

    /// The map is opened at once: the process may be gone at the end.
    fn generated(&mut self, pid: i32, address: u64) -> Place {
        if self.perf_maps.len() < PERF_MAPS && !self.perf_maps.contains_key(&pid) {
            self.perf_maps.insert(pid, self.opener.perf_map(pid));
        }
        self.places.number(Space::Anonymous(pid), address)
    }

    /// True if Go's code at `address` has no frame there, so that its return address is on top of the stack.
    pub fn is_frameless(&mut self, pid: i32, mapping: &Mapping, address: u64) -> bool {
        let Some(number) = self.number_of(pid, mapping) else {
            return false;
        };
        let Self { go_frames, files, .. } = self;
        let file = || files.get(number as usize)?.file.as_ref()?.try_clone().ok();
        go_frames.are_missing_at(number, mapping.offset_of(address), file)
    }

    /// The file of a mapping, for whoever needs more of it than names.
    pub fn open(&mut self, pid: i32, mapping: &Mapping) -> Option<File> {
        let number = self.number_of(pid, mapping)?;
        let mapped = self.files.get(number as usize)?;
        match &mapped.file {
            Some(file) => file.try_clone().ok(),
            None => self.opener.open(pid, mapping).ok(),
        }
    }

    fn number_of(&mut self, pid: i32, mapping: &Mapping) -> Option<u32> {
        match &mapping.backing {
            Backing::File { id, .. } => self.file(pid, mapping, *id),
            Backing::Vdso | Backing::Anonymous => None,
        }
    }

    /// The number of a file; opened when it is new.
    fn file(&mut self, pid: i32, mapping: &Mapping, id: FileId) -> Option<u32> {
        if let Some(number) = self.by_id.get(&id) {
            return Some(*number);
        }
        if self.files.len() >= FILES {
            return None;
        }
        let file = (self.open_files < OPEN_FILES)
            .then(|| self.opener.open(pid, mapping).ok())
            .flatten();
        self.open_files += usize::from(file.is_some());
        let number = u32::try_from(self.files.len()).ok()?;
        self.files.push(Mapped {
            pid,
            mapping: mapping.clone(),
            file,
        });
        self.by_id.insert(id, number);
        Some(number)
    }

    /// Looks everything up. Takes 20 seconds at most: what is not found by then has no name. The largest files come last: on a node
    /// one of them would else cost all others their names.
    pub fn resolve(mut self) -> Symbols {
        let end = Instant::now() + RESOLVE_TIME;
        let mut names = Names::default();
        let mut symbols = Symbols::new(self.places.len());
        let mut groups = self.places.groups();
        groups.sort_by_key(|(space, _)| self.size_of(*space));
        for (space, wanted) in groups {
            // Half of what is left, so that a file which takes for ever leaves some to the others.
            let deadline = Instant::now() + end.saturating_duration_since(Instant::now()) / 2;
            let addresses: Vec<u64> = wanted.iter().map(|(address, _)| *address).collect();
            let found = match space {
                Space::File(number) => self.of_file(number, &addresses, deadline, &mut names, &mut symbols),
                Space::Anonymous(pid) => self.of_perf_map(pid, &addresses, deadline, &mut names),
                Space::Vdso => vdso::resolve(&addresses, deadline, &mut names),
                Space::Kernel => kallsyms::resolve(self.kallsyms.take(), &addresses, deadline, &mut names),
            };
            if Instant::now() > deadline {
                symbols.add_reason(LATE.to_owned());
            }
            for ((_, place), frames) in wanted.iter().zip(found) {
                symbols.set(*place, frames);
            }
        }
        symbols
    }

    /// Bytes to look through; of a file that is not open most.
    fn size_of(&self, space: Space) -> u64 {
        let Space::File(number) = space else { return 0 };
        let file = self.files.get(number as usize).and_then(|mapped| mapped.file.as_ref());
        let facts = file.and_then(|file| file.metadata().ok());
        facts.map_or(u64::MAX, |facts| facts.len())
    }

    fn of_file(
        &mut self,
        number: u32,
        addresses: &[u64],
        deadline: Instant,
        names: &mut Names,
        symbols: &mut Symbols,
    ) -> Vec<Vec<Frame>> {
        let Some(mapped) = self.files.get_mut(number as usize) else {
            return Vec::new();
        };
        let module = names.intern(&module_name(&mapped.mapping));
        let opened = match mapped.file.take() {
            Some(file) => Ok(file),
            None => self.opener.open(mapped.pid, &mapped.mapping),
        };
        match opened.map_err(|lost| lost.sentence(&module)).and_then(|file| {
            let source =
                Source::of_file(file, deadline).map_err(|error| format!("{module} cannot be read: {error}"))?;
            object_file::resolve(&source, addresses, &module, names)
                .ok_or_else(|| format!("{module} is no executable that can be read"))
        }) {
            Ok(frames) => frames,
            Err(reason) => {
                // Of what could not be read in time nothing is known.
                if Instant::now() <= deadline {
                    symbols.add_reason(reason);
                }
                addresses
                    .iter()
                    .map(|offset| vec![Frame::without_symbol(&module, *offset, names)])
                    .collect()
            }
        }
    }

    fn of_perf_map(&mut self, pid: i32, addresses: &[u64], deadline: Instant, names: &mut Names) -> Vec<Vec<Frame>> {
        // It may have been written since.
        let opened = self.perf_maps.remove(&pid).flatten();
        let Some(file) = opened.or_else(|| self.opener.perf_map(pid)) else {
            return Vec::new();
        };
        perf_map::resolve(&file, addresses, deadline, names)
    }
}

/// Where the instruction is that made a stack go through `address`.
fn called(address: u64, is_leaf: bool) -> u64 {
    if is_leaf { address } else { address.saturating_sub(1) }
}

/// How a file is called in a flame graph.
fn module_name(mapping: &Mapping) -> String {
    let Backing::File { path, .. } = &mapping.backing else {
        return frame::UNKNOWN.to_owned();
    };
    path.file_name()
        .unwrap_or_else(|| Path::new("").as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// The names of what was sampled.
#[derive(Debug)]
pub struct Symbols {
    frames: Vec<Option<Box<[Frame]>>>,
    unknown: [Frame; 1],
    reasons: Vec<String>,
}

impl Symbols {
    fn new(places: usize) -> Self {
        let unknown: Arc<str> = Arc::from(frame::UNKNOWN);
        Self {
            frames: vec![None; places],
            unknown: [Frame::plain(Arc::clone(&unknown), Arc::clone(&unknown), unknown)],
            reasons: Vec::new(),
        }
    }

    fn set(&mut self, place: Place, frames: Vec<Frame>) {
        if let Some(slot) = self.frames.get_mut(place.index())
            && !frames.is_empty()
        {
            *slot = Some(frames.into());
        }
    }

    fn add_reason(&mut self, reason: String) {
        if self.reasons.len() < REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// The functions at `place`, the innermost inlined one first; never empty.
    pub fn frames(&self, place: Place) -> &[Frame] {
        self.frames
            .get(place.index())
            .and_then(Option::as_deref)
            .unwrap_or(&self.unknown)
    }

    /// Why there are files without names, a sentence each: `libfoo.so was replaced since it was loaded`.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }
}
