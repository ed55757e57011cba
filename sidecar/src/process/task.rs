//! A thread of a process, as the kernel names it. Called by what tells threads apart.

use std::fs;
use std::path::Path;

/// Number, name and state of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// In the innermost pid namespace: what its own runtime and libraries call it.
    pub number: u64,
    /// Without control characters. The kernel keeps 15 bytes.
    pub name: String,
    /// The kernel's letter: `R`, `S`, `D`, `T`, `t`, `Z`, `X`.
    pub state: char,
}

impl Task {
    /// The thread whose folder `task` is, below `/proc/PID/task`; `None` if it is gone.
    pub fn read(task: &Path) -> Option<Self> {
        let status = fs::read(task.join("status")).ok()?;
        Self::parse(&String::from_utf8_lossy(&status))
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        };
        let number = field("NSpid").or(field("Pid"))?;
        let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        Some(Self {
            // The last of several is that in the innermost namespace.
            number: number.split_whitespace().last()?.parse().ok()?,
            name: field("Name")?.chars().map(plain).collect(),
            state: field("State")?.chars().next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_numbered_as_their_own_runtime_does() {
        let named = |status| Task::parse(status).map(|task| (task.number, task.name, task.state));
        let status = "Name:\tshop-worker-1\nState:\tS (sleeping)\nTgid:\t100\nPid:\t117\nNSpid:\t117\t7\n";
        assert_eq!(named(status), Some((7, "shop-worker-1".to_owned(), 'S')));
        assert_eq!(
            named("Name:\ta b\nState:\tR (running)\nPid:\t9\n"),
            Some((9, "a b".to_owned(), 'R')),
            "an old kernel"
        );
        assert_eq!(named("Name:\t\n"), None);
    }
}
