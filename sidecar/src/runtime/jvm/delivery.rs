//! Gets libasyncProfiler.so to where the JVM can load it.
//!
//! A JVM must always see the library at one path: glibc recognises a loaded library by its name (also when the file is
//! gone), and a second path would load a second profiler into the process, for good. Must not know the attach
//! protocol. Called by the recorder.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::agent_library::{server_root, shares_files, uses_musl};
use super::doctor;
use super::session::Session;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::RecordError;

/// The library is 600 KB; more is not the library.
const LARGEST: u64 = 16 << 20;

/// Makes the library loadable and returns its path in the target. A copy lies in the session's directory and goes
/// with it.
///
/// # Errors
/// [`RecordError::Impossible`] when `/tmp` does not allow executable files and there is no other way;
/// [`RecordError::Internal`] when our own library is missing or the target's `/tmp` refused it.
pub fn deliver(
    ours: &Path,
    agent: Option<&File>,
    (table, root, process): (&ProcessTable, &TargetRoot, &Process),
    session: &Session,
) -> Result<String, RecordError> {
    let agent = agent.ok_or_else(|| RecordError::Internal {
        step: format!("open {}", ours.display()),
        detail: "the library of async-profiler is missing".to_owned(),
    })?;
    if let Some(path) = in_place(ours, agent, table, root, process) {
        return Ok(path);
    }
    let no_exec = root.file_system("/tmp").is_ok_and(|facts| facts.no_exec);
    // musl recognises a loaded library by its inode: a copy that is removed afterwards would be loaded again and again.
    if no_exec || uses_musl(table, process) {
        match through_server(ours, agent, table, process) {
            Some(path) => return Ok(path),
            None if no_exec => return Err(RecordError::Impossible(doctor::tmp_noexec())),
            None => {}
        }
    }
    copy(agent, session)
}

/// Our own path, when the target has the same files and its user, who we are by now, may read this one.
fn in_place(ours: &Path, agent: &File, table: &ProcessTable, root: &TargetRoot, process: &Process) -> Option<String> {
    let path = ours.canonicalize().ok()?;
    (shares_files(table, root, process) && is_same_file(&path, agent))
        .then_some(path)?
        .to_str()
        .map(str::to_owned)
}

/// The library behind the root of the server, our parent, when the target sees the same pids and may look there. It
/// may exactly if we may: we have its identity.
fn through_server(ours: &Path, agent: &File, table: &ProcessTable, process: &Process) -> Option<String> {
    let ours = std::path::absolute(ours).ok()?;
    let path = PathBuf::from(server_root(table, process)?).join(ours.strip_prefix("/").ok()?);
    is_same_file(&path, agent).then_some(path)?.to_str().map(str::to_owned)
}

fn is_same_file(path: &Path, agent: &File) -> bool {
    let identity = |file: &File| file.metadata().map(|facts| (facts.dev(), facts.ino()));
    matches!(
        (File::open(path).and_then(|file| identity(&file)), identity(agent)),
        (Ok(there), Ok(here)) if there == here
    )
}

fn copy(agent: &File, session: &Session) -> Result<String, RecordError> {
    let mut bytes = Vec::new();
    let mut reader: &File = agent;
    std::io::Seek::rewind(&mut reader)
        .and_then(|()| reader.take(LARGEST).read_to_end(&mut bytes))
        .map_err(|error| RecordError::io("read the library of async-profiler", &error))?;
    let digest = Sha256::digest(&bytes);
    // The path follows the content: another version at a known path would not be loaded.
    let hash: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("libasyncProfiler-{hash}.so");
    let written = session.create(&name, 0o500).and_then(|mut file| file.write_all(&bytes));
    written.map_err(|error| RecordError::Internal {
        step: "copy async-profiler into the target's /tmp".to_owned(),
        detail: error.to_string(),
    })?;
    Ok(session.path_of(&name))
}
