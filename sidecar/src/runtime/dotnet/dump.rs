//! The memory of a .NET process as a core file, which its own runtime has `createdump` write.
//!
//! The runtime writes to a path: in a directory of ours in the target's temporary directory (`OwnDirectory`), from where it is moved
//! out by its bytes. Its name is gone before the first of them. Called by [`crate::runtime`].

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::PollFlags;
use serde::{Deserialize, Serialize};

use super::client::{ClientError, DiagnosticsClient, receive, wait_ready};
use super::detect::{is_library, temporary_directory};
use super::ipc::{Command, IpcMessage, Payload, UNKNOWN_COMMAND};
use super::plan;
use super::process_info::ProcessInfo;
use super::reach::Reach;
use super::record::{START, unanswered};
use super::way::Way;
use crate::process::{ProcessTable, TargetRoot};
use crate::profile::Quality;
use crate::profile::quality::Clock;
use crate::runtime::dump::{self, DUMP, WRITING, broken};
use crate::runtime::own_directory::{self, OwnDirectory};
use crate::runtime::{
    Asked, Control, Interruption, Phase, PlanError, Reason, RecordError, RecordOrder, Reporter, Target,
};

/// How long a wait for its end lasts; bounds how late a cancel is noticed.
const POLL: Duration = Duration::from_millis(50);

/// What takes less of a disk.
const SMALLER: &str = ", or take type=mini";

/// What begins each line of `createdump`.
const MARK: &str = "[createdump]";

/// What of the memory is wanted; the numbers are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DumpType {
    /// Stacks, and what they lead to.
    Mini = 1,
    /// The heaps as well.
    Heap = 2,
    /// As mini, without what may be private.
    Triage = 3,
    /// All of it.
    Full = 4,
}

impl DumpType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mini, Self::Heap, Self::Triage, Self::Full];

    /// Its name in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mini => "mini",
            Self::Heap => "heap",
            Self::Triage => "triage",
            Self::Full => "full",
        }
    }

    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The least that it takes of a process that has `resident` bytes in memory.
    fn least_bytes(self, resident: u64) -> u64 {
        const STACKS: u64 = 16 << 20;
        match self {
            Self::Mini | Self::Triage => STACKS,
            Self::Heap | Self::Full => resident,
        }
    }
}

/// One dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpPlan {
    /// How the runtime is reached: through its files, as the dump.
    pub way: Way,
    /// What of its memory.
    pub dump: DumpType,
}

/// Plans a dump.
///
/// # Errors
/// It was not asked for as one has to be, or there is no socket to ask at.
pub fn plan(asked: &Asked<'_>) -> Result<DumpPlan, PlanError> {
    let Some(dump) = asked.options.dotnet.dump else {
        let message = "a dump stops the app and holds its secrets: it is taken by POST /dump?type=heap&confirm=yes";
        return Err(PlanError::unsuitable("event", message));
    };
    let way = plan::way(asked)?;
    if let Way::Port(_) = way {
        return Err(PlanError::Impossible(Reason::new(
            "files_out_of_reach",
            "the runtime is reached by its port, and a dump is a file of the app's, which is not",
            "share the process namespace, and let the app have a writable /tmp, for its own diagnostic socket",
        )));
    }
    Ok(DumpPlan { way, dump })
}

/// Removes what a recorder that was killed left in `target`.
pub fn sweep(target: &Target) {
    let table = ProcessTable::default();
    if let Some((process, root)) = own_directory::still_there(&table, target) {
        own_directory::sweep(&root, &temporary_directory(&table, &process), &process, DUMP, |_| {});
    }
}

/// See [`crate::runtime::record`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    plan: &DumpPlan,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    reporter.phase(Phase::Attaching);
    let reach = Reach::of(order, &plan.way, None, control)?;
    let (Some(process), Some(root)) = (&reach.process, &reach.root) else {
        return Err(RecordError::TargetExited);
    };
    let client = reach.client()?;
    if let Some(reason) = no_createdump(root, order, client, control) {
        return Err(RecordError::Impossible(reason));
    }
    let directory = temporary_directory(control.table(), process);
    let least = plan.dump.least_bytes(dump::resident_bytes(control, process));
    dump::fits(order, least, SMALLER)?;
    dump::enough_disk(root, &directory, least, SMALLER)?;
    let place = OwnDirectory::create(root, &directory, process, DUMP).map_err(|error| {
        let elsewhere = ", or set TMPDIR to a directory that the process may write to";
        dump::no_place(&directory, &error, elsewhere)
    })?;
    let started_at = SystemTime::now();
    let began = Instant::now();
    // On a busy machine 3.1 failed now and then without a word, and then not again.
    let written = match write_dump(client, plan, &place.path(), control) {
        Err(Failure::Client(ClientError::Refused(_))) => write_dump(client, plan, &place.path(), control),
        first => first,
    };
    written.map_err(|failure| match failure {
        Failure::Record(error) => error,
        Failure::Client(ClientError::Refused(code)) => tool(&format!("it said no more than {code:#010x}")),
        Failure::Client(ClientError::RefusedBecause { code, words }) => {
            tool(&format!("{} ({code:#010x})", dump::own_words(&words, MARK)))
        }
        Failure::Client(error) => unanswered(error, "have a dump written", (&plan.way, order), control),
    })?;
    reporter.phase(Phase::Transferring);
    let stood_still = began.elapsed();
    let mut file = place
        .take(process.credentials.uid)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => tool("it reported success and left no file"),
            _ => broken(&format!("its file cannot be opened: {error}")),
        })?;
    drop(place);
    let length = file.metadata().map_err(|error| broken(&error.to_string()))?.len();
    dump::fits(order, length, SMALLER)?;
    dump::move_out(&mut file, length, is_core, output, control)?;
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Quality {
        sampler: Some(format!("createdump ({})", plan.dump.name())),
        interval_unit: "bytes".to_owned(),
        clock: Some(Clock::None),
        runtime: Some(order.target.runtime_and_version()),
        event: Some(order.event.to_string()),
        started_at_ms: started_at.duration_since(UNIX_EPOCH).ok().map(milliseconds),
        duration_ms: Some(milliseconds(stood_still)),
        ..Quality::default()
    })
}

