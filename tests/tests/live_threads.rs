//! `/threads`: which thread waits for which, and what each does at this moment.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::{MemoryCgroup, Server, cache, target_files};
use serde_json::{Value, json};

fn threads(server: &Server, pid: i32) -> Value {
    server.get(&format!("/threads?pid={pid}&format=json")).ok().json()
}

/// The thread of that name in a list of threads.
fn named<'a>(dump: &'a Value, name: &str) -> &'a Value {
    let threads = dump["threads"].as_array().unwrap();
    threads.iter().find(|thread| thread["name"] == name).unwrap()
}

fn functions(thread: &Value) -> Vec<&str> {
    let frames = thread["frames"].as_array().unwrap();
    frames.iter().map(|frame| frame["function"].as_str().unwrap()).collect()
}

fn go(scenario: &str) -> App {
    go_with(&[], scenario)
}

fn go_with(flags: &[&str], scenario: &str) -> App {
    let mut command = Command::new(cache::file("apps/go/split"));
    command.args(["-pprof", "127.0.0.1:0"]).args(flags).arg(scenario);
    App::start(command)
}

/// A JVM with a thread that holds locks, two that wait for them, and so many virtual ones that wait as well.
fn crowd(jdk: &str, guests: u32) -> App {
    let mut app = App::launch(app::java(jdk, &[&format!("-Dshop.guests={guests}")], "crowd"));
    app.wait_for("waiting");
    app
}

/// A server that may have no more memory than a sidecar has by default.
fn in_little_memory(cgroup: &MemoryCgroup) -> Server {
    Server::start_by(cgroup.command(&cache::sideflame()), &[])
}

#[test]
fn a_deadlock_of_a_jvm_is_named_with_its_threads_and_locks() {
    let server = Server::default();
    for jdk in ["17", "25"] {
        // Nothing is loaded, so it does not matter that nothing may be.
        let app = App::start(app::java(jdk, &["-XX:-EnableDynamicAgentLoading"], "deadlock"));
        let mut dump = Value::Null;
        wait("the deadlock", Duration::from_secs(20), || {
            dump = threads(&server, app.pid);
            let waits = named(&dump, "shop-worker-1")["waitsFor"].is_string();
            (waits && dump["deadlocks"] != json!([])).then_some(())
        });
        // JDK 17 also lists who waits for one of them.
        let names: Vec<String> = serde_json::from_value(dump["deadlocks"][0].clone()).unwrap();
        assert!(
            ["shop-left", "shop-right"]
                .iter()
                .all(|name| names.contains(&(*name).to_owned()))
        );
        let (left, right) = (named(&dump, "shop-left"), named(&dump, "shop-right"));
        assert_eq!(left["waitsFor"], right["holds"][0], "{dump:#}");
        assert_eq!(right["waitsFor"], left["holds"][0], "{dump:#}");
        assert_eq!(named(&dump, "shop-worker-1")["waitsFor"], left["holds"][0]);
        assert_eq!(left["state"], "BLOCKED (on object monitor)");
        assert_eq!(left["frames"][0]["function"], "demo.shop.Edges.takeBoth");
        assert_eq!(left["frames"][0]["file"], "Edges.java");
        assert!(left["frames"][0]["line"].as_u64().unwrap() > 1 && left["tid"].as_u64().unwrap() > 1);

        let text = server.get(&format!("/threads?pid={}", app.pid)).ok();
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
        assert!(
            text.text().contains("Found one Java-level deadlock:"),
            "{}",
            text.text()
        );
        assert!(!app.said().iter().any(|line| line.contains("thread dump")));
    }
}

/// The first who attach: one more signal than the JVM waits for, and it prints all threads to the app's output.
#[test]
fn a_jvm_that_is_asked_by_eight_at_once_is_woken_once() {
    let server = Server::start(&["--max-captures", "8"]);
    for jdk in ["17", "25"] {
        let app = App::start(app::java(jdk, &[], "deadlock"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(threads(&server, app.pid)["threads"].as_array().unwrap().len() > 5));
            }
        });
        threads(&server, app.pid);
        let said = app.said();
        assert!(
            !said.iter().any(|line| line.contains("thread dump")),
            "JDK {jdk}: {said:#?}"
        );
        assert_eq!(target_files::left(app.pid), [] as [PathBuf; 0]);
    }
}

