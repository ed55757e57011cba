//! `/debug/pprof/`: the paths, parameters and answers of Go's `net/http/pprof` for every runtime, so that
//! `go tool pprof` and scrapers work unchanged.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::artifact::{self, Disposition};
use super::parameters::SelectorParameters;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::CaptureRequest;
use crate::capture::selector::Selector;
use crate::event::Event;
use crate::format::Format;

/// What Go calls it, what we sample, what it is.
#[derive(Debug)]
struct Profile {
    name: &'static str,
    event: Event,
    description: &'static str,
}

const PROFILES: [Profile; 8] = [
    Profile {
        name: "allocs",
        event: Event::Alloc,
        description: "memory allocations, freed ones included",
    },
    Profile {
        name: "block",
        event: Event::Block,
        description: "where goroutines wait for synchronisation",
    },
    Profile {
        name: "goroutine",
        event: Event::Goroutine,
        description: "stacks of all goroutines or threads now",
    },
    Profile {
        name: "heap",
        event: Event::Heap,
        description: "live objects",
    },
    Profile {
        name: "mutex",
        event: Event::Lock,
        description: "lock contention",
    },
    Profile {
        name: "profile",
        event: Event::Cpu,
        description: "CPU, 30 s unless seconds= says otherwise",
    },
    Profile {
        name: "threadcreate",
        event: Event::Threadcreate,
        description: "stacks that created threads",
    },
    Profile {
        name: "trace",
        event: Event::Trace,
        description: "execution trace of a Go program, 1 s by default",
    },
];

/// Go's own parameters; ours choose the process.
const PARAMETERS: [&str; 3] = ["seconds", "debug", "gc"];

/// The profiles there are.
#[utoipa::path(get, path = "/debug/pprof/", tag = "pprof",
    responses((status = 200, description = "one per line", content_type = "text/plain", body = String)))]
pub(super) async fn index() -> String {
    let lines = PROFILES.map(|profile| format!("/debug/pprof/{:<12}  {}\n", profile.name, profile.description));
    let selectors = Selector::parameters().map(|parameter| parameter.name);
    let parameters: Vec<_> = PARAMETERS.into_iter().chain(selectors).collect();
    format!("{}\nparameters: {}\n", lines.concat(), parameters.join(", "))
}

/// A profile as `go tool pprof` and scrapers ask for it.
///
/// Gzipped `profile.proto`, or Go's execution trace.
#[utoipa::path(get, path = "/debug/pprof/{profile}", tag = "pprof",
    params(
        ("profile" = String, Path, description = "allocs, block, goroutine, heap, mutex, profile, threadcreate or trace"),
        ("seconds" = Option<f64>, Query, description = "how long; without it Go programs give totals since their start, \
            except profile (30 s) and trace (1 s), and other runtimes sample for 30 s"),
        ("debug" = Option<u8>, Query, description = "only 0"),
        ("gc" = Option<u8>, Query, description = "only 0"),
        SelectorParameters,
    ),
    responses(
        (status = 200, description = "the profile", content_type = "application/octet-stream", body = Vec<u8>),
        (status = "4XX", description = "text with the header X-Go-Pprof, or a problem if Accept asks for JSON", content_type = "text/plain", body = String),
        (status = "5XX", description = "text with the header X-Go-Pprof, or a problem if Accept asks for JSON", content_type = "text/plain", body = String),
    ))]
pub(super) async fn profile(State(state): State<AppState>, name: Name, pairs: Pairs) -> Result<Response, Problem> {
    let profile = known(name)?;
    let request = request(profile, &pairs, state.captures.settings().max_seconds)?;
    let (capture, artifact) = state.captures.profile(&request).await?;
    artifact::fresh(
        artifact,
        capture.id.as_str(),
        &Disposition::Named(profile.name.to_owned()),
    )
}

/// HEAD says whether a GET would be accepted, without a capture.
pub(super) async fn check(State(state): State<AppState>, name: Name, pairs: Pairs) -> Result<Response, Problem> {
    let request = request(known(name)?, &pairs, state.captures.settings().max_seconds)?;
    let format = state.captures.check(&request).await?;
    Ok(artifact::announced(format))
}

type Name = Result<Path<String>, PathRejection>;

fn known(name: Name) -> Result<&'static Profile, Problem> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let found = PROFILES.iter().find(|profile| profile.name == name);
    found.ok_or_else(|| Problem::no_such_profile(&name, &PROFILES.map(|profile| profile.name)))
}

