//! Reads recorded counters: a line per value.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use crate::profile::counter::CounterValue;

/// A line has a name, a unit and tags of at most some KiB each.
const MAX_LINE: u64 = 64 << 10;
/// Counters; more are the fault of tags.
const MOST: usize = 10_000;
/// Values that are kept of all counters.
const MOST_VALUES: usize = 1 << 20;

/// The bytes are no counters.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// The input fails.
    #[error("the recording cannot be read")]
    Read(#[source] io::Error),
    /// A line is none of ours.
    #[error("line {0} is no value of a counter")]
    Malformed(usize),
    /// Too much.
    #[error("more than {MOST} counters or {MOST_VALUES} values")]
    TooMany,
}

/// A counter with its values, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The last of them.
    pub last: CounterValue,
    /// Milliseconds after the Unix epoch, and the number.
    pub values: Vec<(u64, f64)>,
}

/// All counters of a recording, in the order in which they came.
///
/// # Errors
/// It is malformed or too large.
pub fn read(input: impl Read) -> Result<Vec<Series>, CountersError> {
    let mut input = BufReader::new(input);
    let mut all: Vec<Series> = Vec::new();
    let mut places: HashMap<(String, String, String), Vec<usize>> = HashMap::new();
    let mut line = Vec::new();
    let mut values = 0;
    for number in 1.. {
        line.clear();
        let length = (&mut input).take(MAX_LINE).read_until(b'\n', &mut line);
        if length.map_err(CountersError::Read)? == 0 {
            break;
        }
        let value: CounterValue = serde_json::from_slice(&line).map_err(|_| CountersError::Malformed(number))?;
        values += 1;
        let key = (value.provider.clone(), value.name.clone(), value.tags.clone());
        let places = places.entry(key).or_default();
        let known = places.iter().copied().find(|&place| all[place].last.continues(&value));
        let at = (value.at_ms, value.value);
        if values > MOST_VALUES || (known.is_none() && all.len() >= MOST) {
            return Err(CountersError::TooMany);
        }
        match known {
            Some(place) => {
                all[place].last = value;
                all[place].values.push(at);
            }
            None => {
                places.push(all.len());
                all.push(Series {
                    last: value,
                    values: vec![at],
                });
            }
        }
    }
    Ok(all)
}
