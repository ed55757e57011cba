//! What the kernel counts of the cgroup of a process, and what it may use: version 1, version 2, and both at once.
//!
//! The files are read where the process sees them, through [`TargetRoot`]: a sidecar has another container, and its own
//! `/sys/fs/cgroup` shows nothing but its own. What is not there is absent. Called in children alone.
//! Source: `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/`, `man 5 proc` (`mountinfo`).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cpu_time::of_ticks;
use super::{ProcessTable, TargetRoot};

/// Longest file that is read; `memory.stat` has some 2 KB.
const LONGEST: u64 = 64 << 10;

/// Where cgroups are mounted unless the mounts say otherwise.
const CUSTOMARY: &str = "/sys/fs/cgroup";

/// How far up limits are looked for.
const DEEPEST: usize = 16;

/// Version 1 has no word for "no limit", only a number that is larger than any memory.
const NO_LIMIT: u64 = 1 << 60;

/// The folders of a process in the trees of cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup(Vec<Folder>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    /// Of version 1; none of version 2, which has all in one.
    controller: Option<String>,
    /// The part of the tree that is mounted.
    mount: PathBuf,
    path: PathBuf,
}

/// What was counted. Times of pressure: while some, and while all tasks that could run waited.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CgroupUsage {
    /// CPU time, all of it.
    pub cpu: Option<Duration>,
    /// In user mode and in the kernel.
    pub cpu_by_mode: Option<[Duration; 2]>,
    /// Periods of the CPU quota, and those in which it was used up.
    pub periods: Option<[u64; 2]>,
    /// How long tasks that wanted to run were kept from it by the quota.
    pub throttled: Option<Duration>,
    /// CPU time that may be used in a period, and the period.
    pub quota: Option<[Duration; 2]>,
    /// Bytes of memory, page cache included.
    pub memory: Option<u64>,
    /// Of these what no file backs, and what is page cache.
    pub anonymous: Option<u64>,
    /// Page cache.
    pub cache: Option<u64>,
    /// Page cache that the kernel takes back first.
    pub inactive_cache: Option<u64>,
    /// The smallest limit of memory from here up, as far as is mounted.
    pub memory_limit: Option<u64>,
    /// Processes that were killed at the limit.
    pub out_of_memory_kills: Option<u64>,
    /// Tasks.
    pub tasks: Option<u64>,
    /// Tasks that there may be.
    pub most_tasks: Option<u64>,
    /// Of `cpu`, `memory` and `io`, where the kernel measures pressure.
    pub pressure: [Option<[Duration; 2]>; 3],
}

impl Cgroup {
    /// Of the process `pid`, whose files are below `root`.
    pub fn of(table: &ProcessTable, root: &TargetRoot, pid: i32) -> Self {
        let groups = std::fs::read_to_string(table.directory(pid).join("cgroup")).unwrap_or_default();
        let mounts = table.mounts(pid).unwrap_or_default();
        let folders = groups.lines().filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let controllers: Vec<Option<String>> = match controllers {
                "" => vec![None],
                list => list.split(',').map(|name| Some(name.to_owned())).collect(),
            };
            Some(
                controllers
                    .into_iter()
                    .map(move |controller| (controller, Path::new(path))),
            )
        });
        let folders = folders.flatten().map(|(controller, path)| {
            let (mount, path) = place(&mounts, controller.as_deref(), path);
            // In a container of its own its part is all of the tree.
            let path = if root.exists(&path) { path } else { mount.clone() };
            Folder {
                controller,
                mount,
                path,
            }
        });
        Self(folders.collect())
    }

    /// What was counted until now.
    pub fn usage(&self, root: &TargetRoot) -> CgroupUsage {
        let mut usage = CgroupUsage::default();
        for folder in &self.0 {
            let at = Place { root, folder };
            match folder.controller.as_deref() {
                None => at.version_2(&mut usage),
                Some(controller) => at.version_1(controller, &mut usage),
            }
        }
        usage
    }
}

/// Where a tree is mounted, and the path in it, as the process sees them.
fn place(mounts: &str, controller: Option<&str>, path: &Path) -> (PathBuf, PathBuf) {
    let shown = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let (file_system, options) = (kind.next()?, kind.nth(1)?);
        let fits = match controller {
            None => file_system == "cgroup2",
            Some(name) => file_system == "cgroup" && options.split(',').any(|option| option == name),
        };
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let within = path.strip_prefix(root).unwrap_or(Path::new(""));
        fits.then(|| (PathBuf::from(point), Path::new(point).join(within)))
    });
    shown.unwrap_or_else(|| {
        let mount = Path::new(CUSTOMARY).join(controller.unwrap_or_default());
        let path = mount.join(path.strip_prefix("/").unwrap_or(Path::new("")));
        (mount, path)
    })
}

/// A folder, and the door to it.
struct Place<'a> {
    root: &'a TargetRoot,
    folder: &'a Folder,
}

