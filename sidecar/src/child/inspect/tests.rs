//! Inspectors that do as they should, and those that were taken over by a process.

use std::os::unix::net::UnixStream;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::child::script::{HANG, children, hurried, say, unhurried};
use crate::child::{Port, Timeouts};
use crate::process::Container;
use crate::runtime::{Advertise, Availability, Caller, Introduction};

/// The start of every process of [`proc`].
const START: u64 = 4711;

fn id(pid: i32) -> ProcessId {
    ProcessId { pid, start_time: START }
}

fn stat(pid: i32, start_time: u64) -> String {
    let zeros = "0 ".repeat(30);
    format!("{pid} (shop) S 2 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 42 0 {start_time} {zeros}\n")
}

/// A proc file system in which the user 1000 runs `pids`.
fn proc(pids: &[i32]) -> TempDir {
    let proc = tempfile::tempdir().unwrap();
    for pid in pids {
        let folder = proc.path().join(pid.to_string());
        std::fs::create_dir(&folder).unwrap();
        let write = |file: &str, text: String| std::fs::write(folder.join(file), text).unwrap();
        write("stat", stat(*pid, START));
        write(
            "status",
            "Name:\tshop\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t17\nNgid:\t0\nPid:\t17\nPPid:\t2\nTracerPid:\t0\n\
             Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nFDSize:\t256\nGroups:\t \nThreads:\t42\n\
             SigQ:\t0/31000\nSigPnd:\t0\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\nCapInh:\t0\nCapPrm:\t0\n\
             CapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\n"
                .to_owned(),
        );
        write("cmdline", "/shop\0".to_owned());
    }
    proc
}

/// Looks at `proc` by scripted children, each of which leaves a line in the file `started` before it does as `script` says.
/// `$order` is what it was told.
fn inspector(proc: &TempDir, script: &str, timeouts: Timeouts) -> Inspector {
    let started = started(proc);
    let script = format!(
        "order=$(cat <&0 | tr -d '\\000'); echo >>{}; {script}",
        started.display()
    );
    let nowhere = proc.path().join("nowhere");
    Inspector::new(
        children(&script, timeouts),
        ProcessTable::at(proc.path()),
        RuntimeSettings::default(),
        Some(nowhere),
    )
}

fn started(proc: &TempDir) -> PathBuf {
    proc.path().join("started")
}

fn starts(started: &Path) -> usize {
    std::fs::read(started).unwrap_or_default().len()
}

fn target(process: Process, name: &str, facts: RuntimeFacts) -> Target {
    Target {
        process,
        name: name.to_owned(),
        facts,
    }
}

fn finding(pid: i32, name: &str) -> Finding {
    let verdicts = vec![Verdict::available(Event::Cpu)];
    let process = Process {
        id: id(pid),
        ..Process::example(pid)
    };
    Finding::new(
        target(process, name, RuntimeFacts::Native),
        verdicts,
        &Container::default(),
    )
}

fn tell(finding: Finding) -> String {
    say(&InspectorReport::Finding(Box::new(finding)))
}

/// An honest answer about whichever of `pids` a child was asked about.
fn honest(pids: &[i32]) -> String {
    let answer = |pid: &i32| {
        format!(
            "case $order in *'\"pid\":{pid},'*) {};; esac",
            tell(finding(*pid, &format!("shop-{pid}")))
        )
    };
    pids.iter().map(answer).collect::<Vec<_>>().join("\n")
}

fn reason(inspection: &Inspection) -> Option<&Reason> {
    inspection.verdicts.first()?.reason.as_ref()
}

#[tokio::test]
async fn findings_are_joined_with_the_rows_of_the_server() {
    let proc = proc(&[17, 18]);
    let inspections = inspector(&proc, &honest(&[17, 18]), unhurried())
        .inspect(None)
        .await
        .unwrap();
    let seen: Vec<_> = inspections
        .iter()
        .map(|inspection| (inspection.target.id(), inspection.target.name.as_str()))
        .collect();
    assert_eq!(seen, [(id(17), "shop-17"), (id(18), "shop-18")]);
    assert_eq!(starts(&started(&proc)), 1, "one child for processes of one user");
}

#[tokio::test]
async fn an_inspector_cannot_change_who_a_process_is_nor_speak_of_others() {
    let proc = proc(&[17]);
    let mut forged = serde_json::to_value(InspectorReport::Finding(Box::new(finding(17, "shop")))).unwrap();
    // What a child of today would have to say to become root, or another process, as a recorder.
    forged["finding"]["credentials"] = serde_json::json!({"uid": 0, "gid": 0, "capabilities": u64::MAX});
    forged["finding"]["process"] = serde_json::json!({"pid": 1, "startTime": 1, "namespacePid": 1});
    forged["finding"]["namespacePid"] = 1.into();
    let stranger = finding(99, "stranger");
    let mut successor = finding(17, "successor");
    successor.id.start_time += 1;
    let script = [
        tell(stranger),
        tell(successor),
        say(&forged),
        tell(finding(17, "said twice")),
        say(&InspectorReport::ContainerLogs(vec!["forged".to_owned()])),
    ];
    let inspector = inspector(&proc, &script.join("\n"), unhurried());
    let inspections = inspector.inspect(None).await.unwrap();
    let [Inspection { target, .. }] = &inspections[..] else {
        panic!("{inspections:?}");
    };
    assert_eq!((target.id(), target.name.as_str()), (id(17), "shop"));
    assert_eq!(Some(&target.process), inspector.table.get(17).as_ref());
}

