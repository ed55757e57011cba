//! Parameters that only machine code takes: one table, from which the API, the command line and the documents are made.

use serde::{Deserialize, Serialize};

use crate::parameter::{Parameter, Refusal, Row, Takes};

/// What a request says to the kernel's sampler.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NativeOptions {
    /// Samples per second.
    pub frequency: Option<u32>,
    /// Split by thread.
    pub threads: bool,
    /// Without what happens in the kernel.
    pub user_only: bool,
    /// How stacks are walked.
    pub unwind: Unwind,
    /// A dump in place of the event. Set by `/dump` only.
    pub dump: bool,
}

/// How the stacks of a process are walked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unwind {
    /// By what is found: frame pointers where code keeps them, else by its tables.
    #[default]
    Auto,
    /// By frame pointers, by the kernel.
    Fp,
    /// By the tables of the code (DWARF), from copies of the stacks.
    Dwarf,
}

const UNWIND: [(&str, Unwind); 3] = [("auto", Unwind::Auto), ("fp", Unwind::Fp), ("dwarf", Unwind::Dwarf)];

/// The table.
pub static ROWS: [Row<NativeOptions>; 1] = [Row::new(
    Parameter::new(
        "unwind",
        "WAY",
        Takes::Name {
            names: || UNWIND.map(|(name, _)| name.to_owned()).into(),
            or: None,
        },
        "How stacks of machine code are walked: by frame pointers, or by DWARF tables where code has none",
    ),
    |options, _, value| {
        let known = UNWIND.iter().find(|(name, _)| *name == value);
        options.unwind = known.map(|(_, unwind)| *unwind).ok_or_else(Refusal::default)?;
        Ok(())
    },
)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::row;

    #[test]
    fn a_way_of_walking_is_one_of_three() {
        let set = |value: &str| {
            let mut options = NativeOptions::default();
            row(&ROWS, "unwind")
                .unwrap()
                .set(&mut options, value)
                .map(|()| options.unwind)
        };
        assert_eq!(set("dwarf"), Ok(Unwind::Dwarf));
        assert_eq!(set("fp"), Ok(Unwind::Fp));
        assert!(set("").is_err() && set("lbr").is_err());
    }
}