#[derive(Debug)]
enum Failure {
    Client(ClientError),
    Record(RecordError),
}

/// Has the dump written, by the newest command that the runtime knows.
fn write_dump(client: DiagnosticsClient<'_>, plan: &DumpPlan, path: &str, control: &Control) -> Result<(), Failure> {
    const LADDER: [Command; 3] = [
        Command::GenerateCoreDump3,
        Command::GenerateCoreDump2,
        Command::GenerateCoreDump,
    ];
    const NO_LOG: u32 = 0;
    let mut last = ClientError::Closed;
    for command in LADDER {
        let payload = Payload::default().string(path).u32(plan.dump as u32).u32(NO_LOG);
        match answered(client, &IpcMessage::request(command, payload), control) {
            Err(Failure::Client(error @ (ClientError::Refused(UNKNOWN_COMMAND) | ClientError::Closed)))
                if control.target_is_alive() =>
            {
                last = error;
            }
            done => return done,
        }
    }
    Err(Failure::Client(last))
}

/// Sends `request` and waits for the answer as long as a dump may take.
fn answered(client: DiagnosticsClient<'_>, request: &IpcMessage, control: &Control) -> Result<(), Failure> {
    let mut stream = client.send(request, Instant::now() + START).map_err(Failure::Client)?;
    let until = Instant::now() + WRITING;
    while !wait_ready(&stream, PollFlags::POLLIN, POLL).map_err(|error| Failure::Client(ClientError::Io(error)))? {
        match control.wait(Duration::ZERO) {
            Some(Interruption::Cancel) => return Err(Failure::Record(RecordError::Cancelled)),
            Some(Interruption::TargetExited) => return Err(Failure::Record(RecordError::TargetExited)),
            // It is whole or none, and cannot be hurried.
            Some(Interruption::Stop) | None => {}
        }
        if Instant::now() > until {
            return Err(Failure::Record(RecordError::Timeout {
                step: "the dump".to_owned(),
                seconds: WRITING.as_secs(),
            }));
        }
    }
    receive(&mut stream, Instant::now() + START)
        .map(drop)
        .map_err(Failure::Client)
}

/// Why the runtime must not be asked. It forks itself for `createdump`: where that is not there to be started, and before .NET 10 in apps
/// that are a single file, the copy goes on living and answers the diagnostic socket in place of the app (measured with 3.1 and 8).
fn no_createdump(
    root: &TargetRoot,
    order: &RecordOrder,
    client: DiagnosticsClient<'_>,
    control: &Control,
) -> Option<Reason> {
    const SAFE_ALONE: u32 = 10;
    let mapped = control.table().mapped_files(control.target().pid);
    let Some(library) = mapped.into_iter().flatten().find(|path| is_library(path)) else {
        // The inspector may have asked while the runtime was busy, with another dump for one.
        let asked = || ProcessInfo::query(client, Instant::now() + START).map(|info| info.version);
        let version = order.target.version().map(str::to_owned).or_else(|| asked().ok());
        let major = version.and_then(|version| version.split('.').next()?.parse().ok());
        return major.is_none_or(|major: u32| major < SAFE_ALONE).then(|| {
            Reason::new(
                "single_file",
                "the app is a single file: with a dump its runtime would leave a copy of the process behind, which answers in its place",
                "take type=core, which does not ask the runtime; or publish it with its runtime beside it, or for .NET 10",
            )
        });
    };
    let program = library.with_file_name("createdump");
    (!root.exists(&program)).then(|| {
        Reason::new(
            "no_createdump",
            format!("there is no {}, with which the runtime writes dumps", program.display()),
            "take type=core, which does without, or an image whose runtime has it",
        )
    })
}

/// `createdump` failed.
fn tool(words: &str) -> RecordError {
    RecordError::Tool {
        tool: "createdump of the .NET runtime".to_owned(),
        message: format!("{words}; what else it says is in the app's own log"),
    }
}

/// The head of an ELF file of type 4 (`man 5 elf`).
fn is_core(head: &[u8]) -> bool {
    const TYPE_AT: usize = 16;
    head.starts_with(b"\x7fELF") && head.get(TYPE_AT..TYPE_AT + 2) == Some(&[4, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_core_file_begins_as_one() {
        let mut core = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0".to_vec();
        assert!(is_core(&core) && !is_core(&core[..17]) && !is_core(b"#!"));
        core[16] = 3;
        assert!(!is_core(&core), "a library");
    }

    #[test]
    fn a_dump_of_stacks_is_small() {
        assert_eq!(DumpType::Full.least_bytes(7), 7);
        assert!(DumpType::Mini.least_bytes(7_000_000_000) < 1 << 30);
    }
}
