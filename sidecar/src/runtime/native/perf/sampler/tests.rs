//! Against the kernel of this machine, as root; the programs that are sampled are this one, by tests that are ignored otherwise.

mod on_this_machine;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::*;
use crate::confine;
use crate::event::Event;
use crate::process::{CpuTime, Credentials};
use crate::runtime::native::parameters::Unwind;
use crate::runtime::native::plan;

/// For what happens within a second on an idle machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Programs that are sampled spin: side by side, hundreds of threads would leave none of them the CPU time it is measured by.
static CPUS: Mutex<()> = Mutex::new(());

/// A process that is ended with the test.
struct Ended(Child);

/// A program to sample.
struct Program {
    child: Ended,
    said: BufReader<std::process::ChildStdout>,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self {
            child: Ended(child),
            said,
            _alone: None,
        }
    }

    /// The same, while no other program runs alone.
    fn alone(start: impl FnOnce() -> Self) -> Self {
        let alone = CPUS.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            _alone: Some(alone),
            ..start()
        }
    }

    fn shell(script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Self::start(command)
    }

    /// The ignored test `name` of this module, once it has said "ready".
    fn of_ours(name: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = format!("runtime::native::perf::sampler::tests::{name}");
        command.args(["--exact", "--ignored", "--nocapture", &name]);
        let mut program = Self::start(command);
        program.hear("ready");
        program
    }

    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "it ended before {word:?}");
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn id(&self) -> ProcessId {
        table().id_of(i32::try_from(self.child.0.id()).unwrap()).unwrap()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The variable that tells a child which process is there to be sampled.
const SAMPLED: &str = "SAMPLED_PID";

/// Runs the ignored test `name` in a process of its own, which may give up its rights, beside a program of ours.
fn in_a_child(name: &str, shell: &str, beside: &Program) {
    let output = Command::new("/bin/sh")
        .env(SAMPLED, beside.child.0.id().to_string())
        .args(["-c", &format!("{shell} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            &format!("runtime::native::perf::sampler::tests::{name}"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The program beside a child of [`in_a_child`].
fn beside() -> ProcessId {
    let pid = std::env::var(SAMPLED).unwrap().parse().unwrap();
    table().id_of(pid).unwrap()
}

/// Becomes a user that no other test is, without any capability.
fn become_user(uid: u32) {
    let credentials = Credentials {
        uid,
        gid: uid,
        capabilities: 0,
    };
    confine::become_target(credentials).unwrap();
}

fn table() -> ProcessTable {
    ProcessTable::default()
}

fn plan_of(event: &str, frequency: Option<u32>) -> NativePlan {
    let mut plan = plan::usual(&event.parse::<Event>().unwrap()).unwrap();
    plan.unwind = Unwind::Fp;
    if let (Some(hertz), Some(counter)) = (frequency, &mut plan.counter) {
        counter.pace = Pace::Frequency(hertz);
    }
    plan
}

/// Drains until `seen` says that it has seen enough.
fn until(sampler: &mut Sampler, what: &str, mut seen: impl FnMut(Record<'_>) -> bool) {
    let end = Instant::now() + TIMEOUT;
    let mut done = false;
    while !done {
        assert!(Instant::now() < end, "{what}: {:?}", sampler.facts());
        sleep(Duration::from_millis(20));
        sampler.drain(&mut |record| done |= seen(record));
    }
}

fn spin() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

fn say_ready() {
    println!("ready");
}

fn wait_for_a_line() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
#[ignore = "is sampled: run by all_threads_are_seen"]
fn two_hundred_threads_then_fifty_more() {
    for _ in 0..200 {
        std::thread::spawn(|| spin());
    }
    say_ready();
    wait_for_a_line();
    for _ in 0..50 {
        std::thread::spawn(|| spin());
    }
    println!("more");
    wait_for_a_line();
}

fn all_threads_are_seen(open: impl FnOnce(ProcessId, &NativePlan) -> Result<Sampler, PerfError>) -> Sampler {
    let mut program = Program::alone(|| Program::of_ours("two_hundred_threads_then_fifty_more"));
    let mut sampler = open(program.id(), &plan_of("cpu", Some(999))).unwrap();
    sampler.enable().unwrap();
    program.say("go on");
    program.hear("more");
    // The first two, of the test harness, only wait.
    let tids: HashSet<i32> = table().threads(program.id().pid).collect();
    assert_eq!(tids.len(), 252);
    let pid = program.id().pid;
    let mut seen = HashSet::new();
    until(&mut sampler, "250 threads", |record| {
        if let Record::Sample(sample) = record {
            assert_eq!(sample.pid, pid);
            assert!(tids.contains(&sample.tid));
            seen.insert(sample.tid);
        }
        seen.len() >= 250
    });
    sampler.disable().unwrap();
    sampler
}

#[test]
#[ignore = "is sampled: run by a_storm_of_threads_is_counted_once"]
fn a_storm_of_threads() {
    say_ready();
    let end = Instant::now() + TIMEOUT;
    while Instant::now() < end {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let end = Instant::now() + Duration::from_millis(30);
                    while Instant::now() < end {}
                });
            }
        });
    }
}

/// CPU time that was sampled and that was used, as a ratio.
fn sampled_of_used(program: &Program, sampler: &mut Sampler, at_least: Duration) -> f64 {
    let pid = program.id().pid;
    let before = CpuTime::of_process(&table(), program.id()).unwrap();
    sampler.enable().unwrap();
    let end = Instant::now() + TIMEOUT;
    let (mut sampled, mut used) = (0, Duration::ZERO);
    while used < at_least {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(50));
        let mut add = |record: Record<'_>| match record {
            Record::Sample(sample) if sample.pid == pid => sampled += sample.period,
            _ => {}
        };
        sampler.drain(&mut add);
        used = CpuTime::of_process(&table(), program.id())
            .unwrap()
            .since(&before)
            .process;
    }
    sampler.disable().unwrap();
    used = CpuTime::of_process(&table(), program.id())
        .unwrap()
        .since(&before)
        .process;
    sampler.drain(&mut |record| {
        if let Record::Sample(sample) = record {
            sampled += sample.period;
        }
    });
    Duration::from_nanos(sampled).as_secs_f64() / used.as_secs_f64()
}

