//! What dumps of all runtimes have in common: the file is written by the app's own runtime into a directory of ours among its files,
//! and moved out by its bytes.
//!
//! Knows no runtime. Called by the folders of those that write dumps.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use super::{Control, Interruption, Reason, RecordError, RecordOrder};
use crate::event::Event;
use crate::process::{Process, TargetRoot};
use crate::profile::frame_name::short_text;

/// What a dump is called where others have the name of an event.
pub const DUMP: &str = "dump";

/// What a dump is called that asks no runtime: memory and threads as the kernel shows them, of any process. Of Go and machine code every
/// dump is one.
pub const CORE: &str = "core";

/// True of the events that ask for memory, of whatever kind.
pub fn asks_for_one(event: &Event) -> bool {
    matches!(event, Event::Named(name) if name == DUMP || name == CORE)
}

/// How long a runtime may take to write one: a gigabyte takes some seconds. The app stands still, and cannot be told to stop it.
pub(super) const WRITING: Duration = Duration::from_secs(240);

/// What is left free of the disk: the app goes on writing there.
const LEFT_TO_THE_APP: u64 = 64 << 20;

/// Bytes of the process that are in memory; 0 if that is not known.
pub(super) fn resident_bytes(control: &Control, process: &Process) -> u64 {
    let status = control.table().directory(process.id.pid).join("status");
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

/// Refuses what the store can never hold; `smaller` is what one could do instead.
pub(super) fn fits(order: &RecordOrder, bytes: u64, smaller: &str) -> Result<(), RecordError> {
    let room = order.room.max_bytes;
    if bytes <= room {
        return Ok(());
    }
    Err(RecordError::Impossible(Reason::new(
        "store_too_small",
        format!("the dump has {bytes} bytes or more, and the store of captures {room}"),
        format!("give the store more room (sideflame.io/capture-size on the pod, --store-size elsewhere){smaller}"),
    )))
}

/// Refuses what would fill the target's disk.
pub(super) fn enough_disk(root: &TargetRoot, directory: &Path, bytes: u64, smaller: &str) -> Result<(), RecordError> {
    let free = root
        .file_system(directory)
        .map_or(0, |file_system| file_system.free_bytes);
    if free >= bytes.saturating_add(LEFT_TO_THE_APP) {
        return Ok(());
    }
    Err(RecordError::TargetDiskFull(Reason::new(
        "disk_too_small",
        format!(
            "the dump needs {bytes} bytes or more in {} of the process, and {LEFT_TO_THE_APP} are left to the app; {free} are free",
            directory.display()
        ),
        format!("free space there, or mount a larger volume{smaller}"),
    )))
}

/// The directory of a dump cannot be made.
pub(super) fn no_place(directory: &Path, error: &std::io::Error, elsewhere: &str) -> RecordError {
    RecordError::Impossible(Reason::new(
        "tmp_not_writable",
        format!(
            "a dump needs a file in {}, where none can be created ({error})",
            directory.display()
        ),
        format!("mount a volume there (sideflame.io/tmp: auto does it){elsewhere}"),
    ))
}

/// What a tool says, in one line and without orders for a terminal; `mark` begins each of its lines.
pub(super) fn own_words(words: &str, mark: &str) -> String {
    /// Longest answer of a runtime that is shown.
    const MOST_WORDS: usize = 400;
    let lines = words.lines().map(|line| line.strip_prefix(mark).unwrap_or(line).trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    short_text(&lines.join("; "), MOST_WORDS)
}

/// A dump that is none.
pub(super) fn broken(detail: &str) -> RecordError {
    RecordError::Protocol {
        step: "read the dump".to_owned(),
        detail: detail.to_owned(),
    }
}

/// Moves the first `length` bytes of a dump whose beginning `is_one` knows.
pub(super) fn move_out(
    file: &mut File,
    length: u64,
    is_one: fn(&[u8]) -> bool,
    output: &mut dyn Write,
    control: &Control,
) -> Result<(), RecordError> {
    const CHUNK: u64 = 256 << 10;
    let mut chunk = Vec::new();
    let mut left = length;
    while left > 0 {
        chunk.clear();
        let read = file.take(left.min(CHUNK)).read_to_end(&mut chunk);
        let read = read.map_err(|error| broken(&error.to_string()))? as u64;
        if read == 0 {
            return Err(broken(&format!("it was cut {left} bytes before its end")));
        }
        if left == length && !is_one(&chunk) {
            return Err(broken("it does not begin as one"));
        }
        output
            .write_all(&chunk)
            .map_err(|error| RecordError::io("store the dump", &error))?;
        left -= read;
        if control.poll() == Some(Interruption::Cancel) {
            return Err(RecordError::Cancelled);
        }
    }
    if length == 0 {
        return Err(broken("it is empty"));
    }
    output
        .flush()
        .map_err(|error| RecordError::io("store the dump", &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessTable;

    fn moved(bytes: &[u8], length: u64) -> Result<Vec<u8>, RecordError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let table = ProcessTable::default();
        let process = table.get(i32::try_from(std::process::id()).unwrap()).unwrap();
        let (control, _server) = Control::channel(table, process.id);
        let mut output = Vec::new();
        let is_one = |head: &[u8]| head.starts_with(b"DUMP");
        move_out(&mut file, length, is_one, &mut output, &control)?;
        Ok(output)
    }

    #[test]
    fn only_a_whole_dump_is_moved() {
        let dump = [&b"DUMP"[..], &[7; 600_000]].concat();
        let length = dump.len() as u64;
        assert_eq!(moved(&dump, length).unwrap(), dump);
        // What is added meanwhile is not the dump's.
        assert_eq!(moved(&dump, 1000).unwrap(), dump[..1000]);
        for (bytes, length) in [(&dump[..], length + 1), (b"#!", 2), (b"", 0)] {
            let error = moved(bytes, length);
            assert!(matches!(error, Err(RecordError::Protocol { .. })), "{length}");
        }
    }

    #[test]
    fn what_a_tool_says_becomes_one_line_without_orders_for_a_terminal() {
        let words = "[tool] Only full dumps\u{1b}[2J\n\n[tool] Failure took 7ms\n";
        assert_eq!(
            own_words(words, "[tool]"),
            "Only full dumps\u{fffd}[2J; Failure took 7ms"
        );
        assert_eq!(own_words(&"x".repeat(5000), "").chars().count(), 400);
    }

    #[test]
    fn a_dump_that_cannot_fit_is_refused_with_what_it_needs() {
        let order = RecordOrder::example(crate::format::RecordingKind::Jfr);
        assert!(fits(&order, order.room.max_bytes, "").is_ok());
        let Err(RecordError::Impossible(reason)) = fits(&order, 7_000_000_000, ", or take type=mini") else {
            panic!("it is refused");
        };
        assert_eq!(reason.key, "store_too_small");
        assert!(
            reason.sentence.contains("7000000000") && reason.remedy.ends_with("type=mini"),
            "{reason:?}"
        );
    }

    #[test]
    fn a_disk_that_is_too_small_is_named() {
        let (root, _proc, _process) = TargetRoot::example();
        assert!(enough_disk(&root, Path::new("/tmp"), 1, "").is_ok());
        let Err(RecordError::TargetDiskFull(reason)) = enough_disk(&root, Path::new("/tmp"), u64::MAX, "") else {
            panic!("it is refused");
        };
        assert_eq!(reason.key, "disk_too_small");
    }
}
