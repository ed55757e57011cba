//! A stack and the file whose tables say how to walk it: where the thread is, what lies above its stack pointer, the file.

use sideflame::runtime::native::sample::Registers;
use sideflame::runtime::native::unwind::fuzz::walk_in;
use sideflame::runtime::native::unwind::{DEEPEST, Walk};

use crate::{Seed, parts};

/// Where the file is mapped, and the stack.
const CODE: u64 = 0x5000_0000;
const STACK: u64 = 0x7FFF_0000;

pub(crate) fn run(bytes: &[u8]) {
    let [place, stack, file] = parts::split(bytes);
    let number = |at: usize| {
        place
            .get(at..at + 2)
            .map_or(0, |bytes| u64::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    let registers = Registers {
        ip: CODE + number(2),
        sp: STACK,
        fp: STACK + number(4),
        lr: CODE + number(6),
    };
    let Some((frames, end)) = walk_in(parts::file(file), (CODE, number(0)), (registers, stack)) else {
        return;
    };
    assert_eq!(frames.first(), Some(&registers.ip));
    assert!(frames.len() <= DEEPEST, "{}", frames.len());
    assert!(end == Walk::Cut || frames.len() < DEEPEST);
}

pub(crate) fn seeds() -> Vec<Seed> {
    let tables: &[u8] = include_bytes!("../../../sidecar/tests/data/elf/tables");
    let full: &[u8] = include_bytes!("../../../sidecar/tests/data/elf/full");
    let stack: Vec<u8> = (0..32_u64).flat_map(|at| (CODE + at * 0x10).to_le_bytes()).collect();
    let of = |offset: u16, ip: u16, file: &[u8]| {
        let place = [offset, ip, 0x40, 0].map(u16::to_le_bytes).concat();
        parts::join(&[&place, &stack, file])
    };
    vec![
        ("called", of(0, 0x181, tables)),
        ("outermost", of(0, 0x1b3, tables)),
        ("debug_frame", of(0, 0x100, full)),
        ("no_code_there", of(0xF000, 0x10, tables)),
    ]
}
