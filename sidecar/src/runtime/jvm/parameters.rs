//! Parameters that only JVMs take: one table, from which the API, the command line and the documents are made.

use crate::parameter::{Parameter, Refusal, Row, Takes};

/// What a request says to a JVM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JvmOptions {
    /// Samples per second.
    pub frequency: Option<u32>,
    /// Interval in async-profiler's notation.
    pub interval: Option<String>,
    /// Split by thread.
    pub threads: bool,
    /// Only stacks with such a frame.
    pub include: Vec<String>,
    /// No stacks with such a frame.
    pub exclude: Vec<String>,
}

/// Patterns in one request: as many as an option string of async-profiler holds with ease.
const MOST_PATTERNS: usize = 16;

const PATTERNS: Takes = Takes::Text("up to 16 frame patterns of 1 to 256 characters without , and ;");

/// The table.
pub static ROWS: [Row<JvmOptions>; 5] = [
    Row::new(
        Parameter {
            short: Some('F'),
            excludes: Some("interval"),
            ..Parameter::new(
                "frequency",
                "HZ",
                Takes::Number {
                    what: "samples per second",
                    least: 1,
                    most: 1000,
                },
                "Sampling rate",
            )
        },
        |options, takes, value| {
            options.frequency = u32::try_from(takes.number(value)?).ok();
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            excludes: Some("frequency"),
            ..Parameter::new(
                "interval",
                "INTERVAL",
                Takes::Text("a number with ns, us, ms, s (time) or k, m, g (bytes), e.g. 10ms or 512k"),
                "Distance of two samples, as async-profiler writes it",
            )
        },
        |options, _, value| {
            if !is_interval(value) {
                return Err(Refusal::default());
            }
            options.interval = Some(value.to_owned());
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            default: Some("false"),
            ..Parameter::new("threads", "", Takes::Flag, "Split stacks by thread")
        },
        |options, takes, value| {
            options.threads = takes.flag(value)?;
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            repeatable: true,
            ..Parameter::new("include", "PATTERN", PATTERNS, "Only stacks with a frame that matches")
        },
        |options, _, value| add_pattern(&mut options.include, value),
    ),
    Row::new(
        Parameter {
            repeatable: true,
            ..Parameter::new("exclude", "PATTERN", PATTERNS, "No stacks with a frame that matches")
        },
        |options, _, value| add_pattern(&mut options.exclude, value),
    ),
];

fn is_interval(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (1..=9).contains(&digits)
        && number.bytes().any(|digit| digit != b'0')
        && matches!(unit, "" | "ns" | "us" | "ms" | "s" | "b" | "k" | "m" | "g")
}

fn add_pattern(patterns: &mut Vec<String>, value: &str) -> Result<(), Refusal> {
    // async-profiler splits its option string at commas and a filter list at semicolons.
    let bad = |c: char| c == ',' || c == ';' || c.is_control();
    if value.is_empty() || value.len() > 256 || value.contains(bad) || patterns.len() >= MOST_PATTERNS {
        return Err(Refusal::default());
    }
    patterns.push(value.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::row;

    fn set(name: &str, value: &str) -> Result<JvmOptions, Refusal> {
        let mut options = JvmOptions::default();
        row(&ROWS, name).unwrap().set(&mut options, value).map(|()| options)
    }

    #[test]
    fn nothing_reaches_an_agent_option_string_with_a_comma_or_a_control_character() {
        for bad in ["a,file=/x", "a;b", "a\nb", ""] {
            assert!(set("include", bad).is_err(), "{bad:?}");
            assert!(set("exclude", bad).is_err(), "{bad:?}");
        }
        for bad in ["10ms,file=x", "ms", "-1ms", "0", "10 ms", "1000000000000ms"] {
            assert!(set("interval", bad).is_err(), "{bad:?}");
        }
        assert_eq!(set("interval", "512k").unwrap().interval.as_deref(), Some("512k"));
    }

    #[test]
    fn a_frequency_is_within_bounds() {
        for bad in ["0", "1001", "99Hz"] {
            assert!(set("frequency", bad).is_err(), "{bad}");
        }
        assert_eq!(set("frequency", "1000").unwrap().frequency, Some(1000));
    }
}
