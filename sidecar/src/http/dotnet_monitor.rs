//! The grammar of dotnet-monitor for who comes from there: `/trace` and `/livemetrics` where they mean what a capture of ours means,
//! else our spelling of it.
//!
//! Knows names of dotnet-monitor's API (documentation/api of dotnet/dotnet-monitor), and nothing of .NET.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;

use super::artifact::{self, Disposition};
use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::CaptureRequest;
use crate::capture::following::Following;
use crate::event::Event;
use crate::format::Format;
use crate::profile::counter::{CounterKind, CounterValue};

/// What its users find elsewhere here.
const ELSEWHERE: [(&str, &str); 9] = [
    ("/process", "GET /processes?pid="),
    ("/stacks", "GET /threads"),
    ("/exceptions", "GET /profile?event=exceptions"),
    (
        "/logs",
        "GET /profile?providers=Microsoft-Extensions-Logging:4:4 (a nettrace), or the container's log",
    ),
    ("/info", "GET /version"),
    ("/operations", "GET /captures"),
    ("/collectionrules", "POST /captures; there are no rules here"),
    ("/parameters", "sideflame does not change the code of an app"),
    (
        "/env",
        "sideflame does not show the environment of a process, which holds secrets",
    ),
];

/// Our spelling of a path that dotnet-monitor has and we do not.
pub(super) fn elsewhere(path: &str) -> Option<&'static str> {
    let first = path.get(1..)?.split('/').next()?;
    let found = ELSEWHERE.iter().find(|(known, _)| known.get(1..) == Some(first));
    found.map(|(_, spelling)| *spelling)
}

