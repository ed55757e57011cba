//! The heap of JVMs and Go programs: dumps, and what lives in it by class.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::dump_request::End;
use e2e::{Answer, DumpRequest, MemoryCgroup, Server, cache, target_files};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Objects that the app drops for each line.
const DROPPED: u64 = 10_000;

const LEAKED: &str = "demo.shop.Leak$ForgottenOrder";

/// A JVM that holds many objects of one class, with the number and the bytes that it says they have.
struct Leak {
    app: App,
    objects: u64,
    bytes: u64,
}

impl Leak {
    /// With so many MiB in arrays beside them.
    fn on(jdk: &str, ballast: u64) -> Self {
        Self::by(app::java(
            jdk,
            &[&format!("-Dshop.ballast={ballast}"), "-Xmx2g"],
            "leak",
        ))
    }

    fn by(command: Command) -> Self {
        let mut app = App::launch(command);
        let held = app.wait_for("holds ");
        let (objects, bytes) = held.split_once(' ').unwrap();
        let (objects, bytes) = (objects.parse().unwrap(), bytes.parse().unwrap());
        Self { app, objects, bytes }
    }

    /// It does what it is told to: the app goes on.
    fn assert_goes_on(&mut self) {
        self.app.tell("");
        self.app.wait_for("alive");
    }
}

fn dump(server: &Server, query: &str) -> Answer {
    server.send("POST", &format!("/dump?confirm=yes&{query}"), &[])
}

/// What an independent reader says of a dump.
fn read(dump: &[u8]) -> Value {
    let mut reader = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rig/check_hprof.py"))
        .args(["-", LEAKED])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It says nothing before it has read all; what it does not read, its status tells.
    let _ = reader.stdin.take().unwrap().write_all(dump);
    let read = reader.wait_with_output().unwrap();
    assert!(read.status.success(), "{read:?}");
    serde_json::from_slice(&read.stdout).unwrap()
}

/// The file that the JVM writes, once there is one.
fn written(pid: i32) -> PathBuf {
    wait("a dump that is being written", Duration::from_secs(60), || {
        let files = target_files::left(pid).into_iter().map(|place| place.join("core"));
        files.into_iter().find(|file| file.exists())
    })
}

/// MiB of the heap that is dumped: a gigabyte where a person looks, less for CI.
fn mebibytes() -> u64 {
    let told = std::env::var("SIDEFLAME_TEST_HEAP_MIB").ok();
    told.map_or(300, |told| told.parse().unwrap())
}

#[test]
fn a_large_heap_passes_through_32_mib_byte_by_byte() {
    for jdk in ["17", "25"] {
        let mut leak = Leak::on(jdk, mebibytes());
        let cgroup = MemoryCgroup::new(32 << 20);
        let server = Server::start_by(cgroup.command(&cache::sideflame()), &["--store-size", "4GiB"]);
        let pid = leak.app.pid;
        // A second name of the file, which ours does not know.
        let copy = PathBuf::from(format!("/tmp/sideflame-test-copy-{pid}"));
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| std::fs::hard_link(written(pid), &copy).unwrap());
            dump(&server, &format!("pid={pid}"))
        });
        assert_eq!(answer.status, 200, "{} {:#?}", answer.text(), leak.app.said());
        let answer = answer.whole();
        assert!(answer.body.len() as u64 > mebibytes() << 20, "{}", answer.body.len());
        let copied = std::fs::read(&copy);
        std::fs::remove_file(&copy).unwrap();
        assert!(answer.body == copied.unwrap(), "not what the JVM wrote");
        let named = answer.header("content-disposition");
        assert!(
            named.starts_with("attachment; ") && named.ends_with(".hprof\""),
            "{named}"
        );
        let told = read(&answer.body);
        assert_eq!(
            (&told["ofClass"], &told["bytes"]),
            (&leak.objects.into(), &answer.body.len().into())
        );
        assert_eq!(target_files::left(pid), [] as [PathBuf; 0]);
        assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
        assert!(cgroup.anonymous() < 8 << 20, "{} bytes", cgroup.anonymous());
        leak.assert_goes_on();
        drop(server);
    }
}

