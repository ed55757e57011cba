//! Counts what a `profile.proto` holds while it streams by, without keeping it.
//!
//! Proves that the message is well-formed at the top level and yields the few numbers of the quality stamp. Knows no
//! HTTP and no gzip; the decoder in [`super::recording_check`] writes into it.

use std::io::{self, Write};

use crate::profile::format::pprof::proto::field::{DURATION_NANOS, PERIOD, SAMPLE};
use crate::profile::format::pprof::wire::{Content, Fields};
use crate::varint::{self, Varint};

/// Field number of `Sample.value`.
const SAMPLE_VALUE: u32 = 2;

/// Go's samples have at most 128 frames and a few labels; a larger one is skipped, not stored.
const SAMPLE_LIMIT: u64 = 64 << 10;

/// Decompressed bytes we look through: gzip can turn 1 MB into 1 GB, and no profile is that large.
const TOTAL_LIMIT: u64 = 1 << 30;

/// The numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ProfileFacts {
    /// Distinct stacks with their values.
    pub(super) stacks: u64,
    /// Sum of the first value of every sample: for CPU profiles the number of samples.
    pub(super) count: u64,
    /// Sampling interval in the unit of the period type; 0 when absent.
    pub(super) period: u64,
    /// What the runtime says about the length; 0 when absent.
    pub(super) duration_nanos: u64,
}

/// Where in the message we are.
#[derive(Debug, Clone, Copy)]
enum State {
    /// In a field's key.
    Key,
    /// In the value of a varint field.
    Value { field: u32 },
    /// In the length of a length-delimited field.
    Length { field: u32 },
    /// In bytes we collect for [`ProfileScan::finish_sample`].
    Sample { left: u64 },
    /// In bytes of no interest.
    Skip { left: u64 },
}

/// A sink for the bytes of one profile.
#[derive(Debug)]
pub(super) struct ProfileScan {
    facts: ProfileFacts,
    state: State,
    varint: Varint,
    sample: Vec<u8>,
    total: u64,
}

impl ProfileScan {
    /// Before the first byte.
    pub(super) fn new() -> Self {
        Self {
            facts: ProfileFacts::default(),
            state: State::Key,
            varint: Varint::default(),
            sample: Vec::new(),
            total: 0,
        }
    }

    /// The numbers, if the message ended where a field ends.
    pub(super) fn facts(&self) -> Option<ProfileFacts> {
        (matches!(self.state, State::Key) && self.varint.is_empty() && self.total > 0).then_some(self.facts)
    }

    fn key(&mut self, key: u64) -> io::Result<State> {
        let field = u32::try_from(key >> 3).map_err(|_| malformed("an absurd field number"))?;
        match (field, key & 7) {
            (0, _) => Err(malformed("field number 0")),
            (_, 0) => Ok(State::Value { field }),
            (_, 1) => Ok(State::Skip { left: 8 }),
            (_, 2) => Ok(State::Length { field }),
            (_, 5) => Ok(State::Skip { left: 4 }),
            _ => Err(malformed("an unknown wire type")),
        }
    }

    fn value(&mut self, field: u32, value: u64) {
        match field {
            PERIOD => self.facts.period = value,
            DURATION_NANOS => self.facts.duration_nanos = value,
            _ => {}
        }
    }

    fn length(&mut self, field: u32, length: u64) -> State {
        if field == SAMPLE {
            self.facts.stacks += 1;
        }
        match length {
            0 => State::Key,
            1..=SAMPLE_LIMIT if field == SAMPLE => State::Sample { left: length },
            _ => State::Skip { left: length },
        }
    }

    /// Adds the first value of the collected sample. A sample that cannot be read counts nothing: whoever renders
    /// the profile will say so.
    fn finish_sample(&mut self) {
        self.facts.count = self.facts.count.saturating_add(first_value(&self.sample).unwrap_or(0));
        self.sample.clear();
    }
}

