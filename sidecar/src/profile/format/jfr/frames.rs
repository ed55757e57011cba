//! The names of frames, as async-profiler writes the same frames into its texts (`ann`, `dot`).
//!
//! A JFR has class and method apart, and marks without their brackets. Called by [`super::read`]. Sources of async-profiler:
//! `frameName.cpp` for the texts, `lookup.cpp` for the JFR.

use std::collections::HashMap;

use super::pools::{Frame, Pools};
use crate::profile::builder::{ModelError, ProfileBuilder};
use crate::profile::frame_name::{UNKNOWN, is_failed_walk};
use crate::profile::model::{FrameKind, LocationId};

/// Longest name of a frame; it is repeated in every stack of a text.
const MAX_NAME: usize = 16 << 10;

/// The frames of one chunk.
#[derive(Debug)]
pub(super) struct Frames<'p, 'a> {
    pools: &'p Pools<'a>,
    /// `Native` are functions of C, as async-profiler means it; to the JDK they are Java's native methods.
    native_is_c: bool,
    known: HashMap<Frame, LocationId, ahash::RandomState>,
    classes: HashMap<u64, LocationId, ahash::RandomState>,
}

impl<'p, 'a> Frames<'p, 'a> {
    pub(super) fn of(pools: &'p Pools<'a>) -> Self {
        Self {
            pools,
            native_is_c: pools.has_frame_type("Kernel"),
            known: HashMap::default(),
            classes: HashMap::default(),
        }
    }

    /// The location of a frame.
    pub(super) fn location(&mut self, builder: &mut ProfileBuilder, frame: Frame) -> Result<LocationId, ModelError> {
        if let Some(location) = self.known.get(&frame) {
            return Ok(*location);
        }
        let (name, kind) = self.name(frame);
        let location = named(builder, &name, kind)?;
        self.known.insert(frame, location);
        Ok(location)
    }

    /// The frame of a class, below the one that did something to an object of it; `None` if it is not known.
    pub(super) fn class(&mut self, builder: &mut ProfileBuilder, key: u64) -> Result<Option<LocationId>, ModelError> {
        if let Some(location) = self.classes.get(&key) {
            return Ok(Some(*location));
        }
        let symbol = self.pools.class_name(key);
        if symbol.is_empty() {
            return Ok(None);
        }
        let location = named(builder, &class_name(&symbol), FrameKind::Native)?;
        self.classes.insert(key, location);
        Ok(Some(location))
    }

    fn name(&self, frame: Frame) -> (String, FrameKind) {
        let Some(method) = self.pools.method(frame.method) else {
            return (UNKNOWN.to_owned(), FrameKind::Native);
        };
        let class = self.pools.class_name(method.class);
        let name = self.pools.symbol(method.name);
        let kind = match &*self.pools.frame_type(frame.kind) {
            "Interpreted" => FrameKind::Interpreted,
            "JIT compiled" | "C1 compiled" => FrameKind::Jit,
            "Inlined" => FrameKind::Inlined,
            "Kernel" => FrameKind::Kernel,
            "Native" | "C++" => FrameKind::Native,
            _ => FrameKind::Other,
        };
        let of_c = match kind {
            FrameKind::Kernel => true,
            FrameKind::Native => self.native_is_c,
            _ => false,
        };
        if of_c {
            // A function has a library, a mark has none.
            let name = if class.is_empty() && is_mark(&name) {
                format!("[{name}]")
            } else {
                name.into_owned()
            };
            return (name, kind);
        }
        match (class.is_empty(), name.is_empty()) {
            (true, _) => (name.into_owned(), kind),
            // The class whose virtual method is called.
            (false, true) => (class_name(&class), FrameKind::Native),
            (false, false) => (format!("{}.{name}", class_name(&class)), kind),
        }
    }
}

fn named(builder: &mut ProfileBuilder, name: &str, kind: FrameKind) -> Result<LocationId, ModelError> {
    if name.len() > MAX_NAME {
        return Err(ModelError::TooLarge {
            what: "bytes in one frame's name",
            limit: MAX_NAME,
        });
    }
    builder.frame(name, kind)
}

/// What async-profiler puts into brackets in a text.
fn is_mark(name: &str) -> bool {
    matches!(name, "unknown" | "no_Java_frame" | "truncated" | "stale_jmethodID")
        || name.starts_with("SCHED_")
        || name.starts_with("CPU-")
        || is_failed_walk(&format!("[{name}]"))
}

/// `[Ljava/lang/String;` is `java.lang.String[]`. A slash before a digit stays, it is part of a hidden class's name.
pub(in crate::profile::format) fn class_name(symbol: &str) -> String {
    let element = symbol.trim_start_matches('[');
    let dimensions = symbol.len() - element.len();
    let plain = match (dimensions, element) {
        (0, _) => element,
        (_, "B") => "byte",
        (_, "C") => "char",
        (_, "I") => "int",
        (_, "J") => "long",
        (_, "S") => "short",
        (_, "Z") => "boolean",
        (_, "F") => "float",
        (_, "D") => "double",
        (_, object) => object
            .strip_prefix('L')
            .and_then(|of| of.strip_suffix(';'))
            .unwrap_or(object),
    };
    let mut name = String::with_capacity(plain.len() + 2 * dimensions);
    let mut characters = plain.chars().peekable();
    while let Some(c) = characters.next() {
        let digit = characters.peek().is_some_and(char::is_ascii_digit);
        name.push(if c == '/' && !digit { '.' } else { c });
    }
    for _ in 0..dimensions {
        name.push_str("[]");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_as_in_java() {
        for (symbol, name) in [
            ("java/lang/String", "java.lang.String"),
            ("[[Ljava/lang/String;", "java.lang.String[][]"),
            ("[B", "byte[]"),
            ("[[J", "long[][]"),
            ("Shop$$Lambda/0x00007f1ed8000a08", "Shop$$Lambda/0x00007f1ed8000a08"),
            ("a/", "a."),
            ("[", "[]"),
            ("", ""),
        ] {
            assert_eq!(class_name(symbol), name);
        }
    }

    #[test]
    fn marks_are_told_from_functions() {
        for mark in [
            "no_Java_frame",
            "truncated",
            "break_interpreted",
            "unknown_Java",
            "GC_active",
            "SCHED_OTHER",
            "CPU-3",
        ] {
            assert!(is_mark(mark), "{mark}");
        }
        for function in [
            "main",
            "call_stub",
            "Interpreter",
            "vtable stub",
            "0x7f00",
            "unknownHost",
        ] {
            assert!(!is_mark(function), "{function}");
        }
    }
}