impl Place<'_> {
    fn version_2(&self, usage: &mut CgroupUsage) {
        let microseconds = Duration::from_micros;
        if let Some(text) = self.read("cpu.stat") {
            let of = |key: &str| number_behind(&text, key);
            // A tree of version 2 beside those of version 1 has no limits, and may have another path.
            usage.cpu = usage.cpu.or(of("usage_usec ").map(microseconds));
            let modes = of("user_usec ").zip(of("system_usec "));
            let modes = modes.map(|(user, system)| [user, system].map(microseconds));
            usage.cpu_by_mode = usage.cpu_by_mode.or(modes);
            let periods = of("nr_periods ").zip(of("nr_throttled "));
            usage.periods = usage.periods.or(periods.map(|(all, throttled)| [all, throttled]));
            usage.throttled = usage.throttled.or(of("throttled_usec ").map(microseconds));
        }
        if let Some(text) = self.read("cpu.max") {
            usage.quota = quota(text.split_whitespace());
        }
        if let Some(bytes) = self.number("memory.current") {
            usage.memory = Some(bytes);
            usage.memory_limit = self.smallest("memory.max");
        }
        if let Some(text) = self.read("memory.stat") {
            usage.anonymous = number_behind(&text, "anon ");
            usage.cache = number_behind(&text, "file ");
            usage.inactive_cache = number_behind(&text, "inactive_file ");
        }
        if let Some(text) = self.read("memory.events") {
            usage.out_of_memory_kills = number_behind(&text, "oom_kill ");
        }
        self.tasks(usage);
        for (pressure, name) in usage.pressure.iter_mut().zip(["cpu", "memory", "io"]) {
            *pressure = self.read(&format!("{name}.pressure")).and_then(|text| waited(&text));
        }
    }

    fn version_1(&self, controller: &str, usage: &mut CgroupUsage) {
        match controller {
            "cpuacct" => {
                usage.cpu = self.number("cpuacct.usage").map(Duration::from_nanos);
                usage.cpu_by_mode = self.read("cpuacct.stat").and_then(|text| {
                    let of = |key: &str| of_ticks(number_behind(&text, key)?);
                    Some([of("user ")?, of("system ")?])
                });
            }
            "cpu" => {
                if let Some(text) = self.read("cpu.stat") {
                    let of = |key: &str| number_behind(&text, key);
                    let periods = of("nr_periods ").zip(of("nr_throttled "));
                    usage.periods = periods.map(|(all, throttled)| [all, throttled]);
                    usage.throttled = of("throttled_time ").map(Duration::from_nanos);
                }
                let numbers = ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|name| self.read(name));
                usage.quota = quota(numbers.iter().flatten().map(|text| text.trim()));
            }
            "memory" => {
                usage.memory = self.number("memory.usage_in_bytes");
                usage.memory_limit = self.smallest("memory.limit_in_bytes");
                if let Some(text) = self.read("memory.stat") {
                    usage.anonymous = number_behind(&text, "total_rss ");
                    usage.cache = number_behind(&text, "total_cache ");
                    usage.inactive_cache = number_behind(&text, "total_inactive_file ");
                }
                let kills = self.read("memory.oom_control");
                usage.out_of_memory_kills = kills.and_then(|text| number_behind(&text, "oom_kill "));
            }
            "pids" => self.tasks(usage),
            _ => {}
        }
    }

    fn tasks(&self, usage: &mut CgroupUsage) {
        if let Some(tasks) = self.number("pids.current") {
            usage.tasks = Some(tasks);
            usage.most_tasks = self.number("pids.max");
        }
    }

    /// The smallest limit in files of that name, from the folder up to the mount.
    fn smallest(&self, name: &str) -> Option<u64> {
        let ancestors = self.folder.path.ancestors().take(DEEPEST);
        let visible = ancestors.take_while(|folder| folder.starts_with(&self.folder.mount));
        let limits = visible.filter_map(|folder| self.read_at(folder, name)?.trim().parse().ok());
        limits.filter(|limit| *limit < NO_LIMIT).min()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.read(name)?.trim().parse().ok()
    }

    fn read(&self, name: &str) -> Option<String> {
        self.read_at(&self.folder.path, name)
    }

    fn read_at(&self, folder: &Path, name: &str) -> Option<String> {
        let mut text = String::new();
        let file = self.root.open_file(folder.join(name)).ok()?;
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        Some(text)
    }
}

/// Microseconds of quota and period; `max` and -1 are no quota.
fn quota<'a>(mut numbers: impl Iterator<Item = &'a str>) -> Option<[Duration; 2]> {
    let mut next = || Some(Duration::from_micros(numbers.next()?.parse().ok()?));
    Some([next()?, next()?])
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and `full` in the same way: microseconds.
fn waited(text: &str) -> Option<[Duration; 2]> {
    let total = |key: &str| {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(key))?;
        let total = line.split(' ').find_map(|field| field.strip_prefix("total="))?;
        total.trim().parse().ok().map(Duration::from_micros)
    };
    Some([total("some ")?, total("full ").unwrap_or_default()])
}

