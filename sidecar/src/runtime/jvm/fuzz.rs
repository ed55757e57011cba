//! A door for `tests/fuzz` to the readers of performance data and of virtual threads. Only with the feature `fuzzing`.

use super::counters;
use super::hsperfdata::{self, PerfData, Value};
use super::virtual_dump;
use crate::profile::counter::CounterValue;

/// A file with these texts and numbers.
pub fn perf_data_file(texts: &[(&str, &str)], numbers: &[(&str, i64)]) -> Vec<u8> {
    let texts = texts.iter().map(|(name, text)| (*name, Value::Text(text)));
    let numbers = numbers.iter().map(|(name, number)| (*name, Value::Number(*number)));
    hsperfdata::example(&texts.chain(numbers).collect::<Vec<_>>())
}

/// What a file says; `None` if it is no performance data.
pub fn perf_data(bytes: &[u8]) -> Option<PerfData> {
    hsperfdata::parse(bytes)
}

/// What a file counts.
pub fn counted(bytes: &[u8]) -> Vec<CounterValue> {
    counters::values(bytes)
}

/// The text that is made of a file of virtual threads.
pub fn virtual_threads(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    // Memory takes all of it.
    let _ = virtual_dump::tell(bytes, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
