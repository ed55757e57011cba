//! A Go program without section headers: its table is searched, and what it says is read.

use sideflame::runtime::native::symbols::fuzz::object_file;

use crate::{Seed, elf_symbols, parts};

pub(crate) fn run(bytes: &[u8]) {
    // The input is what follows the headers, so that nearly all of them have a table.
    let file = elf(bytes);
    let offsets: Vec<u64> = (0..0x80).map(|number| CODE + number).collect();
    let found = object_file(parts::file(&file), &offsets).unwrap();
    assert_eq!(found.len(), offsets.len());
    found.iter().for_each(|frames| elf_symbols::check(frames));
}

/// Where the code would be; nothing reads it.
const CODE: u64 = 0x1000;
const CODE_ADDRESS: u64 = 0x40_1000;
/// Where the data are.
const DATA: u64 = 176;
const DATA_ADDRESS: u64 = 0x50_00b0;

/// A segment of code and one of `data`.
fn elf(data: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    let longs = |file: &mut Vec<u8>, values: &[u64]| file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    longs(&mut file, &[0, 64, 0]);
    let halves: [u16; 8] = [0, 0, 64, 56, 2, 0, 0, 0];
    file.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    let size = data.len() as u64;
    for (flags, values) in [
        (5_u32, [CODE, CODE_ADDRESS, CODE_ADDRESS, 0x100, 0x100, 0x1000]),
        (6, [DATA, DATA_ADDRESS, DATA_ADDRESS, size, size, 0x1000]),
    ] {
        file.extend(1_u32.to_le_bytes());
        file.extend(flags.to_le_bytes());
        longs(&mut file, &values);
    }
    file.extend(data);
    file
}

/// A table of two functions, with a call that was inlined into the first, and the module data that lead to it; `magic` is of 1.18 or of 1.20.
fn table(magic: u8) -> Vec<u8> {
    let is_new = magic == 0xf1;
    let mut data = vec![magic, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    let longs = |data: &mut Vec<u8>, values: &[u64]| data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let words = |data: &mut Vec<u8>, values: &[u32]| data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    // Names at 72, units at 104, files at 112, values at 120, rows at 144.
    longs(&mut data, &[2, 1, CODE_ADDRESS, 72, 104, 112, 120, 144]);
    data.extend(b"main.main\0main.work\0main.inlined\0");
    data.resize(104, 0);
    words(&mut data, &[0, 0]);
    data.extend(b"shop.go\0");
    // From 120: nothing; the file 0 for 64 bytes; the lines 10 and 12; the inlined call 0 between.
    data.extend([0, 2, 0x40, 0, 22, 0x20, 4, 0x20, 0, 0, 0x10, 2, 0x10, 1, 0x20, 0]);
    data.resize(144, 0);
    let first = 2 * 8 + 4;
    let length: u32 = if is_new { 72 } else { 68 };
    words(&mut data, &[0, first, 0x40, first + length, 0x80]);
    for (entry, name, tree) in [(0, 0, 0), (0x40, 10, u32::MAX)] {
        // entry, name, args, deferreturn, sp, file, line, values, unit
        words(&mut data, &[entry, name, 0, 0, 0, 1, 4, 3, 0]);
        if is_new {
            words(&mut data, &[9]);
        }
        data.extend([0, 0, 0, 4]);
        words(&mut data, &[0, 0, 9, u32::MAX, u32::MAX, u32::MAX, tree]);
    }
    data.resize(data.len().next_multiple_of(8), 0);
    let tree_at = DATA_ADDRESS + data.len() as u64;
    let tree: &[u32] = if is_new { &[0, 20, 4, 30] } else { &[0, 0, 0, 20, 4] };
    words(&mut data, tree);
    data.resize(data.len().next_multiple_of(8), 0);
    let mut module = [0; 48];
    module[0] = DATA_ADDRESS;
    module[1] = DATA_ADDRESS + 72;
    module[22] = CODE_ADDRESS;
    module[if is_new { 40 } else { 38 }] = tree_at;
    longs(&mut data, &module);
    data
}

/// A table of Go 1.2 with one function.
fn old() -> Vec<u8> {
    let mut data = b"\xfb\xff\xff\xff\0\0\x01\x08".to_vec();
    let longs = |data: &mut Vec<u8>, values: &[u64]| data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    longs(&mut data, &[1, CODE_ADDRESS, 48, CODE_ADDRESS + 0x80]);
    data.resize(48, 0);
    data[40..44].copy_from_slice(&120_u32.to_le_bytes());
    longs(&mut data, &[CODE_ADDRESS]);
    for field in [100_u32, 0, 0, 0, 112, 115, 0, 0] {
        data.extend(field.to_le_bytes());
    }
    data.resize(100, 0);
    data.extend(b"main.main\0\0\0");
    data.extend([4, 0x7f, 0, 22, 0x7f, 0, 0, 0]);
    data.extend([1, 0, 0, 0, 128, 0, 0, 0]);
    data.extend(b"shop.go\0");
    data
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![("go1.20", table(0xf1)), ("go1.18", table(0xf0)), ("go1.2", old())]
}
