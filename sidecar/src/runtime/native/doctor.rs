//! Checks for native targets: what the kernel's sampler gives, as [`PerfRights`] has tried it.

use std::io::ErrorKind;
use std::sync::LazyLock;

use super::events::Source;
use super::perf::PerfRights;
use super::plan::{self, NativePlan};
use super::threads;
use crate::event::Event;
use crate::runtime::dump::{CORE, asks_for_one};
use crate::runtime::{Examination, Reason, Verdict, no_access, stopped};

/// The memory and the threads of a process.
static MEMORY: LazyLock<Event> = LazyLock::new(|| Event::Named(CORE.to_owned()));

/// The events that are judged; every other one is judged as one of them.
static EVENTS: LazyLock<[Event; 7]> = LazyLock::new(|| {
    let named = |name: &str| Event::Named(name.to_owned());
    [
        Event::Cpu,
        Event::Wall,
        named(plan::OFF_CPU),
        named("context-switches"),
        named("page-faults"),
        named("cycles"),
        named("cache-misses"),
    ]
});

/// True of what the kernel can sample, and of a dump.
pub fn knows(event: &Event) -> bool {
    asks_for_one(event) || plan::usual(event).is_ok()
}

/// Tries for these processes what the verdicts are about; see [`PerfRights`] for when.
pub fn probe(pids: impl Iterator<Item = i32>) -> PerfRights {
    let plans: Vec<NativePlan> = EVENTS.iter().filter_map(|event| plan::usual(event).ok()).collect();
    PerfRights::probe(&plans, pids)
}

/// The event whose verdict counts for `event`: what the kernel counts is there everywhere, what the processor counts mostly
/// together.
pub fn judged_as(event: &Event) -> &Event {
    let Event::Named(name) = event else { return event };
    let [_, _, _, switches, faults, cycles, _] = &*EVENTS;
    match Source::of(name) {
        _ if EVENTS.contains(event) => event,
        _ if asks_for_one(event) => &MEMORY,
        Some(source) if source.is_hardware() => cycles,
        Some(source) if source.is_of_the_kernel() => switches,
        Some(_) => faults,
        None => event,
    }
}

/// Verdicts for every event of the runtime. A process we may not look into is listed as native, whatever it is: then
/// the missing right is the reason.
pub fn verdicts(examination: &Examination<'_>) -> Vec<Verdict> {
    let mut verdicts = sampled(examination);
    verdicts.push(standing_still(examination, Event::Goroutine));
    verdicts
}

/// That of a core file that no runtime is asked for, of any process.
pub fn core(examination: &Examination<'_>) -> Verdict {
    standing_still(examination, MEMORY.clone())
}

/// That of `event`, for which the threads of a process have to stand still.
fn standing_still(examination: &Examination<'_>, event: Event) -> Verdict {
    match blocker(examination).or_else(|| threads::blocker(examination)) {
        Some(reason) => Verdict::impossible(event, reason),
        None => Verdict::available(event),
    }
}

/// Those of what the kernel samples, of any process.
pub fn sampled(examination: &Examination<'_>) -> Vec<Verdict> {
    let blocked = blocker(examination);
    let judge = |event: &Event| match &blocked {
        Some(reason) => Verdict::impossible(event.clone(), reason.clone()),
        None => match examination.perf.of(examination.target.id().pid, event) {
            Ok(limits) => Verdict::limited(event.clone(), limits),
            Err(reason) => Verdict::impossible(event.clone(), reason),
        },
    };
    EVENTS.iter().map(judge).collect()
}

