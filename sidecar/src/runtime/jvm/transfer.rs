//! Moves a recording out of the target, checks that it is whole, and brings its numbers to one unit.
//!
//! The file belongs to the application: it is read once, in pieces, and never trusted. Knows the two formats
//! async-profiler writes; must not know how they came to be. Called by the recorder.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use crate::profile::format::jfr::secrets::{self, Blanked};
use crate::profile::survivors;
use crate::runtime::RecordError;

/// Big enough that a recording of a few megabytes takes a few dozen system calls.
const CHUNK: usize = 256 * 1024;

/// What happens to the number at the end of each collapsed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scale {
    /// Stays.
    Keep,
    /// Becomes a number of samples.
    Divide(u64),
}

impl Scale {
    fn apply(self, value: u64) -> u64 {
        match self {
            Self::Keep => value,
            Self::Divide(by) => value.checked_div(by).unwrap_or(value),
        }
    }
}

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Bytes read from the target.
    pub bytes: u64,
    /// Sum of the numbers as async-profiler wrote them; 0 for a JFR.
    pub sum: u64,
}

fn broken(detail: impl Into<String>) -> RecordError {
    RecordError::Protocol {
        step: "read the recording".to_owned(),
        detail: detail.into(),
    }
}

/// Streams `file`, exactly as long as it is now, through `each`.
fn stream(file: &mut File, each: impl FnMut(&[u8]) -> Result<(), RecordError>) -> Result<u64, RecordError> {
    let length = length_of(file)?;
    stream_of(file, length, each)?;
    Ok(length)
}

fn length_of(file: &File) -> Result<u64, RecordError> {
    Ok(file.metadata().map_err(|error| broken(error.to_string()))?.len())
}

fn stream_of(
    file: &mut impl Read,
    length: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let mut chunk = vec![0; CHUNK];
    let mut left = length;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        match file.read(&mut chunk[..want]) {
            Ok(0) => return Err(broken(format!("it was cut {left} bytes before its end"))),
            Ok(count) => {
                each(&chunk[..count])?;
                left -= count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error.to_string())),
        }
    }
    Ok(())
}

fn store(output: &mut dyn Write, bytes: &[u8]) -> Result<(), RecordError> {
    output
        .write_all(bytes)
        .map_err(|error| RecordError::io("store the recording", &error))
}

/// Moves collapsed text.
///
/// # Errors
/// [`RecordError::Protocol`] if the last line is cut; [`RecordError::StoreFull`].
pub fn collapsed(file: &mut File, scale: Scale, output: &mut dyn Write) -> Result<Moved, RecordError> {
    let mut lines = Lines::new(scale);
    let mut out = Vec::with_capacity(CHUNK + CHUNK / 8);
    let bytes = stream(file, |chunk| {
        out.clear();
        lines.feed(chunk, &mut out);
        store(output, &out)
    })?;
    if !lines.complete() {
        return Err(broken("its last line is cut"));
    }
    Ok(Moved { bytes, sum: lines.sum })
}

/// Rewrites the number after the last blank of each line, across the borders of chunks.
#[derive(Debug)]
struct Lines {
    scale: Scale,
    /// Digits after the last blank; held back until it is known whether they are the count.
    digits: Vec<u8>,
    /// True right after a blank or a digit of that number.
    in_number: bool,
    at_start: bool,
    sum: u64,
}

/// Digits of `u64::MAX`.
const LONGEST_NUMBER: usize = 20;

impl Lines {
    fn new(scale: Scale) -> Self {
        Self {
            scale,
            digits: Vec::new(),
            in_number: false,
            at_start: true,
            sum: 0,
        }
    }

    fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for &byte in chunk {
            self.at_start = false;
            match byte {
                b' ' => {
                    self.flush(out);
                    out.push(byte);
                    self.in_number = true;
                }
                b'0'..=b'9' if self.in_number && self.digits.len() < LONGEST_NUMBER => self.digits.push(byte),
                b'\n' => match self.number() {
                    Some(value) => {
                        self.sum = self.sum.saturating_add(value);
                        out.extend_from_slice(self.scale.apply(value).to_string().as_bytes());
                        out.push(b'\n');
                        self.digits.clear();
                        self.in_number = false;
                        self.at_start = true;
                    }
                    // A thread or class may have a line feed in its name; the format has no way to say so.
                    None => {
                        self.flush(out);
                        out.push(b' ');
                    }
                },
                _ => {
                    self.flush(out);
                    out.push(byte);
                }
            }
        }
    }

    fn number(&self) -> Option<u64> {
        std::str::from_utf8(&self.digits).ok()?.parse().ok()
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.digits);
        self.in_number = false;
    }

    fn complete(&self) -> bool {
        self.at_start
    }
}

