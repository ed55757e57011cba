use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::ProcessTable;
use crate::process::{Process, ProcessId};

const CONTAINER: &str = "3f5c6e1d0b9a87766554433221100ffeeddccbbaa99887766554433221100abc";

const STATUS: &str = "Name:\tjava\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t17\nNgid:\t0\nPid:\t17\nPPid:\t1\n\
    TracerPid:\t0\nUid:\t1000\t1001\t1002\t1003\nGid:\t2000\t2001\t2002\t2003\nFDSize:\t256\nGroups:\t \nNStgid:\t17\t5\n\
    NSpid:\t17\t5\nNSpgid:\t17\t5\nNSsid:\t17\t5\nVmRSS:\t    1234 kB\nThreads:\t42\nSigQ:\t0/31000\n\
    SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\n\
    SigCgt:\t2000000181005ccf\nCapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n\
    voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t1\n";

fn stat(pid: i32, comm: &str, state: char, start: u64) -> String {
    let zeros = "0 ".repeat(30);
    format!("{pid} ({comm}) {state} 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 42 0 {start} {zeros}\n")
}

/// A proc folder with one process, 17, as Kubernetes shows it.
fn fixture() -> TempDir {
    let proc = tempfile::tempdir().unwrap();
    let process = proc.path().join("17");
    std::fs::create_dir(&process).unwrap();
    std::fs::write(process.join("stat"), stat(17, "java", 'S', 4711)).unwrap();
    std::fs::write(process.join("status"), STATUS).unwrap();
    std::fs::write(process.join("cmdline"), "java\0-jar\0\0shop.jar\0").unwrap();
    std::fs::write(
        process.join("cgroup"),
        format!("0::/kubepods.slice/cri-containerd-{CONTAINER}.scope\n"),
    )
    .unwrap();
    symlink("/opt/java/bin/java", process.join("exe")).unwrap();
    proc
}

fn table(proc: &TempDir) -> ProcessTable {
    ProcessTable::at(proc.path())
}

fn get(proc: &TempDir) -> Option<Process> {
    table(proc).get(17)
}

fn arguments(process: &Process) -> Vec<&str> {
    process.command_line.arguments().collect()
}

fn write(proc: &TempDir, file: &str, content: impl AsRef<[u8]>) {
    std::fs::write(proc.path().join("17").join(file), content).unwrap();
}

#[test]
fn a_row_is_read_from_the_files_of_the_kernel() {
    let process = get(&fixture()).unwrap();
    assert_eq!(
        process.id,
        ProcessId {
            pid: 17,
            start_time: 4711
        }
    );
    assert_eq!((process.parent_pid, process.namespace_pid, process.threads), (1, 5, 42));
    assert_eq!(arguments(&process), ["java", "-jar", "shop.jar"]);
    assert_eq!(process.executable.as_deref(), Some(Path::new("/opt/java/bin/java")));
    assert_eq!(
        (process.credentials.uid, process.credentials.gid),
        (1001, 2001),
        "effective ids"
    );
    assert_eq!(process.credentials.capabilities, 0xa804_25fb);
    assert_eq!(process.signals_caught, 0x2000_0001_8100_5ccf);
    assert!(process.no_new_privileges && !process.is_stopped());
    assert_eq!(process.container.id.as_deref(), Some(CONTAINER));
}

#[test]
fn sigquit_is_handled_only_with_its_bit_and_not_ignored() {
    let proc = fixture();
    assert!(get(&proc).unwrap().handles_sigquit());
    // As under -Xrs.
    write(
        &proc,
        "status",
        STATUS.replace("SigCgt:\t2000000181005ccf", "SigCgt:\t2000000181005ccb"),
    );
    assert!(!get(&proc).unwrap().handles_sigquit());
    write(
        &proc,
        "status",
        STATUS.replace("SigIgn:\t0000000000001000", "SigIgn:\t0000000000001004"),
    );
    assert!(!get(&proc).unwrap().handles_sigquit());
}

#[test]
fn without_pid_namespaces_the_pid_is_the_one_we_see() {
    let proc = fixture();
    write(&proc, "status", STATUS.replace("NSpid:\t17\t5\n", "NSpid:\t17\n"));
    assert_eq!(get(&proc).unwrap().namespace_pid, 17);
    // Kernels before 4.1 have no such line.
    write(&proc, "status", STATUS.replace("NSpid:\t17\t5\n", ""));
    assert_eq!(get(&proc).unwrap().namespace_pid, 17);
}

