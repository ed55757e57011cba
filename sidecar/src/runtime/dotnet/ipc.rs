//! Messages of the .NET Diagnostics IPC protocol as values: bytes in, bytes out, no sockets.
//!
//! Must not know what the messages are for. Called by [`super::client`] and the builders of requests.
//! Specification: `documentation/design-docs/ipc-protocol.md` of dotnet/diagnostics. All integers are little-endian.

/// Bytes of a header: magic 14, size 2, command set 1, command 1, reserved 2.
pub const HEADER_LEN: usize = 20;

const MAGIC: &[u8; 14] = b"DOTNET_IPC_V1\0";
const SERVER_SET: u8 = 0xFF;
const SERVER_OK: u8 = 0x00;
const SERVER_ERROR: u8 = 0xFF;

/// `DS_IPC_E_UNKNOWN_COMMAND`: the runtime is older than the command.
pub const UNKNOWN_COMMAND: u32 = 0x8013_1385;

/// Requests we send, as (command set, command).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Ends an EventPipe session. .NET Core 3.0.
    StopTracing,
    /// Starts a session, always with rundown. .NET Core 3.0.
    CollectTracing,
    /// Starts a session, rundown on or off. Answered by 3.1.2 and later.
    CollectTracing2,
    /// Starts a session with a choice of rundown events. .NET 9.
    CollectTracing4,
    /// Pid, cookie and command line. .NET 5.
    ProcessInfo,
    /// Writes a dump. .NET Core 3.0.
    GenerateCoreDump,
    /// The same with flags. .NET 6.
    GenerateCoreDump2,
    /// The same, and says why not. .NET 7.
    GenerateCoreDump3,
    /// Entry assembly and version among others. .NET 7 in the specification.
    ProcessInfo2,
    /// Writes the names of all methods for perf, and goes on with what is compiled. .NET 8.
    EnablePerfMap,
    /// Ends that. .NET 8.
    DisablePerfMap,
    /// The runtime identifier, too. .NET 8.
    ProcessInfo3,
}

impl Command {
    fn code(self) -> (u8, u8) {
        match self {
            Self::StopTracing => (0x02, 0x01),
            Self::CollectTracing => (0x02, 0x02),
            Self::CollectTracing2 => (0x02, 0x03),
            Self::CollectTracing4 => (0x02, 0x05),
            Self::ProcessInfo => (0x04, 0x00),
            Self::GenerateCoreDump => (0x01, 0x01),
            Self::GenerateCoreDump2 => (0x01, 0x02),
            Self::GenerateCoreDump3 => (0x01, 0x03),
            Self::ProcessInfo2 => (0x04, 0x04),
            Self::EnablePerfMap => (0x04, 0x05),
            Self::DisablePerfMap => (0x04, 0x06),
            Self::ProcessInfo3 => (0x04, 0x08),
        }
    }
}

/// Bytes that are not the protocol, or a value that does not fit it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpcError {
    /// Not `DOTNET_IPC_V1`.
    #[error("the answer does not start with DOTNET_IPC_V1")]
    Magic,
    /// The size field is smaller than a header.
    #[error("the answer claims a size of {0} bytes")]
    Size(u16),
    /// Neither OK nor Error of the server's command set.
    #[error("the answer has command {set:#04x}{command:02x}")]
    Command {
        /// Command set.
        set: u8,
        /// Command.
        command: u8,
    },
    /// A payload ends inside a field.
    #[error("the answer ends inside a field")]
    Truncated,
    /// The size field has 16 bits.
    #[error("the request is {0} bytes and may be 65,535")]
    TooLong(usize),
}

/// The first 20 bytes of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpcHeader {
    /// Size of the message, header included.
    pub size: u16,
    /// Command set; 0xFF is the server's.
    pub command_set: u8,
    /// Command in the set.
    pub command: u8,
}

