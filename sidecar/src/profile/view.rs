//! What a rendering shows of a recording, as one value: made of parameters, sent to a renderer, the key of what was rendered.
//!
//! To add a member: a field with its line in [`View::pairs`] here, what it does in [`select`], and its parameter in
//! `capture/views.rs`. Knows no format.

pub mod by;
pub mod pattern;
mod recursion;
pub mod select;
mod split;

use serde::{Deserialize, Serialize};

pub use by::By;
pub use pattern::{Pattern, PatternError};
pub use split::{tells_label, tells_threads};

use super::frame_name::short_text;
use super::slicing::{Cuts, SPAN, Slicing};

/// Which part of a recording is shown; the default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct View {
    /// Milliseconds into the capture, from which on samples count.
    pub from: Option<u32>,
    /// Milliseconds into the capture, before which samples count.
    pub to: Option<u32>,
    /// Samples of threads whose name matches, or that have that number.
    pub thread: Option<Pattern>,
    /// What stacks are split by.
    pub by: Option<By>,
    /// Stacks with a matching frame, and no others.
    pub focus: Option<Pattern>,
    /// Who calls the innermost matching frame of a stack: that frame is the root, and its callers are above it.
    pub callers: Option<Pattern>,
    /// What becomes one frame.
    pub fold: Option<Fold>,
    /// How many nodes a tree of columns has at most.
    pub nodes: Option<u32>,
}

/// Frames that become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fold {
    /// Of a function that calls itself.
    Recursion,
}

impl Fold {
    /// How it is asked for.
    pub const RECURSION: &str = "recursion";
}

impl View {
    /// Stacks with a matching frame.
    pub fn of_focus(focus: Pattern) -> Self {
        Self {
            focus: Some(focus),
            ..Self::default()
        }
    }

    /// True if nothing is left out.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// True if it is a range of time.
    pub fn is_of_time(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// True if threads have to be told apart for it.
    pub fn is_of_threads(&self) -> bool {
        self.thread.is_some() || matches!(self.by, Some(By::Thread | By::ThreadName))
    }

    /// What its reader has to tell apart.
    pub fn slicing(&self) -> Slicing {
        let nanos = |milliseconds: u32| u64::from(milliseconds) * 1_000_000;
        let around = Cuts::Around {
            from: self.from.map_or(0, nanos),
            to: self.to.map_or(u64::MAX, nanos),
        };
        Slicing {
            cuts: if self.is_of_time() { around } else { Cuts::None },
            by_thread: self.is_of_threads(),
            by_span: matches!(&self.by, Some(By::Label(key)) if key == SPAN),
        }
    }

    /// The parameters that ask for it, by name and value.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let Self {
            from,
            to,
            thread,
            by,
            focus,
            callers,
            fold,
            nodes,
        } = self;
        let text = |pattern: &Option<Pattern>| pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
        let seconds = |milliseconds: &Option<u32>| milliseconds.map(|number| (f64::from(number) / 1000.0).to_string());
        let pairs = [
            ("from", seconds(from)),
            ("to", seconds(to)),
            ("thread", text(thread)),
            ("by", by.as_ref().map(ToString::to_string)),
            ("focus", text(focus)),
            ("callers", text(callers)),
            ("fold", fold.map(|Fold::Recursion| Fold::RECURSION.to_owned())),
            ("nodes", nodes.map(|nodes| nodes.to_string())),
        ];
        let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.collect()
    }

    /// The same for people, in one line: `focus=Cart.total callers=hash`.
    pub fn words(&self) -> String {
        const MOST: usize = 60;
        let pairs = self.pairs();
        let words = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", short_text(value, MOST)));
        words.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_of_all_has_no_words_and_any_other_has() {
        assert!(View::default().is_all() && View::default().words().is_empty());
        let view = View {
            callers: Some("hash".parse().unwrap()),
            ..View::of_focus("a\u{202e}|b".parse().unwrap())
        };
        assert!(!view.is_all());
        assert_eq!(view.words(), "focus=a\u{fffd}|b callers=hash");
    }

    #[test]
    fn a_renderer_is_sent_the_same_view_and_no_pattern_that_was_not_checked() {
        let view = View::of_focus("Cart.*".parse().unwrap());
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::from_str::<View>(&json).unwrap(), view);
        assert!(serde_json::from_str::<View>(r#"{"focus": "("}"#).is_err());
    }
}
