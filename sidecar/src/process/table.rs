//! Lists `/proc`, or a fixture folder shaped like it.

mod mapped_files;
mod unix_sockets;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use procfs::FromRead;
use procfs::process::{Process as ProcFiles, Stat, Status};

use super::{CommandLine, Container, Credentials, Process, ProcessId};

pub use mapped_files::MappedFiles;
pub use unix_sockets::{UnixSocket, UnixSockets};

/// The kernel writes some 1.5 KB; 65,536 supplementary groups would be 700 KB.
const STATUS_LIMIT: u64 = 1 << 20;

/// A process can make its own command line as long as its memory (`PR_SET_MM_ARG_END`); no class path has 256 KiB.
const COMMAND_LINE_LIMIT: usize = 256 << 10;

/// Of one command line in a snapshot: what a list can show.
const SHOWN_LIMIT: usize = 16 << 10;

/// Of all command lines in a snapshot: 200 bytes each of 10,000 processes. What is not UTF-8 takes three times as much.
const SNAPSHOT_LIMIT: usize = 2 << 20;

/// A proc file system: `/proc` itself, or a folder of a test.
#[derive(Debug, Clone)]
pub struct ProcessTable {
    root: PathBuf,
}

impl Default for ProcessTable {
    fn default() -> Self {
        Self::at("/proc")
    }
}

impl ProcessTable {
    /// Reads the proc file system mounted at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Folder of one process.
    pub fn directory(&self, pid: i32) -> PathBuf {
        self.root.join(pid.to_string())
    }

