//! Process → Target: asks each runtime's detector in turn. "Not mine" is a value, not an error.
//!
//! Runs in the inspector child with the target's credentials; everything it reads is the app's to forge.

pub mod dotnet;
pub mod go;
pub mod jvm;
pub mod native;

use serde::{Deserialize, Serialize};

use crate::process::{Process, ProcessTable};
use crate::target::{RuntimeFacts, Target};

/// A recognised runtime and the name people know the process by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// Runtime and facts.
    pub facts: RuntimeFacts,
    /// Main class or jar, entry assembly, module path, executable.
    pub name: String,
}

/// What the operator told us about where to look; from flags, handed to inspector and recorder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoPprofSettings {
    /// Ports to try first, whether or not the process is seen listening on them.
    pub ports: Vec<u16>,
    /// Path in front of `/debug/pprof/`, e.g. `/admin`.
    pub path_prefix: String,
    /// Headers to send, e.g. `Authorization: Bearer …`. Secret: never logged, never in an argument list.
    pub headers: Vec<(String, String)>,
    /// Accept any certificate of an https pprof port on loopback.
    pub insecure_tls: bool,
}

/// Recognises `process`; every process is at least native.
pub fn detect(table: &ProcessTable, process: Process, go: &GoPprofSettings) -> Target {
    // The mapped files are read once: JVM and CoreCLR are recognised by a library, Go by its executable.
    let mapped = table.mapped_files(process.id.pid).unwrap_or_default();
    let detected = jvm::detect(table, &process, &mapped)
        .or_else(|| dotnet::detect(table, &process, &mapped))
        .or_else(|| go::detect(table, &process, go))
        .unwrap_or_else(|| native::detect(&process));
    Target {
        process,
        name: detected.name,
        facts: detected.facts,
    }
}
