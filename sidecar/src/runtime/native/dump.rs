//! The memory and the threads of a process as a core file, which we write ourselves: nothing of ours is in the process, and nothing is
//! written into it.
//!
//! How large the file will be is known before (`layout`), and so much room taken in the store. Then all threads stand still (`halt`) for as
//! long as it takes to lay it out anew and to copy it (`memory`, `core_file`). Called by [`crate::runtime`].

mod core_file;
mod halt;
mod layout;
mod memory;
mod notes;
mod page_map;
mod regions;
mod registers;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::record::root_of;
use super::threads::refused;
use crate::process::{Process, Task};
use crate::profile::Quality;
use crate::profile::quality::Clock;
use crate::runtime::dump::{WRITING, fits};
use crate::runtime::{
    Asked, Control, Interruption, Output, Phase, PlanError, Reason, RecordError, RecordOrder, Reporter,
};
use core_file::CoreFile;
use halt::{HaltError, Halted};
use layout::{Layout, LayoutError};
use memory::{CHUNK, Memory};
use notes::About;
use registers::USUAL_EXTENDED;

/// Asks for a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpPlan {}

/// Plans a dump.
///
/// # Errors
/// It was not asked for as one has to be.
pub fn plan(asked: &Asked<'_>) -> Result<DumpPlan, PlanError> {
    match asked.options.native.dump {
        true => Ok(DumpPlan {}),
        false => {
            let message = "a dump stops the app and holds its secrets: it is taken by POST /dump?type=core&confirm=yes";
            Err(PlanError::unsuitable("event", message))
        }
    }
}

/// See [`crate::runtime::record`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    output: &mut dyn Output,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    reporter.phase(Phase::Attaching);
    root_of(order, control)?;
    let dump = Dump {
        order,
        control,
        until: Instant::now() + WRITING,
    };
    let process = control
        .table()
        .find(order.target.id())
        .ok_or(RecordError::TargetExited)?;
    let expected = Contents::read(&dump, &process)?;
    let threads = control.table().threads(process.id.pid).count();
    let length = expected.length((threads, USUAL_EXTENDED));
    fits(order, length, "")?;
    // Whoever has no room finds out before anything stands still.
    output.reserve(length).map_err(|error| unstored(&error))?;
    drop(expected);

    reporter.phase(Phase::Transferring);
    let started = SystemTime::now();
    let halted = Halted::new(control.table(), process.id.pid, &mut || dump.goes_on().is_ok());
    let halted = halted.map_err(|error| dump.not_halted(error))?;
    let copied = dump.copy(&process, &halted, output);
    let (stands, unseen) = (halted.threads.len(), halted.unseen);
    let stood = halted.resume().map_err(|error| dump.not_halted(error))?;
    let copied = copied?;
    output.flush().map_err(|error| unstored(&error))?;
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Quality {
        sampler: Some(format!(
            "ptrace: the app stood still for {} ms, {stands} threads",
            milliseconds(stood)
        )),
        interval_unit: "bytes".to_owned(),
        clock: Some(Clock::None),
        runtime: Some(order.target.runtime_and_version()),
        event: Some(order.event.to_string()),
        started_at_ms: started.duration_since(UNIX_EPOCH).ok().map(milliseconds),
        duration_ms: Some(milliseconds(stood)),
        degraded: copied.left_out(unseen),
        ..Quality::default()
    })
}

/// One that is being made.
struct Dump<'a> {
    order: &'a RecordOrder,
    control: &'a Control,
    until: Instant,
}

/// What is in a file, but for the threads.
struct Contents {
    layout: Layout,
    auxiliary: Vec<u8>,
}

impl Contents {
    fn read(dump: &Dump<'_>, process: &Process) -> Result<Self, RecordError> {
        let folder = dump.control.table().directory(process.id.pid);
        let page = procfs::page_size();
        let layout = Layout::read(&folder, page, &mut || dump.goes_on().is_ok());
        let layout = layout.map_err(|error| dump.not_laid_out(error))?;
        let auxiliary = auxiliary_vector(&folder).map_err(|error| dump.unread(&error))?;
        if !is_of_64_bits(&auxiliary, page) {
            return Err(RecordError::Impossible(Reason::new(
                "not_64_bit",
                "it is a program for 32 bits, whose registers have other places in a core file",
                "gcore of gdb writes one where ptrace is allowed",
            )));
        }
        Ok(Self { layout, auxiliary })
    }

