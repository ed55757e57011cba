//! Checks for .NET targets: everything goes through the runtime's diagnostic socket, so everything depends on it.

use std::io;
use std::path::Path;

use super::detect::{socket_path, temporary_directory};
use super::perf_map;
use super::startup;
use crate::event::Event;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::dump::DUMP;
use crate::runtime::{Availability, Examination, Reason, RuntimeFacts, Target, Verdict, no_access, stopped};

/// Verdicts for every event of the runtime, and for what the kernel samples beside it, of which `by_kernel` are the verdicts.
pub fn verdicts(examination: &Examination<'_>, by_kernel: Vec<Verdict>) -> Vec<Verdict> {
    let blocker = blocker(examination);
    let mut verdicts = verdicts_unless(blocker.as_ref(), &running_apportioned());
    let unnamed = perf_map::why_unnamed(examination, blocker.as_ref());
    let kernels = by_kernel.into_iter().filter(|verdict| !serves(&verdict.event));
    verdicts.extend(kernels.map(|verdict| match (&unnamed, verdict.availability) {
        (None, _) | (_, Availability::Impossible) => verdict,
        (Some(reason), _) => {
            let reasons: Vec<_> = verdict.reasons().chain([reason]).cloned().collect();
            Verdict::limited(verdict.event, reasons)
        }
    }));
    verdicts
}

/// True if the runtime itself is who to ask for `event`.
pub fn serves(event: &Event) -> bool {
    !matches!(event, Event::Named(name) if name != DUMP)
}

/// Verdicts where nothing, or `blocker`, stands in the way of every event, and `cpu` is what stands in the way of a whole picture.
pub fn verdicts_unless(blocker: Option<&Reason>, cpu: &Reason) -> Vec<Verdict> {
    [
        Event::Cpu,
        Event::Wall,
        Event::Alloc,
        Event::Heap,
        Event::Lock,
        Event::Exceptions,
        Event::Goroutine,
        Event::Counters,
    ]
    .into_iter()
    .map(|event| match (blocker, &event) {
        (Some(reason), _) => Verdict::impossible(event, reason.clone()),
        (None, Event::Heap) => Verdict::degraded(event, collects_garbage()),
        (None, Event::Cpu) => Verdict::degraded(event, cpu.clone()),
        (None, _) => Verdict::available(event),
    })
    .collect()
}

/// The event whose verdict counts for `event`: in the way of a dump stands what is in the way of all.
pub fn judged_as(event: &Event) -> &Event {
    match event {
        Event::Named(name) if name == DUMP => &Event::Heap,
        event => event,
    }
}

/// What stands in the way of every event. Connects to the socket, and says nothing on it.
fn blocker(examination: &Examination<'_>) -> Option<Reason> {
    let target = examination.target;
    if target.process.is_stopped() {
        return Some(stopped());
    }
    let Ok(root) = examination.root else {
        return Some(no_access(target));
    };
    if let Some(paused) = startup::paused(examination.table, &target.process) {
        return Some(paused);
    }
    match &target.facts {
        RuntimeFacts::Dotnet {
            socket: Some(socket), ..
        } => {
            let error = root.connect(socket).err()?;
            Some(unreachable_socket(&error, socket, target))
        }
        _ => Some(no_socket(examination.table, &target.process, root)),
    }
}

/// Why there is a name for the socket but no connection. Also what the recorder says when it finds out.
pub fn unreachable_socket(error: &io::Error, socket: &Path, target: &Target) -> Reason {
    const RESTART: &str = "restart the process; the runtime creates its socket only at start-up";
    let socket = socket.display();
    match error.raw_os_error() {
        Some(nix::libc::EACCES) => no_access(target),
        Some(nix::libc::ENOENT | nix::libc::ECONNREFUSED) => Reason::new(
            "no_diagnostic_socket",
            format!("no process listens on {socket} any more"),
            RESTART,
        ),
        Some(nix::libc::EAGAIN) => Reason::new(
            "diagnostic_socket_busy",
            format!("the runtime accepts no connection on {socket}"),
            "end other diagnostic tools that wait for this process, or restart it",
        ),
        _ => Reason::new(
            "foreign_diagnostic_socket",
            format!("{socket} is not the socket of this process ({error})"),
            format!("find out who put it there, remove it and {RESTART}"),
        ),
    }
}

