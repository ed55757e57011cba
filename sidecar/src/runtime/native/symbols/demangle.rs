//! Names as people wrote them.
//!
//! A hostile name may be long or nested deeply, or short and become a gigabyte: input, output and depth are capped. What cannot be read
//! stays as it is.

use std::borrow::Cow;
use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

/// Longest name that is read. Those of Boost and of iterators of Rust are a few thousand characters long.
const INPUT_LIMIT: usize = 8 << 10;

/// Longest name that comes out.
const OUTPUT_LIMIT: usize = 4 << 10;

/// Nesting of a C++ name.
const DEPTH: u32 = 96;

/// The readable form of a linker's name: Rust's both schemes and C++'s; others stay.
pub(super) fn demangle(name: &str) -> Cow<'_, str> {
    if let Some(called) = name.strip_suffix("@plt").filter(|called| !called.contains('@')) {
        return Cow::Owned(format!("{}@plt", demangle(called)));
    }
    // `memcpy@@GLIBC_2.14`: which version it is says nothing of what runs.
    let plain = name.split_once('@').map_or(name, |(plain, _)| plain);
    if plain.len() > INPUT_LIMIT {
        return Cow::Borrowed(plain);
    }
    let mut text = Text::default();
    if let Ok(rust) = rustc_demangle::try_demangle(plain) {
        // `{:#}` is without the hash.
        if write!(text, "{rust:#}").is_ok() && !text.0.is_empty() {
            return Cow::Owned(text.0);
        }
        return Cow::Borrowed(plain);
    }
    let is_cpp = plain.starts_with("_Z") || plain.starts_with("__Z") || plain.starts_with("_GLOBAL_");
    if is_cpp {
        let parsed = ParseOptions::default().recursion_limit(DEPTH);
        let shown = DemangleOptions::new().recursion_limit(DEPTH);
        if let Ok(symbol) = Symbol::new_with_options(plain, &parsed)
            && symbol.structured_demangle(&mut text, &shown).is_ok()
            && !text.0.is_empty()
        {
            return Cow::Owned(text.0);
        }
    }
    Cow::Borrowed(plain)
}

/// Ends what writes into it when it is full.
#[derive(Default)]
struct Text(String);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > OUTPUT_LIMIT {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_readable() {
        for (name, readable) in [
            ("main", "main"),
            ("memcpy@@GLIBC_2.14", "memcpy"),
            ("memcpy@plt", "memcpy@plt"),
            ("_ZN4shop4cart3addEi@plt", "shop::cart::add(int)@plt"),
            ("_ZN4shop4cart3addEi", "shop::cart::add(int)"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            (
                "_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE",
                "core::fmt::Formatter::write_str",
            ),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
            ("$s4main3fooyyF", "$s4main3fooyyF"),
            ("_Z", "_Z"),
            ("_ZTotally wrong", "_ZTotally wrong"),
        ] {
            assert_eq!(demangle(name), readable);
        }
    }

    #[test]
    fn hostile_names_end() {
        let nested = format!("_Z{}1aE", "N".repeat(4000));
        let templates = format!("_Z1aI{}", "1aI".repeat(2000));
        let pointers = format!("_Z1f{}i", "P".repeat(8000));
        // Each substitution doubles what stands before it.
        let mut doubling = "_Z1fSt4pairIiiE".to_owned();
        for number in 0..30 {
            let last = char::from_digit(number, 36).unwrap().to_ascii_uppercase();
            write!(doubling, "St4pairIS{last}_S{last}_E").unwrap();
        }
        let rust = format!("_RIC1a{}", "IC1a".repeat(2000));
        for name in [nested, templates, pointers, doubling, rust, "_R".repeat(5000)] {
            assert!(demangle(&name).len() <= INPUT_LIMIT.max(name.len()));
        }
    }
}
