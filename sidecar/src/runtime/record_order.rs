//! What a recorder child is told.

use serde::{Deserialize, Serialize};

use super::{RuntimePlan, Target};
use crate::event::Event;
use crate::format::RecordingKind;

/// Everything a recorder needs; made and validated by the server, executed by the recorder. Crosses as JSON on stdin
/// because an argument list is readable by every process of the pod and headers are secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordOrder {
    /// The process to profile.
    pub target: Target,
    /// What to sample.
    pub event: Event,
    /// How long to sample. 0 asks a runtime that keeps totals for those since the start of the program.
    pub seconds: u64,
    /// What the store has room for.
    pub room: RoomGrant,
    /// How the target's runtime is made to record.
    pub plan: RuntimePlan,
}

/// Room of a recording in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomGrant {
    /// Bytes reserved at the start; the recorder asks for more.
    pub granted_bytes: u64,
    /// The most it can ever be granted.
    pub max_bytes: u64,
}

impl RecordOrder {
    /// The recording to make.
    pub fn kind(&self) -> RecordingKind {
        self.plan.kind()
    }
}

#[cfg(test)]
impl RecordOrder {
    /// For a JVM, whose recording is of `kind`. Nothing is at hand that could execute it.
    pub(crate) fn example(kind: RecordingKind) -> Self {
        let target = Target {
            process: crate::process::Process::example(17),
            name: "shop".to_owned(),
            facts: super::RuntimeFacts::Jvm {
                vm: super::JavaVm::HotSpot,
                version: None,
            },
        };
        let asked = super::Asked {
            target: &target,
            event: &Event::Cpu,
            seconds: 30,
            kind,
            options: &super::Options::default(),
        };
        let settings = super::RuntimeSettings {
            jvm: super::JvmSettings::new(std::env::current_exe().ok()),
            ..super::RuntimeSettings::default()
        };
        let plan = super::plan(&asked, &settings).unwrap();
        Self {
            event: Event::Cpu,
            seconds: 30,
            room: RoomGrant {
                granted_bytes: 0,
                max_bytes: 1 << 20,
            },
            plan,
            target,
        }
    }
}
