//! The commands as people type them, on a real process.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use e2e::app::{self, App};
use e2e::cache;

/// Runs `sideflame`.
fn sideflame(arguments: &[&str]) -> Output {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let store = std::env::temp_dir().join(format!("sideflame-command-{}-{number}", std::process::id()));
    let library = cache::file("async-profiler/linux-x64/libasyncProfiler.so");
    let mut command = Command::new(cache::sideflame());
    command
        .env("SIDEFLAME_ASYNC_PROFILER", library)
        .env("SIDEFLAME_STORE_DIR", &store);
    let output = command.args(arguments).output().unwrap();
    let _ = std::fs::remove_dir_all(store);
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_number_is_a_pid_for_every_command_that_takes_a_process() {
    let app = App::start(app::java("17", &[], "cpu"));
    let pid = app.pid.to_string();
    for command in ["ps", "doctor"] {
        let output = sideflame(&[command, &pid, "--json"]);
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (rows[0]["pid"].as_i64(), rows.get(1)),
            (Some(i64::from(app.pid)), None),
            "{command}"
        );
    }
    let output = sideflame(&[
        "record",
        &pid,
        "--seconds",
        "1",
        "--format",
        "collapsed",
        "-f",
        "-",
        "-q",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Split"), "{}", text(&output.stdout));
}

#[test]
fn a_number_that_is_no_pid_is_no_process() {
    let output = sideflame(&["record", "4194304"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}

#[test]
fn a_file_where_a_format_belongs_gets_a_tip() {
    let output = sideflame(&["record", "shop", "-o", "x.svg"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("-f x.svg"), "{}", text(&output.stderr));
}
