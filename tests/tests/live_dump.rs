//! `POST /dump` of machine code: a core file that a debugger opens, of a process that stands still for as long, and no longer.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::dump_request::End;
use e2e::{Answer, DumpRequest, MemoryCgroup, Server, cache, target_files};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A folder that all users may read, with the program of `live_dump.c` and its core files; it stays no longer than `/tmp` does.
fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let folder = std::env::temp_dir().join(format!("sideflame-live-dump-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("live_dump.c"), include_str!("live_dump.c")).unwrap();
        let mut compiler = Command::new("gcc");
        compiler.args(["-g", "-O1", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-pthread"]);
        compiler.args(["-o", "live_dump", "live_dump.c"]).current_dir(&folder);
        let built = compiler.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder
    };
    FOLDER.get_or_init(make).clone()
}

/// The program, with what it says of itself.
struct Holder {
    app: App,
    pid: i32,
    ballast: u64,
    size: usize,
}

impl Holder {
    fn start(mebibytes: usize) -> Self {
        let mut command = Command::new(folder().join("live_dump"));
        command.arg(mebibytes.to_string());
        Self::by(command)
    }

    fn by(command: Command) -> Self {
        let mut app = App::launch(command);
        let said = app.wait_for("ready 0x");
        let (ballast, size) = said.split_once(' ').unwrap();
        let (ballast, size) = (u64::from_str_radix(ballast, 16).unwrap(), size.parse().unwrap());
        let pid = app.pid;
        Self {
            app,
            pid,
            ballast,
            size,
        }
    }

    /// How far it has counted, and how often it was stopped.
    fn counts(&mut self) -> (u64, u64) {
        self.app.tell("");
        let said = self.app.wait_for("alive ");
        let (counted, stops) = said.split_once(' ').unwrap();
        (counted.parse().unwrap(), stops.parse().unwrap())
    }

    /// It was stopped so often. The thread that counts it may run a moment after whoever answers.
    fn assert_stops(&mut self, times: u64) {
        wait("stops that are counted", Duration::from_secs(20), || {
            (self.counts().1 >= times).then_some(())
        });
        assert_eq!(self.counts().1, times);
    }

    /// All of its threads run, and it counts on.
    fn assert_goes_on(&mut self) {
        wait("threads that run", Duration::from_secs(20), || {
            (!states(self.pid).iter().any(|state| matches!(state, 't' | 'T'))).then_some(())
        });
        let (before, _) = self.counts();
        wait("counting on", Duration::from_secs(20), || {
            (self.counts().0 > before).then_some(())
        });
        assert_eq!(target_files::left(self.pid), [] as [PathBuf; 0]);
    }
}

/// The state of each thread.
fn states(pid: i32) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stats
        .filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next())
        .collect()
}

fn dump(server: &Server, query: &str) -> Answer {
    server.send("POST", &format!("/dump?confirm=yes&{query}"), &[])
}

/// What gdb says of a core file of `program`.
fn gdb(program: &PathBuf, core: &Answer, commands: &[&str]) -> String {
    let file = folder().join(format!("core-{}", core.header("sideflame-capture")));
    fs::write(&file, &core.body).unwrap();
    let mut gdb = Command::new("gdb");
    gdb.args([
        "-batch",
        "-nx",
        "-iex",
        "set debuginfod enabled off",
        "-iex",
        "set auto-load off",
    ]);
    gdb.args(commands.iter().flat_map(|command| ["-ex", command]));
    let said = gdb.arg(program).arg(&file).current_dir(folder()).output().unwrap();
    fs::remove_file(file).unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
}

/// MiB of the program: more where a person looks.
fn mebibytes() -> usize {
    let told = std::env::var("SIDEFLAME_TEST_HEAP_MIB").ok();
    told.map_or(300, |told| told.parse().unwrap())
}

