//! .NET runtimes that connect to the server's port by themselves: with a read-only root, without a socket of their own, in
//! another pid namespace.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::{Server, cache, shares};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// User of a server without rights; that of the apps is 1000.
const SERVER_USER: &str = "65532";

/// A volume that all have, and what a sidecar's image has.
struct Volume {
    folder: PathBuf,
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Volume {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sideflame-port-{}-{number}", std::process::id()));
        let all = |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::create_dir_all(folder.join("volume")).unwrap();
        all(&folder);
        all(&folder.join("volume"));
        // The checkout may be where only root can look.
        std::fs::copy(cache::sideflame(), folder.join("sideflame")).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("volume")
    }

    fn port(&self) -> String {
        self.path().join("port.sock").display().to_string()
    }

    /// A server that listens at the port, as its own user without any capability.
    fn server(&self) -> Server {
        self.server_by(Command::new("env"))
    }

    /// The same in a pid namespace of its own, which shows it nothing but itself.
    fn hidden_server(&self) -> HiddenServer {
        HiddenServer(self.server_by(own_pids()))
    }

    fn server_by(&self, mut command: Command) -> Server {
        command
            .args(without_rights(SERVER_USER))
            .arg(self.folder.join("sideflame"));
        Server::start_by(command, &["--dotnet-port", &self.port()])
    }

    /// `command` with a root and a `/tmp` that are read-only, as user 1000 without any capability. The volume is at `/srv`, and
    /// read-only, too.
    fn confined(&self, command: &Command) -> Command {
        let script = format!(
            "mount --bind {} /srv && mount -o remount,bind,ro /srv && mount -t tmpfs -o ro tmpfs /tmp && mount -o remount,bind,ro / \
             && mount -t tmpfs -o mode=1777 tmpfs /media \
             && exec {}",
            self.path().display(),
            without_rights("1000").join(" ")
        );
        let mut command = app::in_own_mounts(&script, command);
        command.env("DOTNET_DiagnosticPorts", "/srv/port.sock,connect,nosuspend");
        command
    }

    /// The same in a pid namespace of its own, where it is process 1.
    fn hidden(&self, command: &Command) -> Command {
        let inner = self.confined(command);
        let mut outer = own_pids();
        outer.arg(inner.get_program()).args(inner.get_args());
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outer
    }

    fn start(&self, scenario: &str) -> App {
        App::start(self.hidden(&app::dotnet("8", scenario)))
    }
}

/// A server below `unshare`, which passes no signal on.
struct HiddenServer(Server);

impl HiddenServer {
    /// Its own pid, as the test sees it.
    fn inner(&self) -> i32 {
        inner(self.0.pid())
    }

    fn end(&mut self, signal: Signal) {
        kill(Pid::from_raw(self.inner()), signal).unwrap();
        self.0.wait_until_ended();
    }
}

