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
    /// The deepest stack that is recorded.
    pub max_frames: Option<u32>,
    /// How native frames are walked.
    pub cstack: Option<String>,
    /// Features of the walk.
    pub features: Vec<String>,
    /// Methods whose long calls are recorded, as async-profiler takes them.
    pub trace: Vec<String>,
    /// Seconds between two looks at all processes.
    pub processes: Option<u64>,
    /// A JFR keeps what it says of arguments and properties.
    pub keep_secrets: bool,
    /// Options of async-profiler that say how something is sampled, each with its comma.
    pub sampling: Vec<&'static str>,
    /// Those that say how names are written.
    pub style: Vec<&'static str>,
    /// Objects that nothing refers to as well.
    pub all: bool,
    /// A heap dump in place of the event, compressed with that level. Set by `/dump` only.
    pub dump: Option<Option<u8>>,
}

/// The option of async-profiler that leaves the kernel out.
pub const USER_ONLY: &str = ",alluser";

/// The option of async-profiler that leaves out what native memory is freed.
pub const NO_FREE: &str = ",nofree";

/// Modes of `cstack`.
const CSTACK: [&str; 5] = ["fp", "dwarf", "vm", "vmx", "no"];

/// Features that add frames and cannot hurt. Others of async-profiler's test itself, or take its fallbacks away.
const FEATURES: [&str; 2] = ["vtable", "comptask"];

/// What becomes of secrets in a JFR.
const SECRETS: [&str; 2] = ["blank", "keep"];

/// Patterns in one request: as many as an option string of async-profiler holds with ease.
const MOST_PATTERNS: usize = 16;

const PATTERNS: Takes = Takes::Text("up to 16 frame patterns of 1 to 256 characters without , and ;");

