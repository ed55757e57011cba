//! How a child ended, and what that means when it owes an answer.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::libc::{SIGABRT, SIGKILL};

/// Why a child's answer is missing or not to be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// It did not come to life.
    #[error("failed to start the {role}: {detail}")]
    Start {
        /// Which child.
        role: &'static str,
        /// Why.
        detail: String,
    },
    /// It was not done in time.
    #[error("the {role} was not done within {seconds} s")]
    TimedOut {
        /// Which child.
        role: &'static str,
        /// The bound.
        seconds: u64,
    },
    /// It said more than it may, or something that is no message of its role.
    #[error("the {role} does not keep to its protocol: {detail}")]
    Protocol {
        /// Which child.
        role: &'static str,
        /// What it did.
        detail: String,
    },
    /// It was refused memory, or killed because the container has no more.
    #[error("the {role} ran out of memory")]
    OutOfMemory {
        /// Which child.
        role: &'static str,
    },
    /// Neither we nor the kernel killed it.
    #[error("the {role} was killed (SIGKILL)")]
    Killed {
        /// Which child.
        role: &'static str,
    },
    /// It ended with an error, or without the answer it owes.
    #[error("the {role} failed: {detail}")]
    Failed {
        /// Which child.
        role: &'static str,
        /// Its own words, and how it ended.
        detail: String,
    },
}

/// How a child ended.
#[derive(Debug)]
pub(super) struct Ending {
    /// `None` if it did not end in time and we killed it.
    pub(super) status: Option<ExitStatus>,
    /// The end of what it wrote to stderr.
    pub(super) noise: String,
    /// True if the kernel killed a process of our container for want of memory while the child lived.
    pub(super) out_of_memory_kill: bool,
}

impl Ending {
    /// True if it ended with exit code 0.
    pub(super) fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// True if it came to an end of its own, and so had its chance to clean up.
    pub(super) fn by_itself(&self) -> bool {
        self.status.is_some_and(|status| status.code().is_some())
    }

    /// Why a child that ended so gave no answer.
    pub(super) fn error(&self, role: &'static str) -> ChildError {
        let signal = self.status.and_then(|status| status.signal());
        // The words of Rust's allocator before it aborts.
        let refused = signal == Some(SIGABRT) && self.noise.contains("memory allocation of");
        if refused || (signal == Some(SIGKILL) && self.out_of_memory_kill) {
            return ChildError::OutOfMemory { role };
        }
        if signal == Some(SIGKILL) {
            return ChildError::Killed { role };
        }
        let how = self
            .status
            .map_or("it did not end".to_owned(), |status| status.to_string());
        let detail = match self.noise.trim() {
            "" => how,
            noise => format!("{noise} ({how})"),
        };
        ChildError::Failed { role, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_and_the_allocator_tell_of_missing_memory() {
        let ending = |signal, noise: &str, out_of_memory_kill| {
            let ending = Ending {
                status: Some(ExitStatus::from_raw(signal)),
                noise: noise.to_owned(),
                out_of_memory_kill,
            };
            ending.error("recorder")
        };
        let role = "recorder";
        assert_eq!(ending(SIGKILL, "", true), ChildError::OutOfMemory { role });
        assert_eq!(ending(SIGKILL, "", false), ChildError::Killed { role });
        let words = "memory allocation of 16777216 bytes failed\n";
        assert_eq!(ending(SIGABRT, words, false), ChildError::OutOfMemory { role });
        let aborted = ending(SIGABRT, "panicked", true);
        assert!(
            matches!(&aborted, ChildError::Failed { detail, .. } if detail.contains("panicked")),
            "{aborted}"
        );
    }
}