    /// Of so many threads that have so many bytes of other registers.
    fn notes(&self, threads: (usize, usize)) -> u64 {
        notes::length(threads, self.auxiliary.len(), notes::length_of_files(&self.layout))
    }

    fn length(&self, threads: (usize, usize)) -> u64 {
        CoreFile::new(&self.layout, self.notes(threads)).length()
    }
}

/// What was not copied.
#[derive(Debug, Default)]
struct Copied {
    unreadable: u64,
    unnamed: usize,
}

impl Copied {
    fn left_out(&self, unseen: usize) -> Vec<String> {
        let counted = [
            (
                self.unreadable,
                "pages of memory could not be read and are zero in the dump",
            ),
            (
                unseen as u64,
                "threads are not in the dump: they wait for a device or a file system and could not be interrupted",
            ),
            (
                self.unnamed as u64,
                "mapped files have no name in the dump: there are too many",
            ),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        counted.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

impl Dump<'_> {
    /// Fails when it is not wanted any more, or takes too long.
    fn goes_on(&self) -> Result<(), RecordError> {
        match self.control.poll() {
            Some(Interruption::Cancel) => return Err(RecordError::Cancelled),
            Some(Interruption::TargetExited) => return Err(RecordError::TargetExited),
            // It is whole or none.
            Some(Interruption::Stop) | None => {}
        }
        match Instant::now() > self.until {
            true => Err(RecordError::Timeout {
                step: "the dump".to_owned(),
                seconds: WRITING.as_secs(),
            }),
            false => Ok(()),
        }
    }

    /// Writes the file, while the process stands still.
    fn copy(&self, process: &Process, halted: &Halted, output: &mut dyn Output) -> Result<Copied, RecordError> {
        let contents = Contents::read(self, process)?;
        let Contents { layout, auxiliary } = &contents;
        let threads = (halted.threads.len(), halted.extended);
        let length = contents.length(threads);
        // It may have grown since.
        fits(self.order, length, "")?;
        output.reserve(length).map_err(|error| unstored(&error))?;
        let folder = self.control.table().directory(process.id.pid);
        let open = |name: &str| File::open(folder.join(name)).map_err(|error| self.unread(&error));
        let mut memory = Memory::new(open("mem")?, open("pagemap")?, layout.page);

        let mut output = BufWriter::with_capacity(CHUNK, output);
        let file = CoreFile::new(layout, contents.notes(threads));
        file.write_headers(&mut output).map_err(|error| unstored(&error))?;
        self.write_notes(process, halted, (layout, auxiliary), &mut output)?;
        file.write_padding(&mut output).map_err(|error| unstored(&error))?;
        let mut chunk = Box::new([0; CHUNK]);
        let mut unreadable = 0;
        for segment in &layout.segments {
            let mut put = |bytes: &[u8], missing: u64| -> Result<(), Stopped> {
                // What cannot be read any more may be gone.
                if missing > unreadable && !self.control.target_is_alive() {
                    return Err(Stopped(RecordError::TargetExited));
                }
                unreadable = missing;
                self.goes_on()?;
                output.write_all(bytes).map_err(|error| Stopped(unstored(&error)))
            };
            memory.copy(segment, &mut chunk, &mut put).map_err(|Stopped(why)| why)?;
        }
        output.flush().map_err(|error| unstored(&error))?;
        Ok(Copied {
            unreadable: memory.unreadable,
            unnamed: layout.unnamed,
        })
    }

    /// As the kernel orders them: the first thread, the process, its files, the other threads.
    fn write_notes(
        &self,
        process: &Process,
        halted: &Halted,
        (layout, auxiliary): (&Layout, &[u8]),
        output: &mut dyn Write,
    ) -> Result<(), RecordError> {
        let about = About {
            pid: process.namespace_pid,
            uid: process.credentials.uid,
            gid: process.credentials.gid,
            state: process.state,
            name: process.command.clone(),
            arguments: process.command_line.arguments().take(80).collect::<Vec<_>>().join(" "),
        };
        let of_process = || [notes::about(&about), notes::auxiliary(auxiliary), notes::files(layout)];
        let tasks = self.control.table().directory(process.id.pid).join("task");
        let mut put = |note: &[u8]| output.write_all(note).map_err(|error| unstored(&error));
        if halted.threads.is_empty() {
            of_process().iter().try_for_each(|note| put(note))?;
        }
        for (number, tid) in halted.threads.iter().enumerate() {
            let registers = halted.registers().map_err(|_| RecordError::TargetExited)?;
            // As the program's own pid namespace numbers it.
            let task = Task::read(&tasks.join(tid.to_string())).ok_or(RecordError::TargetExited)?;
            let thread = i32::try_from(task.number).unwrap_or(*tid);
            put(&notes::status(thread, &about, &registers))?;
            if number == 0 {
                of_process().iter().try_for_each(|note| put(note))?;
            }
            put(&notes::others(&registers))?;
        }
        Ok(())
    }

    fn not_laid_out(&self, error: LayoutError) -> RecordError {
        match error {
            LayoutError::GivenUp => self.given_up(),
            LayoutError::Io(error) => self.unread(&error),
            LayoutError::TooManyPieces => RecordError::Impossible(Reason::new(
                "too_many_mappings",
                format!("{error}: a core file of it would be of no use to a debugger"),
                "gcore of gdb writes one where ptrace is allowed",
            )),
        }
    }

    fn not_halted(&self, error: HaltError) -> RecordError {
        match error {
            HaltError::GivenUp => self.given_up(),
            HaltError::Gone => RecordError::TargetExited,
            HaltError::Refused(task, errno) => refused(self.control, Some(&task), &errno.into()),
            HaltError::TooSlow => RecordError::Timeout {
                step: "the stop of all threads".to_owned(),
                seconds: halt::LIMIT.as_secs(),
            },
            HaltError::TooManyThreads => RecordError::Impossible(Reason::new(
                "too_many_threads",
                format!("it has {error}, which do not stand still at once"),
                "gcore of gdb writes a core file where ptrace is allowed",
            )),
            HaltError::Broken(detail) => RecordError::Internal {
                step: "stop the threads".to_owned(),
                detail,
            },
        }
    }

    /// Why a wait was given up, which took the word that said so.
    fn given_up(&self) -> RecordError {
        match self.goes_on() {
            Err(why) => why,
            Ok(()) => RecordError::Cancelled,
        }
    }

    fn unread(&self, error: &io::Error) -> RecordError {
        match error.kind() {
            _ if !self.control.target_is_alive() => RecordError::TargetExited,
            io::ErrorKind::PermissionDenied => refused(self.control, None, error),
            io::ErrorKind::NotFound => RecordError::Impossible(Reason::new(
                "no_page_map",
                "this kernel, or the sandbox in its place, does not tell which pages of memory a process has",
                "gcore of gdb writes a core file where ptrace is allowed",
            )),
            _ => RecordError::io("read how the memory is laid out", error),
        }
    }
}

/// Why the copying ended.
struct Stopped(RecordError);

impl From<RecordError> for Stopped {
    fn from(error: RecordError) -> Self {
        Self(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self(RecordError::io("read which pages there are", &error))
    }
}

fn unstored(error: &io::Error) -> RecordError {
    RecordError::io("store the dump", error)
}

/// What the kernel told the program at its start: pairs of numbers.
fn auxiliary_vector(process: &Path) -> io::Result<Vec<u8>> {
    /// There are some twenty.
    const LIMIT: u64 = 8 << 10;
    let mut vector = Vec::new();
    File::open(process.join("auxv"))?.take(LIMIT).read_to_end(&mut vector)?;
    Ok(vector)
}

/// In a program of 32 bits the size of a page is elsewhere.
fn is_of_64_bits(auxiliary: &[u8], page: u64) -> bool {
    const PAGE_SIZE: u64 = 6;
    let (pairs, _) = auxiliary.as_chunks::<16>();
    let mut wanted = [0; 16];
    wanted[..8].copy_from_slice(&PAGE_SIZE.to_ne_bytes());
    wanted[8..].copy_from_slice(&page.to_ne_bytes());
    pairs.contains(&wanted)
}
