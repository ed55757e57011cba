//! Shares of known functions in collapsed stacks.

use crate::Answer;

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

/// Captures until there are enough samples to tell 3 points from noise, and gives all their stacks together.
///
/// A busy thread gives 100 samples a second when it has a CPU, so that one capture of 10 s is enough; on a loaded machine it has a part of one, and 200 samples
/// were seen 3.3 points off.
///
/// # Panics
/// Ten captures are not enough.
pub fn enough(mut capture: impl FnMut() -> Answer) -> String {
    const ENOUGH: u64 = 900;
    let mut stacks = String::new();
    let mut samples = 0;
    for _ in 0..10 {
        let answer = capture().ok();
        stacks.push_str(&answer.text());
        samples += answer.header("sideflame-samples").parse::<u64>().unwrap_or_default();
        if samples >= ENOUGH {
            return stacks;
        }
    }
    panic!("only {samples} samples in ten captures");
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