impl Deref for HiddenServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl Drop for HiddenServer {
    fn drop(&mut self) {
        let children = std::fs::read_to_string(children(self.0.pid())).unwrap_or_default();
        if let Ok(pid) = children.trim().parse() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

fn children(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/task/{pid}/children"))
}

fn own_pids() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

fn without_rights(user: &str) -> [&str; 12] {
    [
        "setpriv",
        // Changing the user has cleared what `unshare` asked for.
        "--pdeathsig",
        "KILL",
        "--reuid",
        user,
        "--regid",
        user,
        "--clear-groups",
        "--bounding-set",
        "-all",
        "--inh-caps",
        "-all",
    ]
}

fn modern() -> Command {
    let mut command = app::dotnet_10();
    // It unpacks itself.
    command.env("DOTNET_BUNDLE_EXTRACT_BASE_DIR", "/media");
    command
}

/// The rows of .NET processes, once there are `count` of them.
fn rows(server: &Server, count: usize) -> Vec<Value> {
    wait("runtimes at the port", Duration::from_secs(60), || {
        let rows = server.get("/processes").ok().json();
        let rows = rows.as_array().unwrap().iter().filter(|row| row["runtime"] == "dotnet");
        let rows: Vec<Value> = rows.cloned().collect();
        (rows.len() == count).then_some(rows)
    })
}

/// The process whose first and only child `unshare` is.
fn inner(pid: i32) -> i32 {
    let children = children(pid);
    wait("the process in its namespace", Duration::from_secs(20), || {
        std::fs::read_to_string(&children).ok()?.trim().parse().ok()
    })
}

fn split(server: &Server, query: &str) -> String {
    let stacks = shares::enough(|| server.get(&format!("/profile?{query}&seconds=10&format=collapsed")));
    shares::assert_split(
        &stacks,
        [("Split.Sixty", 0.6), ("Split.Thirty", 0.3), ("Split.Ten", 0.1)],
    );
    stacks
}

#[test]
fn a_runtime_that_only_the_port_shows_is_profiled_without_any_right() {
    let volume = Volume::new();
    let app = volume.start("cpu");
    let server = volume.hidden_server();
    let [row] = &rows(&server, 1)[..] else { unreachable!() };
    let known = [
        "pid",
        "name",
        "version",
        "rid",
        "outside",
        "uid",
        "gid",
        "isDefault",
        "startTime",
        "containerId",
    ];
    let known: Vec<&Value> = known.iter().map(|key| &row[key]).collect();
    let expected = json!([
        1,
        "Sarif.Multitool",
        "8.0.30",
        "linux-x64",
        true,
        1000,
        1000,
        true,
        null,
        null
    ]);
    assert_eq!(json!(known), expected, "{row:#}");

    let doctor = server.get("/doctor").ok().text();
    for part in [
        "1 Sarif.Multitool (dotnet 8.0.30, by sideflame's own port)",
        "cpu_time_unknown",
    ] {
        assert!(doctor.contains(part), "{doctor}");
    }

    split(&server, "pid=1");
    let svg = server.get("/profile?name=Sarif&seconds=2").ok();
    assert_eq!(svg.header("content-type"), "image/svg+xml");
    let text = svg.text();
    for part in ["Split.Sixty", "EventPipe sample profiler"] {
        assert!(text.contains(part), "{part}");
    }
    // Nothing that is known of process 1 here is known of it there.
    let quality = server
        .get(&format!("/captures/{}", svg.header("sideflame-capture")))
        .ok()
        .json();
    assert_eq!(quality["quality"]["cpuMs"], Value::Null, "{quality:#}");
    assert!(quality.to_string().contains("another pid namespace"), "{quality:#}");
    let threads = "/profile?seconds=2&event=wall&threads=true&format=collapsed";
    let threads = server.get(threads).ok().text();
    assert!(
        !threads.contains("sideflame") && threads.contains("Split.Sixty"),
        "{threads}"
    );

    // Nothing is left, and the runtime is at the port again.
    assert_eq!(rows(&server, 1).len(), 1);
    let files = std::fs::read_dir(volume.path()).unwrap().flatten();
    let files: Vec<_> = files.map(|file| file.file_name()).collect();
    assert_eq!(files, ["port.sock"]);
    drop(app);
    rows(&server, 0);
    let refused = server.get("/profile?seconds=1");
    assert_eq!((refused.status, refused.code()), (404, "no_such_process".to_owned()));
    assert!(refused.text().contains(&volume.port()), "{}", refused.text());
    assert!(
        server
            .get("/doctor")
            .ok()
            .text()
            .contains("no .NET runtime is connected")
    );
}

#[test]
fn two_runtimes_at_one_port_are_never_mixed() {
    let volume = Volume::new();
    let server = volume.hidden_server();
    let _eight = volume.start("cpu");
    let _ten = App::launch(volume.hidden(&modern()));
    rows(&server, 2);
    // It is called by its executable until its main is found.
    wait("the newer runtime", Duration::from_secs(60), || {
        let names: Vec<_> = rows(&server, 2).iter().map(|row| row["name"].clone()).collect();
        names.contains(&json!("azmcp")).then_some(())
    });
    let ambiguous = server.get("/profile?pid=1&seconds=1");
    assert_eq!(
        (ambiguous.status, ambiguous.code()),
        (400, "ambiguous_process".to_owned())
    );
    assert_eq!(ambiguous.json()["candidates"].as_array().unwrap().len(), 2);

    let ids = ["name=Sarif&event=wall&seconds=3", "name=azmcp&event=wall&seconds=3"].map(|query| server.capture(query));
    let stacks = ids.map(|id| {
        server.wait_for(&id, &["finished"]);
        let artifact = server.get(&format!("/captures/{id}/artifact?format=collapsed")).ok();
        (artifact.header("sideflame-process").to_owned(), artifact.text())
    });
    let [(_, eight), (_, ten)] = &stacks;
    assert!(eight.contains("Split.Sixty") && !eight.contains("Azure.Mcp"), "{eight}");
    assert!(ten.contains("Azure.Mcp") && !ten.contains("Split.Sixty"), "{ten}");
    let nettrace = server.get("/profile?name=azmcp&seconds=2&event=wall&format=nettrace");
    e2e::nettrace::whole(nettrace);
}

#[test]
fn a_process_that_is_seen_is_one_row_and_the_port_is_for_what_its_socket_does_not_give() {
    let volume = Volume::new();
    // No place for a socket of its own.
    let app = App::start(volume.confined(&app::dotnet("8", "cpu")));
    // A place, and another user.
    let mut with_socket = app::as_user(&app::dotnet("8", "wall"));
    let with_port = format!("{},connect,nosuspend", volume.port());
    with_socket.env("DOTNET_DiagnosticPorts", &with_port);
    let other = App::start(with_socket);
    let row = |server: &Server, pid: i32| {
        wait("the runtime at the port", Duration::from_secs(30), || {
            let row = server.get(&format!("/doctor?pid={pid}&format=json")).ok().json()[0].take();
            let possible = row["verdicts"][0]["availability"] != "impossible";
            possible.then_some(row)
        })
    };
    let own = "sideflame's own port";
    let other_user = volume.server();
    for pid in [app.pid, other.pid] {
        let row = row(&other_user, pid);
        assert_eq!(
            (&row["reachedBy"], &row["name"]),
            (&json!(own), &json!("Sarif.Multitool")),
            "{row:#}"
        );
        assert!(row["startTime"].is_u64(), "{row:#}");
    }
    let answer = other_user
        .get(&format!(
            "/profile?pid={}&seconds=2&event=wall&format=collapsed",
            other.pid
        ))
        .ok();
    assert!(answer.text().contains("Split.WallSixty"), "{}", answer.text());
    drop(other_user);

    let root = Server::start(&["--dotnet-port", &volume.port()]);
    let by_port = row(&root, app.pid);
    assert_eq!(by_port["reachedBy"], own, "{by_port:#}");
    assert_eq!(
        by_port["verdicts"][0]["reason"]["key"], "running_apportioned",
        "{by_port:#}"
    );
    let by_socket = row(&root, other.pid);
    assert!(
        by_socket["reachedBy"].as_str().unwrap().contains("dotnet-diagnostic-"),
        "{by_socket:#}"
    );
    let pid = app.pid;
    split(&root, &format!("pid={pid}"));
    // What the kernel counts is known of one that is seen.
    let svg = root.get(&format!("/profile?pid={pid}&seconds=2")).ok();
    assert!(
        svg.header("sideflame-cpu-ms").parse::<u64>().unwrap() > 100,
        "{}",
        svg.header("sideflame-cpu-ms")
    );
}

#[test]
fn what_the_port_would_do_is_said_where_a_runtime_is_not_connected() {
    let volume = Volume::new();
    let mut command = volume.confined(&app::dotnet("8", "idle"));
    command.env_remove("DOTNET_DiagnosticPorts");
    let app = App::start(command);
    let server = Server::start(&["--dotnet-port", &volume.port()]);
    let refused = server.get(&format!("/profile?pid={}&seconds=1", app.pid)).json();
    assert_eq!(refused["reason"], "tmp_read_only", "{refused}");
    assert!(
        refused["remedy"].as_str().unwrap().contains(&volume.port()),
        "{refused}"
    );
}

#[test]
fn an_app_that_dies_and_a_server_that_is_started_anew_find_each_other_again() {
    let volume = Volume::new();
    let app = volume.start("cpu");
    let mut server = volume.hidden_server();
    rows(&server, 1);
    let id = server.capture("seconds=300&event=wall");
    server.wait_for(&id, &["sampling"]);
    // Without a chance to remove its socket, in the middle of a capture.
    server.end(Signal::SIGKILL);
    assert!(Path::new(&volume.port()).exists());
    let mut server = volume.hidden_server();
    rows(&server, 1);
    let answer = server.get("/profile?seconds=2&format=collapsed").ok();
    assert!(answer.text().contains("Split.Sixty"), "{}", answer.text());

    let id = server.capture("seconds=300&event=wall");
    server.wait_for(&id, &["sampling"]);
    kill(Pid::from_raw(inner(app.pid)), Signal::SIGKILL).unwrap();
    let failed = server.wait_for(&id, &["failed", "finished"]);
    assert_eq!(failed["error"], "the process exited during the capture", "{failed:#}");
    rows(&server, 0);
    let children = std::fs::read_to_string(children(server.inner())).unwrap();
    assert_eq!(children, "", "a recorder is left");
    let _again = volume.start("idle");
    rows(&server, 1);
    server.end(Signal::SIGTERM);
    assert!(!Path::new(&volume.port()).exists());
}

#[test]
fn an_early_stop_keeps_a_whole_file_and_a_cancel_leaves_no_session() {
    let volume = Volume::new();
    let _app = volume.start("cpu");
    let server = volume.hidden_server();
    rows(&server, 1);
    let id = server.capture("seconds=300");
    server.wait_for(&id, &["sampling"]);
    let stopped = server.send("POST", &format!("/captures/{id}/stop"), &[]);
    assert_eq!(stopped.status, 202, "{}", stopped.text());
    server.wait_for(&id, &["finished"]);
    e2e::nettrace::whole(server.get(&format!("/captures/{id}/artifact?format=nettrace")));
    // A runtime has 64 sessions at most, and one without events does not notice that its stream is closed.
    for _ in 0..66 {
        let id = server.capture("seconds=300&event=exceptions");
        server.wait_for(&id, &["sampling"]);
        let gone = server.send("DELETE", &format!("/captures/{id}"), &[]);
        assert!(gone.status < 300, "{}", gone.text());
    }
    e2e::nettrace::whole(server.get("/profile?seconds=1&format=nettrace"));
}
