//! An executable in which Go's build information is looked for.

use sideflame::runtime::go::fuzz::build_info;

use crate::{Seed, parts};

pub(crate) fn run(bytes: &[u8]) {
    let Some([version, package, module]) = build_info(&parts::file(bytes)) else {
        return;
    };
    for text in [&version, &package, &module].into_iter().flatten() {
        assert!(text.len() <= 512 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
    }
}

const ADDRESS: u64 = 0x50_0000;
const OFFSET: u64 = 176;

/// A 64-bit little-endian executable with one writable segment, and section headers only if `named`.
fn elf(data: &[u8], named: bool) -> Vec<u8> {
    let names = b"\0.go.buildinfo\0.shstrtab\0";
    let names_at = OFFSET + data.len() as u64;
    let sections_at = names_at + names.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    let longs = |file: &mut Vec<u8>, values: &[u64]| file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    longs(&mut file, &[0, 64, if named { sections_at } else { 0 }]);
    let (count, index) = if named { (3, 2) } else { (0, 0) };
    let halves: [u16; 8] = [0, 0, 64, 56, 2, 64, count, index];
    file.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    for (size, address) in [(0, ADDRESS - 0x1000), (data.len() as u64, ADDRESS)] {
        file.extend(b"\x01\0\0\0\x06\0\0\0");
        longs(&mut file, &[OFFSET, address, address, size, size, 0x1000]);
    }
    file.extend(data);
    file.extend(names);
    if named {
        let mut section = |name: u32, kind: u32, values: [u64; 4]| {
            file.extend(name.to_le_bytes());
            file.extend(kind.to_le_bytes());
            longs(&mut file, &values);
            longs(&mut file, &[0, 1, 0]);
        };
        section(0, 0, [0; 4]);
        section(1, 1, [0, ADDRESS, OFFSET, data.len() as u64]);
        section(15, 3, [0, 0, names_at, names.len() as u64]);
    }
    file
}

/// Build information of Go 1.18 and later.
fn inline() -> Vec<u8> {
    let mut data = b"\xff Go buildinf:\x08\x02".to_vec();
    data.resize(32, 0);
    let modules = b"0123456789abcdefpath\texample.test/shop/api\nmod\texample.test/shop\t(devel)\t\nfedcba9876543210";
    for text in [b"go1.26.8".as_slice(), modules] {
        data.push(u8::try_from(text.len()).unwrap());
        data.extend(text);
    }
    data
}

/// Of older ones: pointers to strings behind it.
fn pointers() -> Vec<u8> {
    let mut data = b"\xff Go buildinf:\x08\0".to_vec();
    for value in [ADDRESS + 32, ADDRESS + 48, ADDRESS + 64, 8, ADDRESS + 72, 50] {
        data.extend(value.to_le_bytes());
    }
    data.extend(b"go1.16.5");
    data.extend(b"0123456789abcdefpath\tshop\nmod\tshop\tv1\nfedcba98765432");
    data
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("inline-named", elf(&inline(), true)),
        ("inline", elf(&inline(), false)),
        ("pointers-named", elf(&pointers(), true)),
        ("pointers", elf(&pointers(), false)),
        ("32-bit", b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0\0\0\0\0\x34\0\0\0\0\0\0\0\0\0\0\0\x34\0\x20\0\x01\0\x28\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x50\0\0\0\x50\0\x40\0\0\0\x40\0\0\0\x06\0\0\0\0\x10\0\0".to_vec()),
    ]
}
