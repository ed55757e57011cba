//! Whose the attach listener's socket is. Its name has nothing but a process id, so that two JVMs that share a `/tmp` from two
//! pid namespaces have one name: whoever is second cannot be reached.
//!
//! Reads only, but where two sockets have the name, which only a connection can tell apart. Called by [`super::doctor`], and for the reason by [`super::attach`].

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::descriptors;
use super::detect::socket_path;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::Reason;

/// Who listens at the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// There is no such name, or only what an ended process left there.
    Absent,
    /// The JVM itself.
    Own,
    /// Another process, or another user's file.
    Foreign,
}

impl Listener {
    /// Looks who listens where the attach listener of `process` does.
    pub fn of(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Self {
        let name = socket_path(process);
        match root.owner(&name) {
            Err(_) => Self::Absent,
            Ok(owner) if owner != process.credentials.uid => Self::Foreign,
            Ok(_) if listens(table, process.id.pid, &name) => Self::of_several(table, root, process),
            Ok(_) if namesakes(table, root, process).any(|other| listens(table, other.id.pid, &name)) => Self::Foreign,
            Ok(_) => Self::Absent,
        }
    }

    /// Of a JVM that listens: its name may be another's by now, who starts with removing it. A listener that is connected to and
    /// asked nothing closes the connection.
    fn of_several(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Self {
        let name = socket_path(process);
        let several = bound_to(table, process.id.pid, &name).len() > 1;
        match several.then(|| root.connect(&name)) {
            Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied => Self::Foreign,
            _ => Self::Own,
        }
    }
}

/// Why a JVM cannot be reached whose name is taken.
pub fn tmp_shared(process: &Process) -> Reason {
    Reason::new(
        "tmp_shared",
        format!(
            "{} belongs to another process: it shares /tmp with this one and has the same process id in its namespace",
            socket_path(process)
        ),
        "give each container a /tmp of its own (an emptyDir that no other container mounts), or \
         shareProcessNamespace: true, so that process ids differ",
    )
}

/// Processes with the same id in their namespace and the same `/tmp`.
fn namesakes(table: &ProcessTable, root: &TargetRoot, process: &Process) -> impl Iterator<Item = Process> {
    let tmp = directory(root);
    let id = process.namespace_pid;
    let own = process.id;
    let others = table.snapshot(|other| other.namespace_pid == id && other.id != own);
    let shares = move |other: &Process| {
        let theirs = TargetRoot::open(table, other.id).ok().and_then(|root| directory(&root));
        tmp.is_some() && theirs == tmp
    };
    others.into_iter().filter(shares)
}

/// Identity of `/tmp`.
fn directory(root: &TargetRoot) -> Option<(u64, u64)> {
    let directory = root.open_directory("/tmp").ok()?.as_fd().try_clone_to_owned().ok()?;
    let facts = File::from(directory).metadata().ok()?;
    Some((facts.dev(), facts.ino()))
}

/// True if the process has a listening socket that was bound to `name`.
fn listens(table: &ProcessTable, pid: i32, name: &str) -> bool {
    holds(table, pid, &bound_to(table, pid, name))
}

/// True if the process holds one of these sockets.
fn holds(table: &ProcessTable, pid: i32, inodes: &[u64]) -> bool {
    let link = |inode: &u64| PathBuf::from(format!("socket:[{inode}]"));
    let sockets: Vec<PathBuf> = inodes.iter().map(link).collect();
    !sockets.is_empty() && descriptors::links(table, pid).any(|link| sockets.contains(&link))
}

/// Inodes of the sockets in the network namespace of the process that were bound to `name`. HotSpot binds to another name and then renames
/// the file, of which the kernel takes no note.
fn bound_to(table: &ProcessTable, pid: i32, name: &str) -> Vec<u64> {
    const ROWS: usize = 1 << 19;
    const MOST: usize = 64;
    let before = format!("{name}.tmp");
    let sockets = table.unix_sockets(pid, ROWS).into_iter().flatten();
    let bound = sockets.filter(|socket| socket.name == name || socket.name == before);
    bound.map(|socket| socket.inode).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LIST: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                        0000000000000000: 00000002 00000000 00010000 0001 01 4711 /tmp/.java_pid17.tmp\n\
                        0000000000000000: 00000002 00000000 00010000 0001 01 4712 /tmp/.java_pid18\n\
                        0000000000000000: 00000003 00000000 00000000 0001 03 4713\n";

    /// Who listens for a JVM that holds `socket`, with a file in the socket's place.
    fn listener(socket: u64, file: bool, user_of_process: u32) -> Listener {
        let (root, proc, mut process) = TargetRoot::example();
        let own = proc.path().join("17");
        if file {
            std::fs::write(own.join("root/tmp/.java_pid17"), "").unwrap();
        }
        std::fs::create_dir_all(own.join("net")).unwrap();
        std::fs::write(own.join("net/unix"), LIST).unwrap();
        std::fs::create_dir(own.join("fd")).unwrap();
        symlink(format!("socket:[{socket}]"), own.join("fd/7")).unwrap();
        process.credentials.uid += user_of_process;
        Listener::of(&ProcessTable::at(proc.path()), &root, &process)
    }

    #[test]
    fn a_name_is_the_jvms_if_it_holds_the_socket_behind_it() {
        assert_eq!(listener(4711, true, 0), Listener::Own);
        assert_eq!(listener(4711, false, 0), Listener::Absent);
        assert_eq!(listener(4712, true, 0), Listener::Absent, "left behind");
        assert_eq!(listener(4711, true, 1), Listener::Foreign, "another user's");
    }
}