/// Joins two collapsed texts of the same session, the numbers of sampled survivors and the sums of their sizes, to what
/// they stand for. See [`crate::profile::survivors`].
///
/// # Errors
/// [`RecordError::Protocol`] if a line is cut or the two do not belong together; [`RecordError::StoreFull`].
pub fn survivors(counts: &File, sizes: &File, interval: u64, output: &mut dyn Write) -> Result<Moved, RecordError> {
    let (mut counts, mut sizes) = (Stacks::of(counts)?, Stacks::of(sizes)?);
    let mut moved = Moved {
        bytes: counts.length + sizes.length,
        sum: 0,
    };
    loop {
        match (counts.next()?, sizes.next()?) {
            (None, None) => return Ok(moved),
            (Some((mut stack, samples)), Some((same, bytes))) if stack == same => {
                moved.sum = moved.sum.saturating_add(samples);
                let weight = survivors::weight(samples, bytes, interval);
                stack.extend_from_slice(format!(" {weight}\n").as_bytes());
                store(output, &stack)?;
            }
            _ => return Err(broken("its numbers and its sizes are not of the same session")),
        }
    }
}

/// The lines of a collapsed text as stacks with their numbers.
struct Stacks<'a> {
    reader: BufReader<std::io::Take<&'a File>>,
    length: u64,
}

impl<'a> Stacks<'a> {
    fn of(file: &'a File) -> Result<Self, RecordError> {
        let length = file.metadata().map_err(|error| broken(error.to_string()))?.len();
        Ok(Self {
            reader: BufReader::with_capacity(CHUNK, file.take(length)),
            length,
        })
    }

    fn next(&mut self) -> Result<Option<(Vec<u8>, u64)>, RecordError> {
        // 2048 frames with names of 8 KiB.
        const LONGEST: u64 = 16 << 20;
        let mut line = Vec::new();
        loop {
            let room = LONGEST - line.len() as u64;
            let read = (&mut self.reader).take(room).read_until(b'\n', &mut line);
            match read.map_err(|error| broken(error.to_string()))? {
                0 if line.is_empty() => return Ok(None),
                _ if line.pop() != Some(b'\n') => return Err(broken("its last line is cut")),
                _ => {}
            }
            let blank = line.iter().rposition(|byte| *byte == b' ').unwrap_or_default();
            let digits = line
                .get(blank + 1..)
                .filter(|digits| digits.iter().all(u8::is_ascii_digit));
            let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            if let Some(number) = number {
                line.truncate(blank);
                return Ok(Some((line, number)));
            }
            // A thread or class may have a line feed in its name; the format has no way to say so.
            line.push(b' ');
        }
    }
}

/// Size of a JFR chunk's header: magic, version, size, two offsets, four times, features.
const JFR_HEADER: u64 = 68;

/// Moves a JFR, with its secrets if `keep_secrets`, else with asterisks in their place.
///
/// # Errors
/// [`RecordError::Protocol`] if its chunks do not add up to the file, that is, if it was cut, or its secrets cannot be
/// told from the rest; [`RecordError::StoreFull`].
pub fn jfr(file: &mut File, keep_secrets: bool, output: &mut dyn Write) -> Result<Moved, RecordError> {
    let bytes = length_of(file)?;
    expect_whole_chunks(bytes, |header, offset| file.read_exact_at(header, offset))?;
    let found = if keep_secrets {
        Ok(Vec::new())
    } else {
        secrets::find(file)
    };
    let found = found.map_err(|error| broken(format!("{error}; secrets=keep takes it as it is")))?;
    file.rewind().map_err(|error| broken(error.to_string()))?;
    stream_of(&mut Blanked::new(file, found), bytes, |chunk| store(output, chunk))?;
    Ok(Moved { bytes, sum: 0 })
}

