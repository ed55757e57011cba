//! What a session records: dotnet-trace's profiles, given providers, and a set per event.
//!
//! Pure. Called by [`super::plan`]; [`super::parameters`] asks for the names of the profiles. Names, keywords and levels of
//! the profiles are those of dotnet-trace (dotnet/diagnostics, `ListProfilesCommandHandler`), so that PerfView and Visual
//! Studio find in the file what they expect. One file of more than 500 lines: profiles, events and counters are united by one rule, and a
//! third of it is tests.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::event::Event;

/// `Name:keywords:level:arguments` as dotnet-trace takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DotnetProvider {
    /// Event provider.
    pub name: String,
    /// Keyword bit mask.
    pub keywords: u64,
    /// 0 LogAlways … 5 Verbose.
    pub level: u32,
    /// `key=value;key="value"`.
    pub arguments: String,
}

const RUNTIME: &str = "Microsoft-Windows-DotNETRuntime";
const RUNTIME_PRIVATE: &str = "Microsoft-Windows-DotNETRuntimePrivate";
const SAMPLE_PROFILER: &str = "Microsoft-DotNETCore-SampleProfiler";
/// Publishes the instruments of Meters.
pub(super) const METRICS: &str = "System.Diagnostics.Metrics";
const TASKS: &str = "System.Threading.Tasks.TplEventSource";
const DIAGNOSTIC_SOURCE: &str = "Microsoft-Diagnostics-DiagnosticSource";

/// Keywords of the runtime's provider (`ClrEtwAll.man` of dotnet/runtime).
mod keyword {
    pub(super) const GC: u64 = 0x1;
    pub(super) const GC_HANDLE: u64 = 0x2;
    pub(super) const ASSEMBLY_LOADER: u64 = 0x4;
    pub(super) const LOADER: u64 = 0x8;
    pub(super) const JIT: u64 = 0x10;
    pub(super) const NGEN: u64 = 0x20;
    /// GC (with [`GC`] set: begin, end and counts), Type, GCHeapDump, GCHeapCollect and GCHeapAndTypeNames: without any one of them
    /// no collection runs, no object is told of, or the types have no names.
    pub(super) const HEAP_SNAPSHOT: u64 = 0x198_0001;
    pub(super) const CONTENTION: u64 = 0x4000;
    pub(super) const EXCEPTION: u64 = 0x8000;
    pub(super) const THREADING: u64 = 0x1_0000;
    pub(super) const IL_TO_NATIVE_MAP: u64 = 0x2_0000;
    pub(super) const COMPILATION: u64 = 0x10_0000_0000;
    /// .NET 10: `AllocationSampled`, one allocation in about 100 KiB, unbiased. Older runtimes ignore the bit.
    pub(super) const ALLOCATION_SAMPLING: u64 = 0x800_0000_0000;
    /// What the profile `cpu-sampling` of dotnet-trace up to version 9 asked for (`ClrTraceEventParser.Default`).
    pub(super) const TRACE_EVENT_DEFAULT: u64 = 0x14_C14F_CCBD;
    /// Methods that appear and disappear during the session. The rundown at the end only knows code that still
    /// exists then, and only at level verbose do these events carry names.
    pub(super) const NAMES: u64 = LOADER | JIT | NGEN;
}

pub(super) const INFORMATIONAL: u32 = 4;
pub(super) const VERBOSE: u32 = 5;

/// GC, Loader, Jit, NGen, JittedMethodILToNativeMap and ThreadTransfer: what `rundown: true` means to a runtime, and
/// dotnet-trace's default.
pub const DEFAULT_RUNDOWN: u64 = 0x8002_0139;

/// Loader and Jit: the names of all methods and modules. The rest of [`DEFAULT_RUNDOWN`] is nearly all maps from IL to native
/// code, a quarter of the bytes on .NET 10, and the words of a file for tools that look for lines of source.
pub const NAMES_RUNDOWN: u64 = keyword::LOADER | keyword::JIT;

/// What a client of a shared session of Meters calls itself.
const CLIENT: &str = "ClientId=sideflame";

/// Most providers in one session; a request has 64 KiB for all of them.
const MAX_PROVIDERS: usize = 64;