#[test]
fn threads_of_a_jvm_are_its_goroutine_profile() {
    let server = Server::default();
    let app = App::start(app::java("17", &[], "deadlock"));
    let count = threads(&server, app.pid)["threads"].as_array().unwrap().len();
    let collapsed = server.get(&format!("/profile?pid={}&event=goroutine&format=collapsed", app.pid));
    let collapsed = collapsed.ok().text();
    let counts = collapsed.lines().map(|line| line.rsplit_once(' ').unwrap().1);
    let total: usize = counts.map(|count| count.parse::<usize>().unwrap()).sum();
    assert!(total.abs_diff(count) <= 2, "{total} of {count}: {collapsed}");
    assert!(collapsed.contains("demo.shop.Edges.takeBoth"), "{collapsed}");
    let svg = server.get(&format!("/profile?pid={}&event=goroutine", app.pid)).ok();
    assert_eq!(svg.header("content-type"), "image/svg+xml");

    let pprof = |more: &str| {
        server
            .get(&format!("/debug/pprof/goroutine?pid={}{more}", app.pid))
            .ok()
    };
    assert_eq!(pprof("").body[..2], [0x1f, 0x8b]);
    for level in [1, 2] {
        let text = pprof(&format!("&debug={level}")).text();
        assert!(text.contains("Full thread dump") && text.contains("takeBoth"), "{text}");
    }
    let index = server.get(&format!("/debug/pprof/?pid={}", app.pid)).ok().text();
    assert!(index.contains("goroutine"), "{index}");
}

#[test]
fn who_holds_a_lock_of_a_jvm_and_who_waits_for_it_is_told() {
    let server = Server::default();
    for jdk in ["17", "25"] {
        let app = crowd(jdk, 0);
        let mut dump = Value::Null;
        wait("those who wait", Duration::from_secs(20), || {
            dump = threads(&server, app.pid);
            let waits = |name| named(&dump, name)["waitsFor"].is_string();
            (waits("shop-waiter") && waits("shop-payer")).then_some(())
        });
        let (holder, waiter) = (named(&dump, "shop-holder"), named(&dump, "shop-waiter"));
        assert_eq!(waiter["waitsFor"], holder["holds"][0], "{dump:#}");
        assert!(functions(holder).contains(&"demo.shop.Crowd.hold") && functions(waiter)[0] == "demo.shop.Crowd.enter");
        let payer = named(&dump, "shop-payer")["waitsFor"].as_str().unwrap();
        assert!(
            payer.ends_with("(a java.util.concurrent.locks.ReentrantLock$NonfairSync)"),
            "{payer}"
        );
        assert_eq!(dump["deadlocks"], json!([]));
        // There are none, and nothing is written for them.
        assert_eq!(dump["quality"]["degraded"], json!([]));
    }
}

