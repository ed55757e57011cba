//! The heap of a JVM as the file that it writes itself (HPROF): no agent is loaded, so it works where none can be.
//!
//! The JVM writes to a path, in a directory of ours in the target's `/tmp` (`OwnDirectory`), from where the file is moved out by its
//! bytes. Its name is gone before the first of them. Called by [`crate::runtime`]. Source: OpenJDK `heapDumper.cpp` of 8, 17 and 25.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::attach::Attach;
use super::counters::SharedCounters;
use super::doctor;
use super::record::reach_to_attach;
use super::session::now_ms;
use super::waits::Waits;
use crate::format::RecordingKind;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::profile::Quality;
use crate::profile::quality::Clock;
use crate::runtime::dump::{self, DUMP, WRITING, broken};
use crate::runtime::own_directory::{self, OwnDirectory};
use crate::runtime::{
    Asked, Control, JavaVm, Phase, PlanError, Reason, RecordError, RecordOrder, Reporter, RuntimeFacts, Target,
};

/// Where the JVM writes: it listens there as well.
const DIRECTORY: &str = "/tmp";

/// What takes less of a disk.
const SMALLER: &str = "; gz=1 stores it compressed";

/// One dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeapDumpPlan {
    /// Objects that nothing refers to as well, so that none are collected before.
    pub all: bool,
    /// Compressed by gzip, with this level.
    pub gz: Option<u8>,
}

impl HeapDumpPlan {
    /// The recording to make.
    pub fn kind(&self) -> RecordingKind {
        match self.gz {
            Some(_) => RecordingKind::HeapDumpGz,
            None => RecordingKind::HeapDump,
        }
    }
}

/// Plans a dump.
///
/// # Errors
/// It was not asked for as one has to be.
pub fn plan(asked: &Asked<'_>) -> Result<HeapDumpPlan, PlanError> {
    let options = &asked.options.jvm;
    match options.dump {
        Some(gz) => Ok(HeapDumpPlan { all: options.all, gz }),
        None => {
            let message = "a dump stops the app and holds its secrets: it is taken by POST /dump?confirm=yes";
            Err(PlanError::unsuitable("event", message))
        }
    }
}

/// Removes what a recorder that was killed left in `target`.
pub fn sweep(target: &Target) {
    let table = ProcessTable::default();
    if let Some((process, root)) = own_directory::still_there(&table, target) {
        own_directory::sweep(&root, Path::new(DIRECTORY), &process, DUMP, |_| {});
    }
}

/// See [`crate::runtime::record`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    plan: &HeapDumpPlan,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let (process, root, waits) = reach_to_attach(order, control, reporter)?;
    let release = order.target.version().and_then(doctor::feature_release);
    let heap = heap_bytes(order, plan, (&root, &process), control);
    if plan.gz.is_none() {
        // An array that is larger than half a region of G1 may take twice its size of the heap, and does not of the file.
        dump::fits(order, heap / 2, SMALLER)?;
    }
    let directory = Path::new(DIRECTORY);
    dump::enough_disk(&root, directory, disk_bytes(heap, release), "")?;
    let place = OwnDirectory::create(&root, directory, &process, DUMP)
        .map_err(|error| dump::no_place(directory, &error, ""))?;
    let (started_at_ms, began) = (now_ms(), Instant::now());
    let by_jvm = plan.gz.filter(|_| release.is_some_and(|release| release >= COMPRESSES));
    write_dump((&root, &process), &waits, &place.path(), plan.all, by_jvm)?;
    reporter.phase(Phase::Transferring);
    let stood_still = began.elapsed();
    let mut file = place
        .take(process.credentials.uid)
        .map_err(|error| broken(&format!("its file cannot be opened: {error}")))?;
    drop(place);
    let length = file.metadata().map_err(|error| broken(&error.to_string()))?.len();
    match (plan.gz, by_jvm) {
        (None, _) => {
            dump::fits(order, length, SMALLER)?;
            expect_end(&file, length)?;
            dump::move_out(&mut file, length, is_heap_dump, output, control)?;
        }
        (Some(_), Some(_)) => {
            dump::fits(order, length, "")?;
            dump::move_out(&mut file, length, is_compressed, output, control)?;
        }
        (Some(level), None) => {
            expect_end(&file, length)?;
            let mut encoder = GzEncoder::new(output, Compression::new(level.into()));
            dump::move_out(&mut file, length, is_heap_dump, &mut encoder, control)?;
            let ended = encoder.finish().and_then(Write::flush);
            ended.map_err(|error| RecordError::io("store the dump", &error))?;
        }
    }
    let what = if plan.all { "all objects" } else { "live objects" };
    Ok(Quality {
        sampler: Some(format!("the JVM's own heap dump ({what})")),
        interval_unit: "bytes".to_owned(),
        clock: Some(Clock::None),
        runtime: Some(order.target.runtime_and_version()),
        event: Some(order.event.to_string()),
        started_at_ms: Some(started_at_ms),
        duration_ms: u64::try_from(stood_still.as_millis()).ok(),
        ..Quality::default()
    })
}