/// What to ask the runtime for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPlan {
    /// One entry per provider name.
    pub providers: Vec<DotnetProvider>,
    /// Rundown keywords; [`NAMES_RUNDOWN`] brings all names.
    pub rundown: u64,
    /// It was put together by hand, and no event says what it is for.
    pub custom: bool,
    /// Who samples, for the quality stamp, e.g. `EventPipe sample profiler`.
    pub sampler: Cow<'static, str>,
}

/// A `profile=` or `providers=` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvidersError {
    /// No such profile.
    #[error("there is no profile {name:?}; allowed are {}", profile_names().join(", "))]
    UnknownProfile {
        /// What was asked for.
        name: String,
    },
    /// Not `Name[:keywords[:level[:arguments]]]`.
    #[error(
        "provider {provider:?} is not Name:keywords:level:arguments: {detail} \
         (e.g. Microsoft-Windows-DotNETRuntime:0x1:verbose or System.Runtime:0:4:EventCounterIntervalSec=1)"
    )]
    InvalidProvider {
        /// What was asked for, shortened.
        provider: String,
        /// Which part is wrong.
        detail: &'static str,
    },
    /// The same provider twice with arguments: the runtime takes one set.
    #[error("provider {name} has arguments more than once")]
    ArgumentsTwice {
        /// Its name.
        name: String,
    },
    /// Too many providers.
    #[error("at most {MAX_PROVIDERS} providers fit into one session")]
    TooMany,
    /// The event is none that .NET has.
    #[error("a .NET process has no event {event:?}; allowed are cpu, wall, alloc, lock, exceptions, goroutine")]
    UnknownEvent {
        /// What was asked for.
        event: String,
    },
}

impl ProvidersError {
    /// The query parameter to blame.
    pub fn parameter(&self) -> &'static str {
        match self {
            Self::UnknownProfile { .. } => "profile",
            Self::UnknownEvent { .. } => "event",
            Self::InvalidProvider { .. } | Self::ArgumentsTwice { .. } | Self::TooMany => "providers",
        }
    }
}

impl SessionPlan {
    /// Profiles and providers as dotnet-trace combines them: a provider given by name beats the same one of a
    /// profile, and the event only counts when neither profiles nor providers are given.
    ///
    /// Two differences: two profiles with the same provider are united (dotnet-trace drops the second), and names
    /// are compared without case for the same reason.
    ///
    /// # Errors
    /// [`ProvidersError`].
    pub fn of(event: &Event, profiles: &[String], providers: &[DotnetProvider]) -> Result<Self, ProvidersError> {
        if profiles.is_empty() && providers.is_empty() {
            return Self::of_event(event);
        }
        let mut plan = Self {
            providers: Vec::new(),
            rundown: 0,
            custom: true,
            sampler: "EventPipe".into(),
        };
        for provider in providers {
            plan.unite(provider.clone())?;
        }
        let explicit = plan.providers.len();
        for name in profiles {
            let profile = profile(name).ok_or_else(|| ProvidersError::UnknownProfile { name: shortened(name) })?;
            plan.rundown |= profile.rundown;
            for provider in profile.providers {
                let named = plan
                    .providers
                    .iter()
                    .take(explicit)
                    .any(|known| same_name(known, &provider));
                if !named {
                    plan.unite(provider)?;
                }
            }
        }
        if plan.rundown == 0 {
            plan.rundown = DEFAULT_RUNDOWN;
        }
        if plan.samples_stacks() {
            plan.sampler = "EventPipe sample profiler".into();
        }
        Ok(plan)
    }

    /// The counters of these sources; the usual ones if there are none. A source may be an `EventSource` or a Meter, which only the process
    /// knows: those that are named are asked for as both.
    pub fn of_counters(sources: &[String], seconds: u32) -> Self {
        const USUAL: [&str; 2] = ["System.Runtime", "Microsoft.AspNetCore.Hosting"];
        /// Values of time series.
        const VALUES: u64 = 2;
        let names: Vec<&str> = match sources.is_empty() {
            true => USUAL.to_vec(),
            false => sources.iter().map(String::as_str).collect(),
        };
        let mut providers: Vec<_> = names
            .iter()
            .filter(|name| **name != METRICS)
            .map(|name| DotnetProvider {
                arguments: format!("EventCounterIntervalSec={seconds}"),
                ..provider(name, 0, INFORMATIONAL)
            })
            .collect();
        if !sources.is_empty() {
            // Shared: before .NET 8 there was one session at a time, and whoever came second got nothing.
            providers.push(DotnetProvider {
                arguments: format!(
                    "SessionId=SHARED;{CLIENT};Metrics={};RefreshInterval={seconds};MaxTimeSeries=1000;MaxHistograms=20",
                    names.join(",")
                ),
                ..provider(METRICS, VALUES, INFORMATIONAL)
            });
        }
        Self {
            providers,
            rundown: 0,
            custom: false,
            sampler: "EventPipe counters".into(),
        }
    }