/// A nettrace, as dotnet-monitor's `/trace`.
///
/// Of its profiles `Cpu`, `Metrics` and `GcCollect`; `Cpu,Metrics` without `profile`.
#[utoipa::path(get, path = "/trace", operation_id = "dotnet_monitor_trace", tag = "dotnet-monitor",
    params(
        ("pid" = Option<i32>, Query, description = "process id"),
        ("name" = Option<String>, Query, description = "name of the process"),
        ("profile" = Option<String>, Query, description = "Cpu, Metrics, GcCollect, separated by commas"),
        ("durationSeconds" = Option<u64>, Query, description = "how long, 30 unless said"),
    ),
    responses(
        (status = 200, description = "the nettrace", content_type = "application/octet-stream", body = Vec<u8>),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn trace(State(state): State<AppState>, pairs: Pairs) -> Result<Response, Problem> {
    let request = trace_request(&state, &pairs)?;
    artifact::taken(&state, &request, &Disposition::Attachment).await
}

/// HEAD says whether a GET would be accepted, without a capture.
pub(super) async fn check_trace(State(state): State<AppState>, pairs: Pairs) -> Result<Response, Problem> {
    artifact::announced(&state, &trace_request(&state, &pairs)?).await
}

/// Counters as they change, as dotnet-monitor's `/livemetrics`.
#[utoipa::path(get, path = "/livemetrics", operation_id = "dotnet_monitor_livemetrics", tag = "dotnet-monitor",
    params(
        ("pid" = Option<i32>, Query, description = "process id"),
        ("name" = Option<String>, Query, description = "name of the process"),
        ("durationSeconds" = Option<u64>, Query, description = "how long, 30 unless said"),
    ),
    responses(
        (status = 200, description = "an object per value", content_type = "application/json-seq", body = String),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn livemetrics(State(state): State<AppState>, pairs: Pairs) -> Result<Response, Problem> {
    Ok(sequence(
        state.captures.follow(&livemetrics_request(&state, &pairs)?).await?,
    ))
}

/// HEAD says whether a GET would be accepted, without a capture.
pub(super) async fn check_livemetrics(State(state): State<AppState>, pairs: Pairs) -> Result<Response, Problem> {
    artifact::announced(&state, &livemetrics_request(&state, &pairs)?).await
}

fn trace_request(state: &AppState, pairs: &Pairs) -> Result<CaptureRequest, Problem> {
    /// What its `Metrics` reads.
    const COUNTERS: &str = "System.Runtime:0:4:EventCounterIntervalSec=1,Microsoft.AspNetCore.Hosting:0:4:EventCounterIntervalSec=1,\
                            Grpc.AspNetCore.Server:0:4:EventCounterIntervalSec=1";
    let mut of_capture = common(pairs, &["profile"])?;
    let mut profiles = Vec::new();
    for profile in pairs.value("profile").unwrap_or("Cpu,Metrics").split(',') {
        match profile.to_ascii_lowercase().as_str() {
            "cpu" => profiles.push("cpu-sampling"),
            "gccollect" => profiles.push("gc-collect"),
            "metrics" => of_capture.push(("providers".to_owned(), COUNTERS.to_owned())),
            _ => {
                return Err(Problem::not_of_dotnet_monitor(
                    "profile",
                    "Http and Logs are recorded by GET /profile?providers=, and dotnet-trace's profiles by GET /profile?profile=",
                ));
            }
        }
    }
    if !profiles.is_empty() {
        of_capture.push(("profile".to_owned(), profiles.join(",")));
    }
    let mut request = CaptureRequest::parse(&of_capture, state.captures.settings().max_seconds)?;
    request.format = Some(Format::Nettrace);
    Ok(request)
}

fn livemetrics_request(state: &AppState, pairs: &Pairs) -> Result<CaptureRequest, Problem> {
    let mut request = CaptureRequest::parse(&common(pairs, &[])?, state.captures.settings().max_seconds)?;
    request.event = Event::Counters;
    request.format = Some(Format::Jsonl);
    Ok(request)
}

/// What both take, in our words.
fn common(pairs: &Pairs, own: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    for (name, _) in &pairs.0 {
        match name.as_str() {
            "uid" => {
                return Err(Problem::not_of_dotnet_monitor(
                    "uid",
                    "choose the process by pid= or name=",
                ));
            }
            "egressProvider" | "tags" => {
                return Err(Problem::not_of_dotnet_monitor(
                    "egressProvider",
                    "POST /captures keeps an artifact here to be fetched",
                ));
            }
            _ => {}
        }
    }
    let allowed: Vec<_> = ["pid", "name", "durationSeconds"].iter().chain(own).copied().collect();
    pairs.only(&allowed)?;
    if pairs.value("durationSeconds") == Some("-1") {
        return Err(Problem::not_of_dotnet_monitor(
            "durationSeconds",
            "POST /captures with the longest time, and stop it by POST /captures/{id}/stop",
        ));
    }
    let translated = pairs.0.iter().filter_map(|(name, value)| match name.as_str() {
        "durationSeconds" => Some(("seconds".to_owned(), value.clone())),
        "pid" | "name" => Some((name.clone(), value.clone())),
        _ => None,
    });
    Ok(translated.collect())
}

/// JSON text sequences (RFC 7464).
fn sequence(following: Following) -> Response {
    let records = stream::unfold(following, async |mut following| {
        let records = following.next().await?.map(|lines| {
            let values = lines.split(|byte| *byte == b'\n');
            let values = values.filter_map(|line| serde_json::from_slice::<CounterValue>(line).ok());
            values.flat_map(|value| record(&value)).collect::<Vec<u8>>()
        });
        Some((records, following))
    });
    let headers = [(CONTENT_TYPE, "application/json-seq"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(records)).into_response()
}

/// A value in the words of dotnet-monitor.
fn record(value: &CounterValue) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Record<'a> {
        timestamp: String,
        provider: &'a str,
        name: &'a str,
        display_name: &'a str,
        unit: &'a str,
        counter_type: &'static str,
        tags: &'a str,
        value: f64,
    }
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(value.at_ms);
    let record = Record {
        timestamp: humantime::format_rfc3339_millis(time).to_string(),
        provider: &value.provider,
        name: &value.name,
        display_name: &value.display_name,
        unit: &value.unit,
        counter_type: match value.kind {
            CounterKind::Rate => "Rate",
            CounterKind::Gauge | CounterKind::Quantile | CounterKind::Total => "Metric",
        },
        tags: &value.tags,
        value: value.value,
    };
    let json = serde_json::to_vec(&record).unwrap_or_default();
    [b"\x1e", json.as_slice(), b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_elsewhere_is_named_with_what_is_below_it() {
        assert_eq!(elsewhere("/operations/67f0"), Some("GET /captures"));
        assert_eq!(elsewhere("/process"), Some("GET /processes?pid="));
        for other in ["/processes", "/", "", "/nowhere"] {
            assert_eq!(elsewhere(other), None, "{other}");
        }
    }

    #[test]
    fn a_value_is_a_record_of_a_json_text_sequence() {
        let value = CounterValue {
            at_ms: 1_795_731_695_048,
            provider: "System.Runtime".to_owned(),
            name: "gc-count".to_owned(),
            display_name: "GC".to_owned(),
            unit: String::new(),
            tags: "a=b".to_owned(),
            kind: CounterKind::Rate,
            value: 2.0,
        };
        let text = String::from_utf8(record(&value)).unwrap();
        let json = text.strip_prefix('\u{1e}').unwrap().strip_suffix('\n').unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["timestamp"], "2026-11-26T22:21:35.048Z");
        assert_eq!((&json["counterType"], &json["value"]), (&"Rate".into(), &2.0.into()));
    }
}
