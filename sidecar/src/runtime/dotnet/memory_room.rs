//! How much memory a target may still take: a session's buffers are in its memory, and it dies at its limit.
//!
//! Called by [`super::heap_snapshot`]. The files of cgroups are read where the target sees them: a sidecar has another container.

use crate::process::cgroup::number_behind;
use crate::process::{Cgroup, CgroupUsage, ProcessTable, TargetRoot};

/// Bytes that `pid` may still take by the limit of its container and the memory of the node, as far as they can be read.
pub(super) fn memory_room(table: &ProcessTable, root: &TargetRoot, pid: i32) -> Option<u64> {
    let CgroupUsage {
        memory,
        memory_limit,
        inactive_cache,
        ..
    } = Cgroup::of(table, root, pid).usage(root);
    let of_container = memory_limit.zip(memory).map(|(limit, used)| {
        // What the kernel gives back if need be is not used.
        limit.saturating_sub(used.saturating_sub(inactive_cache.unwrap_or(0)))
    });
    let of_node = std::fs::read_to_string("/proc/meminfo").ok();
    let of_node = of_node.and_then(|text| Some(number_behind(&text, "MemAvailable:")? << 10));
    of_container.into_iter().chain(of_node).min()
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