/// The number that follows `key` at the beginning of a line.
pub(crate) fn number_behind(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of process 17 with these files of its folder in `/proc`, and of its mount namespace.
    fn usage(groups: &str, mounts: &str, files: &[(&str, &str)]) -> CgroupUsage {
        let (root, proc, process) = TargetRoot::example();
        std::fs::write(proc.path().join("17/cgroup"), groups).unwrap();
        std::fs::write(proc.path().join("17/mountinfo"), mounts).unwrap();
        for (path, content) in files {
            let path = proc.path().join("17/root/sys/fs/cgroup").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Cgroup::of(&ProcessTable::at(proc.path()), &root, process.id.pid).usage(&root)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn version_2_is_read_where_the_container_has_it_mounted() {
        // Seen from a neighbour: both are relative to the cgroup of who looks.
        let groups = "0::/../cri-7\n";
        let mounts = "30 23 0:28 /../cri-7 /sys/fs/cgroup ro,relatime - cgroup2 cgroup rw,nsdelegate\n";
        let usage = usage(
            groups,
            mounts,
            &[
                (
                    "cpu.stat",
                    "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nnr_periods 40\nnr_throttled 4\nthrottled_usec 1000000\n",
                ),
                ("cpu.max", "50000 100000\n"),
                ("memory.current", "700\n"),
                ("memory.max", "1000\n"),
                ("memory.stat", "anon 500\nfile 160\ninactive_file 150\n"),
                ("memory.events", "low 0\nmax 31\noom 2\noom_kill 3\n"),
                ("pids.current", "7\n"),
                ("pids.max", "max\n"),
                (
                    "memory.pressure",
                    "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n",
                ),
            ],
        );
        let expected = CgroupUsage {
            cpu: Some(3 * SECOND),
            cpu_by_mode: Some([2 * SECOND, SECOND]),
            periods: Some([40, 4]),
            throttled: Some(SECOND),
            quota: Some([SECOND / 20, SECOND / 10]),
            memory: Some(700),
            anonymous: Some(500),
            cache: Some(160),
            inactive_cache: Some(150),
            memory_limit: Some(1000),
            out_of_memory_kills: Some(3),
            tasks: Some(7),
            most_tasks: None,
            pressure: [None, Some([2 * SECOND, SECOND]), None],
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn version_1_has_a_tree_for_each_controller() {
        let groups = "5:cpuacct,cpu:/kubepods/pod7/c\n4:memory:/kubepods/pod7/c\n3:pids:/kubepods/pod7/c\n1:name=systemd:/\n0::/\n";
        let mounts = "\
32 31 0:29 /kubepods/pod7/c /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
39 31 0:36 /kubepods/pod7/c /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
";
        let usage = usage(
            groups,
            mounts,
            &[
                ("cpu,cpuacct/cpuacct.usage", "3000000000\n"),
                ("cpu,cpuacct/cpuacct.stat", "user 200\nsystem 100\n"),
                (
                    "cpu,cpuacct/cpu.stat",
                    "nr_periods 40\nnr_throttled 4\nthrottled_time 1000000000\n",
                ),
                ("cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ("memory/kubepods/pod7/c/memory.usage_in_bytes", "700\n"),
                ("memory/kubepods/pod7/c/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/kubepods/pod7/memory.limit_in_bytes", "2000\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                (
                    "memory/kubepods/pod7/c/memory.stat",
                    "rss 1\ntotal_cache 160\ntotal_rss 500\ntotal_inactive_file 150\n",
                ),
                (
                    "memory/kubepods/pod7/c/memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
                ),
                ("pids/pids.current", "7\n"),
                ("pids/pids.max", "99\n"),
            ],
        );
        let expected = CgroupUsage {
            cpu: Some(3 * SECOND),
            cpu_by_mode: Some([of_ticks(200).unwrap(), of_ticks(100).unwrap()]),
            periods: Some([40, 4]),
            throttled: Some(SECOND),
            quota: None,
            memory: Some(700),
            anonymous: Some(500),
            cache: Some(160),
            inactive_cache: Some(150),
            memory_limit: Some(2000),
            out_of_memory_kills: Some(7),
            tasks: Some(7),
            most_tasks: Some(99),
            pressure: [None; 3],
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn nothing_readable_is_nothing_counted_and_no_link_is_followed() {
        assert_eq!(usage("", "", &[]), CgroupUsage::default());
        assert_eq!(usage("0::/\n:\nx", "- cgroup2 a b\n", &[]), CgroupUsage::default());
        let (root, proc, process) = TargetRoot::example();
        let folder = proc.path().join("17/root/sys/fs/cgroup");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(proc.path().join("17/cgroup"), "0::/\n").unwrap();
        std::fs::write(folder.join("real"), "700\n").unwrap();
        std::os::unix::fs::symlink("real", folder.join("memory.current")).unwrap();
        let cgroup = Cgroup::of(&ProcessTable::at(proc.path()), &root, process.id.pid);
        assert_eq!(cgroup.usage(&root).memory, None);
        std::fs::rename(folder.join("real"), folder.join("pids.current")).unwrap();
        assert_eq!(cgroup.usage(&root).tasks, Some(700));
    }
}
