//! What of the kernel's sampler this machine and our rights allow, found by opening and closing events that never count.
//!
//! A recorder opens its events before it becomes the target, with all rights that the server has. So does an inspector: what it
//! finds *before* it becomes the target is what a recorder will find. Once per inspector for what is of the machine, at the
//! inspector itself; the processes are tried one by one only where some may be out of reach: who may see the kernel where
//! that is forbidden may see every process. Called by the inspector, read by `doctor`.

use std::collections::HashMap;

use super::attr::{Place, look_into, settle};
use super::error::PerfError;
use super::machine;
use crate::event::Event;
use crate::runtime::Reason;
use crate::runtime::native::plan::NativePlan;

/// What is allowed.
#[derive(Debug, Clone, Default)]
pub struct PerfRights {
    /// For each plan that was tried, what is less than was asked for, or why nothing is possible.
    machine: Vec<(Event, Result<Vec<Reason>, PerfError>)>,
    /// Processes that may not be looked into.
    refused: HashMap<i32, PerfError>,
}

impl PerfRights {
    /// Tries what `plans` ask for, and whether the processes are within reach.
    pub fn probe(plans: &[NativePlan], pids: impl Iterator<Item = i32>) -> Self {
        let settled = |plan| settle(plan, Place::SELF);
        let tried: Vec<_> = plans.iter().map(|plan| (plan.event.clone(), settled(plan))).collect();
        let possible: Vec<bool> = tried
            .iter()
            .filter_map(|(_, tried)| Some(!tried.as_ref().ok()?.user_only))
            .collect();
        let sees_everything = possible.contains(&true) && machine::paranoid().is_some_and(|level| level >= 2);
        let refused = match (sees_everything, possible.is_empty()) {
            (false, false) => pids.filter_map(|pid| Some((pid, look_into(pid).err()?))).collect(),
            _ => HashMap::new(),
        };
        let machine = tried
            .into_iter()
            .map(|(event, tried)| (event, tried.map(|settled| settled.limits)))
            .collect();
        Self { machine, refused }
    }

    /// How `event` of the process can be had: what is less than it could be, the worst first, or why it cannot.
    ///
    /// # Errors
    /// The reason.
    pub fn of(&self, pid: i32, event: &Event) -> Result<Vec<Reason>, Reason> {
        if let Some(refused) = self.refused.get(&pid) {
            return Err(refused.reason());
        }
        match self.machine.iter().find(|(tried, _)| tried == event) {
            Some((_, Ok(limits))) => Ok(limits.clone()),
            Some((_, Err(error))) => Err(error.reason()),
            None => Err(Reason::new(
                "perf_not_tried",
                "it was not tried whether the kernel samples this process",
                "see GET /doctor of sideflame beside the process",
            )),
        }
    }
}
