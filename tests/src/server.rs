//! A running `sideflame serve` on a free port.

use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Client, cache};

/// A server, ended by SIGTERM when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    client: Client,
    store: PathBuf,
    log: Arc<Mutex<String>>,
}

impl Default for Server {
    fn default() -> Self {
        Self::start(&[])
    }
}

impl Server {
    /// Starts a server with `flags` and waits until it answers.
    ///
    /// # Panics
    /// It does not within ten seconds.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_by(Command::new(cache::sideflame()), flags)
    }

    /// Starts a server by `command`, which runs the `sideflame` binary.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_by(mut command: Command, flags: &[&str]) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut store = std::env::temp_dir().join(format!("sideflame-test-{}-{number}", std::process::id()));
        if let Some(at) = flags.iter().position(|flag| *flag == "--store-dir") {
            store = PathBuf::from(flags[at + 1]);
        }
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(flags);
        if !flags.contains(&"--store-dir") {
            command.arg("--store-dir").arg(&store);
        }
        if !flags.contains(&"--async-profiler") {
            command
                .arg("--async-profiler")
                .arg(cache::file("async-profiler/linux-x64/libasyncProfiler.so"));
        }
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sideflame starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let log = Arc::new(Mutex::new(String::new()));
        let mut line = String::new();
        let url = loop {
            line.clear();
            let read = stderr.read_line(&mut line).expect("readable");
            assert!(read > 0, "the server ended: {}", log.lock().unwrap());
            log.lock().unwrap().push_str(&line);
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = entry["address"].as_str() {
                break format!("http://{address}");
            }
        };
        let copy = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = copy.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            child,
            client: Client { url },
            store,
            log,
        }
    }

    /// Pid of the server.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits into i32")
    }

    /// Pid of the child that records, while there is one.
    pub fn recorder(&self) -> Option<i32> {
        let server = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        let recorder = children.split_whitespace().find(|child| {
            std::fs::read_to_string(format!("/proc/{child}/cmdline"))
                .is_ok_and(|line| line.contains("sideflame-recorder"))
        });
        recorder?.parse().ok()
    }

    /// Its store as it sees it, also in a mount namespace of its own.
    pub fn store(&self) -> PathBuf {
        let inside = self.store.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.pid())).join(inside)
    }

    /// Lengths of the files in its store, by path.
    pub fn stored(&self) -> Vec<(PathBuf, u64)> {
        let list = |folder: &PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let captures = list(&self.store()).iter().flat_map(list).collect::<Vec<_>>();
        let files = captures.iter().flat_map(list);
        files
            .filter_map(|file| Some((file.metadata().ok()?.len(), file)))
            .map(|(length, file)| (file, length))
            .collect()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends the server a signal and waits for its end.
    ///
    /// # Panics
    /// It does not end within 20 s.
    pub fn end(&mut self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
        self.wait_until_ended();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within 20 s.
    pub fn wait_until_ended(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) {
            assert!(Instant::now() < deadline, "the server does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(20);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.store);
    }
}
