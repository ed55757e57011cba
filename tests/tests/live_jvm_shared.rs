//! One session of async-profiler for several events, and for all that a scraper asks of a JVM at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use e2e::app::{self, App};
use e2e::{Answer, Server, shares};

const ALLOC: [(&str, f64); 3] = [
    ("Split.allocSixty", 0.6),
    ("Split.allocThirty", 0.3),
    ("Split.allocTen", 0.1),
];
const LOCK: [(&str, f64); 3] = [
    ("Split.lockSixty", 0.6),
    ("Split.lockThirty", 0.3),
    ("Split.lockTen", 0.1),
];

/// What scrapers ask for, and for how long where they may say so.
const SCRAPED: [(&str, bool); 6] = [
    ("profile", true),
    ("allocs", true),
    ("mutex", true),
    ("block", true),
    ("heap", false),
    ("goroutine", false),
];

/// Takes the profiler for a moment, so that whoever asks for it now waits, and shares what comes then: a loaded machine may
/// take longer to send five requests than they are gathered for.
fn take_profiler(server: &Server, pid: i32) {
    let id = server.capture(&format!("pid={pid}&seconds=3"));
    server.wait_for(&id, &["sampling"]);
}

/// The answers to a scrape, by the name of the profile.
fn scrape(server: &Server, pid: i32, seconds: u32) -> BTreeMap<&'static str, Answer> {
    std::thread::scope(|scope| {
        let asked = SCRAPED.map(|(profile, timed)| {
            let time = if timed {
                format!("&seconds={seconds}")
            } else {
                String::new()
            };
            let path = format!("/debug/pprof/{profile}?pid={pid}{time}");
            (profile, scope.spawn(move || server.get(&path)))
        });
        let answers = asked.map(|(profile, answer)| (profile, answer.join().unwrap()));
        answers.into_iter().collect()
    })
}

/// The stacks of one event of a recording that is kept.
fn collapsed(server: &Server, id: &str, event: &str) -> Answer {
    let path = format!("/captures/{id}/artifact?format=collapsed&event={event}");
    server.get(&path).whole()
}

/// The id of the only recording that is shared.
fn only_shared(server: &Server) -> String {
    let captures = server.get("/captures").ok().json();
    let all = captures.as_array().unwrap().iter();
    let shared = all.filter(|one| one["events"].is_array());
    let ids: Vec<_> = shared.map(|one| one["id"].clone()).collect();
    assert_eq!(ids.len(), 1, "{captures}");
    ids[0].as_str().unwrap().to_owned()
}

#[test]
fn a_scrape_is_one_session_in_which_each_profile_has_its_known_split() {
    for (jdk, scenario, event, functions) in [
        ("17", "cpu", "cpu", shares::JAVA_CPU),
        ("25", "alloc", "alloc", ALLOC),
        ("17", "lock", "lock", LOCK),
    ] {
        let app = App::start(app::java(jdk, &[], scenario));
        let server = Server::default();
        take_profiler(&server, app.pid);
        let answers = scrape(&server, app.pid, 10);
        for (profile, answer) in &answers {
            assert_eq!(answer.status, 200, "{profile}: {}", answer.text());
            let session = answer.header("sideflame-sampler");
            // Threads are the JVM's own to tell.
            let expected = match *profile {
                "goroutine" => "the JVM's own thread dump",
                _ => " cpu,alloc,heap,lock",
            };
            assert!(session.contains(expected), "{profile}: {session}");
        }
        let id = only_shared(&server);
        let stacks = collapsed(&server, &id, event);
        shares::assert_split(&stacks.text(), functions);
        if event == "cpu" {
            shares::assert_split(&shares::by_go_tool(&[answers["profile"].clone()]), functions);
            let seen = |header: &str| answers["profile"].header(header).parse::<f64>().unwrap();
            let share = seen("sideflame-sampled-cpu-ms") / seen("sideflame-cpu-ms");
            assert!((0.8..1.1).contains(&share), "{share}");
            assert_eq!(
                answers["allocs"].header("sideflame-sampled-cpu-ms"),
                "",
                "bytes are no time"
            );
        }
        let doubts = |profile: &str| answers[profile].header("sideflame-degraded").to_owned();
        assert!(
            doubts("heap").contains("only objects allocated during"),
            "{}",
            doubts("heap")
        );
        assert!(!doubts("mutex").contains("only objects"), "{}", doubts("mutex"));
        assert_eq!(answers["mutex"].body, answers["block"].body, "the same threads wait");
        assert_eq!(
            answers["heap"].header("content-location"),
            format!("/captures/{id}/artifact?format=pprof&event=heap")
        );
    }
}

