//! What async-profiler can do for a JVM, and what stands in its way.
//!
//! Reads `/proc` and the target's `/tmp`; signals and attaches to nothing. Called by the inspector for the table and by
//! the recorder right before it attaches.

use super::agent_library;
use super::command_line::{self, JavaCommand};
use super::descriptors;
use super::detect::socket_path;
use super::hsperfdata::PerfData;
use super::settings::JvmSettings;
use crate::event::Event;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::{Availability, Examination, JavaVm, Reason, RuntimeFacts, Target, Verdict, no_access, stopped};

/// Events async-profiler samples, in the order of the table.
const SAMPLED: [Event; 5] = [Event::Cpu, Event::Wall, Event::Alloc, Event::Heap, Event::Lock];

/// Events of other runtimes.
const FOREIGN: [Event; 4] = [Event::Block, Event::Goroutine, Event::Threadcreate, Event::Exceptions];

/// Verdicts for every event of the runtime.
pub fn verdicts(examination: &Examination<'_>) -> Vec<Verdict> {
    let target = examination.target;
    let blocker = match examination.root {
        Ok(root) => blocker(examination.table, target, &target.process, root),
        Err(_) => Some(no_access(target)),
    };
    let sampled = SAMPLED.into_iter().map(
        |event| match (&blocker, limitation(examination.table, target, &event)) {
            (Some(reason), _) => Verdict::impossible(event, reason.clone()),
            (None, Some((Availability::Impossible, reason))) => Verdict::impossible(event, reason),
            (None, Some((_, reason))) => Verdict::degraded(event, reason),
            (None, None) => Verdict::available(event),
        },
    );
    let foreign = FOREIGN.into_iter().map(|event| {
        let reason = no_such_event(&event);
        Verdict::impossible(event, reason)
    });
    sampled.chain(foreign).collect()
}

/// The event whose verdict counts for `event`: events that only async-profiler knows by name stand or fall with `cpu`.
pub fn judged_as(event: &Event) -> &Event {
    match event {
        Event::Named(_) => &Event::Cpu,
        event => event,
    }
}

/// Adds what only the server knows: whether there is a library to load.
pub fn complete(verdicts: &mut [Verdict], settings: &JvmSettings) {
    let Err(reason) = settings.library() else { return };
    let possible = |verdict: &&mut Verdict| verdict.availability != Availability::Impossible;
    for verdict in verdicts.iter_mut().filter(possible) {
        *verdict = Verdict::impossible(verdict.event.clone(), reason.clone());
    }
}

/// What keeps async-profiler out of the JVM as it runs now, whatever the event. `process` is a fresh row of `/proc`.
pub fn blocker(table: &ProcessTable, target: &Target, process: &Process, root: &TargetRoot) -> Option<Reason> {
    let theirs = process.credentials;
    if (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) != (theirs.uid, theirs.gid) {
        // The JVM's listener compares both, and refuses without a word.
        return Some(no_access(target));
    }
    if process.is_stopped() {
        return Some(stopped());
    }
    if matches!(target.facts, RuntimeFacts::Jvm { vm: JavaVm::OpenJ9, .. }) {
        return Some(openj9_unsupported());
    }
    let environment = table.environment(
        process.id.pid,
        &["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"],
    );
    let variable = |name: &str| environment.get(name).map_or("", String::as_str);
    let command = JavaCommand::parse(&process.command_line);
    // The JVM's own list has what it read from files, too; it does not exist with -XX:-UsePerfData.
    let told = PerfData::read(root, process)
        .and_then(|data| data.arguments)
        .unwrap_or_default();
    // In the order in which the JVM reads them: the last word counts.
    let options = [variable("JAVA_TOOL_OPTIONS"), variable("JDK_JAVA_OPTIONS")]
        .into_iter()
        .flat_map(str::split_whitespace)
        .chain(command.options.iter().copied())
        .chain(variable("_JAVA_OPTIONS").split_whitespace())
        .chain(told.split_whitespace());
    let options: Vec<&str> = options.collect();
    if command_line::switch(&options, "DisableAttachMechanism") == Some(true) {
        return Some(attach_disabled());
    }
    if command_line::switch(&options, "EnableDynamicAgentLoading") == Some(false) {
        return Some(agent_loading_disabled());
    }
    tmp(table, process, root).or_else(|| {
        let listens = has_socket(root, process);
        (!listens && !process.handles_sigquit()).then(sigquit_unhandled)
    })
}

/// True if the JVM's listener has been started before. A file that somebody else who shares the directory put there is no
/// sign of it.
fn has_socket(root: &TargetRoot, process: &Process) -> bool {
    let owner = root.owner(socket_path(process));
    owner.is_ok_and(|owner| owner == process.credentials.uid)
}

