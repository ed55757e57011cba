//! What async-profiler can do for a JVM, and what stands in its way.
//!
//! Reads `/proc` and the target's `/tmp`; signals and attaches to nothing. Called by the inspector for the table and by
//! the recorder right before it attaches.

use std::cell::OnceCell;

use super::agent_library;
use super::attach_socket::{self, Listener};
use super::descriptors;
use super::hardware;
use super::inlining;
use super::other_session;
use super::settings::JvmSettings;
use super::startup::Startup;
use super::virtual_threads;
use crate::event::Event;
use crate::process::target_root::Directory;
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::dump::{CORE, DUMP};
use crate::runtime::{
    Availability, Examination, HISTOGRAM, JavaVm, Reason, RuntimeFacts, Target, Verdict, no_access, stopped,
};

/// Events async-profiler samples, in the order of the table.
const SAMPLED: [Event; 5] = [Event::Cpu, Event::Wall, Event::Alloc, Event::Heap, Event::Lock];

/// Hooks that only async-profiler has a name for, in the same order.
const HOOKS: [&str; 4] = ["nativemem", "leaks", "nativelock", "latency"];

/// Events of other runtimes.
const FOREIGN: [Event; 3] = [Event::Block, Event::Threadcreate, Event::Exceptions];

/// Verdicts for every event of the runtime.
pub fn verdicts(examination: &Examination<'_>) -> Vec<Verdict> {
    let hooks = HOOKS.map(|name| Event::Named(name.to_owned()));
    let sampled = SAMPLED.into_iter().chain([hardware::CYCLES.clone()]).chain(hooks);
    let sampled = sampled.collect::<Vec<_>>();
    let foreign = FOREIGN.into_iter().map(|event| {
        let reason = no_such_event(&event);
        Verdict::impossible(event, reason)
    });
    let (judged, threads): (Vec<Verdict>, Option<Reason>) = match examination.root {
        Ok(root) => {
            let Examination { table, target, .. } = examination;
            let approach = Approach::to(table, target, &target.process, root);
            let blocker = approach.agent_blocker();
            let inlining = || inlining::unseen(&approach.startup, table, root, &target.process);
            let inlining = blocker.is_none().then(inlining).flatten();
            let judge = |event| verdict(examination, (blocker.as_ref(), inlining.as_ref()), event);
            (sampled.into_iter().map(judge).collect(), approach.attach_blocker())
        }
        Err(_) => {
            let judge = |event| Verdict::impossible(event, no_access(examination.target));
            let judged = sampled.into_iter().map(judge).collect();
            (judged, Some(no_access(examination.target)))
        }
    };
    let histogram = Event::Named(HISTOGRAM.to_owned());
    let of_its_own = match threads {
        Some(reason) => [
            Verdict::impossible(Event::Goroutine, reason.clone()),
            Verdict::impossible(histogram, reason),
        ],
        None => [
            Verdict::available(Event::Goroutine),
            Verdict::degraded(histogram, collects_garbage()),
        ],
    };
    judged.into_iter().chain(of_its_own).chain(foreign).collect()
}

/// `blocker` and `inlining` are true of the process, whatever the event.
fn verdict(
    examination: &Examination<'_>,
    (blocker, inlining): (Option<&Reason>, Option<&Reason>),
    event: Event,
) -> Verdict {
    let Examination { table, target, .. } = examination;
    match blocker.cloned().or_else(|| impossible(table, target, &event)) {
        Some(reason) => Verdict::impossible(event, reason),
        None => {
            let inlining = inlining.filter(|_| inlining::interrupt_code(&event)).cloned();
            let own = limitation(table, &target.process, &event);
            Verdict::limited(event, own.into_iter().chain(inlining))
        }
    }
}

/// The event whose verdict counts for `event`: events that only async-profiler knows by name stand or fall with `cpu`, those
/// of the processor's counters with each other.
pub fn judged_as(event: &Event) -> &Event {
    match event {
        event if hardware::is_hardware(event) => &hardware::CYCLES,
        // The JVM writes it itself.
        Event::Named(name) if name == DUMP => &Event::Goroutine,
        Event::Named(name) if name == HISTOGRAM => event,
        Event::Named(name) if !HOOKS.contains(&name.as_str()) => &Event::Cpu,
        event => event,
    }
}

/// True of what is had of any process without its runtime.
pub fn leaves_to_the_kernel(event: &Event) -> bool {
    matches!(event, Event::Named(name) if name == CORE)
}

/// Adds what only the server knows: whether there is a library to load.
pub fn complete(verdicts: &mut [Verdict], settings: &JvmSettings) {
    let Err(reason) = settings.library() else { return };
    // Threads, counters and classes are the JVM's own to tell, and its memory the kernel's.
    let is_its_own = |event: &Event| match event {
        Event::Goroutine | Event::Counters => true,
        Event::Named(name) => name == HISTOGRAM || leaves_to_the_kernel(event),
        _ => false,
    };
    let possible =
        |verdict: &&mut Verdict| verdict.availability != Availability::Impossible && !is_its_own(&verdict.event);
    for verdict in verdicts.iter_mut().filter(possible) {
        *verdict = Verdict::impossible(verdict.event.clone(), reason.clone());
    }
}

