//! Reads async-profiler's collapsed output: `root;caller;leaf 12`, one distinct stack per line.
//!
//! Frames may carry async-profiler's annotations (`ann`), and the root may be its thread frame (`threads`). Called by the
//! renderer; it must not know what was recorded, the caller says so with [`CollapsedValues`].

use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroU64;

use crate::format::RecordingKind;
use crate::profile::builder::{ModelError, ProfileBuilder};
use crate::profile::format::{ReadError, ReadOptions, Reader};
use crate::profile::hidden_class::Names;
use crate::profile::model::{FrameKind, Label, LabelValue, LocationId, Profile, ValueType};
use crate::profile::modified_utf8;
use crate::profile::quality::{Clock, Quality};
use crate::profile::strings::StringId;

/// Longest line. 16,000 frames of 500 bytes.
const MAX_LINE: u64 = 8 << 20;
/// Longest name of a frame. A name is repeated in every stack of the output, so it multiplies.
const MAX_NAME: usize = 16 << 10;

/// What the number at the end of a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollapsedValues {
    /// What it measures, e.g. `cpu` in `nanoseconds` or `alloc_space` in `bytes`.
    pub value: ValueType,
    /// If set, the number counts samples, each worth this much; the profile then has two values, `samples/count` and
    /// [`Self::value`]. If not, the number is the value.
    pub interval: Option<NonZeroU64>,
}

impl CollapsedValues {
    /// What a recorder that fills [`Quality`] as design §4 says has written: samples for `cpu` and `wall`, else totals in
    /// the unit of the interval. Types are named as Go names them, so that pprof's tools know them.
    pub fn of(quality: &Quality) -> Self {
        let unit = match quality.interval_unit.as_str() {
            "" => "count",
            unit => unit,
        };
        let clock = match quality.clock {
            Some(Clock::Cpu) => "cpu",
            Some(Clock::Wall) => "wall",
            Some(Clock::None) | None => "",
        };
        if !clock.is_empty() && unit == "nanoseconds" {
            let value = ValueType::new(clock, unit);
            return match NonZeroU64::new(quality.interval) {
                interval @ Some(_) => Self { value, interval },
                None => Self {
                    value: ValueType::new("samples", "count"),
                    interval: None,
                },
            };
        }
        let name = match (quality.event.as_deref().unwrap_or("samples"), unit) {
            ("alloc", "bytes") => "alloc_space",
            ("heap", "bytes") => "inuse_space",
            ("lock", "nanoseconds") => "delay",
            (_, "count") if !clock.is_empty() => "samples",
            (event, _) => event,
        };
        Self {
            value: ValueType::new(name, unit),
            interval: None,
        }
    }

    fn sample_types(&self) -> Vec<ValueType> {
        match self.interval {
            Some(_) => vec![ValueType::new("samples", "count"), self.value.clone()],
            None => vec![self.value.clone()],
        }
    }

    fn of_count(&self, count: i64) -> Result<([i64; 2], usize), ModelError> {
        let Some(interval) = self.interval else {
            return Ok(([count, 0], 1));
        };
        let interval = i64::try_from(interval.get()).map_err(|_| ModelError::Overflow)?;
        let value = count.checked_mul(interval).ok_or(ModelError::Overflow)?;
        Ok(([count, value], 2))
    }
}