#[test]
fn no_inspector_says_which_calls_at_the_port_are_those_of_its_process() {
    let facts = RuntimeFacts::Dotnet {
        version: None,
        rid: None,
        socket: None,
        port: Some(Caller::example(1)),
    };
    let finding = Finding::new(
        target(Process::example(17), "shop", facts.clone()),
        Vec::new(),
        &Container::default(),
    );
    let joined = finding.join(Process::example(17)).target.facts;
    assert!(joined != facts && joined == facts.without_port());
}

/// An inspector with a port, and a runtime of pid 7 that calls there, which is not in `proc`.
fn with_caller(proc: &TempDir, script: &str) -> (Inspector, UnixStream) {
    let mut inspector = inspector(proc, script, unhurried());
    let port = Port::open(&proc.path().join("port.sock"), ProcessTable::at(proc.path())).unwrap();
    let mut runtime = UnixStream::connect(port.path()).unwrap();
    std::io::Write::write_all(&mut runtime, &Advertise::example(1, 7)).unwrap();
    inspector.children = inspector.children.clone().with_port(Some(port));
    (inspector, runtime)
}

async fn until_idle(inspector: &Inspector, wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while inspector.children.port().unwrap().is_idle() != wanted {
        assert!(Instant::now() < deadline, "idle is not {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_runtime_that_only_the_port_shows_introduces_itself_once() {
    let proc = proc(&[17]);
    let said = Introduction {
        name: "x".repeat(600),
        version: Some("8.0.30".to_owned()),
        rid: None,
        is_early: false,
    };
    let script = format!("case $0 in *introducer) {};; *) {};; esac", say(&said), honest(&[17]));
    let (inspector, runtime) = with_caller(&proc, &script);
    until_idle(&inspector, false).await;
    for _ in 0..2 {
        let inspections = inspector.inspect(None).await.unwrap();
        let pids: Vec<i32> = inspections.iter().map(|one| one.target.id().pid).collect();
        assert_eq!(pids, [7, 17]);
        let target = &inspections[0].target;
        assert!(target.id().is_outside() && target.process.credentials.capabilities == 0);
        assert_eq!((target.name.len(), target.version()), (512, Some("8.0.30")));
    }
    assert_eq!(inspector.inspect(Some(7)).await.unwrap().len(), 1);
    assert_eq!(starts(&started(&proc)), 2, "one inspector, one introducer");
    drop(runtime);
    until_idle(&inspector, true).await;
    assert_eq!(inspector.inspect(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_runtime_that_does_not_introduce_itself_stays_visible_with_the_reason() {
    let proc = proc(&[]);
    let (inspector, _runtime) = with_caller(&proc, "echo 'no answer' >&2; exit 1");
    until_idle(&inspector, false).await;
    for _ in 0..2 {
        let [Inspection { target, verdicts }] = &inspector.inspect(None).await.unwrap()[..] else {
            panic!("it is not there");
        };
        assert_eq!((target.id().pid, target.name.as_str()), (7, "dotnet"));
        let reason = verdicts[0].reason.as_ref().unwrap();
        assert!(
            reason.key == "port_silent" && reason.sentence.contains("no answer"),
            "{reason:?}"
        );
    }
    assert_eq!(starts(&started(&proc)), 1, "it is left alone for a while");
}

#[test]
fn what_the_mounts_show_is_a_label_and_never_more() {
    let mut evidence = Container {
        id: Some("f".repeat(64)),
        name: Some("app".to_owned()),
        pod_uid: Some("0123456789abcdef0123456789abcdef".to_owned()),
        pod: None,
    };
    let join = |evidence: &Container, row: Process| {
        let target = target(row.clone(), "shop", RuntimeFacts::Native);
        let finding = Finding::new(target, Vec::new(), evidence);
        finding.join(row).target.process.container
    };
    let row = Process::example(17);
    let labelled = join(&evidence, row.clone());
    assert_eq!((labelled.id, labelled.name.as_deref()), (None, Some("app")));

    let mut elsewhere = row.clone();
    elsewhere.container.pod_uid = Some("f".repeat(32));
    assert_eq!(join(&evidence, elsewhere).name, None, "the cgroup knows the pod");
    evidence.name = Some("app\u{1b}[31m".to_owned());
    assert_eq!(join(&evidence, row).name, None, "no name of Kubernetes");
}

#[tokio::test]
async fn a_process_that_stood_still_for_the_inspector_only_is_looked_at_again() {
    let proc = proc(&[17]);
    for (was_stopped, looks) in [(true, 2), (false, 3)] {
        let mut finding = finding(17, "shop");
        finding.was_stopped = was_stopped;
        let inspector = inspector(&proc, &tell(finding), unhurried());
        for _ in 0..2 {
            assert_eq!(inspector.inspect(None).await.unwrap().len(), 1);
        }
        assert_eq!(starts(&started(&proc)), looks, "of the row, it runs");
    }
}

#[tokio::test]
async fn a_process_that_has_just_started_is_looked_at_again() {
    let proc = proc(&[17]);
    let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    let ticks = |ago: u64| u64::try_from(uptime.tv_sec()).unwrap().saturating_sub(ago) * procfs::ticks_per_second();
    let mut looks = 0;
    for (start_time, more) in [(ticks(0), 2), (u64::MAX / 3, 2), (ticks(YOUNG.as_secs() + 1), 1)] {
        std::fs::write(proc.path().join("17/stat"), stat(17, start_time)).unwrap();
        let mut finding = finding(17, "shop");
        finding.id.start_time = start_time;
        let inspector = inspector(&proc, &tell(finding), unhurried());
        for _ in 0..2 {
            assert_eq!(inspector.inspect(None).await.unwrap().len(), 1);
        }
        looks += more;
        assert_eq!(starts(&started(&proc)), looks, "started at {start_time}");
    }
}

#[tokio::test]
async fn a_process_that_spoils_its_inspector_spoils_only_itself_and_is_named() {
    let pids: Vec<i32> = (11..=18).collect();
    let garbage = say(&"PING");
    let large = "printf '\\000\\240\\000\\000' >&0; head -c 10000000 /dev/zero >&0";
    for (attack, words) in [
        ("echo help >&2; exit 7", "help (exit status: 7)"),
        (&garbage, "not a message"),
        (large, "a message of more than"),
        ("exec yes >&2", "on stderr"),
        ("kill -KILL $$", "was killed (SIGKILL)"),
        ("exit 0", "says nothing of the process"),
    ] {
        let proc = proc(&pids);
        let script = format!("case $order in *'\"pid\":13,'*) {attack};; esac\n{}", honest(&pids));
        let inspections = inspector(&proc, &script, unhurried()).inspect(None).await.unwrap();
        let found: Vec<i32> = inspections
            .iter()
            .map(|inspection| inspection.target.id().pid)
            .collect();
        assert_eq!(found, pids, "{attack}");
        for inspection in &inspections {
            let pid = inspection.target.id().pid;
            let reason = reason(inspection);
            assert_eq!(reason.is_some(), pid == 13, "{attack}: {inspection:?}");
            if let Some(reason) = reason {
                assert_eq!(reason.key, "inspection_failed");
                assert!(reason.sentence.contains(words), "{reason:?}");
                assert_eq!(inspection.verdicts[0].availability, Availability::Impossible);
            }
        }
        assert_eq!(starts(&started(&proc)), 9, "one for all, then one for each");
    }
}

#[tokio::test]
async fn an_inspector_that_hangs_is_given_up() {
    let proc = proc(&[17]);
    let inspector = inspector(&proc, HANG, hurried());
    let inspections = inspector.inspect(None).await.unwrap();
    let reason = reason(&inspections[0]).unwrap();
    assert!(reason.sentence.contains("not done within"), "{reason:?}");
    // Nor is it asked again at once.
    inspector.inspect(None).await.unwrap();
    assert_eq!(starts(&started(&proc)), 1);
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_one_inspection_and_a_bounded_number_of_children() {
    let pids: Vec<i32> = (11..=50).collect();
    let proc = proc(&pids);
    let running = proc.path().join("running");
    let script = format!(
        "mkdir {0}/running.$$; ls -d {0}/running.* | wc -l >>{1}; sleep 0.05; {2}; rmdir {0}/running.$$",
        proc.path().display(),
        running.display(),
        honest(&pids)
    );
    let inspector = inspector(&proc, &script, unhurried());
    let everything = (0..100).map(|_| inspector.inspect(None));
    let single = pids.iter().map(|pid| inspector.inspect(Some(*pid)));
    let (everything, single) = futures_util::future::join(
        futures_util::future::join_all(everything),
        futures_util::future::join_all(single),
    )
    .await;
    for inspections in everything {
        assert_eq!(inspections.unwrap().len(), pids.len());
    }
    for inspections in single {
        assert_eq!(inspections.unwrap().len(), 1);
    }
    let most = std::fs::read_to_string(running).unwrap();
    let most = most.lines().map(|line| line.trim().parse::<usize>().unwrap()).max();
    assert!(most.unwrap() <= CHILDREN, "{most:?} at a time");
    // Forty processes in chunks of eight, twice where the first findings are too old by then, and those that were asked for
    // alone.
    assert!(
        starts(&started(&proc)) <= 2 * 5 + pids.len(),
        "{}",
        starts(&started(&proc))
    );
}
