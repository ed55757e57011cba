//! What the doctor says of a JVM before a capture is what the capture says after it.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::{Answer, Server, cache};

/// The verdict on an event: how well it works, and the keys of the reasons.
fn verdict(server: &Server, pid: i32, event: &str) -> (String, Vec<String>) {
    let doctor = server.get(&format!("/doctor?pid={pid}&format=json")).ok().json();
    let verdicts = doctor[0]["verdicts"].as_array().unwrap().clone();
    let verdict = verdicts.iter().find(|verdict| verdict["event"] == event).unwrap();
    let key = |reason: &serde_json::Value| reason["key"].as_str().map(str::to_owned);
    let also = verdict["also"].as_array().into_iter().flatten().filter_map(key);
    let keys = key(&verdict["reason"]).into_iter().chain(also).collect();
    (verdict["availability"].as_str().unwrap().to_owned(), keys)
}

fn capture(server: &Server, pid: i32, more: &str) -> Answer {
    server.get(&format!("/profile?pid={pid}&seconds=1&format=collapsed{more}"))
}

/// The doctor says that nothing works for this reason, a capture says the same, and the app said nothing.
fn assert_impossible(server: &Server, app: &App, reason: &str) {
    let impossible = ("impossible".to_owned(), vec![reason.to_owned()]);
    assert_eq!(verdict(server, app.pid, "cpu"), impossible);
    let answer = capture(server, app.pid, "&event=alloc");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.json()["reason"], reason, "{}", answer.text());
    let said = app.said();
    assert!(!said.iter().any(|line| line.contains("thread dump")), "{said:#?}");
}

/// A folder of files for an app, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sideflame-doctor-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A name of `file` as the kubelet gives one of a ConfigMap: behind two links.
    fn linked(&self, file: &str) -> String {
        let data = self.0.join("..data");
        if !data.exists() {
            symlink(".", &data).unwrap();
        }
        let name = Path::new(file).file_name().unwrap();
        let path = self.0.join(format!("linked-{}", name.display()));
        symlink(Path::new("..data").join(name), &path).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_attach_mechanism_that_is_off_is_known_wherever_it_was_switched_off() {
    let server = Server::default();
    let folder = Folder::new("attach");
    let off = "-XX:+DisableAttachMechanism";
    let settings = folder.file("settings", "# ours\n+DisableAttachMechanism\n");
    let options = folder.file("options", off);
    let arguments = folder.file("arguments", "'-XX:+DisableAttachMechanism' # ours");
    let flags = format!("-XX:Flags={settings}");
    let file = format!("-XX:VMOptionsFile={options}");
    let at = format!("@{arguments}");
    let linked_flags = format!("-XX:Flags={}", folder.linked(&settings));
    let linked_file = format!("-XX:VMOptionsFile={}", folder.linked(&options));
    let linked_at = format!("@{}", folder.linked(&arguments));
    let quoted = "\"-XX:+DisableAttachMechanism\" -Dx=y";
    for (jdk, options, variable) in [
        ("17", vec![flags.as_str()], None),
        ("25", vec![file.as_str()], None),
        ("17", vec![at.as_str()], None),
        ("25", vec![], Some(("JDK_JAVA_OPTIONS", quoted))),
        ("17", vec![], Some(("JAVA_TOOL_OPTIONS", quoted))),
        // It shares no data about itself: what it has read is read again.
        ("17", vec!["-XX:-UsePerfData", flags.as_str()], None),
        ("25", vec!["-XX:-UsePerfData", file.as_str()], None),
        ("25", vec!["-XX:-UsePerfData", at.as_str()], None),
        ("17", vec!["-XX:-UsePerfData"], Some(("JDK_JAVA_OPTIONS", quoted))),
        ("17", vec!["-XX:-UsePerfData", linked_flags.as_str()], None),
        ("25", vec!["-XX:-UsePerfData", linked_file.as_str()], None),
        ("17", vec!["-XX:-UsePerfData", linked_at.as_str()], None),
        (
            "25",
            vec!["-XX:-UsePerfData"],
            Some(("JDK_JAVA_OPTIONS", linked_at.as_str())),
        ),
    ] {
        eprintln!("JDK {jdk} {options:?} {variable:?}");
        let mut java = app::java(jdk, &options, "idle");
        java.envs(variable);
        assert_impossible(&server, &App::start(java), "attach_disabled");
    }
}

#[test]
fn a_jvm_whose_options_can_no_longer_be_read_is_not_signalled() {
    let folder = Folder::new("unread");
    for (option, listens) in [("@", false), ("-XX:Flags=", false), ("-XX:VMOptionsFile=", true)] {
        let file = folder.file("options", "");
        let mut options = vec!["-XX:-UsePerfData".to_owned(), format!("{option}{file}")];
        options.extend(listens.then(|| "-XX:+StartAttachListener".to_owned()));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let app = App::start(app::java("17", &options, "idle"));
        std::fs::remove_file(&file).unwrap();
        let server = Server::default();
        if listens {
            assert_ne!(verdict(&server, app.pid, "alloc").0, "impossible");
            capture(&server, app.pid, "&event=alloc").ok();
        } else {
            assert_impossible(&server, &app, "options_unread");
            let said = server.get(&format!("/doctor?pid={}", app.pid)).ok();
            assert!(said.text().contains(&file), "{}", said.text());
        }
    }
}

#[test]
fn an_options_file_that_no_jvm_reads_says_nothing() {
    let folder = Folder::new("hotspotrc");
    folder.file(".hotspotrc", "+DisableAttachMechanism\n");
    let mut java = app::java("17", &[], "idle");
    java.current_dir(&folder.0);
    let (app, server) = (App::start(java), Server::default());
    assert_ne!(verdict(&server, app.pid, "alloc").0, "impossible");
    capture(&server, app.pid, "&event=alloc").ok();
}

/// A second async-profiler under a name that says nothing.
fn renamed_profiler(folder: &Folder) -> String {
    let library = folder.0.join("metrics.bin");
    std::fs::copy(cache::file("async-profiler/linux-x64/libasyncProfiler.so"), &library).unwrap();
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755)).unwrap();
    library.display().to_string()
}