    /// The same for a client with this number: those of a shared session must be told apart.
    pub fn numbered(&self, client: u32) -> Self {
        let mut plan = self.clone();
        for provider in &mut plan.providers {
            provider.arguments = provider.arguments.replace(CLIENT, &format!("{CLIENT}-{client}"));
        }
        plan
    }

    fn of_event(event: &Event) -> Result<Self, ProvidersError> {
        // Without the GC keyword for cpu: the sampler's own suspensions would bring four GC events for each of its ticks.
        let (own, sampler) = match event {
            Event::Cpu | Event::Wall | Event::Goroutine => (keyword::NAMES, "EventPipe sample profiler"),
            Event::Alloc => (
                keyword::GC | keyword::ALLOCATION_SAMPLING,
                "EventPipe allocation events",
            ),
            Event::Lock => (keyword::CONTENTION, "EventPipe contention events"),
            Event::Exceptions => (keyword::EXCEPTION, "EventPipe exception events"),
            other => {
                return Err(ProvidersError::UnknownEvent {
                    event: other.name().to_owned(),
                });
            }
        };
        let mut providers = vec![provider(RUNTIME, own | keyword::NAMES, VERBOSE)];
        if matches!(event, Event::Cpu | Event::Wall | Event::Goroutine) {
            providers.insert(0, provider(SAMPLE_PROFILER, 0, INFORMATIONAL));
        }
        Ok(Self {
            providers,
            rundown: NAMES_RUNDOWN,
            custom: false,
            sampler: sampler.into(),
        })
    }

    /// True when the runtime's sample profiler is part of it.
    pub fn samples_stacks(&self) -> bool {
        self.providers
            .iter()
            .any(|provider| provider.name.eq_ignore_ascii_case(SAMPLE_PROFILER))
    }

    fn unite(&mut self, new: DotnetProvider) -> Result<(), ProvidersError> {
        let Some(known) = self.providers.iter_mut().find(|known| same_name(known, &new)) else {
            if self.providers.len() == MAX_PROVIDERS {
                return Err(ProvidersError::TooMany);
            }
            self.providers.push(new);
            return Ok(());
        };
        known.keywords |= new.keywords;
        // LogAlways (0) asks for everything, so it is the widest level and not the narrowest.
        known.level = if known.level == 0 || new.level == 0 {
            0
        } else {
            known.level.max(new.level)
        };
        if known.arguments.is_empty() {
            known.arguments = new.arguments;
        } else if !new.arguments.is_empty() {
            return Err(ProvidersError::ArgumentsTwice {
                name: known.name.clone(),
            });
        }
        Ok(())
    }
}

/// A full collection, and a walk through what is left.
pub(super) fn heap_session() -> SessionPlan {
    bare(provider(RUNTIME, keyword::HEAP_SNAPSHOT, VERBOSE))
}

/// To begin and to end before: a runtime names each type once until a session of its provider begins that does not ask for types. .NET Core
/// 3.1 names none in a second walk otherwise. (dotnet-gcdump begins one of the sample profiler, which 3.1 does not take for that.)
pub(super) fn type_table_flush() -> SessionPlan {
    const CRITICAL: u32 = 1;
    bare(provider(RUNTIME, keyword::EXCEPTION, CRITICAL))
}

fn bare(provider: DotnetProvider) -> SessionPlan {
    SessionPlan {
        providers: vec![provider],
        rundown: 0,
        custom: false,
        sampler: "EventPipe".into(),
    }
}

fn same_name(one: &DotnetProvider, other: &DotnetProvider) -> bool {
    one.name.eq_ignore_ascii_case(&other.name)
}