/// The first JDK that compresses by itself.
const COMPRESSES: u32 = 17;

/// The first JDK whose threads write a file each, which are put together afterwards.
const WRITES_IN_PARTS: u32 = 22;

/// Bytes that the dump's objects take in the heap. Of live ones only the last collection knew them, of all no more than the heap has.
fn heap_bytes(
    order: &RecordOrder,
    plan: &HeapDumpPlan,
    (root, process): (&TargetRoot, &Process),
    control: &Control,
) -> u64 {
    let vm = match order.target.facts {
        RuntimeFacts::Jvm { vm, .. } => vm,
        _ => JavaVm::HotSpot,
    };
    let shared = SharedCounters::open(control.table(), root, process, vm);
    let told = shared.ok().and_then(|shared| shared.heap_bytes());
    let told = told.map(|(used, committed)| if plan.all { committed } else { used });
    told.unwrap_or_else(|| dump::resident_bytes(control, process))
}

/// What the dump may take of the disk: a small object takes more of it than of the heap, as a reference has eight bytes there.
fn disk_bytes(heap: u64, release: Option<u32>) -> u64 {
    const NAMES_AND_CLASSES: u64 = 16 << 20;
    let file = heap.saturating_add(heap / 2).saturating_add(NAMES_AND_CLASSES);
    let parts = match release {
        Some(release) if release < WRITES_IN_PARTS => 1,
        _ => 2,
    };
    file.saturating_mul(parts)
}

/// Has the dump written, whole or not at all.
fn write_dump(
    (root, process): (&TargetRoot, &Process),
    waits: &Waits<'_>,
    path: &str,
    all: bool,
    level: Option<u8>,
) -> Result<(), RecordError> {
    const WRITTEN: &str = "Heap dump file created";
    const NO_SPACE: &str = "No space left on device";
    let which = if all { "-all" } else { "-live" };
    let level = level.map(|level| level.to_string());
    let arguments = [path, which, level.as_deref().unwrap_or_default()];
    let mut attach = Attach::new(root, process).that_gives_up();
    let answer = attach.command(waits, ("the heap dump", WRITING), "dumpheap", &arguments)?;
    // Of a dump that failed the code is 0 as well.
    if answer.code == 0 && answer.text.contains(WRITTEN) {
        return Ok(());
    }
    let words = dump::own_words(&answer.text.replace(path, "the dump"), "");
    if answer.text.contains(NO_SPACE) {
        return Err(RecordError::TargetDiskFull(Reason::new(
            "disk_too_small",
            format!("the disk below {DIRECTORY} of the process was full before the dump was written: {words}"),
            "free space there, or mount a larger volume",
        )));
    }
    Err(RecordError::Tool {
        tool: "the JVM's own heap dump".to_owned(),
        message: words,
    })
}

/// The name and version with which a dump begins.
fn is_heap_dump(head: &[u8]) -> bool {
    head.starts_with(b"JAVA PROFILE 1.0.")
}

/// Of gzip.
fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// Fails unless the last record says that there are no more.
fn expect_end(file: &File, length: u64) -> Result<(), RecordError> {
    /// A tag, a time, a length.
    const RECORD: usize = 9;
    const END: u8 = 0x2c;
    let mut record = [0; RECORD];
    let at = length.checked_sub(RECORD as u64);
    let read = at.map(|at| file.read_exact_at(&mut record, at));
    match (read, record) {
        (Some(Ok(())), [END, _, _, _, _, 0, 0, 0, 0]) => Ok(()),
        _ => Err(broken("it is cut: its last record is not the one that ends it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_dump_is_broken() {
        let whole = [&b"JAVA PROFILE 1.0.2\0"[..], &[0; 12], &[0x2c, 0, 0, 0, 7, 0, 0, 0, 0]].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole).unwrap();
        for end in 0..=whole.len() as u64 {
            assert_eq!(expect_end(&file, end).is_ok(), end == whole.len() as u64, "{end}");
        }
        assert!(is_heap_dump(&whole) && !is_heap_dump(b"\x1f\x8b") && is_compressed(b"\x1f\x8b"));
    }

    #[test]
    fn the_disk_must_hold_the_parts_and_the_whole() {
        let gibibyte = 1 << 30;
        let file = disk_bytes(gibibyte, Some(17));
        assert!(file > gibibyte + gibibyte / 2 && file < 2 * gibibyte);
        assert_eq!(disk_bytes(gibibyte, Some(25)), 2 * file);
        assert_eq!(disk_bytes(gibibyte, None), 2 * file);
        assert_eq!(disk_bytes(u64::MAX, None), u64::MAX);
    }
}
