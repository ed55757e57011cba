//! A door for `tests/fuzz` to the reader of performance data. Only with the feature `fuzzing`.

use super::hsperfdata::{self, PerfData};

/// What a file says; `None` if it is no performance data.
pub fn perf_data(bytes: &[u8]) -> Option<PerfData> {
    hsperfdata::parse(bytes)
}