/// Why a .NET process has no diagnostic socket.
pub fn no_socket(table: &ProcessTable, process: &Process, root: &TargetRoot) -> Reason {
    if let Some(switch) = switch_off(table, process) {
        return Reason::new(
            "diagnostics_disabled",
            format!("the process runs with {switch}: its runtime opens no diagnostic socket"),
            format!("remove {switch} from its environment and restart it"),
        );
    }
    let directory = temporary_directory(table, process);
    if let Some(reason) = too_long(&directory, &socket_path(table, process)) {
        return reason;
    }
    let shown = directory.display();
    match root.file_system(&directory) {
        Ok(file_system) if file_system.read_only => Reason::new(
            "tmp_read_only",
            format!("{shown} is read-only, so the runtime could not create its diagnostic socket"),
            format!(
                "mount a volume there: volumes: [{{name: tmp, emptyDir: {{}}}}], \
                 volumeMounts: [{{name: tmp, mountPath: {shown}}}] (sideflame.io/tmp: auto does it)"
            ),
        ),
        Ok(_) => Reason::new(
            "no_diagnostic_socket",
            format!(
                "the process has no diagnostic socket at {}: its runtime has just started, was built without, has \
                 diagnostics switched off, or somebody removed it",
                socket_path(table, process).display()
            ),
            "try again in a second, else restart the process",
        ),
        Err(error) => Reason::new(
            "no_diagnostic_socket",
            format!("the runtime could not create its diagnostic socket in {shown} ({error})"),
            format!("let {shown} exist and be writable for the process, or set TMPDIR to such a directory"),
        ),
    }
}

/// The kernel's name of a socket has 108 bytes, the NUL at its end included (`unix(7)`).
fn too_long(directory: &Path, socket: &Path) -> Option<Reason> {
    const LONGEST: usize = 107;
    let length = socket.as_os_str().len();
    let room = LONGEST.saturating_sub(length - directory.as_os_str().len());
    (length > LONGEST).then(|| {
        Reason::new(
            "tmpdir_too_long",
            format!(
                "the name of the diagnostic socket in TMPDIR={} would have {length} bytes; a socket's has at most {LONGEST}, so the \
                 runtime made none",
                directory.display()
            ),
            format!("set TMPDIR to a directory of at most {room} bytes, or not at all, and restart the process"),
        )
    })
}

/// The variable that switches diagnostics off, as `NAME=value`. The runtime reads numbers as hexadecimal, knows
/// `DOTNET_` from .NET 6 and `COMPlus_` before and since; only a process that lacks the socket gets here, so a
/// variable that its version ignores does no harm.
fn switch_off(table: &ProcessTable, process: &Process) -> Option<String> {
    const SWITCHES: [&str; 4] = [
        "DOTNET_EnableDiagnostics",
        "DOTNET_EnableDiagnostics_IPC",
        "COMPlus_EnableDiagnostics",
        "COMPlus_EnableDiagnostics_IPC",
    ];
    let environment = table.environment(process.id.pid, &SWITCHES);
    SWITCHES.into_iter().find_map(|name| {
        let value = environment.get(name)?;
        let digits = value.trim().trim_start_matches("0x");
        (u32::from_str_radix(digits, 16) == Ok(0)).then(|| format!("{name}={value}"))
    })
}

/// What a picture of `cpu` says, too, where it makes a difference.
pub fn running_apportioned() -> Reason {
    Reason::new(
        "running_apportioned",
        "the runtime samples every managed thread by the clock and does not tell well which of them run: what it does not call \
         running is apportioned by the kernel's count of each thread's CPU time, and garbage collection and compilation are missing",
        "nothing to change; event=wall has all threads, waiting ones included",
    )
}