#[test]
fn cgroup_v1_names_the_container_in_every_line() {
    let proc = fixture();
    write(
        &proc,
        "cgroup",
        format!("12:pids:/kubepods/burstable/pod1f6a/{CONTAINER}\n11:cpu,cpuacct:/x\n"),
    );
    assert_eq!(get(&proc).unwrap().container.id.as_deref(), Some(CONTAINER));
    write(&proc, "cgroup", "0::/\n");
    assert_eq!(get(&proc).unwrap().container.id, None);
}

#[test]
fn names_and_arguments_need_not_be_text() {
    let proc = fixture();
    write(
        &proc,
        "status",
        [b"Name:\tj\xffva\n", STATUS.split_once('\n').unwrap().1.as_bytes()].concat(),
    );
    write(&proc, "cmdline", b"java\0-Dname=caf\xe9\0");
    let process = get(&proc).unwrap();
    assert_eq!(arguments(&process), ["java", "-Dname=caf\u{fffd}"]);
    assert_eq!(table(&proc).snapshot(|_| true).len(), 1);
}

#[test]
fn a_name_cannot_pretend_to_be_the_next_fields() {
    let proc = fixture();
    write(&proc, "stat", stat(17, "a) Z 9 (b", 'S', 4711));
    let process = get(&proc).unwrap();
    assert_eq!(
        (process.command.as_str(), process.state, process.parent_pid),
        ("a) Z 9 (b", 'S', 1)
    );
}

#[test]
fn an_endless_command_line_is_cut() {
    let proc = fixture();
    write(&proc, "cmdline", "x".repeat(1 << 20));
    let line = get(&proc).unwrap().command_line;
    assert!(line.is_cut());
    assert_eq!(line.first().unwrap().len(), (256 << 10) - 1);
}

/// A proc folder with processes from 1000 on, each with one of these command lines.
fn many(lines: &[(&[u8], i32)]) -> TempDir {
    let proc = fixture();
    write(&proc, "cmdline", "java");
    let mut pid = 1000;
    for (number, (line, count)) in lines.iter().enumerate() {
        let shared = proc.path().join(format!("line-{number}"));
        std::fs::write(&shared, line).unwrap();
        for _ in 0..*count {
            let process = proc.path().join(pid.to_string());
            std::fs::create_dir(&process).unwrap();
            std::fs::write(process.join("stat"), stat(pid, "w", 'S', 4711)).unwrap();
            symlink(proc.path().join("17/status"), process.join("status")).unwrap();
            symlink(&shared, process.join("cmdline")).unwrap();
            pid += 1;
        }
    }
    proc
}

#[test]
fn a_thousand_huge_command_lines_share_two_mebibytes() {
    let huge = b"x\0".repeat(131_000);
    let proc = many(&[(&huge, 1_000)]);
    let processes = table(&proc).snapshot(|_| true);
    assert_eq!(processes.len(), 1_001);
    let bytes: usize = processes.iter().map(|process| process.command_line.size()).sum();
    assert!((1 << 20..=2 << 20).contains(&bytes), "{bytes}");
    assert!(processes[1..].iter().all(|process| process.command_line.is_cut()));
}

#[test]
fn huge_command_lines_do_not_cut_those_of_others() {
    let huge = b"x\0".repeat(131_000);
    let class_path = [
        b"java\0-cp\0".to_vec(),
        b"/lib/a.jar:".repeat(700),
        b"\0Main\0".to_vec(),
    ]
    .concat();
    let proc = many(&[(&huge, 50), (b"sleep\x0010\0", 300), (&class_path, 25)]);
    let processes = table(&proc).snapshot(|_| true);
    let mains = processes
        .iter()
        .filter(|process| process.command_line.arguments().last() == Some("Main"));
    assert_eq!(mains.count(), 25);
    let bytes: usize = processes.iter().map(|process| process.command_line.size()).sum();
    assert!(bytes <= 2 << 20, "{bytes}");
}

