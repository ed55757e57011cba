//! `/debug/pprof/`: the paths, parameters and answers of Go's `net/http/pprof` for every runtime, so that
//! `go tool pprof` and scrapers work unchanged.

use std::borrow::Cow;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::artifact::{self, Disposition};
use super::parameters::SelectorParameters;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::CaptureRequest;
use crate::capture::selector::{self, Selector};
use crate::child::Inspection;
use crate::event::Event;
use crate::format::Format;
use crate::listing;
use grammar::request;
use index_page::{page, served};

mod grammar;
mod index_page;

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

/// What Go's handler says of a program without symbols.
const NO_SYMBOLS: &str = "num_symbols: 0\n";

/// The profiles that the process has, or if none is chosen, those of each.
#[utoipa::path(get, path = "/debug/pprof/", operation_id = "pprof_index", tag = "pprof", params(SelectorParameters),
    responses((status = 200, description = "one per line", content_type = "text/plain", body = String)))]
pub(super) async fn index(State(state): State<AppState>, pairs: Pairs) -> Result<String, Problem> {
    pairs.only_with_selectors(&[])?;
    let selector = Selector::parse(&pairs.selectors())?;
    let inspections = state.captures.inspect_for(&selector).await?;
    Ok(page(&selector, &inspections))
}

/// A profile as `go tool pprof` and scrapers ask for it.
///
/// Gzipped `profile.proto`, Go's execution trace, or with `debug` the text that Go writes.
#[utoipa::path(get, path = "/debug/pprof/{profile}", operation_id = "pprof_profile", tag = "pprof",
    params(
        ("profile" = String, Path, description = "allocs, block, goroutine, heap, mutex, profile, threadcreate, trace, or the \
            name of another profile of the Go program, e.g. goroutineleak"),
        ("seconds" = Option<f64>, Query, description = "how long, of a trace also parts of a second; without it Go programs give \
            totals since their start, except profile (30 s) and trace (1 s), and other runtimes sample for 5 s"),
        ("debug" = Option<u8>, Query, description = "1 or 2: Go's text; not together with seconds, and not of profile and trace"),
        ("gc" = Option<u8>, Query, description = "1: heap of a Go program collects garbage before"),
        ("url" = Option<String>, Query, description = "a server with net/http/pprof in place of a process, as of GET /profile"),
        ("secret" = Option<String>, Query, description = "NAMESPACE/NAME of the Secret with the bearer token for url"),
        SelectorParameters,
    ),
    responses(
        (status = 200, description = "the profile", content_type = "application/octet-stream", body = Vec<u8>),
        (status = "4XX", description = "text with the header X-Go-Pprof, or a problem if Accept asks for JSON", content_type = "text/plain", body = String),
        (status = "5XX", description = "text with the header X-Go-Pprof, or a problem if Accept asks for JSON", content_type = "text/plain", body = String),
    ))]
pub(super) async fn profile(State(state): State<AppState>, name: Name, pairs: Pairs) -> Result<Response, Problem> {
    let (profile, request) = asked(&state, name, &pairs).await?;
    let disposition = match request.format {
        Some(Format::Text) => Disposition::Inline,
        _ => Disposition::Named(profile.replace('/', "_")),
    };
    artifact::taken(&state, &request, &disposition).await
}

/// HEAD says whether a GET would be accepted, without a capture.
pub(super) async fn check(State(state): State<AppState>, name: Name, pairs: Pairs) -> Result<Response, Problem> {
    let (_, request) = asked(&state, name, &pairs).await?;
    artifact::announced(&state, &request).await
}

/// The arguments of the process, secrets hidden, with a NUL character between them.
#[utoipa::path(get, path = "/debug/pprof/cmdline", tag = "pprof", params(SelectorParameters),
    responses((status = 200, description = "arguments", content_type = "text/plain", body = String)))]
pub(super) async fn cmdline(State(state): State<AppState>, pairs: Pairs) -> Result<String, Problem> {
    pairs.only_with_selectors(&[])?;
    let process = chosen(&state, &pairs).await?.target.process;
    let arguments: Vec<_> = listing::shown_arguments(&process.command_line).collect();
    Ok(arguments.join("\0"))
}

/// That no names of addresses can be had here: they are in the profiles.
#[utoipa::path(get, path = "/debug/pprof/symbol", tag = "pprof",
    responses((status = 200, description = "`num_symbols: 0`", content_type = "text/plain", body = String)))]
pub(super) async fn symbol() -> &'static str {
    NO_SYMBOLS
}

/// The same, as pprof's tools ask for it.
#[utoipa::path(post, path = "/debug/pprof/symbol", tag = "pprof",
    responses((status = 200, description = "`num_symbols: 0`", content_type = "text/plain", body = String)))]
pub(super) async fn symbolize() -> &'static str {
    NO_SYMBOLS
}

type Name = Result<Path<String>, PathRejection>;

/// The one process that the selectors mean.
async fn chosen(state: &AppState, pairs: &Pairs) -> Result<Inspection, Problem> {
    let selector = Selector::parse(&pairs.selectors())?;
    let mut inspections = state.captures.inspect_for(&selector).await?;
    let index = selector::resolve(&selector, &inspections)?;
    Ok(inspections.swap_remove(index))
}

/// The profile of that name and how to record it. A name that is none of ours may be one of the program's own.
async fn asked(state: &AppState, name: Name, pairs: &Pairs) -> Result<(Cow<'static, str>, CaptureRequest), Problem> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let max_seconds = state.captures.settings().max_seconds;
    if let Some(profile) = PROFILES.iter().find(|profile| profile.name == name) {
        return Ok((profile.name.into(), request(&profile.event, pairs, max_seconds)?));
    }
    let chosen = chosen(state, pairs).await?;
    let own: Vec<_> = served(&chosen)
        .filter(|event| matches!(event, Event::Named(_)))
        .collect();
    match own.iter().find(|event| event.name() == name) {
        Some(event) => Ok((name.into(), request(event, pairs, max_seconds)?)),
        None => {
            let standard = PROFILES.iter().map(|profile| profile.name);
            let all: Vec<_> = standard.chain(own.iter().map(|event| event.name())).collect();
            Err(Problem::no_such_profile(&name, &all))
        }
    }
}
