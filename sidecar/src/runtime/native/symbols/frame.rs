//! A function in a stack, and the memory of all names.

use std::collections::HashSet;
use std::sync::Arc;

pub(super) use crate::profile::frame_name::UNKNOWN;

/// A name longer than this is cut: no reader sees more, and an app decides how long its names are.
const NAME_LIMIT: usize = 4096;

/// Bytes of all names of a capture. A thousand functions with long C++ names are a megabyte; what comes after has no name.
const NAMES_LIMIT: usize = 24 << 20;

/// A function; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// As people write it: demangled, type arguments of Go shortened.
    pub name: Arc<str>,
    /// As the linker knows it.
    pub system_name: Arc<str>,
    /// Source file, where debug information says it.
    pub file: Option<Arc<str>>,
    /// Line in it; 0 where it is not known.
    pub line: u32,
    /// Line where the function begins; 0 where it is not known.
    pub start_line: u32,
    /// True if it was inlined into the frame that follows.
    pub inlined: bool,
    /// File name of what it is in; `[kernel]`, `[vdso]`, `[jit]`.
    pub module: Arc<str>,
}

impl Frame {
    /// A function of which only names are known.
    pub(super) fn plain(name: Arc<str>, system_name: Arc<str>, module: Arc<str>) -> Self {
        Self {
            name,
            system_name,
            file: None,
            line: 0,
            start_line: 0,
            inlined: false,
            module,
        }
    }

    /// Code that has no name, spelled as [`crate::profile::frame_name::is_unresolved`] knows it.
    pub(super) fn without_symbol(module: &Arc<str>, offset: u64, names: &mut Names) -> Self {
        let name = names.intern(&format!("[{module}+{offset:#x}]"));
        Self::plain(Arc::clone(&name), name, Arc::clone(module))
    }
}

/// Every text once.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashSet<Arc<str>>,
    bytes: usize,
}

impl Names {
    /// The text, cut to a length that can be shown; [`UNKNOWN`] when all names together have become too long.
    pub(super) fn intern(&mut self, text: &str) -> Arc<str> {
        let text = text.get(..floor(text, NAME_LIMIT)).unwrap_or_default();
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        let full = self.bytes.saturating_add(text.len()) > NAMES_LIMIT;
        let text: Arc<str> = if full && text != UNKNOWN {
            return self.intern(UNKNOWN);
        } else {
            Arc::from(text)
        };
        self.bytes += text.len();
        self.known.insert(Arc::clone(&text));
        text
    }
}

/// The last end of a character up to `limit`.
fn floor(text: &str, limit: usize) -> usize {
    text.floor_char_boundary(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::frame_name::is_unresolved;

    #[test]
    fn equal_names_are_kept_once() {
        let mut names = Names::default();
        assert!(Arc::ptr_eq(&names.intern("main"), &names.intern("main")));
    }

    #[test]
    fn names_of_an_app_cannot_fill_the_memory() {
        let mut names = Names::default();
        let long = "ä".repeat(NAME_LIMIT);
        assert!(names.intern(&long).len() <= NAME_LIMIT);
        for number in 0..(NAMES_LIMIT / 1000 + 10) {
            names.intern(&format!("{number:01000}"));
        }
        assert!(names.bytes <= NAMES_LIMIT + UNKNOWN.len());
        assert_eq!(&*names.intern(&"x".repeat(1000)), UNKNOWN);
    }

    #[test]
    fn code_without_a_symbol_is_known_as_such() {
        let mut names = Names::default();
        for module in ["libc.so.6", "shop", "main", "a b"] {
            let module = names.intern(module);
            assert!(
                is_unresolved(&Frame::without_symbol(&module, 0x12, &mut names).name),
                "{module}"
            );
        }
    }
}
