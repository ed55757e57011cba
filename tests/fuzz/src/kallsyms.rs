//! The kernel's symbols; modules choose some of the names.

use sideflame::runtime::native::symbols::fuzz::kallsyms;

use crate::{Seed, elf_symbols};

pub(crate) fn run(bytes: &[u8]) {
    let addresses: Vec<u64> = (0..64).map(|number| 0x1000 + number * 0x100).chain([u64::MAX]).collect();
    let found = kallsyms(bytes, &addresses);
    assert_eq!(found.len(), addresses.len());
    found.iter().for_each(|frames| elf_symbols::check(frames));
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        ("kernel", b"1000 T _text\n1100 T do_syscall_64\n1100 t other\n2000 D jiffies\n3000 t nft_do_chain\t[nf_tables]\n".to_vec()),
        ("secret", b"0000000000000000 T _text\n0000000000000000 t do_syscall_64\n".to_vec()),
        ("odd", b"1000\n1000 T\n1000 T \nzz T a\n\xff T b\n".to_vec()),
    ]
}