#[test]
fn ten_thousand_virtual_threads_are_told_beside_the_others() {
    const GUESTS: u32 = 10_000;
    let app = crowd("25", GUESTS);
    let cgroup = MemoryCgroup::new(64 << 20);
    let server = in_little_memory(&cgroup);
    let began = Instant::now();
    let dump = threads(&server, app.pid);
    eprintln!("{GUESTS} virtual threads in {:?}", began.elapsed());
    let all = dump["threads"].as_array().unwrap();
    let (virtual_ones, others): (Vec<_>, Vec<_>) = all.iter().partition(|one| one["virtual"] == true);
    assert_eq!(virtual_ones.len(), GUESTS as usize, "{}", dump["quality"]);
    assert!(others.iter().all(|one| one["tid"].is_u64()), "twice");
    let guest = named(&dump, "shop-guest-4711");
    assert_eq!((&guest["state"], &guest["virtual"]), (&"WAITING".into(), &true.into()));
    assert!(functions(guest).contains(&"demo.shop.Crowd.pay"), "{guest:#}");
    let till = guest["waitsFor"].as_str().unwrap();
    assert!(till.contains("ReentrantLock$NonfairSync@"), "{till}");
    assert!(virtual_ones.iter().all(|one| one["waitsFor"] == till));
    assert_eq!(
        named(&dump, "shop-waiter")["waitsFor"],
        named(&dump, "shop-holder")["holds"][0]
    );
    assert_eq!(dump["quality"]["degraded"], json!([]));
    let text = server.get(&format!("/threads?pid={}", app.pid)).ok().text();
    assert!(
        text.contains("Full thread dump") && text.contains("\n\"shop-guest-4711\" #"),
        "{}",
        &text[..2000]
    );
    assert_eq!(target_files::left(app.pid), [] as [PathBuf; 0]);
    assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
    drop(server);
}

#[test]
fn two_hundred_thousand_goroutines_are_grouped_by_what_they_do() {
    const GUESTS: u64 = 200_000;
    let app = go_with(&["-guests", &GUESTS.to_string()], "crowd");
    let cgroup = MemoryCgroup::new(64 << 20);
    let server = in_little_memory(&cgroup);
    let mut dump = Value::Null;
    wait("all guests", Duration::from_secs(60), || {
        let began = Instant::now();
        dump = threads(&server, app.pid);
        let guests = running(&dump, "main.(*shop).pay")["count"] == GUESTS;
        guests.then(|| eprintln!("{GUESTS} goroutines in {:?}", began.elapsed()))
    });
    assert!(dump["threads"].as_array().unwrap().len() < 40, "{dump:#}");
    let guests = running(&dump, "main.(*shop).pay");
    assert_eq!(
        (&guests["state"], &guests["id"]),
        (&"chan receive".into(), &Value::Null)
    );
    // Go does not tell who holds a lock: who is in the function that does has no part of it.
    let waiter = running(&dump, "main.(*shop).enter");
    assert_eq!(waiter["state"], "sync.Mutex.Lock");
    let door = waiter["waitsFor"].as_str().unwrap();
    assert!(door.starts_with("<0x") && door.ends_with("> (a sync.Mutex)"), "{door}");
    assert_eq!(running(&dump, "main.(*shop).hold")["state"], "chan receive");
    assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
    drop(server);
}

#[test]
fn goroutines_are_told_in_the_same_shape() {
    let server = Server::default();
    let app = go("cpu");
    let dump = threads(&server, app.pid);
    let goroutines = dump["threads"].as_array().unwrap();
    assert!(
        goroutines.iter().any(|one| functions(one).contains(&"main.cpu")),
        "{dump:#}"
    );
    let serving = goroutines.iter().find(|one| one["state"] == "IO wait").unwrap();
    assert!(serving["id"].as_u64().unwrap() > 0 && serving["frames"][0]["line"].as_u64().unwrap() > 0);
    let text = server.get(&format!("/threads?pid={}", app.pid)).ok().text();
    assert!(text.starts_with("goroutine ") && text.contains("main.cpu"), "{text}");
}

#[test]
fn what_cannot_be_asked_says_why_as_the_doctor_does() {
    let server = Server::default();
    let closed = App::start(app::java("17", &["-XX:+DisableAttachMechanism"], "idle"));
    let answer = server.get(&format!("/threads?pid={}", closed.pid));
    assert_eq!((answer.status, &*answer.code()), (422, "impossible"));
    assert_eq!(answer.json()["reason"], "attach_disabled");
    let doctor = server
        .get(&format!("/doctor?pid={}&format=json", closed.pid))
        .ok()
        .json();
    let verdicts = doctor[0]["verdicts"].as_array().unwrap();
    let verdict = verdicts.iter().find(|verdict| verdict["event"] == "goroutine").unwrap();
    assert_eq!(verdict["reason"]["key"], "attach_disabled");
    let mistaken = server.get(&format!("/threads?pid={}&seconds=5", closed.pid));
    assert_eq!((mistaken.status, &*mistaken.code()), (400, "unknown_parameter"));
    let foreign = server.get(&format!("/threads?pid={}&format=nettrace", closed.pid));
    assert!(foreign.status == 400 || foreign.status == 422, "{}", foreign.text());
}

