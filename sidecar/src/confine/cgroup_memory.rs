//! How much memory the container has: the limit of our own cgroup, of version 2 or 1.
//!
//! Called by [`super`].

use std::path::Path;

/// Bytes; `None` if nothing limits us or nothing can be read.
pub(super) fn limit() -> Option<u64> {
    let ours = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_of(&ours, Path::new("/sys/fs/cgroup"))
}

/// `cgroups` is `0::/path` for version 2 and lines like `4:memory:/path` for version 1 (`man 7 cgroups`).
fn limit_of(cgroups: &str, mount: &Path) -> Option<u64> {
    let limits = cgroups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (mount, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            list if list.split(',').any(|name| name == "memory") => (mount.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        let read = |folder: &Path| -> Option<u64> {
            // Version 2 says `max` where there is no limit, version 1 a number larger than any memory.
            std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
        };
        // Without a cgroup namespace the path is the node's, and only our part of the tree is mounted.
        read(&mount.join(path.trim_start_matches('/'))).or_else(|| read(&mount))
    });
    limits.min()
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
}