#[test]
fn a_dump_is_compressed_and_has_what_nothing_refers_to() {
    let server = Server::default();
    for jdk in ["17", "25"] {
        let mut leak = Leak::on(jdk, 0);
        let pid = leak.app.pid;
        // Drops some.
        leak.assert_goes_on();
        let live = read(&dump(&server, &format!("pid={pid}")).ok().whole().body);
        leak.assert_goes_on();
        let compressed = dump(&server, &format!("pid={pid}&gz=1&all=true")).ok().whole();
        assert!(compressed.header("content-disposition").ends_with(".hprof.gz\""));
        let all = read(&compressed.body);
        assert_eq!(live["ofClass"], leak.objects);
        let dropped = all["ofClass"].as_u64().unwrap() - leak.objects;
        assert_eq!(dropped, DROPPED, "JDK {jdk}: {all} {live}");
        assert!((compressed.body.len() as u64) < live["bytes"].as_u64().unwrap() / 2);
        let sampler = |answer: &Answer| {
            server
                .get(&format!("/captures/{}", answer.header("sideflame-capture")))
                .ok()
                .json()
        };
        assert!(sampler(&compressed).to_string().contains("all objects"));
        assert_eq!(target_files::left(pid), [] as [PathBuf; 0]);
        leak.assert_goes_on();
    }
}

/// What the JDK's own reader of core files says of one.
fn serviceability_agent(jdk: &str, core: &Path, words: &[&str]) -> String {
    let binaries = app::jdk_home(jdk).join("bin");
    let mut reader = Command::new(binaries.join("jhsdb"));
    reader
        .args(words)
        .arg("--exe")
        .arg(binaries.join("java"))
        .arg("--core")
        .arg(core);
    let said = reader.output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
}

