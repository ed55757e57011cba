//! Machine code that no other detector claimed.

use crate::process::Process;
use crate::runtime::{Detected, RuntimeFacts};

/// Always succeeds: what is no other runtime is native.
pub fn detect(process: &Process) -> Detected {
    Detected {
        facts: RuntimeFacts::Native,
        name: process.executable_name(),
    }
}
