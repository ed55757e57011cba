//! Whether the JVM can tell which method is at work in compiled code that has several, inlined into each other.
//!
//! HotSpot, up to JDK 25 at least, keeps that for safepoints only unless `DebugNonSafepoints` is on; a sample elsewhere lands on a
//! caller then: of a loop over two inlined methods 0 of 640 samples were theirs, with the flag 522 of 624.
//! async-profiler sets the flag when it is loaded, which helps code that is compiled later: so it is whole from the
//! start if the flag was given, or if the profiler came as an agent with the start. Called by the doctor and the recorder.
//! Source: OpenJDK `debugInfoRec.cpp`, async-profiler 4.6 `vmEntry.cpp`.

use super::agent_library;
use super::startup::Startup;
use crate::event::Event;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::Reason;

/// Why samples of inlined methods are counted to others; `None` if they are not. It matters to events that
/// [`interrupt_code`].
pub fn unseen(startup: &Startup, table: &ProcessTable, root: &TargetRoot, process: &Process) -> Option<Reason> {
    let is_told = match startup.switch("DebugNonSafepoints") {
        // Without the other one the JVM does not start, or ignores it where it was told to.
        Some(on) => on && startup.switch("UnlockDiagnosticVMOptions") == Some(true),
        None => {
            let agents = startup
                .options()
                .filter_map(|option| option.strip_prefix("-agentpath:"));
            let agents: Vec<&str> = agents.map(|agent| agent.split('=').next().unwrap_or(agent)).collect();
            let profilers = || agent_library::loaded(table, root, process);
            !agents.is_empty() && profilers().iter().any(|copy| agents.contains(&copy.as_str()))
        }
    };
    (!is_told).then(reason)
}

/// True of events that come while code runs. Allocations, locks and calls come at places that every JVM knows.
pub fn interrupt_code(event: &Event) -> bool {
    const AT_CALLS: [&str; 4] = ["nativemem", "leaks", "nativelock", "latency"];
    match event {
        Event::Cpu | Event::Wall => true,
        // A method that is called, `java.lang.Thread.start`, but no `kernel:tracepoint`.
        Event::Named(name) => !AT_CALLS.contains(&name.as_str()) && (!name.contains('.') || name.contains(':')),
        _ => false,
    }
}

fn reason() -> Reason {
    Reason::new(
        "inlining_unseen",
        "samples of inlined methods may count to their callers: no -XX:+DebugNonSafepoints when they were compiled",
        "start it with -XX:+UnlockDiagnosticVMOptions -XX:+DebugNonSafepoints, e.g. in JAVA_TOOL_OPTIONS (in an injected \
         pod: sideflame.io/jvm-debug-info: \"true\")",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a JVM of this command line that has an async-profiler loaded tells inlined methods apart.
    fn tells(line: &str) -> bool {
        let (root, proc, mut process) = TargetRoot::example();
        let maps = "7f00-7f01 r-xp 00000000 08:01 7      /opt/libasyncProfiler.so\n";
        std::fs::write(proc.path().join("17/maps"), maps).unwrap();
        process.command_line = line.split(' ').collect();
        let table = ProcessTable::at(proc.path());
        unseen(&Startup::of(&table, &root, &process), &table, &root, &process).is_none()
    }

    #[test]
    fn inlined_methods_are_seen_with_the_flag_or_with_the_profiler_from_the_start() {
        for (line, seen) in [
            ("java Main", false),
            ("java -XX:+UnlockDiagnosticVMOptions -XX:+DebugNonSafepoints Main", true),
            (
                "java -XX:+IgnoreUnrecognizedVMOptions -XX:+DebugNonSafepoints Main",
                false,
            ),
            (
                "java -XX:+UnlockDiagnosticVMOptions -XX:-DebugNonSafepoints Main",
                false,
            ),
            ("java -agentpath:/opt/libasyncProfiler.so=start,event=cpu Main", true),
            ("java -agentpath:/opt/other.so=start Main", false),
        ] {
            assert_eq!(tells(line), seen, "{line}");
        }
    }

    #[test]
    fn events_at_calls_are_exact_on_every_jvm() {
        let interrupts = |event: &str| interrupt_code(&event.parse().unwrap());
        for event in ["alloc", "lock", "heap", "nativemem", "java.lang.Thread.start"] {
            assert!(!interrupts(event), "{event}");
        }
        for event in ["cpu", "wall", "ctimer", "cycles", "sched:sched_switch"] {
            assert!(interrupts(event), "{event}");
        }
    }
}
