use std::fs::File;
use std::io::Write;

use super::{BuildInfo, read};

/// Where the data segment of a forged executable is mapped and where it lies in the file.
const ADDRESS: u64 = 0x50_0000;
const OFFSET: u16 = 0x1000;

/// A 64-bit little-endian executable: two writable segments, `data` the second; section headers only if `named`.
fn elf(data: &[u8], named: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let names = b"\0.go.buildinfo\0.shstrtab\0";
    let sections_at = u64::from(OFFSET) + data.len() as u64 + names.len() as u64;
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let long = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    half(&mut file, 2); // ET_EXEC
    half(&mut file, 62); // EM_X86_64
    word(&mut file, 1);
    long(&mut file, 0);
    long(&mut file, 64); // program headers
    long(&mut file, if named { sections_at } else { 0 });
    word(&mut file, 0);
    for value in [64, 56, 2, 64, if named { 3 } else { 0 }, if named { 2 } else { 0 }] {
        half(&mut file, value);
    }
    // As in position-independent executables: what becomes read-only after relocation comes first.
    word(&mut file, 1); // PT_LOAD
    word(&mut file, 6); // writable, readable
    for value in [64, ADDRESS - 0x1000, ADDRESS - 0x1000, 112, 112, 0x1000] {
        long(&mut file, value);
    }
    word(&mut file, 1); // PT_LOAD
    word(&mut file, 6); // writable, readable
    for value in [
        OFFSET.into(),
        ADDRESS,
        ADDRESS,
        data.len() as u64,
        data.len() as u64,
        0x1000,
    ] {
        long(&mut file, value);
    }
    file.resize(usize::from(OFFSET), 0);
    file.extend(data);
    file.extend(names);
    if named {
        let mut section = |name: u32, kind: u32, address: u64, offset: u64, size: u64| {
            word(&mut file, name);
            word(&mut file, kind);
            for value in [0, address, offset, size] {
                long(&mut file, value);
            }
            word(&mut file, 0);
            word(&mut file, 0);
            long(&mut file, 1);
            long(&mut file, 0);
        };
        section(0, 0, 0, 0, 0);
        section(1, 1, ADDRESS, OFFSET.into(), data.len() as u64);
        section(15, 3, 0, u64::from(OFFSET) + data.len() as u64, names.len() as u64);
    }
    file
}

fn modules(lines: &str) -> Vec<u8> {
    [b"0123456789abcdef", lines.as_bytes(), b"fedcba9876543210"].concat()
}

fn length(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut left = bytes.len();
    while left >= 0x80 {
        encoded.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    encoded.push(u8::try_from(left).unwrap());
    encoded
}

/// Go 1.18 and later.
fn inline(version: &[u8], modules: &[u8]) -> Vec<u8> {
    let mut data = b"\xff Go buildinf:\x08\x02".to_vec();
    data.resize(32, 0);
    for string in [version, modules] {
        data.extend(length(string));
        data.extend(string);
    }
    data
}

fn info(bytes: &[u8]) -> Option<BuildInfo> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    read(&file)
}

fn shop() -> BuildInfo {
    BuildInfo {
        version: Some("go1.26.8".to_owned()),
        package: Some("example.test/shop/cmd/api".to_owned()),
        module: Some("example.test/shop".to_owned()),
    }
}

const SHOP: &str = "path\texample.test/shop/cmd/api\nmod\texample.test/shop\t(devel)\t\ndep\tother\tv1.0.0\t\n";

#[test]
fn strings_behind_the_header() {
    let data = inline(b"go1.26.8", &modules(SHOP));
    assert_eq!(info(&elf(&data, true)), Some(shop()));
}

#[test]
fn without_section_headers_the_data_segment_is_searched() {
    for padding in [0, 16, 4096, 65_536 - 16, 65_536, 200_000] {
        let mut data = vec![0x41; padding];
        data.extend(inline(b"go1.26.8", &modules(SHOP)));
        assert_eq!(info(&elf(&data, false)), Some(shop()), "{padding} bytes in front");
    }
}

