//! What people say of a capture: a name, a note, and that it is to be kept.
//!
//! A value. Called by the registry, which bounds how much may be pinned.

use serde::{Deserialize, Serialize};

/// Characters of a name, at most.
pub const LONGEST_NAME: usize = 80;

/// Characters of a note, at most.
pub const LONGEST_NOTE: usize = 2000;

/// What was said of a capture so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remarks {
    /// What it is called, e.g. `before the fix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// It is neither evicted nor does it expire.
    pub pinned: bool,
}

/// What changes; an empty text takes away what was said, and what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemarksChange {
    /// What the capture is called, 80 characters at most; empty takes the name away.
    pub name: Option<String>,
    /// What else there is to say, 2,000 characters at most, in lines; empty takes the note away.
    pub note: Option<String>,
    /// Whether it is kept until it is deleted or unpinned.
    pub pinned: Option<bool>,
}

/// Why a text is not taken, for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {most} characters at most, and no control characters")]
pub struct InvalidRemark {
    /// Which.
    pub field: &'static str,
    /// Its bound.
    pub most: usize,
}

impl RemarksChange {
    /// # Errors
    /// A text is too long or has control characters.
    pub fn check(&self) -> Result<(), InvalidRemark> {
        let valid = |text: &Option<String>, is_valid: fn(&str) -> bool| text.as_deref().is_none_or(is_valid);
        if !valid(&self.name, is_name) {
            return Err(InvalidRemark {
                field: "name",
                most: LONGEST_NAME,
            });
        }
        if !valid(&self.note, is_note) {
            return Err(InvalidRemark {
                field: "note",
                most: LONGEST_NOTE,
            });
        }
        Ok(())
    }
}

impl Remarks {
    /// Changes what is given. The pin is somebody else's to judge.
    pub(super) fn apply(&mut self, change: &RemarksChange) {
        let said = |text: &String| (!text.is_empty()).then(|| text.clone());
        if let Some(name) = &change.name {
            self.name = said(name);
        }
        if let Some(note) = &change.note {
            self.note = said(note);
        }
        if let Some(pinned) = change.pinned {
            self.pinned = pinned;
        }
    }

    /// Whether they could have been made by [`RemarksChange`].
    pub(super) fn is_valid(&self) -> bool {
        self.name.as_deref().is_none_or(is_name) && self.note.as_deref().is_none_or(is_note)
    }
}

fn is_name(text: &str) -> bool {
    text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn is_note(text: &str) -> bool {
    // Lines are what a note is made of.
    text.chars().count() <= LONGEST_NOTE && !text.chars().any(|c| c.is_control() && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> RemarksChange {
        RemarksChange {
            name: Some(name.to_owned()),
            ..RemarksChange::default()
        }
    }

    #[test]
    fn texts_are_as_long_as_is_said_and_without_control_characters() {
        assert_eq!(name(&"ä".repeat(80)).check(), Ok(()));
        for bad in [&"a".repeat(81), "a\nb", "a\0", "\u{1b}[31m", "\u{85}"] {
            assert_eq!(name(bad).check().unwrap_err().field, "name", "{bad:?}");
        }
        let note = |note: &str| RemarksChange {
            note: Some(note.to_owned()),
            ..RemarksChange::default()
        };
        assert_eq!(note("two\nlines").check(), Ok(()));
        for bad in [&"a".repeat(2001), "a\rb", "a\u{1b}"] {
            assert_eq!(note(bad).check().unwrap_err().field, "note", "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_given_stays_and_an_empty_text_takes_away() {
        let mut remarks = Remarks::default();
        remarks.apply(&name("before"));
        remarks.apply(&RemarksChange {
            pinned: Some(true),
            ..RemarksChange::default()
        });
        assert_eq!((remarks.name.as_deref(), remarks.pinned), (Some("before"), true));
        remarks.apply(&name(""));
        assert_eq!((remarks.name, remarks.pinned), (None, true));
    }
}
