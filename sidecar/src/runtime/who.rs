//! Which process it is: the same words wherever one is shown, and each of them a selector (`pid=`, `name=`, `pod=`,
//! `container=`).
//!
//! A value; knows nothing of how it is chosen or shown.

use serde::{Deserialize, Serialize};

use super::{Runtime, Target};

/// A process as people and machines name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// Pid, as our pid namespace sees it; without a start time that in its own, and 0 of a server that was named by its URL.
    pub pid: i32,
    /// Clock ticks after boot; with the pid it identifies the process. Not known of one in another pid namespace than ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<u64>,
    /// Main class or jar, entry assembly, module path, executable.
    pub name: String,
    /// Runtime.
    pub runtime: Runtime,
    /// `namespace/name` of its pod, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Name of its container, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

impl Who {
    /// ` in namespace/pod container`, or nothing.
    pub fn place(&self) -> String {
        let known: Vec<&str> = [&self.pod, &self.container]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if known.is_empty() {
            String::new()
        } else {
            format!(" in {}", known.join(" "))
        }
    }
}

impl From<&Target> for Who {
    fn from(target: &Target) -> Self {
        let id = target.id();
        Self {
            pid: id.pid,
            start_time: (!id.is_outside()).then_some(id.start_time),
            name: target.name.clone(),
            runtime: target.runtime(),
            pod: target.pod(),
            container: target.container(),
        }
    }
}
