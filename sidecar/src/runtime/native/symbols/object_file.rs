//! The names that one file has for addresses within it, from all the tables that it may have.

use std::sync::Arc;

use super::demangle::demangle;
use super::dwarf;
use super::elf::functions::Functions;
use super::elf::symbol_table::{self, Symbol};
use super::elf::{Elf, Section, mini_debug_info, plt};
use super::frame::{Frame, Names};
use super::gopclntab::GoTable;
use super::source::Source;

/// The frames at each of `offsets` of the file; `None` if it is no ELF file.
pub(super) fn resolve(
    source: &Source,
    offsets: &[u64],
    module: &Arc<str>,
    names: &mut Names,
) -> Option<Vec<Vec<Frame>>> {
    let elf = Elf::parse(source)?;
    let mut wanted: Vec<(u64, usize)> = offsets
        .iter()
        .enumerate()
        .filter_map(|(number, offset)| Some((elf.address_of(*offset)?, number)))
        .collect();
    wanted.sort_unstable();
    let mut frames: Vec<Vec<Frame>> = vec![Vec::new(); offsets.len()];
    if let Some(table) = GoTable::find(source, &elf) {
        let mut asked = 0_u32;
        wanted.retain(|(address, number)| {
            asked += 1;
            if asked.is_multiple_of(256) && source.is_late() {
                return true;
            }
            match table.frames(source, &elf, *address, module, names) {
                Some(found) => {
                    frames[*number] = found;
                    false
                }
                None => true,
            }
        });
    }
    let addresses: Vec<u64> = wanted.iter().map(|(address, _)| *address).collect();
    let symbols = symbols(source, &elf, &addresses);
    let inlined = dwarf::resolve(source, &elf, &addresses);
    let functions = Functions::find(source, &elf);
    for (((address, number), symbol), calls) in wanted.iter().zip(symbols).zip(inlined) {
        let place = &mut frames[*number];
        *place = named(symbol, calls, module, names);
        // What was really called may have no name, though debug information names what was inlined into it.
        if place.last().is_none_or(|frame| frame.inlined) {
            // A function is one frame, not one for each of its instructions.
            let start = functions.as_ref().and_then(|functions| functions.start(*address));
            place.push(Frame::without_symbol(module, start.unwrap_or(*address), names));
        }
    }
    for (place, offset) in frames.iter_mut().zip(offsets) {
        if place.is_empty() {
            place.push(Frame::without_symbol(module, *offset, names));
        }
    }
    Some(frames)
}

/// By the tables of the file, the most complete one first.
fn symbols(source: &Source, elf: &Elf, addresses: &[u64]) -> Vec<Option<String>> {
    let mut found: Vec<Option<String>> = vec![None; addresses.len()];
    let kind = |kind: u32| elf.sections.iter().find(move |section| section.kind == kind);
    for table in [object::elf::SHT_SYMTAB.0, object::elf::SHT_DYNSYM.0] {
        if let Some(table) = kind(table) {
            fill(&mut found, addresses, |missing| from_table(source, elf, table, missing));
        }
    }
    fill(&mut found, addresses, |missing| plt::resolve(source, elf, missing));
    fill(&mut found, addresses, |missing| {
        let Some(packed) = mini_debug_info::unpack(source, elf) else {
            return Vec::new();
        };
        let inner = Elf::parse(&packed);
        let table = inner.as_ref().and_then(|inner| {
            let table = inner
                .sections
                .iter()
                .find(|section| section.kind == object::elf::SHT_SYMTAB.0)?;
            Some((inner, table))
        });
        table.map_or_else(Vec::new, |(inner, table)| from_table(&packed, inner, table, missing))
    });
    found
}

fn from_table(source: &Source, elf: &Elf, table: &Section, addresses: &[u64]) -> Vec<Option<String>> {
    let symbols = symbol_table::resolve(source, elf, table, addresses);
    symbols
        .into_iter()
        .map(|symbol| symbol.map(|Symbol { name }| name))
        .collect()
}

/// Asks for those that are missing only.
fn fill(found: &mut [Option<String>], addresses: &[u64], ask: impl FnOnce(&[u64]) -> Vec<Option<String>>) {
    let (missing, numbers): (Vec<u64>, Vec<usize>) = addresses
        .iter()
        .zip(0..)
        .filter(|(_, number)| found.get(*number).is_some_and(Option::is_none))
        .unzip();
    if missing.is_empty() {
        return;
    }
    for (number, name) in numbers.into_iter().zip(ask(&missing)) {
        if let Some(place) = found.get_mut(number) {
            *place = name;
        }
    }
}