#[test]
fn a_debugger_finds_all_that_a_program_has_in_memory() {
    let mut holder = Holder::start(mebibytes());
    let cgroup = MemoryCgroup::new(32 << 20);
    let server = Server::start_by(cgroup.command(&cache::sideflame()), &["--store-size", "4GiB"]);
    let answer = dump(&server, &format!("pid={}", holder.pid)).ok().whole();
    eprintln!("{} bytes, {}", answer.body.len(), answer.header("sideflame-sampler"));
    assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
    assert!(cgroup.anonymous() < 8 << 20, "{} bytes", cgroup.anonymous());
    holder.assert_goes_on();
    holder.assert_stops(1);
    let sampler = answer.header("sideflame-sampler");
    assert!(sampler.starts_with("ptrace: the app stood still for ") && sampler.ends_with(" ms, 3 threads"));
    assert_eq!(answer.header("sideflame-degraded"), "");
    let named = answer.header("content-disposition");
    assert!(
        named.starts_with("attachment; ") && named.ends_with(".dmp\""),
        "{named}"
    );
    // A gigabyte is reserved, and one page of it used.
    let most = holder.size + (4 << 20);
    assert!(
        (holder.size..most).contains(&answer.body.len()),
        "{}",
        answer.body.len()
    );

    let copy = format!(
        "dump binary memory ballast.bin {:#x} {:#x}",
        holder.ballast,
        holder.ballast + holder.size as u64
    );
    let said = gdb(
        &folder().join("live_dump"),
        &answer,
        &[
            "info threads",
            "thread apply all bt",
            "p/x known_number",
            "x/s heap_text",
            "p reservation[512*1024*1024]",
            "x/s hidden",
            "info proc mappings",
            &copy,
        ],
    );
    for expected in [
        "in wait_for_events (",
        "in count_on (",
        "in answer_lines (",
        "in main (",
        " = 0x5ca1ab1e",
        "\"a text on the heap, number 4711\"",
        " = 7 '\\a'",
        "Cannot access memory at address",
        "live_dump",
        &format!("(LWP {})", holder.pid),
    ] {
        assert!(said.contains(expected), "no {expected}: {said}");
    }
    assert_eq!(said.matches("\nThread ").count(), 3, "{said}");
    let copied = fs::read(folder().join("ballast.bin")).unwrap();
    fs::remove_file(folder().join("ballast.bin")).unwrap();
    let mut held = vec![0; holder.size];
    let memory = File::open(format!("/proc/{}/mem", holder.pid)).unwrap();
    memory.read_exact_at(&mut held, holder.ballast).unwrap();
    assert!(copied == held, "not what the program has");
    drop(server);
}

#[test]
fn goroutines_are_where_a_debugger_looks_for_them() {
    let server = Server::default();
    for program in ["split", "split-nopprof"] {
        let program = cache::file(&format!("apps/go/{program}"));
        let mut command = Command::new(&program);
        if program.ends_with("split") {
            command.args(["-pprof", "127.0.0.1:0"]);
        }
        command.arg("cpu");
        let app = App::start(command);
        assert_eq!(verdict(&server, app.pid)["availability"], "available");
        let answer = dump(&server, &format!("pid={}", app.pid)).ok().whole();
        let said = gdb(&program, &answer, &["thread apply all bt", "p 'runtime.gomaxprocs'"]);
        assert!(said.contains("in main.cpu (") || said.contains(" main.cpu ("), "{said}");
        let cpus = std::thread::available_parallelism().unwrap();
        assert!(said.contains(&format!("$1 = {cpus}")), "{said}");
        assert!(!states(app.pid).contains(&'t'));
    }
}

#[test]
fn threads_have_the_numbers_that_the_program_itself_sees() {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child"])
        .arg(folder().join("live_dump"));
    let mut holder = Holder::by(command);
    let children = format!("/proc/{0}/task/{0}/children", holder.app.pid);
    holder.pid = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let server = Server::default();
    let answer = dump(&server, &format!("pid={}", holder.pid)).ok().whole();
    let said = gdb(&folder().join("live_dump"), &answer, &["info threads"]);
    for number in 1..=3 {
        assert!(said.contains(&format!("(LWP {number})")), "{said}");
    }
    holder.assert_goes_on();
}

/// What the doctor says of a dump.
fn verdict(server: &Server, pid: i32) -> Value {
    let doctor = server.get(&format!("/doctor?pid={pid}&format=json")).ok().json();
    let verdicts = doctor[0]["verdicts"].as_array().unwrap();
    let verdict = verdicts.iter().find(|verdict| verdict["event"] == "core").unwrap();
    verdict.clone()
}

#[test]
fn whoever_may_not_stop_a_process_is_told_so_as_by_the_doctor() {
    let mut holder = Holder::start(1);
    let pid = holder.pid;
    let other = Server::start_by(app::as_user(&Command::new(cache::sideflame())), &[]);
    let server = Server::default();
    let refused = |server: &Server, key: &str| {
        let verdict = wait(key, Duration::from_secs(20), || {
            let verdict = verdict(server, pid);
            (verdict["reason"]["key"] == key).then_some(verdict)
        });
        assert_eq!(verdict["availability"], "impossible");
        let answer = dump(server, &format!("pid={pid}"));
        assert_eq!(
            (answer.status, &*answer.code()),
            (422, "impossible"),
            "{}",
            answer.text()
        );
        assert_eq!(answer.json()["reason"], key);
        assert!(
            !answer.json()["remedy"].as_str().unwrap().contains("type=core"),
            "{key}"
        );
    };
    refused(&other, "no_access");
    // As a debugger does, which does not stop it.
    let (seized, is_seized) = channel();
    let (let_go, released) = channel::<()>();
    let debugger = std::thread::spawn(move || {
        ptrace::seize(Pid::from_raw(pid), ptrace::Options::empty()).unwrap();
        seized.send(()).unwrap();
        assert!(released.recv().is_err());
    });
    is_seized.recv().unwrap();
    refused(&server, "traced");
    drop(let_go);
    debugger.join().unwrap();
    holder.assert_stops(0);
    holder.app.signal(Signal::SIGSTOP);
    refused(&server, "target_stopped");
    holder.app.signal(Signal::SIGCONT);
    // By the signals.
    holder.assert_stops(1);
    wait("the way to be free", Duration::from_secs(20), || {
        (verdict(&server, pid)["availability"] == "available").then_some(())
    });
    holder.assert_stops(1);
    dump(&server, &format!("pid={pid}")).ok();
    holder.assert_stops(2);
    holder.assert_goes_on();
}

