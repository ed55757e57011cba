//! .NET captures over HTTP: flame graphs and whole nettrace files with the shares of our methods.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, and says what it saw"
)]

use std::collections::BTreeMap;
use std::process::Command;

use e2e::app::{self, App, alone};
use e2e::{Answer, Server, nettrace, shares};

/// FastSerialization's NullReference tag ends a nettrace of version 4 and 5.
const END: u8 = 1;

fn assert_whole(nettrace: &[u8]) {
    assert!(
        nettrace.starts_with(b"Nettrace"),
        "{:?}",
        &nettrace[..nettrace.len().min(32)]
    );
    assert_eq!(nettrace.last(), Some(&END));
}

#[test]
fn a_nettrace_has_the_shares_of_our_methods() {
    for version in ["3.1", "8"] {
        let app = App::start(app::dotnet(version, "cpu"));
        let server = Server::default();
        eprintln!(".NET {version}");
        nettrace::assert_split(|| server.get(&format!("/profile?pid={}&seconds=10&format=nettrace", app.pid)));
    }
}

/// Collapsed stacks of a scenario of the sample app.
fn collapsed(version: &str, scenario: &str) -> Answer {
    let _alone = (scenario == "cpu").then(alone);
    let app = App::start(app::dotnet(version, scenario));
    let query = format!("pid={}&seconds=10&event={scenario}&format=collapsed", app.pid);
    Server::default().get(&format!("/profile?{query}")).ok()
}

#[test]
fn every_event_of_net_3_1_has_the_known_split() {
    every_event_has_the_known_split("3.1");
}

#[test]
fn every_event_of_net_8_has_the_known_split() {
    every_event_has_the_known_split("8");
}

fn every_event_has_the_known_split(version: &str) {
    for (scenario, methods) in [
        ("cpu", ["Split.Sixty", "Split.Thirty", "Split.Ten"]),
        ("wall", ["Split.WallSixty", "Split.WallThirty", "Split.WallTen"]),
        ("alloc", ["Split.AllocSixty", "Split.AllocThirty", "Split.AllocTen"]),
        ("lock", ["Split.LockSixty", "Split.LockThirty", "Split.LockTen"]),
        (
            "exceptions",
            ["Split.ThrowSixty", "Split.ThrowThirty", "Split.ThrowTen"],
        ),
    ] {
        let answer = collapsed(version, scenario);
        eprintln!(
            ".NET {version} {scenario}: {} samples, {} lost, {} of {} ms of CPU",
            answer.header("sideflame-samples"),
            answer.header("sideflame-lost"),
            answer.header("sideflame-sampled-cpu-ms"),
            answer.header("sideflame-cpu-ms"),
        );
        let stacks = answer.text();
        let [sixty, thirty, ten] = methods;
        shares::assert_split(&stacks, [(sixty, 0.6), (thirty, 0.3), (ten, 0.1)]);
        let leaf = |name: &str| {
            let leaves = stacks.lines().filter_map(|line| {
                let (stack, value) = line.rsplit_once(' ')?;
                Some(format!("{} {value}\n", stack.rsplit(';').next()?))
            });
            shares::of(&leaves.collect::<String>(), name)
        };
        match scenario {
            "alloc" => assert!(leaf("System.Byte[]") > 0.95, "{stacks}"),
            "exceptions" => assert!(leaf("System.InvalidOperationException") > 0.95, "{stacks}"),
            _ => {}
        }
    }
}

#[test]
fn threads_are_told_apart_by_name_when_asked_for() {
    let app = App::start(app::dotnet("8", "wall"));
    let server = Server::default();
    let query = format!("pid={}&seconds=2&event=wall&threads=true&format=collapsed", app.pid);
    let stacks = server.get(&format!("/profile?{query}")).ok().text();
    let sleeper = stacks.lines().find(|stack| stack.contains("Split.WallSixty")).unwrap();
    assert!(sleeper.starts_with("[shop-worker-1 tid="), "{sleeper}");
    let roots: std::collections::BTreeSet<_> = stacks.lines().filter_map(|stack| stack.split(';').next()).collect();
    assert!(roots.len() > 1, "{stacks}");
}

