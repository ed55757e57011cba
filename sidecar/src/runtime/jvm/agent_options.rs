//! Every option of async-profiler 4.6, and what becomes of it here: a parameter, ours to set, or refused with the reason.
//!
//! Called when somebody asks for an option that is no parameter. Source: `arguments.cpp`.

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A parameter of this name gives it, perhaps among its values.
    Parameter(&'static str),
    /// Not the user's to set, and why.
    Refused(&'static str),
}

use Fate::{Parameter, Refused};

const COMMANDS: &str = "captures are started and stopped through sideflame, which cleans up behind them";
const FILES: &str = "sideflame says where the profiler writes, and removes it";
const RENDERING: &str = "sideflame renders by itself: see format";
const BREAKPOINTS: &str = "it patches machine code of the running JVM";
const PERF_ONLY: &str = "it needs perf_events and would take away the way out, timers";
const CHUNKS: &str = "a capture is short, and its recording leaves the application when it ends";

/// The options, in the order of `arguments.cpp`.
pub const TABLE: [(&str, Fate); 73] = [
    ("start", Refused(COMMANDS)),
    ("resume", Refused(COMMANDS)),
    ("stop", Refused(COMMANDS)),
    ("dump", Refused(COMMANDS)),
    ("status", Refused(COMMANDS)),
    ("metrics", Refused(COMMANDS)),
    ("list", Refused("GET /doctor lists what can be sampled")),
    ("version", Refused("it is in every artifact's stamp")),
    ("collapsed", Parameter("format")),
    ("flamegraph", Refused(RENDERING)),
    ("tree", Refused(RENDERING)),
    ("jfr", Parameter("format")),
    (
        "jfropts",
        Refused("it would keep the whole recording in the application's memory"),
    ),
    (
        "jfrsync",
        Refused("it starts the JDK's own recorder, which has other costs, and secrets in its file"),
    ),
    ("traces", Refused(RENDERING)),
    ("flat", Refused(RENDERING)),
    ("otlp", Refused(RENDERING)),
    (
        "samples",
        Refused("pprof has samples and totals; of the others each event has what says more"),
    ),
    (
        "total",
        Refused("pprof has samples and totals; of the others each event has what says more"),
    ),
    (
        "ratelimit",
        Refused("it drops events of the busiest moments; use interval"),
    ),
    ("chunksize", Refused(CHUNKS)),
    ("chunktime", Refused(CHUNKS)),
    ("event", Parameter("event")),
    (
        "timeout",
        Refused("seconds says how long, and sideflame sets a timeout of its own behind it"),
    ),
    (
        "loop",
        Refused("a profiler that starts anew by itself would outlive the capture"),
    ),
    (
        "memlimit",
        Refused("it is 128 MiB, so that stacks cannot fill the application's memory"),
    ),
    ("alloc", Parameter("event")),
    ("tlab", Parameter("tlab")),
    ("nativemem", Parameter("event")),
    ("nofree", Parameter("nofree")),
    ("trace", Parameter("trace")),
    ("lock", Parameter("event")),
    ("nativelock", Parameter("event")),
    ("wall", Parameter("event")),
    ("proc", Parameter("proc")),
    ("cpu", Parameter("event")),
    ("all", Parameter("event")),
    ("interval", Parameter("interval")),
    ("jstackdepth", Parameter("jstackdepth")),
    (
        "signal",
        Refused("a signal that the application uses itself would be taken from it"),
    ),
    ("features", Parameter("features")),
    ("file", Refused(FILES)),
    ("log", Refused(FILES)),
    ("loglevel", Refused(FILES)),
    ("quiet", Refused(FILES)),
    (
        "fdtransfer",
        Refused("it needs a privileged process beside the application; give that PERFMON instead"),
    ),
    (
        "filter",
        Refused("it takes thread ids of the application's own pid namespace; use threads=true"),
    ),
    ("include", Parameter("include")),
    ("exclude", Parameter("exclude")),
    ("threads", Parameter("threads")),
    ("sched", Parameter("sched")),
    ("record-cpu", Refused(PERF_ONLY)),
    ("live", Parameter("event")),
    (
        "nobatch",
        Refused("wall is never batched here: batches get short waits wrong"),
    ),
    ("alluser", Parameter("alluser")),
    ("cstack", Parameter("cstack")),
    ("clock", Refused("readers of a JFR convert its timestamps")),
    ("target-cpu", Refused(PERF_ONLY)),
    ("simple", Parameter("simple")),
    ("dot", Refused("classes always have dots here")),
    ("norm", Parameter("names")),
    ("sig", Parameter("sig")),
    (
        "ann",
        Refused("who executes a frame is always recorded, and shown as its colour"),
    ),
    ("lib", Parameter("lib")),
    (
        "mcache",
        Refused("it keeps names in the application's memory after the capture"),
    ),
    ("begin", Refused(BREAKPOINTS)),
    ("end", Refused(BREAKPOINTS)),
    ("nostop", Refused(BREAKPOINTS)),
    ("ttsp", Refused(BREAKPOINTS)),
    ("title", Refused(RENDERING)),
    ("minwidth", Refused(RENDERING)),
    ("reverse", Refused(RENDERING)),
    ("inverted", Refused(RENDERING)),
];

/// The option called `word` if it is no parameter, and why not.
pub fn refused(word: &str) -> Option<(&'static str, &'static str)> {
    TABLE.iter().find_map(|(name, fate)| match fate {
        Refused(because) if *name == word => Some((*name, *because)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::Event;
    use crate::runtime::Options;

    /// The words of `Arguments::parse` in 4.6.
    const KNOWN_TO_4_6: &str = "start resume stop dump status metrics list version collapsed flamegraph tree jfr jfropts jfrsync \
        traces flat otlp samples total ratelimit chunksize chunktime event timeout loop memlimit alloc tlab nativemem nofree trace \
        lock nativelock wall proc cpu all interval jstackdepth signal features file log loglevel quiet fdtransfer filter include \
        exclude threads sched record-cpu live nobatch alluser cstack clock target-cpu simple dot norm sig ann lib mcache begin end \
        nostop ttsp title minwidth reverse inverted";

    #[test]
    fn every_option_of_async_profiler_is_a_parameter_or_refused_with_a_reason() {
        let known: BTreeSet<&str> = KNOWN_TO_4_6.split_whitespace().collect();
        let ours: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        assert_eq!(ours.len(), TABLE.len(), "each once");
        assert_eq!(known.difference(&ours).collect::<Vec<_>>(), Vec::<&&str>::new());
        let of_every_capture = ["event", "format", "names"];
        for (name, fate) in TABLE {
            match fate {
                Parameter(parameter) => assert!(
                    of_every_capture.contains(&parameter)
                        || Options::parameters().any(|(_, known)| known.name == parameter),
                    "{name}: there is no parameter {parameter}"
                ),
                Refused(because) => assert!(because.len() > 10 && refused(name).is_some(), "{name}"),
            }
        }
    }

    #[test]
    fn options_that_are_events_are_understood_as_events() {
        let events = TABLE.iter().filter(|(_, fate)| *fate == Parameter("event"));
        for (name, _) in events.filter(|(name, _)| !["event", "live"].contains(name)) {
            assert!(name.parse::<Event>().is_ok(), "{name}");
        }
        assert_eq!(refused("cstack"), None);
    }
}