#[test]
fn a_process_is_not_stopped_for_a_dump_that_cannot_be_kept_or_was_not_asked_for() {
    let mut holder = Holder::start(20);
    let pid = holder.pid;
    let small = Server::start(&["--store-size", "10MiB"]);
    let refused = dump(&small, &format!("pid={pid}"));
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (422, &"store_too_small".into())
    );
    for (method, path, status) in [
        ("POST", format!("/dump?pid={pid}"), 400),
        ("POST", format!("/dump?pid={pid}&confirm=yes&type=mini"), 400),
        ("POST", format!("/dump?pid={pid}&confirm=yes&gz=1"), 400),
        ("GET", format!("/dump?pid={pid}&confirm=yes"), 405),
        ("POST", format!("/dump?pid={pid}&confirm=yes&type=core&gz=1"), 400),
        ("GET", format!("/profile?pid={pid}&event=dump"), 400),
        ("GET", format!("/profile?pid={pid}&event=core"), 400),
        ("POST", format!("/captures?pid={pid}&event=dump"), 400),
    ] {
        let answer = small.send(method, &path, &[]);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    assert_eq!(small.get("/captures").ok().json(), json!([]));
    holder.assert_stops(0);

    // Room for one, which is kept.
    let full = Server::start(&["--store-size", "42MiB"]);
    let first = dump(&full, &format!("pid={pid}")).ok();
    let pinned = full.send_json(
        "PATCH",
        &format!("/captures/{}", first.header("sideflame-capture")),
        "{\"pinned\": true}",
    );
    assert_eq!(pinned.status, 200, "{}", pinned.text());
    holder.assert_stops(1);
    let mut second = Holder::start(30);
    let refused = dump(&full, &format!("pid={}", second.pid));
    assert_eq!(refused.status, 507, "{}", refused.text());
    second.assert_stops(0);
    let stored: u64 = full.stored().iter().map(|(_, length)| length).sum();
    assert!(stored < 25 << 20, "{:?}", full.stored());
    holder.assert_goes_on();
    second.assert_goes_on();
}

/// Lets a recorder run for a twentieth of the time until `is_done`: the copying takes long enough to end it in the middle.
fn run_slowly(recorder: Pid, is_done: impl Fn() -> bool) {
    let goes = |signal, time| {
        let is_there = kill(recorder, signal).is_ok();
        std::thread::sleep(Duration::from_millis(time));
        is_there
    };
    while !is_done() && goes(Signal::SIGCONT, 1) && goes(Signal::SIGSTOP, 20) {}
    let _ = kill(recorder, Signal::SIGCONT);
}

#[test]
fn a_dump_that_is_given_up_lets_the_program_go_on_at_once() {
    for end in [End::Cancelled, End::HungUp, End::Killed] {
        let mut holder = Holder::start(200);
        let server = Server::start(&["--store-size", "1GiB"]);
        let pid = holder.pid;
        let request = DumpRequest::send(&server, &format!("pid={pid}"));
        // In the middle of it, and held there.
        let recorder = wait("a process that stands still", Duration::from_secs(20), || {
            let recorder = Pid::from_raw(server.recorder()?);
            let stands = states(pid).iter().all(|state| *state == 't');
            stands.then(|| kill(recorder, Signal::SIGSTOP).ok()).flatten()?;
            Some(recorder)
        });
        assert_eq!(states(pid), ['t'; 3]);
        std::thread::scope(|scope| {
            let given_up = scope.spawn(|| request.give_up(&server, end));
            run_slowly(recorder, || given_up.is_finished() && !states(pid).contains(&'t'));
        });
        holder.assert_goes_on();
        holder.assert_stops(1);
        wait("an empty store", Duration::from_secs(20), || {
            let is_small = |(_, length): &(PathBuf, u64)| *length < 1 << 20;
            server.stored().iter().all(is_small).then_some(())
        });
    }
}