#[test]
fn another_async_profiler_at_work_is_known_under_any_name() {
    let server = Server::default();
    let folder = Folder::new("other");
    // perf_events and timers can be seen from outside, the others only by asking. Its file may be gone by then.
    for (jdk, event, removed, foretold) in [
        ("17", "cpu", false, true),
        ("25", "ctimer", false, true),
        ("17", "alloc", false, false),
        ("17", "ctimer", true, true),
        ("25", "cpu", true, true),
        ("25", "alloc", true, false),
    ] {
        let library = renamed_profiler(&folder);
        let out = folder.0.join(event);
        let agent = format!(
            "-agentpath:{library}=start,event={event},collapsed,file={}",
            out.display()
        );
        let app = App::start(app::java(jdk, &[&agent], "cpu"));
        if removed {
            std::fs::remove_file(&library).unwrap();
        }
        let expected = ("impossible".to_owned(), vec!["already_profiled".to_owned()]);
        assert_eq!(
            verdict(&server, app.pid, "alloc") == expected,
            foretold,
            "{event} {removed}"
        );
        let answer = capture(&server, app.pid, "");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (409, "already_profiled"),
            "{}",
            answer.text()
        );
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", app.pid)).unwrap();
        assert!(!maps.contains("libasyncProfiler"), "ours was loaded beside it");
    }
}

/// Pid of a JVM that is process 1 of a pid namespace of its own, below `unshare`.
fn inner_pid(app: &App) -> i32 {
    let children = PathBuf::from(format!("/proc/{0}/task/{0}/children", app.pid));
    wait("the JVM in its namespace", Duration::from_secs(20), || {
        std::fs::read_to_string(&children).ok()?.trim().parse().ok()
    })
}

#[test]
fn two_jvms_with_one_name_for_their_sockets_are_told_apart() {
    let contained = || {
        let java = app::java("17", &[], "alloc");
        let mut inside = Command::new("unshare");
        inside
            .args(["--pid", "--fork", "--kill-child"])
            .arg(java.get_program())
            .args(java.get_args());
        let app = App::start(inside);
        let pid = inner_pid(&app);
        (app, pid)
    };
    let server = Server::default();
    let (_first, first) = contained();
    capture(&server, first, "&event=alloc").ok();
    assert!(Path::new("/tmp/.java_pid1").exists());
    let (_second, second) = contained();
    // HotSpot removes what has its name when it starts; a capture of the second one brings it back.
    capture(&server, second, "&event=alloc").ok();
    assert_ne!(verdict(&server, second, "alloc").0, "impossible");
    assert_eq!(
        verdict(&server, first, "alloc"),
        ("impossible".to_owned(), vec!["tmp_shared".to_owned()])
    );
    let answer = capture(&server, first, "&event=alloc");
    assert_eq!(
        (answer.status, &answer.json()["reason"]),
        (422, &"tmp_shared".into()),
        "{}",
        answer.text()
    );
    let _ = std::fs::remove_file("/tmp/.java_pid1");
}

