//! Spends CPU time in a known split, 60/30/10, over three functions, called by way of a trait object and a closure.

use std::hint::black_box;
use std::io::Write;

/// A chain of dependent operations: bound by latency, so each inlined copy runs equally fast.
#[inline(always)]
fn spin(mut x: u64, rounds: u64) -> u64 {
    for _ in 0..rounds {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

mod shop {
    #[inline(never)]
    pub fn sixty(x: u64, unit: u64) -> u64 {
        super::spin(x, 6 * unit)
    }

    #[inline(never)]
    pub fn thirty(x: u64, unit: u64) -> u64 {
        super::spin(x, 3 * unit)
    }

    #[inline(never)]
    pub fn ten(x: u64, unit: u64) -> u64 {
        super::spin(x, unit)
    }
}

trait Work {
    fn round(&self, x: u64, unit: u64) -> u64;
}

struct Split;

impl Work for Split {
    #[inline(never)]
    fn round(&self, x: u64, unit: u64) -> u64 {
        black_box(shop::ten(shop::thirty(shop::sixty(x, unit), unit), unit))
    }
}

fn main() {
    println!("ready {}", std::process::id());
    std::io::stdout().flush().unwrap();
    let work: Box<dyn Work> = black_box(Box::new(Split));
    let round = |x, unit| black_box(work.round(x, unit));
    let mut x = 1;
    for i in (0..51).cycle() {
        x = black_box(round(x, 3_750_000 + i * 7 % 51 * 50_000));
    }
}
