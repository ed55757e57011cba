//! A perf map, which a JIT wrote, and addresses of code.

use sideflame::runtime::native::symbols::fuzz::perf_map;

use crate::{Seed, elf_symbols};

pub(crate) fn run(bytes: &[u8]) {
    let addresses: Vec<u64> = (0..64).map(|number| number * 0x40).chain([u64::MAX]).collect();
    let found = perf_map(bytes, &addresses);
    assert_eq!(found.len(), addresses.len());
    for frames in found.iter().filter(|frames| !frames.is_empty()) {
        elf_symbols::check(frames);
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("node", b"100 40 LazyCompile:*work /app/shop.js:3\n140 80 Builtin:ArrayMap\n".to_vec()),
        ("again", b"100 100 old\n180 40 void [Shop] Shop.Cart::Add(int32)[Optimized]\n0x200 0x20 _ZN1a1bEv\n".to_vec()),
        ("odd", b"\n100\n1 zz a\nffffffffffffffff 10 a\n\xff 1 1\n".to_vec()),
    ]
}
