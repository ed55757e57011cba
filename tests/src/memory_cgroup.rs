//! A memory cgroup, of version 2 or 1: one of our own, removed when dropped, or a container's.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster;

/// A cgroup with a memory limit.
#[derive(Debug)]
pub struct MemoryCgroup {
    folder: PathBuf,
    version: u8,
    ours: bool,
}

impl MemoryCgroup {
    /// A cgroup that may have `bytes` of memory and no swap.
    ///
    /// # Panics
    /// There is no memory controller that we may use.
    pub fn new(bytes: u64) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (mount, version) = mount();
        if version == 2 {
            // What is there already stays; a failure shows below, as there is no memory.max then.
            let _ = std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
        }
        let folder = PathBuf::from(mount).join(format!("sideflame-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap_or_else(|error| {
            panic!("this test needs root and a writable memory cgroup, version 1 or 2, below {mount}: {error}")
        });
        let cgroup = Self {
            folder,
            version,
            ours: true,
        };
        cgroup.set_limit(bytes).expect("a new group takes a limit");
        let swap = if version == 2 {
            ("memory.swap.max", "0")
        } else {
            ("memory.swappiness", "0")
        };
        // Absent where the kernel counts no swap.
        if cgroup.folder.join(swap.0).exists() {
            std::fs::write(cgroup.folder.join(swap.0), swap.1).expect("a new group takes a limit");
        }
        cgroup
    }

    /// That of a running container of a pod on this machine.
    ///
    /// # Panics
    /// It is not where a kubelet with cgroup driver cgroupfs puts it.
    pub fn of_container(pod: &Value, container: &str) -> Self {
        let (mount, version) = mount();
        let class = match pod["status"]["qosClass"].as_str().unwrap_or_default() {
            "Guaranteed" => String::new(),
            class => format!("{}/", class.to_lowercase()),
        };
        let uid = pod["metadata"]["uid"].as_str().expect("a pod has a uid");
        let id = cluster::container_id(cluster::container_status(pod, container));
        let folder = PathBuf::from(format!("{mount}/kubepods/{class}pod{uid}/{id}"));
        assert!(folder.is_dir(), "no {}", folder.display());
        Self {
            folder,
            version,
            ours: false,
        }
    }

    /// Where its files are.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Bytes of memory that it may have.
    ///
    /// # Panics
    /// There is no limit.
    pub fn limit(&self) -> u64 {
        let file = self.limit_file();
        let text = std::fs::read_to_string(&file).expect("readable");
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("{}: {text}", file.display()))
    }

    /// Changes the limit.
    ///
    /// # Errors
    /// The kernel cannot reach it at once.
    pub fn set_limit(&self, bytes: u64) -> std::io::Result<()> {
        std::fs::write(self.limit_file(), bytes.to_string())
    }

    fn limit_file(&self) -> PathBuf {
        self.folder.join(if self.version == 2 {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        })
    }

    /// A command that runs `program` inside, its children too.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }

    /// How many processes the kernel has killed at the limit.
    pub fn oom_kills(&self) -> u64 {
        let file = if self.version == 2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        self.field(file, "oom_kill")
    }

    /// Bytes of memory now that no page of a file backs.
    pub fn anonymous(&self) -> u64 {
        self.field("memory.stat", if self.version == 2 { "anon" } else { "rss" })
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap();
        let mut fields = text.lines().filter_map(|line| line.split_once(' '));
        let value = fields.find(|(key, _)| *key == name).map(|(_, value)| value.trim());
        value
            .unwrap_or_else(|| panic!("no {name} in {file}: {text}"))
            .parse()
            .unwrap()
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        // Busy until the last process in it is gone for good.
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where memory cgroups are, and their version.
fn mount() -> (&'static str, u8) {
    if PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists() {
        ("/sys/fs/cgroup", 2)
    } else {
        ("/sys/fs/cgroup/memory", 1)
    }
}