/// Go's parameters → ours.
fn request(profile: &Profile, pairs: &Pairs, max_seconds: u64) -> Result<CaptureRequest, Problem> {
    pairs.only_with_selectors(&PARAMETERS)?;
    for flag in ["debug", "gc"] {
        if let Some(other) = pairs.value(flag).filter(|value| *value != "0") {
            return Err(Problem::invalid_parameter(flag, other, &["0"]));
        }
    }
    let mut ours = pairs.selectors();
    // To Go, 0 seconds are the default.
    let given = pairs.value("seconds").filter(|seconds| *seconds != "0");
    let seconds = match profile.event {
        Event::Trace => Some(given.map_or_else(|| "1".to_owned(), whole)),
        _ => given.map(str::to_owned),
    };
    let snapshot = seconds.is_none() && profile.event != Event::Cpu;
    ours.extend(seconds.map(|seconds| ("seconds".to_owned(), seconds)));
    let mut request = CaptureRequest::parse(&ours, max_seconds)?;
    request.event = profile.event.clone();
    request.snapshot = snapshot;
    request.format = Some(match profile.event {
        Event::Trace => Format::Trace,
        _ => Format::Pprof,
    });
    Ok(request)
}

/// `0.5` → `1`, `1.0` → `1`, `1.5` → `2`: traces may be asked for in parts of a second. Others pass for the parser to judge.
fn whole(seconds: &str) -> String {
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    match seconds.split_once('.') {
        Some((whole, part)) if seconds.len() < 16 && seconds.len() > 1 && digits(whole) && digits(part) => {
            let whole: u64 = whole.parse().unwrap_or_default();
            (whole + u64::from(part.bytes().any(|digit| digit != b'0'))).to_string()
        }
        _ => seconds.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, pairs: &[(&str, &str)]) -> Result<CaptureRequest, Problem> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        request(known(Ok(Path(name.to_owned())))?, &Pairs(pairs.collect()), 600)
    }

    #[test]
    fn the_defaults_are_gos() {
        let cpu = ask("profile", &[]).unwrap();
        assert_eq!(
            (cpu.event, cpu.seconds, cpu.snapshot, cpu.format),
            (Event::Cpu, 30, false, Some(Format::Pprof))
        );
        let trace = ask("trace", &[]).unwrap();
        assert_eq!((trace.event, trace.seconds, trace.snapshot), (Event::Trace, 1, false));
        assert_eq!(trace.format, Some(Format::Trace));
        for total in ["allocs", "block", "goroutine", "heap", "mutex", "threadcreate"] {
            assert!(ask(total, &[]).unwrap().snapshot, "{total}");
            assert!(
                ask(total, &[("seconds", "0"), ("debug", "0"), ("gc", "0")])
                    .unwrap()
                    .snapshot,
                "{total}"
            );
            let delta = ask(total, &[("seconds", "5")]).unwrap();
            assert_eq!((delta.seconds, delta.snapshot), (5, false), "{total}");
        }
        assert_eq!(ask("mutex", &[]).unwrap().event, Event::Lock);
    }

    #[test]
    fn parts_of_a_second_are_rounded_up_for_traces_only() {
        for (given, seconds) in [("0.5", 1), ("1.0", 1), ("1.01", 2), ("2.", 2), (".1", 1), ("7", 7)] {
            assert_eq!(ask("trace", &[("seconds", given)]).unwrap().seconds, seconds, "{given}");
        }
        for bad in ["-1", "1e3", "x", ".", "1.5.5", "0.0", "601", "600.5"] {
            assert_eq!(
                ask("trace", &[("seconds", bad)]).unwrap_err().code(),
                "invalid_parameter",
                "{bad}"
            );
        }
        assert!(ask("profile", &[("seconds", "0.5")]).is_err());
    }

    #[test]
    fn what_is_not_served_is_refused_with_what_is() {
        assert_eq!(ask("heap", &[("debug", "1")]).unwrap_err().code(), "invalid_parameter");
        assert_eq!(ask("heap", &[("gc", "1")]).unwrap_err().code(), "invalid_parameter");
        assert_eq!(
            ask("heap", &[("event", "cpu")]).unwrap_err().code(),
            "unknown_parameter"
        );
        assert_eq!(ask("symbol", &[]).unwrap_err().code(), "no_such_path");
    }
}
