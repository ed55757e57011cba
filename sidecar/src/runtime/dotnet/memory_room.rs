//! How much memory a target may still take: a session's buffers are in its memory, and it dies at its limit.
//!
//! Called by [`super::heap_snapshot`]. The files of cgroups are read where the target sees them: a sidecar has another container.

use std::io::Read;

use crate::process::{ProcessTable, TargetRoot};

const MOUNT: &str = "/sys/fs/cgroup";

/// Longest file of a cgroup that is read; `memory.stat` has some 2 KB.
const LONGEST: u64 = 64 << 10;

/// The files of a version: the limit, what is used, and of that what the kernel gives back if need be.
struct Files {
    limit: &'static str,
    used: &'static str,
    cache: &'static str,
}

const TWO: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    cache: "inactive_file ",
};
const ONE: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: "total_inactive_file ",
};

/// Bytes that `pid` may still take by the limit of its container and the memory of the node, as far as they can be read.
pub(super) fn memory_room(table: &ProcessTable, root: &TargetRoot, pid: i32) -> Option<u64> {
    let cgroups = std::fs::read_to_string(table.directory(pid).join("cgroup")).unwrap_or_default();
    let folders = cgroups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let path = path.trim_matches('/');
        match controllers {
            "" => Some((MOUNT.to_owned(), path, &TWO)),
            list if list.split(',').any(|name| name == "memory") => Some((format!("{MOUNT}/memory"), path, &ONE)),
            _ => None,
        }
    });
    let of_container = folders.filter_map(|(mount, path, files)| {
        // In a container of its own its part is all of the tree.
        of_folder(root, &format!("{mount}/{path}"), files).or_else(|| of_folder(root, &mount, files))
    });
    let of_node = std::fs::read_to_string("/proc/meminfo").ok();
    let of_node = of_node.and_then(|text| Some(number_behind(&text, "MemAvailable:")? << 10));
    of_container.chain(of_node).min()
}

fn of_folder(root: &TargetRoot, folder: &str, files: &Files) -> Option<u64> {
    let read = |name: &str| {
        let mut text = String::new();
        let file = root.open_file(format!("{folder}/{name}")).ok()?;
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        Some(text)
    };
    // Version 2 says `max` where there is no limit.
    let limit: u64 = read(files.limit)?.trim().parse().ok()?;
    let used: u64 = read(files.used)?.trim().parse().ok()?;
    let cache = read("memory.stat").and_then(|text| number_behind(&text, files.cache));
    Some(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))))
}

fn number_behind(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(cgroup: &str, files: &[(&str, &str)]) -> Option<u64> {
        let (root, proc, process) = TargetRoot::example();
        std::fs::write(proc.path().join("17/cgroup"), cgroup).unwrap();
        for (path, content) in files {
            let path = proc.path().join("17/root/sys/fs/cgroup").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        memory_room(&ProcessTable::at(proc.path()), &root, process.id.pid)
    }

    #[test]
    fn a_limit_leaves_what_is_not_used_and_what_the_kernel_gives_back() {
        let files = [
            ("memory.max", "1000\n"),
            ("memory.current", "700\n"),
            ("memory.stat", "anon 500\ninactive_file 150\n"),
        ];
        assert_eq!(room("0::/\n", &files), Some(450));
        assert_eq!(room("0::/not/mounted\n", &files), Some(450));
        let one = [
            ("memory/memory.limit_in_bytes", "1000"),
            ("memory/memory.usage_in_bytes", "1001"),
        ];
        assert_eq!(room("4:cpu,memory:/\n", &one), Some(0));
    }

    #[test]
    fn without_a_limit_the_memory_of_the_node_is_left() {
        let unlimited = room("0::/\n", &[("memory.max", "max\n"), ("memory.current", "700\n")]);
        assert!(unlimited.unwrap() > 1 << 20);
        assert!(room("", &[]).unwrap() > 1 << 20);
    }
}
