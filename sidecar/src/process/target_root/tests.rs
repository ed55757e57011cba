use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::Mode;
use tempfile::TempDir;

use super::TargetRoot;
use crate::process::{ProcessId, ProcessTable};

const START: u64 = 4711;

/// A proc folder with one process whose root is `<folder>/<pid>/root`.
fn proc_with(pid: i32) -> TempDir {
    let proc = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(proc.path().join(format!("{pid}/root/tmp"))).unwrap();
    let zeros = "0 ".repeat(30);
    let stat = format!("{pid} (app) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {START} {zeros}\n");
    std::fs::write(proc.path().join(format!("{pid}/stat")), stat).unwrap();
    proc
}

fn open(proc: &TempDir, pid: i32) -> io::Result<TargetRoot> {
    TargetRoot::open(&ProcessTable::at(proc.path()), ProcessId { pid, start_time: START })
}

/// The process, its root as a plain path, and the door to it.
fn target() -> (TempDir, std::path::PathBuf, TargetRoot) {
    let proc = proc_with(7);
    let root = open(&proc, 7).unwrap();
    let path = proc.path().join("7/root");
    (proc, path, root)
}

fn errno<T>(result: io::Result<T>) -> Errno {
    match result {
        Ok(_) => panic!("it worked"),
        Err(error) => error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw),
    }
}

fn fifo(path: &Path) {
    nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap();
}

#[test]
fn a_reused_pid_is_not_opened() {
    let proc = proc_with(7);
    let reused = ProcessId {
        pid: 7,
        start_time: START + 1,
    };
    assert_eq!(
        errno(TargetRoot::open(&ProcessTable::at(proc.path()), reused)),
        Errno::ESRCH
    );
}

#[test]
fn an_absolute_path_and_dots_stay_inside() {
    let (_proc, path, root) = target();
    std::fs::write(path.join("inside"), "inside").unwrap();
    for name in [
        "/inside",
        "inside",
        "/../../inside",
        "../../../inside",
        "/tmp/../inside",
    ] {
        let mut text = String::new();
        root.open_file(name).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside", "{name}");
    }
    assert_eq!(errno(root.open_file("/../../../etc/passwd")), Errno::ENOENT);
}

#[test]
fn a_link_at_any_position_is_refused() {
    let (_proc, path, root) = target();
    std::fs::create_dir_all(path.join("a/b/c")).unwrap();
    std::fs::write(path.join("a/b/c/file"), "").unwrap();
    root.open_file("/a/b/c/file").unwrap();
    for position in ["a", "a/b", "a/b/c", "a/b/c/file"] {
        let real = path.join(format!("{position}.real"));
        std::fs::rename(path.join(position), &real).unwrap();
        // To the very same thing: it is the link that counts, not where it leads.
        for aim in [real.file_name().unwrap().into(), real.clone(), "/etc/passwd".into()] {
            symlink::<std::path::PathBuf, _>(aim, path.join(position)).unwrap();
            assert_eq!(errno(root.open_file("/a/b/c/file")), Errno::ELOOP, "{position}");
            std::fs::remove_file(path.join(position)).unwrap();
        }
        std::fs::rename(&real, path.join(position)).unwrap();
    }
    symlink("tmp", path.join("link")).unwrap();
    assert!(matches!(
        errno(root.open_directory("/link")),
        Errno::ELOOP | Errno::ENOTDIR
    ));
    assert_eq!(errno(root.create_file("/link/new", 0o600)), Errno::ELOOP);
    assert!(!path.join("tmp/new").exists());
}

