//! Shares of known functions in collapsed stacks.

use std::ffi::OsStr;
use std::process::Command;

use crate::Answer;

/// The sample apps' functions, and what they get of the CPU.
pub const JAVA_CPU: [(&str, f64); 3] = [("Split.sixty", 0.6), ("Split.thirty", 0.3), ("Split.ten", 0.1)];
/// The same of the Go program.
pub const GO_CPU: [(&str, f64); 3] = [("main.sixty", 0.6), ("main.thirty", 0.3), ("main.ten", 0.1)];

/// Share (0 to 1) of the total value whose stack holds a frame that contains `function`, counted once per stack.
pub fn of(collapsed: &str, function: &str) -> f64 {
    let mut total = 0.0;
    let mut with = 0.0;
    for line in collapsed.lines() {
        let Some((stack, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let value: f64 = value.parse().unwrap_or_default();
        total += value;
        if stack.split(';').any(|frame| frame.contains(function)) {
            with += value;
        }
    }
    if total > 0.0 { with / total } else { 0.0 }
}

/// Share of all frames, by what their samples stand for, that have a name.
///
/// # Panics
/// A line is not one of collapsed stacks.
pub fn named(stacks: &str) -> f64 {
    let is_named = |frame: &&str| !(frame.starts_with("[unknown") || frame.starts_with("0x") || frame.contains("+0x"));
    let (mut all, mut with) = (0.0, 0.0);
    for line in stacks.lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let frames: Vec<&str> = stack.split(';').collect();
        let count = |frames: usize| f64::from(u32::try_from(frames).unwrap());
        all += value * count(frames.len());
        with += value * count(frames.iter().filter(|frame| is_named(frame)).count());
    }
    with / all
}

/// Captures until there are enough samples to tell 3 points from noise, and gives all their stacks together.
///
/// A busy thread gives 100 samples a second when it has a CPU, so that one capture of 10 s is enough; on a loaded
/// machine it has a part of one, and 200 samples were seen 3.3 points off.
///
/// # Panics
/// Ten captures are not enough.
pub fn enough(capture: impl FnMut() -> Answer) -> String {
    enough_captures(capture).iter().map(Answer::text).collect()
}

/// As [`enough`], each capture by itself.
///
/// # Panics
/// Ten captures are not enough.
pub fn enough_captures(mut capture: impl FnMut() -> Answer) -> Vec<Answer> {
    const ENOUGH: u64 = 900;
    let mut captures = Vec::new();
    let mut samples = 0;
    while captures.len() < 10 {
        let answer = capture().ok();
        samples += answer.header("sideflame-samples").parse::<u64>().unwrap_or_default();
        captures.push(answer);
        if samples >= ENOUGH {
            return captures;
        }
    }
    panic!("only {samples} samples in ten captures");
}

/// What `go tool pprof` reads in pprof captures together, as collapsed stacks in milliseconds.
///
/// # Panics
/// It does not take them.
pub fn by_go_tool(captures: &[Answer]) -> String {
    let folder = std::env::temp_dir().join(format!("sideflame-shares-{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let files = captures.iter().enumerate().map(|(number, capture)| {
        let file = folder.join(number.to_string());
        std::fs::write(&file, &capture.body).expect("writable");
        file
    });
    let stacks = go_tool(&files.collect::<Vec<_>>());
    let _ = std::fs::remove_dir_all(&folder);
    stacks
}

/// As [`by_go_tool`], of files or URLs.
///
/// # Panics
/// `go tool pprof` does not take them.
pub fn go_tool<S: AsRef<OsStr>>(sources: &[S]) -> String {
    let output = Command::new("go")
        .args(["tool", "pprof", "-traces", "-unit=ms"])
        .args(sources)
        .output()
        .expect("go is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A head, and for each stack a rule, labels, and from the leaf to the root one line each. The leaf's has the value.
    let text = String::from_utf8_lossy(&output.stdout);
    let stacks = text.split("-----------+").skip(1).filter_map(|stack| {
        let mut lines = stack
            .lines()
            .skip(1)
            .skip_while(|line| line.split_whitespace().next().is_some_and(|word| word.ends_with(':')));
        let (value, leaf) = lines.next()?.trim_start().split_once(' ')?;
        let mut functions: Vec<_> = [leaf].into_iter().chain(lines).map(str::trim).collect();
        functions.reverse();
        Some(format!("{} {}\n", functions.join(";"), value.strip_suffix("ms")?))
    });
    stacks.collect()
}

/// Asserts that `functions` share their common total as given, within 3 percentage points (the project's own bound).
///
/// Only stacks with one of the functions count: start-up, compiler and collector threads are not part of the split.
///
/// # Panics
/// They do not.
pub fn assert_split(collapsed: &str, functions: [(&str, f64); 3]) {
    const TOLERANCE: f64 = 0.03;
    let shares = functions.map(|(function, _)| of(collapsed, function));
    let total: f64 = shares.iter().sum();
    assert!(
        total > 0.2,
        "the functions {functions:?} hold only {total:.3} of\n{}",
        beginning(collapsed)
    );
    for ((function, expected), share) in functions.into_iter().zip(shares) {
        let share = share / total;
        eprintln!(
            "{function}: {:.1} % of the split, expected {:.0} %",
            share * 100.0,
            expected * 100.0
        );
        assert!(
            (share - expected).abs() <= TOLERANCE,
            "{function} has {share:.3}, expected {expected}"
        );
    }
}

fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(2000).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
