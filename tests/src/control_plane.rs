//! A real etcd, API server and controller manager on loopback, one set per test program, and a client for
//! them or for any other.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cache;

/// The control plane of this test program. It ends when the program does, however that happens: the script
/// that runs it waits on a pipe from here.
#[derive(Debug)]
pub struct ControlPlane {
    _supervisor: Option<Child>,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The API over plain HTTP as the administrator.
    url: String,
    agent: ureq::Agent,
}

/// What the API server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Texts of the `Warning` headers, as kubectl would print them.
    pub warnings: Vec<String>,
    /// The object, the list or the `Status`.
    pub body: Value,
}

/// What a command line tool said.
#[derive(Debug, Clone)]
pub struct Said {
    /// It exited with 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error, where kubectl prints warnings.
    pub stderr: String,
}

impl Reply {
    /// The same reply, after a check.
    ///
    /// # Panics
    /// It is no success.
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.body);
        self
    }

    /// The webhook that the API server could not call, where its policy is `Fail`; `None` for a success.
    ///
    /// # Panics
    /// It failed for another reason.
    pub fn uncalled_webhook(&self) -> Option<String> {
        if self.status < 300 {
            return None;
        }
        let message = self.body["message"].as_str().unwrap_or_default();
        let rest = message.split("failed calling webhook \"").nth(1);
        let rest = rest.unwrap_or_else(|| panic!("{}", self.body));
        rest.split('"').next().map(str::to_owned)
    }
}

impl Said {
    /// The same, after a check.
    ///
    /// # Panics
    /// The tool failed.
    pub fn ok(self) -> Self {
        assert!(self.success, "{}\n{}", self.stderr, self.stdout);
        self
    }
}

impl ControlPlane {
    /// Starts it at the first call; 10 s.
    ///
    /// # Panics
    /// It does not come up.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let mut supervisor = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rig/control_plane.sh"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("control_plane.sh starts");
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("readable");
        let mut words = line.split_whitespace();
        let (Some("ready"), Some(kubeconfig), Some(url)) = (words.next(), words.next(), words.next()) else {
            panic!("control_plane.sh failed; it said why above");
        };
        let plane = Self::running(kubeconfig.into(), url.to_owned());
        Self {
            _supervisor: Some(supervisor),
            ..plane
        }
    }

    /// A client for one that runs already; `url` is its API over plain HTTP.
    pub fn running(kubeconfig: PathBuf, url: String) -> Self {
        Self {
            _supervisor: None,
            kubeconfig,
            url,
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(60)))
                .build()
                .into(),
        }
    }

    /// `address:port` of the API over plain HTTP as the administrator.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Any request; `body` is JSON of the given content type.
    ///
    /// # Panics
    /// The API server does not answer.
    pub fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Reply {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", content_type)
            .body(body.to_vec())
            .expect("a valid request");
        let mut answer = self
            .agent
            .run(request)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let warnings = answer.headers().get_all("warning");
        let warnings = warnings
            .iter()
            .map(|value| {
                // RFC 9111: 299 - "text", quotes escaped.
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                let quoted = text.splitn(3, ' ').nth(2).unwrap_or(&text).to_owned();
                quoted.trim_matches('"').replace("\\\"", "\"")
            })
            .collect();
        let mut text = Vec::new();
        answer
            .body_mut()
            .as_reader()
            .read_to_end(&mut text)
            .expect("a whole answer");
        Reply {
            status: answer.status().as_u16(),
            warnings,
            body: serde_json::from_slice(&text)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into_owned())),
        }
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "application/json", b"")
    }

    /// `POST` of an object to a collection.
    pub fn create(&self, path: &str, object: &Value) -> Reply {
        self.send("POST", path, "application/json", object.to_string().as_bytes())
    }

    /// A merge patch.
    pub fn patch(&self, path: &str, patch: &Value) -> Reply {
        self.send(
            "PATCH",
            path,
            "application/merge-patch+json",
            patch.to_string().as_bytes(),
        )
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, "application/json", b"")
    }

    /// Runs kubectl as the administrator, with `input` on its standard input.
    pub fn kubectl<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I, input: &str) -> Said {
        self.tool("kube/kubectl", arguments, input)
    }

    /// Runs helm as the administrator.
    pub fn helm<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Said {
        self.tool("helm/helm", arguments, "")
    }

    fn tool<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, tool: &str, arguments: I, input: &str) -> Said {
        let mut child = Command::new(cache::file(tool))
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{tool}: {error}"));
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_owned();
        // From a thread: a tool that answers while it reads would else block on a full pipe.
        std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("the tool ends");
        Said {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A new namespace in which pods can be created.
    ///
    /// # Panics
    /// It is not ready within half a minute.
    pub fn namespace(&'static self, labels: &Value) -> Namespace {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // The pid: test programs that run at the same time may share a cluster.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}", std::process::id());
        let metadata = json!({"name": name, "labels": labels});
        self.create("/api/v1/namespaces", &json!({"metadata": metadata})).ok();
        // Made by the controller manager; the API server refuses pods until it is there.
        wait("default service account", Duration::from_secs(30), || {
            let path = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
            (self.get(&path).status == 200).then_some(())
        });
        Namespace { name, plane: self }
    }
}

/// A namespace of one test, deleted with everything in it when dropped.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    plane: &'static ControlPlane,
}

impl Namespace {
    /// Path of a collection or object of the core group.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.name)
    }

    /// Path of a collection or object of another group, such as `apps/v1`.
    pub fn path_in(&self, group: &str, rest: &str) -> String {
        format!("/apis/{group}/namespaces/{}/{rest}", self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.plane.delete(&format!("/api/v1/namespaces/{}", self.name));
    }
}

/// Polls until `probe` gives a value.
///
/// # Panics
/// It does not within `limit`.
pub fn wait<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "no {what} within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