#[test]
fn an_unaligned_magic_is_a_constant_of_the_program() {
    let mut data = vec![0x41; 8];
    data.extend(inline(b"go1.26.8", &modules(SHOP)));
    assert_eq!(info(&elf(&data, false)), None);
}

#[test]
fn a_magic_without_a_version_is_a_constant_too() {
    let mut data = b"\xff Go buildinf:\x08\x02".to_vec();
    data.resize(4096, 0x41);
    assert_eq!(info(&elf(&data, false)), None);
    // In the linker's own section it is Go, of whatever version.
    assert_eq!(info(&elf(&data, true)), Some(BuildInfo::default()));
}

#[test]
fn strings_behind_pointers_of_old_toolchains() {
    let modules = modules(SHOP);
    let mut data = b"\xff Go buildinf:\x08\x00".to_vec();
    let at = |offset: usize| (ADDRESS + offset as u64).to_le_bytes();
    data.extend(at(32));
    data.extend(at(48));
    data.extend(at(64));
    data.extend(6_u64.to_le_bytes());
    data.extend(at(80));
    data.extend((modules.len() as u64).to_le_bytes());
    data.extend(b"go1.17\0\0\0\0\0\0\0\0\0\0");
    data.extend(&modules);
    let expected = BuildInfo {
        version: Some("go1.17".to_owned()),
        ..shop()
    };
    assert_eq!(info(&elf(&data, true)), Some(expected.clone()));
    assert_eq!(info(&elf(&data, false)), Some(expected));
}

#[test]
fn experiments_are_not_part_of_the_version() {
    let version = |text: &[u8]| info(&elf(&inline(text, b""), true)).unwrap().version;
    assert_eq!(version(b"go1.27.3 X:jsonv2").as_deref(), Some("go1.27.3"));
    assert_eq!(
        version(b"devel go1.27-1a2b3c Fri Nov 20").as_deref(),
        Some("devel go1.27-1a2b3c Fri Nov 20")
    );
    assert_eq!(version(b"go1.26\x1b[31m"), None);
    assert_eq!(version(b"go1.26\xff"), None);
}

#[test]
fn a_long_module_list_is_not_read_to_its_end() {
    let long = SHOP.to_owned() + &"dep\texample.test/other\tv1.2.3\th1:abc=\n".repeat(20_000);
    assert_eq!(info(&elf(&inline(b"go1.26.8", &modules(&long)), true)), Some(shop()));
}

#[test]
fn no_truncation_panics_or_invents() {
    for named in [true, false] {
        let whole = elf(&inline(b"go1.26.8", &modules(SHOP)), named);
        for end in (0..256).chain(usize::from(OFFSET) - 8..whole.len()) {
            let found = info(&whole[..end]);
            let version = found.as_ref().and_then(|info| info.version.as_deref());
            assert!(version.is_none_or(|version| version == "go1.26.8"), "{end}: {found:?}");
        }
    }
}

#[test]
fn forged_counts_and_sizes_allocate_nothing() {
    let mut bytes = elf(&inline(b"go1.26.8", &modules(SHOP)), true);
    // e_phnum and e_shnum at their largest, in a sparse file of 1 TiB that would hold them.
    bytes[56..58].copy_from_slice(&0xffff_u16.to_le_bytes());
    bytes[60..62].copy_from_slice(&0xffff_u16.to_le_bytes());
    let file = tempfile::tempfile().unwrap();
    (&file).write_all(&bytes).unwrap();
    file.set_len(1 << 40).unwrap();
    let _ = read(&file);
    // A version of 2^62 bytes.
    let mut data = b"\xff Go buildinf:\x08\x02".to_vec();
    data.resize(32, 0);
    data.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]);
    assert_eq!(info(&elf(&data, true)), Some(BuildInfo::default()));
}

#[test]
fn our_own_executable_is_no_go_program_though_it_holds_the_magic() {
    assert_eq!(read(&File::open("/proc/self/exe").unwrap()), None);
}

#[test]
fn scripts_and_empty_files_are_not_go() {
    assert_eq!(info(b""), None);
    assert_eq!(info(b"#!/bin/sh\n"), None);
    assert_eq!(info(b"\x7fELF"), None);
}
