//! The heap of .NET processes by type, and dumps of them.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::dump_request::End;
use e2e::{Answer, DumpRequest, Server, cache, nettrace, target_files};
use serde_json::Value;

const LEAKED: &str = "Demo.Shop.ForgottenOrder";

/// An app that holds many objects of one type, with the bytes that it says they have.
struct Leak {
    app: App,
    objects: u64,
    bytes: u64,
}

impl Leak {
    fn on(version: &str) -> Self {
        Self::by(app::dotnet(version, "leak"))
    }

    fn by(command: Command) -> Self {
        let mut app = App::launch(command);
        let held = app.wait_for("holds ");
        let (objects, bytes) = held.split_once(' ').unwrap();
        let (objects, bytes) = (objects.parse().unwrap(), bytes.parse().unwrap());
        app.wait_for("ready");
        Self { app, objects, bytes }
    }

    /// It does what it is told to: the app goes on.
    fn assert_goes_on(&mut self) {
        self.app.tell("");
        self.app.wait_for("alive");
    }
}

/// Rows of a histogram in JSON.
fn rows(histogram: &Value) -> BTreeMap<String, (u64, u64)> {
    let types = histogram["types"].as_array().unwrap().iter();
    let row = |row: &Value| {
        let number = |key: &str| row[key].as_u64().unwrap();
        (
            row["type"].as_str().unwrap().to_owned(),
            (number("objects"), number("bytes")),
        )
    };
    types.map(row).collect()
}

fn total(rows: &BTreeMap<String, (u64, u64)>) -> (u64, u64) {
    rows.values()
        .fold((0, 0), |(objects, bytes), row| (objects + row.0, bytes + row.1))
}

#[test]
fn what_leaks_is_first_in_the_histogram_with_the_bytes_that_it_has() {
    let server = Server::default();
    for version in ["3.1", "8"] {
        let mut leak = Leak::on(version);
        // A runtime names a type once in its life, unless it is asked to begin anew.
        for _ in 0..2 {
            let histogram = server.get(&format!("/histogram?pid={}&format=json", leak.app.pid)).ok();
            assert_eq!(histogram.header("content-type"), "application/json");
            assert_eq!(histogram.header("sideflame-lost"), "0");
            assert_eq!(histogram.header("sideflame-unresolved"), "0.0000");
            let told = histogram.json();
            let first = &told["types"][0];
            assert_eq!(
                (&first["type"], &first["objects"]),
                (&LEAKED.into(), &leak.objects.into()),
                ".NET {version}"
            );
            let bytes = first["bytes"].as_u64().unwrap();
            assert!(
                bytes.abs_diff(leak.bytes) < leak.bytes / 20,
                "{bytes} of {}",
                leak.bytes
            );
            // What was seen is as much as the collector counted.
            let (live, seen) = (&told["quality"]["liveBytes"], told["total"]["bytes"].as_u64().unwrap());
            assert!(seen >= live.as_u64().unwrap() / 100 * 99, "{seen} of {live}");
            assert_eq!(told["quality"]["degraded"], serde_json::json!([]));
            leak.assert_goes_on();
        }
    }
}

