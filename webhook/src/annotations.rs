//! What a pod asks for: annotations below `sideflame.io/`, parsed by one table.
//!
//! Must not know the pod beyond its annotations. Called by `inject`; the table is printed by `cli::annotations`.

mod nearest;
pub mod table;

use std::borrow::Cow;

use serde_json::{Map, Value};

pub use table::{Annotation, TABLE};

use crate::choices::{Event, Quantity, Rights, SidecarForm};

/// In front of every annotation and label of ours.
pub const PREFIX: &str = "sideflame.io/";
/// Written by us: what was decided, as JSON.
pub const STATUS: &str = "sideflame.io/status";
/// Opts a pod in (annotation, `"true"`) or a namespace (label, `enabled`).
pub const INJECT: &str = "sideflame.io/inject";

/// Unknown keys that are told; more are not read, and each is compared with every name there is.
const MOST_UNKNOWN: usize = 8;

/// What the annotations of one pod say; `None` where they are silent.
#[derive(Debug, Default)]
pub struct Annotations<'a> {
    /// `inject`
    pub inject: Option<bool>,
    /// `container`, the main one first; empty means the app's, as `inject` finds it.
    pub containers: Vec<&'a str>,
    /// `rights`
    pub rights: Option<Rights>,
    /// `run-as-user`
    pub run_as_user: Option<u32>,
    /// `run-as-group`
    pub run_as_group: Option<u32>,
    /// `port`
    pub port: Option<u16>,
    /// `metrics-port`
    pub metrics_port: Option<u16>,
    /// `image`
    pub image: Option<&'a str>,
    /// `events`
    pub events: Vec<Event>,
    /// `cpu-request`
    pub cpu_request: Option<Quantity>,
    /// `cpu-limit`
    pub cpu_limit: Option<Quantity>,
    /// `memory-request`
    pub memory_request: Option<Quantity>,
    /// `memory-limit`
    pub memory_limit: Option<Quantity>,
    /// `capture-size`
    pub capture_size: Option<Quantity>,
    /// `tmp: off`
    pub no_tmp: bool,
    /// `token-secret`
    pub token_secret: Option<&'a str>,
    /// `sidecar`
    pub sidecar: Option<SidecarForm>,
    /// `jvm-debug-info`
    pub jvm_debug_info: bool,
    /// `dotnet-sampling`, milliseconds
    pub dotnet_sampling: Option<u32>,
    /// `dotnet-port`
    pub dotnet_port: bool,
    /// `on-error: block`
    pub block_on_error: bool,
}

/// The annotations of a pod, and what is the matter with them.
#[derive(Debug, Default)]
pub struct Reading<'a> {
    /// What could be understood.
    pub annotations: Annotations<'a>,
    /// A sentence per value that could not: the pod must not be injected by guesswork.
    pub errors: Vec<String>,
    /// A sentence per key that does not exist: probably misspelt, but harmless.
    pub warnings: Vec<String>,
}

/// Reads `annotations` of a pod's metadata.
pub fn read(annotations: Option<&Map<String, Value>>) -> Reading<'_> {
    let mut reading = Reading::default();
    for (key, value) in annotations.into_iter().flatten() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        if key == STATUS {
            continue;
        }
        let Some(annotation) = TABLE.iter().find(|annotation| annotation.name == name) else {
            if reading.warnings.len() < MOST_UNKNOWN {
                reading.warnings.push(unknown_key(name));
            }
            continue;
        };
        let understood = value
            .as_str()
            .and_then(|text| (annotation.set)(&mut reading.annotations, text));
        if understood.is_none() {
            reading.errors.push(bad_value(annotation, value));
        }
    }
    reading.errors.extend(contradiction(&reading.annotations));
    reading
}

fn bad_value(annotation: &Annotation, value: &Value) -> String {
    let name = annotation.name;
    match value {
        Value::String(text) => format!("{PREFIX}{name}: {:?} must be {}", shown(text), annotation.allowed),
        other => format!(
            "{PREFIX}{name}: {} must be in quotes, as annotations are strings",
            shown(&other.to_string())
        ),
    }
}

fn unknown_key(name: &str) -> String {
    let names = TABLE.iter().map(|annotation| annotation.name);
    match nearest::nearest(name, names) {
        Some(near) => format!(
            "there is no annotation {PREFIX}{}; did you mean {PREFIX}{near}?",
            shown(name)
        ),
        None => format!(
            "there is no annotation {PREFIX}{}; sideflame-webhook annotations lists them",
            shown(name)
        ),
    }
}

/// Both values are fine by themselves, but the API server would refuse the pair.
fn contradiction(annotations: &Annotations<'_>) -> Option<String> {
    let pairs = [
        ("cpu", &annotations.cpu_request, &annotations.cpu_limit),
        ("memory", &annotations.memory_request, &annotations.memory_limit),
    ];
    pairs.into_iter().find_map(|(name, request, limit)| {
        let (request, limit) = (request.as_ref()?, limit.as_ref()?);
        (request.nano() > limit.nano()).then(|| {
            format!("{PREFIX}{name}-request: {request} must not be greater than {PREFIX}{name}-limit: {limit}")
        })
    })
}

/// What a user wrote, short enough for a warning, and [`plain`].
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", plain(&text[..end])),
        None => plain(text).into_owned(),
    }
}

/// The text without control characters. An API server drops a warning that has one, and a terminal obeys it.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.replace(char::is_control, "\u{fffd}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests;
