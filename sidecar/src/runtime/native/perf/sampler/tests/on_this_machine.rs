//! What `make unit` leaves out: needs root and the kernel of this machine.

use super::*;

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn threads_of_a_process_and_those_born_meanwhile_are_all_seen() {
    let sampler = all_threads_are_seen(|id, plan| Sampler::open(&table(), id, plan));
    assert!(matches!(sampler.way, Way::Inherited));
    let facts = sampler.facts();
    assert_eq!((facts.threads, facts.lost), (202, 0), "{facts:?}");
    assert_eq!(facts.descriptors, 202 * machine::cpus().len());
    assert_eq!(facts.sampler, "perf_events cpu-clock 999 Hz, user and kernel");
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn too_many_threads_are_seen_by_way_of_the_whole_machine() {
    let sampler = all_threads_are_seen(|id, plan| Sampler::on_machine(plan, Some(id.pid), &machine::cpus()));
    assert_eq!(sampler.facts().descriptors, machine::cpus().len());
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn without_the_right_to_see_all_threads_are_looked_for_again_and_again() {
    let sampler = all_threads_are_seen(|id, plan| Sampler::by_thread(&table(), id, plan));
    assert_eq!(sampler.facts().threads, 252, "{:?}", sampler.facts());
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn a_storm_of_processes_is_followed_and_nothing_is_lost() {
    let program = Program::shell("while :; do sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'; done");
    let mut sampler = Sampler::open(&table(), program.id(), &plan_of("cpu", Some(999))).unwrap();
    sampler.enable().unwrap();
    let (mut forked, mut executed, mut exited, mut mapped) =
        (HashSet::new(), HashSet::new(), HashSet::new(), HashSet::new());
    let mut sampled: HashMap<i32, u32> = HashMap::new();
    until(&mut sampler, "thirty processes", |record| {
        match record {
            Record::Forked { pid, .. } => _ = forked.insert(pid),
            Record::Executed { pid } => _ = executed.insert(pid),
            Record::Mapped { pid, .. } => {
                assert!(executed.contains(&pid), "what is mapped comes after its program");
                mapped.insert(pid);
            }
            Record::Exited { pid, .. } => _ = exited.insert(pid),
            Record::Sample(sample) => {
                assert!(!exited.contains(&sample.pid), "in order");
                *sampled.entry(sample.pid).or_default() += 1;
            }
            _ => {}
        }
        exited.len() >= 30
    });
    let whole: Vec<_> = exited.iter().filter(|pid| forked.contains(pid)).collect();
    assert!(whole.len() >= 29, "{exited:?}");
    for pid in whole {
        assert!(executed.contains(pid) && mapped.contains(pid), "{pid}");
        assert!(
            sampled.get(pid).is_some_and(|samples| *samples > 1),
            "{pid}: {sampled:?}"
        );
    }
    assert_eq!(sampler.facts().lost, 0);
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn a_process_that_becomes_another_program_says_so_before_its_new_code() {
    let mut program = Program::shell("echo ready; read line; exec /usr/bin/perl -e 'while (1) {}'");
    program.hear("ready");
    let mut sampler = Sampler::open(&table(), program.id(), &plan_of("cpu", None)).unwrap();
    sampler.enable().unwrap();
    program.say("go on");
    let (mut executed, mut mapped, mut samples) = (false, Vec::new(), 0);
    until(&mut sampler, "samples of perl", |record| {
        match record {
            Record::Executed { .. } => executed = true,
            Record::Mapped { mapping, .. } if executed => mapped.push(mapping.clone()),
            Record::Sample(sample) => {
                let found = sample
                    .user
                    .first()
                    .is_some_and(|leaf| mapped.iter().any(|mapping| mapping.contains(*leaf)));
                samples += u32::from(found);
            }
            _ => {}
        }
        samples >= 10
    });
    assert!(
        mapped
            .iter()
            .any(|mapping| format!("{:?}", mapping.backing).contains("perl")),
        "{mapped:?}"
    );
    assert!(
        mapped
            .iter()
            .any(|mapping| mapping.backing == crate::runtime::native::mapping::Backing::Vdso),
        "{mapped:?}"
    );
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn a_storm_of_threads_is_counted_once() {
    let program = Program::alone(|| Program::of_ours("a_storm_of_threads"));
    let mut sampler = Sampler::open(&table(), program.id(), &plan_of("cpu", Some(999))).unwrap();
    let share = sampled_of_used(&program, &mut sampler, Duration::from_secs(3));
    // The last part of a period is not seen, of each thread of 30 ms on each CPU that it was on. Twice would be 1.9.
    assert!((0.85..1.02).contains(&share), "{share}: {:?}", sampler.facts());
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn samples_are_the_cpu_time_that_the_kernel_counts() {
    let program = Program::alone(|| Program::shell("while :; do :; done"));
    let mut sampler = Sampler::open(&table(), program.id(), &plan_of("cpu", None)).unwrap();
    let share = sampled_of_used(&program, &mut sampler, Duration::from_secs(3));
    assert!((0.97..1.03).contains(&share), "{share}: {:?}", sampler.facts());
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn page_faults_are_those_that_the_kernel_counts() {
    // It waits between its faults, so that none is between the end of sampling and the kernel's own count.
    let mut program = Program::shell(
        "exec perl -e '$| = 1; while (<STDIN>) { my $x = q(x) x 40000000; undef $x; print qq(done\n) }'",
    );
    let faults = |program: &Program| {
        let stat = std::fs::read_to_string(table().directory(program.id().pid).join("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // minflt and majflt, fields 10 and 12.
        fields[7].parse::<u64>().unwrap() + fields[9].parse::<u64>().unwrap()
    };
    let burst = |program: &mut Program| {
        program.say("go");
        program.hear("done");
    };
    burst(&mut program);
    let mut sampler = Sampler::open(&table(), program.id(), &plan_of("page-faults", None)).unwrap();
    assert_eq!(
        sampler.facts().sampler,
        "perf_events page-faults one of 17, user and kernel"
    );
    let before = faults(&program);
    sampler.enable().unwrap();
    let pid = program.id().pid;
    let mut sampled = 0;
    while faults(&program) < before + 50_000 {
        burst(&mut program);
        sampler.drain(&mut |record| match record {
            Record::Sample(sample) if sample.pid == pid => sampled += sample.period,
            _ => {}
        });
    }
    sampler.disable().unwrap();
    let counted = faults(&program) - before;
    assert!(
        sampled.abs_diff(counted) * 50 < counted,
        "{sampled} of {counted}: {:?}",
        sampler.facts()
    );
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn time_off_the_cpu_is_known_exactly() {
    let mut program = {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = "runtime::native::perf::sampler::tests::one_sleeps_and_one_spins";
        command.args(["--exact", "--ignored", "--nocapture", name]);
        Program::start(command)
    };
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        program.said.read_line(&mut line).unwrap();
    }
    let tids: Vec<i32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [sleeper, spinner] = tids[..] else { panic!("{line}") };
    let mut sampler = Sampler::open(&table(), program.id(), &plan_of("wall", None)).unwrap();
    sampler.enable().unwrap();
    let (mut left, mut off, mut begin, mut last) = (None, 0, 0, 0);
    let (mut spun, mut pushed_off) = (0, 0);
    until(&mut sampler, "two seconds of sleep", |record| {
        match record {
            Record::SwitchOut { sample, preempted } if sample.tid == sleeper => {
                if begin == 0 {
                    begin = sample.time;
                }
                assert!(!preempted || !sample.kernel.is_empty());
                assert!(!sample.kernel.is_empty(), "where it waits");
                left = Some(sample.time);
            }
            Record::SwitchIn { tid, time, .. } if tid == sleeper => {
                off += left.take().map_or(0, |left| time - left);
                last = time;
            }
            Record::SwitchOut { sample, preempted } if sample.tid == spinner => {
                assert!(preempted, "it never waits");
                pushed_off += 1;
            }
            Record::Sample(sample) if sample.tid == spinner => spun += 1,
            _ => {}
        }
        last.saturating_sub(begin) > 2_000_000_000 && spun > 50 && pushed_off > 0
    });
    #[expect(clippy::cast_precision_loss, reason = "a few seconds in nanoseconds")]
    let share = off as f64 / (last - begin) as f64;
    assert!((0.98..=1.0).contains(&share), "{share}");
    assert_eq!(
        sampler.facts().sampler,
        "perf_events cpu-clock 99 Hz and every switch, user and kernel"
    );
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn registers_and_stack_come_where_tables_are_to_be_used() {
    let program = Program::shell("while :; do :; done");
    let mut plan = plan_of("cpu", Some(999));
    for (unwind, chain, copied) in [
        (Unwind::Auto, true, true),
        (Unwind::Dwarf, false, true),
        (Unwind::Fp, true, false),
    ] {
        plan.unwind = unwind;
        let mut sampler = Sampler::open(&table(), program.id(), &plan).unwrap();
        sampler.enable().unwrap();
        let mut samples = 0;
        until(&mut sampler, "samples", |record| {
            if let Record::Sample(sample) = record {
                assert_eq!(!sample.user.is_empty(), chain, "{unwind:?}");
                assert_eq!(
                    (sample.registers.is_some(), !sample.stack.is_empty()),
                    (copied, copied),
                    "{unwind:?}"
                );
                if let (Some(registers), Some(leaf), []) = (sample.registers, sample.user.first(), sample.kernel) {
                    assert_eq!(registers.ip, *leaf);
                }
                samples += 1;
            }
            samples >= 20
        });
    }
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn the_same_user_without_a_right_sees_its_own_program_and_nothing_else() {
    let other = Program::shell("while :; do :; done");
    in_a_child("without_rights", "true", &other);
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn what_was_opened_with_rights_goes_on_without_them() {
    let reads = Program::shell("exec perl -e 'open Z, \"<\", \"/dev/zero\"; sysread(Z, $b, 1000000) while 1'");
    in_a_child("rights_given_up_after_opening", "true", &reads);
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn rings_fit_into_the_memory_that_may_be_locked_or_say_why_not() {
    let other = Program::shell("exec sleep 600");
    in_a_child("little_locked_memory", "ulimit -l 0", &other);
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn what_this_machine_does_not_count_is_said_and_not_replaced() {
    let program = Program::shell("while :; do :; done");
    let key = |event: &str| match Sampler::open(&table(), program.id(), &plan_of(event, None)) {
        Ok(_) => String::new(),
        Err(error) => error.reason().key.into_owned(),
    };
    let has_counters = std::path::Path::new("/sys/bus/event_source/devices/cpu").exists();
    let expected = if has_counters { "" } else { "no_hardware_counter" };
    assert_eq!(key("cycles"), expected);
    assert_eq!(key("cache-misses"), expected);
    assert_eq!(key("sched:no_such_event"), "no_such_event");
    let gone = ProcessId {
        pid: program.id().pid,
        start_time: 1,
    };
    let opened = Sampler::open(&table(), gone, &plan_of("cpu", None));
    assert_eq!(opened.unwrap_err(), PerfError::Gone, "another process has its pid");
}

#[test]
#[ignore = "needs root and this machine's kernel: make test runs it"]
fn of_a_machine_every_process_is_seen() {
    let programs = [
        Program::shell("while :; do :; done"),
        Program::shell("while :; do :; done"),
    ];
    let mut sampler = Sampler::open_node(&plan_of("cpu", None)).unwrap();
    sampler.enable().unwrap();
    let mut seen = HashSet::new();
    until(&mut sampler, "both", |record| {
        if let Record::Sample(sample) = record {
            assert_ne!(sample.tid, 0, "not the idle one");
            seen.insert(sample.pid);
        }
        programs.iter().all(|program| seen.contains(&program.id().pid))
    });
}
