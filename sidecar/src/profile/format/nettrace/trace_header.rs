//! The first block: facts about the whole trace.
//!
//! Called by [`super::decoder`], and by the recorder, which takes the sampling interval from it.

use super::cursor::Cursor;

/// What a trace says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceHeader {
    /// When it began, nanoseconds after the Unix epoch; 0 if the date is none.
    pub unix_nanoseconds: u64,
    /// The same moment in ticks.
    pub start: u64,
    /// Ticks in a second; never 0.
    pub frequency: u64,
    /// Bytes of an address: 4 or 8.
    pub pointer_size: usize,
    /// Process id; a trace of version 6 may be of several processes and have none.
    pub process: Option<u64>,
    /// Interval of the runtime's sample profiler in nanoseconds, 0 if not told.
    pub sampling_nanoseconds: u64,
}

impl TraceHeader {
    /// Reads the content of the block; `None` if it is none.
    pub fn read(version: u32, content: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(content);
        let mut header = Self {
            unix_nanoseconds: unix_nanoseconds(&mut cursor)?,
            start: cursor.u64()?,
            frequency: cursor.u64().filter(|&frequency| frequency > 0)?,
            pointer_size: cursor.size().filter(|size| matches!(size, 4 | 8))?,
            ..Self::default()
        };
        if version < 6 {
            header.process = cursor.u32().map(u64::from);
            cursor.u32()?;
            header.sampling_nanoseconds = u64::from(cursor.u32()?);
        } else {
            for _ in 0..cursor.u32()? {
                let (key, value) = (cursor.utf8()?, cursor.utf8()?);
                match key.as_ref() {
                    "ProcessId" => header.process = value.parse().ok(),
                    "ExpectedCPUSamplingRate" => header.sampling_nanoseconds = value.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
        Some(header)
    }

    /// Ticks as nanoseconds.
    pub fn nanoseconds(&self, ticks: u64) -> u64 {
        const SECOND: u64 = 1_000_000_000;
        if self.frequency == SECOND {
            return ticks;
        }
        let nanoseconds = u128::from(ticks) * u128::from(SECOND) / u128::from(self.frequency.max(1));
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }
}

/// Windows' SYSTEMTIME. By the civil calendar's days: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn unix_nanoseconds(cursor: &mut Cursor<'_>) -> Option<u64> {
    let mut part = || cursor.u16().map(u64::from);
    let (year, month, _, day) = (part()?, part()?, part()?, part()?);
    let (hour, minute, second, millisecond) = (part()?, part()?, part()?, part()?);
    let sane = (1970..=2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sane || hour > 23 || minute > 59 || second > 60 || millisecond > 999 {
        return Some(0);
    }
    // Years begin in March, so that a leap day is their last.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some((seconds * 1000 + millisecond) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::nettrace::example::trace_start;

    #[test]
    fn both_layouts_are_read() {
        let mut four = trace_start();
        for word in [8_u32, 4711, 2, 1_000_000] {
            four.extend(word.to_le_bytes());
        }
        let header = TraceHeader::read(4, &four).unwrap();
        // date -u -d '2026-11-26 12:00:00' +%s
        assert_eq!(header.unix_nanoseconds, 1_795_694_400_250_000_000);
        assert_eq!((header.start, header.frequency), (5_000, 1_000_000_000));
        assert_eq!((header.pointer_size, header.process), (8, Some(4711)));
        assert_eq!(header.sampling_nanoseconds, 1_000_000);
        let mut six = trace_start();
        six.extend([4, 0, 0, 0, 1, 0, 0, 0]);
        six.extend(b"\x09ProcessId\x0217");
        let header = TraceHeader::read(6, &six).unwrap();
        assert_eq!((header.pointer_size, header.process), (4, Some(17)));
        for (version, bytes) in [(4, four), (6, six)] {
            for end in 0..bytes.len() {
                assert_eq!(TraceHeader::read(version, &bytes[..end]), None, "{version} {end}");
            }
        }
    }

    #[test]
    fn absurd_facts_are_refused_or_not_said() {
        let with = |at: usize, word: u32| {
            let mut bytes = trace_start();
            for word in [8_u32, 4711, 2, 0] {
                bytes.extend(word.to_le_bytes());
            }
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            TraceHeader::read(4, &bytes)
        };
        assert_eq!(with(32, 5), None, "pointers of 5 bytes");
        let still = TraceHeader::read(4, &[&[0; 32][..], &[8, 0, 0, 0], &[0; 12]].concat());
        assert_eq!(still, None, "a clock that stands still");
        assert_eq!(with(0, 1).unwrap().unix_nanoseconds, 0, "the year 1");
    }

    #[test]
    fn dates_survive_leap_days() {
        let at = |year: u16, month: u16, day: u16| {
            let bytes: Vec<u8> = [year, month, 0, day, 0, 0, 0, 0]
                .iter()
                .flat_map(|part| part.to_le_bytes())
                .collect();
            unix_nanoseconds(&mut Cursor::new(&bytes)).unwrap() / 1_000_000_000 / 86_400
        };
        assert_eq!((at(1970, 1, 1), at(2000, 2, 29), at(2000, 3, 1)), (0, 11_016, 11_017));
        assert_eq!(at(2024, 12, 31), 20_088);
    }
}
