//! A door for `tests/fuzz` to the reader of performance data. Only with the feature `fuzzing`.

use super::hsperfdata::{self, PerfData};

/// A file with these texts.
pub fn perf_data_file(texts: &[(&str, &str)]) -> Vec<u8> {
    hsperfdata::example(texts)
}

/// What a file says; `None` if it is no performance data.
pub fn perf_data(bytes: &[u8]) -> Option<PerfData> {
    hsperfdata::parse(bytes)
}
