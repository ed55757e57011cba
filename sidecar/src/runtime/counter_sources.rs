//! What is open of a process to be read again and again: its row of `/proc`, its cgroup, what its runtime shares.

use super::counters::now_ms;
use super::kernel_counters;
use crate::process::{Cgroup, CgroupUsage, ProcessId, ProcessTable, TargetRoot, Usage};
use crate::profile::counter::CounterValue;
use crate::runtime::jvm::counters::SharedCounters;
use crate::runtime::{Reason, Target, no_access, shared_counters};

/// Counters of one process.
#[derive(Debug)]
pub struct Sources {
    table: ProcessTable,
    id: ProcessId,
    cgroup: Option<(TargetRoot, Cgroup)>,
    shared: Option<SharedCounters>,
    /// What is left out, and why.
    pub missing: Vec<Reason>,
}

impl Sources {
    /// Opens what may be opened of `target`. Nothing is asked of it: it may stand still.
    pub fn open(table: &ProcessTable, target: &Target) -> Self {
        let mut missing = Vec::new();
        let id = target.id();
        let (mut cgroup, mut shared) = (None, None);
        if id.is_outside() {
            missing.push(Reason::new(
                "process_unseen",
                "the process is in another pid namespace: what the kernel counts of it and its cgroup is missing",
                "run sideflame where it sees the process: shareProcessNamespace: true in the pod",
            ));
        } else {
            match TargetRoot::open(table, id) {
                Ok(root) => {
                    // A row that came with an order has no command line, which may say why nothing is shared.
                    match table
                        .find(id)
                        .and_then(|row| shared_counters(table, &root, (target, &row)))
                    {
                        Some(Ok(opened)) => shared = Some(opened),
                        Some(Err(reason)) => missing.push(reason),
                        None => {}
                    }
                    let own = Cgroup::of(table, &root, id.pid);
                    if own.usage(&root) == CgroupUsage::default() {
                        missing.push(no_cgroup());
                    } else {
                        cgroup = Some((root, own));
                    }
                }
                Err(_) => {
                    let reason = no_access(target);
                    let sentence = format!(
                        "{}: what its runtime shares, its I/O and its cgroup are missing from the counters",
                        reason.sentence
                    );
                    missing.push(Reason { sentence, ..reason });
                }
            }
        }
        Self {
            table: table.clone(),
            id,
            cgroup,
            shared,
            missing,
        }
    }

    /// Where values come from.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = vec!["/proc"];
        names.extend(self.cgroup.as_ref().map(|_| "cgroup"));
        names.extend(self.shared.as_ref().map(|_| "hsperfdata"));
        names
    }

    /// All values of now; `None` once the process is gone.
    pub fn read(&self) -> Option<Vec<CounterValue>> {
        let usage = Usage::of(&self.table, self.id)?;
        let mut values = kernel_counters::of_process(&usage);
        if let Some((root, cgroup)) = &self.cgroup {
            values.extend(kernel_counters::of_cgroup(&cgroup.usage(root)));
        }
        if let Some(shared) = &self.shared {
            values.extend(shared.values());
        }
        let at_ms = now_ms();
        for value in &mut values {
            value.at_ms = at_ms;
        }
        Some(values)
    }
}

fn no_cgroup() -> Reason {
    Reason::new(
        "cgroup_unreadable",
        "the files of its cgroup are not to be seen from the process (no /sys/fs/cgroup in its container, or the cgroup at the top): \
         throttling, memory against the limit, OOM kills and pressure are missing",
        "nothing in a container of Kubernetes; elsewhere mount cgroup2 at /sys/fs/cgroup",
    )
}