#[test]
fn hardware_events_of_a_machine_without_counters_are_impossible() {
    let app = App::start(app::java("25", &[], "cpu"));
    let hide = "mount -t tmpfs none /sys/bus/event_source/devices && exec";
    let hidden = app::in_own_mounts(hide, &Command::new(cache::sideflame()));
    let without = Server::start_by(hidden, &[]);
    let impossible = ("impossible".to_owned(), vec!["no_hardware_counter".to_owned()]);
    assert_eq!(verdict(&without, app.pid, "cycles"), impossible);
    let answer = capture(&without, app.pid, "&event=cache-misses");
    assert_eq!(
        (answer.status, &answer.json()["reason"]),
        (422, &"no_hardware_counter".into()),
        "{}",
        answer.text()
    );
    capture(&without, app.pid, "&event=page-faults").ok();
}

#[test]
fn inlined_methods_that_cannot_be_seen_are_said_before_and_after() {
    let server = Server::default();
    let key = "inlining_unseen".to_owned();
    for (options, seen) in [
        (vec![], false),
        (vec!["-XX:+UnlockDiagnosticVMOptions", "-XX:+DebugNonSafepoints"], true),
    ] {
        let app = App::start(app::java("17", &options, "cpu"));
        assert_eq!(verdict(&server, app.pid, "cpu").1.contains(&key), !seen);
        assert!(!verdict(&server, app.pid, "alloc").1.contains(&key));
        let answer = capture(&server, app.pid, "").ok();
        let degraded = answer.header("sideflame-degraded");
        assert_eq!(degraded.contains("-XX:+DebugNonSafepoints"), !seen, "{degraded}");
    }
}

/// A loop that spends its time in two methods that every compiler inlines.
const INLINED: &str = "public class Inlined {
    static long sink = 1;
    static long mix(long x) { x ^= x << 13; x ^= x >>> 7; return x * 0x9E3779B97F4A7C15L; }
    static long fold(long x) { long y = x; for (int i = 0; i < 6; i++) { y = (y / ((i | 3) + (y & 7))) ^ x; } return y; }
    static long outer(long seed) { long x = seed; for (int i = 0; i < 20_000; i++) { x = fold(mix(x)) + i; } return x; }
    public static void main(String[] args) {
        for (int i = 0; i < 2_000; i++) { sink = outer(sink) | 1; }
        System.out.println(\"ready \" + ProcessHandle.current().pid());
        while (true) { sink = outer(sink) | 1; }
    }
}";

/// Measured: 0 of 640 samples without the flag, 522 of 624 with it, on JDK 17 as on JDK 25.
#[test]
fn samples_of_inlined_methods_count_to_their_caller_without_the_flag_on_every_jdk() {
    let server = Server::default();
    let folder = Folder::new("inlined");
    let source = folder.file("Inlined.java", INLINED);
    for jdk in ["17", "25"] {
        for told in [false, true] {
            let mut java = Command::new(app::java(jdk, &[], "idle").get_program());
            if told {
                java.args(["-XX:+UnlockDiagnosticVMOptions", "-XX:+DebugNonSafepoints"]);
            }
            java.args(["-Xmx128m", "-XX:+UseSerialGC", &source]);
            let app = App::start(java);
            let answer = capture(&server, app.pid, "&frequency=200").ok().text();
            let (mut all, mut inlined) = (0, 0);
            for (stack, count) in answer.lines().filter_map(|line| line.rsplit_once(' ')) {
                let count: u64 = count.parse().unwrap();
                all += count;
                inlined += count * u64::from(stack.ends_with("Inlined.fold") || stack.ends_with("Inlined.mix"));
            }
            assert!(all > 50, "{all}: {answer}");
            let share = inlined * 100 / all;
            assert!(
                if told { share >= 50 } else { share <= 5 },
                "JDK {jdk}, {told}: {share} %"
            );
        }
    }
}

#[test]
fn virtual_threads_that_wait_are_missed_by_wall_and_said() {
    let server = Server::default();
    for (scenario, begun, any) in [("virtual", "waiting", true), ("idle", "ready", false)] {
        let mut app = App::launch(app::java("25", &[], scenario));
        app.wait_for(begun);
        let key = "virtual_threads_unseen".to_owned();
        assert_eq!(verdict(&server, app.pid, "wall").1.contains(&key), any, "{scenario}");
        let answer = capture(&server, app.pid, "&event=wall").ok();
        let degraded = answer.header("sideflame-degraded");
        assert_eq!(degraded.contains("virtual threads"), any, "{degraded}");
    }
}

#[test]
fn a_jvm_without_descriptors_is_not_waited_for() {
    let java = app::java("17", &["-XX:-MaxFDLimit"], "descriptors");
    let mut limited = Command::new("prlimit");
    limited
        .args(["--nofile=128:128"])
        .arg(java.get_program())
        .args(java.get_args());
    let mut app = App::start(limited);
    app.tell("now");
    app.wait_for("full");
    assert_impossible(&Server::default(), &app, "no_descriptors_left");
}
