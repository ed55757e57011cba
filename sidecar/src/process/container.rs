//! Container ids in cgroup paths. Called by the process table.

/// The container id in the text of `/proc/PID/cgroup`, version 1 or 2.
///
/// Runtimes end the path with the 64 hexadecimal digits of the id: `…/pod<uid>/<id>` with the cgroupfs driver,
/// `…/cri-containerd-<id>.scope`, `crio-<id>.scope` or `docker-<id>.scope` with the systemd driver. With a private
/// cgroup namespace the path is `/` (or starts with `/../`) and there may be no id to find.
pub fn id_from_cgroup(text: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .flat_map(|path| path.rsplit('/'))
        .find_map(id_from_segment)
}

fn id_from_segment(segment: &str) -> Option<String> {
    let segment = segment.strip_suffix(".scope").unwrap_or(segment);
    let id = segment.rsplit('-').next().unwrap_or(segment);
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::id_from_cgroup;

    const ID: &str = "3f5c6e1d0b9a87766554433221100ffeeddccbbaa99887766554433221100abc";

    #[test]
    fn cgroup_v1_with_the_cgroupfs_driver() {
        let text = format!("12:pids:/kubepods/burstable/pod1f6a/{ID}\n11:cpu:/\n");
        assert_eq!(id_from_cgroup(&text).as_deref(), Some(ID));
    }

    #[test]
    fn cgroup_v2_with_the_systemd_driver() {
        let text =
            format!("0::/kubepods.slice/kubepods-burstable.slice/kubepods-pod1f6a.slice/cri-containerd-{ID}.scope\n");
        assert_eq!(id_from_cgroup(&text).as_deref(), Some(ID));
    }

    #[test]
    fn a_child_group_of_the_container_belongs_to_it() {
        let text = format!("0::/system.slice/docker-{ID}.scope/init\n");
        assert_eq!(id_from_cgroup(&text).as_deref(), Some(ID));
    }

    #[test]
    fn a_plain_session_has_none() {
        assert_eq!(id_from_cgroup("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
        assert_eq!(id_from_cgroup("0::/\n"), None);
        assert_eq!(id_from_cgroup(""), None);
    }
}
