//! Names of frames: which ones say nothing, and how hostile ones are made fit for text formats.
//!
//! Called by the text and SVG writers and by the renderer's count of unresolved samples. Binary formats keep names as
//! they are.

use std::borrow::Cow;

/// What a frame without a name is shown as; perf, async-profiler and pprof users know it.
pub const UNKNOWN: &str = "[unknown]";

/// Whether a name tells nothing about the code: empty, `unknown` in its spellings (`[unknown]`, `[unknown_Java]`, `??`),
/// async-profiler's `[not_walkable_Java]` and `[no_Java_frame]`, the anonymous `[kernel]`, a library without a symbol
/// (`[libc.so.6]`, `[libc.so.6+0x1f]`, `libc.so.6+0x1f`) or nothing but an address (`0x7f00`, `[0x7f00]`).
pub fn is_unresolved(name: &str) -> bool {
    let name = name.trim();
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = bracketed.unwrap_or(name);
    let word = |prefix: &str| {
        inner.len() >= prefix.len() && inner.is_char_boundary(prefix.len()) && {
            let (head, tail) = inner.split_at(prefix.len());
            head.eq_ignore_ascii_case(prefix) && (tail.is_empty() || bracketed.is_some() && tail.starts_with('_'))
        }
    };
    if matches!(inner, "" | "??" | "<unknown>" | "no_Java_frame") || word("unknown") {
        return true;
    }
    if bracketed.is_some() && (inner == "kernel" || inner.starts_with("not_walkable")) {
        return true;
    }
    if is_address(inner) {
        return true;
    }
    let (file, offset) = match inner.rsplit_once('+') {
        Some((file, offset)) if is_address(offset) => (file, true),
        _ => (inner, false),
    };
    let library = file.ends_with(".so") || file.contains(".so.");
    library && (offset || bracketed.is_some())
}

fn is_address(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The name as one field of a collapsed line: `;` becomes `:` (as in FlameGraph's own tools), line breaks and tabs become
/// spaces, other characters that no XML or terminal should see become U+FFFD, and no name becomes [`UNKNOWN`].
pub fn plain(name: &str) -> Cow<'_, str> {
    if name.trim().is_empty() {
        return Cow::Borrowed(UNKNOWN);
    }
    if !name.contains(|c| replacement(c) != c) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().map(replacement).collect())
}

/// Text for people, e.g. a title: as [`plain`], but `;` stays and nothing stays nothing.
pub fn plain_text(text: &str) -> Cow<'_, str> {
    let changed = |c: char| if c == ';' { c } else { replacement(c) };
    if !text.contains(|c| changed(c) != c) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(changed).collect())
}

/// Bidirectional overrides are replaced because they can make a name read as another one.
fn replacement(c: char) -> char {
    match c {
        ';' => ':',
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_are_unresolved() {
        for name in [
            "",
            " ",
            "unknown",
            "[unknown]",
            "[Unknown]",
            "[unknown_Java]",
            "[not_walkable_Java]",
            "??",
            "0x7f12ab",
            "[0x7f12ab]",
            "[libfoo.so+0x1f]",
            "libfoo.so.6+0x1f",
            "[libfoo.so]",
            "[kernel]",
        ] {
            assert!(is_unresolved(name), "{name}");
        }
    }

    #[test]
    fn names_of_functions_are_resolved() {
        for name in [
            "main",
            "unknownHost",
            "java.net.UnknownHostException.<init>",
            "main+0x1f",
            "0x",
            "[GC]",
            "kernel",
        ] {
            assert!(!is_unresolved(name), "{name}");
        }
    }

    #[test]
    fn separators_and_controls_are_replaced() {
        assert_eq!(plain("Lfoo;bar\nbaz\u{1b}[31m"), "Lfoo:bar baz\u{fffd}[31m");
        assert_eq!(plain("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(plain(""), UNKNOWN);
        assert!(matches!(plain("java.lang.Thread.run é"), Cow::Borrowed(_)));
    }
}
