//! Calls into other libraries: `memcpy@plt`.
//!
//! Linkers lay such entries out in several ways, so none is assumed: the jump of the entry itself says which slot it goes by, and a
//! relocation which function belongs into it.

use object::elf;

use super::super::source::{Source, u32_at};
use super::{Elf, relocations};

const NAME_LIMIT: usize = 4 << 10;

/// Bytes of the longest entry (aarch64 with branch protection); they are aligned by 16, or 8.
const ENTRY: usize = 24;

/// The names of the sorted `addresses` that lie in such entries.
pub(in super::super) fn resolve(source: &Source, elf: &Elf, addresses: &[u64]) -> Vec<Option<String>> {
    let mut names = vec![None; addresses.len()];
    let mut slots: Vec<(u64, usize)> = addresses
        .iter()
        .enumerate()
        .filter_map(|(number, address)| Some((slot_of(source, elf, *address)?, number)))
        .collect();
    if slots.is_empty() {
        return names;
    }
    slots.sort_unstable();
    relocations::each(source, elf, |section, relocation| {
        let from = slots.partition_point(|(slot, _)| *slot < relocation.address);
        for (slot, number) in slots.get(from..).unwrap_or_default() {
            if *slot != relocation.address {
                break;
            }
            if let Some(name) = symbol_name(source, elf, section.link, relocation.symbol)
                && let Some(place) = names.get_mut(*number)
            {
                *place = Some(format!("{name}@plt"));
            }
        }
        true
    });
    names
}

fn symbol_name(source: &Source, elf: &Elf, table: u32, symbol: u32) -> Option<String> {
    let table = elf.sections.get(table as usize).filter(|_| symbol != 0)?;
    let strings = elf.sections.get(table.link as usize)?;
    let row = table.offset.checked_add(u64::from(symbol) * 24)?;
    let name = strings.offset.checked_add(source.u32(row)?.into())?;
    let name = source.text(name, NAME_LIMIT)?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
}

/// The slot that the entry around `address` jumps by.
fn slot_of(source: &Source, elf: &Elf, address: u64) -> Option<u64> {
    let section = elf.sections.iter().find(|section| {
        section.is_code() && section.name.starts_with(".plt") && section.addresses().contains(&address)
    })?;
    let by = |start: u64, within: u64| {
        let mut code = [0; ENTRY];
        let left = usize::try_from(section.addresses().end - start).unwrap_or(usize::MAX);
        let code = code.get_mut(..left.min(ENTRY))?;
        source.read(elf.offset_of(start)?, code).ok()?;
        match elf::Machine(elf.machine) {
            elf::EM_X86_64 => x86_64(start, code, within),
            elf::EM_AARCH64 => aarch64(start, code),
            _ => None,
        }
    };
    let distance = address - section.address;
    if elf::Machine(elf.machine) == elf::EM_AARCH64 {
        // Of four or six instructions, and `address` may be any of them.
        return (0..6).find_map(|back| by(section.address + (distance & !3).checked_sub(back * 4)?, 0));
    }
    // `.plt.got` has entries of 8 bytes; of 16 the second half has no such jump.
    [8, 16]
        .into_iter()
        .find_map(|bytes| by(address - distance % bytes, bytes))
}

/// `jmp *slot(%rip)`, also behind `endbr64` or `bnd`.
fn x86_64(start: u64, code: &[u8], within: u64) -> Option<u64> {
    let jump = memchr::memmem::find(code, b"\xff\x25")?;
    // It must begin in this entry.
    if jump as u64 >= within {
        return None;
    }
    let distance = code.get(jump + 2..jump + 6)?;
    let distance = i32::from_le_bytes(distance.try_into().ok()?);
    start
        .checked_add(jump as u64 + 6)?
        .checked_add_signed(i64::from(distance))
}

/// `adrp x16, page; ldr x17, [x16, #offset]`.
fn aarch64(start: u64, code: &[u8]) -> Option<u64> {
    let (at, adrp) = code
        .chunks_exact(4)
        .enumerate()
        .map(|(at, word)| (at, u32_at(word, 0)))
        .take(2)
        .find(|(_, word)| word & 0x9f00_001f == 0x9000_0010)?;
    // Behind another instruction than `bti c` it is the next entry's.
    if at == 1 && u32_at(code, 0) != 0xd503_245f {
        return None;
    }
    let load = u32_at(code, (at + 1) * 4);
    if load & 0xffc0_03ff != 0xf940_0211 {
        return None;
    }
    let pages = ((adrp >> 29) & 3) | ((adrp >> 3) & 0x1f_fffc);
    // 21 bits with a sign.
    let pages = i64::from(pages.cast_signed() << 11 >> 11);
    let here = start.checked_add(at as u64 * 4)? & !0xfff;
    let offset = u64::from((load >> 10) & 0xfff) * 8;
    here.checked_add_signed(pages * 4096)?.checked_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_of_x86_say_their_slot() {
        let lazy = [
            0xff, 0x25, 0xe2, 0x2f, 0, 0, 0x68, 0, 0, 0, 0, 0xe9, 0xe0, 0xff, 0xff, 0xff,
        ];
        assert_eq!(x86_64(0x1030, &lazy, 16), Some(0x1036 + 0x2fe2));
        let protected = [
            0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25, 0xfc, 0xff, 0xff, 0xff, 0x66, 0x0f, 0x1f, 0x44, 0, 0,
        ];
        assert_eq!(x86_64(0x1030, &protected, 16), Some(0x103a - 4));
        assert_eq!(x86_64(0x1030, &[0x90; 16], 16), None);
        assert_eq!(x86_64(0x1030, &lazy[..4], 16), None);
    }

    #[test]
    fn jumps_of_arm_say_their_slot() {
        // adrp x16, 0x20000; ldr x17, [x16, #24]; add x16, x16, #24; br x17
        let entry: [u32; 4] = [0x9000_0110, 0xf940_0e11, 0x9100_6210, 0xd61f_0220];
        let bytes: Vec<u8> = entry.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(aarch64(0x5a0, &bytes), Some(0x20018));
        // bti c in front of it.
        let protected: Vec<u8> = 0xd503_245f_u32.to_le_bytes().into_iter().chain(bytes).collect();
        assert_eq!(aarch64(0x5a0, &protected), Some(0x20018));
    }
}
