//! Differences of captures and files, tables, shares and parts, on an app that changes its split when it is told to.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set up must fail loudly"
)]

use std::process::{Command, Output};

use e2e::app::{self, App};
use e2e::flame::Flame;
use e2e::{Answer, Server, cache, shares};
use serde_json::Value;

/// Shares hold within three points.
const TOLERANCE: f64 = 0.03;

/// A capture of ten seconds of CPU time.
fn captured(server: &Server, app: &App) -> String {
    let id = server.capture(&format!("pid={}&seconds=10&event=cpu", app.pid));
    server.wait_for(&id, &["finished"]);
    id
}

/// An app, and captures of it: one before its change, two after.
struct Changed {
    server: Server,
    app: App,
    before: String,
    after: String,
    again: String,
}

impl Changed {
    fn new() -> Self {
        let mut app = App::start(app::java("17", &[], "change"));
        let server = Server::default();
        let before = captured(&server, &app);
        app.tell("change");
        app.wait_for("changed");
        let (after, again) = (captured(&server, &app), captured(&server, &app));
        Self {
            server,
            app,
            before,
            after,
            again,
        }
    }

    fn diff(&self, more: &str) -> String {
        format!("/diff?before={}&after={}{more}", self.before, self.after)
    }
}

fn function<'a>(table: &'a Value, name: &str) -> &'a Value {
    let functions = table["functions"].as_array().unwrap();
    let found = functions
        .iter()
        .find(|row| row["name"].as_str().unwrap().ends_with(name));
    found.unwrap_or_else(|| panic!("{name} in {table}"))
}

fn near(number: &Value, expected: f64) -> bool {
    (number.as_f64().unwrap() - expected).abs() <= TOLERANCE
}