fn tmp(table: &ProcessTable, process: &Process, root: &TargetRoot) -> Option<Reason> {
    let directory = match root.open_directory("/tmp") {
        Ok(directory) => directory,
        Err(error) => return Some(tmp_missing(&error)),
    };
    match root.file_system("/tmp") {
        Ok(facts) if facts.read_only => return Some(tmp_read_only()),
        // Somewhere in it, a recording of a few megabytes must have room.
        Ok(facts) if facts.free_bytes < 8 << 20 => return Some(tmp_full(facts.free_bytes)),
        Ok(facts) if facts.no_exec => {
            let elsewhere = !agent_library::loaded(table, process).is_empty()
                || agent_library::shares_files(table, root, process)
                || agent_library::server_root(table, process).is_some();
            if !elsewhere {
                return Some(tmp_noexec());
            }
        }
        _ => {}
    }
    use nix::fcntl::AtFlags;
    use nix::unistd::{AccessFlags, faccessat};
    match faccessat(
        &directory,
        ".",
        AccessFlags::W_OK | AccessFlags::X_OK,
        AtFlags::AT_EACCESS,
    ) {
        Err(nix::errno::Errno::EACCES) => Some(tmp_not_writable()),
        _ => None,
    }
}

/// What is less than it should be about one event.
fn limitation(table: &ProcessTable, target: &Target, event: &Event) -> Option<(Availability, Reason)> {
    match event {
        Event::Cpu => perf_events_unavailable(table, &target.process)
            .or_else(|| descriptors::too_few(table, &target.process))
            .map(|reason| (Availability::Degraded, reason)),
        Event::Heap
            if target
                .version()
                .and_then(feature_release)
                .is_some_and(|release| release < 11) =>
        {
            let reason = Reason::new(
                "heap_needs_jdk11",
                "live objects can be told from dead ones only by JDK 11 and later",
                "run the application on JDK 11 or later, or use event=alloc",
            );
            Some((Availability::Impossible, reason))
        }
        Event::Heap => Some((Availability::Degraded, heap_since_start())),
        _ => None,
    }
}

/// 8 of `1.8.0_402`, 17 of `17.0.15`.
fn feature_release(version: &str) -> Option<u32> {
    let mut numbers = version.split(['.', '-', '+', '_']).map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        release => Some(release),
    }
}

/// Why the JVM itself cannot open perf_events with kernel stacks, if that can be foretold: it is the JVM's right that
/// counts, not ours.
pub fn perf_events_unavailable(table: &ProcessTable, process: &Process) -> Option<Reason> {
    const SYS_ADMIN: u64 = 1 << 21;
    const PERFMON: u64 = 1 << 38;
    let read = |name: &str| std::fs::read_to_string(table.directory(process.id.pid).join(name)).unwrap_or_default();
    // Capabilities of another user namespace do not open perf_events.
    let own_users = !read("uid_map").split_whitespace().eq(["0", "0", "4294967295"]);
    let privileged = process.credentials.capabilities & (PERFMON | SYS_ADMIN) != 0 && !own_users;
    if privileged {
        return None;
    }
    let paranoid: i32 = read("../sys/kernel/perf_event_paranoid").trim().parse().unwrap_or(2);
    let filtered = read("status")
        .lines()
        .any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
    let why = match (paranoid > 1, filtered) {
        (true, _) => format!("kernel.perf_event_paranoid is {paranoid}"),
        (false, true) => "its seccomp profile forbids perf_event_open".to_owned(),
        (false, false) => return None,
    };
    Some(Reason::new(
        "perf_events_unavailable",
        format!(
            "the process may not use perf_events ({why}, and it has no CAP_PERFMON): cpu is sampled by a timer per \
             thread, without kernel frames"
        ),
        "add to the application's container: securityContext: {capabilities: {add: [PERFMON]}} (as uid 0), or on the \
         node: sysctl kernel.perf_event_paranoid=1 with a seccomp profile that allows perf_event_open",
    ))
}

/// Why an event that happens in the kernel would never be seen; AP would record an empty profile.
pub fn kernel_event_forbidden(table: &ProcessTable, process: &Process) -> Option<Reason> {
    let reason = perf_events_unavailable(table, process)?;
    let sentence = "the event happens in the kernel, and the process may not use perf_events on the kernel";
    Some(Reason {
        sentence: sentence.to_owned(),
        ..reason
    })
}

/// Why an event of another runtime is not there.
pub fn no_such_event(event: &Event) -> Reason {
    let remedy = match event {
        Event::Goroutine => "use event=wall to sample all threads; jcmd <pid> Thread.print shows their stacks now",
        Event::Block => "use event=lock for contended locks, event=wall for all waiting",
        Event::Threadcreate => "use event=java.lang.Thread.start",
        Event::Exceptions => "use event=java.lang.Throwable.<init>",
        _ => "use cpu, wall, alloc, heap, lock or the name of an async-profiler event",
    };
    Reason::new(
        "event_of_another_runtime",
        format!("a JVM has no event {event}"),
        remedy,
    )
}

