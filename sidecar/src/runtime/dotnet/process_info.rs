//! What a runtime says of itself: entry assembly and version.
//!
//! Called by `detect` for processes whose mapped files do not tell, i.e. single-file apps.

use std::time::Instant;

use super::client::{ClientError, DiagnosticsClient};
use super::ipc::{Command, Fields, IpcError, IpcMessage, Payload};

/// The part of `ProcessInfo2` that names the app and the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// E.g. `Shop`; empty before the app's main has been found.
    pub entry_assembly: String,
    /// E.g. `8.0.30`.
    pub version: String,
}

impl ProcessInfo {
    /// Asks the runtime. Harmless: it answers from memory. Runtimes older than .NET 6 refuse.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn query(client: DiagnosticsClient<'_>, deadline: Instant) -> Result<Self, ClientError> {
        let request = IpcMessage::request(Command::ProcessInfo2, Payload::default());
        let (payload, _) = client.call(&request, deadline)?;
        Ok(Self::decode(&payload)?)
    }

    /// Reads the payload: u64 pid, 16 bytes cookie, command line, operating system, architecture, entry assembly,
    /// version.
    ///
    /// # Errors
    /// [`IpcError::Truncated`].
    pub fn decode(payload: &[u8]) -> Result<Self, IpcError> {
        let mut fields = Fields::of(payload);
        fields.u64()?;
        fields.bytes(16)?;
        for _ in ["command line", "operating system", "architecture"] {
            fields.string()?;
        }
        Ok(Self {
            entry_assembly: fields.string()?,
            version: fields.string()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Vec<u8> {
        let payload = Payload::default().u64(7).u64(1).u64(2);
        let payload = payload
            .string("/app/Shop")
            .string("Linux")
            .string("x64")
            .string("Shop")
            .string("8.0.30");
        IpcMessage::request(Command::ProcessInfo2, payload).payload
    }

    #[test]
    fn names_the_app_and_the_runtime() {
        let info = ProcessInfo::decode(&payload()).unwrap();
        assert_eq!(
            (info.entry_assembly.as_str(), info.version.as_str()),
            ("Shop", "8.0.30")
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = payload();
        for length in 0..whole.len() {
            assert_eq!(
                ProcessInfo::decode(&whole[..length]),
                Err(IpcError::Truncated),
                "{length} bytes"
            );
        }
    }
}