/// Inclusive values of functions, which the sample app does not call recursively.
fn by_function<'a>(stacks: impl Iterator<Item = (Vec<&'a str>, f64)>) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for (mut stack, value) in stacks {
        stack.sort_unstable();
        stack.dedup();
        for function in stack {
            *sums.entry(function.to_owned()).or_default() += value;
        }
    }
    sums
}

/// The twenty functions with the most, and all of it, agree within a thousandth of the total.
fn assert_agree(format: &str, expected: &BTreeMap<String, f64>, total: f64, found: &BTreeMap<String, f64>) {
    let mut top: Vec<_> = expected.iter().collect();
    top.sort_by(|one, other| other.1.total_cmp(one.1));
    for (function, value) in top.into_iter().take(20) {
        let found = found.get(function).copied().unwrap_or_default();
        assert!(
            (found - value).abs() <= total / 1000.0,
            "{format}: {function} has {found} of {total}, expected {value}"
        );
    }
}

#[test]
fn every_format_of_a_recording_says_the_same_and_so_does_another_reader() {
    let app = App::start(app::dotnet("3.1", "cpu"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=5&event=wall", app.pid));
    server.wait_for(&id, &["finished"]);
    let artifact = |format: &str| server.get(&format!("/captures/{id}/artifact?format={format}")).ok();

    let text = artifact("collapsed").text();
    let stacks = || {
        text.lines().map(|line| {
            let (stack, value) = line.rsplit_once(' ').unwrap();
            (stack.split(';').collect::<Vec<_>>(), value.parse::<f64>().unwrap())
        })
    };
    let total: f64 = stacks().map(|(_, value)| value).sum();
    let functions = by_function(stacks());
    assert!(total > 1e9 && functions.len() > 4, "{text}");

    let speedscope = artifact("speedscope").json();
    let names: Vec<_> = speedscope["shared"]["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|frame| frame["name"].as_str().unwrap())
        .collect();
    let wall = speedscope["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .find(|profile| profile["name"] == "wall")
        .unwrap();
    let weights = wall["weights"]
        .as_array()
        .unwrap()
        .iter()
        .map(|weight| weight.as_f64().unwrap());
    let samples = wall["samples"].as_array().unwrap().iter().map(|stack| {
        let frames = stack.as_array().unwrap().iter();
        frames
            .map(|frame| names[usize::try_from(frame.as_u64().unwrap()).unwrap()])
            .collect::<Vec<_>>()
    });
    let samples: Vec<_> = samples.zip(weights).collect();
    let sum: f64 = samples.iter().map(|(_, weight)| weight).sum();
    assert!((sum - total).abs() < 1.0, "speedscope has {sum} of {total}");
    assert_agree("speedscope", &functions, total, &by_function(samples.into_iter()));

    let pprof = shares::by_go_tool(&[artifact("pprof")]);
    let by_go = pprof.lines().map(|line| {
        let (stack, milliseconds) = line.rsplit_once(' ').unwrap();
        let value = milliseconds.parse::<f64>().unwrap() * 1e6;
        (stack.split(';').collect::<Vec<_>>(), value)
    });
    assert_agree("pprof", &functions, total, &by_function(by_go));

    // `<title>Demo.Shop.Split.Sixty (2,903 ms, 58.1%)</title>`; the root is called `all`.
    let svg = artifact("svg").text();
    let mut drawn: BTreeMap<String, f64> = BTreeMap::new();
    for title in svg.split("<title>").skip(1) {
        let title = title.split("</title>").next().unwrap();
        let (name, share) = title.rsplit_once(" (").unwrap();
        let percent = share.split(", ").last().unwrap().trim_end_matches("%)");
        let name = name.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        *drawn.entry(name).or_default() += percent.parse::<f64>().unwrap() / 100.0 * total;
    }
    assert_agree("svg", &functions, total, &drawn);

    let judged = nettrace::samples(&artifact("nettrace"));
    let count = judged.lines().count();
    assert_eq!(artifact("svg").header("sideflame-samples"), count.to_string());
    let known = |text: &str| {
        let stacks = text.lines().filter_map(|line| line.rsplit_once(' '));
        let stacks = stacks.map(|(stack, _)| stack.replace("[unknown]", "?"));
        stacks.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(known(&judged), known(&text));
}

#[test]
fn pprof_of_a_dotnet_process_is_read_by_go_tool() {
    let app = App::start(app::dotnet("8", "alloc"));
    let server = Server::default();
    for (path, method) in [("profile", "Split.Alloc"), ("allocs", "Split.AllocSixty")] {
        let url = format!("{}/debug/pprof/{path}?seconds=2&pid={}", server.url, app.pid);
        let top = Command::new("go")
            .args(["tool", "pprof", "-top", "-cum", &url])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&top.stdout).into_owned() + &String::from_utf8_lossy(&top.stderr);
        assert!(top.status.success() && said.contains(method), "{path}: {said}");
    }
    let mutex = server
        .get(&format!("/debug/pprof/mutex?seconds=1&pid={}", app.pid))
        .ok();
    assert!(mutex.body.starts_with(&[0x1f, 0x8b]), "{:?}", &mutex.body[..2]);
}

#[test]
fn a_modern_runtime_gives_a_whole_nettrace() {
    let app = App::launch(app::dotnet_10());
    let server = Server::default();
    // It says nothing when it is ready: the diagnostic socket is what we wait for.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let capture = || server.get(&format!("/profile?pid={}&seconds=3&event=wall", app.pid));
    let mut answer = capture();
    while answer.status != 200 && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(200));
        answer = capture();
    }
    answer.ok();
    // While it starts, code runs that is gone again when names are told: the next capture is judged.
    let answer = capture().ok();
    let unresolved: f64 = answer.header("sideflame-unresolved").parse().unwrap();
    assert!(unresolved < 0.01, "{unresolved}");
    let stacks = server.get(&format!(
        "/captures/{}/artifact?format=collapsed",
        answer.header("sideflame-capture")
    ));
    let stacks = stacks.ok().text();
    let (mut unknown, mut all) = (0.0, 0.0);
    for (stack, value) in stacks.lines().filter_map(|line| line.rsplit_once(' ')) {
        let value: f64 = value.parse().unwrap();
        for frame in stack.split(';') {
            all += value;
            unknown += if frame.contains("[unknown]") { value } else { 0.0 };
        }
    }
    assert!(unknown < all / 100.0, "{unknown} of {all} have no name:\n{stacks}");
    let path = format!(
        "/captures/{}/artifact?format=nettrace",
        answer.header("sideflame-capture")
    );
    assert_whole(&server.get(&path).ok().body);
}

#[test]
fn the_other_events_are_whole_too() {
    let app = App::start(app::dotnet("8", "alloc"));
    let server = Server::default();
    for event in ["alloc", "lock", "exceptions", "wall"] {
        assert_whole(
            &server
                .get(&format!(
                    "/profile?pid={}&seconds=1&event={event}&format=nettrace",
                    app.pid
                ))
                .ok()
                .body,
        );
    }
    let profile = server
        .get(&format!("/profile?pid={}&seconds=1&profile=gc-verbose", app.pid))
        .ok();
    assert_whole(&profile.body);
    let provider = "providers=Microsoft-Windows-DotNETRuntime:0x1:4";
    assert_whole(
        &server
            .get(&format!("/profile?pid={}&seconds=1&{provider}", app.pid))
            .ok()
            .body,
    );
}

#[test]
fn formats_it_cannot_give_are_named_with_those_it_can() {
    let app = App::start(app::dotnet("3.1", "cpu"));
    let server = Server::default();
    let refused = server.get(&format!("/profile?pid={}&seconds=1&format=jfr", app.pid));
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(
        refused
            .text()
            .contains("svg, collapsed, pprof, speedscope, top, top.json, flame, timeline, nettrace"),
        "{}",
        refused.text()
    );
}

#[test]
fn the_default_is_an_svg_with_its_stamp() {
    let app = App::start(app::dotnet("3.1", "cpu"));
    let answer = Server::default()
        .get(&format!("/profile?pid={}&seconds=2", app.pid))
        .ok();
    assert_eq!(answer.header("content-type"), "image/svg+xml");
    let text = answer.text();
    for part in ["Split.Sixty", "EventPipe sample profiler", " 0 lost", " of CPU seen"] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn an_early_stop_keeps_a_whole_file() {
    let app = App::start(app::as_user(&app::dotnet("3.1", "cpu")));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=300", app.pid));
    server.wait_for(&id, &["sampling"]);
    // What is stopped early is to be as long as this.
    std::thread::sleep(std::time::Duration::from_secs(2));
    server.send("POST", &format!("/captures/{id}/stop"), &[]);
    assert_eq!(server.wait_for(&id, &["finished", "failed"])["status"], "finished");
    assert_whole(
        &server
            .get(&format!("/captures/{id}/artifact?format=nettrace"))
            .ok()
            .body,
    );
}

#[test]
fn a_runtime_that_waits_at_its_start_is_not_recorded_and_the_doctor_names_its_port() {
    let mut command = app::dotnet("8", "cpu");
    command.env("DOTNET_DiagnosticPorts", "/tmp/sideflame-no-such.sock");
    let mut app = App::launch(command);
    app.wait_for("The runtime has been configured to pause");
    let server = Server::default();
    let doctor = server.get(&format!("/doctor?format=json&pid={}", app.pid)).ok().json();
    let verdict = &doctor[0]["verdicts"][0];
    assert_eq!(verdict["reason"]["key"], "paused_at_startup", "{doctor}");
    let refused = server.get(&format!("/profile?pid={}&seconds=1", app.pid)).json();
    assert_eq!(refused["reason"], "paused_at_startup", "{refused}");
    assert_eq!(refused["detail"], verdict["reason"]["sentence"]);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("/tmp/sideflame-no-such.sock")
    );
}

#[test]
fn a_tmpdir_too_long_for_a_socket_is_named() {
    let long = std::env::temp_dir().join(format!("sideflame-{}-{}", std::process::id(), "long".repeat(20)));
    std::fs::create_dir(&long).unwrap();
    let mut command = app::dotnet("8", "idle");
    command.env("TMPDIR", &long);
    let app = App::start(command);
    let refused = Server::default()
        .get(&format!("/profile?pid={}&seconds=1", app.pid))
        .json();
    drop(app);
    std::fs::remove_dir_all(&long).unwrap();
    assert_eq!(refused["reason"], "tmpdir_too_long", "{refused}");
}

/// Files of ours, and of the runtime for us, that are there for a process.
fn left_of(pid: i32) -> Vec<String> {
    let entries = std::fs::read_dir("/tmp").unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_of_it = |name: &String| {
        ["perf-", "perfinfo-", ".sideflame-"].iter().any(|begin| {
            let rest = name
                .strip_prefix(begin)
                .and_then(|rest| rest.strip_prefix(&pid.to_string()));
            rest.is_some_and(|rest| rest.starts_with(['.', '-']))
        })
    };
    names.filter(is_of_it).collect()
}

#[test]
fn what_the_kernel_samples_has_managed_frames_among_its_own() {
    let server = Server::default();
    let get = |app: &App, query: &str| {
        server
            .get(&format!("/profile?pid={}&format=collapsed&{query}", app.pid))
            .ok()
    };
    let frames = |function: &str, scenario: &str| format!("{scenario};Demo.Shop.Split.{function};");
    let app = App::start(app::dotnet("8", "cpu"));
    let answer = get(&app, "event=cpu-clock&seconds=10&frequency=199");
    let stacks = answer.text();
    shares::assert_split(
        &stacks,
        [
            ("Demo.Shop.Split.Sixty", 0.6),
            ("Demo.Shop.Split.Thirty", 0.3),
            ("Demo.Shop.Split.Ten", 0.1),
        ],
    );
    // Below the method is the thread as the C library began it, and above it the kernel.
    let whole = stacks
        .lines()
        .filter(|line| line.contains(&frames("Sixty", "<Start>b__0")));
    assert!(
        whole.clone().count() > 0 && whole.clone().all(|line| line.starts_with("[libc")),
        "{stacks}"
    );
    assert!(
        stacks.contains("Split.Spin;asm_") || stacks.contains("Split.Spin;entry_"),
        "{stacks}"
    );
    let (sampled, used) = (
        answer.number("sideflame-sampled-cpu-ms"),
        answer.number("sideflame-cpu-ms"),
    );
    assert!((sampled / used - 1.0).abs() < 0.05, "{sampled} of {used} ms");
    assert_eq!(left_of(app.pid), [] as [String; 0]);

    // The same twice in turns: the runtime writes its map again.
    let waits = App::start(app::dotnet("8", "wall"));
    for _ in 0..2 {
        let stacks = get(&waits, "event=offcpu&seconds=10").text();
        // The runtime's own threads wait, too; what was inlined by then has no frame.
        let of_ours = stacks.lines().filter(|line| line.contains("Demo.Shop.Split.Wall"));
        let stacks: String = of_ours.flat_map(|line| [line, "\n"]).collect();
        let methods = ["WallSixty", "WallThirty", "WallTen"].map(|name| format!("Demo.Shop.Split.{name}"));
        let [sixty, thirty, ten] = methods.each_ref().map(String::as_str);
        shares::assert_split(&stacks, [(sixty, 0.6), (thirty, 0.3), (ten, 0.1)]);
    }
    assert_eq!(left_of(waits.pid), [] as [String; 0]);
}

#[test]
fn a_runtime_that_writes_no_names_is_said_so_before_and_after() {
    let server = Server::default();
    let app = App::start(app::dotnet("3.1", "cpu"));
    let doctor = server.get(&format!("/doctor?pid={}&format=json", app.pid)).ok().json();
    let verdicts = doctor[0]["verdicts"].as_array().unwrap();
    let verdict = verdicts
        .iter()
        .find(|verdict| verdict["event"] == "page-faults")
        .unwrap();
    assert_eq!(verdict["reason"]["key"], "no_managed_names", "{verdict}");
    let answer = server
        .get(&format!(
            "/profile?pid={}&event=cpu-clock&seconds=2&format=collapsed",
            app.pid
        ))
        .ok();
    assert!(
        answer.header("sideflame-degraded").contains("its runtime is .NET 3"),
        "{:?}",
        answer.headers
    );
    assert_eq!(left_of(app.pid), [] as [String; 0]);
    drop(app);

    let app = App::start({
        let mut switched_on = app::dotnet("3.1", "cpu");
        switched_on.env("COMPlus_PerfMapEnabled", "1");
        switched_on
    });
    let answer = server
        .get(&format!(
            "/profile?pid={}&event=cpu-clock&seconds=4&format=collapsed",
            app.pid
        ))
        .ok();
    assert!(shares::of(&answer.text(), "Demo.Shop.Split") > 0.9, "{}", answer.text());
    // It is the app's own.
    let map = format!("perf-{}.map", app.pid);
    assert!(left_of(app.pid).contains(&map));
    for file in left_of(app.pid) {
        std::fs::remove_file(format!("/tmp/{file}")).unwrap();
    }
}