/// The limits of a heap profile by sampled allocations.
pub fn heap_since_start() -> Reason {
    Reason::new(
        "heap_since_start",
        "only objects allocated during the capture and not yet collected at its end are seen, at most 1024 of them sampled",
        "capture for longer, with a larger interval; jcmd <pid> GC.class_histogram counts every object",
    )
}

fn openj9_unsupported() -> Reason {
    Reason::new(
        "openj9_unsupported",
        "this is an OpenJ9 virtual machine; sideflame profiles HotSpot only",
        "run the application on a HotSpot JDK (OpenJDK, Temurin, Corretto, Zulu, …)",
    )
}

fn attach_disabled() -> Reason {
    Reason::new(
        "attach_disabled",
        "the JVM runs with -XX:+DisableAttachMechanism; a signal would only make it print its threads",
        "remove -XX:+DisableAttachMechanism from the command line, JAVA_TOOL_OPTIONS, JDK_JAVA_OPTIONS, _JAVA_OPTIONS",
    )
}

/// The JVM refuses every agent.
pub fn agent_loading_disabled() -> Reason {
    Reason::new(
        "agent_loading_disabled",
        "the JVM runs with -XX:-EnableDynamicAgentLoading and refuses to load async-profiler",
        "start it with -XX:+EnableDynamicAgentLoading, e.g. in JAVA_TOOL_OPTIONS",
    )
}

/// The JVM would die of our signal.
pub fn sigquit_unhandled() -> Reason {
    Reason::new(
        "sigquit_unhandled",
        "the JVM has no handler for SIGQUIT (-Xrs, or it is just starting): the signal that opens its attach socket \
         would kill it",
        "remove -Xrs (-XX:+ReduceSignalUsage), or start with -XX:+StartAttachListener, e.g. in JAVA_TOOL_OPTIONS",
    )
}

/// Neither socket nor recording can exist.
pub fn tmp_read_only() -> Reason {
    Reason::new(
        "tmp_read_only",
        "/tmp of the container is read-only; the JVM's attach socket and the recording have to be there",
        "volumes: [{name: tmp, emptyDir: {}}] and volumeMounts: [{name: tmp, mountPath: /tmp}] in the container",
    )
}

/// The library cannot be loaded from anywhere.
pub fn tmp_noexec() -> Reason {
    Reason::new(
        "tmp_noexec",
        "/tmp of the container is mounted noexec; async-profiler cannot be loaded from there",
        "mount an emptyDir at /tmp, or run sideflame with the application's user and group and no capabilities, so \
         that the JVM can read the library from sideflame's own file system",
    )
}

fn tmp_not_writable() -> Reason {
    Reason::new(
        "tmp_not_writable",
        "the process's own user may not write to /tmp",
        "mount an emptyDir at /tmp of the container, or make it mode 1777",
    )
}

fn tmp_full(free: u64) -> Reason {
    Reason::new(
        "tmp_full",
        format!("/tmp of the container has {free} bytes left; a recording needs some megabytes"),
        "make room in /tmp, or raise the sizeLimit of its emptyDir",
    )
}

fn tmp_missing(error: &std::io::Error) -> Reason {
    Reason::new(
        "tmp_missing",
        format!("/tmp of the container cannot be used: {error}; it must be a real directory, not a link"),
        "mount an emptyDir at /tmp of the container",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_somebody_else_is_no_listener() {
        let (root, proc, mut process) = TargetRoot::example();
        assert!(!has_socket(&root, &process));
        std::fs::write(proc.path().join("17/root/tmp/.java_pid17"), "").unwrap();
        assert!(has_socket(&root, &process));
        process.credentials.uid += 1;
        assert!(!has_socket(&root, &process));
    }

    #[test]
    fn without_our_library_nothing_works_and_what_was_impossible_keeps_its_reason() {
        let mut verdicts = [
            Verdict::available(Event::Cpu),
            Verdict::degraded(Event::Heap, heap_since_start()),
            Verdict::impossible(Event::Block, no_such_event(&Event::Block)),
        ];
        complete(&mut verdicts, &JvmSettings::new(Some("/nowhere/library.so".into())));
        let keys = verdicts.map(|verdict| (verdict.availability, verdict.reason.unwrap().key.into_owned()));
        let impossible = |key: &str| (Availability::Impossible, key.to_owned());
        assert_eq!(
            keys,
            [
                impossible("profiler_library_missing"),
                impossible("profiler_library_missing"),
                impossible("event_of_another_runtime")
            ]
        );
    }
}