#[test]
fn the_command_line_of_a_process_that_is_not_wanted_is_not_read() {
    let proc = many(&[(b"sleep\x0010\0", 3)]);
    // Opening it would wait for a writer for ever.
    let line = proc.path().join("1001/cmdline");
    std::fs::remove_file(&line).unwrap();
    nix::unistd::mkfifo(&line, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let processes = table(&proc).snapshot(|process| process.id.pid == 1002);
    assert_eq!(processes.len(), 1);
    assert_eq!(arguments(&processes[0]), ["sleep", "10"]);
}

#[test]
fn a_missing_file_is_no_process_or_an_empty_field() {
    for (file, vanishes) in [
        ("stat", true),
        ("status", true),
        ("cmdline", false),
        ("cgroup", false),
        ("exe", false),
    ] {
        let proc = fixture();
        std::fs::remove_file(proc.path().join("17").join(file)).unwrap();
        assert_eq!(get(&proc).is_none(), vanishes, "{file}");
    }
    let proc = fixture();
    std::fs::remove_file(proc.path().join("17/exe")).unwrap();
    assert_eq!(get(&proc).unwrap().executable_name(), "java");
}

#[test]
fn no_truncation_of_the_status_panics() {
    // `stat` is one line the kernel writes at once; `status` grows with every kernel version.
    let proc = fixture();
    for end in 0..STATUS.len() {
        write(&proc, "status", &STATUS[..end]);
        let _ = get(&proc);
    }
}

#[test]
fn a_reused_pid_is_not_alive() {
    let proc = fixture();
    let id = get(&proc).unwrap().id;
    assert!(table(&proc).is_alive(id));
    write(&proc, "stat", stat(17, "other", 'S', 4712));
    assert!(!table(&proc).is_alive(id));
}

#[test]
fn a_zombie_is_not_alive() {
    let proc = fixture();
    let id = get(&proc).unwrap().id;
    for state in ['Z', 'X'] {
        write(&proc, "stat", stat(17, "java", state, 4711));
        assert!(!table(&proc).is_alive(id), "{state}");
    }
    std::fs::remove_dir_all(proc.path().join("17")).unwrap();
    assert!(!table(&proc).is_alive(id));
}

#[test]
fn a_snapshot_leaves_out_kernel_threads_zombies_and_what_is_no_process() {
    let proc = fixture();
    std::fs::create_dir(proc.path().join("sys")).unwrap();
    // Field 9 has the flags: a kernel thread, and a zombie.
    let kthread = stat(2, "kthreadd", 'S', 1).replacen("-1 0", "-1 2129984", 1);
    let zombie = stat(3, "java", 'Z', 1);
    for (pid, stat) in [(2, kthread), (3, zombie)] {
        let process = proc.path().join(pid.to_string());
        std::fs::create_dir(&process).unwrap();
        std::fs::write(process.join("stat"), stat).unwrap();
        std::fs::write(process.join("status"), STATUS).unwrap();
        std::fs::write(process.join("cmdline"), "").unwrap();
    }
    // A program that has emptied its own command line is still a program.
    write(&proc, "cmdline", "");
    let processes = table(&proc).snapshot(|_| true);
    let pids: Vec<i32> = processes.iter().map(|process| process.id.pid).collect();
    assert_eq!(pids, [17]);
}

#[test]
fn only_the_named_variables_are_read_and_the_first_of_each() {
    let proc = fixture();
    write(
        &proc,
        "environ",
        b"TMPDIR=/a\0SECRET=s\0TMPDIR=/b\0BAD=\xff\0EMPTY=\0NOVALUE\0",
    );
    let found = table(&proc).environment(17, &["TMPDIR", "BAD", "EMPTY", "NOVALUE", "ABSENT"]);
    assert_eq!(found.len(), 2);
    assert_eq!((found["TMPDIR"].as_str(), found["EMPTY"].as_str()), ("/a", ""));
    assert!(table(&proc).environment(18, &["TMPDIR"]).is_empty());
}

#[test]
fn mapped_files_come_once_in_a_row_and_without_special_mappings() {
    let proc = fixture();
    let row = |path: &str| format!("7f00-7f01 r-xp 00000000 08:01 42                         {path}\n");
    let maps = [
        row("/lib/libc.so.6"),
        row("/lib/libc.so.6"),
        row("[heap]"),
        row(""),
        row("/app/my lib.so (deleted)"),
        row("/lib/libc.so.6"),
    ];
    write(&proc, "maps", maps.concat());
    let found: Vec<PathBuf> = table(&proc).mapped_files(17).unwrap().collect();
    assert_eq!(
        found,
        ["/lib/libc.so.6", "/app/my lib.so (deleted)", "/lib/libc.so.6"].map(PathBuf::from)
    );
    assert!(table(&proc).mapped_files(18).is_err());
}
