//! Where a JFR has what may be secret: values of environment variables and system properties, and command lines. They
//! are found by what the file says of its types, and blanked by asterisks while it is copied: sizes and offsets stay, so that
//! every reader takes it, and each key still has a value.
//!
//! An event is in memory at a time. Must not know where the file comes from. Called by the recorder of JVMs.

use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::JfrError;
use super::cursor::{Cursor, Text, big_endian};
use super::metadata::{Types, Value};
use super::read::{CHECKPOINT, Header, METADATA};

/// Events with secrets, and their fields that are.
const SECRET: [(&str, &[&str]); 6] = [
    ("jdk.InitialEnvironmentVariable", &["value"]),
    ("jdk.InitialSecurityProperty", &["value"]),
    ("jdk.InitialSystemProperty", &["value"]),
    ("jdk.JVMInformation", &["jvmArguments", "jvmFlags", "javaArguments"]),
    ("jdk.SystemProcess", &["commandLine"]),
    ("profiler.ProcessSample", &["cmdLine"]),
];

/// Bytes of an event that is looked into, and of the types of a chunk. async-profiler's buffers have 64 KiB.
const LARGEST: u64 = 16 << 20;

/// Texts in one file: a JVM has hundreds of properties, a machine thousands of processes, sampled once in a while.
const MOST: usize = 1 << 18;

/// Bytes of a text to be blanked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    /// Where they begin in the file.
    pub at: u64,
    /// How many they are.
    pub length: u64,
}

/// Finds them in a JFR, in the order of the file.
///
/// # Errors
/// It is no JFR that can be read to its end, or a secret stands where it cannot be blanked.
pub fn find(input: &mut (impl Read + Seek)) -> Result<Vec<Secret>, JfrError> {
    let mut found = Vec::new();
    let mut start = 0;
    loop {
        input.seek(SeekFrom::Start(start)).map_err(JfrError::Read)?;
        let Some(header) = Header::next(input)? else {
            return Ok(found);
        };
        let first = start + Header::BYTES;
        let end = first.checked_add(header.rest).ok_or(JfrError::Cut)?;
        let metadata = first.checked_add(header.metadata as u64).ok_or(JfrError::Cut)?;
        let mut events = Events {
            input: BufReader::with_capacity(64 << 10, &mut *input),
            at: 0,
            end,
            compressed: header.compressed,
        };
        events.go(metadata)?;
        let types = match events.next()? {
            Some((METADATA, rest)) => events.content(rest)?,
            _ => return Err(JfrError::Metadata),
        };
        let described = metadata..events.at;
        let types = Types::read(Cursor::new(&types, header.compressed))?;
        let secret = secret_types(&types);
        events.go(first)?;
        while let Some((id, rest)) = events.next()? {
            match secret.get(&id) {
                Some(names) => {
                    let at = events.at;
                    let content = events.content(rest)?;
                    // Types that are described within an event would be blanked with it.
                    if at < described.end && described.start < events.at {
                        return Err(JfrError::Secret);
                    }
                    texts(&types, (id, names), &content, header.compressed, |from, length| {
                        found.push(Secret { at: at + from, length });
                    })?;
                    if found.len() > MOST {
                        return Err(JfrError::Count(found.len() as u64));
                    }
                }
                None => events.skip(rest)?,
            }
        }
        start = end;
    }
}

fn secret_types(types: &Types) -> HashMap<u64, &'static [&'static str], ahash::RandomState> {
    let secret = types.iter().filter_map(|(id, of_id)| {
        // What is the file's own is no event, whatever it is called.
        let (_, fields) = SECRET
            .iter()
            .filter(|_| id > CHECKPOINT)
            .find(|(name, _)| *name == of_id.name)?;
        Some((id, *fields))
    });
    secret.collect()
}

/// Tells where in the content of an event its secret texts are.
fn texts(
    types: &Types,
    (id, names): (u64, &[&str]),
    content: &[u8],
    compressed: bool,
    mut tell: impl FnMut(u64, u64),
) -> Result<(), JfrError> {
    let mut cursor = Cursor::new(content, compressed);
    let fields = types.get(id).map_or(&[][..], |of_id| &of_id.fields);
    for field in fields {
        let value = types.field(&mut cursor, field)?;
        if !names.contains(&field.name.as_str()) {
            continue;
        }
        match value {
            Value::Text(Text::Empty) => {}
            Value::Text(Text::Utf8(bytes) | Text::Latin1(bytes)) => {
                let end = content.len() - cursor.left();
                tell((end - bytes.len()) as u64, bytes.len() as u64);
            }
            // In a pool it might be a name of something else, too; async-profiler writes neither.
            Value::Text(Text::Utf16(..) | Text::Pooled(_)) | Value::Number(_) | Value::Other => {
                return Err(JfrError::Secret);
            }
        }
    }
    Ok(())
}

/// The events of a chunk, of which only the heads are read.
struct Events<R> {
    input: R,
    /// Where in the file the next byte comes from.
    at: u64,
    /// Where the chunk ends.
    end: u64,
    compressed: bool,
}

impl<R: Read + Seek> Events<BufReader<R>> {
    fn go(&mut self, to: u64) -> Result<(), JfrError> {
        if to > self.end {
            return Err(JfrError::Cut);
        }
        self.input.seek(SeekFrom::Start(to)).map_err(JfrError::Read)?;
        self.at = to;
        Ok(())
    }