/// The table.
pub static ROWS: [Row<JvmOptions>; 16] = [
    Row::new(
        Parameter {
            excludes: &["frequency"],
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
    Row::new(
        Parameter::new(
            "jstackdepth",
            "FRAMES",
            Takes::Number {
                what: "frames",
                least: 2,
                most: 16_000,
            },
            "The deepest stack that is recorded, 8192 frames without it; each takes 256 bytes of the application's memory",
        ),
        |options, takes, value| {
            options.max_frames = u32::try_from(takes.number(value)?).ok();
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "cstack",
            "MODE",
            Takes::Name {
                names: || CSTACK.map(str::to_owned).into(),
                or: None,
            },
            "How stacks are walked",
        ),
        |options, _, value| {
            let known = CSTACK.contains(&value);
            options.cstack = Some(known.then(|| value.to_owned()).ok_or_else(Refusal::default)?);
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "features",
            "FEATURES",
            Takes::Names(|| FEATURES.map(str::to_owned).into()),
            "Frames for the targets of virtual calls, and for what a compiler thread compiles",
        ),
        |options, _, value| {
            let features: Vec<String> = value.split(',').map(str::to_owned).collect();
            let known = features.iter().all(|feature| FEATURES.contains(&feature.as_str()));
            options.features = known.then_some(features).ok_or_else(Refusal::default)?;
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            default: Some("false"),
            ..Parameter::new(
                "sched",
                "",
                Takes::Flag,
                "Split stacks by the scheduling policy of their thread",
            )
        },
        |options, takes, value| set_flag(&mut options.sampling, takes.flag(value)?, ",sched"),
    ),
    Row::new(
        Parameter {
            default: Some("false"),
            ..Parameter::new(
                "tlab",
                "",
                Takes::Flag,
                "Sample allocations when a thread needs a new buffer, as before JDK 11",
            )
        },
        |options, takes, value| set_flag(&mut options.sampling, takes.flag(value)?, ",tlab"),
    ),
    Row::new(
        Parameter {
            default: Some("false"),
            ..Parameter::new("nofree", "", Takes::Flag, "Do not record what nativemem sees freed")
        },
        |options, takes, value| set_flag(&mut options.sampling, takes.flag(value)?, NO_FREE),
    ),
    Row::new(
        Parameter {
            default: Some("false"),
            ..Parameter::new("sig", "", Takes::Flag, "Write methods with their signatures")
        },
        |options, takes, value| set_flag(&mut options.style, takes.flag(value)?, ",sig"),
    ),
    Row::new(
        Parameter {
            default: Some("false"),
            ..Parameter::new("simple", "", Takes::Flag, "Write classes without their packages")
        },
        |options, takes, value| set_flag(&mut options.style, takes.flag(value)?, ",simple"),
    ),
    Row::new(
        Parameter {
            default: Some("false"),
            ..Parameter::new("lib", "", Takes::Flag, "Write native functions with their libraries")
        },
        |options, takes, value| set_flag(&mut options.style, takes.flag(value)?, ",lib"),
    ),
    Row::new(
        Parameter {
            repeatable: true,
            ..Parameter::new(
                "trace",
                "METHOD",
                Takes::Text(
                    "up to 16 methods as package.Class.method, each perhaps with a time, e.g. demo.shop.Cart.total:50ms",
                ),
                "Methods whose calls event=latency records, those that take at least the time; every call of them gets slower",
            )
        },
        |options, _, value| {
            if !is_traced(value) || options.trace.len() >= MOST_PATTERNS {
                return Err(Refusal::default());
            }
            options.trace.push(value.to_owned());
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "proc",
            "SECONDS",
            Takes::Number {
                what: "seconds",
                least: 1,
                most: 3600,
            },
            "Record CPU time, memory and I/O of all processes in a JFR, every so many seconds",
        ),
        |options, takes, value| {
            options.processes = Some(takes.number(value)?);
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            default: Some("blank"),
            ..Parameter::new(
                "secrets",
                "WHAT",
                Takes::Name {
                    names: || SECRETS.map(str::to_owned).into(),
                    or: None,
                },
                "Whether a JFR keeps command lines and the values of system properties and environment variables",
            )
        },
        |options, _, value| {
            if !SECRETS.contains(&value) {
                return Err(Refusal::default());
            }
            options.keep_secrets = value == "keep";
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            default: Some("false"),
            ..Parameter::new(
                "all",
                "",
                Takes::Flag,
                "Objects that nothing refers to as well, in a histogram or a heap dump: without a collection before",
            )
        },
        |options, takes, value| {
            options.all = takes.flag(value)?;
            Ok(())
        },
    ),
];

fn set_flag(options: &mut Vec<&'static str>, on: bool, option: &'static str) -> Result<(), Refusal> {
    if on {
        options.push(option);
    }
    Ok(())
}

/// `package.Class.method` or `package.Class.*`, perhaps with `:50ms`.
fn is_traced(text: &str) -> bool {
    let (method, time) = match text.split_once(':') {
        Some((method, time)) => (method, Some(time)),
        None => (text, None),
    };
    let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '*' | '<' | '>');
    let is_method = method.contains('.') && method.len() <= 256 && method.chars().all(named);
    is_method && time.is_none_or(|time| is_interval(time) && !time.ends_with(['b', 'k', 'm', 'g']))
}

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
        for bad in ["vm,file=/x", "", "VM"] {
            assert!(set("cstack", bad).is_err() && set("features", bad).is_err(), "{bad:?}");
        }
        for bad in ["10ms,file=x", "ms", "-1ms", "0", "10 ms", "1000000000000ms"] {
            assert!(set("interval", bad).is_err(), "{bad:?}");
        }
        for bad in [
            "total",
            "a.b,file=x",
            "a.b:50",
            "a.b:1k",
            "a.b:",
            "a.b:1ms:2ms",
            "a.b(I)V",
        ] {
            let refused = set("trace", bad).is_err();
            assert_eq!(refused, bad != "a.b:50", "{bad:?}");
        }
        assert_eq!(set("trace", "demo.shop.Cart.total:50ms").unwrap().trace.len(), 1);
        assert_eq!(set("interval", "512k").unwrap().interval.as_deref(), Some("512k"));
    }
}
