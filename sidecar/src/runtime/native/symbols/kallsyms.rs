//! Names of the kernel's functions, by `/proc/kallsyms`.
//!
//! 10 MB of text, which is read once past the addresses that are asked for. A line is `ADDRESS TYPE name`, with `\t[module]` behind it for what is in a
//! module. The kernel sorts the modules apart from itself.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use super::frame::{Frame, Names};
use super::lines::each_line;

/// What stands for a function of the kernel whose name may not be seen.
const KERNEL: &str = "[kernel]";

/// A kernel has 300,000 symbols in 15 MB.
const LIMIT: u64 = 256 << 20;

/// How far behind the last symbol in front of it an address may be: the largest functions of the kernel have some 10 KB.
const FUNCTION: u64 = 1 << 20;

/// Where a function begins, its name and its module.
type Symbol = (u64, Arc<str>, Arc<str>);

/// The frames at each of the sorted `addresses`; [`KERNEL`] where names may not be seen.
pub(super) fn resolve(
    file: Option<impl Read>,
    addresses: &[u64],
    deadline: Instant,
    names: &mut Names,
) -> Vec<Vec<Frame>> {
    let mut nearest: Vec<Option<Symbol>> = vec![None; addresses.len()];
    let kernel = names.intern(KERNEL);
    if let Some(file) = file {
        each_line(file, LIMIT, deadline, |line| {
            let Some((start, name, module)) = parse(line) else {
                return true;
            };
            // The first address that it can be the name of; those behind it get it afterwards.
            let from = addresses.partition_point(|address| *address < start);
            let Some(slot) = nearest.get_mut(from) else {
                return true;
            };
            let is_far = addresses.get(from).is_none_or(|address| address - start > FUNCTION);
            if !is_far && slot.as_ref().is_none_or(|(known, ..)| *known < start) {
                let module = module.map_or_else(|| Arc::clone(&kernel), |module| names.intern(module));
                *slot = Some((start, names.intern(name), module));
            }
            true
        });
    }
    let mut last: Option<Symbol> = None;
    addresses
        .iter()
        .zip(nearest)
        .map(|(address, own)| {
            last = own.or_else(|| last.take());
            let near = last.as_ref().filter(|(start, ..)| address - start <= FUNCTION);
            let (name, module) = near.map_or((&kernel, &kernel), |(_, name, module)| (name, module));
            vec![Frame::plain(Arc::clone(name), Arc::clone(name), Arc::clone(module))]
        })
        .collect()
}

/// Address, name and `[module]` of a function; addresses that are kept secret are 0.
fn parse(line: &[u8]) -> Option<(u64, &str, Option<&str>)> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let (address, rest) = line.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ')?;
    let (name, module) = match rest.split_once('\t') {
        Some((name, module)) => (name, Some(module.trim())),
        None => (rest, None),
    };
    let address = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0)?;
    (matches!(kind, "t" | "T" | "w" | "W") && !name.is_empty()).then_some((address, name, module))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::profile::frame_name::is_unresolved;

    const SYMBOLS: &str = "ffffffff81000000 T _text\nffffffff81001000 T do_syscall_64\nffffffff81001000 t same_place\nffffffff82000000 D jiffies\n\
                           ffffffffc0001000 t nft_do_chain\t[nf_tables]\nffffffff81002000 W weak\nffffffff81002000 broken\n";

    fn named(file: Option<&[u8]>, addresses: &[u64]) -> Vec<(String, String)> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let frames = resolve(file, addresses, deadline, &mut Names::default());
        let pair = |frame: &Frame| (frame.name.to_string(), frame.module.to_string());
        frames.iter().flatten().map(pair).collect()
    }

    #[test]
    fn an_address_has_the_name_of_the_last_function_before_it() {
        let addresses = [
            0xffff_ffff_8000_0000,
            0xffff_ffff_8100_1000,
            0xffff_ffff_8100_1fff,
            0xffff_ffff_8100_2001,
            0xffff_ffff_8200_0010,
            0xffff_ffff_c000_1008,
        ];
        let found = named(Some(SYMBOLS.as_bytes()), &addresses);
        let expected = [
            ("[kernel]", "[kernel]"),
            ("do_syscall_64", "[kernel]"),
            ("do_syscall_64", "[kernel]"),
            ("weak", "[kernel]"),
            ("[kernel]", "[kernel]"),
            ("nft_do_chain", "[nf_tables]"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, module)| (name.to_owned(), module.to_owned()))
        );
    }

    #[test]
    fn a_kernel_that_keeps_its_addresses_secret_is_one_frame() {
        let hidden = "0000000000000000 T _text\n0000000000000000 t do_syscall_64\n".as_bytes();
        for file in [None, Some(hidden)] {
            let found = named(file, &[0xffff_ffff_8100_1000, 0xffff_ffff_8100_2000]);
            assert!(
                found.iter().all(|(name, _)| is_unresolved(name)) && found.len() == 2,
                "{found:?}"
            );
        }
    }
}