/// A JFR file is a row of chunks, each of which begins with its size, written when the chunk is finished.
fn expect_whole_chunks(
    length: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> std::io::Result<()>,
) -> Result<(), RecordError> {
    let mut offset = 0;
    while offset < length || offset == 0 {
        let mut header = [0; 16];
        read_at(&mut header, offset).map_err(|_| broken("a chunk of the JFR has no header"))?;
        if &header[..4] != b"FLR\0" {
            return Err(broken("a chunk of the JFR does not begin with its magic"));
        }
        let size = header[8..]
            .iter()
            .fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        if size < JFR_HEADER || size > length - offset {
            return Err(broken(format!(
                "a chunk of the JFR says {size} bytes, {} are there",
                length - offset
            )));
        }
        offset += size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(text: &[u8], scale: Scale, step: usize) -> (Vec<u8>, Lines) {
        let mut lines = Lines::new(scale);
        let mut out = Vec::new();
        for chunk in text.chunks(step) {
            lines.feed(chunk, &mut out);
        }
        (out, lines)
    }

    const TEXT: &[u8] = b"main;a.b_[j] 30000000\n[worker 7 tid=12];lambda 1;c_[k] 10000000\n";

    #[test]
    fn numbers_change_and_names_with_blanks_do_not_wherever_a_chunk_ends() {
        for step in 1..TEXT.len() {
            let (out, lines) = scaled(TEXT, Scale::Divide(10_000_000), step);
            assert_eq!(out, b"main;a.b_[j] 3\n[worker 7 tid=12];lambda 1;c_[k] 1\n", "{step}");
            assert!(lines.complete());
            assert_eq!(lines.sum, 40_000_000);
        }
        assert_eq!(scaled(TEXT, Scale::Keep, 7).0, TEXT);
    }

    #[test]
    fn every_truncation_within_a_line_is_incomplete() {
        for end in 1..TEXT.len() {
            let whole = TEXT[end - 1] == b'\n';
            assert_eq!(scaled(&TEXT[..end], Scale::Keep, 3).1.complete(), whole, "{end}");
        }
        assert!(scaled(b"", Scale::Keep, 1).1.complete());
    }

    fn joined(counts: &[u8], sizes: &[u8]) -> Result<(String, Moved), RecordError> {
        let file = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            file
        };
        let mut out = Vec::new();
        let moved = survivors(&file(counts), &file(sizes), 1000, &mut out)?;
        Ok((String::from_utf8(out).unwrap(), moved))
    }

    #[test]
    fn survivors_weigh_what_their_samples_stand_for() {
        let counts = b"main;a;byte[]_[i] 3\nmain;b;byte[]_[i] 1\n[t 1];odd\nname;x 2\n";
        let sizes = b"main;a;byte[]_[i] 30\nmain;b;byte[]_[i] 100000\n[t 1];odd\nname;x 2\n";
        let (text, moved) = joined(counts, sizes).unwrap();
        let expected = "main;a;byte[]_[i] 3015\nmain;b;byte[]_[i] 100000\n[t 1];odd name;x 2001\n";
        assert_eq!(text, expected);
        assert_eq!((moved.sum, moved.bytes), (6, (counts.len() + sizes.len()) as u64));
        assert_eq!(joined(b"", b"").unwrap().0, "");
    }

    #[test]
    fn numbers_and_sizes_of_two_sessions_are_no_recording() {
        for (counts, sizes) in [
            ("a 1\n", "b 1\n"),
            ("a 1\n", "a 1\nb 1\n"),
            ("a 1\nb 1\n", "a 1\n"),
            ("a 1", "a 1"),
            ("a 1\n", "a 1"),
            ("a 1\nb\n", "a 1\nb\n"),
        ] {
            assert!(
                joined(counts.as_bytes(), sizes.as_bytes()).is_err(),
                "{counts:?} {sizes:?}"
            );
        }
    }

    #[test]
    fn a_line_feed_in_a_name_becomes_a_blank() {
        assert_eq!(
            scaled(b"[evil\nname tid=3];a 5\n", Scale::Keep, 1).0,
            b"[evil name tid=3];a 5\n"
        );
    }

    #[test]
    fn an_endless_number_is_text() {
        let (out, lines) = scaled(b"a 999999999999999999999999\nb 1\n", Scale::Keep, 4);
        assert_eq!(out, b"a 999999999999999999999999 b 1\n");
        assert_eq!(lines.sum, 1);
    }

    fn chunk(size: u64) -> Vec<u8> {
        let mut bytes = b"FLR\0\0\x02\0\x01".to_vec();
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.resize(usize::try_from(size).unwrap(), 0);
        bytes
    }

    fn whole(bytes: &[u8]) -> bool {
        expect_whole_chunks(bytes.len() as u64, |header, offset| {
            let from = usize::try_from(offset).unwrap();
            header.copy_from_slice(
                bytes
                    .get(from..from + header.len())
                    .ok_or(std::io::ErrorKind::UnexpectedEof)?,
            );
            Ok(())
        })
        .is_ok()
    }

    #[test]
    fn a_jfr_is_whole_exactly_when_its_chunks_fill_it() {
        let two = [chunk(100), chunk(70)].concat();
        assert!(whole(&two));
        for end in 0..two.len() {
            assert_eq!(whole(&two[..end]), end == 100, "{end}");
        }
        assert!(!whole(&chunk(100)[..68]));
    }

    #[test]
    fn a_jfr_chunk_of_size_zero_does_not_loop() {
        let mut bytes = chunk(100);
        bytes[8..16].fill(0);
        assert!(!whole(&bytes));
        bytes[8..16].fill(0xff);
        assert!(!whole(&bytes));
    }
}
