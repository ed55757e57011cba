//! Who runs on a node, as the server knows it when a recording of all of it is planned.
//!
//! A value that crosses to the recorder. Names of pods are in it because the server has them from the kubelet; a process could
//! only say what it likes. Made by `plan`, read by `groups`.

use serde::{Deserialize, Serialize};

use crate::process::{Container, ProcessId};
use crate::runtime::{Runtime, Target};

/// Processes that are named; those beyond are called what the kernel calls them.
const MOST: usize = 16_384;

/// Bytes of a name that are kept.
const LONGEST_NAME: usize = 256;

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Node {
    pub(super) residents: Vec<Resident>,
}

/// A process of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resident {
    pub(super) id: ProcessId,
    /// A name people recognise, by which it can be chosen.
    pub(super) name: String,
    pub(super) container: Container,
    /// Its compiler does: no tables are needed for its stacks.
    pub(super) keeps_frame_pointers: bool,
}

impl Node {
    /// The processes that were inspected.
    pub fn of<'a>(targets: impl Iterator<Item = &'a Target>) -> Self {
        let ours = targets.filter(|target| !target.id().is_outside());
        let residents = ours.take(MOST).map(|target| Resident {
            id: target.id(),
            name: beginning(&target.name).to_owned(),
            container: target.process.container.clone(),
            keeps_frame_pointers: target.runtime() == Runtime::Go,
        });
        Self {
            residents: residents.collect(),
        }
    }
}

fn beginning(name: &str) -> &str {
    name.get(..name.floor_char_boundary(LONGEST_NAME)).unwrap_or_default()
}
