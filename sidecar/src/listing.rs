//! Processes and verdicts as people and machines read them, the same over HTTP and on the command line.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::capture::{CaptureError, selector};
use crate::child::Inspection;
use crate::event::Event;
use crate::process::{CommandLine, Container};
use crate::redact;
use crate::runtime::{Availability, Reason, Runtime, Verdict, Who};

/// A process as `GET /processes` and `sideflame ps --json` show it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessRow<'a> {
    /// What it is called.
    #[serde(flatten)]
    pub who: Who,
    /// Version of the runtime, if known.
    pub version: Option<String>,
    /// Runtime identifier of a .NET process, e.g. `linux-x64`, if the runtime was asked and knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// It is in another pid namespace and known by its connection to `--dotnet-port` alone: `pid` is that in its own namespace, and what
    /// only `/proc` tells (start time, command line, container, CPU time) is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
    /// Id of its container, if it is in one.
    pub container_id: Option<String>,
    /// `metadata.uid` of its pod, if known; of a static pod the hash of its file.
    pub pod_uid: Option<String>,
    /// Arguments, secrets hidden.
    #[schema(value_type = Vec<String>)]
    pub command_line: ShownArguments<'a>,
    /// There is more of it: it is longer than a list shows, or many processes share what a list shows in all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub command_line_cut: bool,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// The process that requests without a selector mean.
    pub is_default: bool,
    /// Every event of the runtime.
    pub events: Vec<EventRow>,
}

/// A command line as a list of strings without secrets, made while it is written: as values they would be 25 times the
/// size of their text.
#[derive(Debug)]
pub struct ShownArguments<'a>(&'a CommandLine);

impl Serialize for ShownArguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(shown_arguments(self.0))
    }
}

/// The arguments of a process, secrets hidden.
pub fn shown_arguments(command_line: &CommandLine) -> impl Iterator<Item = Cow<'_, str>> {
    redact::arguments(command_line.arguments())
}

/// An event and whether it works.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventRow {
    /// Name.
    pub event: String,
    /// How well it works; `GET /doctor` says why.
    pub availability: Availability,
}

/// A process with one verdict per event of its runtime, as `GET /doctor` and `sideflame doctor --json` show it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DoctorRow {
    /// What it is called.
    #[serde(flatten)]
    pub who: Who,
    /// Version of the runtime, if known.
    pub version: Option<String>,
    /// How its runtime is reached, where there is more than one way: its own socket, or our port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached_by: Option<String>,
    /// One per event.
    pub verdicts: Vec<Verdict>,
}

/// Rows of `GET /processes`, by pid, made as they are asked for.
pub fn processes_json(inspections: &[Inspection]) -> impl Iterator<Item = ProcessRow<'_>> {
    let default = selector::default_target(inspections).ok();
    let rows = inspections.iter().enumerate();
    rows.map(move |(index, inspection)| process_json(inspection, default == Some(index)))
}

/// One row of `GET /processes`; `is_default` if requests without a selector mean it.
pub fn process_json(inspection: &Inspection, is_default: bool) -> ProcessRow<'_> {
    let Inspection { target, verdicts } = inspection;
    ProcessRow {
        who: Who::from(target),
        version: target.version().map(str::to_owned),
        rid: target.rid().map(str::to_owned),
        outside: target.id().is_outside(),
        container_id: target.process.container.id.clone(),
        pod_uid: target.process.container.pod_uid.clone(),
        command_line: ShownArguments(&target.process.command_line),
        command_line_cut: target.process.command_line.is_cut(),
        uid: target.process.credentials.uid,
        gid: target.process.credentials.gid,
        is_default,
        events: verdicts
            .iter()
            .map(|verdict| EventRow {
                event: verdict.event.name().to_owned(),
                availability: verdict.availability,
            })
            .collect(),
    }
}

/// Rows of `GET /doctor`, by pid.
pub fn doctor_json(inspections: &[Inspection]) -> Vec<DoctorRow> {
    let row = |Inspection { target, verdicts }: &Inspection| DoctorRow {
        who: Who::from(target),
        version: target.version().map(str::to_owned),
        reached_by: target.reached_by(),
        verdicts: verdicts.to_vec(),
    };
    inspections.iter().map(row).collect()
}