fn provider(name: &str, keywords: u64, level: u32) -> DotnetProvider {
    DotnetProvider {
        name: name.to_owned(),
        keywords,
        level,
        arguments: String::new(),
    }
}

struct Profile {
    providers: Vec<DotnetProvider>,
    rundown: u64,
}

const PROFILES: [&str; 6] = [
    "dotnet-common",
    "dotnet-sampled-thread-time",
    "cpu-sampling",
    "gc-verbose",
    "gc-collect",
    "database",
];

/// The profiles there are, in the order of dotnet-trace's help.
pub fn profile_names() -> &'static [&'static str] {
    &PROFILES
}

fn profile(name: &str) -> Option<Profile> {
    use keyword::{
        ASSEMBLY_LOADER, COMPILATION, EXCEPTION, GC, GC_HANDLE, IL_TO_NATIVE_MAP, JIT, LOADER, THREADING,
        TRACE_EVENT_DEFAULT,
    };
    const COMMON: u64 = GC | ASSEMBLY_LOADER | LOADER | JIT | EXCEPTION | THREADING | IL_TO_NATIVE_MAP | COMPILATION;
    let name = PROFILES.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    let mut rundown = DEFAULT_RUNDOWN;
    let providers = match name {
        "dotnet-common" => vec![provider(RUNTIME, COMMON, INFORMATIONAL)],
        "dotnet-sampled-thread-time" => vec![provider(SAMPLE_PROFILER, 0, INFORMATIONAL)],
        "cpu-sampling" => vec![
            provider(SAMPLE_PROFILER, 0, INFORMATIONAL),
            provider(RUNTIME, TRACE_EVENT_DEFAULT, INFORMATIONAL),
        ],
        "gc-verbose" => vec![provider(RUNTIME, GC | GC_HANDLE | EXCEPTION, VERBOSE)],
        "gc-collect" => {
            // No method names: this profile is there to cost nothing, and GC events are read without stacks.
            rundown = GC;
            vec![
                provider(RUNTIME, GC, INFORMATIONAL),
                provider(RUNTIME_PRIVATE, GC, INFORMATIONAL),
            ]
        }
        "database" => vec![
            // TasksFlowActivityIds ties a command to the request that ran it.
            provider(TASKS, 0x80, INFORMATIONAL),
            // Messages and Events.
            DotnetProvider {
                arguments: database_filter(),
                ..provider(DIAGNOSTIC_SOURCE, 0x3, VERBOSE)
            },
        ],
        _ => return None,
    };
    Some(Profile { providers, rundown })
}

