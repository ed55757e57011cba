//! Names of code that was made while the program ran: `/tmp/perf-PID.map`, which JITs write (Linux, `tools/perf/Documentation/jit-interface.txt`).
//!
//! A line is `START SIZE name`, in hexadecimal. The file may be long: it goes by once, and only lines around an address that is asked for are kept.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use super::demangle::demangle;
use super::frame::{Frame, Names};
use super::lines::each_line;

/// Bytes that are read; a JVM writes 20 MB, a Node server that runs for days more.
const LIMIT: u64 = 512 << 20;

/// How often lines may cover addresses in all.
const MATCHES: usize = 32 << 20;

/// The frames at each of the sorted `addresses`; none where the map has no line.
pub(super) fn resolve(file: impl Read, addresses: &[u64], deadline: Instant, names: &mut Names) -> Vec<Vec<Frame>> {
    let mut found: Vec<Option<Arc<str>>> = vec![None; addresses.len()];
    let mut left = MATCHES;
    each_line(file, LIMIT, deadline, |line| {
        let Some((start, end, name)) = parse(line) else {
            return true;
        };
        let from = addresses.partition_point(|address| *address < start);
        let inside = addresses.get(from..).unwrap_or_default();
        let inside = inside.partition_point(|address| *address < end);
        if inside == 0 {
            return true;
        }
        let Some(rest) = left.checked_sub(inside) else {
            return false;
        };
        left = rest;
        // What was written later is there now.
        let name = names.intern(name);
        for slot in found.iter_mut().skip(from).take(inside) {
            *slot = Some(Arc::clone(&name));
        }
        true
    });
    let module = names.intern("[jit]");
    found
        .into_iter()
        .map(|name| {
            let frame = name.map(|name| {
                let shown = match method_of(&name) {
                    Some(method) => names.intern(&method),
                    None => names.intern(&demangle(&name)),
                };
                Frame::plain(shown, name, Arc::clone(&module))
            });
            frame.into_iter().collect()
        })
        .collect()
}

/// `Shop.Cart.Add` of `int32 [Shop] Shop.Cart::Add(int32)[OptimizedTier1]`, as CoreCLR writes methods; `None` of any other name.
fn method_of(name: &str) -> Option<String> {
    let (_, tier) = name.strip_suffix(']')?.rsplit_once(")[")?;
    if !tier.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (_, rest) = name.split_once(" [")?;
    let (_, rest) = rest.split_once("] ")?;
    let (of, rest) = rest.split_once("::")?;
    let (method, _) = rest.split_once('(')?;
    Some(format!("{of}.{method}"))
}

/// First address, the one behind the last, and name.
fn parse(line: &[u8]) -> Option<(u64, u64, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let (start, rest) = line.trim().split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let start = number(start)?;
    let end = start.checked_add(number(size)?)?;
    let name = name.trim();
    (end > start && !name.is_empty()).then_some((start, end, name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn named(map: impl Read, addresses: &[u64]) -> Vec<Option<String>> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let frames = resolve(map, addresses, deadline, &mut Names::default());
        let name = |frames: &Vec<Frame>| frames.first().map(|frame| frame.name.to_string());
        frames.iter().map(name).collect()
    }

    #[test]
    fn a_method_of_core_clr_is_called_as_in_its_own_profiles() {
        for (written, method) in [
            (
                "int64 [Shop] Demo.Shop.Split::Sixty(int64,int32)[QuickJitted]",
                Some("Demo.Shop.Split.Sixty"),
            ),
            (
                "instance void [Shop] Demo.Shop.Split::Cpu()[OptimizedTier1OSR]",
                Some("Demo.Shop.Split.Cpu"),
            ),
            (
                "instance !1& [System.Private.CoreLib] System.Collections.Generic.Dictionary`2[System.__Canon,System.__Canon]::FindValue(!0)[PreJIT]",
                Some("System.Collections.Generic.Dictionary`2[System.__Canon,System.__Canon].FindValue"),
            ),
            (
                "void [Shop] Shop.Cart::.ctor(method void *(int32))[Tier0]",
                Some("Shop.Cart..ctor"),
            ),
            ("LazyCompile:*add shop.js:1:2", None),
            ("py::add:/shop.py", None),
            ("std::vector<int>::at(unsigned long)", None),
            ("a [b] c::d(e)[not a tier]", None),
        ] {
            assert_eq!(method_of(written).as_deref(), method, "{written}");
        }
    }

    #[test]
    fn the_line_that_was_written_last_is_true() {
        let map = "1000 100 LazyCompile:*old /app/shop.js:1\n2000 10 other\n1080 20 void Shop::Cart::Add(int32)\n";
        let names = named(
            map.as_bytes(),
            &[0xfff, 0x1000, 0x1080, 0x109f, 0x10a0, 0x10ff, 0x1100, 0x200f],
        );
        let (old, new) = (
            Some("LazyCompile:*old /app/shop.js:1"),
            Some("void Shop::Cart::Add(int32)"),
        );
        let expected = [None, old, new, new, old, old, None, Some("other")];
        assert_eq!(names, expected.map(|name| name.map(str::to_owned)));
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        let map = b"\n1000\n1000 zz name\n1000 0 empty\nffffffffffffffff 10 around\n1000 10 \n\xff\xfe 10 a\n0x2000 0x10 _ZN1a1bEv\n".as_slice();
        assert_eq!(
            named(map, &[0x1000, 0x2000, u64::MAX]),
            [None, Some("a::b()".to_owned()), None]
        );
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_the_next_one_is_read() {
        let mut map = format!("1000 10 {}", "x".repeat(100_000));
        map.push_str("\n2000 10 next\n");
        let names = named(map.as_bytes(), &[0x1000, 0x2000]);
        assert!(
            names[0]
                .as_ref()
                .is_some_and(|name| name.len() < 5000 && name.starts_with("xxx"))
        );
        assert_eq!(names[1].as_deref(), Some("next"));
    }

    #[test]
    fn a_map_that_grows_for_ever_is_read_until_the_deadline() {
        let endless = std::io::repeat(b'\n');
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(resolve(endless, &[1], deadline, &mut Names::default()), [Vec::new()]);
    }
}
