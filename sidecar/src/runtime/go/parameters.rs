//! Parameters that only Go programs take: one table, from which the API, the command line and the documents are made.

use crate::parameter::{Parameter, Row, Takes};

/// What a request says to a Go program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoOptions {
    /// How much its text says, 1 or 2.
    pub debug: Option<u8>,
    /// Collect garbage before a heap profile.
    pub gc: bool,
    /// The difference over the time asked for, also of what is a moment otherwise. Set by `/debug/pprof/` only, where
    /// `seconds` means that.
    pub difference: bool,
    /// The exact length of a trace, where that is no whole seconds. Set by `/debug/pprof/` only.
    pub millis: Option<u64>,
}

/// The table.
pub static ROWS: [Row<GoOptions>; 2] = [
    Row::new(
        Parameter::new(
            "debug",
            "LEVEL",
            Takes::Number {
                what: "Go's level",
                least: 1,
                most: 2,
            },
            "How much format=text says; goroutines are one by one, as in a crash, but for 1",
        ),
        |options, takes, value| {
            options.debug = u8::try_from(takes.number(value)?).ok();
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "gc",
            "BOOLEAN",
            Takes::Flag,
            "Collect garbage before a heap profile, as event=heap does anyway",
        ),
        |options, takes, value| {
            options.gc = takes.flag(value)?;
            Ok(())
        },
    ),
];
