//! All threads of a process of machine code at this moment: where each is, and for whose lock it waits.
//!
//! The kernel's sampler sees threads that run or are switched; who sleeps has to be looked at (`still`), one after another,
//! each for some ten microseconds. Nothing is written into the target. Called by [`crate::runtime`].

mod futex;
mod locks;
mod still;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::address_spaces::AddressSpaces;
use super::parameters::NativeOptions;
use super::record::root_of;
use super::symbols::{Place, Symbolizer, Symbols};
use super::unwind::{Unwinder, Walk};
use crate::process::Task;
use crate::profile::format::pprof;
use crate::profile::frame_name::CUT;
use crate::profile::model::{FrameKind, Profile};
use crate::profile::thread_samples::{self as key, Fact, ThreadSamples};
use crate::profile::{ModelError, Names, Quality};
use crate::runtime::{
    Asked, Control, Examination, Interruption, Phase, PlanError, Reason, RecordError, RecordOrder, Reporter, Target,
};
use futex::Futex;
use locks::Locks;
use still::{STACK, Still};

/// Threads that are looked at.
const MOST: usize = 16_384;

/// For all of them; those that are left are counted.
const LIMIT: Duration = Duration::from_secs(10);

/// What gives the stacks, in words.
const WAY: &str = "ptrace";

/// Asks for the threads of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadsPlan {}

/// Plans a dump.
///
/// # Errors
/// A parameter of the sampler, which has no part in it.
pub fn plan(asked: &Asked<'_>) -> Result<ThreadsPlan, PlanError> {
    match asked.options.native == NativeOptions::default() {
        true => Ok(ThreadsPlan {}),
        false => Err(PlanError::unsuitable(
            "event",
            "each thread is looked at once: event=goroutine takes no parameters of the kernel's sampler".to_owned(),
        )),
    }
}

/// Why the threads of a process that we may look into cannot be made to stand still. Asks the kernel about no process.
pub fn blocker(examination: &Examination<'_>) -> Option<Reason> {
    /// `Documentation/admin-guide/LSM/Yama.rst`: 0 as ever, 1 own children, 2 CAP_SYS_PTRACE, 3 no one.
    const ALL: &str = "0";
    let Examination { table, target, .. } = examination;
    if let Some(reason) = traced(&table.directory(target.id().pid)) {
        return Some(reason);
    }
    let scope = std::fs::read_to_string(table.machine_wide("sys/kernel/yama/ptrace_scope")).unwrap_or_default();
    let may = caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_PTRACE).unwrap_or(false);
    match scope.trim() {
        "" | ALL => {}
        "1" | "2" if may => {}
        scope => {
            return Some(Reason::new(
                "yama",
                format!(
                    "this node lets no process look at the threads of another (kernel.yama.ptrace_scope = {scope})"
                ),
                "event=wall and event=offcpu of GET /profile show where threads wait, or set it to 0 on the node: \
                 sysctl kernel.yama.ptrace_scope=0",
            ));
        }
    }
    // No process has this number: ESRCH, unless a filter answers in the kernel's place.
    match ptrace::interrupt(Pid::from_raw(i32::MAX)) {
        Err(Errno::ESRCH) | Ok(()) => None,
        Err(_) => Some(Reason::new(
            "ptrace_filtered",
            "the seccomp profile of this container forbids ptrace",
            "run sideflame with securityContext: {seccompProfile: {type: RuntimeDefault}} of a container runtime since 2019, \
             whose profile allows it, or with a profile of your own that does",
        )),
    }
}

/// See [`crate::runtime::record`].
///
/// # Errors
/// See [`crate::runtime::record`].
pub fn record(
    order: &RecordOrder,
    output: &mut dyn Write,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Quality, RecordError> {
    let users = [order.target.process.credentials.uid, 0];
    let symbols = Symbolizer::new(Some(root_of(order, control)?), control.table(), &users, None);
    reporter.phase(Phase::Sampling);
    let (started, began) = (SystemTime::now(), Instant::now());
    let mut look = Look::new(&order.target, control, symbols)?;
    look.at_all()?;
    reporter.phase(Phase::Transferring);
    let quality = Quality {
        sampler: Some(look.way()),
        interval_unit: "count".to_owned(),
        samples: u64::try_from(look.rows.len()).ok(),
        runtime: Some(order.target.runtime_and_version()),
        event: Some(order.event.to_string()),
        started_at_ms: started
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| u64::try_from(since.as_millis()).ok()),
        duration_ms: u64::try_from(began.elapsed().as_millis()).ok(),
        degraded: look.left_out(),
        ..Quality::default()
    };
    let Look {
        rows,
        symbols,
        memory,
        tasks,
        ..
    } = look;
    let symbols = symbols.resolve();
    let locks = locks_of(&rows, &symbols, |row| {
        Futex::of(&tasks.join(row.tid.to_string()), &memory)
    });
    let profile = profile_of(&rows, &symbols, &locks).map_err(|error| RecordError::Internal {
        step: "put the profile together".to_owned(),
        detail: error.to_string(),
    })?;
    let mut output = output;
    pprof::write::write(&profile, &mut output)
        .and_then(|()| output.flush())
        .map_err(|error| RecordError::io("write the recording", &error))?;
    let mut degraded = quality.degraded;
    degraded.extend(symbols.reasons().iter().cloned());
    Ok(Quality { degraded, ..quality })
}