/// What keeps async-profiler out of the JVM as it runs now, whatever the event. `process` is a fresh row of `/proc`.
pub fn blocker(table: &ProcessTable, target: &Target, process: &Process, root: &TargetRoot) -> Option<Reason> {
    Approach::to(table, target, process, root).agent_blocker()
}

/// What keeps the JVM from answering its own commands, for which nothing of ours need be loaded.
pub fn attach_blocker(table: &ProcessTable, target: &Target, process: &Process, root: &TargetRoot) -> Option<Reason> {
    Approach::to(table, target, process, root).attach_blocker()
}

/// The way to a JVM, of which it is known how it was started.
struct Approach<'a> {
    startup: Startup,
    table: &'a ProcessTable,
    target: &'a Target,
    process: &'a Process,
    root: &'a TargetRoot,
    /// Looked for once: it may take a look at every process.
    listener: OnceCell<Listener>,
}

impl<'a> Approach<'a> {
    fn to(table: &'a ProcessTable, target: &'a Target, process: &'a Process, root: &'a TargetRoot) -> Self {
        Self {
            startup: Startup::of(table, root, process),
            table,
            target,
            process,
            root,
            listener: OnceCell::new(),
        }
    }

    fn listener(&self) -> &Listener {
        self.listener
            .get_or_init(|| Listener::of(self.table, self.root, self.process))
    }

    /// See [`attach_blocker`].
    fn attach_blocker(&self) -> Option<Reason> {
        self.everybodys_blocker().or_else(|| match self.listener() {
            Listener::Own => None,
            Listener::Foreign => Some(attach_socket::tmp_shared(self.process)),
            Listener::Absent if !self.process.handles_sigquit() => Some(sigquit_unhandled()),
            // The file that asks the JVM to listen is created there, and then its socket.
            Listener::Absent => match (self.root.open_directory("/tmp"), self.root.file_system("/tmp")) {
                (Err(error), _) => Some(tmp_missing(&error)),
                (_, Ok(facts)) if facts.read_only => Some(tmp_read_only()),
                (Ok(directory), _) => (!may_write(&directory)).then(tmp_not_writable),
            },
        })
    }

    /// What keeps everybody out.
    fn everybodys_blocker(&self) -> Option<Reason> {
        let theirs = self.process.credentials;
        if (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) != (theirs.uid, theirs.gid) {
            // The JVM's listener compares both, and refuses without a word.
            return Some(no_access(self.target));
        }
        if self.process.is_stopped() {
            return Some(stopped());
        }
        if matches!(self.target.facts, RuntimeFacts::Jvm { vm: JavaVm::OpenJ9, .. }) {
            return Some(openj9_unsupported());
        }
        self.startup.attach_disabled().then(attach_disabled)
    }

    /// See [`blocker`].
    fn agent_blocker(&self) -> Option<Reason> {
        let Self {
            startup,
            table,
            process,
            root,
            ..
        } = self;
        if let Some(reason) = self.everybodys_blocker() {
            return Some(reason);
        }
        if startup.switch("EnableDynamicAgentLoading") == Some(false) {
            return Some(agent_loading_disabled());
        }
        if let Some(reason) = tmp(table, process, root).or_else(|| descriptors::exhausted(table, process)) {
            return Some(reason);
        }
        let unread = || startup.unread().map(options_unread);
        match self.listener() {
            Listener::Foreign => Some(attach_socket::tmp_shared(process)),
            Listener::Absent if !process.handles_sigquit() => Some(sigquit_unhandled()),
            Listener::Absent => unread().or_else(|| other_session::at_work(table, root, process)),
            Listener::Own => other_session::at_work(table, root, process),
        }
    }
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
            let elsewhere = !agent_library::loaded(table, root, process).is_empty()
                || agent_library::shares_files(table, root, process)
                || agent_library::server_root(table, process).is_some();
            if !elsewhere {
                return Some(tmp_noexec());
            }
        }
        _ => {}
    }
    (!may_write(&directory)).then(tmp_not_writable)
}

/// True unless it is certain that we, as the target's user, may not.
fn may_write(directory: &Directory) -> bool {
    use nix::fcntl::AtFlags;
    use nix::unistd::{AccessFlags, faccessat};
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(directory, ".", wanted, AtFlags::AT_EACCESS) != Err(nix::errno::Errno::EACCES)
}

/// What keeps one event from being sampled.
fn impossible(table: &ProcessTable, target: &Target, event: &Event) -> Option<Reason> {
    let release = || target.version().and_then(feature_release);
    match event {
        Event::Heap if release().is_some_and(|release| release < 11) => Some(Reason::new(
            "heap_needs_jdk11",
            "live objects can be told from dead ones only by JDK 11 and later",
            "run the application on JDK 11 or later, or use event=alloc",
        )),
        event if hardware::is_hardware(event) => hardware::blocker(table, &target.process),
        _ => None,
    }
}