#[test]
#[ignore = "is sampled: run by time_off_the_cpu_is_known_exactly"]
fn one_sleeps_and_one_spins() {
    let (tell, told) = channel();
    let sleeper = tell.clone();
    std::thread::spawn(move || {
        sleeper.send(("sleeps", gettid())).unwrap();
        loop {
            sleep(Duration::from_millis(20));
        }
    });
    std::thread::spawn(move || {
        tell.send(("spins", gettid())).unwrap();
        spin();
    });
    let tids: HashMap<_, _> = told.iter().take(2).collect();
    println!("ready {} {}", tids["sleeps"], tids["spins"]);
    wait_for_a_line();
}

fn gettid() -> i32 {
    nix::unistd::gettid().as_raw()
}

#[test]
#[ignore = "gives up its rights: run by the_same_user_without_a_right_sees_its_own_program_and_nothing_else"]
fn without_rights() {
    assert_eq!(machine::paranoid(), Some(2), "kernel.perf_event_paranoid of the rig");
    become_user(64_001);
    let program = Program::shell("while :; do :; done");
    let mut sampler = Sampler::open(&table(), program.id(), &plan_of("cpu", None)).unwrap();
    assert_eq!(sampler.facts().sampler, "perf_events cpu-clock 99 Hz, user only");
    assert_eq!(sampler.facts().limits[0].key, "no_kernel_frames");
    sampler.enable().unwrap();
    let mut samples = 0;
    until(&mut sampler, "samples", |record| {
        if let Record::Sample(sample) = record {
            assert!(sample.kernel.is_empty() && !sample.user.is_empty());
            samples += 1;
        }
        samples >= 20
    });
    let refused = |id, event: &str| {
        Sampler::open(&table(), id, &plan_of(event, None))
            .unwrap_err()
            .reason()
            .key
    };
    assert_eq!(refused(program.id(), "wall"), "perf_paranoid_kernel");
    assert_eq!(refused(program.id(), "context-switches"), "perf_paranoid_kernel");
    assert_eq!(refused(beside(), "cpu"), "perf_credentials");
    let machine = Sampler::open_node(&plan_of("cpu", None)).unwrap_err().reason().key;
    assert_eq!(machine, "perf_paranoid_machine");
}

#[test]
#[ignore = "gives up its rights: run by what_was_opened_with_rights_goes_on_without_them"]
fn rights_given_up_after_opening() {
    let mut sampler = Sampler::open(&table(), beside(), &plan_of("cpu", None)).unwrap();
    become_user(64_002);
    let refused = Sampler::open(&table(), beside(), &plan_of("cpu", None)).unwrap_err();
    assert_eq!(refused, PerfError::Credentials);
    sampler.enable().unwrap();
    let mut samples = 0;
    until(&mut sampler, "samples of the kernel", |record| {
        samples += u32::from(matches!(record, Record::Sample(sample) if !sample.kernel.is_empty()));
        samples >= 20
    });
    sampler.disable().unwrap();
}

#[test]
#[ignore = "gives up its rights: run by rings_fit_into_the_memory_that_may_be_locked_or_say_why_not"]
fn little_locked_memory() {
    become_user(64_003);
    let program = Program::shell("while :; do :; done");
    let mut plan = plan_of("cpu", Some(999));
    plan.unwind = Unwind::Dwarf;
    let open = || Sampler::open(&table(), program.id(), &plan);
    let first = open().unwrap();
    let budget = usize::try_from(machine::mlock_kib().unwrap()).unwrap() * 1024 * machine::cpus().len();
    assert!(first.facts().memory <= budget, "{:?}", first.facts());
    // 512 would be right, the budget of each CPU is 516 KiB.
    assert_eq!(first.descriptors.pages(), 128);
    let mut held = vec![first];
    let refused = loop {
        match open() {
            Ok(sampler) => held.push(sampler),
            Err(error) => break error,
        }
        assert!(held.len() < 100);
    };
    assert_eq!(refused.reason().key, "perf_locked_memory");
}