/// A thread that was looked at.
struct Row {
    tid: i32,
    task: Task,
    state: String,
    /// Leaf first; empty of one that could not be made to stand.
    places: Vec<Place>,
    walk: Walk,
    futex: Option<Futex>,
}

/// All threads of a process, one after another.
struct Look<'a> {
    control: &'a Control,
    pid: i32,
    tasks: PathBuf,
    memory: File,
    spaces: AddressSpaces<'a>,
    unwinder: Unwinder,
    symbols: Symbolizer,
    rows: Vec<Row>,
    /// The longest that one stood.
    stood: Duration,
    /// Without a stack, as they could not be interrupted.
    unseen: usize,
    /// Not looked at for want of time or of room.
    left: usize,
}

impl<'a> Look<'a> {
    fn new(target: &Target, control: &'a Control, symbols: Symbolizer) -> Result<Self, RecordError> {
        let pid = target.id().pid;
        let memory = File::open(control.table().directory(pid).join("mem"));
        Ok(Self {
            control,
            pid,
            tasks: control.table().directory(pid).join("task"),
            memory: memory.map_err(|error| refused(control, None, &error))?,
            spaces: AddressSpaces::new(control.table()),
            unwinder: Unwinder::default(),
            symbols,
            rows: Vec::new(),
            stood: Duration::ZERO,
            unseen: 0,
            left: 0,
        })
    }

    fn at_all(&mut self) -> Result<(), RecordError> {
        let end = Instant::now() + LIMIT;
        let mut stack = vec![0; STACK];
        let mut numbers: Vec<i32> = self.control.table().threads(self.pid).collect();
        numbers.sort_unstable();
        for tid in numbers {
            match self.control.poll() {
                None => {}
                Some(Interruption::Cancel | Interruption::Stop) => return Err(RecordError::Cancelled),
                Some(Interruption::TargetExited) => return Err(RecordError::TargetExited),
            }
            if self.rows.len() == MOST || Instant::now() > end {
                self.left += 1;
            } else {
                self.at(tid, &mut stack)?;
            }
        }
        if self.rows.is_empty() {
            return Err(RecordError::TargetExited);
        }
        Ok(())
    }

    fn at(&mut self, tid: i32, stack: &mut [u8]) -> Result<(), RecordError> {
        let task = &self.tasks.join(tid.to_string());
        let Some(named) = Task::read(task) else { return Ok(()) };
        let mut row = Row {
            tid,
            state: state_of(&named, task),
            task: named,
            places: Vec::new(),
            walk: Walk::Whole,
            futex: None,
        };
        match Still::look(tid, task, &self.memory, stack) {
            Ok(still) => {
                self.stood = self.stood.max(still.stood);
                row.futex = still.futex;
                let space = self.spaces.of(self.pid);
                let mut addresses = Vec::new();
                let beginning = (still.registers, stack.get(..still.stack).unwrap_or_default());
                row.walk = self
                    .unwinder
                    .walk(self.pid, space, beginning, &mut self.symbols, &mut addresses);
                let places = addresses.iter().enumerate();
                row.places = places
                    .map(|(at, address)| space.place(&mut self.symbols, self.pid, *address, at == 0))
                    .collect();
            }
            Err(_) if !task.exists() => return Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => self.unseen += 1,
            Err(error) if self.rows.is_empty() => return Err(refused(self.control, Some(task), &error)),
            Err(_) => self.unseen += 1,
        }
        self.rows.push(row);
        Ok(())
    }

    fn way(&self) -> String {
        format!(
            "{WAY}: each thread stood still for {} µs at most",
            self.stood.as_micros()
        )
    }