#[test]
fn threads_of_machine_code_are_told_with_their_locks() {
    let server = Server::default();
    for program in ["split", "split-nofp"] {
        let mut command = Command::new(cache::file(&format!("apps/c/{program}")));
        command.args(["locks", "1"]);
        let app = App::start(command);
        let mut dump = Value::Null;
        wait("the deadlock and all that wait", Duration::from_secs(20), || {
            dump = threads(&server, app.pid);
            let names = dump["threads"].as_array().unwrap().iter();
            let waiting = names.filter(|thread| thread["waitsFor"].is_string()).count();
            (waiting == 4).then_some(())
        });
        let (left, right) = (named(&dump, "shop-left"), named(&dump, "shop-right"));
        let mut members: Vec<String> = serde_json::from_value(dump["deadlocks"][0].clone()).unwrap();
        members.sort();
        assert_eq!(members, ["shop-left", "shop-right"], "{dump:#}");
        assert_eq!(dump["deadlocks"].as_array().unwrap().len(), 1, "{dump:#}");
        assert_eq!(left["waitsFor"], right["holds"][0], "{dump:#}");
        assert_eq!(right["waitsFor"], left["holds"][0], "{dump:#}");
        assert_eq!(named(&dump, "shop-third")["waitsFor"], left["holds"][0]);
        let (owner, waiting) = (named(&dump, "shop-owner"), named(&dump, "shop-waiting"));
        assert_eq!(waiting["waitsFor"], owner["holds"][0], "{dump:#}");
        for (thread, function) in [
            (left, "take_both"),
            (right, "take_both"),
            (named(&dump, "shop-third"), "wait_for_left"),
            (owner, "sleep_with_lock"),
            (waiting, "wait_for_lock"),
        ] {
            assert!(functions(thread).contains(&function), "{thread:#}");
            assert!(thread["state"].as_str().unwrap().starts_with("sleeping"), "{thread:#}");
        }
        assert!(functions(named(&dump, program)).contains(&"main"), "{dump:#}");

        let text = server.get(&format!("/threads?pid={}", app.pid)).ok().text();
        assert!(
            text.lines().any(|line| line.starts_with("deadlock: shop-")) && text.contains("   - holds mutex 0x"),
            "{text}"
        );
        let svg = server.get(&format!("/profile?pid={}&event=goroutine", app.pid)).ok();
        assert_eq!(svg.header("content-type"), "image/svg+xml");
    }
}

/// A signal that a thread is about to take while it is looked at comes to it all the same, be it one that only its sender knows.
#[test]
fn no_signal_is_lost_by_looking_at_threads() {
    const LOOKS: usize = 50;
    let server = Server::default();
    let mut command = Command::new(cache::file("apps/c/split"));
    command.args(["queue", "2"]);
    let app = App::start(command);
    let before = app.said().len();
    let mut in_handler = 0;
    for _ in 0..LOOKS {
        let dump = threads(&server, app.pid);
        let senders = ["queue-0", "queue-1"].map(|name| named(&dump, name));
        in_handler += senders
            .iter()
            .filter(|thread| functions(thread).contains(&"queue"))
            .count();
    }
    let mut said = Vec::new();
    wait("more signals", Duration::from_secs(20), || {
        said.extend(app.said());
        (said.len() > before + 2).then_some(())
    });
    assert!(in_handler >= LOOKS, "{in_handler} stacks of {LOOKS} looks");
    let counted: Vec<_> = said.iter().filter(|line| line.starts_with("came ")).collect();
    assert!(
        !counted.is_empty() && counted.iter().all(|line| *line == "came 1000"),
        "{counted:?}"
    );
}