fn collects_garbage() -> Reason {
    Reason::new(
        "collects_garbage",
        "the runtime collects all garbage first and then walks through what is left, and the app stands still meanwhile: some 0.1 to \
         0.3 s per million objects; buffers of some 56 bytes an object, and of half of what its memory limit leaves at most, are in \
         its memory",
        "ask for it when a pause does no harm; event=alloc shows what is allocated without one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ourselves(environ: &[u8]) -> (tempfile::TempDir, ProcessTable, Process) {
        let pid = i32::try_from(std::process::id()).unwrap();
        let process = ProcessTable::default().get(pid).unwrap();
        let proc = tempfile::tempdir().unwrap();
        let directory = proc.path().join(pid.to_string());
        std::fs::create_dir(&directory).unwrap();
        std::fs::copy(format!("/proc/{pid}/stat"), directory.join("stat")).unwrap();
        std::fs::write(directory.join("environ"), environ).unwrap();
        std::fs::create_dir(directory.join("root")).unwrap();
        let table = ProcessTable::at(proc.path());
        (proc, table, process)
    }

    #[test]
    fn a_switch_in_the_environment_is_named_with_its_value() {
        for (environ, expected) in [
            (
                &b"A=1\0DOTNET_EnableDiagnostics=0\0"[..],
                Some("DOTNET_EnableDiagnostics=0"),
            ),
            (
                b"DOTNET_EnableDiagnostics_IPC=0x0\0",
                Some("DOTNET_EnableDiagnostics_IPC=0x0"),
            ),
            (b"COMPlus_EnableDiagnostics=00\0", Some("COMPlus_EnableDiagnostics=00")),
            (b"DOTNET_EnableDiagnostics=1\0", None),
            (b"DOTNET_EnableDiagnostics=false\0", None),
            (b"", None),
        ] {
            let (_proc, table, process) = ourselves(environ);
            assert_eq!(switch_off(&table, &process).as_deref(), expected);
        }
    }

    #[test]
    fn a_missing_directory_is_named() {
        let (_proc, table, process) = ourselves(b"TMPDIR=/scratch\0");
        let root = TargetRoot::open(&table, process.id).unwrap();
        let reason = no_socket(&table, &process, &root);
        assert_eq!(reason.key, "no_diagnostic_socket");
        assert!(reason.remedy.contains("/scratch"), "{reason:?}");
    }

    #[test]
    fn a_directory_too_long_for_a_socket_is_the_reason() {
        let directory = format!("/{}", "a".repeat(80));
        let (_proc, table, process) = ourselves(format!("TMPDIR={directory}\0").as_bytes());
        let root = TargetRoot::open(&table, process.id).unwrap();
        let reason = no_socket(&table, &process, &root);
        assert_eq!(reason.key, "tmpdir_too_long");
        assert!(reason.sentence.contains(&directory), "{reason:?}");
        let room = |length: usize| too_long(Path::new("/a"), Path::new(&"x".repeat(length))).is_none();
        assert!(room(107) && !room(108));
    }

    #[test]
    fn a_socket_of_somebody_else_is_not_the_targets() {
        let (proc, table, process) = ourselves(b"");
        let root = TargetRoot::open(&table, process.id).unwrap();
        let tmp = proc.path().join(process.id.pid.to_string()).join("root/tmp");
        std::fs::create_dir(&tmp).unwrap();
        std::fs::write(tmp.join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", tmp.join("link")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(tmp.join("stale")).unwrap());
        let target = Target {
            process,
            name: String::new(),
            facts: RuntimeFacts::Dotnet {
                version: None,
                rid: None,
                socket: None,
                port: None,
            },
        };
        let key = |name: &str| {
            let path = Path::new("/tmp").join(name);
            unreachable_socket(&root.connect(&path).unwrap_err(), &path, &target)
                .key
                .into_owned()
        };
        assert_eq!(key("file"), "foreign_diagnostic_socket");
        assert_eq!(key("link"), "foreign_diagnostic_socket");
        assert_eq!(key("stale"), "no_diagnostic_socket");
        assert_eq!(key("none"), "no_diagnostic_socket");
    }
}