impl IpcHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// [`IpcError::Magic`], [`IpcError::Size`].
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, IpcError> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(IpcError::Magic);
        }
        let size = u16::from_le_bytes([rest[0], rest[1]]);
        if usize::from(size) < HEADER_LEN {
            return Err(IpcError::Size(size));
        }
        Ok(Self {
            size,
            command_set: rest[2],
            command: rest[3],
        })
    }

    /// Bytes that follow the header.
    pub fn payload_len(&self) -> usize {
        usize::from(self.size).saturating_sub(HEADER_LEN)
    }
}

/// A message with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpcMessage {
    /// Command set.
    pub command_set: u8,
    /// Command in the set.
    pub command: u8,
    /// What the command says.
    pub payload: Vec<u8>,
}

impl IpcMessage {
    /// A request.
    pub fn request(command: Command, payload: Payload) -> Self {
        let (command_set, command) = command.code();
        Self {
            command_set,
            command,
            payload: payload.bytes,
        }
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// [`IpcError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, IpcError> {
        let length = HEADER_LEN + self.payload.len();
        let size = u16::try_from(length).map_err(|_| IpcError::TooLong(length))?;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&[self.command_set, self.command, 0, 0]);
        bytes.extend_from_slice(&self.payload);
        Ok(bytes)
    }
}

/// What the runtime answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpcReply {
    /// Done; the payload depends on the command.
    Ok(Vec<u8>),
    /// Not done, with an HRESULT.
    Error(u32),
    /// Not done, with an HRESULT and the reason in words.
    ErrorBecause(u32, String),
}

impl IpcReply {
    /// Understands a header with its payload.
    ///
    /// # Errors
    /// [`IpcError::Command`], [`IpcError::Truncated`].
    pub fn decode(header: IpcHeader, payload: Vec<u8>) -> Result<Self, IpcError> {
        match (header.command_set, header.command) {
            (SERVER_SET, SERVER_OK) => Ok(Self::Ok(payload)),
            (SERVER_SET, SERVER_ERROR) => {
                let mut fields = Fields::of(&payload);
                let code = fields.u32()?;
                // Most errors have none.
                Ok(match fields.string() {
                    Ok(words) if !words.is_empty() => Self::ErrorBecause(code, words),
                    _ => Self::Error(code),
                })
            }
            (set, command) => Err(IpcError::Command { set, command }),
        }
    }
}

/// A payload in the making.
#[derive(Debug, Default)]
pub struct Payload {
    bytes: Vec<u8>,
}

impl Payload {
    /// Appends one byte, 0 or 1.
    #[must_use]
    pub fn bool(mut self, value: bool) -> Self {
        self.bytes.push(u8::from(value));
        self
    }

    /// Appends a 32-bit integer.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a 64-bit integer.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends the number of UTF-16 units with the closing NUL, then the units. Empty is the number 0 alone.
    #[must_use]
    pub fn string(mut self, value: &str) -> Self {
        if value.is_empty() {
            return self.u32(0);
        }
        let units: Vec<u16> = value.encode_utf16().chain([0]).collect();
        // A string whose count does not fit makes a message that `encode` refuses long before.
        self = self.u32(u32::try_from(units.len()).unwrap_or(u32::MAX));
        self.bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        self
    }
}