    /// A file that is of no process.
    pub fn machine_wide(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The threads of a process in no order, by their numbers in our pid namespace; none of one that is gone.
    pub fn threads(&self, pid: i32) -> impl Iterator<Item = i32> + use<> {
        let tasks = std::fs::read_dir(self.directory(pid).join("task"));
        let tasks = tasks.into_iter().flatten().flatten();
        tasks.filter_map(|task| task.file_name().to_str()?.parse().ok())
    }

    /// The processes that `wanted` lets pass, without kernel threads and zombies; by pid. `wanted` sees no command line:
    /// they are read of those that pass, 16 KiB each at most, and less if there are very many long ones.
    ///
    /// A process that exits while we read is left out.
    pub fn snapshot(&self, wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
        let Ok(entries) = std::fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let mut processes: Vec<Process> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter_map(|pid| self.row(pid, |stat| !has_no_program(stat)))
            .filter(wanted)
            .collect();
        processes.sort_by_key(|process| process.id);
        self.share_command_lines(&mut processes);
        processes
    }

    /// One process with its command line, or `None` if there is none (any more).
    pub fn get(&self, pid: i32) -> Option<Process> {
        let mut process = self.row(pid, |_| true)?;
        process.command_line = self.command_line(pid);
        Some(process)
    }

    /// The process of that identity as it is now; `None` once it has ended, also if another has its pid.
    pub fn find(&self, id: ProcessId) -> Option<Process> {
        self.get(id.pid).filter(|process| process.id == id)
    }

    /// The command line of a process, up to 256 KiB.
    pub fn command_line(&self, pid: i32) -> CommandLine {
        self.read_command_line(pid, COMMAND_LINE_LIMIT)
    }

    fn row(&self, pid: i32, wanted: impl Fn(&Stat) -> bool) -> Option<Process> {
        let stat = self.stat(pid).filter(wanted)?;
        let status = self.status(pid)?;
        let cgroup = std::fs::read_to_string(self.directory(pid).join("cgroup")).unwrap_or_default();
        Some(Process {
            id: ProcessId {
                pid,
                start_time: stat.starttime,
            },
            parent_pid: stat.ppid,
            namespace_pid: namespace_pid(&status).unwrap_or(pid),
            command_line: CommandLine::default(),
            executable: self.executable(pid),
            credentials: Credentials {
                uid: status.euid,
                gid: status.egid,
                capabilities: status.capprm,
            },
            signals_caught: status.sigcgt,
            signals_ignored: status.sigign,
            state: stat.state,
            threads: status.threads,
            no_new_privileges: status.nonewprivs == Some(1),
            container: Container::from_cgroup(&cgroup),
            command: stat.comm,
        })
    }

    /// Shares the budget of a snapshot: whoever needs less than an equal part leaves the rest to the others, so that
    /// processes with huge command lines cut each other's and no others'.
    fn share_command_lines(&self, processes: &mut [Process]) {
        let mut left = SNAPSHOT_LIMIT;
        let mut open: Vec<&mut Process> = processes.iter_mut().collect();
        while !open.is_empty() {
            let share = SHOWN_LIMIT.min(left / open.len());
            let before = open.len();
            for process in &mut open {
                process.command_line = self.read_command_line(process.id.pid, share);
            }
            open.retain(|process| {
                let is_cut = process.command_line.is_cut();
                if !is_cut {
                    left = left.saturating_sub(process.command_line.size());
                }
                is_cut
            });
            // Reading again must give them a good deal more.
            if share == SHOWN_LIMIT || open.len() > before / 2 {
                return;
            }
        }
    }

    /// Identity of the process with this pid.
    pub fn id_of(&self, pid: i32) -> Option<ProcessId> {
        let start_time = self.stat(pid)?.starttime;
        Some(ProcessId { pid, start_time })
    }

    /// True while the process of this identity exists and is not a zombie.
    pub fn is_alive(&self, id: ProcessId) -> bool {
        self.stat(id.pid)
            .is_some_and(|stat| stat.starttime == id.start_time && !matches!(stat.state, 'Z' | 'X'))
    }

    pub(super) fn stat(&self, pid: i32) -> Option<Stat> {
        ProcFiles::new_with_root(self.directory(pid)).ok()?.stat().ok()
    }

    /// `Name` in it is the app's choice and need not be UTF-8, which procfs's own reader insists on: such a process
    /// would be invisible.
    pub(super) fn status(&self, pid: i32) -> Option<Status> {
        let bytes = read_capped(&self.directory(pid).join("status"), STATUS_LIMIT).ok()?;
        Status::from_read(String::from_utf8_lossy(&bytes).as_bytes()).ok()
    }

    fn read_command_line(&self, pid: i32, limit: usize) -> CommandLine {
        let path = self.directory(pid).join("cmdline");
        let mut bytes = read_capped(&path, limit as u64 + 1).unwrap_or_default();
        let is_cut = bytes.len() > limit;
        if is_cut {
            // One byte is for the end of the last argument.
            bytes.truncate(limit.saturating_sub(1));
        }
        CommandLine::read(&bytes, is_cut)
    }

    fn executable(&self, pid: i32) -> Option<PathBuf> {
        std::fs::read_link(self.directory(pid).join("exe")).ok()
    }

    /// The namespace of `kind` (`mnt`, `net`, …) that the process is in, e.g. `net:[4026531840]`.
    ///
    /// # Errors
    /// `EACCES` when we lack the right, `ENOENT` when the process is gone.
    pub fn namespace(&self, pid: i32, kind: &str) -> io::Result<PathBuf> {
        std::fs::read_link(self.directory(pid).join("ns").join(kind))
    }

    /// The network namespace of the process if it is another one than ours, so that its loopback is not ours. Without the
    /// right to tell, it counts as ours.
    pub fn other_network(&self, pid: i32) -> Option<PathBuf> {
        let theirs = self.namespace(pid, "net").ok()?;
        let ours = std::fs::read_link("/proc/self/ns/net").ok()?;
        (theirs != ours).then_some(theirs)
    }

    /// The text of `mountinfo`: what is mounted where in the mount namespace of the process.
    ///
    /// # Errors
    /// What opening it says.
    pub fn mounts(&self, pid: i32) -> io::Result<String> {
        // A container has some 30 mounts of 200 bytes, a node some thousand; the app can make them many and long.
        const LIMIT: u64 = 1 << 20;
        let bytes = read_capped(&self.directory(pid).join("mountinfo"), LIMIT)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Environment variables `names` of the process; empty without the right to read them.
    pub fn environment(&self, pid: i32, names: &[&str]) -> HashMap<String, String> {
        // An environment is at most 1/4 of the 8 MiB stack limit by default; an app that has more than 2 MiB does not mean its settings.
        const LIMIT: u64 = 2 << 20;
        let bytes = read_capped(&self.directory(pid).join("environ"), LIMIT).unwrap_or_default();
        let mut found = HashMap::new();
        for entry in bytes.split(|byte| *byte == 0) {
            let Some((name, value)) = std::str::from_utf8(entry).ok().and_then(|entry| entry.split_once('=')) else {
                continue;
            };
            // getenv returns the first of several.
            if names.contains(&name) && !found.contains_key(name) {
                found.insert(name.to_owned(), value.to_owned());
            }
        }
        found
    }

    /// Paths of the files mapped into the process, without the anonymous and special ones, by address; one that is mapped
    /// several times in a row once. Read as they are asked for: an app decides how many there are, and how long.
    ///
    /// # Errors
    /// The error of opening `maps`, `EACCES` when we lack the right.
    pub fn mapped_files(&self, pid: i32) -> io::Result<MappedFiles> {
        MappedFiles::open(&self.directory(pid).join("maps"))
    }

    /// What the process has at these addresses of its memory.
    ///
    /// # Errors
    /// `EACCES` when we lack the right to trace the process, which Yama may keep from everyone but its parent.
    pub fn memory(&self, pid: i32, addresses: Range<u64>) -> io::Result<impl Read> {
        let mut memory = File::open(self.directory(pid).join("mem"))?;
        memory.seek(SeekFrom::Start(addresses.start))?;
        Ok(memory.take(addresses.end.saturating_sub(addresses.start)))
    }

    /// The Unix sockets in the network namespace of the process that have a name, of the first `rows` of the kernel's table.
    ///
    /// # Errors
    /// `ENOENT` when the process is gone.
    pub fn unix_sockets(&self, pid: i32, rows: usize) -> io::Result<UnixSockets> {
        UnixSockets::open(&self.directory(pid).join("net/unix"), rows)
    }
}

/// True for kernel threads (`PF_KTHREAD` of `include/linux/sched.h`) and for what has exited.
fn has_no_program(stat: &Stat) -> bool {
    const PF_KTHREAD: u32 = 0x0020_0000;
    stat.flags & PF_KTHREAD != 0 || matches!(stat.state, 'Z' | 'X')
}

fn namespace_pid(status: &Status) -> Option<i32> {
    status.nspid.as_ref()?.last().copied()
}

pub(super) fn read_capped(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