/// The thread that runs a function whose name begins so.
fn running<'a>(dump: &'a Value, function: &str) -> &'a Value {
    let threads = dump["threads"].as_array().unwrap();
    let runs = |thread: &&Value| functions(thread).iter().any(|frame| frame.starts_with(function));
    threads.iter().find(runs).unwrap()
}

#[test]
fn managed_threads_of_dotnet_are_told_in_the_same_shape() {
    let server = Server::default();
    for (version, scenario, function, name, state) in [
        // Names of threads are the kernel's from .NET 6 on.
        ("3.1", "wall", "Demo.Shop.Split.Wall", "dotnet", "waiting"),
        ("8", "wall", "Demo.Shop.Split.Wall", "shop-worker-1", "waiting"),
        ("8", "cpu", "Demo.Shop.Split.Cpu", "shop-worker-1", "managed code"),
    ] {
        let app = App::start(app::dotnet(version, scenario));
        let dump = threads(&server, app.pid);
        let worker = running(&dump, function);
        assert_eq!(worker["name"], name, ".NET {version}: {dump:#}");
        // Of a busy loop .NET 8 calls a third of the samples external.
        let states = match (version, state) {
            ("8", "managed code") => vec![state, "native code"],
            _ => vec![state],
        };
        let is_one = |text: &str| states.iter().any(|state| text.starts_with(state));
        assert!(is_one(worker["state"].as_str().unwrap()), ".NET {version}: {dump:#}");
        // Not all ticks of the session: each thread once.
        let tids: Vec<_> = dump["threads"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["tid"])
            .collect();
        let twice = |(at, tid): (usize, &&Value)| tids[..at].contains(tid);
        assert!(!tids.iter().enumerate().any(twice), "{dump:#}");

        let text = server.get(&format!("/threads?pid={}", app.pid)).ok();
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
        let heading = format!("\n\n\"{name}\" tid={} [", worker["tid"]);
        let is_headed = |text: &str| {
            let behind = text.split_once(&heading).map(|(_, behind)| behind);
            behind.is_some_and(|behind| is_one(behind) && behind.contains("]:\n   at "))
        };
        assert!(is_headed(&text.text()), "{}", text.text());
        assert!(text.text().contains(&format!("\n   at {function}")), "{}", text.text());

        let pprof = |more: &str| {
            server
                .get(&format!("/debug/pprof/goroutine?pid={}{more}", app.pid))
                .ok()
        };
        assert_eq!(pprof("").body[..2], [0x1f, 0x8b]);
        for level in [1, 2] {
            let text = pprof(&format!("&debug={level}")).text();
            assert!(is_headed(&text), "{text}");
        }
        let svg = server.get(&format!("/profile?pid={}&event=goroutine", app.pid)).ok();
        assert_eq!(svg.header("content-type"), "image/svg+xml");
    }
}

#[test]
fn threads_of_dotnet_are_asked_for_beside_a_capture_that_goes_on() {
    for version in ["3.1", "8"] {
        let server = Server::default();
        let app = App::start(app::dotnet(version, "wall"));
        let query = format!("pid={}&seconds=4&event=wall&format=collapsed", app.pid);
        let capture = server.capture(&query);
        for _ in 0..3 {
            running(&threads(&server, app.pid), "Demo.Shop.Split.Wall");
        }
        assert_eq!(server.wait_for(&capture, &["failed", "finished"])["status"], "finished");
        let beside = server.get(&format!("/captures/{capture}/artifact")).ok();
        let alone = server.get(&format!("/profile?{query}")).ok();
        // The end of another session does not end the sampling of this one.
        let seen = |answer: &e2e::Answer| answer.header("sideflame-samples").parse::<f64>().unwrap();
        let (beside, alone) = (seen(&beside), seen(&alone));
        assert!(beside > alone * 0.8, ".NET {version}: {beside} samples, alone {alone}");
    }
}