/// A payload being read, front to back.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads `payload` from its start.
    pub fn of(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`IpcError::Truncated`]; so do all readers below.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], IpcError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(IpcError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn u32(&mut self) -> Result<u32, IpcError> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| IpcError::Truncated)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A 64-bit integer.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn u64(&mut self) -> Result<u64, IpcError> {
        let bytes = self.bytes(8)?.try_into().map_err(|_| IpcError::Truncated)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A counted UTF-16 string; what is not UTF-16 becomes U+FFFD.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn string(&mut self) -> Result<String, IpcError> {
        // A payload is at most 64 KiB, so the count is checked against what is there before anything is allocated.
        let count = usize::try_from(self.u32()?).map_err(|_| IpcError::Truncated)?;
        let bytes = self.bytes(count.checked_mul(2).ok_or(IpcError::Truncated)?)?;
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let text = units.split(|unit| *unit == 0).next().unwrap_or_default();
        Ok(String::from_utf16_lossy(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> Result<IpcReply, IpcError> {
        let (header, payload) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(IpcError::Truncated)?;
        let header = IpcHeader::decode(header)?;
        let payload = payload.get(..header.payload_len()).ok_or(IpcError::Truncated)?;
        IpcReply::decode(header, payload.to_vec())
    }

    /// As .NET 8.0.30 answered a CollectTracing2.
    const OK_WITH_SESSION: &[u8] = b"DOTNET_IPC_V1\0\x1c\0\xff\0\0\0\x80\x13\0\xf4\x28\x7f\0\0";
    /// As .NET 8.0.30 answered a CollectTracing4.
    const UNKNOWN: &[u8] = b"DOTNET_IPC_V1\0\x18\0\xff\xff\0\0\x85\x13\x13\x80";

    #[test]
    fn a_request_is_header_and_payload() {
        let message = IpcMessage::request(Command::StopTracing, Payload::default().u64(0x0102_0304_0506_0708));
        assert_eq!(
            message.encode().unwrap(),
            b"DOTNET_IPC_V1\0\x1c\0\x02\x01\0\0\x08\x07\x06\x05\x04\x03\x02\x01".to_vec()
        );
    }

    #[test]
    fn strings_are_counted_with_their_nul_and_empty_ones_have_none() {
        let payload = Payload::default().string("A\u{1F600}").string("").bool(true);
        assert_eq!(payload.bytes, b"\x04\0\0\0A\0\x3d\xd8\x00\xde\0\0\0\0\0\0\x01".to_vec());
    }

    #[test]
    fn a_request_beyond_16_bits_is_refused() {
        let message = IpcMessage::request(Command::CollectTracing, Payload::default().string(&"x".repeat(40_000)));
        assert!(matches!(message.encode(), Err(IpcError::TooLong(_))));
    }

    #[test]
    fn answers_of_real_runtimes_are_understood() {
        assert_eq!(
            decode(OK_WITH_SESSION),
            Ok(IpcReply::Ok(b"\x80\x13\0\xf4\x28\x7f\0\0".to_vec()))
        );
        assert_eq!(decode(UNKNOWN), Ok(IpcReply::Error(UNKNOWN_COMMAND)));
        let header = IpcHeader {
            size: 0,
            command_set: SERVER_SET,
            command: SERVER_ERROR,
        };
        let because = Payload::default().u32(0x8000_4005).string("no room").bytes;
        let expected = IpcReply::ErrorBecause(0x8000_4005, "no room".to_owned());
        assert_eq!(IpcReply::decode(header, because.clone()), Ok(expected));
        // Words that are cut are none.
        let cut = because[..because.len() - 1].to_vec();
        assert_eq!(IpcReply::decode(header, cut), Ok(IpcReply::Error(0x8000_4005)));
    }

    #[test]
    fn every_truncation_of_an_answer_is_an_error() {
        for whole in [OK_WITH_SESSION, UNKNOWN] {
            for length in 0..whole.len() {
                assert!(decode(&whole[..length]).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn a_string_longer_than_the_payload_is_refused_before_allocating() {
        assert_eq!(Fields::of(b"\xff\xff\xff\xffab").string(), Err(IpcError::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let mut fields = Fields::of(&bytes);
            while fields.string().is_ok() && !fields.rest.is_empty() {}
        }

        #[test]
        fn strings_survive_the_round_trip(text in "[^\0]{0,64}") {
            let payload = Payload::default().string(&text);
            prop_assert_eq!(Fields::of(&payload.bytes).string().unwrap(), text);
        }
    }
}
