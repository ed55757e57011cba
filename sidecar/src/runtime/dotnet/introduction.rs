//! What a runtime says of itself that only our port shows: no file of its process is within reach.
//!
//! Asked by a child of the server for that alone, as its words are the app's. Called by [`crate::runtime`].

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::client::{ClientError, DiagnosticsClient};
use super::doctor::{running_apportioned, verdicts_unless};
use super::line::Line;
use super::process_info::ProcessInfo;
use crate::process::Process;
use crate::runtime::{Reason, RuntimeFacts, Target, Verdict, stopped};

/// How long a runtime may take; a healthy one answers from memory, one that is starved of CPU needs its share.
const QUESTION: Duration = Duration::from_secs(5);

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Introduction {
    /// Entry assembly, else the executable.
    pub name: String,
    /// E.g. `8.0.30`; .NET 5 does not say.
    pub version: Option<String>,
    /// E.g. `linux-x64`; from .NET 8 on.
    pub rid: Option<String>,
    /// It knows entry assemblies, and has none yet.
    pub is_early: bool,
}

impl Introduction {
    /// Asks at `line`.
    ///
    /// # Errors
    /// [`ClientError`] of the last command tried.
    pub fn ask(line: &Line) -> Result<Self, ClientError> {
        ProcessInfo::query(DiagnosticsClient::by_line(line), Instant::now() + QUESTION).map(Self::from)
    }

    /// The same with texts no longer than a list can bear.
    #[must_use]
    pub fn shortened(self) -> Self {
        let shorten = |text: String, most: usize| text.chars().take(most).collect();
        Self {
            name: shorten(self.name, 512),
            version: self.version.map(|version| shorten(version, 64)),
            rid: self.rid.map(|rid| shorten(rid, 64)),
            ..self
        }
    }
}

impl From<ProcessInfo> for Introduction {
    fn from(info: ProcessInfo) -> Self {
        let executable = info.command_line.split_whitespace().next().unwrap_or_default();
        let executable = Path::new(executable).file_name().unwrap_or_default().to_string_lossy();
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let is_early = info.entry_assembly.is_empty() && !info.version.is_empty();
        let name = said(info.entry_assembly).or_else(|| said(executable.into_owned()));
        Self {
            name: name.unwrap_or_else(|| "dotnet".to_owned()),
            version: said(info.version),
            rid: said(info.rid),
            is_early,
        }
    }
}

/// The process of `caller` as a target that is reached by the port, and what can be had from it. `told` may be the words for why it
/// did not introduce itself.
pub fn by_port(process: Process, caller: &Caller, told: Result<Introduction, String>) -> (Target, Vec<Verdict>) {
    let blocker = match &told {
        _ if process.is_stopped() => Some(stopped()),
        Ok(_) => None,
        Err(words) => Some(silent(words)),
    };
    let (name, version, rid) = match told {
        Ok(Introduction { name, version, rid, .. }) => (name, version, rid),
        Err(_) => (unknown_name(&process), None, None),
    };
    let cpu = if process.id.is_outside() {
        cpu_time_unknown()
    } else {
        running_apportioned()
    };
    let facts = RuntimeFacts::Dotnet {
        version,
        rid,
        socket: None,
        port: Some(*caller),
    };
    (Target { process, name, facts }, verdicts_unless(blocker.as_ref(), &cpu))
}

/// Without a row in `/proc` there is nothing to call it by.
fn unknown_name(process: &Process) -> String {
    Some(process.executable_name())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "dotnet".to_owned())
}

fn silent(words: &str) -> Reason {
    Reason::new(
        "port_silent",
        format!("the runtime is connected to sideflame's port and does not say who it is: {words}"),
        "see whether its container has any CPU left; else restart the process",
    )
}

/// What a picture of `cpu` lacks where the kernel's count is not to be had.
fn cpu_time_unknown() -> Reason {
    Reason::new(
        "cpu_time_unknown",
        "the process is not in sideflame's pid namespace, so the kernel's count of its CPU time is not known: cpu is what the runtime \
         itself calls running, native code, garbage collection and compilation are missing",
        "let the pod share its process namespace (shareProcessNamespace: true); event=wall has all threads",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::process::ProcessId;
    use crate::runtime::Availability;

    fn info(entry_assembly: &str, command_line: &str) -> ProcessInfo {
        ProcessInfo {
            command_line: command_line.to_owned(),
            entry_assembly: entry_assembly.to_owned(),
            version: "8.0.30".to_owned(),
            rid: String::new(),
        }
    }

    #[test]
    fn the_name_is_the_entry_assembly_or_what_was_started() {
        let name = |assembly: &str, line: &str| Introduction::from(info(assembly, line)).name;
        assert_eq!(name("Shop", "/app/shop --port 80"), "Shop");
        assert_eq!(name("", "/app/shop --port 80"), "shop");
        assert_eq!(name("", " "), "dotnet");
        let early = |assembly: &str| Introduction::from(info(assembly, "")).is_early;
        assert!(early("") && !early("Shop"));
        let long = Introduction::from(info(&"x".repeat(10_000), "")).shortened();
        assert_eq!(long.name.len(), 512);
    }

    #[test]
    fn the_verdicts_say_what_is_not_known_of_a_process_that_is_not_seen() {
        let caller = Caller::example(1);
        let told = || Ok(info("Shop", "").into());
        let outside = Process::outside(ProcessId::outside(7, 1), 1000, 1000);
        let (target, verdicts) = by_port(outside.clone(), &caller, told());
        assert_eq!((target.name.as_str(), target.version()), ("Shop", Some("8.0.30")));
        let cpu = verdicts.iter().find(|verdict| verdict.event == Event::Cpu).unwrap();
        assert_eq!(cpu.reason.as_ref().unwrap().key, "cpu_time_unknown");
        assert!(verdicts.contains(&Verdict::available(Event::Wall)));

        let (_, seen) = by_port(Process::example(7), &caller, told());
        assert_eq!(seen[0].reason.as_ref().unwrap().key, "running_apportioned");
        let (target, silent) = by_port(outside, &caller, Err("no answer".to_owned()));
        assert_eq!(target.name, "dotnet");
        let impossible = |verdict: &Verdict| verdict.availability == Availability::Impossible;
        assert!(silent.iter().all(impossible) && silent[0].reason.as_ref().unwrap().key == "port_silent");
        let stopped = Process {
            state: 'T',
            ..Process::example(7)
        };
        assert_eq!(
            by_port(stopped, &caller, told()).1[0].reason.as_ref().unwrap().key,
            "target_stopped"
        );
    }
}
