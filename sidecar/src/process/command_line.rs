//! The arguments of a process, in one buffer however many there are.
//!
//! An app may give itself 131,000 arguments of one byte: a `String` for each would be 25 times the size of the text. A clone
//! shares the buffer. Filled by the process table, which says how much it read.

use std::fmt;
use std::sync::Arc;

/// Arguments without the empty ones, unredacted: nothing shows them without [`crate::redact`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Each ends with NUL, which none can contain.
    text: Option<Arc<str>>,
    cut: bool,
}

impl CommandLine {
    /// Reads the text of `/proc/PID/cmdline`, or its beginning; what is not UTF-8 becomes replacement characters.
    pub fn read(bytes: &[u8], cut: bool) -> Self {
        let mut line: Self = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        line.cut = cut;
        line
    }

    /// One after the other.
    pub fn arguments(&self) -> impl Iterator<Item = &str> + Clone {
        self.text.as_deref().unwrap_or_default().split_terminator('\0')
    }

    /// What the process says it was started as.
    pub fn first(&self) -> Option<&str> {
        self.arguments().next()
    }

    /// True if there is more than was read.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        self.text.as_deref().map_or(0, str::len)
    }
}

impl<S: AsRef<str>> FromIterator<S> for CommandLine {
    fn from_iter<T: IntoIterator<Item = S>>(arguments: T) -> Self {
        let mut text = String::new();
        for argument in arguments {
            let argument = argument.as_ref();
            if !argument.is_empty() {
                text.push_str(argument);
                text.push('\0');
            }
        }
        Self {
            text: (!text.is_empty()).then(|| text.into()),
            cut: false,
        }
    }
}

/// Its size: the arguments may hold secrets, and `{:?}` ends up in logs.
impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandLine({} bytes)", self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<String> {
        CommandLine::read(bytes, false).arguments().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_are_what_stands_between_nuls() {
        assert_eq!(read(b"java\0-jar\0\0a b.jar\0"), ["java", "-jar", "a b.jar"]);
        assert_eq!(read(b"nginx: master process"), ["nginx: master process"]);
        assert_eq!(read(b"java\0-Dname=caf\xe9\0"), ["java", "-Dname=caf\u{fffd}"]);
        assert!(read(b"").is_empty() && read(b"\0\0").is_empty());
    }

    #[test]
    fn many_arguments_take_no_more_than_their_bytes() {
        let bytes = b"x\0".repeat(131_000);
        let line = CommandLine::read(&bytes, false);
        assert_eq!((line.size(), line.arguments().count()), (bytes.len(), 131_000));
        assert_eq!(size_of::<CommandLine>(), 24);
    }
}
