//! What is read of a JFR is what the JDK's own reader says of it, whoever recorded it: events, the value of each stack, ranges of time,
//! and threads. `rig/check_jfr.py` compares, and shares no code with the product.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::{Server, cache};

/// What samples are of, and what is hard to read: names beyond the first plane, hidden classes, many stacks, and those that are cut.
const SCENARIOS: &str = "cpu,wall,alloc,lock,names,deep,recursion";

/// A file that is removed when dropped.
struct Recording(PathBuf);

impl Recording {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("sideflame-{name}-{}.jfr", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Holds the file against `jfr print` of a JDK; gives how many events of each kind agree.
fn agreed(jdk: &str, recording: &Recording) -> BTreeMap<String, u64> {
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/rig/check_jfr.py"))
        .arg(cache::sideflame())
        .arg(app::jdk_home(jdk).join("bin/jfr"))
        .arg(recording.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    eprintln!("JDK {jdk}: {said}");
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let kinds = said.lines().map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        (words[0].to_owned(), words[1].parse().unwrap())
    });
    kinds.collect()
}

fn assert_each(agreed: &BTreeMap<String, u64>, kinds: &[(&str, u64)]) {
    assert_eq!(agreed.len(), kinds.len(), "{agreed:?}");
    for (kind, least) in kinds {
        assert!(agreed.get(*kind) > Some(least), "{kind}: {agreed:?}");
    }
}

/// What `jcmd` answers.
fn jcmd(jdk: &str, app: &App, command: &[&str]) -> String {
    let tool = app::jdk_home(jdk).join("bin/jcmd");
    let output = Command::new(tool)
        .arg(app.pid.to_string())
        .args(command)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn pause(seconds: u64) {
    let begun = Instant::now();
    wait("more samples", Duration::from_secs(60), || {
        (begun.elapsed() >= Duration::from_secs(seconds)).then_some(())
    });
}

fn assert_agent_recording_agrees(jdk: &str) {
    let app = App::start(app::java(jdk, &[], SCENARIOS));
    let server = Server::default();
    let query = format!(
        "/profile?pid={}&seconds=3&event=cpu,wall,alloc,lock&format=jfr&jstackdepth=100",
        app.pid
    );
    let recording = Recording::new(&format!("agent-{jdk}"));
    std::fs::write(recording.path(), server.get(&query).ok().body).unwrap();
    drop(app);
    assert_each(
        &agreed(jdk, &recording),
        &[("alloc", 100), ("cpu", 100), ("lock", 10), ("wall", 100)],
    );
}

#[test]
fn what_async_profiler_records_of_jdk_17_is_read_as_the_jdk_reads_it() {
    assert_agent_recording_agrees("17");
}

#[test]
fn what_async_profiler_records_of_jdk_25_is_read_as_the_jdk_reads_it() {
    assert_agent_recording_agrees("25");
}

#[test]
fn what_jdk_17_records_is_read_as_it_reads_it_itself() {
    let app = App::start(app::java("17", &[], SCENARIOS));
    // Allocations that are sampled, and the same by buffers, too, which are not to be counted twice.
    let buffers = [
        "jdk.ObjectAllocationInNewTLAB#enabled=true",
        "jdk.ObjectAllocationOutsideTLAB#enabled=true",
    ];
    let recorded = [("sampled", &[][..]), ("buffers", &buffers)].map(|(name, settings)| {
        let recording = Recording::new(&format!("jdk-17-{name}"));
        let (to, named) = (
            format!("filename={}", recording.path().display()),
            format!("name={name}"),
        );
        let start = ["JFR.start", &named, "settings=profile", "duration=3s", &to];
        jcmd("17", &app, &[&start[..], settings].concat());
        wait("the end of the recording", Duration::from_secs(60), || {
            (!jcmd("17", &app, &["JFR.check"]).contains("(running)")).then_some(())
        });
        recording
    });
    drop(app);
    for recording in &recorded {
        assert_each(&agreed("17", recording), &[("alloc", 100), ("cpu", 10), ("lock", 3)]);
    }
}

/// In two chunks, of which each has its own clock and keys.
#[test]
fn what_jdk_25_records_is_read_as_it_reads_it_itself() {
    let app = App::start(app::java(
        "25",
        &["-XX:StartFlightRecording=settings=profile"],
        SCENARIOS,
    ));
    let recording = Recording::new("jdk-25");
    let to = format!("filename={}", recording.path().display());
    for _ in 0..2 {
        pause(3);
        jcmd("25", &app, &["JFR.dump", &to]);
    }
    drop(app);
    let bytes = std::fs::read(recording.path()).unwrap();
    let chunks = bytes.windows(6).filter(|bytes| bytes == b"FLR\0\0\x02").count();
    assert!(chunks >= 2, "{chunks}");
    let kinds = agreed("25", &recording);
    assert_each(&kinds, &[("alloc", 100), ("cpu", 10), ("lock", 3)]);
}
