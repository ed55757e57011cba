//! What a runtime says of itself: entry assembly and version.
//!
//! Called by `detect` for processes whose mapped files do not tell, i.e. single-file apps, and by [`super::introduction`] for those
//! without any.

use std::time::Instant;

use super::client::{ClientError, DiagnosticsClient};
use super::ipc::{Command, Fields, IpcError, IpcMessage, Payload, UNKNOWN_COMMAND};

/// What names the app and the runtime. Empty is what an older runtime does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessInfo {
    /// How it was started.
    pub command_line: String,
    /// E.g. `Shop`; empty before the app's main has been found. .NET 6.
    pub entry_assembly: String,
    /// E.g. `8.0.30`. .NET 6.
    pub version: String,
    /// E.g. `linux-x64`. .NET 8.
    pub rid: String,
}

/// Commands to try, newest first.
const LADDER: [Command; 3] = [Command::ProcessInfo3, Command::ProcessInfo2, Command::ProcessInfo];

impl ProcessInfo {
    /// Asks the runtime. Harmless: it answers from memory.
    ///
    /// # Errors
    /// [`ClientError`] of the last command tried.
    pub fn query(client: DiagnosticsClient<'_>, deadline: Instant) -> Result<Self, ClientError> {
        let mut last = ClientError::Closed;
        for command in LADDER {
            match client.call(&IpcMessage::request(command, Payload::default()), deadline) {
                Ok((payload, _)) => return Ok(Self::decode(command, &payload)?),
                Err(error @ (ClientError::Refused(UNKNOWN_COMMAND) | ClientError::Closed)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Reads the answer to `command`: of the third a version, then u64 pid, 16 bytes cookie, command line, operating system,
    /// architecture; from the second on entry assembly, version; of the third the portable runtime identifier.
    ///
    /// # Errors
    /// [`IpcError::Truncated`].
    pub fn decode(command: Command, payload: &[u8]) -> Result<Self, IpcError> {
        let mut fields = Fields::of(payload);
        if command == Command::ProcessInfo3 {
            fields.u32()?;
        }
        fields.u64()?;
        fields.bytes(16)?;
        let command_line = fields.string()?;
        for _ in ["operating system", "architecture"] {
            fields.string()?;
        }
        let mut info = Self {
            command_line,
            ..Self::default()
        };
        if command != Command::ProcessInfo {
            info.entry_assembly = fields.string()?;
            info.version = fields.string()?;
        }
        if command == Command::ProcessInfo3 {
            info.rid = fields.string()?;
        }
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(command: Command) -> Vec<u8> {
        let start = match command {
            Command::ProcessInfo3 => Payload::default().u32(1),
            _ => Payload::default(),
        };
        let payload = start.u64(7).u64(1).u64(2);
        let payload = payload.string("/app/Shop").string("Linux").string("x64");
        let payload = match command {
            Command::ProcessInfo => payload,
            Command::ProcessInfo2 => payload.string("Shop").string("8.0.30"),
            _ => payload.string("Shop").string("8.0.30").string("linux-x64"),
        };
        IpcMessage::request(command, payload).payload
    }

    #[test]
    fn names_the_app_and_the_runtime_as_far_as_its_version_says() {
        for (command, expected) in [
            (Command::ProcessInfo, ["/app/Shop", "", "", ""]),
            (Command::ProcessInfo2, ["/app/Shop", "Shop", "8.0.30", ""]),
            (Command::ProcessInfo3, ["/app/Shop", "Shop", "8.0.30", "linux-x64"]),
        ] {
            let info = ProcessInfo::decode(command, &payload(command)).unwrap();
            let said = [info.command_line, info.entry_assembly, info.version, info.rid];
            assert_eq!(said, expected, "{command:?}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        for command in LADDER {
            let whole = payload(command);
            for length in 0..whole.len() {
                assert_eq!(
                    ProcessInfo::decode(command, &whole[..length]),
                    Err(IpcError::Truncated),
                    "{length} bytes of {command:?}"
                );
            }
        }
    }
}