    fn left_out(&self) -> Vec<String> {
        let counted = [
            (
                self.left,
                format!("threads were not looked at: {MOST} are, within {} s", LIMIT.as_secs()),
            ),
            (
                self.unseen,
                "threads could not be interrupted and have no stack: they wait for a device or a file system"
                    .to_owned(),
            ),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        counted.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

/// Another process looks at the one, or at the thread, whose folder this is.
fn traced(folder: &Path) -> Option<Reason> {
    let status = std::fs::read(folder.join("status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    let tracer = tracer.map(str::trim).filter(|tracer| *tracer != "0")?;
    Some(Reason::new(
        "traced",
        format!("process {tracer} traces it, and the kernel allows one tracer only"),
        "end the debugger, strace or profiler that has attached to it",
    ))
}

/// Why the kernel would not let us, of the thread whose folder is `task`, or of all.
pub(super) fn refused(control: &Control, task: Option<&Path>, error: &io::Error) -> RecordError {
    let process = control.table().directory(control.target().pid);
    let tracer = || traced(&process).or_else(|| traced(task?));
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) if let Some(reason) = tracer() => RecordError::Impossible(reason),
        Some(Errno::EPERM | Errno::EACCES) => RecordError::Impossible(Reason::new(
            "ptrace_refused",
            "the kernel lets us look into the process, but not at its threads (ptrace): a security module forbids it",
            "event=wall and event=offcpu of GET /profile show where threads wait",
        )),
        _ if !control.target_is_alive() => RecordError::TargetExited,
        _ => RecordError::io("look at a thread", error),
    }
}

/// What a thread does, by the kernel's letter and its function in which the thread waits.
fn state_of(task: &Task, folder: &Path) -> String {
    let state = match task.state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "uninterruptible sleep",
        'T' | 't' => "stopped",
        'Z' | 'X' => "ended",
        _ => "unknown",
    };
    let place = std::fs::read_to_string(folder.join("wchan")).unwrap_or_default();
    match &*place {
        "" | "0" => state.to_owned(),
        place => format!("{state} in {place}"),
    }
}

/// The mutexes for which threads wait. `now` says for what one waits at this moment.
fn locks_of(rows: &[Row], symbols: &Symbols, now: impl Fn(&Row) -> Option<Futex>) -> Locks {
    /// Of the functions of C libraries: other locks have other words in their memory.
    const WAITS: [&str; 3] = ["mutex_lock", "mutex_timedlock", "lll_lock"];
    /// Frames between the system call and the function that is known by its name.
    const NEAR: usize = 4;
    let is_of_a_mutex = |row: &&Row| {
        let near = row.places.iter().take(NEAR).flat_map(|place| symbols.frames(*place));
        let mut names = near.map(|frame| &frame.name);
        names.any(|name| WAITS.iter().any(|word| name.contains(word)))
    };
    let by_number: HashMap<u64, &Row> = rows.iter().map(|row| (row.task.number, row)).collect();
    let waiting = rows.iter().filter(is_of_a_mutex);
    let waiting = waiting.filter_map(|row| Some((row.task.number, row.futex?)));
    let mut locks = Locks::new(waiting, |thread| by_number.contains_key(&thread));
    locks.find_deadlocks(|thread| now(by_number.get(&thread)?));
    locks
}

fn profile_of(rows: &[Row], symbols: &Symbols, locks: &Locks) -> Result<Profile, ModelError> {
    let mut samples = ThreadSamples::new("threads", Names::Normalised)?;
    for row in rows {
        let mut stack = Vec::new();
        let frames = row.places.iter().flat_map(|place| symbols.frames(*place));
        for frame in frames {
            let kind = if frame.inlined {
                FrameKind::Inlined
            } else {
                FrameKind::Native
            };
            let place = (frame.file.as_deref().unwrap_or_default(), frame.line.into());
            stack.push(samples.frame(&frame.name, place, kind)?);
        }
        if row.walk == Walk::Cut {
            stack.push(samples.frame(CUT, ("", 0), FrameKind::Other)?);
        }
        let number = |number: u64| Fact::Number(i64::try_from(number).unwrap_or(i64::MAX));
        let waits = locks.waits_for(row.task.number);
        let held = locks.held_by(row.task.number);
        let mut facts = vec![
            (key::NAME, Fact::Text(&row.task.name)),
            (key::TID, number(row.task.number)),
            (key::STATE, Fact::Text(&row.state)),
        ];
        facts.extend(waits.iter().map(|lock| (key::WAITS_FOR, Fact::Text(lock))));
        facts.extend(locks.deadlock(row.task.number).map(|at| (key::DEADLOCK, number(at))));
        facts.extend(held.iter().map(|lock| (key::HOLDS, Fact::Text(lock))));
        samples.thread(&stack, &facts)?;
    }
    Ok(samples.finish())
}
