//! Processes and verdicts as people and machines read them, the same over HTTP and on the command line.

use serde::Serialize;

use crate::capture::selector::{self, Candidate};
use crate::child::Inspection;
use crate::process::Container;
use crate::redact;
use crate::runtime::{Availability, Reason, Runtime, Verdict};

/// A process as `GET /processes` and `sideflame ps --json` show it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessRow {
    /// Pid, as our pid namespace sees it.
    pub pid: i32,
    /// Clock ticks after boot; with the pid it identifies the process.
    pub start_time: u64,
    /// Main class or jar, entry assembly, module path, executable.
    pub name: String,
    /// Arguments, secrets hidden.
    pub command_line: Vec<String>,
    /// Runtime.
    pub runtime: Runtime,
    /// Its version, if known.
    pub version: Option<String>,
    /// Container id, if the process is in a container.
    pub container: Option<String>,
    /// Its name in the pod, if known.
    pub container_name: Option<String>,
    /// Its pod, if anything is known of it.
    pub pod: Option<PodRow>,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// The process that requests without a selector mean.
    pub is_default: bool,
    /// Every event of the runtime.
    pub events: Vec<EventRow>,
}

/// The pod of a process. In a pod only the uid shows; on a node also the names.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PodRow {
    /// Name, if known.
    pub name: Option<String>,
    /// Namespace, if known.
    pub namespace: Option<String>,
    /// `metadata.uid`, if known; of a static pod the hash of its file.
    pub uid: Option<String>,
}

impl PodRow {
    fn of(container: &Container) -> Option<Self> {
        let Container { pod, pod_uid, .. } = container;
        (pod.is_some() || pod_uid.is_some()).then(|| Self {
            name: pod.as_ref().map(|pod| pod.name.clone()),
            namespace: pod.as_ref().map(|pod| pod.namespace.clone()),
            uid: pod_uid.clone(),
        })
    }
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
    /// Pid, as our pid namespace sees it.
    pub pid: i32,
    /// Clock ticks after boot.
    pub start_time: u64,
    /// Main class or jar, entry assembly, module path, executable.
    pub name: String,
    /// Its container's name in the pod, if known.
    pub container_name: Option<String>,
    /// Its pod, if anything is known of it.
    pub pod: Option<PodRow>,
    /// Runtime.
    pub runtime: Runtime,
    /// Runtime version, if known.
    pub version: Option<String>,
    /// One per event.
    pub verdicts: Vec<Verdict>,
}

/// Rows of `GET /processes`, by pid.
pub fn processes_json(inspections: &[Inspection]) -> Vec<ProcessRow> {
    let default = selector::default_target(inspections).ok();
    let rows = inspections.iter().enumerate();
    rows.map(|(index, Inspection { target, verdicts })| ProcessRow {
        pid: target.id().pid,
        start_time: target.id().start_time,
        name: target.name.clone(),
        command_line: redact::command_line(&target.process.command_line),
        runtime: target.runtime(),
        version: target.version().map(str::to_owned),
        container: target.process.container.id.clone(),
        container_name: target.container(),
        pod: PodRow::of(&target.process.container),
        uid: target.process.credentials.uid,
        gid: target.process.credentials.gid,
        is_default: default == Some(index),
        events: verdicts
            .iter()
            .map(|verdict| EventRow {
                event: verdict.event.name().to_owned(),
                availability: verdict.availability,
            })
            .collect(),
    })
    .collect()
}

/// Rows of `GET /doctor`, by pid.
pub fn doctor_json(inspections: &[Inspection]) -> Vec<DoctorRow> {
    let row = |Inspection { target, verdicts }: &Inspection| DoctorRow {
        pid: target.id().pid,
        start_time: target.id().start_time,
        name: target.name.clone(),
        container_name: target.container(),
        pod: PodRow::of(&target.process.container),
        runtime: target.runtime(),
        version: target.version().map(str::to_owned),
        verdicts: verdicts.clone(),
    };
    inspections.iter().map(row).collect()
}

/// One line per target, native processes last.
pub fn processes(inspections: &[Inspection]) -> String {
    let mut rows = vec![["PID", "RUNTIME", "VERSION", "UID:GID", "CONTAINER", "EVENTS", "NAME"].map(str::to_owned)];
    for Inspection { target, verdicts } in ordered(inspections) {
        let events: Vec<&str> = verdicts
            .iter()
            .filter(|verdict| verdict.availability != Availability::Impossible)
            .map(|verdict| verdict.event.name())
            .collect();
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
        blocks.push(format!(
            "{} {} ({}{version}){}
",
            target.id(),
            printable(&target.name),
            target.runtime(),
            Candidate::from(target).place()
        ));
        let mut rows = Vec::new();
        let mut reasons: Vec<&Reason> = Vec::new();
        for verdict in verdicts {
            let word = match verdict.availability {
                Availability::Available => "available",
                Availability::Degraded => "degraded",
                Availability::Impossible => "impossible",
            };
            let key = verdict.reason.as_ref().map_or("", |reason| reason.key.as_ref());
            rows.push(["  ".to_owned() + verdict.event.name(), word.to_owned(), key.to_owned()]);
            reasons.extend(verdict.reason.as_ref().filter(|reason| !reasons.contains(reason)));
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