#[test]
fn every_format_of_a_heap_says_the_same_and_so_does_another_reader() {
    let server = Server::default();
    let leak = Leak::on("8");
    let pid = leak.app.pid;
    let text = server.get(&format!("/histogram?pid={pid}")).ok();
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    let id = text.header("sideflame-capture").to_owned();
    let artifact = |format: &str| server.get(&format!("/captures/{id}/artifact?format={format}")).ok();
    let expected = nettrace::heap(&nettrace::whole(artifact("nettrace")));
    let (objects, bytes) = total(&expected);
    assert!(
        bytes > leak.bytes && expected.contains_key("Demo.Shop.ForgottenOrder[]"),
        "{expected:?}"
    );

    let json = artifact("json").json();
    assert_eq!(rows(&json), expected);
    assert_eq!(
        (&json["total"]["objects"], &json["total"]["bytes"]),
        (&objects.into(), &bytes.into())
    );

    let text = text.text();
    let table = text
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("rank"))
        .skip(1);
    let mut told = BTreeMap::new();
    for row in table {
        let (numbers, name) = row.split_once("%  ").unwrap();
        let numbers: Vec<&str> = numbers.split_whitespace().collect();
        let sum = (numbers[1].parse().unwrap(), numbers[2].parse().unwrap());
        told.insert(if numbers[0] == "total" { "total" } else { name }.to_owned(), sum);
    }
    assert_eq!(told.remove("total"), Some((objects, bytes)));
    assert_eq!(told, expected);

    let collapsed = artifact("collapsed").text();
    let by_bytes: BTreeMap<_, _> = collapsed
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, bytes)| (name.to_owned(), bytes.parse::<u64>().unwrap()))
        .collect();
    assert_eq!(
        by_bytes,
        expected.iter().map(|(name, sum)| (name.clone(), sum.1)).collect()
    );
    let svg = artifact("svg");
    assert!(svg.text().contains(LEAKED));

    let top = |sample: &[&str]| {
        let top = Command::new("go")
            .args(["tool", "pprof", "-top"])
            .args(sample)
            .arg(format!("{}/captures/{id}/artifact?format=pprof", server.url))
            .output()
            .unwrap();
        assert!(top.status.success(), "{top:?}");
        String::from_utf8(top.stdout).unwrap()
    };
    let by_bytes = top(&["-unit=B"]);
    assert!(by_bytes.contains("Type: inuse_space"), "{by_bytes}");
    assert!(by_bytes.contains(&format!("of {bytes}B total")), "{by_bytes}");
    let first = by_bytes.lines().find(|line| line.contains("flat%")).unwrap();
    let first = by_bytes.lines().skip_while(|line| *line != first).nth(1).unwrap();
    assert!(first.ends_with(LEAKED), "{by_bytes}");
    let by_objects = top(&["-sample_index=inuse_objects"]);
    assert!(by_objects.contains(&format!("of {objects} total")), "{by_objects}");
}

#[test]
fn gos_tool_asks_for_the_heap_as_of_a_go_program() {
    let server = Server::default();
    let leak = Leak::on("3.1");
    let url = format!("{}/debug/pprof/heap?pid={}", server.url, leak.app.pid);
    let top = Command::new("go")
        .args(["tool", "pprof", "-top", &url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&top.stdout);
    assert!(top.status.success() && said.contains(LEAKED), "{top:?}");
    let text = server
        .get(&format!("/debug/pprof/heap?debug=1&pid={}", leak.app.pid))
        .ok()
        .text();
    assert!(text.contains(LEAKED), "{text}");
    let index = server.get(&format!("/debug/pprof/?pid={}", leak.app.pid)).ok().text();
    assert!(index.contains("heap"), "{index}");
}

#[test]
fn the_walk_itself_is_a_file_for_dotnet_gcdump() {
    let server = Server::default();
    let leak = Leak::on("3.1");
    let walk = server.get(&format!("/gcdump?pid={}", leak.app.pid)).ok();
    let named = walk.header("content-disposition").to_owned();
    assert!(
        named.starts_with("attachment; ") && named.ends_with(".nettrace\""),
        "{named}"
    );
    let heap = nettrace::heap(&nettrace::whole(walk));
    assert_eq!(heap[LEAKED].0, leak.objects);
}

#[test]
fn a_modern_runtime_tells_its_types_too() {
    let app = App::launch(app::dotnet_10());
    let server = Server::default();
    // It says nothing when it is ready: that much of it is what we wait for.
    let answer = wait("a heap of a thousand types", Duration::from_secs(60), || {
        let answer = server.get(&format!("/histogram?pid={}&format=json", app.pid));
        (answer.status == 200 && rows(&answer.json()).len() > 1000).then_some(answer)
    });
    assert!(rows(&answer.json())["System.String"].0 > 1000);
    assert_eq!(answer.header("sideflame-unresolved"), "0.0000");
    assert_eq!(answer.header("sideflame-degraded"), "");
}

#[test]
fn what_has_no_histogram_says_what_it_has() {
    let server = Server::default();
    let native = App::start(Command::new(cache::file("apps/c/split")));
    let refused = server.get(&format!("/histogram?pid={}", native.pid));
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (422, &"no_histogram".into())
    );
    let mistaken = server.get(&format!("/histogram?pid={}&seconds=5", native.pid));
    assert_eq!((mistaken.status, &*mistaken.code()), (400, "unknown_parameter"));
}

