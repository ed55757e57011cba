//! The processes of a node in groups, of which stacks are told apart: pod, container, name.
//!
//! A process is looked at when it is sampled first and stays what it was then: it may become another program, or be gone. Must
//! not know what is sampled. Called by [`super::collector`].

use std::collections::HashMap;

use super::node::{Node, Resident};
use crate::process::container::PodName;
use crate::process::{Container, Process, ProcessTable};

/// Processes that are remembered.
const MOST_PROCESSES: usize = 16_384;

/// Groups that are told apart.
const MOST_GROUPS: usize = 4096;

/// In the place of a pod: what is of the node itself.
const NODE: &str = "node";

/// Digits of a container's id that stand for its name.
const SHORT_ID: usize = 12;

/// What stacks are told apart by, as the first rows of a graph, the outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    /// `namespace/name`, or `node`.
    pub(super) pod: String,
    /// Its name, or what is known in its place.
    pub(super) container: String,
    /// Its name.
    pub(super) process: String,
}

/// A process that was met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Number of its group.
    pub(super) group: u32,
    /// See [`Resident::keeps_frame_pointers`].
    pub(super) keeps_frame_pointers: bool,
    /// False of a child that was not looked at yet: it has its parent's.
    looked_at: bool,
}

/// Groups so far.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    table: &'a ProcessTable,
    residents: HashMap<i32, &'a Resident>,
    containers: HashMap<&'a str, &'a Container>,
    pods: HashMap<&'a str, &'a PodName>,
    members: HashMap<i32, Member>,
    groups: Vec<Group>,
    numbers: HashMap<Group, u32>,
}

impl<'a> Groups<'a> {
    /// Of the processes of `table`, with the names in `node`.
    pub(super) fn new(table: &'a ProcessTable, node: &'a Node) -> Self {
        let containers = || node.residents.iter().map(|resident| &resident.container);
        Self {
            table,
            residents: node.residents.iter().map(|one| (one.id.pid, one)).collect(),
            containers: containers().filter_map(|one| Some((one.id.as_deref()?, one))).collect(),
            pods: containers()
                .filter_map(|one| Some((one.pod_uid.as_deref()?, one.pod.as_ref()?)))
                .collect(),
            members: HashMap::new(),
            // Number 0 is that of all for which there is no room.
            groups: vec![Group::new(
                &Container::default(),
                "[processes beyond what the recorder tells apart]",
            )],
            numbers: HashMap::new(),
        }
    }

    /// The process with this pid.
    pub(super) fn of(&mut self, pid: i32) -> Member {
        let known = self.members.get(&pid).copied();
        match known {
            Some(member) if member.looked_at => member,
            _ => {
                let member = self.look_at(pid, known);
                self.remember(pid, member);
                member
            }
        }
    }

    /// A child is what its parent is, if it is gone before it can be looked at.
    pub(super) fn forked(&mut self, pid: i32, parent: i32) {
        if pid != parent {
            let looked_at = false;
            let member = self.of(parent);
            self.remember(pid, Member { looked_at, ..member });
        }
    }

    /// Its pid may be another's from now on.
    pub(super) fn exited(&mut self, pid: i32) {
        self.members.remove(&pid);
    }

    /// All groups, by their numbers.
    pub(super) fn into_rows(self) -> Vec<Group> {
        self.groups
    }

    fn remember(&mut self, pid: i32, member: Member) {
        if self.members.len() < MOST_PROCESSES || self.members.contains_key(&pid) {
            self.members.insert(pid, member);
        }
    }

    fn look_at(&mut self, pid: i32, inherited: Option<Member>) -> Member {
        let process = self.table.get(pid);
        let resident = self.residents.get(&pid).copied();
        let resident = resident.filter(|resident| process.as_ref().is_none_or(|process| process.id == resident.id));
        let group = match (resident, process) {
            (Some(resident), _) => Group::new(&resident.container, &resident.name),
            (None, Some(process)) => self.group_of(&process),
            (None, None) => match inherited {
                Some(member) => {
                    return Member {
                        looked_at: true,
                        ..member
                    };
                }
                None => Group::new(&Container::default(), "[a process that was gone]"),
            },
        };
        Member {
            group: self.number(group),
            keeps_frame_pointers: resident.is_some_and(|resident| resident.keeps_frame_pointers),
            looked_at: true,
        }
    }

