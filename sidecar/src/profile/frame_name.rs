//! Names of frames: which ones say nothing, and how hostile ones are made fit for text formats.
//!
//! Called by the text and SVG writers and by the count of what a profile lacks. Binary formats keep names as
//! they are.

use std::borrow::Cow;

/// What a frame without a name is shown as; perf, async-profiler and pprof users know it.
pub const UNKNOWN: &str = "[unknown]";

/// What stands in the place of the callers of a stack that was cut, as async-profiler writes it.
pub const CUT: &str = "[truncated]";

/// Whether a name tells nothing about the code: empty, `unknown` in its spellings (`[unknown]`, `[unknown_Java]`, `??`), a
/// stack that could not be walked ([`is_failed_walk`]) or is not there (`[no_Java_frame]`), a method that is gone
/// (`[stale_jmethodID]`), the anonymous `[kernel]`, a library without a symbol (`[libc.so.6]`, `[libc.so.6+0x1f]`,
/// `libc.so.6+0x1f`) or a program without one (`[shop+0x1f]`), a .NET module without a method (`Shop![unknown]`, `Shop!0x6000001`) or nothing but an address (`0x7f00`,
/// `[0x7f00]`).
pub fn is_unresolved(name: &str) -> bool {
    let name = name.trim();
    let bracketed = in_brackets(name);
    let inner = bracketed.unwrap_or(name);
    if matches!(inner, "" | "??" | "<unknown>" | "no_Java_frame") || inner.eq_ignore_ascii_case("unknown") {
        return true;
    }
    let no_method = |inner: &str| matches!(inner, "kernel" | "stale_jmethodID") || inner.starts_with("jvmtiError ");
    if is_failed_walk(name) || bracketed.is_some_and(no_method) || is_address(inner) {
        return true;
    }
    if let Some((_, method)) = name.rsplit_once('!')
        && (method == UNKNOWN || is_address(method))
    {
        return true;
    }
    let (file, offset) = match inner.rsplit_once('+') {
        Some((file, offset)) if is_address(offset) => (file, true),
        _ => (inner, false),
    };
    let library = file.ends_with(".so") || file.contains(".so.");
    // In brackets also of what has no name of a library: programs have none.
    (offset && bracketed.is_some()) || library && (offset || bracketed.is_some())
}

/// Whether it is async-profiler's mark of a stack walk that failed: what called the frames below it is not known. Taken from
/// `Profiler::asgctError` and the walker of 4.6; `[no_Java_frame]` is none, such a thread runs no Java.
pub fn is_failed_walk(name: &str) -> bool {
    in_brackets(name).is_some_and(|inner| {
        let lower = |prefix: &str| {
            inner
                .get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        };
        inner.starts_with("break_")
            || inner.starts_with("not_walkable")
            || lower("unknown_")
            || matches!(
                inner,
                "GC_active" | "deoptimization" | "safepoint" | "skipped" | "unexpected_state" | "storage_overflow"
            )
    })
}

/// Whether it is [`CUT`].
pub fn is_cut(name: &str) -> bool {
    name == CUT
}

/// Whether it is no function but async-profiler's name of a thread, `[main tid=7]`.
pub fn is_thread(name: &str) -> bool {
    in_brackets(name).is_some_and(|inner| {
        let tid = inner.rsplit_once("tid=").map_or("", |(_, tid)| tid);
        !tid.is_empty() && tid.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn in_brackets(name: &str) -> Option<&str> {
    name.strip_prefix('[')?.strip_suffix(']')
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

/// [`plain_text`] of at most this many characters. What is cut ends in `…`.
pub fn short_text(text: &str, chars: usize) -> String {
    // What is cut off anyway is not looked at.
    let end = text.char_indices().nth(chars).map(|(end, _)| end);
    let clean = plain_text(text.get(..end.unwrap_or(text.len())).unwrap_or_default());
    match end {
        None => clean.into_owned(),
        Some(_) => clean.chars().take(chars.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Longest name of a unit or of a sample type that is shown.
pub const UNIT_CHARS: usize = 40;

/// What a reader would not see, or would see as something else, is replaced: controls (C0 and C1, which a terminal obeys),
/// characters that turn the direction of text, and those that take no room, with which two names look alike.
fn replacement(c: char) -> char {
    match c {
        ';' => ':',
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        ' '..='~' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        // Direction: marks, embeddings and overrides, isolates.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // No width: soft hyphen, joiners, fillers, invisible operators, deprecated and annotation controls, tags.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}'
        // No characters at all.
        | '\u{fdd0}'..='\u{fdef}' => char::REPLACEMENT_CHARACTER,
        c if u32::from(c) & 0xfffe == 0xfffe => char::REPLACEMENT_CHARACTER,
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
            "[shop+0x1f]",
            "[main+0x1f]",
            "[kernel]",
            "[stale_jmethodID]",
            "[jvmtiError 23]",
            "[no_Java_frame]",
            "Shop.Core![unknown]",
            "Shop.Core!0x6000001",
        ] {
            assert!(is_unresolved(name), "{name}");
        }
    }

    #[test]
    fn every_mark_of_a_failed_walk_is_known() {
        let marks = "break_not_walkable break_stack_range break_deopt break_interpreted break_compiled break_entry_frame \
                     break_stub unknown_nmethod unknown_Java unknown_state not_walkable_Java not_walkable_not_Java \
                     GC_active deoptimization safepoint skipped unexpected_state storage_overflow break_anything";
        for mark in marks.split_whitespace() {
            let name = format!("[{mark}]");
            assert!(is_failed_walk(&name) && is_unresolved(&name), "{name}");
            assert!(!is_failed_walk(mark), "{mark}");
        }
        for name in [
            "[unknown]",
            "[no_Java_frame]",
            "[truncated]",
            "[SCHED_OTHER]",
            "[CPU-3]",
            "[main tid=7]",
        ] {
            assert!(!is_failed_walk(name), "{name}");
        }
    }

    #[test]
    fn threads_and_cut_stacks_are_told_from_functions() {
        assert!(is_thread("[main tid=7]") && is_thread("[tid=7]") && is_thread("[a tid=x] tid=7]"));
        assert!(!is_thread("[tid=]") && !is_thread("main tid=7") && !is_thread("[GC]"));
        assert!(is_cut("[truncated]") && !is_cut("truncated"));
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
            "libc.so!read",
            "operator!",
        ] {
            assert!(!is_unresolved(name), "{name}");
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(short_text("äöü", 3), "äöü");
        assert_eq!(short_text("äöüß", 3), "äö…");
        assert_eq!(short_text(&"\u{202e}".repeat(5), 3), "\u{fffd}\u{fffd}…");
        assert_eq!(short_text("", 3), "");
    }

    #[test]
    fn separators_and_controls_are_replaced() {
        assert_eq!(plain("Lfoo;bar\nbaz\u{1b}[31m"), "Lfoo:bar baz\u{fffd}[31m");
        assert_eq!(plain("a\u{202e}b"), "a\u{fffd}b");
        for c in
            "\u{9b}\u{85}\u{7f}\u{200b}\u{200d}\u{feff}\u{2066}\u{200f}\u{61c}\u{ad}\u{e0041}\u{fffe}\u{1ffff}".chars()
        {
            assert_eq!(plain_text(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        assert_eq!(plain(""), UNKNOWN);
        assert!(matches!(plain("java.lang.Thread.run é"), Cow::Borrowed(_)));
    }
}