#[test]
fn a_look_without_a_walk_says_what_it_would_be() {
    let server = Server::default();
    let leak = Leak::on("3.1");
    let head = |path: &str| -> Answer { server.send("HEAD", &format!("{path}?pid={}", leak.app.pid), &[]) };
    let answer = head("/histogram").ok();
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(head("/gcdump").ok().header("content-type"), "application/octet-stream");
    assert_eq!(server.get("/captures").ok().json(), serde_json::json!([]));
    let doctor = server
        .get(&format!("/doctor?pid={}&format=json", leak.app.pid))
        .ok()
        .json();
    let verdicts = doctor[0]["verdicts"].as_array().unwrap();
    let heap = verdicts.iter().find(|verdict| verdict["event"] == "heap").unwrap();
    assert_eq!(
        (&heap["availability"], &heap["reason"]["key"]),
        (&"degraded".into(), &"collects_garbage".into())
    );
}

fn dump(server: &Server, query: &str) -> Answer {
    server.send("POST", &format!("/dump?{query}"), &[])
}

fn assert_core(answer: &Answer) {
    assert_eq!(answer.body[..4], *b"\x7fELF");
    assert_eq!(answer.body[16..18], [4, 0], "the type of a core file");
    let named = answer.header("content-disposition");
    assert!(
        named.starts_with("attachment; ") && named.ends_with(".dmp\""),
        "{named}"
    );
}

#[test]
fn a_dump_is_a_core_file_and_nothing_is_left_in_the_app() {
    let server = Server::default();
    let mut leak = Leak::on("3.1");
    let mut lengths = BTreeMap::new();
    for kind in ["mini", "heap", "triage", "full"] {
        let answer = dump(&server, &format!("type={kind}&confirm=yes&pid={}", leak.app.pid));
        assert_eq!(answer.status, 200, "{} {:#?}", answer.text(), leak.app.said());
        assert_core(&answer);
        lengths.insert(kind, answer.body.len() as u64);
        assert_eq!(target_files::left(leak.app.pid), [] as [PathBuf; 0]);
        leak.assert_goes_on();
    }
    assert!(
        lengths["heap"] > leak.bytes && leak.bytes > lengths["mini"],
        "{lengths:?}"
    );
}

/// Processes that an app has started and that live: a runtime forks itself for a dump, and the copy must end.
fn children(pid: i32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let children = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    children.collect()
}

#[test]
fn a_runtime_that_would_leave_a_copy_of_the_app_is_not_asked() {
    let server = Server::default();
    let mut leak = Leak::on("8");
    for kind in ["mini", "full"] {
        let refused = dump(&server, &format!("type={kind}&confirm=yes&pid={}", leak.app.pid));
        assert_eq!(
            (refused.status, &refused.json()["reason"]),
            (422, &"single_file".into())
        );
    }
    assert_core(&dump(&server, &format!("type=core&confirm=yes&pid={}", leak.app.pid)).ok());
    assert_eq!(children(leak.app.pid), "");
    leak.assert_goes_on();
}

#[test]
fn a_modern_app_that_is_a_single_file_is_dumped_in_full_or_says_why_not() {
    let app = App::launch(app::dotnet_10());
    let server = Server::default();
    // It says nothing when it is ready: the diagnostic socket is what we wait for.
    let whole = wait("a dump", Duration::from_secs(60), || {
        let answer = dump(&server, &format!("type=full&confirm=yes&pid={}", app.pid));
        (answer.status == 200).then_some(answer)
    });
    assert_core(&whole);
    let refused = dump(&server, &format!("type=mini&confirm=yes&pid={}", app.pid));
    let said = refused.text();
    assert_eq!((refused.status, &*refused.code()), (502, "tool_failed"), "{said}");
    assert!(said.contains("Only full dumps are supported"), "{said}");
    assert_eq!(
        (children(app.pid), target_files::left(app.pid)),
        (String::new(), Vec::new())
    );
}

#[test]
fn nothing_is_dumped_by_the_way() {
    let server = Server::default();
    let leak = Leak::on("3.1");
    let pid = leak.app.pid;
    let by_get = server.get(&format!("/dump?type=mini&confirm=yes&pid={pid}"));
    assert_eq!((by_get.status, by_get.header("allow")), (405, "POST"));
    assert!(
        by_get.text().contains("POST /dump?type=heap&confirm=yes"),
        "{}",
        by_get.text()
    );
    let unconfirmed = dump(&server, &format!("type=mini&pid={pid}"));
    assert_eq!((unconfirmed.status, &*unconfirmed.code()), (400, "invalid_parameter"));
    for event in ["dump", "core"] {
        let as_event = server.get(&format!("/profile?event={event}&pid={pid}"));
        assert_eq!(as_event.status, 400, "{}", as_event.text());
    }
    assert_eq!(server.get("/captures").ok().json(), serde_json::json!([]));
    let of_a_jvm = dump(&server, &format!("gz=1&confirm=yes&pid={pid}"));
    assert_eq!((of_a_jvm.status, &*of_a_jvm.code()), (400, "parameter_not_applicable"));
}