#[test]
fn live_objects_weigh_in_a_shared_session_what_they_weigh_alone() {
    let mut app = App::start(app::java("17", &[], "heap"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&event=cpu,alloc,heap&seconds=60", app.pid));
    server.wait_for(&id, &["sampling"]);
    app.tell("now");
    app.wait_for("allocated");
    server.send("POST", &format!("/captures/{id}/stop"), &[]);
    let capture = server.wait_for(&id, &["finished", "failed"]);
    assert_eq!(
        capture["events"],
        serde_json::json!(["cpu", "alloc", "heap"]),
        "{capture}"
    );
    let stacks = collapsed(&server, &id, "heap").text();
    let lines = stacks.lines().filter(|line| line.contains("Split.heapBig"));
    let bytes: f64 = lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert!((0.8..1.2).contains(&(bytes / 104_857_616.0)), "{bytes}");
}

#[test]
fn scrapes_are_answered_round_after_round_and_beside_people() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    take_profiler(&server, app.pid);
    std::thread::scope(|scope| {
        let person = scope.spawn(|| server.get(&format!("/profile?pid={}&seconds=3", app.pid)));
        for round in 0..3 {
            let began = Instant::now();
            for (profile, answer) in scrape(&server, app.pid, 2) {
                assert_eq!(answer.status, 200, "{round} {profile}: {}", answer.text());
            }
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{round}: {:?}",
                began.elapsed()
            );
        }
        assert_eq!(person.join().unwrap().status, 200);
    });
    // The first scrape waited, so that all of it came together.
    let captures = server.get("/captures").ok().json();
    let whole = |one: &serde_json::Value| one["event"] == "cpu,alloc,heap,lock";
    assert!(captures.as_array().unwrap().iter().any(whole), "{captures}");
}

#[test]
fn a_session_goes_on_until_the_last_of_those_who_share_it_hangs_up() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let hang = |profile: &str, seconds: u32| {
        let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        let path = format!("/debug/pprof/{profile}?pid={}&seconds={seconds}", app.pid);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let until = |what: &str, there: &dyn Fn(&[serde_json::Value]) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let captures = server.get("/captures").ok().json();
            if there(captures.as_array().unwrap()) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {captures}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let is_shared = |one: &&serde_json::Value| one["events"].is_array();
    let sampling = |captures: &[serde_json::Value]| {
        let mut shared = captures.iter().filter(is_shared);
        shared.any(|one| one["phase"] == "sampling")
    };
    take_profiler(&server, app.pid);
    // The first one opened the session.
    let first = hang("profile", 5);
    let allocs = format!("/debug/pprof/allocs?pid={}&seconds=5", app.pid);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| server.get(&allocs));
        until("both are sampled", &sampling);
        drop(first);
        let answer = second.join().unwrap().ok();
        assert!(
            answer.header("sideflame-sampler").contains("cpu,alloc"),
            "{:?}",
            answer.headers
        );
    });
    // Kept, as somebody had it.
    let id = only_shared(&server);
    assert_eq!(server.send("DELETE", &format!("/captures/{id}"), &[]).status, 204);
    take_profiler(&server, app.pid);
    let both = [hang("profile", 25), hang("heap", 25)];
    until("both are sampled", &sampling);
    drop(both);
    until("the session is gone", &|captures| {
        !captures.iter().any(|one| is_shared(&one))
    });
    e2e::target_files::wait_until_clean(app.pid, Duration::from_secs(10));
}

