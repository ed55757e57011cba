//! Parameters that only Go programs take: one table, from which the API, the command line and the documents are made.

use super::server::{SecretName, ServerUrl};
use crate::parameter::{Parameter, Refusal, Row, Takes};

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
    /// A server in place of a process.
    pub url: Option<ServerUrl>,
    /// Where the bearer token for it is.
    pub secret: Option<SecretName>,
}

/// The table.
pub static ROWS: [Row<GoOptions>; 4] = [
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
    Row::new(
        Parameter {
            excludes: &["pid", "name", "pod", "container", "scope"],
            ..Parameter::new(
                "url",
                "URL",
                Takes::Text(
                    "http://HOST:PORT or https://HOST:PORT, with the path in front of /debug/pprof/ if there is one",
                ),
                "A server with net/http/pprof in place of a process: loopback, the pod's own addresses, and what --allow-url allows",
            )
        },
        |options, _, value| {
            options.url = Some(ServerUrl::parse(value).map_err(|error| Refusal::concealed(error.to_string()))?);
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "secret",
            "NAMESPACE/NAME",
            Takes::Text("NAMESPACE/NAME, or NAME of one in sideflame's own namespace"),
            "The Secret with the bearer token for url, and perhaps its ca.crt: read by sideflame's service account, else where \
             --url-secrets has it",
        ),
        |options, _, value| {
            options.secret = Some(SecretName::parse(value).ok_or_else(Refusal::default)?);
            Ok(())
        },
    ),
];
