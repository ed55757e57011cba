//! Machine code by the kernel's sampler: shares of known functions in every build there is, threads and processes that come and
//! go, what cannot be had and why.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::{App, alone, as_user};
use e2e::{Answer, Server, cache, shares};

const C: [(&str, f64); 3] = [("sixty", 0.6), ("thirty", 0.3), ("ten", 0.1)];
const CPP: [(&str, f64); 3] = [("shop::sixty", 0.6), ("shop::thirty", 0.3), ("shop::ten", 0.1)];

fn app(path: &str, arguments: &[&str]) -> App {
    let mut command = Command::new(cache::file(&format!("apps/{path}")));
    command.args(arguments);
    App::start(command)
}

/// The stacks that `wanted` lets pass.
fn only(stacks: &str, wanted: impl Fn(&str) -> bool) -> String {
    let lines = stacks.lines().filter(|line| wanted(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Share of the samples whose stack is cut, by the mark at its root.
fn truncated(stacks: &str) -> f64 {
    shares::of(stacks, "[truncated]")
}

/// Collapsed stacks of captures of 3 s, enough to tell 3 points from noise.
fn cpu(server: &Server, app: &App, parameters: &str) -> (String, Answer) {
    let query = format!(
        "/profile?pid={}&seconds=3&frequency=499&format=collapsed{parameters}",
        app.pid
    );
    let captures = shares::enough_captures(|| server.get(&query));
    let stacks = captures.iter().map(Answer::text).collect();
    (stacks, captures.into_iter().next_back().unwrap())
}

#[test]
fn every_build_has_the_known_split_and_whole_stacks() {
    let _alone = alone();
    let server = Server::default();
    for (path, split, root, parameters) in [
        ("c/split", C, "cpu;", "&unwind=fp"),
        ("c/split", C, "cpu;", ""),
        ("c/split-nofp", C, "cpu;", ""),
        ("cpp/split", CPP, "main;", ""),
        ("rust/split", CPP, "split::main;", ""),
        ("go/split-nopprof", shares::GO_CPU, "main.cpu;", ""),
        ("go/split-nopprof-stripped", shares::GO_CPU, "main.cpu;", ""),
    ] {
        let arguments: &[&str] = if path.starts_with("go/") || path.starts_with("c/") {
            &["cpu"]
        } else {
            &[]
        };
        let app = app(path, arguments);
        let (stacks, answer) = cpu(&server, &app, parameters);
        eprintln!(
            "{path}{parameters}: {} samples, unresolved {}, truncated {}, {}",
            answer.header("sideflame-samples"),
            answer.header("sideflame-unresolved"),
            truncated(&stacks),
            answer.header("sideflame-degraded"),
        );
        shares::assert_split(&stacks, split);
        assert!(answer.number("sideflame-unresolved") < 0.05, "{path}: {stacks}");
        assert!(truncated(&stacks) < 0.05, "{path}: {stacks}");
        // What called the functions is seen, too.
        let called = shares::of(&stacks.replace(';', ";;"), root.trim_end_matches(';'));
        assert!(called > 0.95, "{path}: {called} below {root} {stacks}");
        let (seen, used) = (
            answer.number("sideflame-sampled-cpu-ms"),
            answer.number("sideflame-cpu-ms"),
        );
        assert!((seen / used - 1.0).abs() < 0.1, "{path}: {seen} of {used} ms");
    }
}

#[test]
fn a_stripped_program_without_frame_pointers_keeps_its_callers() {
    let _alone = alone();
    let server = Server::default();
    let app = app("c/split-stripped", &["cpu"]);
    let (stacks, answer) = cpu(&server, &app, "");
    assert!(truncated(&stacks) < 0.05, "{stacks}");
    // Three functions without names, which are told apart all the same.
    let mut by_leaf: BTreeMap<&str, f64> = BTreeMap::new();
    for line in stacks.lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        assert!(stack.contains("split-stripped"), "{line}");
        let leaf = stack.rsplit(';').next().unwrap();
        *by_leaf.entry(leaf).or_default() += value.parse::<f64>().unwrap();
    }
    let total: f64 = by_leaf.values().sum();
    let mut shares: Vec<f64> = by_leaf.values().map(|value| 100.0 * value / total).collect();
    shares.sort_by(|one, other| other.total_cmp(one));
    for (share, known) in shares.iter().zip([60.0, 30.0, 10.0]) {
        assert!((share - known).abs() < 3.0, "{by_leaf:?}");
    }
    assert!(
        answer.number("sideflame-unresolved") > 0.9,
        "names from nowhere: {stacks}"
    );
}

#[test]
fn threads_that_wait_are_seen_by_name_and_time() {
    let _alone = alone();
    let server = Server::default();
    let app = app("c/split", &["wall", "3"]);
    let path = format!("/profile?pid={}&seconds=5&format=collapsed", app.pid);
    for event in ["wall", "offcpu"] {
        let answer = server.get(&format!("{path}&event={event}&threads=true")).ok();
        let stacks = answer.text();
        for thread in ["[wall-0 tid=", "[wall-1 tid=", "[wall-2 tid="] {
            let of_thread = only(&stacks, |line| line.starts_with(thread));
            let values = of_thread
                .lines()
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
            let seconds = values.sum::<f64>() / 1e9;
            assert!((seconds - 5.0).abs() < 0.25, "{event}: {seconds} s of {thread}");
            shares::assert_split(
                &of_thread,
                [("wait_sixty", 0.6), ("wait_thirty", 0.3), ("wait_ten", 0.1)],
            );
        }
        // The main thread does nothing all the time, and nothing tells where.
        let main = stacks.lines().find(|line| line.starts_with("[split tid="));
        assert!(main.unwrap().contains("[waited since before the capture]"), "{stacks}");
    }
}

#[test]
fn threads_and_processes_that_come_and_go_are_seen() {
    let _alone = alone();
    let server = Server::default();
    for scenario in ["born", "fork", "exec"] {
        let app = app("c/split-nofp", &[scenario]);
        // Of a thousand samples one run in five was 3 points off by chance.
        let query = format!("/profile?pid={}&seconds=10&frequency=499&format=collapsed", app.pid);
        let captures = shares::enough_captures(|| server.get(&query));
        let stacks: String = captures.iter().map(Answer::text).collect();
        let answer = captures.last().unwrap();
        eprintln!(
            "{scenario}: {} unresolved, {} truncated",
            answer.header("sideflame-unresolved"),
            truncated(&stacks)
        );
        let ours = only(&stacks, |line| line.contains("round_of"));
        shares::assert_split(&ours, C);
        let share = shares::of(&stacks, "round_of");
        assert!(share > 0.8, "{scenario}: {share} {stacks}");
        assert!(answer.number("sideflame-unresolved") < 0.1, "{scenario}: {stacks}");
    }
}

#[test]
fn threads_that_switch_too_often_to_be_measured_are_let_go() {
    let _alone = alone();
    let server = Server::default();
    let app = app("c/split", &["switch", "2"]);
    let path = format!("/profile?pid={}&seconds=8&event=offcpu&format=collapsed", app.pid);
    let begun = Instant::now();
    let answer = server.get(&path).ok();
    let degraded = answer.header("sideflame-degraded");
    eprintln!("{degraded}");
    assert!(degraded.contains("times a second"), "{degraded}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(answer.text().contains("anon_pipe_read"), "{}", answer.text());
}

#[test]
fn two_hundred_threads_are_sampled() {
    let _alone = alone();
    let server = Server::default();
    let app = app("c/split-nofp", &["cpu", "200"]);
    let answer = server
        .get(&format!(
            "/profile?pid={}&seconds=10&format=collapsed&threads=true",
            app.pid
        ))
        .ok();
    let stacks = answer.text();
    let mut threads: Vec<_> = stacks.lines().filter_map(|line| line.split(';').next()).collect();
    threads.sort_unstable();
    threads.dedup();
    eprintln!("{} threads, {} lost", threads.len(), answer.header("sideflame-lost"));
    assert!(threads.len() >= 195, "{threads:?}");
    assert!(truncated(&stacks) < 0.05);
    let (seen, used) = (
        answer.number("sideflame-sampled-cpu-ms"),
        answer.number("sideflame-cpu-ms"),
    );
    // Of each thread half an interval is left on each of its CPUs: 2 s of the 10 to 20 s that they get.
    assert!((0.7..1.05).contains(&(seen / used)), "{seen} of {used} ms");
}

#[test]
fn a_program_that_was_deleted_or_replaced_keeps_its_names() {
    let _alone = alone();
    let server = Server::default();
    let copy = std::env::temp_dir().join(format!("sideflame-shop-{}", std::process::id()));
    std::fs::copy(cache::file("apps/c/split-nofp"), &copy).unwrap();
    let mut command = Command::new(&copy);
    command.arg("cpu");
    let app = App::start(command);
    std::fs::remove_file(&copy).unwrap();
    shares::assert_split(&cpu(&server, &app, "").0, C);
    // Another program of that name must not lend its names.
    std::fs::copy(cache::file("apps/cpp/split"), &copy).unwrap();
    let (stacks, _) = cpu(&server, &app, "");
    shares::assert_split(&stacks, C);
    assert!(!stacks.contains("shop::"), "{stacks}");
    std::fs::remove_file(&copy).unwrap();
}

#[test]
fn what_is_counted_has_its_split_or_its_reason() {
    let _alone = alone();
    let server = Server::default();
    let faults = app("c/split", &["faults"]);
    let answer = server
        .get(&format!(
            "/profile?pid={}&seconds=5&event=page-faults&format=collapsed",
            faults.pid
        ))
        .ok();
    let touched = [("touch_sixty", 0.6), ("touch_thirty", 0.3), ("touch_ten", 0.1)];
    shares::assert_split(&answer.text(), touched);
    let waits = app("c/split", &["wall"]);
    let answer = server
        .get(&format!(
            "/profile?pid={}&seconds=5&event=context-switches&format=collapsed",
            waits.pid
        ))
        .ok();
    // Each waits once in a round.
    let third = 1.0 / 3.0;
    shares::assert_split(
        &answer.text(),
        [("wait_sixty", third), ("wait_thirty", third), ("wait_ten", third)],
    );
    for (event, code) in [
        ("cycles", "no_hardware_counter"),
        ("cache-misses", "no_hardware_counter"),
        ("r1a8", "no_hardware_counter"),
    ] {
        let answer = server.get(&format!("/profile?pid={}&seconds=1&event={event}", waits.pid));
        match answer.status {
            // A machine with such counters.
            200 => assert!(Path::new("/sys/bus/event_source/devices/cpu").exists()),
            status => {
                let problem = answer.text();
                assert!(
                    status == 422 && problem.contains(code) && problem.contains("event=cpu"),
                    "{event}: {problem}"
                );
            }
        }
    }
    let unknown = server.get(&format!("/profile?pid={}&seconds=1&event=no-such", waits.pid));
    assert_eq!(unknown.status, 400, "{}", unknown.text());
}

#[test]
fn the_doctor_says_before_what_happens_after() {
    let _alone = alone();
    let app = App::start(as_user(Command::new(cache::file("apps/c/split-nofp")).arg("cpu")));
    let server = Server::start_by(as_user(&Command::new(cache::sideflame())), &[]);
    let doctor = server.get(&format!("/doctor?pid={}", app.pid)).ok().text();
    eprintln!("{doctor}");
    for event in [
        "cpu",
        "wall",
        "offcpu",
        "context-switches",
        "page-faults",
        "cycles",
        "cache-misses",
    ] {
        let answer = server.get(&format!(
            "/profile?pid={}&seconds=1&event={event}&format=collapsed",
            app.pid
        ));
        let verdicts = server
            .send(
                "GET",
                &format!("/doctor?pid={}", app.pid),
                &[("accept", "application/json")],
            )
            .ok()
            .json();
        let verdict = verdicts[0]["verdicts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|verdict| verdict["event"] == event)
            .unwrap_or_else(|| panic!("no verdict of {event}: {verdicts}"));
        let possible = verdict["availability"] != "impossible";
        assert_eq!(answer.status == 200, possible, "{event}: {verdict} {}", answer.text());
        if !possible {
            let reason = verdict["reason"]["key"].as_str().unwrap();
            assert!(answer.text().contains(reason), "{event}: {reason} {}", answer.text());
        }
    }
    // Without any right the program's own frames are there, and the stamp says what is not.
    let (stacks, answer) = cpu(&server, &app, "");
    shares::assert_split(&stacks, C);
    assert!(
        answer.header("sideflame-degraded").contains("perf_event_paranoid"),
        "{}",
        answer.header("sideflame-degraded")
    );
}

/// Share by function, wherever in a stack it stands, of those that have any.
fn by_function(stacks: &str) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    let mut total = 0.0;
    for line in stacks.lines() {
        let Some((stack, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let value: f64 = value.parse().unwrap();
        total += value;
        let mut functions: Vec<_> = stack.split(';').collect();
        functions.sort_unstable();
        functions.dedup();
        for function in functions {
            *shares.entry(function.to_owned()).or_insert(0.0) += value;
        }
    }
    shares.values_mut().for_each(|share| *share /= total);
    shares
}

/// Collapsed stacks of what `perf script` prints, with the names as perf has them.
fn collapsed(script: &str) -> String {
    let mut collapsed = String::new();
    let mut frames: Vec<&str> = Vec::new();
    for line in script.lines().chain([""]) {
        if line.is_empty() {
            frames.reverse();
            if !frames.is_empty() {
                collapsed.push_str(&frames.join(";"));
                collapsed.push_str(" 1\n");
            }
            frames.clear();
        } else if line.starts_with('\t') {
            let symbol = line.split_whitespace().nth(1).unwrap();
            frames.push(symbol.rsplit_once("+0x").map_or(symbol, |(name, _)| name));
        }
    }
    collapsed
}

#[test]
fn perf_sees_the_same() {
    let _alone = alone();
    let server = Server::default();
    let app = app("cpp/split", &[]);
    let pid = app.pid.to_string();
    let file = std::env::temp_dir().join(format!("sideflame-perf-{pid}.data"));
    let (ours, theirs) = std::thread::scope(|scope| {
        let perf = scope.spawn(|| {
            let recorded = Command::new("perf")
                .args([
                    "record",
                    "-q",
                    "-e",
                    "cpu-clock",
                    "-F",
                    "499",
                    "--call-graph",
                    "dwarf,8192",
                    "-p",
                    &pid,
                    "-o",
                ])
                .arg(&file)
                .args(["--", "sleep", "6"])
                .output()
                .unwrap();
            assert!(
                recorded.status.success(),
                "{}",
                String::from_utf8_lossy(&recorded.stderr)
            );
            let script = Command::new("perf")
                .args(["script", "-F", "ip,sym", "-i"])
                .arg(&file)
                .output()
                .unwrap();
            collapsed(&String::from_utf8_lossy(&script.stdout))
        });
        let ours = server
            .get(&format!("/profile?pid={pid}&seconds=6&frequency=499&format=collapsed"))
            .ok();
        (ours.text(), perf.join().unwrap())
    });
    std::fs::remove_file(&file).unwrap();
    let (ours, theirs) = (by_function(&ours), by_function(&theirs));
    // perf prints of inlined functions, and of some others, the last part of the name.
    let name = |function: &str| function.split(['(', '<']).next().unwrap().trim().to_owned();
    let mut compared = 0;
    // perf finds packages of debug information on this machine; a pod has none, and we do not look for them.
    let ours_has = |function: &&String| !function.starts_with("__libc");
    for (function, share) in theirs.iter().filter(|(name, share)| **share > 0.02 && ours_has(name)) {
        let same: f64 = ours
            .iter()
            .filter(|(ours, _)| ours.contains(&name(function)))
            .map(|(_, share)| *share)
            .fold(0.0, f64::max);
        eprintln!("{function}: perf {share:.3}, ours {same:.3}");
        assert!(
            (share - same).abs() < 0.03,
            "{function}: perf {share}, ours {same}: {ours:?}"
        );
        compared += 1;
    }
    assert!(compared >= 5, "{theirs:?}");
}