/// The text is no whole collapsed recording.
#[derive(Debug, thiserror::Error)]
pub enum CollapsedError {
    /// The input could not be read.
    #[error("the recording cannot be read")]
    Read(#[source] io::Error),
    /// The last line has no end.
    #[error("the recording is cut off in line {line}")]
    Truncated {
        /// Counted from 1.
        line: u64,
    },
    /// A line of absurd length.
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    LineTooLong {
        /// Counted from 1.
        line: u64,
    },
    /// No line ends in a count.
    #[error("not collapsed stacks: no line is `frame;frame count`")]
    NotCollapsed,
    /// It does not fit the model.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The reader of collapsed stacks.
#[derive(Debug)]
pub struct Collapsed;

impl Reader for Collapsed {
    fn kind(&self) -> RecordingKind {
        RecordingKind::Collapsed
    }

    /// Nearly all lines end in a count, and one has several frames or one in brackets: `word 12` alone is much else.
    fn recognises(&self, head: &[u8]) -> bool {
        let whole = head
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(head, |end| &head[..=end]);
        if head.iter().any(|&byte| byte < b'\t') {
            return false;
        }
        let text = String::from_utf8_lossy(whole);
        let lines = text.lines().filter(|line| !line.is_empty());
        let (mut all, mut good, mut stacks) = (0_usize, 0_usize, 0_usize);
        for line in lines {
            let frames = split_count(line)
                .map(|(frames, _)| frames)
                .filter(|frames| !frames.is_empty());
            if all == 0 && frames.is_none() {
                return false;
            }
            all += 1;
            good += usize::from(frames.is_some());
            stacks += usize::from(frames.is_some_and(|frames| frames.contains(';') || frames.starts_with('[')));
        }
        all == 0 || stacks > 0 && good * 10 >= all * 9
    }

    fn read(&self, input: &mut dyn Read, options: &ReadOptions) -> Result<Profile, ReadError> {
        let input = BufReader::with_capacity(1 << 18, input);
        Ok(read(input, &options.collapsed, options.names)?)
    }
}

/// Reads a whole recording. Lines that are none are counted in [`Profile::skipped_lines`]: a class name may contain a line
/// break, and one such class must not cost the profile.
///
/// # Errors
/// The text is cut, is something else, or is too large.
pub fn read(mut input: impl BufRead, values: &CollapsedValues, names: Names) -> Result<Profile, CollapsedError> {
    let mut builder = ProfileBuilder::new(values.sample_types())?;
    builder.names = names;
    builder.profile.period_type = Some(values.value.clone());
    let interval = values.interval.map_or(0, NonZeroU64::get);
    builder.profile.period = i64::try_from(interval).unwrap_or_default();
    let keys = [builder.string("thread")?, builder.string("tid")?];
    let (mut bytes, mut stack, mut number, mut understood) = (Vec::new(), Vec::new(), 0, false);
    loop {
        bytes.clear();
        number += 1;
        let read = input
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut bytes)
            .map_err(CollapsedError::Read)?;
        if read == 0 {
            break;
        }
        if bytes.pop() != Some(b'\n') {
            let whole = u64::try_from(read).is_ok_and(|read| read < MAX_LINE);
            return Err(if whole {
                CollapsedError::Truncated { line: number }
            } else {
                CollapsedError::LineTooLong { line: number }
            });
        }
        let text = modified_utf8::decode(&bytes);
        let text = text.trim_end_matches('\r');
        if text.is_empty() {
            continue;
        }
        let Some((frames, count)) = split_count(text) else {
            builder.profile.skipped_lines += 1;
            continue;
        };
        understood = true;
        let (values, width) = values.of_count(count)?;
        stack.clear();
        match split_thread(frames) {
            Some((thread, rest)) => {
                let labels = thread.labels(&mut builder, keys)?;
                push_frames(&mut builder, rest, &mut stack)?;
                stack.push(builder.frame(thread.frame, FrameKind::Thread)?);
                builder.sample(&stack, &values[..width], &labels)?;
            }
            None => {
                push_frames(&mut builder, Some(frames), &mut stack)?;
                builder.sample(&stack, &values[..width], &[])?;
            }
        }
    }
    if builder.profile.skipped_lines > 0 && !understood {
        return Err(CollapsedError::NotCollapsed);
    }
    Ok(builder.finish())
}

fn split_count(line: &str) -> Option<(&str, i64)> {
    let (frames, count) = line.rsplit_once(' ')?;
    // `parse` alone would take `-1` and `+1`.
    if !count.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((frames, count.parse().ok()?))
}

fn push_frames(
    builder: &mut ProfileBuilder,
    frames: Option<&str>,
    stack: &mut Vec<LocationId>,
) -> Result<(), ModelError> {
    for frame in frames.into_iter().flat_map(|frames| frames.rsplit(';')) {
        if frame.len() > MAX_NAME {
            return Err(ModelError::TooLarge {
                what: "bytes in one frame's name",
                limit: MAX_NAME,
            });
        }
        let (name, kind) = split_annotation(frame);
        stack.push(builder.frame(name, kind)?);
    }
    Ok(())
}

/// async-profiler's `ann` marks every frame but those of native code; `_[1]` is C1's code, compiled like any other.
fn split_annotation(frame: &str) -> (&str, FrameKind) {
    let kind = match frame.as_bytes() {
        [.., b'_', b'[', kind, b']'] => match kind {
            b'0' => FrameKind::Interpreted,
            b'j' | b'1' => FrameKind::Jit,
            b'i' => FrameKind::Inlined,
            b'k' => FrameKind::Kernel,
            _ => return (frame, FrameKind::Native),
        },
        _ => return (frame, FrameKind::Native),
    };
    (&frame[..frame.len() - "_[j]".len()], kind)
}

struct Thread<'a> {
    frame: &'a str,
    name: &'a str,
    tid: i64,
}

impl Thread<'_> {
    fn labels(&self, builder: &mut ProfileBuilder, keys: [StringId; 2]) -> Result<[Label; 2], ModelError> {
        let name = LabelValue::Text(builder.string(self.name)?);
        let tid = LabelValue::Number(self.tid, StringId::default());
        Ok([
            Label {
                key: keys[0],
                value: name,
            },
            Label {
                key: keys[1],
                value: tid,
            },
        ])
    }
}

/// Splits `[name tid=123]` from the rest of the stack. A thread's name may contain `;` and async-profiler writes it as it
/// is, so the frame ends where its tid does.
fn split_thread(frames: &str) -> Option<(Thread<'_>, Option<&str>)> {
    if !frames.starts_with('[') {
        return None;
    }
    for (at, _) in frames.match_indices("tid=") {
        let name = &frames[1..at];
        if !(name.is_empty() || name.ends_with(' ')) || name.len() > MAX_NAME {
            continue;
        }
        let digits_at = at + "tid=".len();
        let digits = frames[digits_at..].bytes().take_while(u8::is_ascii_digit).count();
        let end = digits_at + digits;
        let Ok(tid) = frames[digits_at..end].parse() else {
            continue;
        };
        let Some(rest) = frames[end..].strip_prefix(']') else {
            continue;
        };
        let rest = match rest.strip_prefix(';') {
            Some(rest) => Some(rest),
            None if rest.is_empty() => None,
            None => continue,
        };
        let frame = &frames[..=end];
        let name = match name.trim() {
            "" => frame,
            name => name,
        };
        return Some((Thread { frame, name, tid }, rest));
    }
    None
}

#[cfg(test)]
mod tests;
