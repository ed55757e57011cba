//! A regular expression over names of functions: small, and checked where it comes in.

use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Longest pattern. A name of a function is not longer, and neither is a good question.
const MOST_BYTES: usize = 256;
/// What a pattern may become: `\w{50}` of all of Unicode does not fit, and one that names a hundred functions does.
const COMPILED_BYTES: usize = 1 << 20;
/// Memory for the states that matching meets.
const STATES_BYTES: usize = 4 << 20;
/// Groups within groups.
const DEEPEST: u32 = 50;

/// A regular expression that compiles. It matches anywhere in a name, unless it says `^` and `$`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// It is no pattern of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It matches every name.
    #[error("a regular expression is missing")]
    Empty,
    /// Longer than we read.
    #[error("a regular expression has at most {MOST_BYTES} bytes")]
    TooLong,
    /// No name that we show has such characters, and no terminal should.
    #[error("a regular expression has no control characters")]
    Control,
    /// A syntax error, or it becomes too large.
    #[error("no regular expression: {0}")]
    Invalid(String),
}

impl Pattern {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compiled.
    ///
    /// # Errors
    /// None that [`Self::from_str`] has not found.
    pub fn regex(&self) -> Result<Regex, PatternError> {
        compile(&self.0)
    }
}

fn compile(text: &str) -> Result<Regex, PatternError> {
    let mut builder = RegexBuilder::new(text);
    builder
        .size_limit(COMPILED_BYTES)
        .dfa_size_limit(STATES_BYTES)
        .nest_limit(DEEPEST);
    builder.build().map_err(|error| PatternError::Invalid(reason(&error)))
}

/// What is wrong, without the picture that the crate draws of where.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MOST_BYTES {
            return Err(PatternError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::Control);
        }
        compile(text).map(|_| Self(text.to_owned()))
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_anywhere_in_a_name() {
        let matches = |pattern: &str, name: &str| pattern.parse::<Pattern>().unwrap().regex().unwrap().is_match(name);
        assert!(matches("sixty", "demo.shop.Split.sixty") && matches("(?i)SPLIT", "demo.shop.Split.sixty"));
        assert!(!matches("^sixty$", "demo.shop.Split.sixty") && matches(r"Größe\b", "shop.Größe"));
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_said_in_a_line() {
        for (bad, reason) in [
            ("", "missing"),
            ("(", "unclosed group"),
            ("a\nb", "control"),
            ("a**{", "repetition"),
            (r"(\w{60}){60}", "size limit"),
            (&"(".repeat(80), "unclosed"),
            (&"a".repeat(257), "at most 256"),
            (r"(?<name>a)\k<name>", "escape sequence"),
        ] {
            let error = bad.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{bad}: {error}");
        }
    }
}
