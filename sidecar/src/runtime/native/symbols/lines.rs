//! Lines of a text that may be long, grow while it is read, and have no ends.

use std::io::{BufRead, BufReader, Read};
use std::time::Instant;

/// Longest line that is given as a whole; of a longer one the rest is left out.
const LINE: u64 = 4096;

/// Gives `take` the lines of the first `limit` bytes, with their ends, until it answers false, the input fails or it is after `deadline`.
pub(super) fn each_line(input: impl Read, limit: u64, deadline: Instant, mut take: impl FnMut(&[u8]) -> bool) {
    let mut lines = BufReader::with_capacity(64 << 10, input.take(limit));
    let mut line = Vec::new();
    for number in 0_u64.. {
        if number % 4096 == 0 && Instant::now() > deadline {
            return;
        }
        line.clear();
        match lines.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let is_cut = line.last() != Some(&b'\n') && line.len() as u64 == LINE;
        if is_cut && lines.skip_until(b'\n').is_err() || !take(&line) {
            return;
        }
    }
}