#[test]
fn a_file_that_the_target_read_behind_links_is_found_within_its_root_only() {
    let (_proc, path, root) = target();
    let users = [nix::unistd::geteuid().as_raw()];
    let text = |name: &str| {
        let mut text = String::new();
        root.open_linked_file_of(name, &users)?.read_to_string(&mut text)?;
        io::Result::Ok(text)
    };
    // As the kubelet lays out a ConfigMap, and by an absolute link, which begins at the target's root.
    std::fs::create_dir_all(path.join("config/..2026")).unwrap();
    std::fs::write(path.join("config/..2026/options"), "inside").unwrap();
    symlink("..2026", path.join("config/..data")).unwrap();
    symlink("..data/options", path.join("config/options")).unwrap();
    symlink("/config/options", path.join("absolute")).unwrap();
    for name in ["/config/options", "/absolute", "config/..data/options"] {
        assert_eq!(text(name).unwrap(), "inside", "{name}");
    }
    symlink("/etc/passwd", path.join("outside")).unwrap();
    symlink("../../../../etc/passwd", path.join("upwards")).unwrap();
    symlink("circle", path.join("circle")).unwrap();
    fifo(&path.join("fifo"));
    symlink("fifo", path.join("to-fifo")).unwrap();
    assert_eq!(errno(text("/outside")), Errno::ENOENT);
    assert_eq!(errno(text("/upwards")), Errno::ENOENT);
    assert_eq!(errno(text("/circle")), Errno::ELOOP);
    assert_eq!(text("/to-fifo").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(
        errno(root.open_linked_file_of("/absolute", &[users[0] + 1])),
        Errno::EPERM
    );
    let real = TargetRoot::open(&ProcessTable::default(), ourselves()).unwrap();
    assert_eq!(errno(real.open_linked_file_of("/proc/self/exe", &users)), Errno::ELOOP);
}

#[test]
fn a_magic_link_is_refused() {
    // A real process's /proc seen through a root that contains it.
    let real = TargetRoot::open(&ProcessTable::default(), ourselves()).unwrap();
    assert_eq!(errno(real.open_file("/proc/self/exe")), Errno::ELOOP);
    assert_eq!(errno(real.open_directory("/proc/self/cwd")), Errno::ELOOP);
}

fn ourselves() -> ProcessId {
    ProcessTable::default()
        .get(i32::try_from(std::process::id()).unwrap())
        .unwrap()
        .id
}

#[test]
fn only_regular_files_are_opened_and_without_blocking() {
    let (_proc, path, root) = target();
    fifo(&path.join("fifo"));
    let _listener = UnixListener::bind(path.join("socket")).unwrap();
    let begin = Instant::now();
    let tmp = root.open_directory("/").unwrap();
    for name in ["fifo", "tmp"] {
        assert_eq!(
            root.open_file(name).unwrap_err().kind(),
            io::ErrorKind::InvalidInput,
            "{name}"
        );
        assert_eq!(
            tmp.open_file(name).unwrap_err().kind(),
            io::ErrorKind::InvalidInput,
            "{name}"
        );
    }
    assert_eq!(errno(root.open_file("socket")), Errno::ENXIO);
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_new_file_never_replaces_or_follows_anything() {
    let (_proc, path, root) = target();
    let victim = path.join("victim");
    symlink(&victim, path.join("tmp/dangling")).unwrap();
    std::fs::write(path.join("tmp/taken"), "theirs").unwrap();
    fifo(&path.join("tmp/fifo"));
    let directory = root.open_directory("/tmp").unwrap();
    for name in ["dangling", "taken", "fifo"] {
        assert_eq!(
            errno(root.create_file(Path::new("/tmp").join(name), 0o600)),
            Errno::EEXIST,
            "{name}"
        );
        assert_eq!(errno(directory.create_file(name, 0o600)), Errno::EEXIST, "{name}");
        assert_eq!(errno(directory.create_directory(name, 0o700)), Errno::EEXIST, "{name}");
    }
    assert!(!victim.exists());
    assert_eq!(std::fs::read_to_string(path.join("tmp/taken")).unwrap(), "theirs");
    root.create_file("/tmp/new", 0o600).unwrap().write_all(b"ours").unwrap();
    assert_eq!(std::fs::metadata(path.join("tmp/new")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn names_in_a_directory_do_not_leave_it() {
    let (_proc, path, root) = target();
    std::fs::write(path.join("outside"), "").unwrap();
    let directory = root.open_directory("/tmp").unwrap();
    for name in ["../outside", "/outside"] {
        assert_eq!(errno(directory.open_file(name)), Errno::EXDEV, "{name}");
        assert_eq!(
            errno(directory.create_file(&format!("{name}2"), 0o600)),
            Errno::EXDEV,
            "{name}"
        );
    }
    symlink("../outside", path.join("tmp/link")).unwrap();
    assert_eq!(errno(directory.open_file("link")), Errno::ELOOP);
    symlink("..", path.join("tmp/up")).unwrap();
    assert!(matches!(
        errno(directory.directory("up")),
        Errno::ELOOP | Errno::ENOTDIR
    ));
}

#[test]
fn a_rename_never_replaces() {
    let (_proc, path, root) = target();
    let directory = root.open_directory("/tmp").unwrap();
    directory.create_file("ours", 0o600).unwrap();
    std::fs::write(path.join("tmp/theirs"), "theirs").unwrap();
    assert_eq!(errno(directory.rename_new("ours", "theirs")), Errno::EEXIST);
    directory.rename_new("ours", "free").unwrap();
    assert_eq!(std::fs::read_to_string(path.join("tmp/theirs")).unwrap(), "theirs");
    assert!(path.join("tmp/free").exists() && !path.join("tmp/ours").exists());
}

#[test]
fn our_directory_is_removed_with_its_files_but_not_through_links() {
    let (_proc, path, root) = target();
    let directory = root.open_directory("/tmp").unwrap();
    let ours = directory.create_directory("ours", 0o700).unwrap();
    ours.create_file("a", 0o600).unwrap();
    std::fs::write(path.join("kept"), "").unwrap();
    symlink("../../kept", path.join("tmp/ours/link")).unwrap();
    directory.remove_directory("ours").unwrap();
    assert!(!path.join("tmp/ours").exists() && path.join("kept").exists());
    // Exchanged for a link by the app: neither it nor what it leads to is touched.
    std::fs::create_dir(path.join("theirs")).unwrap();
    std::fs::write(path.join("theirs/file"), "").unwrap();
    symlink("../theirs", path.join("tmp/ours")).unwrap();
    assert!(directory.remove_directory("ours").is_err());
    assert!(path.join("theirs/file").exists());
}

#[test]
fn a_crowded_directory_is_listed_up_to_the_limit() {
    let (_proc, path, root) = target();
    for index in 0..20 {
        std::fs::write(path.join(format!("tmp/{index}")), "").unwrap();
    }
    assert!(root.open_directory("/tmp").unwrap().names(10).unwrap().len() <= 10);
}

#[test]
fn the_targets_own_socket_is_connected() {
    let pid = i32::try_from(std::process::id()).unwrap();
    let proc = proc_with(pid);
    let root = open(&proc, pid).unwrap();
    let listener = UnixListener::bind(proc.path().join(format!("{pid}/root/tmp/socket"))).unwrap();
    let (mut stream, _accepted) = (root.connect("/tmp/socket").unwrap(), listener.accept().unwrap().0);
    // It was connected without blocking, but is handed out blocking.
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let begin = Instant::now();
    assert!(stream.read(&mut [0]).is_err());
    assert!(begin.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_foreign_socket_is_refused() {
    // Process 7 of the fixture is not we who listen.
    let (_proc, path, root) = target();
    let _listener = UnixListener::bind(path.join("tmp/socket")).unwrap();
    assert_eq!(
        root.connect("/tmp/socket").unwrap_err().kind(),
        io::ErrorKind::PermissionDenied
    );
}

#[test]
fn what_is_no_socket_is_not_connected() {
    let (_proc, path, root) = target();
    std::fs::write(path.join("tmp/file"), "").unwrap();
    fifo(&path.join("tmp/fifo"));
    let listener = UnixListener::bind(path.join("tmp/socket")).unwrap();
    symlink("socket", path.join("tmp/link")).unwrap();
    for name in ["file", "fifo", "link"] {
        assert!(root.connect(Path::new("/tmp").join(name)).is_err(), "{name}");
    }
    assert_eq!(errno(root.connect("/tmp/missing")), Errno::ENOENT);
    drop(listener);
    assert_eq!(errno(root.connect("/tmp/socket")), Errno::ECONNREFUSED);
}

#[test]
fn a_socket_nobody_accepts_on_does_not_hold_us() {
    let pid = i32::try_from(std::process::id()).unwrap();
    let proc = proc_with(pid);
    let root = open(&proc, pid).unwrap();
    let _listener = socket_with_backlog_one(&proc.path().join(format!("{pid}/root/tmp/socket")));
    // Until the backlog is full.
    let mut waiting = Vec::new();
    while waiting.len() < 10 {
        match root.connect("/tmp/socket") {
            Ok(stream) => waiting.push(stream),
            Err(error) => return assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    panic!("{} connections were taken", waiting.len());
}

fn socket_with_backlog_one(path: &Path) -> std::os::fd::OwnedFd {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    use std::os::fd::AsRawFd;
    let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(listener.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    listener
}

#[test]
fn the_file_system_is_described() {
    let (_proc, _path, root) = target();
    let facts = root.file_system("/tmp").unwrap();
    assert!(!facts.read_only && facts.free_bytes > 0);
}
