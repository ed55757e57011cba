//! Parameters that only .NET processes take: one table, from which the API, the command line and the documents are made.

use super::dump::DumpType;
use super::provider_syntax::{parse_provider, split_list};
use super::providers::{DotnetProvider, profile_names};
use crate::parameter::{Parameter, Refusal, Row, Takes};

/// What a request says to a .NET process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DotnetOptions {
    /// dotnet-trace profiles.
    pub profiles: Vec<String>,
    /// dotnet-trace providers.
    pub providers: Vec<DotnetProvider>,
    /// Split by thread.
    pub threads: bool,
    /// Whose counters; empty for the usual ones.
    pub counters: Vec<String>,
    /// A dump in place of the event. Set by `/dump` only.
    pub dump: Option<DumpType>,
}

impl DotnetOptions {
    /// Whether they take the place of the event.
    pub fn are_for_tools(&self) -> bool {
        !self.profiles.is_empty() || !self.providers.is_empty()
    }
}

/// Sources of counters in one request.
const MOST_COUNTERS: usize = 16;

/// Providers in one request.
const MOST_PROVIDERS: usize = 32;

/// The table.
pub static ROWS: [Row<DotnetOptions>; 3] = [
    Row::new(
        Parameter::new(
            "profile",
            "NAME",
            Takes::Names(|| profile_names().iter().map(ToString::to_string).collect()),
            "Profiles of dotnet-trace, in place of the event",
        ),
        |options, _, value| {
            for profile in value.split(',') {
                if !profile_names().contains(&profile) {
                    return Err(Refusal::default());
                }
                options.profiles.push(profile.to_owned());
            }
            Ok(())
        },
    ),
    Row::new(
        Parameter {
            repeatable: true,
            ..Parameter::new(
                "providers",
                "PROVIDER",
                Takes::Text(
                    "Name:keywords:level:arguments as dotnet-trace takes it, at most 32 of them, separated by commas",
                ),
                "Providers of dotnet-trace, in place of the event",
            )
        },
        |options, _, value| {
            for provider in split_list(value) {
                let provider = parse_provider(provider).map_err(|error| Refusal::because(error.to_string()))?;
                options.providers.push(provider);
            }
            if options.providers.len() > MOST_PROVIDERS {
                return Err(Refusal::because(format!("at most {MOST_PROVIDERS} providers")));
            }
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "counters",
            "NAME",
            Takes::Text("names of EventSources and Meters, at most 16 of them, separated by commas"),
            "Whose counters event=counters reads, if not System.Runtime's and Microsoft.AspNetCore.Hosting's",
        ),
        |options, _, value| {
            let fits = |name: &str| {
                let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
                !name.is_empty() && name.len() <= 128 && name.chars().all(allowed)
            };
            options.counters = value.split(',').map(str::to_owned).collect();
            if options.counters.len() > MOST_COUNTERS || !options.counters.iter().all(|name| fits(name)) {
                return Err(Refusal::default());
            }
            Ok(())
        },
    ),
];