/// A symbol and what debug information says of the same address; without the function that was really called, if none names it.
fn named(symbol: Option<String>, calls: Vec<dwarf::Call>, module: &Arc<str>, names: &mut Names) -> Vec<Frame> {
    let symbol = symbol.filter(|name| !name.is_empty());
    let last = calls.len().saturating_sub(1);
    let mut frames: Vec<Frame> = Vec::with_capacity(calls.len().max(1));
    for (number, call) in calls.into_iter().enumerate() {
        // The function that was really called has a symbol, which is the better name: debug information of C++ may lack the
        // linker's name, and that of assembler any.
        let own = if number == last { symbol.as_deref() } else { None };
        let Some(name) = own.or(call.name.as_deref()).filter(|name| !name.is_empty()) else {
            continue;
        };
        frames.push(Frame {
            name: names.intern(&demangle(name)),
            system_name: names.intern(name),
            file: call.file.map(|file| names.intern(&file)),
            line: call.line,
            start_line: 0,
            inlined: number != last,
            module: Arc::clone(module),
        });
    }
    if let Some(name) = symbol.filter(|_| frames.is_empty()) {
        frames.push(Frame::plain(
            names.intern(&demangle(&name)),
            names.intern(&name),
            Arc::clone(module),
        ));
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made of `shop.cc` beside them by g++ with `-O1 -nostdlib -static`: with debug information, with packed one, without, and with a packed
    /// symbol table.
    const FILES: [(&str, &[u8]); 4] = [
        ("full", include_bytes!("../../../../tests/data/elf/full")),
        ("packed", include_bytes!("../../../../tests/data/elf/packed")),
        ("symbols", include_bytes!("../../../../tests/data/elf/symbols")),
        ("mini", include_bytes!("../../../../tests/data/elf/mini")),
    ];

    fn frames(bytes: &[u8], offsets: &[u64]) -> Option<Vec<Vec<Frame>>> {
        let mut names = Names::default();
        let module = names.intern("shop");
        resolve(&Source::example(bytes.to_vec()), offsets, &module, &mut names)
    }

    /// Names, with the line where one is known.
    fn shown(bytes: &[u8], offset: u64) -> Vec<String> {
        let found = frames(bytes, &[offset]).unwrap().remove(0);
        let row = |frame: Frame| match frame.file {
            Some(file) => format!("{} {file}:{}", frame.name, frame.line),
            None => frame.name.to_string(),
        };
        found.into_iter().map(row).collect()
    }

    #[test]
    fn each_table_of_a_file_gives_names() {
        for (name, bytes) in FILES {
            // A call that was inlined in a loop.
            let inlined = shown(bytes, 0xfb);
            if ["full", "packed"].contains(&name) {
                let expected = [
                    "shop::twice(int) /build/shop.cc:5",
                    "shop::Cart::add(int) /build/shop.cc:8",
                ];
                assert_eq!(inlined, expected, "{name}");
            } else {
                assert_eq!(inlined, ["shop::Cart::add(int)"], "{name}");
            }
            let start = shown(bytes, 0x110);
            assert!(start.len() == 1 && start[0].starts_with("_start"), "{name} {start:?}");
            // Assembler: no type, no size, up to the next symbol.
            assert_eq!(shown(bytes, 0xea), ["spin"], "{name}");
            // No code.
            assert_eq!(shown(bytes, 0x20), ["[shop+0x400020]"], "{name}");
            assert_eq!(shown(bytes, 1 << 40), ["[shop+0x10000000000]"], "{name}");
        }
    }

    #[test]
    fn a_call_without_a_name_is_not_taken_for_the_one_that_was_inlined_into_it() {
        let call = |name: &str| dwarf::Call {
            name: Some(name.to_owned()).filter(|name| name != "none"),
            file: None,
            line: 5,
        };
        let mut names = Names::default();
        let module = names.intern("shop");
        for outermost in ["none", ""] {
            let frames = named(None, vec![call("twice"), call(outermost)], &module, &mut names);
            assert!(frames.len() == 1 && frames[0].inlined, "{frames:?}");
        }
        let frames = named(
            Some("add".to_owned()),
            vec![call("twice"), call("none")],
            &module,
            &mut names,
        );
        assert_eq!((&*frames[1].name, frames[1].inlined), ("add", false));
    }

    #[test]
    fn a_file_that_ends_anywhere_is_no_harm() {
        let offsets: Vec<u64> = (0..0x130).collect();
        for (_, bytes) in FILES {
            for length in (0..bytes.len()).step_by(7) {
                if let Some(found) = frames(&bytes[..length], &offsets) {
                    assert!(found.iter().all(|frames| !frames.is_empty()));
                }
            }
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let (_, bytes) = FILES[3];
        let mut bomb = bytes.to_vec();
        // Each piece of LZMA2 says how long it becomes; some say too much.
        let at = memchr::memmem::find(&bomb, b"\xfd7zXZ").unwrap();
        for place in at + 12..bomb.len().min(at + 200) {
            let kept = bomb[place];
            for value in [0, 0x7f, 0x80, 0xff] {
                bomb[place] = value;
                frames(&bomb, &[0xfb, 0x110]).unwrap();
            }
            bomb[place] = kept;
        }
    }
}