    /// The type of the next event and the bytes of its content; `None` behind the last.
    fn next(&mut self) -> Result<Option<(u64, u64)>, JfrError> {
        if self.at == self.end {
            return Ok(None);
        }
        let begin = self.at;
        let size = self.number(4)?;
        let after = begin
            .checked_add(size)
            .filter(|after| *after <= self.end)
            .ok_or(JfrError::Cut)?;
        if after <= self.at {
            return Err(JfrError::EventSize);
        }
        let id = self.number(8)?;
        let rest = after.checked_sub(self.at).ok_or(JfrError::Cut)?;
        Ok(Some((id, rest)))
    }

    fn number(&mut self, width: usize) -> Result<u64, JfrError> {
        let mut bytes = [0; 9];
        let mut filled = 0;
        let most = if self.compressed { 9 } else { width };
        while filled < most {
            if self.at >= self.end {
                return Err(JfrError::Cut);
            }
            self.fill(&mut bytes[filled..=filled])?;
            filled += 1;
            if self.compressed && bytes[filled - 1] < 0x80 {
                break;
            }
        }
        if self.compressed {
            Cursor::new(&bytes[..filled], true).long()
        } else {
            Ok(big_endian(&bytes[..filled]))
        }
    }

    fn content(&mut self, length: u64) -> Result<Vec<u8>, JfrError> {
        let fits = usize::try_from(length).ok().filter(|_| length <= LARGEST);
        let mut content = vec![0; fits.ok_or(JfrError::EventSize)?];
        self.fill(&mut content)?;
        Ok(content)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), JfrError> {
        self.input.read_exact(bytes).map_err(cut)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<(), JfrError> {
        let by = i64::try_from(length).map_err(|_| JfrError::EventSize)?;
        self.input.seek_relative(by).map_err(JfrError::Read)?;
        self.at += length;
        Ok(())
    }
}

fn cut(error: std::io::Error) -> JfrError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => JfrError::Cut,
        _ => JfrError::Read(error),
    }
}

/// A copy of a file with asterisks in place of its secrets.
#[derive(Debug)]
pub struct Blanked<R> {
    input: R,
    at: u64,
    /// Those that are not behind us, in the order of the file.
    secrets: std::iter::Peekable<std::vec::IntoIter<Secret>>,
}

impl<R: Read> Blanked<R> {
    /// Of `input`, which is at its start and of which `secrets` were found.
    pub fn new(input: R, secrets: Vec<Secret>) -> Self {
        Self {
            input,
            at: 0,
            secrets: secrets.into_iter().peekable(),
        }
    }
}

impl<R: Read> Read for Blanked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        let (from, to) = (self.at, self.at + read as u64);
        while let Some(secret) = self.secrets.peek() {
            let end = secret.at + secret.length;
            let within = |at: u64| usize::try_from(at.clamp(from, to) - from).unwrap_or(read);
            if let Some(bytes) = buffer.get_mut(within(secret.at)..within(end)) {
                bytes.fill(b'*');
            }
            if end > to {
                break;
            }
            self.secrets.next();
        }
        self.at = to;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor as Bytes;

    use super::super::example::{chunk, cpu, event, everything, number, pools, property, text};
    use super::*;

    fn blanked(file: &[u8], step: usize) -> Result<Vec<u8>, JfrError> {
        let secrets = find(&mut Bytes::new(file))?;
        let mut copy = Blanked::new(file, secrets);
        let mut bytes = Vec::new();
        let mut buffer = vec![0; step];
        loop {
            match copy.read(&mut buffer).unwrap() {
                0 => return Ok(bytes),
                read => bytes.extend_from_slice(&buffer[..read]),
            }
        }
    }

    #[test]
    fn values_are_blanked_and_everything_else_is_as_it_was() {
        let of = |value: &str| {
            let first = [property("password", value), cpu(super::super::example::STACK), pools()];
            [chunk(&first), chunk(&[property("colour", "red"), pools()])].concat()
        };
        let file = of("hunter2");
        let expected = [of("*******")[..].to_vec()].concat();
        for step in [1, 3, 4096] {
            let blanked = blanked(&file, step).unwrap();
            assert_eq!(blanked.len(), file.len());
            assert!(!blanked.windows(7).any(|bytes| bytes == b"hunter2"));
            // The second chunk has a secret, too.
            let red = expected.windows(3).rposition(|bytes| bytes == b"red").unwrap();
            let mut expected = expected.clone();
            expected[red..red + 3].fill(b'*');
            assert_eq!(blanked, expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_file_without_secrets_stays_and_no_cut_one_is_taken() {
        let file = everything();
        assert_eq!(blanked(&file, 100).unwrap(), file);
        let file = chunk(&[property("password", "hunter2")]);
        for cut in 1..file.len() {
            assert!(find(&mut Bytes::new(&file[..cut])).is_err(), "{cut} bytes");
        }
    }

    #[test]
    fn a_secret_that_cannot_be_blanked_is_an_error_and_no_secret_kept() {
        let pooled = event(119, &[number(1), text("password"), vec![2, 7]].concat());
        assert!(matches!(find(&mut Bytes::new(chunk(&[pooled]))), Err(JfrError::Secret)));
        let none = event(119, &[number(1), text("password"), vec![0]].concat());
        assert_eq!(find(&mut Bytes::new(chunk(&[none]))).unwrap(), []);
    }
}
