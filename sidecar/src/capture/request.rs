//! Query parameters → [`CaptureRequest`]. After this file nothing re-checks bounds or characters.
//!
//! Knows no target: what only makes sense for one runtime is decided in [`super::plan`].

use crate::event::Event;
use crate::format::Format;
use crate::process::container::{is_dns_name, is_label};
use crate::runtime::DotnetProvider;
use crate::runtime::dotnet::{provider_syntax, providers};

/// Which process is meant: the one that fits everything given. Without pid and name it is the only JVM, .NET or Go
/// process that fits the rest, else the only native one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Pid, as our pid namespace sees it.
    pub pid: Option<i32>,
    /// A unique beginning of its name; an exact name wins over longer ones. So do the following two.
    pub name: Option<String>,
    /// Name of its pod, or `namespace/name`.
    pub pod: Option<String>,
    /// Name of its container.
    pub container: Option<String>,
}

/// A validated wish.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureRequest {
    /// Whom.
    pub selector: Selector,
    /// How long, seconds.
    pub seconds: u64,
    /// What has accumulated until now, where the runtime keeps such totals; `seconds` holds where it does not. Set by
    /// `/debug/pprof/` only, whose profiles are cumulative without `seconds`.
    pub snapshot: bool,
    /// What.
    pub event: Event,
    /// The format asked for by name.
    pub format: Option<Format>,
    /// Formats the client prefers (Accept), best first; used only without `format`.
    pub accept: Vec<Format>,
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
    /// dotnet-trace profiles.
    pub dotnet_profiles: Vec<String>,
    /// dotnet-trace providers.
    pub dotnet_providers: Vec<DotnetProvider>,
}

/// What is wrong with the parameters; every text says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such parameter.
    #[error("unknown parameter {name:?}; allowed are: {allowed}")]
    Unknown {
        /// As given, shortened.
        name: String,
        /// All parameters.
        allowed: String,
    },
    /// A parameter that takes one value was given twice.
    #[error("parameter {name:?} is given more than once")]
    Repeated {
        /// Which.
        name: String,
    },
    /// A value out of bounds.
    #[error("{name}={value}: {allowed}")]
    Invalid {
        /// Which.
        name: &'static str,
        /// As given, shortened.
        value: String,
        /// What it takes.
        allowed: String,
    },
    /// Two parameters that exclude each other.
    #[error("{0}")]
    Conflict(String),
}

/// Every parameter of a capture.
pub const PARAMETERS: [&str; 14] = [
    "pid",
    "name",
    "pod",
    "container",
    "seconds",
    "event",
    "format",
    "frequency",
    "interval",
    "threads",
    "include",
    "exclude",
    "profile",
    "providers",
];

/// Those of them that choose the process; they mean the same wherever they are taken.
pub const SELECTORS: [&str; 4] = ["pid", "name", "pod", "container"];

/// Default of `seconds`: long enough for 3,000 samples of a busy thread at 100 Hz.
pub const DEFAULT_SECONDS: u64 = 30;

impl Default for CaptureRequest {
    fn default() -> Self {
        Self {
            selector: Selector::default(),
            seconds: DEFAULT_SECONDS,
            snapshot: false,
            event: Event::Cpu,
            format: None,
            accept: Vec::new(),
            frequency: None,
            interval: None,
            threads: false,
            include: Vec::new(),
            exclude: Vec::new(),
            dotnet_profiles: Vec::new(),
            dotnet_providers: Vec::new(),
        }
    }
}

impl CaptureRequest {
    /// Validates `pairs` in the order given. `max_seconds` is the operator's bound.
    ///
    /// # Errors
    /// The first thing wrong, with what is allowed instead.
    pub fn parse(pairs: &[(String, String)], max_seconds: u64) -> Result<Self, RequestError> {
        let mut request = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in pairs {
            let Some(known) = PARAMETERS.into_iter().find(|known| known == name) else {
                return Err(RequestError::Unknown {
                    name: shorten(name),
                    allowed: PARAMETERS.join(", "),
                });
            };
            if !matches!(known, "include" | "exclude" | "providers") && seen.contains(&known) {
                return Err(RequestError::Repeated { name: known.to_owned() });
            }
            seen.push(known);
            request.set(known, value, max_seconds)?;
        }
        if seen.contains(&"pid") && seen.contains(&"name") {
            return Err(RequestError::Conflict("give either pid or name, not both".to_owned()));
        }
        if request.frequency.is_some() && request.interval.is_some() {
            return Err(RequestError::Conflict(
                "give either frequency or interval, not both".to_owned(),
            ));
        }
        Ok(request)
    }