/// Which ADO.NET and Entity Framework events become activities, and which of their properties are recorded.
///
/// dotnet-trace also records `Command.Connection.ConnectionString`; we do not, because it may hold the password.
fn database_filter() -> String {
    const BOTH: [&str; 2] = ["Command", "Command.CommandText"];
    const CONNECTION: [&str; 6] = [
        "Command.Connection.ServerVersion",
        "Command.CommandTimeout",
        "Command.CommandType",
        "Command.Connection.Database",
        "Command.Connection.DataSource",
        "Command.Connection.PacketSize",
    ];
    let properties = |own: &[&'static str]| [&BOTH, own, &CONNECTION].concat().join(";");
    let sql = "SqlClientDiagnosticListener/System.Data.SqlClient.WriteCommand";
    let entity = "Microsoft.EntityFrameworkCore/Microsoft.EntityFrameworkCore.Database.Command.Command";
    let specs = [
        format!(
            "{sql}Before@Activity1Start:-{}",
            properties(&["ConnectionId", "Operation"])
        ),
        format!("{sql}After@Activity1Stop:"),
        format!(
            "{entity}Executing@Activity2Start:-{}",
            properties(&["ConnectionId", "IsAsync", "Command.Connection.ClientConnectionId"])
        ),
        format!("{entity}Executed@Activity2Stop:"),
    ];
    format!("FilterAndPayloadSpecs=\"{}\"", specs.join("\r\n"))
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::dotnet::provider_syntax::{parse_provider, split_list};

    fn plan(profiles: &[&str], providers: &str) -> Result<SessionPlan, ProvidersError> {
        let profiles: Vec<String> = profiles.iter().map(|&name| name.to_owned()).collect();
        let providers: Vec<DotnetProvider> = split_list(providers)
            .filter(|text| !text.is_empty())
            .map(parse_provider)
            .collect::<Result<_, _>>()?;
        SessionPlan::of(&Event::Cpu, &profiles, &providers)
    }

    fn listed(plan: &SessionPlan) -> Vec<(&str, u64, u32)> {
        plan.providers
            .iter()
            .map(|provider| (provider.name.as_str(), provider.keywords, provider.level))
            .collect()
    }

    #[test]
    fn profiles_ask_for_what_dotnet_trace_asks_for() {
        let common = (RUNTIME, 0x10_0003_801D, 4);
        let samples = (SAMPLE_PROFILER, 0, 4);
        for (name, expected) in [
            ("dotnet-common", vec![common]),
            ("dotnet-sampled-thread-time", vec![samples]),
            ("cpu-sampling", vec![samples, (RUNTIME, 0x14_C14F_CCBD, 4)]),
            ("gc-verbose", vec![(RUNTIME, 0x8003, 5)]),
            ("gc-collect", vec![(RUNTIME, 1, 4), (RUNTIME_PRIVATE, 1, 4)]),
            ("database", vec![(TASKS, 0x80, 4), (DIAGNOSTIC_SOURCE, 3, 5)]),
        ] {
            let plan = plan(&[name], "").unwrap();
            assert_eq!(listed(&plan), expected, "{name}");
            assert_eq!(
                plan.rundown,
                if name == "gc-collect" { 1 } else { DEFAULT_RUNDOWN },
                "{name}"
            );
        }
        assert_eq!(profile_names().len(), 6);
    }

    #[test]
    fn profiles_are_united() {
        let both = plan(&["dotnet-common", "gc-verbose", "gc-collect"], "").unwrap();
        assert_eq!(
            listed(&both),
            vec![(RUNTIME, 0x10_0003_801F, 5), (RUNTIME_PRIVATE, 1, 4)]
        );
        assert_eq!(both.rundown, DEFAULT_RUNDOWN | 1);
    }

    #[test]
    fn a_provider_given_by_name_beats_the_one_of_a_profile() {
        let plan = plan(
            &["dotnet-common", "dotnet-sampled-thread-time"],
            "microsoft-windows-dotnetruntime:1:5",
        )
        .unwrap();
        assert_eq!(
            listed(&plan),
            vec![("microsoft-windows-dotnetruntime", 1, 5), (SAMPLE_PROFILER, 0, 4)]
        );
    }

    #[test]
    fn providers_alone_leave_the_event_out() {
        assert_eq!(
            listed(&plan(&[], "System.Runtime:0:4:EventCounterIntervalSec=1").unwrap()),
            vec![("System.Runtime", 0, 4)]
        );
    }

    #[test]
    fn an_unknown_profile_lists_the_allowed_ones() {
        let error = plan(&["cpu"], "").unwrap_err();
        assert_eq!(error.parameter(), "profile");
        assert!(
            error.to_string().contains("gc-verbose, gc-collect, database"),
            "{error}"
        );
    }

    #[test]
    fn every_event_brings_the_names_of_methods_that_come_and_go() {
        for event in [Event::Cpu, Event::Wall, Event::Alloc, Event::Lock, Event::Exceptions] {
            let plan = SessionPlan::of(&event, &[], &[]).unwrap();
            let runtime = plan.providers.iter().find(|provider| provider.name == RUNTIME).unwrap();
            assert_eq!(
                (runtime.keywords & 0x38, runtime.level, plan.rundown, plan.custom),
                (0x38, 5, 0x18, false),
                "{event}"
            );
            assert_eq!(plan.samples_stacks(), matches!(event, Event::Cpu | Event::Wall));
        }
        assert_eq!(
            SessionPlan::of(&Event::Block, &[], &[]).unwrap_err().parameter(),
            "event"
        );
    }

    #[test]
    fn the_database_profile_records_no_connection_string() {
        assert!(!database_filter().contains("ConnectionString"));
        let provider = format!("A:0:5:{}", database_filter());
        assert_eq!(parse_provider(&provider).unwrap().arguments, database_filter());
    }

    #[test]
    fn a_session_has_a_bounded_number_of_providers() {
        let many: Vec<String> = (0..65).map(|number| format!("A{number}")).collect();
        assert_eq!(plan(&[], &many.join(",")), Err(ProvidersError::TooMany));
    }
}
