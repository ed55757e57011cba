//! A runtime that connects to the server's port by itself, and the fixed 34 bytes it says when it does.
//!
//! Values; no sockets. The server keeps the connections (`child/port`) and reads nothing of them but [`Advertise`].
//! Specification: "ADVERTISE" in `documentation/design-docs/ipc-protocol.md` of dotnet/diagnostics; .NET 5 has it first.

use serde::{Deserialize, Serialize};

use crate::process::ProcessId;

const MAGIC: &[u8; 8] = b"ADVR_V1\0";

/// What a runtime chose at random when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cookie([u8; 16]);

/// The first and only thing that a runtime says before it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertise {
    /// The same on all its connections.
    pub cookie: Cookie,
    /// In its own pid namespace, as it says.
    pub pid: i32,
}

impl Advertise {
    /// Bytes of one: magic 8, cookie 16, pid 8, reserved 2.
    pub const LENGTH: usize = 34;

    /// Reads one; `None` if it is none.
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (cookie, rest) = rest.split_first_chunk::<16>()?;
        let (pid, _reserved) = rest.split_first_chunk::<8>()?;
        let pid = i32::try_from(u64::from_le_bytes(*pid)).ok().filter(|pid| *pid > 0)?;
        (magic == MAGIC).then_some(Self {
            cookie: Cookie(*cookie),
            pid,
        })
    }
}

/// Whose connection it is. Two runtimes are never taken for one: a cookie is the runtime's own word, the rest the kernel's
/// (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// What it says of itself.
    pub cookie: Cookie,
    /// The process that connected; `None` of one that our pid namespace does not show.
    pub process: Option<ProcessId>,
    /// Its user when it connected.
    pub uid: u32,
    /// Its group when it connected.
    pub gid: u32,
}

#[cfg(any(test, feature = "fuzzing"))]
impl Advertise {
    /// The bytes of a runtime with this pid, whose cookie is all `mark`.
    pub fn example(mark: u8, pid: u64) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].fill(mark);
        bytes[24..32].copy_from_slice(&pid.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
impl Caller {
    /// One of user 1000 that is not to be seen.
    pub(crate) fn example(mark: u8) -> Self {
        Self {
            cookie: Cookie([mark; 16]),
            process: None,
            uid: 1000,
            gid: 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_says_its_cookie_and_its_pid() {
        // As .NET 8.0.30 sent it.
        let mut bytes =
            *b"ADVR_V1\0\x9b\x04\xee\xae\xf7\x84\xac\x44\x96\xd4\x1f\x08\xc4\x75\x3c\xbf\xda\x77\0\0\0\0\0\0\0\0";
        let advertise = Advertise::decode(&bytes).unwrap();
        assert_eq!((advertise.cookie.0[0], advertise.cookie.0[15]), (0x9b, 0xbf));
        assert_eq!(advertise.pid, 30_682);
        bytes[33] = 1;
        assert_eq!(Advertise::decode(&bytes), Some(advertise), "reserved");
        bytes[6] = b'2';
        assert_eq!(Advertise::decode(&bytes), None);
    }

    #[test]
    fn what_is_no_pid_is_no_advertise() {
        for pid in [0, 1 << 31, u64::MAX] {
            assert_eq!(Advertise::decode(&Advertise::example(1, pid)), None, "{pid}");
        }
        assert!(Advertise::decode(&Advertise::example(1, 1)).is_some());
    }
}
