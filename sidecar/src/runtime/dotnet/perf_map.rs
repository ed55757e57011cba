//! Names of managed code for the kernel's samples: the runtime writes its perf map once, into `/tmp` as the target knows it.
//!
//! That is done when sampling is over, and ended at once: 2 ms for a small app, where a map that is kept up costs the app up to a
//! fifth of its CPU time. It has the code of all tiers, as none of it is freed. The map goes away with the value; what a killed recorder
//! left is swept. Must not know who reads it. Called by [`crate::runtime`].

use std::path::Path;
use std::time::Instant;

use super::client::{ClientError, DiagnosticsClient};
use super::ipc::{Command, IpcMessage, Payload};
use super::reach::Reach;
use super::record::START;
use super::way::Way;
use crate::process::target_root::Directory;
use crate::process::{Process, ProcessTable};
use crate::runtime::own_directory::{self, OwnDirectory};
use crate::runtime::{Control, Examination, Reason, RecordOrder, Target};

/// .NET 8 and later write there, whatever `TMPDIR` says.
const DIRECTORY: &str = "/tmp";

/// `PerfMapType` of the runtime: no jitdump.
const PERF_MAP: u32 = 3;

/// The first .NET that can be asked.
const FIRST: u32 = 8;

/// By which the runtime writes a map all the time.
const SWITCHES: [&str; 2] = ["DOTNET_PerfMapEnabled", "COMPlus_PerfMapEnabled"];

/// What the directory beside a map says: that the map is ours.
const PURPOSE: &str = "perf-map";

/// A perf map that was written for us.
#[derive(Debug)]
pub struct PerfMap {
    directory: Directory,
    files: [String; 2],
    _mark: OwnDirectory,
}

impl PerfMap {
    /// Has the runtime write one; `None` if there is one that is not ours to remove.
    ///
    /// # Errors
    /// Why managed code has no names.
    pub fn write(order: &RecordOrder, control: &Control) -> Result<Option<Self>, Reason> {
        let target = &order.target;
        if is_switched_on(control.table(), &target.process) {
            return Ok(None);
        }
        if let Some(reason) = too_old(target) {
            return Err(reason);
        }
        let Some(way @ Way::Socket(_)) = Way::to(&target.facts) else {
            return Err(no_names("its runtime has no diagnostic socket that is within reach"));
        };
        let reach = Reach::of(order, &way, None, control).map_err(|error| no_names(&error.to_string()))?;
        let (Some(process), Some(root)) = (&reach.process, &reach.root) else {
            return Err(no_names("the process has ended"));
        };
        let files = files(process);
        if root.exists(Path::new(DIRECTORY).join(&files[0])) {
            return Ok(None);
        }
        let made = root.open_directory(DIRECTORY).and_then(|directory| {
            Ok(Self {
                directory,
                files,
                _mark: OwnDirectory::create(root, Path::new(DIRECTORY), process, PURPOSE)?,
            })
        });
        let map = made.map_err(|error| {
            no_names(&format!(
                "nothing can be created in {DIRECTORY} of the process ({error})"
            ))
        })?;
        let client = reach.client().map_err(|error| no_names(&error.to_string()))?;
        let written = call(client, Command::EnablePerfMap, Payload::default().u32(PERF_MAP));
        // Also if the answer was late.
        let ended = call(client, Command::DisablePerfMap, Payload::default());
        written.and(ended).map_err(|error| no_names(&error.to_string()))?;
        Ok(Some(map))
    }
}

impl Drop for PerfMap {
    fn drop(&mut self) {
        remove(&self.directory, &self.files);
    }
}

/// Why managed code would have no names, as far as that can be known before. `blocker` stands in the way of all that the runtime
/// is asked for.
pub fn why_unnamed(examination: &Examination<'_>, blocker: Option<&Reason>) -> Option<Reason> {
    let target = examination.target;
    if is_switched_on(examination.table, &target.process) {
        return None;
    }
    if let Some(reason) = too_old(target) {
        return Some(reason);
    }
    if let Some(blocker) = blocker {
        return Some(no_names(&blocker.sentence));
    }
    let root = examination.root.ok()?;
    let read_only = root
        .file_system(DIRECTORY)
        .is_ok_and(|file_system| file_system.read_only);
    read_only.then(|| no_names(&format!("{DIRECTORY} of the process is read-only")))
}

/// Removes what a recorder that was killed left in `target`.
pub fn sweep(target: &Target) {
    let table = ProcessTable::default();
    let Some((process, root)) = own_directory::still_there(&table, target) else {
        return;
    };
    own_directory::sweep(&root, Path::new(DIRECTORY), &process, PURPOSE, |directory| {
        if let Some(Way::Socket(socket)) = Way::to(&target.facts) {
            // That it is not written any more is no error.
            let client = DiagnosticsClient::new(&root, &socket);
            let _ = call(client, Command::DisablePerfMap, Payload::default());
        }
        remove(directory, &files(&process));
    });
}

fn call(client: DiagnosticsClient<'_>, command: Command, payload: Payload) -> Result<(), ClientError> {
    let answer = client.call(&IpcMessage::request(command, payload), Instant::now() + START);
    answer.map(|_| ())
}

fn remove(directory: &Directory, files: &[String]) {
    for file in files {
        let _ = directory.remove_file(file);
    }
}

/// The map, and the list of loaded files that the runtime writes beside it.
fn files(process: &Process) -> [String; 2] {
    ["perf", "perfinfo"].map(|name| format!("{name}-{}.map", process.namespace_pid))
}

fn is_switched_on(table: &ProcessTable, process: &Process) -> bool {
    let environment = table.environment(process.id.pid, &SWITCHES);
    let mut values = SWITCHES.into_iter().filter_map(|name| environment.get(name));
    values.any(|value| value.trim().trim_start_matches("0x") != "0")
}

fn too_old(target: &Target) -> Option<Reason> {
    let major: u32 = target.version()?.split('.').next()?.parse().ok()?;
    (major < FIRST).then(|| no_names(&format!("its runtime is .NET {major}")))
}

fn no_names(why: &str) -> Reason {
    Reason::new(
        "no_managed_names",
        format!("managed code has no names in the kernel's samples: {why}"),
        format!(
            "the runtime writes them when asked to from .NET {FIRST} on, into a writable {DIRECTORY}; before, start the process with \
             {}=1; event=cpu has managed names everywhere",
            SWITCHES[0]
        ),
    )
}
