//! How a reader tells samples apart that a profile adds up: by the part of the recording's time they are in, and by thread.
//!
//! A profile has no times. A reader that knows them gives each sample the number of its part as a label, and all parts stay, so that
//! what is counted of the whole is still of the whole; who asked takes out what it wants (`view/select`, `timeline`). Called by readers.

use super::builder::{ModelError, ProfileBuilder};
use super::model::{Label, LabelValue};
use super::strings::StringId;

/// The label with the number of a part. No label of a recording begins with a space.
pub const PART: &str = " part";

/// The label with what a program said that it was doing.
pub const SPAN: &str = "span";

/// The part that is not shown, where one is.
pub const OUTSIDE: u32 = 1;

/// Most parts.
pub const MOST_PARTS: u32 = 1 << 16;

/// Where time is cut, in nanoseconds after the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cuts {
    /// Nowhere.
    #[default]
    None,
    /// Before and behind a range, which is part 0; the rest is [`OUTSIDE`].
    Around {
        /// First nanosecond of it.
        from: u64,
        /// The one behind its last.
        to: u64,
    },
    /// Each so many.
    Every(u64),
}

/// What a reader is to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slicing {
    /// By time.
    pub cuts: Cuts,
    /// By thread, also where the recording was not asked to be.
    pub by_thread: bool,
    /// By the spans that the program told its profiler.
    pub by_span: bool,
}

impl Slicing {
    /// The part that has this moment, nanoseconds after the beginning, which are not computed where time is not cut: of a JFR that is a
    /// division of 128 bits for each event.
    pub fn part(&self, nanos: impl FnOnce() -> u64) -> u32 {
        match self.cuts {
            Cuts::None => 0,
            Cuts::Around { from, to } => u32::from(!(from..to).contains(&nanos())) * OUTSIDE,
            Cuts::Every(length) => {
                let part = nanos().checked_div(length).unwrap_or_default();
                u32::try_from(part).unwrap_or(u32::MAX).min(MOST_PARTS - 1)
            }
        }
    }

    /// The label of a part, if it has one.
    ///
    /// # Errors
    /// The profile is too large.
    pub fn label(&self, builder: &mut ProfileBuilder, part: u32) -> Result<Option<Label>, ModelError> {
        let labelled = match self.cuts {
            Cuts::None => false,
            Cuts::Around { .. } => part == OUTSIDE,
            Cuts::Every(_) => true,
        };
        if !labelled {
            return Ok(None);
        }
        Ok(Some(Label {
            key: builder.string(PART)?,
            value: LabelValue::Number(part.into(), StringId::default()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_in_one_part() {
        let around = Slicing {
            cuts: Cuts::Around { from: 10, to: 20 },
            ..Slicing::default()
        };
        assert_eq!(
            [9, 10, 19, 20].map(|nanos| around.part(|| nanos)),
            [OUTSIDE, 0, 0, OUTSIDE]
        );
        let every = Slicing {
            cuts: Cuts::Every(10),
            ..Slicing::default()
        };
        assert_eq!(
            [0, 9, 10, u64::MAX].map(|nanos| every.part(|| nanos)),
            [0, 0, 1, MOST_PARTS - 1]
        );
        let nothing = Slicing {
            cuts: Cuts::Every(0),
            ..Slicing::default()
        };
        assert_eq!((nothing.part(|| 7), Slicing::default().part(|| 7)), (0, 0));
    }
}
