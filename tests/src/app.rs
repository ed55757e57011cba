//! A sample app as a child process, killed when dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cache;
use crate::control_plane::wait;

/// Query of a capture of what the .NET scenario `trace` emits, some 100 MB/s.
pub const MANY_EVENTS: &str = "providers=Demo-Shop%3Affffffffffffffff%3A5";

/// Held while a program is measured that wants a CPU for itself, by one test of this machine at a time.
///
/// # Panics
/// There is no temporary directory.
pub fn alone() -> File {
    let file = File::create(std::env::temp_dir().join("sideflame-tests-alone")).expect("a temporary directory");
    file.lock().expect("a file system with locks");
    file
}

/// Home of a JDK under test: where CI systems say it is, else where Debian's and Adoptium's packages put it.
///
/// # Panics
/// It is none of ours.
pub fn jdk_home(jdk: &str) -> PathBuf {
    let packaged = match jdk {
        "17" => "/usr/lib/jvm/java-17-openjdk-amd64",
        "25" => "/usr/lib/jvm/temurin-25-jdk-amd64",
        other => panic!("JDK {other} is not under test"),
    };
    std::env::var_os(format!("JAVA_HOME_{jdk}_X64")).map_or_else(|| PathBuf::from(packaged), PathBuf::from)
}

/// A running sample app.
#[derive(Debug)]
pub struct App {
    child: Child,
    /// Pid of the app itself.
    pub pid: i32,
    lines: mpsc::Receiver<String>,
}

/// A JVM command that runs `Split scenario` with `options`.
pub fn java(jdk: &str, options: &[&str], scenario: &str) -> Command {
    let mut command = Command::new(jdk_home(jdk).join("bin/java"));
    command
        .args(options)
        .arg("-cp")
        .arg(cache::file(&format!("apps/java-{jdk}")))
        .arg("demo.shop.Split");
    command.arg(scenario);
    command
}

/// A command that runs a server of .NET 10, single-file, which speaks the Model Context Protocol on its stdin and stdout and says
/// nothing unasked.
pub fn dotnet_10() -> Command {
    let mut command = Command::new(cache::file("dotnet-10/dist/azmcp"));
    command
        .args(["server", "start"])
        .env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1");
    command
}

/// A command that runs the .NET app on runtime `version` (`3.1` or `8`).
pub fn dotnet(version: &str, scenario: &str) -> Command {
    let mut command = match version {
        "3.1" => {
            let mut command = Command::new(cache::file("dotnet-3.1/dotnet"));
            command.arg(cache::file("apps/dotnet/Split.dll")).arg(scenario);
            command
        }
        "8" => {
            let mut command = Command::new(cache::file("dotnet-8/Sarif.Multitool"));
            command.env("DOTNET_STARTUP_HOOKS", cache::file("apps/dotnet/StartupHook.dll"));
            command.env("SPLIT_SCENARIO", scenario);
            command
        }
        other => panic!("no .NET {other} under test runs our code"),
    };
    command
        .env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1")
        .env("DOTNET_CLI_TELEMETRY_OPTOUT", "1");
    command
}

impl App {
    /// Starts `command` and waits for its `ready` line.
    ///
    /// # Panics
    /// It does not get ready within a minute.
    pub fn start(command: Command) -> Self {
        let mut app = Self::launch(command);
        app.wait_for("ready");
        app
    }

    /// Starts `command` without waiting.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn launch(mut command: Command) -> Self {
        // A group of its own: Ctrl-C in the terminal of the tests is for the tests.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A program that was just copied is busy for as long as another test's child, forked meanwhile, has the copy's descriptor.
        let mut child = wait("end of the copying", Duration::from_secs(5), || match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
            started => Some(started.unwrap_or_else(|error| panic!("{command:?}: {error}"))),
        });
        let pid = i32::try_from(child.id()).expect("a pid fits into i32");
        let (sender, lines) = mpsc::channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, pid, lines }
    }

    /// Waits for a line that begins with `prefix` and gives the rest of it.
    ///
    /// # Panics
    /// It does not come within a minute.
    pub fn wait_for(&mut self, prefix: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => match line.strip_prefix(prefix) {
                    Some(rest) => return rest.trim().to_owned(),
                    None => seen.push(line),
                },
                Err(error) => panic!(
                    "no line {prefix:?} of process {} ({error}); it said {seen:#?}",
                    self.pid
                ),
            }
        }
    }

    /// Everything it said on stdout and stderr since the last look.
    pub fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Sends a line to its stdin.
    ///
    /// # Panics
    /// It does not take it.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("the app lives");
    }

    /// Sends a signal. After SIGSTOP it stands still when this returns, and after SIGCONT it does no longer.
    ///
    /// # Panics
    /// The process is gone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("the app lives");
        let stopped = || threads(self.pid).iter().all(|state| *state == 'T');
        match signal {
            Signal::SIGSTOP => wait("stopped threads", Duration::from_secs(5), || stopped().then_some(())),
            Signal::SIGCONT => wait("running threads", Duration::from_secs(5), || (!stopped()).then_some(())),
            _ => {}
        }
    }

    /// Waits for its end; gives its status and what it said since the last look.
    ///
    /// # Panics
    /// It does not end within a minute.
    pub fn wait_for_end(&mut self) -> (ExitStatus, Vec<String>) {
        let status = wait("end of the process", Duration::from_secs(60), || {
            self.child.try_wait().expect("our child")
        });
        // Both streams are at their end, and the threads that read them soon will be.
        let rest = std::iter::from_fn(|| self.lines.recv_timeout(Duration::from_secs(5)).ok());
        (status, rest.collect())
    }

    /// True while it runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The state of each thread, as `/proc` has it.
fn threads(pid: i32) -> Vec<char> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the app lives");
    let stats = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    // Behind the name, which may hold anything.
    let states = stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next());
    states.collect()
}

/// `command` as user and group 1000 without capabilities, in a mount namespace of its own.
pub fn as_user(command: &Command) -> Command {
    let drop = "setpriv --reuid 1000 --regid 1000 --clear-groups --bounding-set -all --inh-caps -all";
    in_own_mounts(&format!("exec {drop}"), command)
}

/// `command` in a mount namespace of its own, after a shell script that ends with `exec`. The cache, which may lie in root's
/// home or below `/tmp`, is where the script cannot hide it and every user can read it.
pub fn in_own_mounts(script: &str, command: &Command) -> Command {
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--propagation", "private", "sh", "-c"]);
    inside
        .arg(format!("mount --bind \"$0\" {CACHE_SEEN_AT} && {script} \"$@\""))
        .arg(cache::root());
    append_moved(&mut inside, command);
    inside
}

/// Where the cache is mounted.
pub(crate) const CACHE_SEEN_AT: &str = "/mnt";

/// Appends `command` and its environment to a command that mounts the cache at [`CACHE_SEEN_AT`].
pub(crate) fn append_moved(outer: &mut Command, command: &Command) {
    let cache = cache::root();
    let moved = |text: &OsStr| text.to_string_lossy().replace(&*cache.to_string_lossy(), CACHE_SEEN_AT);
    outer
        .arg(moved(command.get_program()))
        .args(command.get_args().map(moved));
    let environment = command.get_envs();
    outer.envs(environment.filter_map(|(name, value)| Some((name, moved(value?)))));
}

/// The command of the sample app at a path below `apps`.
pub fn of_arguments(path: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(cache::file(&format!("apps/{path}")));
    command.args(arguments);
    command
}