    /// Of a process that began since the server looked, whose pod the server may know by others.
    fn group_of(&self, process: &Process) -> Group {
        let mut container = process.container.clone();
        let known = container.id.as_deref().and_then(|id| self.containers.get(id));
        match (known, &container.pod_uid) {
            (Some(known), _) => container.clone_from(known),
            (None, Some(uid)) => container.pod = self.pods.get(uid.as_str()).map(|pod| (*pod).clone()),
            (None, None) => {}
        }
        if is_of_the_kernel(process) {
            // `kworker/0:1-events`: they are many, and their numbers say nothing.
            let name = process.command.split('/').next().unwrap_or_default();
            return Group {
                container: "kernel threads".to_owned(),
                ..Group::new(&container, name)
            };
        }
        Group::new(&container, &process.command)
    }

    fn number(&mut self, group: Group) -> u32 {
        if let Some(number) = self.numbers.get(&group) {
            return *number;
        }
        if self.groups.len() >= MOST_GROUPS {
            return 0;
        }
        let number = u32::try_from(self.groups.len()).unwrap_or_default();
        self.groups.push(group.clone());
        self.numbers.insert(group, number);
        number
    }
}

impl Group {
    fn new(container: &Container, process: &str) -> Self {
        let short = |id: &String| id.get(..SHORT_ID).unwrap_or(id).to_owned();
        let pod = container.pod.as_ref().map(ToString::to_string);
        let pod = pod.or_else(|| Some(format!("pod {}", container.pod_uid.as_ref()?)));
        let name = container.name.clone().or_else(|| container.id.as_ref().map(short));
        Self {
            pod: pod.unwrap_or_else(|| NODE.to_owned()),
            container: name.unwrap_or_else(|| "no container".to_owned()),
            process: process.to_owned(),
        }
    }