/// Frames of at least a hundredth of all, with their share.
fn frames(stacks: &str) -> BTreeMap<String, f64> {
    let mut frames = BTreeMap::new();
    for line in stacks.lines() {
        for frame in line.rsplit_once(' ').unwrap().0.split(';') {
            frames
                .entry(frame.to_owned())
                .or_insert_with(|| shares::of(stacks, frame));
        }
    }
    frames.retain(|_, share| *share >= 0.01);
    frames
}

#[test]
fn frames_are_called_in_a_jfr_what_they_are_called_in_a_text() {
    for (scenario, event) in [
        ("cpu", "cpu"),
        ("alloc", "alloc"),
        ("lock", "lock"),
        ("names", "cpu"),
        ("recursion", "cpu"),
    ] {
        let app = App::start(app::java("17", &[], scenario));
        let server = Server::default();
        let text = format!("/profile?pid={}&seconds=4&event={event}&format=collapsed", app.pid);
        let text = frames(&server.get(&text).ok().text());
        let id = server.capture(&format!("pid={}&seconds=4&event={event},nativelock", app.pid));
        server.wait_for(&id, &["finished"]);
        let jfr = frames(&collapsed(&server, &id, event).text());
        let common = |these: &BTreeMap<String, f64>, others: &BTreeMap<String, f64>| {
            // What hovers about a hundredth may be in one alone.
            let often = these.iter().filter(|(_, share)| **share > 0.05);
            let missing: Vec<_> = often.filter(|(frame, _)| !others.contains_key(*frame)).collect();
            assert!(missing.is_empty(), "{scenario}: {missing:?} of\n{these:?}\n{others:?}");
        };
        common(&text, &jfr);
        common(&jfr, &text);
    }
}

#[test]
fn an_event_of_several_must_be_chosen_and_be_there() {
    let app = App::start(app::java("25", &[], "cpu"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=2&event=cpu,lock", app.pid));
    server.wait_for(&id, &["finished"]);
    let artifact = |query: &str| server.get(&format!("/captures/{id}/artifact?{query}"));
    for (format, start) in [
        ("svg", "<?xml"),
        ("speedscope", "{"),
        ("pprof", "\u{1f}"),
        ("collapsed", ""),
    ] {
        for event in ["cpu", "mutex"] {
            let answer = artifact(&format!("format={format}&event={event}")).whole();
            assert!(answer.text().starts_with(start), "{format} {event}");
        }
    }
    assert!(artifact("format=jfr").whole().body.starts_with(b"FLR\0"));
    for query in [
        "format=svg",
        "format=svg&event=alloc",
        "format=jfr&event=cpu",
        "format=svg&event=a%20b",
    ] {
        let refused = artifact(query);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "invalid_parameter"),
            "{query}: {}",
            refused.text()
        );
    }
    assert!(artifact("format=svg").text().contains("cpu, lock"));
}

#[test]
fn a_jfr_of_the_jdk_itself_is_rendered() {
    let app = App::start(app::java("25", &[], "cpu"));
    let folder = std::env::temp_dir().join(format!("sideflame-jdk-jfr-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("own.jfr");
    let jcmd = |command: &[&str]| {
        let tool = app::jdk_home("25").join("bin/jcmd");
        let run = std::process::Command::new(tool)
            .arg(app.pid.to_string())
            .args(command)
            .output()
            .unwrap();
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stdout).unwrap()
    };
    let to = format!("filename={}", file.display());
    jcmd(&["JFR.start", "name=own", "settings=profile", "duration=10s", &to]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while jcmd(&["JFR.check"]).contains("(running)") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(200));
    }
    let collapsed = folder.join("own.txt");
    let render = std::process::Command::new(e2e::cache::sideflame())
        .args(["render", "--event", "cpu", "--output", "collapsed", "--filename"])
        .arg(&collapsed)
        .arg(&file)
        .output()
        .unwrap();
    assert!(render.status.success(), "{render:?}");
    let stacks = std::fs::read_to_string(&collapsed).unwrap();
    let _ = std::fs::remove_dir_all(&folder);
    shares::assert_split(&stacks, shares::JAVA_CPU);
}