impl Write for ProfileScan {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.total = self.total.saturating_add(bytes.len() as u64);
        if self.total > TOTAL_LIMIT {
            return Err(malformed("more than 1 GiB when decompressed"));
        }
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            match self.state {
                State::Sample { left } | State::Skip { left } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let (part, behind) = rest.split_at(here);
                    rest = behind;
                    let left = left - here as u64;
                    if matches!(self.state, State::Sample { .. }) {
                        self.sample.extend_from_slice(part);
                        self.state = State::Sample { left };
                        if left == 0 {
                            self.finish_sample();
                        }
                    } else {
                        self.state = State::Skip { left };
                    }
                    if left == 0 {
                        self.state = State::Key;
                    }
                }
                state => {
                    rest = &rest[1..];
                    let Some(number) = self
                        .varint
                        .push(*first)
                        .map_err(|error| malformed(&error.to_string()))?
                    else {
                        continue;
                    };
                    self.state = match state {
                        State::Value { field } => {
                            self.value(field, number);
                            State::Key
                        }
                        State::Length { field } => self.length(field, number),
                        _ => self.key(number)?,
                    };
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// `Sample.value[0]`, packed or not.
fn first_value(sample: &[u8]) -> Option<u64> {
    let mut fields = Fields::of(sample).map_while(Result::ok);
    fields.find_map(|field| match field {
        (SAMPLE_VALUE, Content::Varint(value)) => Some(value),
        (SAMPLE_VALUE, Content::Bytes(mut packed)) => varint::take(&mut packed),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{ProfileFacts, ProfileScan};

    /// Two samples (values 3 and 300, packed and not), a string, period 10,000,000, duration 2 s.
    fn profile() -> Vec<u8> {
        let mut bytes = vec![0x12, 7, 0x0a, 1, 1, 0x12, 2, 3, 30];
        bytes.extend([0x12, 5, 0x08, 1, 0x10, 0xac, 0x02]);
        bytes.extend([0x32, 3, b'c', b'p', b'u']);
        bytes.extend([0x50, 0x80, 0xa8, 0xd6, 0xb9, 0x07]);
        bytes.extend([0x60, 0x80, 0xad, 0xe2, 0x04]);
        bytes
    }

    const FACTS: ProfileFacts = ProfileFacts {
        stacks: 2,
        count: 303,
        period: 10_000_000,
        duration_nanos: 2_000_000_000,
    };

    fn scan(bytes: &[u8], chunk: usize) -> std::io::Result<Option<ProfileFacts>> {
        let mut scan = ProfileScan::new();
        for part in bytes.chunks(chunk) {
            scan.write_all(part)?;
        }
        Ok(scan.facts())
    }

    #[test]
    fn numbers_do_not_depend_on_how_the_bytes_arrive() {
        for chunk in 1..=profile().len() {
            assert_eq!(scan(&profile(), chunk).unwrap(), Some(FACTS), "chunks of {chunk}");
        }
    }

    #[test]
    fn a_message_cut_inside_a_field_has_no_facts() {
        let whole = profile();
        let ends_of_fields = [9, 16, 21, 27, 32];
        for end in 0..whole.len() {
            let facts = scan(&whole[..end], 4).unwrap();
            assert_eq!(facts.is_some(), ends_of_fields.contains(&end), "{end}");
        }
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        assert!(scan(&[0x00, 0x01], 1).is_err(), "field number 0");
        assert!(scan(&[0x0b], 1).is_err(), "group");
        assert!(scan(&[0xff; 12], 1).is_err(), "endless varint");
        assert!(scan(b"<html><body>", 1).is_err() || scan(b"<html><body>", 1).unwrap().is_none());
    }

    #[test]
    fn a_hostile_length_allocates_nothing() {
        let mut scan = ProfileScan::new();
        scan.write_all(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3])
            .unwrap();
        assert_eq!(scan.sample.capacity(), 0);
        assert_eq!(scan.facts(), None);
    }
}
