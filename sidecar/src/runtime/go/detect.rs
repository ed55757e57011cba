//! Recognises a Go program by the build information in its executable, and finds its pprof port.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;

use super::build_info::{self, BuildInfo};
use super::pprof_probe::{self, Program};
use crate::process::{Process, ProcessTable};
use crate::runtime::{Detected, GoPprofSettings, RuntimeFacts};

/// The package path of a program built from a list of files: true of all of them, and no name.
const NO_PACKAGE: &str = "command-line-arguments";

/// `None` when the process is not a Go program.
///
/// Sends one request to each port on which a Go program listens; at most 2 seconds.
pub fn detect(table: &ProcessTable, process: &Process, settings: &GoPprofSettings) -> Option<Detected> {
    let info = match executable(table, process) {
        Ok(file) => build_info::read(&file)?,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return detect_by_port(table, process, settings);
        }
        Err(_) => return None,
    };
    let (name, version, module) = described(info, process);
    let (pprof, pprof_absence) = match pprof_probe::find(table, Program { process, name: &name }, settings) {
        Ok(endpoint) => (Some(endpoint), None),
        Err(absence) => (None, Some(absence)),
    };
    let facts = RuntimeFacts::Go {
        version,
        module,
        pprof,
        pprof_absence,
    };
    Some(Detected { facts, name })
}

/// As [`detect`], by the executable alone: no port is asked.
pub fn recognise(table: &ProcessTable, process: &Process) -> Option<Detected> {
    let info = build_info::read(&executable(table, process).ok()?)?;
    let (name, version, module) = described(info, process);
    let facts = RuntimeFacts::Go {
        version,
        module,
        pprof: None,
        pprof_absence: None,
    };
    Some(Detected { facts, name })
}

/// Name, version and module.
fn described(info: BuildInfo, process: &Process) -> (String, Option<String>, Option<String>) {
    let package = info.package.filter(|package| package != NO_PACKAGE);
    let name = package.clone().unwrap_or_else(|| process.executable_name());
    (name, info.version, info.module.or(package))
}

/// pprof needs no right but to connect. With a configured port a program of another user can be profiled, too.
fn detect_by_port(table: &ProcessTable, process: &Process, settings: &GoPprofSettings) -> Option<Detected> {
    let name = process.executable_name();
    let pprof = Some(pprof_probe::find_configured(
        table,
        Program { process, name: &name },
        settings,
    )?);
    let facts = RuntimeFacts::Go {
        version: None,
        module: None,
        pprof,
        pprof_absence: None,
    };
    Some(Detected { facts, name })
}

/// The file the kernel executes, whatever its path means in our mount namespace.
fn executable(table: &ProcessTable, process: &Process) -> io::Result<File> {
    let path = table.directory(process.id.pid).join("exe");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Checked after the open: the pid may have been reused since the snapshot.
    if !table.is_alive(process.id) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(file)
}