/// What is less than it should be about one event.
fn limitation(table: &ProcessTable, process: &Process, event: &Event) -> Option<Reason> {
    match event {
        Event::Cpu => {
            perf_events_unavailable(table, process).or_else(|| descriptors::too_few(table, process).map(timers_instead))
        }
        Event::Wall => virtual_threads::unseen(table, process),
        Event::Heap => Some(heap_since_start()),
        Event::Named(name) if name == "leaks" => Some(Reason::new(
            "leaks_since_start",
            "only memory allocated during the capture is seen, without its last tenth, and what is still in use counts as well",
            "capture for longer than what the application does takes; interval=1k samples small allocations more often",
        )),
        Event::Named(name) if name == "latency" => Some(Reason::new(
            "calls_slower",
            "the methods that trace= names are changed for the time of the capture: every call of them gets slower",
            "name few methods, and such that are not called a million times a second",
        )),
        _ => None,
    }
}

/// What becomes of `cpu` without perf_events.
pub fn timers_instead(reason: Reason) -> Reason {
    let sentence = format!(
        "{}: cpu is sampled by a timer per thread, without kernel frames",
        reason.sentence
    );
    Reason { sentence, ..reason }
}

/// 8 of `1.8.0_402`, 17 of `17.0.15`.
pub(super) fn feature_release(version: &str) -> Option<u32> {
    let mut numbers = version.split(['.', '-', '+', '_']).map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        release => Some(release),
    }
}

/// Why the JVM itself cannot open perf_events with kernel stacks, if that can be foretold: it is the JVM's right that
/// counts, not ours.
pub fn perf_events_unavailable(table: &ProcessTable, process: &Process) -> Option<Reason> {
    ClosedPerf::of(table, process, ClosedPerf::KERNEL).map(|closed| timers_instead(closed.reason()))
}

/// Why the JVM itself can open no perf_events at all, not even those of its own code.
pub fn perf_events_forbidden(table: &ProcessTable, process: &Process) -> Option<Reason> {
    ClosedPerf::of(table, process, ClosedPerf::EVERYTHING).map(|closed| closed.reason())
}

/// True if the kernel will refuse it perf_events with kernel stacks. A seccomp profile may let them pass, which only a trial
/// can tell.
pub fn perf_events_refused(table: &ProcessTable, process: &Process) -> bool {
    ClosedPerf::of(table, process, ClosedPerf::KERNEL).is_some_and(|closed| matches!(closed, ClosedPerf::Paranoid(_)))
}

/// What closes perf_events to a process.
enum ClosedPerf {
    /// `kernel.perf_event_paranoid`.
    Paranoid(i32),
    /// Its seccomp profile, most likely.
    Seccomp,
}

impl ClosedPerf {
    /// From here on `perf_event_paranoid` closes the kernel's part.
    const KERNEL: i32 = 2;
    /// From here on, by a patch of Debian's and Ubuntu's, all of it.
    const EVERYTHING: i32 = 3;

    fn of(table: &ProcessTable, process: &Process, closing: i32) -> Option<Self> {
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
        match (paranoid >= closing, filtered) {
            (true, _) => Some(Self::Paranoid(paranoid)),
            (false, true) => Some(Self::Seccomp),
            (false, false) => None,
        }
    }

    fn reason(&self) -> Reason {
        let why = match self {
            Self::Paranoid(level) => format!("kernel.perf_event_paranoid is {level}"),
            Self::Seccomp => "its seccomp profile forbids perf_event_open".to_owned(),
        };
        Reason::new(
            "perf_events_unavailable",
            format!("the process may not use perf_events ({why}, and it has no CAP_PERFMON)"),
            "add to the application's container: securityContext: {capabilities: {add: [PERFMON]}} (as uid 0), or on the \
             node: sysctl kernel.perf_event_paranoid=1 with a seccomp profile that allows perf_event_open",
        )
    }
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
        "capture for longer, with a larger interval; GET /histogram counts every object by its class",
    )
}

fn collects_garbage() -> Reason {
    Reason::new(
        "collects_garbage",
        "the JVM collects all garbage first and then counts what is left, and the app stands still meanwhile: some seconds for each 10 GB",
        "ask for it when a pause does no harm; all=true counts without a collection, garbage as well",
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
        "remove -XX:+DisableAttachMechanism from the command line, JAVA_TOOL_OPTIONS, JDK_JAVA_OPTIONS, _JAVA_OPTIONS and \
         the files they name: @file, -XX:Flags=, -XX:VMOptionsFile=",
    )
}

/// Whether the JVM can be attached to is unknown, and asking it could cost a thread dump in the application's log.
fn options_unread(file: &str) -> Reason {
    const LONGEST: usize = 200;
    let file: String = file.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    Reason::new(
        "options_unread",
        format!(
            "the options file {file} could not be read and the JVM shares no data (-XX:-UsePerfData): whether its attach \
             mechanism is on is not known, and a signal could make it print its threads"
        ),
        "let the file be there and belong to the application's user or root, or start without -XX:-UsePerfData, or with \
         -XX:+StartAttachListener",
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
