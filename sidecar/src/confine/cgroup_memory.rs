//! What the kernel says about the memory of our container: the figures of our own cgroup, of version 2 or 1.
//!
//! Called by [`super`].

use std::path::Path;

/// A file of each version.
struct Figure {
    two: &'static str,
    one: &'static str,
}

/// Bytes the container may have; `None` if nothing limits us or nothing can be read.
pub(super) fn limit() -> Option<u64> {
    limit_of(&ours()?, Path::new(MOUNT))
}

/// How many processes of the container the kernel has killed for want of memory.
pub(super) fn out_of_memory_kills() -> Option<u64> {
    kills_of(&ours()?, Path::new(MOUNT))
}

/// Where cgroups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

fn ours() -> Option<String> {
    std::fs::read_to_string("/proc/self/cgroup").ok()
}

fn limit_of(cgroups: &str, mount: &Path) -> Option<u64> {
    const FIGURE: Figure = Figure {
        two: "memory.max",
        one: "memory.limit_in_bytes",
    };
    // Version 2 says `max` where there is no limit, version 1 a number larger than any memory.
    figures(cgroups, mount, &FIGURE, |text| text.trim().parse().ok()).min()
}

fn kills_of(cgroups: &str, mount: &Path) -> Option<u64> {
    const FIGURE: Figure = Figure {
        two: "memory.events",
        one: "memory.oom_control",
    };
    let kills = |text: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    };
    figures(cgroups, mount, &FIGURE, kills).max()
}

/// `cgroups` is `0::/path` for version 2 and lines like `4:memory:/path` for version 1 (`man 7 cgroups`).
fn figures(
    cgroups: &str,
    mount: &Path,
    figure: &Figure,
    parse: impl Fn(&str) -> Option<u64>,
) -> impl Iterator<Item = u64> {
    cgroups.lines().filter_map(move |line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (mount, file) = match controllers {
            "" => (mount.to_owned(), figure.two),
            list if list.split(',').any(|name| name == "memory") => (mount.join("memory"), figure.one),
            _ => return None,
        };
        let read = |folder: &Path| parse(&std::fs::read_to_string(folder.join(file)).ok()?);
        // Without a cgroup namespace the path is the node's, and only our part of the tree is mounted.
        read(&mount.join(path.trim_start_matches('/'))).or_else(|| read(&mount))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = mount.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        mount
    }

    #[test]
    fn the_limit_is_found_in_both_versions_with_and_without_a_namespace() {
        let two = tree(&[("memory.max", "33554432\n"), ("pod/memory.max", "max\n")]);
        assert_eq!(limit_of("0::/\n", two.path()), Some(32 << 20));
        assert_eq!(limit_of("0::/kubepods/pod7/c\n", two.path()), Some(32 << 20));
        let one = tree(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/pod/memory.limit_in_bytes", "16777216\n"),
        ]);
        let cgroups = |path: &str| format!("9:name=systemd:/\n4:cpu,memory:{path}\n0::/\n");
        assert_eq!(limit_of(&cgroups("/pod"), one.path()), Some(16 << 20));
        assert_eq!(
            limit_of(&cgroups("/elsewhere"), one.path()),
            Some(9_223_372_036_854_771_712)
        );
    }

    #[test]
    fn nothing_to_read_is_no_limit() {
        let none = tree(&[("pod/memory.max", "max\n")]);
        assert_eq!(limit_of("0::/pod\n", none.path()), None);
        assert_eq!(limit_of("broken", none.path()), None);
    }

    #[test]
    fn kills_are_counted_in_both_versions() {
        let two = tree(&[(
            "memory.events",
            "low 0\nhigh 0\nmax 31\noom 2\noom_kill 3\noom_group_kill 1\n",
        )]);
        assert_eq!(kills_of("0::/\n", two.path()), Some(3));
        let one = tree(&[(
            "memory/pod/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
        )]);
        assert_eq!(kills_of("4:memory:/pod\n0::/\n", one.path()), Some(7));
        assert_eq!(kills_of("0::/\n", one.path()), None);
    }
}