    fn set(&mut self, name: &'static str, value: &str, max_seconds: u64) -> Result<(), RequestError> {
        let invalid = |allowed: &str| RequestError::Invalid {
            name,
            value: shorten(value),
            allowed: allowed.to_owned(),
        };
        match name {
            "pid" => {
                let pid = number(value)
                    .and_then(|pid| i32::try_from(pid).ok())
                    .filter(|pid| *pid > 0);
                self.selector.pid = Some(pid.ok_or_else(|| invalid("a process id, 1 to 4194304"))?);
            }
            "name" => {
                if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
                    return Err(invalid("a process name or the beginning of one, 1 to 256 characters"));
                }
                self.selector.name = Some(value.to_owned());
            }
            "pod" => {
                let (namespace, pod) = value.split_once('/').unwrap_or(("default", value));
                if !(is_label(namespace) && is_dns_name(pod)) {
                    return Err(invalid("a pod's name, its beginning, or namespace/name"));
                }
                self.selector.pod = Some(value.to_owned());
            }
            "container" => {
                if !is_label(value) {
                    return Err(invalid("a container's name in its pod, or the beginning of one"));
                }
                self.selector.container = Some(value.to_owned());
            }
            "seconds" => {
                let seconds = number(value).filter(|seconds| (1..=max_seconds).contains(seconds));
                self.seconds = seconds.ok_or_else(|| invalid(&format!("whole seconds, 1 to {max_seconds}")))?;
            }
            "event" => {
                self.event = value.parse().map_err(|_| invalid(&allowed_events()))?;
            }
            "format" => {
                let names = Format::ALL.map(Format::name).join(", ");
                self.format = Some(value.parse().map_err(|_| invalid(&format!("one of {names}")))?);
            }
            "frequency" => {
                let hertz = number(value).and_then(|hertz| u32::try_from(hertz).ok());
                let hertz = hertz.filter(|hertz| (1..=1000).contains(hertz));
                self.frequency = Some(hertz.ok_or_else(|| invalid("samples per second, 1 to 1000"))?);
            }
            "interval" => {
                if !is_interval(value) {
                    return Err(invalid(
                        "a number with ns, us, ms, s (time) or k, m, g (bytes), e.g. 10ms or 512k",
                    ));
                }
                self.interval = Some(value.to_owned());
            }
            "threads" => {
                self.threads = match value {
                    "" | "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err(invalid("true or false")),
                };
            }
            "include" | "exclude" => {
                let list = if name == "include" {
                    &mut self.include
                } else {
                    &mut self.exclude
                };
                // async-profiler splits its option string at commas and a filter list at semicolons.
                let bad = |c: char| c == ',' || c == ';' || c.is_control();
                if value.is_empty() || value.len() > 256 || value.contains(bad) || list.len() >= 16 {
                    return Err(invalid(
                        "up to 16 frame patterns of 1 to 256 characters without , and ;",
                    ));
                }
                list.push(value.to_owned());
            }
            "profile" => {
                let allowed = providers::profile_names();
                for profile in value.split(',') {
                    if !allowed.contains(&profile) {
                        return Err(invalid(&format!("one or more of {}", allowed.join(", "))));
                    }
                    self.dotnet_profiles.push(profile.to_owned());
                }
            }
            "providers" => {
                for provider in provider_syntax::split_list(value) {
                    let provider =
                        provider_syntax::parse_provider(provider).map_err(|error| invalid(&error.to_string()))?;
                    self.dotnet_providers.push(provider);
                }
                if self.dotnet_providers.len() > 32 {
                    return Err(invalid("at most 32 providers"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Plain decimal digits only: `+5`, ` 5` and `5e3` are not what anyone means.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

fn is_interval(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (1..=9).contains(&digits)
        && number.bytes().any(|digit| digit != b'0')
        && matches!(unit, "" | "ns" | "us" | "ms" | "s" | "b" | "k" | "m" | "g")
}

fn allowed_events() -> String {
    let names = Event::ALL.iter().map(Event::name).collect::<Vec<_>>().join(", ");
    format!("one of {names}, or an async-profiler event name of 1 to 128 characters A-Z a-z 0-9 _ . : $ < > * / -")
}

/// What we repeat to the caller: short, and without characters that could confuse a terminal.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<CaptureRequest, RequestError> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        CaptureRequest::parse(&pairs, 600)
    }

    #[test]
    fn nothing_given_means_thirty_seconds_of_cpu_of_the_default_target() {
        let request = parse(&[]).unwrap();
        assert_eq!(request, CaptureRequest::default());
        assert_eq!((request.seconds, &request.event), (30, &Event::Cpu));
    }

    #[test]
    fn numbers_are_plain_digits_within_bounds() {
        for bad in ["0", "-1", "601", "1e3", " 5", "+5", "", "99999999999999999999", "٣"] {
            assert!(
                matches!(
                    parse(&[("seconds", bad)]),
                    Err(RequestError::Invalid { name: "seconds", .. })
                ),
                "{bad}"
            );
        }
        assert_eq!(parse(&[("seconds", "600")]).unwrap().seconds, 600);
        for bad in ["0", "-7", "4294967297", "x"] {
            assert!(parse(&[("pid", bad)]).is_err(), "{bad}");
        }
        for bad in ["0", "1001"] {
            assert!(parse(&[("frequency", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn pods_and_containers_have_names_of_kubernetes() {
        for good in ["shop-1", "prod/shop-1", "a.b"] {
            assert_eq!(parse(&[("pod", good)]).unwrap().selector.pod.as_deref(), Some(good));
        }
        for bad in ["", "/", "prod/", "/shop", "a/b/c", "Shop", "shop_1", "sh\u{1b}op"] {
            assert!(parse(&[("pod", bad)]).is_err(), "{bad:?}");
        }
        for bad in ["", "a/b", "a.b", "A"] {
            assert!(parse(&[("container", bad)]).is_err(), "{bad:?}");
        }
        let both = parse(&[("pid", "7"), ("container", "app")]).unwrap().selector;
        assert_eq!((both.pid, both.container.as_deref()), (Some(7), Some("app")));
    }

    #[test]
    fn every_refusal_names_what_is_allowed() {
        assert!(
            parse(&[("format", "gif")])
                .unwrap_err()
                .to_string()
                .contains("svg, collapsed, pprof")
        );
        assert!(
            parse(&[("event", "cpu,file=/etc/passwd")])
                .unwrap_err()
                .to_string()
                .contains("cpu, wall, alloc")
        );
        assert!(parse(&[("secs", "5")]).unwrap_err().to_string().contains("seconds"));
        assert!(
            parse(&[("profile", "nonsense")])
                .unwrap_err()
                .to_string()
                .contains("gc-verbose")
        );
    }

    #[test]
    fn nothing_reaches_an_agent_option_string_with_a_comma_or_a_control_character() {
        for bad in ["a,file=/x", "a;b", "a\nb", ""] {
            assert!(parse(&[("include", bad)]).is_err(), "{bad:?}");
            assert!(parse(&[("exclude", bad)]).is_err(), "{bad:?}");
        }
        for bad in ["10ms,file=x", "ms", "-1ms", "0", "10 ms", "1000000000000ms"] {
            assert!(parse(&[("interval", bad)]).is_err(), "{bad:?}");
        }
        assert_eq!(
            parse(&[("interval", "512k")]).unwrap().interval.as_deref(),
            Some("512k")
        );
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(matches!(
            parse(&[("pid", "1"), ("name", "a")]),
            Err(RequestError::Conflict(_))
        ));
        assert!(matches!(
            parse(&[("frequency", "99"), ("interval", "1ms")]),
            Err(RequestError::Conflict(_))
        ));
        assert!(matches!(
            parse(&[("seconds", "1"), ("seconds", "2")]),
            Err(RequestError::Repeated { .. })
        ));
    }

    #[test]
    fn what_is_repeated_to_the_caller_is_short_and_printable() {
        let error = parse(&[("name", &"\u{1b}[31m".repeat(100))]).unwrap_err().to_string();
        assert!(!error.contains('\u{1b}') && error.len() < 300, "{error}");
    }
}