    /// The rows, each with what it is of.
    pub(super) fn rows(&self) -> [(&'static str, &str); 3] {
        [
            ("pod", &self.pod),
            ("container", &self.container),
            ("process", &self.process),
        ]
    }
}

/// Threads of the kernel are children of its `kthreadd`, and have no program.
fn is_of_the_kernel(process: &Process) -> bool {
    const KTHREADD: i32 = 2;
    process.executable.is_none() && (process.parent_pid == KTHREADD || process.id.pid == KTHREADD)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::runtime::{RuntimeFacts, Target};

    const ID: &str = "3f5c6e1d0b9a87766554433221100ffeeddccbbaa99887766554433221100abc";
    const UID: &str = "1f6a0c3e-8b6d-4a55-9a77-3c1e5f0a9b21";

    /// A row of `/proc`.
    fn process(proc: &Path, pid: i32, parent: i32, comm: &str, cgroup: &str) {
        let folder = proc.join(pid.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        let rest: Vec<&str> = own.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let mut fields: Vec<String> = rest.iter().map(ToString::to_string).collect();
        fields[1] = parent.to_string();
        // The 22nd field; this vector begins with the third.
        fields[19] = "7".to_owned();
        std::fs::write(folder.join("stat"), format!("{pid} ({comm}) {}\n", fields.join(" "))).unwrap();
        std::fs::copy("/proc/self/status", folder.join("status")).unwrap();
        std::fs::write(folder.join("cgroup"), cgroup).unwrap();
    }

    fn node() -> Node {
        let mut target = Target {
            process: Process::example(100),
            name: "example.com/shop".to_owned(),
            facts: RuntimeFacts::Native,
        };
        target.process.id.start_time = 7;
        target.process.container = Container {
            id: Some(ID.to_owned()),
            name: Some("app".to_owned()),
            pod_uid: Some(UID.to_owned()),
            pod: Some(PodName {
                namespace: "prod".to_owned(),
                name: "shop-1".to_owned(),
            }),
        };
        Node::of([target].iter())
    }

    fn rows(groups: &mut Groups<'_>, pid: i32) -> String {
        let number = groups.of(pid).group;
        groups.groups[number as usize].rows().map(|(_, row)| row).join(" | ")
    }

    #[test]
    fn who_began_since_the_server_looked_is_of_the_pod_that_its_cgroup_names() {
        let (proc, node) = (tempfile::tempdir().unwrap(), node());
        let table = ProcessTable::at(proc.path());
        let pod = format!("0::/kubepods/pod{UID}");
        process(proc.path(), 100, 1, "shop", &format!("{pod}/{ID}\n"));
        process(proc.path(), 101, 1, "sh", &format!("{pod}/{ID}\n"));
        process(proc.path(), 102, 1, "pause", &format!("{pod}/{}\n", "a".repeat(64)));
        process(proc.path(), 103, 1, "sshd", "0::/system.slice/ssh.service\n");
        process(proc.path(), 104, 2, "kworker/0:1-events", "0::/\n");
        process(proc.path(), 105, 1, "x", &format!("0::/{}\n", "b".repeat(64)));
        let mut groups = Groups::new(&table, &node);
        for (pid, expected) in [
            (100, "prod/shop-1 | app | example.com/shop"),
            (101, "prod/shop-1 | app | sh"),
            (102, "prod/shop-1 | aaaaaaaaaaaa | pause"),
            (103, "node | no container | sshd"),
            (104, "node | kernel threads | kworker"),
            (105, "node | bbbbbbbbbbbb | x"),
            (106, "node | no container | [a process that was gone]"),
        ] {
            assert_eq!(rows(&mut groups, pid), expected);
        }
    }

    #[test]
    fn a_process_stays_what_it_was_and_its_pid_does_not() {
        let (proc, node) = (tempfile::tempdir().unwrap(), node());
        let table = ProcessTable::at(proc.path());
        process(proc.path(), 100, 1, "shop", &format!("0::/pod{UID}/{ID}\n"));
        let mut groups = Groups::new(&table, &node);
        let shop = groups.of(100).group;
        std::fs::remove_dir_all(proc.path().join("100")).unwrap();
        assert_eq!(groups.of(100).group, shop, "of a process that is gone");
        groups.forked(200, 100);
        assert_eq!(groups.of(200).group, shop, "a child that was gone at once");
        groups.forked(201, 100);
        process(proc.path(), 201, 100, "sh", &format!("0::/pod{UID}/{ID}\n"));
        assert_eq!(rows(&mut groups, 201), "prod/shop-1 | app | sh");
        // Another process with the pid of one that the server knew.
        groups.exited(100);
        process(proc.path(), 100, 1, "cron", "0::/\n");
        let stat = std::fs::read_to_string(proc.path().join("100/stat")).unwrap();
        let later: Vec<String> = stat.split(' ').map(ToString::to_string).collect();
        let mut later = later;
        later[21] = "8".to_owned();
        std::fs::write(proc.path().join("100/stat"), later.join(" ")).unwrap();
        assert_eq!(rows(&mut groups, 100), "node | no container | cron");
    }

    #[test]
    fn a_storm_of_processes_does_not_fill_the_memory() {
        let (proc, node) = (tempfile::tempdir().unwrap(), Node::default());
        let table = ProcessTable::at(proc.path());
        let mut groups = Groups::new(&table, &node);
        for number in 0..=MOST_GROUPS {
            let group = Group::new(&Container::default(), &number.to_string());
            groups.number(group);
        }
        assert_eq!(groups.groups.len(), MOST_GROUPS);
        for pid in 1..30_000 {
            groups.forked(pid + 1, 1);
        }
        assert!(groups.members.len() <= MOST_PROCESSES);
    }
}