#[test]
fn a_store_that_is_too_small_says_how_much_a_dump_needs() {
    let leak = Leak::on("3.1");
    // Too small for what the process has in memory, and for what the dump of it has turned out to have.
    for (size, moved) in [("4MiB", false), ("64MiB", true)] {
        let server = Server::start(&["--store-size", size]);
        let refused = dump(&server, &format!("type=full&confirm=yes&pid={}", leak.app.pid));
        assert_eq!(refused.status, 422, "{} {:#?}", refused.text(), leak.app.said());
        assert_eq!(refused.json()["reason"], "store_too_small");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        let needed: u64 = detail.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
        assert!(needed > if moved { 64 << 20 } else { 16 << 20 }, "{detail}");
        assert_eq!(target_files::left(leak.app.pid), [] as [PathBuf; 0]);
    }
}

/// A copy of the runtime whose `createdump` is ours to change; removed when dropped.
struct OtherRuntime {
    folder: PathBuf,
    createdump: PathBuf,
}

impl OtherRuntime {
    fn called(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sideflame-runtime-{}-{name}", std::process::id()));
        let original = cache::file("dotnet-3.1").canonicalize().unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        for part in ["dotnet", "host", "shared"] {
            copy(&original.join(part), &folder.join(part));
        }
        let runtimes = folder.join("shared/Microsoft.NETCore.App");
        let version = std::fs::read_dir(runtimes).unwrap().next().unwrap().unwrap();
        let createdump = version.path().join("createdump");
        Self { folder, createdump }
    }

    /// Takes `createdump` away: its file may be that of the original.
    fn without_createdump(&self) {
        std::fs::remove_file(&self.createdump).unwrap();
    }

    fn with_createdump(self, script: &str) -> Self {
        self.without_createdump();
        std::fs::write(&self.createdump, script).unwrap();
        std::fs::set_permissions(&self.createdump, PermissionsExt::from_mode(0o755)).unwrap();
        self
    }

    fn leak(&self) -> Leak {
        let mut command = Command::new(self.folder.join("dotnet"));
        command.arg(cache::file("apps/dotnet/Split.dll")).arg("leak");
        command.env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1");
        Leak::by(command)
    }
}

impl Drop for OtherRuntime {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).unwrap();
    }
}

#[test]
fn a_runtime_without_createdump_says_so() {
    let server = Server::default();
    let runtime = OtherRuntime::called("without");
    let mut leak = runtime.leak();
    // It does not start without.
    runtime.without_createdump();
    let refused = dump(&server, &format!("type=mini&confirm=yes&pid={}", leak.app.pid));
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (422, &"no_createdump".into())
    );
    assert_eq!(children(leak.app.pid), "");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("there is no ") && detail.contains("/createdump"),
        "{detail}"
    );
    assert_eq!(target_files::left(leak.app.pid), [] as [PathBuf; 0]);
    leak.assert_goes_on();

    let core = dump(&server, &format!("type=core&confirm=yes&pid={}", leak.app.pid)).ok();
    leak.assert_goes_on();
    assert_core(&core);
    assert_eq!(core.header("sideflame-degraded"), "");
    assert!(core.body.len() as u64 > leak.bytes, "{}", core.body.len());
    // What the app would answer with, as the runtime keeps it.
    let word: Vec<u8> = "alive".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(core.body.windows(word.len()).any(|window| window == word));
    assert_eq!(children(leak.app.pid), "");
}

#[test]
fn a_dump_that_is_given_up_leaves_nothing_however_it_ends() {
    /// Writes half a dump, and is at work as long as the app lives.
    const SLOW: &str = "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --name ] && echo half >\"$2\"; shift; done\n\
                        while [ -d /proc/$PPID ]; do sleep 0.1; done\n";
    let runtime = OtherRuntime::called("slow").with_createdump(SLOW);
    for end in [End::Cancelled, End::HungUp, End::Killed] {
        let server = Server::default();
        let leak = runtime.leak();
        let pid = leak.app.pid;
        let request = DumpRequest::send(&server, &format!("type=mini&pid={pid}"));
        wait("half a dump", Duration::from_secs(30), || {
            let places = target_files::left(pid);
            places.iter().any(|place| place.join("core").exists()).then_some(())
        });
        request.give_up(&server, end);
        target_files::wait_until_clean(pid, Duration::from_secs(15));
    }
}