#[test]
fn a_jvm_that_lets_no_tool_in_gives_a_core_file() {
    let server = Server::default();
    for jdk in ["17", "25"] {
        let options = ["-XX:+DisableAttachMechanism", "-Xmx256m"];
        let mut leak = Leak::by(app::java(jdk, &options, "leak"));
        let pid = leak.app.pid;
        let refused = dump(&server, &format!("pid={pid}"));
        assert_eq!(
            (refused.status, &refused.json()["reason"]),
            (422, &"attach_disabled".into())
        );
        assert!(
            refused.json()["remedy"]
                .as_str()
                .unwrap()
                .contains("; or take POST /dump?type=core")
        );
        let answer = dump(&server, &format!("pid={pid}&type=core")).ok().whole();
        leak.assert_goes_on();
        assert!(
            answer
                .header("sideflame-sampler")
                .starts_with("ptrace: the app stood still for ")
        );
        assert_eq!(answer.header("sideflame-degraded"), "");
        let core = std::env::temp_dir().join(format!("sideflame-test-core-{pid}"));
        std::fs::write(&core, &answer.body).unwrap();
        let stacks = serviceability_agent(jdk, &core, &["jstack"]);
        let histogram = serviceability_agent(jdk, &core, &["jmap", "--histo"]);
        std::fs::remove_file(&core).unwrap();
        assert!(
            stacks.contains("demo.shop.Leak.") && stacks.contains("\"main\""),
            "{stacks}"
        );
        let row = histogram.lines().find(|line| line.ends_with(LEAKED)).unwrap();
        let objects = row.split_whitespace().nth(1).unwrap().parse();
        assert_eq!(objects, Ok(leak.objects), "{row}");
        assert_eq!(target_files::left(pid), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_full_disk_is_told_before_the_jvm_is_asked() {
    let server = Server::default();
    let command = app::java("17", &[], "leak");
    let mut leak = Leak::by(app::in_own_mounts(
        "mount -t tmpfs -o size=64m tmpfs /tmp && exec",
        &command,
    ));
    let refused = dump(&server, &format!("pid={}", leak.app.pid));
    assert_eq!(
        (refused.status, &*refused.code()),
        (507, "target_disk_full"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.json()["reason"], "disk_too_small");
    // It was not even made to listen.
    let socket = format!("/proc/{0}/root/tmp/.java_pid{0}", leak.app.pid);
    assert!(!Path::new(&socket).exists());
    assert_eq!(target_files::left(leak.app.pid), [] as [PathBuf; 0]);
    leak.assert_goes_on();
}

#[test]
fn nothing_is_dumped_by_the_way() {
    let server = Server::default();
    let leak = Leak::on("17", 0);
    let pid = leak.app.pid;
    let by_get = server.get(&format!("/dump?confirm=yes&pid={pid}"));
    assert_eq!((by_get.status, by_get.header("allow")), (405, "POST"));
    for event in ["dump", "core"] {
        let as_event = server.get(&format!("/profile?event={event}&pid={pid}"));
        assert_eq!(as_event.status, 400, "{}", as_event.text());
    }
    let of_dotnet = dump(&server, &format!("pid={pid}&type=mini"));
    assert_eq!(
        (of_dotnet.status, &*of_dotnet.code()),
        (400, "parameter_not_applicable")
    );
    assert_eq!(server.get("/captures").ok().json(), serde_json::json!([]));
    let small = Server::start(&["--store-size", "16MiB"]);
    let refused = dump(&small, &format!("pid={pid}"));
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (422, &"store_too_small".into())
    );
    assert_eq!(target_files::left(pid), [] as [PathBuf; 0]);
}

#[test]
fn a_dump_that_is_given_up_leaves_nothing_however_it_ends() {
    for (jdk, end) in [("17", End::Cancelled), ("25", End::HungUp), ("17", End::Killed)] {
        let server = Server::start(&["--store-size", "1GiB"]);
        let mut leak = Leak::on(jdk, 150);
        let pid = leak.app.pid;
        let request = DumpRequest::send(&server, &format!("pid={pid}"));
        written(pid);
        // It stands still in the middle of it.
        leak.app.signal(Signal::SIGSTOP);
        request.give_up(&server, end);
        target_files::wait_until_clean(pid, Duration::from_secs(20));
        leak.app.signal(Signal::SIGCONT);
        leak.assert_goes_on();
        // Whatever it still wrote had no name.
        target_files::wait_until_clean(pid, Duration::from_secs(5));
    }
}

#[test]
fn a_client_that_goes_away_in_mid_stream_leaves_nothing() {
    let server = Server::default();
    let mut leak = Leak::on("25", 50);
    let pid = leak.app.pid;
    DumpRequest::send(&server, &format!("pid={pid}")).leave_in_mid_body();
    assert_eq!(target_files::left(pid), [] as [PathBuf; 0]);
    leak.assert_goes_on();
}

fn histogram(server: &Server, query: &str) -> Value {
    let histogram = server.get(&format!("/histogram?format=json&{query}")).ok();
    assert_eq!(histogram.header("content-type"), "application/json");
    histogram.json()
}

#[test]
fn what_leaks_is_first_in_the_histogram_with_the_bytes_that_it_has() {
    let server = Server::default();
    for jdk in ["17", "25"] {
        // Nothing is loaded, so it does not matter that nothing may be.
        let mut leak = Leak::by(app::java(jdk, &["-XX:-EnableDynamicAgentLoading"], "leak"));
        leak.assert_goes_on();
        let all = histogram(&server, &format!("pid={}&all=true", leak.app.pid));
        let live = histogram(&server, &format!("pid={}", leak.app.pid));
        for (told, objects) in [(&all, leak.objects + DROPPED), (&live, leak.objects)] {
            let first = &told["types"][0];
            assert_eq!(
                (&first["type"], &first["objects"]),
                (&LEAKED.into(), &objects.into()),
                "JDK {jdk}"
            );
            let (bytes, held) = (first["bytes"].as_u64().unwrap(), leak.bytes * objects / leak.objects);
            assert!(bytes.abs_diff(held) < held / 20, "{bytes} of {held}");
            let rows = told["types"].as_array().unwrap();
            assert!(rows.iter().any(|row| row["type"] == "byte[]"), "{told:#}");
            let sum: u64 = rows.iter().map(|row| row["bytes"].as_u64().unwrap()).sum();
            assert_eq!(told["total"]["bytes"], sum);
        }
        let sampler = |told: &Value| told["quality"]["sampler"].as_str().unwrap().to_owned();
        assert!(sampler(&live).contains("after a full collection") && sampler(&all).contains("garbage"));

        let text = server.get(&format!("/histogram?pid={}", leak.app.pid)).ok();
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
        let first = text
            .text()
            .lines()
            .find(|line| line.ends_with(LEAKED))
            .unwrap()
            .to_owned();
        assert!(first.trim_start().starts_with("1 "), "{first}");
        let collapsed = server.get(&format!(
            "/captures/{}/artifact?format=collapsed",
            text.header("sideflame-capture")
        ));
        assert!(collapsed.ok().text().lines().any(|line| line.starts_with(LEAKED)));
        leak.assert_goes_on();
    }
}

#[test]
fn the_doctor_says_what_a_histogram_of_a_jvm_costs_and_when_there_is_none() {
    let server = Server::default();
    let open = App::start(app::java("17", &[], "idle"));
    let closed = App::start(app::java("17", &["-XX:+DisableAttachMechanism"], "idle"));
    for (app, availability, key) in [
        (&open, "degraded", "collects_garbage"),
        (&closed, "impossible", "attach_disabled"),
    ] {
        let doctor = server.get(&format!("/doctor?pid={}&format=json", app.pid)).ok().json();
        let verdicts = doctor[0]["verdicts"].as_array().unwrap();
        let verdict = verdicts.iter().find(|verdict| verdict["event"] == "histogram").unwrap();
        assert_eq!(
            (&verdict["availability"], &verdict["reason"]["key"]),
            (&availability.into(), &key.into())
        );
    }
    for refused in [
        server.get(&format!("/histogram?pid={}", closed.pid)),
        dump(&server, &format!("pid={}", closed.pid)),
    ] {
        assert_eq!(
            (refused.status, &refused.json()["reason"]),
            (422, &"attach_disabled".into())
        );
    }
    let walk = server.get(&format!("/gcdump?pid={}", open.pid));
    assert_eq!((walk.status, &walk.json()["reason"]), (422, &"no_walk".into()));
    for mistaken in [
        "histogram?seconds=5",
        "profile?all=true",
        "profile?event=histogram&interval=1ms",
    ] {
        let answer = server.get(&format!("/{mistaken}&pid={}", open.pid));
        assert_eq!(answer.status, 400, "{mistaken}: {}", answer.text());
    }
    let head = server.send("HEAD", &format!("/histogram?pid={}", open.pid), &[]).ok();
    assert_eq!(head.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(server.get("/captures").ok().json(), serde_json::json!([]));
}

#[test]
fn what_leaks_in_a_go_program_is_told_by_who_allocated_it() {
    let server = Server::default();
    let mut command = Command::new(cache::file("apps/go/split"));
    command.args(["-pprof", "127.0.0.1:0", "leak"]);
    let mut app = App::launch(command);
    let held = app.wait_for("holds ");
    let held: u64 = held.split_once(' ').unwrap().1.parse().unwrap();
    let told = histogram(&server, &format!("pid={}", app.pid));
    let first = &told["types"][0];
    assert_eq!(first["type"], "main.forget, 176 B", "{told:#}");
    // Some 130 samples: a tenth is one standard deviation.
    let bytes = first["bytes"].as_u64().unwrap();
    assert!(bytes.abs_diff(held) < held / 2, "{bytes} of {held}");
    let degraded = told["quality"]["degraded"].to_string();
    assert!(degraded.contains("does not know the types"), "{degraded}");
    let text = server.get(&format!("/histogram?pid={}", app.pid)).ok().text();
    assert!(
        text.contains("allocated by") && text.contains("main.forget, 176 B"),
        "{text}"
    );
    let foreign = server.get(&format!("/histogram?all=true&pid={}", app.pid));
    assert_eq!((foreign.status, &*foreign.code()), (400, "parameter_not_applicable"));
}
