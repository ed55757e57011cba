//! What a detector found. "Not mine" is a value of it, `None`, and not an error.

use super::RuntimeFacts;

/// A recognised runtime and the name people know the process by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// Runtime and facts.
    pub facts: RuntimeFacts,
    /// Main class or jar, entry assembly, module path, executable.
    pub name: String,
}