#[test]
fn a_change_from_70_30_to_40_60_is_named_and_measured() {
    let changed = Changed::new();
    let server = &changed.server;

    let table = server
        .get(&changed.diff("&format=top.json&normalise=share"))
        .ok()
        .json();
    let columns = server.get(&changed.diff("&format=flame&normalise=share")).ok();
    let columns = Flame::of(&columns.body);
    for (name, before, after) in [("Split.favourite", 0.7, 0.4), ("Split.other", 0.3, 0.6)] {
        let row = function(&table, name);
        for (values, told) in columns.both.iter().zip(["before", "after"]) {
            let found = columns.share_of(values, |function| function.ends_with(name));
            assert!((found - row[told].as_f64().unwrap()).abs() < 0.0001, "{found}: {row}");
        }
        assert!(near(&row["before"], before) && near(&row["after"], after), "{row}");
        assert!(near(&row["change"], after - before), "{row}");
        assert_eq!(row["withinNoise"], false, "{row}");
    }
    let per_second = server.get(&changed.diff("&format=top.json")).ok().json();
    assert_eq!(
        (&per_second["normalise"], &per_second["unit"]),
        (&"per-second".into(), &"nanoseconds/second".into())
    );

    let text = server.get(&changed.diff("&format=top&normalise=share")).ok().text();
    let headline = text.lines().next().unwrap();
    assert!(
        headline.contains("gained") && headline.contains("points") && headline.contains("lost"),
        "{headline}"
    );
    for word in ["Split.favourite", "Split.other", "Split.oldWay", "Split.newWay"] {
        assert!(text.contains(word), "{word} in {text}");
    }

    // The old way is gone and the new one was not there: both are in every form of it, in both directions.
    let columns = server.get(&changed.diff("&format=collapsed")).ok().text();
    let of_way = |way: &str| {
        let lines = columns.lines().filter(|line| line.contains(way));
        let numbers = lines.map(|line| {
            let mut columns = line
                .rsplitn(3, ' ')
                .map(|column| column.parse::<u64>().unwrap_or_default());
            let (after, before) = (columns.next().unwrap(), columns.next().unwrap());
            (before, after)
        });
        numbers.fold((0, 0), |sum, (before, after)| (sum.0 + before, sum.1 + after))
    };
    assert!(matches!(of_way("Split.oldWay"), (1.., 0)), "{columns}");
    assert!(matches!(of_way("Split.newWay"), (0, 1..)), "{columns}");
    for base in ["after", "before"] {
        let answer = server.get(&changed.diff(&format!("&base={base}"))).ok();
        assert_eq!(answer.header("content-type"), "image/svg+xml");
        let svg = answer.text();
        assert!(
            svg.contains("Split.oldWay [gone") && svg.contains("Split.newWay [new"),
            "{base}"
        );
    }

    // Go's own tool takes it for what -diff_base makes.
    let file = std::env::temp_dir().join(format!("sideflame-diff-{}.pb.gz", std::process::id()));
    std::fs::write(
        &file,
        server.get(&changed.diff("&format=pprof&normalise=share")).ok().body,
    )
    .unwrap();
    let top = Command::new("go")
        .args(["tool", "pprof", "-top", "-cum", "-nodecount=20"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let top = String::from_utf8_lossy(&top.stdout).into_owned();
    let share = |name: &str| {
        let line = top
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("{top}"));
        // Its percentages have no sign.
        let columns: Vec<_> = line.split_whitespace().collect();
        let percent: f64 = columns[4].trim_end_matches('%').parse().unwrap();
        let sign = if columns[3].starts_with('-') { -1.0 } else { 1.0 };
        sign * percent / 100.0
    };
    assert!(
        (share("Split.other") - 0.3).abs() <= TOLERANCE && (share("Split.favourite") + 0.3).abs() <= TOLERANCE,
        "{top}"
    );

    // Of an app that did not change, all is noise; and of one capture with itself.
    for other in [&changed.again, &changed.after] {
        let equal = server.get(&format!(
            "/diff?before={}&after={other}&format=top&normalise=share",
            changed.after
        ));
        let text = equal.ok().text();
        assert!(text.starts_with("within noise: "), "{text}");
    }
    parts_and_shares(&changed);
    files(&changed);
    refusals(&changed);
}

/// Of one capture, by itself.
fn parts_and_shares(changed: &Changed) {
    let server = &changed.server;
    let path = |what: &str| format!("/captures/{}/{what}", changed.before);
    let json = [("accept", "application/json")];
    let share = server
        .send("GET", &path("share?match=Split.favourite"), &json)
        .ok()
        .json();
    assert!(near(&share["share"], 0.7), "{share}");
    assert_eq!(
        share["matchedFunctions"],
        serde_json::json!(["demo.shop.Split.favourite"])
    );
    assert_eq!(
        (&share["sampleType"], &share["unit"]),
        (&"cpu".into(), &"nanoseconds".into())
    );
    let line = server.get(&path("share?match=Split.favourite")).ok().text();
    assert!(
        line.contains('%') && line.ends_with("in demo.shop.Split.favourite\n"),
        "{line}"
    );
    let nothing = server.send("GET", &path("share?match=absent"), &json).ok().json();
    assert_eq!(
        (&nothing["value"], &nothing["matchedFunctions"]),
        (&0.into(), &serde_json::json!([]))
    );

    let top = server.get(&path("artifact?format=top")).ok();
    assert!(top.header("content-type").starts_with("text/plain"));
    let top = top.text();
    assert!(top.contains("Split.favourite") && top.contains(" functions, "), "{top}");
    let table = server.get(&path("artifact?format=top.json")).ok().json();
    assert!(near(&function(&table, "Split.favourite")["totalShare"], 0.7), "{table}");

    let part = server
        .get(&path("artifact?format=collapsed&focus=Split.other"))
        .ok()
        .text();
    assert!(
        !part.is_empty() && part.lines().all(|line| line.contains("Split.other")),
        "{part}"
    );
    let callers = server
        .get(&path("artifact?format=collapsed&callers=Split.other"))
        .ok()
        .text();
    assert!(
        callers
            .lines()
            .all(|line| line.starts_with("demo.shop.Split.other;demo.shop.Split.oldWay;")),
        "{callers}"
    );
    let svg = server.get(&path("artifact?focus=absent")).ok().text();
    assert!(svg.contains("no samples") && svg.contains("ONLY 0.0%: 0 of "), "{svg}");

    // Parts of one recording are kept as far as somebody looks at them again.
    let stored = server.stored().len();
    for number in 0..40 {
        let answer = server.get(&path(&format!("artifact?format=collapsed&focus=Split.{number}")));
        assert_eq!(answer.ok().text(), "");
    }
    assert!(server.stored().len() <= stored + 8, "{:?}", server.stored());

    let live = server
        .get(&format!(
            "/profile?pid={}&seconds=1&format=top&focus=Split.newWay",
            changed.app.pid
        ))
        .ok();
    let again = live.header("content-location").to_owned();
    assert!(again.ends_with("/artifact?format=top&focus=Split.newWay"), "{again}");
    assert!(live.text().starts_with("ONLY "), "{}", live.text());
    assert_eq!(server.get(&again).ok().body, live.body);
}

/// The files in one archive, as a shell sends them.
fn posted(server: &Server, folder: &str, files: &[&str], query: &str) -> Answer {
    let archive = Command::new("tar")
        .arg("-c")
        .args(files)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(archive.status.success(), "{archive:?}");
    server.post(&format!("/diff?{query}"), archive.stdout)
}

fn files(changed: &Changed) {
    let server = &changed.server;
    let folder = std::env::temp_dir().join(format!("sideflame-diff-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (id, name) in [(&changed.before, "before"), (&changed.after, "after")] {
        for (format, ending) in [("pprof", "pb.gz"), ("collapsed", "txt")] {
            let artifact = server.get(&format!("/captures/{id}/artifact?format={format}")).ok();
            std::fs::write(folder.join(format!("{name}.{ending}")), artifact.body).unwrap();
        }
    }
    std::fs::write(folder.join("broken.txt"), "neither one\nnor the other").unwrap();
    let folder_name = folder.to_str().unwrap();
    let before = server.stored();
    let post = |files: &[&str], query: &str| posted(server, folder_name, files, query);
    for files in [["before.pb.gz", "after.pb.gz"], ["before.txt", "after.txt"]] {
        let table = post(&files, "format=top.json&normalise=share").ok().json();
        assert!(near(&function(&table, "Split.other")["change"], 0.3), "{table}");
    }
    let refused: [(&[&str], u16, &str); 4] = [
        (&["before.txt", "broken.txt"], 422, "unreadable_recording"),
        (&["before.txt", "after.pb.gz"], 422, "unlike_recordings"),
        (&["before.txt"], 400, "malformed_body"),
        (&["before.txt", "after.txt", "broken.txt"], 400, "malformed_body"),
    ];
    for (files, status, code) in refused {
        let answer = post(files, "");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{files:?}");
    }
    assert_eq!(server.stored(), before, "nothing of what was sent is left");

    // The same from the command line.
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (one, other) = (path("before.pb.gz"), path("after.pb.gz"));
    let failing = sideflame(&["diff", &one, &other, "--fail-over", "5%"]);
    assert_eq!(failing.status.code(), Some(5), "{failing:?}");
    assert!(
        String::from_utf8_lossy(&failing.stdout).contains("Split.other"),
        "{failing:?}"
    );
    assert_eq!(
        sideflame(&["diff", &one, &other, "--fail-over", "150%"]).status.code(),
        Some(0)
    );
    assert_eq!(
        sideflame(&["diff", &one, &one, "--fail-over", "0%"]).status.code(),
        Some(0)
    );
    let unlike = sideflame(&["diff", &one, &path("after.txt")]);
    assert_eq!(unlike.status.code(), Some(1), "{unlike:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

fn refusals(changed: &Changed) {
    let server = &changed.server;
    let id = server.capture(&format!("pid={}&seconds=1&event=alloc", changed.app.pid));
    server.wait_for(&id, &["finished"]);
    let unlike = server.get(&format!("/diff?before={}&after={id}", changed.before));
    assert_eq!((unlike.status, unlike.code().as_str()), (422, "unlike_recordings"));
    assert!(
        unlike.text().contains("cpu") && unlike.text().contains("alloc"),
        "{}",
        unlike.text()
    );
    let running = server.capture(&format!("pid={}&seconds=60", changed.app.pid));
    let early = server.get(&format!("/diff?before={}&after={running}", changed.before));
    assert_eq!((early.status, early.code().as_str()), (409, "capture_not_finished"));
    let gone = server.get(&format!("/diff?before={}&after=0123456789abcdef", changed.before));
    assert_eq!((gone.status, gone.code().as_str()), (404, "no_such_capture"));
    let copied = server.get(&format!(
        "/profile?pid={}&seconds=1&format=jfr&focus=a",
        changed.app.pid
    ));
    assert_eq!((copied.status, copied.code().as_str()), (422, "indivisible"));
}

fn sideflame(arguments: &[&str]) -> Output {
    Command::new(cache::sideflame()).args(arguments).output().unwrap()
}

#[test]
fn an_independent_program_agrees_on_a_thousand_random_pairs() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/rig/check_diff.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(cache::sideflame())
        .args(["1000", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(said, "1000 of 1000 agree\n");
}

#[test]
fn the_share_of_a_native_capture_is_that_of_its_stacks() {
    let app = App::start({
        let mut command = Command::new(cache::file("apps/c/split"));
        command.arg("cpu");
        command
    });
    let server = Server::default();
    let id = captured(&server, &app);
    let stacks = server
        .get(&format!("/captures/{id}/artifact?format=collapsed"))
        .ok()
        .text();
    let json = [("accept", "application/json")];
    let share = server
        .send("GET", &format!("/captures/{id}/share?match=%5Esixty%24"), &json)
        .ok()
        .json();
    let expected = shares::of(&stacks, "sixty");
    assert!(
        (share["share"].as_f64().unwrap() - expected).abs() < 1e-6 && expected > 0.3,
        "{share} {expected}"
    );
}