fn blocker(examination: &Examination<'_>) -> Option<Reason> {
    let target = examination.target;
    match examination.root {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(no_access(target)),
        _ => target.process.is_stopped().then(stopped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Process, ProcessTable};
    use crate::runtime::{Availability, RuntimeFacts, Target};

    fn judged(target: &Target, root: ErrorKind, perf: &PerfRights) -> Vec<Verdict> {
        let (table, error) = (ProcessTable::default(), root.into());
        let examination = Examination {
            table: &table,
            target,
            root: Err(&error),
            perf,
        };
        verdicts(&examination).into_iter().chain([core(&examination)]).collect()
    }

    fn target(pid: i32) -> Target {
        Target {
            process: Process::example(pid),
            name: "shop".to_owned(),
            facts: RuntimeFacts::Native,
        }
    }

    #[test]
    fn a_process_that_may_not_be_looked_into_keeps_that_reason_for_every_event() {
        let us = i32::try_from(std::process::id()).unwrap();
        let rights = probe([us].into_iter());
        let verdicts = judged(&target(us), ErrorKind::PermissionDenied, &rights);
        assert_eq!(verdicts.len(), EVENTS.len() + 2, "its threads and its memory, too");
        for verdict in verdicts {
            assert_eq!(verdict.reason.unwrap().key, "no_access", "{}", verdict.event);
        }
        let mut stopped = target(us);
        stopped.process.state = 'T';
        for verdict in judged(&stopped, ErrorKind::NotFound, &rights) {
            assert_eq!(verdict.reason.unwrap().key, "target_stopped");
        }
    }

    #[test]
    fn the_verdict_is_what_opening_says() {
        let us = i32::try_from(std::process::id()).unwrap();
        let rights = probe([us].into_iter());
        let judged = judged(&target(us), ErrorKind::NotFound, &rights).into_iter();
        let sampled = judged.filter_map(|verdict| Some((plan::usual(&verdict.event).ok()?, verdict)));
        for (plan, verdict) in sampled {
            let opened = super::super::perf::Sampler::open(
                &ProcessTable::default(),
                ProcessTable::default().id_of(us).unwrap(),
                &plan,
            );
            let key = verdict.reason.map(|reason| reason.key);
            match opened {
                Err(error) => assert_eq!(key, Some(error.reason().key), "{}", verdict.event),
                Ok(sampler) if sampler.facts().limits.is_empty() => {
                    assert_eq!(verdict.availability, Availability::Available, "{}", verdict.event);
                }
                Ok(sampler) => assert_eq!(key.as_ref(), Some(&sampler.facts().limits[0].key)),
            }
        }
    }

    #[test]
    fn threads_can_be_looked_at_unless_another_process_or_the_node_has_a_say() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let (target, table) = (target(7), ProcessTable::at(folder.path()));
        let error = ErrorKind::NotFound.into();
        let blocked = || {
            let examination = Examination {
                table: &table,
                target: &target,
                root: Err(&error),
                perf: &probe(std::iter::empty()),
            };
            threads::blocker(&examination).map(|reason| reason.key)
        };
        write("7/status", "Name:\tshop\nTracerPid:\t0\n");
        assert_eq!(blocked(), None, "no Yama");
        write("sys/kernel/yama/ptrace_scope", "0\n");
        assert_eq!(blocked(), None);
        write("sys/kernel/yama/ptrace_scope", "3\n");
        assert_eq!(blocked().as_deref(), Some("yama"));
        write("7/status", "Name:\tshop\nTracerPid:\t12\n");
        assert_eq!(blocked().as_deref(), Some("traced"));
    }

    #[test]
    fn every_name_is_judged_as_what_it_needs() {
        for (name, judge) in [
            ("cpu", "cpu"),
            ("instructions", "cycles"),
            ("r1a8", "cycles"),
            ("cache-misses", "cache-misses"),
            ("minor-faults", "page-faults"),
            ("task-clock", "page-faults"),
            ("cpu-migrations", "context-switches"),
            ("sched:sched_switch", "context-switches"),
            ("dump", "core"),
            ("core", "core"),
            ("java.lang.Thread.run", "java.lang.Thread.run"),
        ] {
            assert_eq!(judged_as(&name.parse().unwrap()).name(), judge, "{name}");
        }
    }
}
