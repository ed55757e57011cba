//! A running `sideflame serve` on a free port, and a small HTTP client.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cache;

/// A server, ended by SIGTERM when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:<port>`.
    pub url: String,
    store: PathBuf,
    log: Arc<Mutex<String>>,
}

/// An HTTP answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header, empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// The `code` of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The same answer, after a check.
    ///
    /// # Panics
    /// It is no 200.
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }
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
        let store = std::env::temp_dir().join(format!("sideflame-test-{}-{number}", std::process::id()));
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--store-dir",
            ])
            .arg(&store)
            .args(flags);
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
        Self { child, url, store, log }
    }

    /// Pid of the server.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits into i32")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[])
    }

    /// Any request without a body.
    ///
    /// # Panics
    /// The server does not answer.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.try_send(method, path, headers)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    /// Any request without a body.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(300)))
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = agent.run(request.body(()).expect("a valid request"))?;
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let mut body = Vec::new();
        answer.body_mut().as_reader().read_to_end(&mut body)?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers,
            body,
        })
    }

    /// Waits until capture `id` is in one of `phases` or statuses.
    ///
    /// # Panics
    /// It is not within 90 s: a stopped target is given up after one minute.
    pub fn wait_for(&self, id: &str, states: &[&str]) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let capture = self.get(&format!("/captures/{id}")).ok().json();
            let is = |key: &str| capture[key].as_str().is_some_and(|state| states.contains(&state));
            if is("status") || is("phase") {
                return capture;
            }
            assert!(Instant::now() < deadline, "still {capture}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts a capture by `POST /captures?query` and gives its id.
    ///
    /// # Panics
    /// It is not accepted.
    pub fn capture(&self, query: &str) -> String {
        let answer = self.send("POST", &format!("/captures?{query}"), &[]);
        assert_eq!(answer.status, 202, "{}", answer.text());
        let id = answer
            .header("location")
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        assert!(!id.is_empty());
        id
    }

    /// Sends the server a signal and waits for its end.
    ///
    /// # Panics
    /// It does not end within 20 s.
    pub fn end(&mut self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) {
            assert!(Instant::now() < deadline, "the server does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
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
