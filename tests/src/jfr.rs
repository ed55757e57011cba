//! What the JDK's own reader says about a JFR file.

use std::process::Command;

use crate::app;

/// The answer of `jfr summary` of a JDK, which reads the whole file.
///
/// # Panics
/// It does not take the file.
pub fn summary(jdk: &str, jfr: &[u8]) -> String {
    answer(jdk, jfr, &["summary"])
}

/// The events of a type, as `jfr print` of a JDK writes them.
///
/// # Panics
/// It does not take the file.
pub fn events(jdk: &str, jfr: &[u8], of_type: &str) -> String {
    answer(jdk, jfr, &["print", "--events", of_type])
}

fn answer(jdk: &str, jfr: &[u8], command: &[&str]) -> String {
    let thread = std::thread::current().id();
    let file = std::env::temp_dir().join(format!("sideflame-{}-{thread:?}.jfr", std::process::id()));
    std::fs::write(&file, jfr).expect("writable");
    let tool = app::jdk_home(jdk).join("bin/jfr");
    let output = Command::new(tool).args(command).arg(&file).output();
    std::fs::remove_file(file).expect("removable");
    let output = output.expect("the JDK has jfr");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The number in a column of the row that begins with `label`, such as `jdk.ExecutionSample` and 1 for how many there are.
///
/// # Panics
/// There is none.
pub fn number(summary: &str, label: &str, column: usize) -> u64 {
    let line = summary.lines().find(|line| line.trim_start().starts_with(label));
    let word = line.and_then(|line| line.split_whitespace().nth(column));
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no {label} in {summary}"))
}