/// One line per target, native processes last.
pub fn processes(inspections: &[Inspection]) -> String {
    let mut rows = vec![["PID", "RUNTIME", "VERSION", "UID:GID", "CONTAINER", "EVENTS", "NAME"].map(str::to_owned)];
    for inspection in ordered(inspections) {
        let target = &inspection.target;
        let events: Vec<&str> = inspection.possible_events().map(Event::name).collect();
        let credentials = target.process.credentials;
        rows.push([
            target.id().pid.to_string(),
            target.runtime().to_string(),
            printable(target.version().unwrap_or("-")),
            format!("{}:{}", credentials.uid, credentials.gid),
            container_cell(&target.process.container),
            if events.is_empty() {
                "-".to_owned()
            } else {
                events.join(",")
            },
            printable(&target.name),
        ]);
    }
    table(&rows)
}

/// One block per target: a line per event, and once per distinct reason its sentence and remedy.
pub fn doctor(inspections: &[Inspection]) -> String {
    let mut blocks: Vec<String> = Vec::new();
    for Inspection { target, verdicts } in ordered(inspections) {
        let version = target
            .version()
            .map(|version| format!(" {}", printable(version)))
            .unwrap_or_default();
        let way = target.reached_by();
        let way = way.map(|way| format!(", by {}", printable(&way))).unwrap_or_default();
        blocks.push(format!(
            "{} {} ({}{version}{way}){}
",
            target.id(),
            printable(&target.name),
            target.runtime(),
            Who::from(target).place()
        ));
        let mut rows = Vec::new();
        let mut reasons: Vec<&Reason> = Vec::new();
        for verdict in verdicts.iter() {
            let word = match verdict.availability {
                Availability::Available => "available",
                Availability::Degraded => "degraded",
                Availability::Impossible => "impossible",
            };
            let keys: Vec<&str> = verdict.reasons().map(|reason| reason.key.as_ref()).collect();
            rows.push(["  ".to_owned() + verdict.event.name(), word.to_owned(), keys.join(", ")]);
            for reason in verdict.reasons() {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        blocks.push(table(&rows));
        for reason in reasons {
            let (sentence, remedy) = (printable(&reason.sentence), printable(&reason.remedy));
            blocks.push(format!(
                "  {}: {sentence}
    try: {remedy}
",
                reason.key
            ));
        }
    }
    blocks.concat()
}

/// The line of the doctor about a port for runtimes to which none is connected.
pub fn idle_port(path: &str) -> String {
    let error = CaptureError::NotConnected(path.to_owned());
    format!(
        "{}\n    try: {}\n",
        printable(&error.to_string()),
        CaptureError::CONNECT
    )
}

/// `namespace/pod container`, else what `docker ps` would show of the id.
fn container_cell(container: &Container) -> String {
    let names = container.to_string();
    if !names.is_empty() {
        return names;
    }
    let id = container.id.as_deref();
    id.map_or("-", |id| &id[..12.min(id.len())]).to_owned()
}

fn ordered(inspections: &[Inspection]) -> impl Iterator<Item = &Inspection> {
    let (native, managed): (Vec<_>, Vec<_>) = inspections
        .iter()
        .partition(|inspection| inspection.target.runtime() == Runtime::Native);
    managed.into_iter().chain(native)
}

/// Names and tool messages are the app's to choose; an escape sequence in them must not reach a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Columns padded to their widest cell, two blanks between them, none at the end of a line.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &CommandLine) -> String {
        serde_json::to_string(&ShownArguments(line)).unwrap()
    }

    #[test]
    fn a_command_line_is_a_list_without_secrets() {
        let line = ["java", "-Ddb.password=x", "-jar", "a b.jar"].into_iter().collect();
        assert_eq!(shown(&line), r#"["java","-Ddb.password=…redacted…","-jar","a b.jar"]"#);
        assert_eq!(shown(&CommandLine::default()), "[]");
    }
}
