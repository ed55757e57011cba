//! What is mapped where, in each process that is sampled, at the moment of a sample.
//!
//! Begins with `/proc/PID/maps` and follows the kernel's records: processes that are forked, become other programs, load
//! libraries. Must not know what is in the files. Called by [`super::record`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;

use super::mapping::Mapping;
use super::maps;
use super::symbols::{Place, Symbolizer};
use crate::process::ProcessTable;

/// Processes that are remembered: the children of a build, of which most are gone when their samples are read.
const MOST: usize = 1024;

/// The executable ranges of one process.
#[derive(Debug, Clone, Default)]
pub struct AddressSpace {
    by_start: BTreeMap<u64, Rc<Mapping>>,
    /// Changes with every change. Two processes have the same one if the same is mapped in both.
    version: u64,
}

impl AddressSpace {
    /// The range that an address lies in.
    pub fn find(&self, address: u64) -> Option<&Rc<Mapping>> {
        let (_, mapping) = self.by_start.range(..=address).next_back()?;
        mapping.contains(address).then_some(mapping)
    }

    /// An address of the process `pid`, which has this space, to be named at the end; `is_leaf` is false for return addresses.
    pub fn place(&self, symbols: &mut Symbolizer, pid: i32, address: u64, is_leaf: bool) -> Place {
        match self.find(address) {
            Some(mapping) => symbols.user(pid, mapping, address, is_leaf),
            None => symbols.anonymous(pid, address, is_leaf),
        }
    }

    /// All of them, by address.
    pub fn mappings(&self) -> impl Iterator<Item = &Rc<Mapping>> {
        self.by_start.values()
    }

    /// What must be looked at anew when it is another one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What was there is there no more.
    fn insert(&mut self, mapping: Mapping) {
        let (start, end) = (mapping.start, mapping.end);
        if start >= end {
            return;
        }
        let below = self.by_start.range(..start).next_back();
        if let Some((&first, before)) = below
            && before.end > start
        {
            let mut rest = Vec::new();
            if before.end > end {
                rest.push(part(before, end, before.end));
            }
            rest.push(part(before, first, start));
            for part in rest {
                self.by_start.insert(part.start, Rc::new(part));
            }
        }
        let covered: Vec<u64> = self.by_start.range(start..end).map(|(start, _)| *start).collect();
        for first in covered {
            if let Some(old) = self.by_start.remove(&first)
                && old.end > end
            {
                let rest = part(&old, end, old.end);
                self.by_start.insert(end, Rc::new(rest));
            }
        }
        if self.by_start.len() < maps::MOST {
            self.by_start.insert(start, Rc::new(mapping));
        }
    }
}

/// What is left of a mapping of which other parts were replaced.
fn part(of: &Mapping, start: u64, end: u64) -> Mapping {
    Mapping {
        start,
        end,
        offset: of.offset_of(start),
        backing: of.backing.clone(),
    }
}

/// The address spaces by pid.
#[derive(Debug)]
pub struct AddressSpaces<'a> {
    table: &'a ProcessTable,
    by_pid: HashMap<i32, AddressSpace>,
    changes: u64,
    /// Processes that we may not look into.
    pub refused: usize,
}

impl<'a> AddressSpaces<'a> {
    /// Of processes of `table`.
    pub fn new(table: &'a ProcessTable) -> Self {
        Self {
            table,
            by_pid: HashMap::new(),
            changes: 0,
            refused: 0,
        }
    }

    /// That of a process; empty if it was gone before it was looked at.
    pub fn of(&mut self, pid: i32) -> &AddressSpace {
        if !self.by_pid.contains_key(&pid) {
            let mut space = self.fresh();
            let mapped = maps::read(self.table, pid).unwrap_or_else(|error| {
                self.refused += usize::from(error.kind() == io::ErrorKind::PermissionDenied);
                Vec::new()
            });
            for mapping in mapped {
                space.by_start.insert(mapping.start, Rc::new(mapping));
            }
            self.put(pid, space);
        }
        self.by_pid.entry(pid).or_default()
    }

    /// Something was mapped. A process that is not known yet is read when it is sampled.
    pub fn mapped(&mut self, pid: i32, mapping: &Mapping) {
        self.changes += 1;
        if let Some(space) = self.by_pid.get_mut(&pid) {
            space.insert(mapping.clone());
            space.version = self.changes;
        }
    }

    /// A child has what its parent has. It may be gone by the time that it is sampled.
    pub fn forked(&mut self, pid: i32, parent: i32) {
        if pid == parent {
            return;
        }
        let space = self.of(parent).clone();
        self.put(pid, space);
    }

    /// Another program, whose mappings follow.
    pub fn executed(&mut self, pid: i32) {
        let space = self.fresh();
        self.put(pid, space);
    }

    /// Its pid may be another's from now on.
    pub fn exited(&mut self, pid: i32) {
        self.by_pid.remove(&pid);
    }

    fn fresh(&mut self) -> AddressSpace {
        self.changes += 1;
        AddressSpace {
            by_start: BTreeMap::new(),
            version: self.changes,
        }
    }

    fn put(&mut self, pid: i32, space: AddressSpace) {
        if self.by_pid.len() >= MOST && !self.by_pid.contains_key(&pid) {
            let oldest = self.by_pid.iter().min_by_key(|(_, space)| space.version);
            if let Some(pid) = oldest.map(|(pid, _)| *pid) {
                self.by_pid.remove(&pid);
            }
        }
        self.by_pid.insert(pid, space);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::native::mapping::Backing;

    fn mapping(start: u64, end: u64, offset: u64) -> Mapping {
        Mapping {
            start,
            end,
            offset,
            backing: Backing::Anonymous,
        }
    }

    fn ranges(space: &AddressSpace) -> Vec<(u64, u64, u64)> {
        let range = |mapping: &Rc<Mapping>| (mapping.start, mapping.end, mapping.offset);
        space.mappings().map(range).collect()
    }

    #[test]
    fn what_is_mapped_over_another_mapping_replaces_that_part_of_it() {
        let mut space = AddressSpace::default();
        space.insert(mapping(100, 200, 1000));
        space.insert(mapping(120, 140, 0));
        assert_eq!(ranges(&space), [(100, 120, 1000), (120, 140, 0), (140, 200, 1040)]);
        space.insert(mapping(90, 130, 5));
        assert_eq!(ranges(&space), [(90, 130, 5), (130, 140, 10), (140, 200, 1040)]);
        space.insert(mapping(0, 300, 7));
        assert_eq!(ranges(&space), [(0, 300, 7)]);
        space.insert(mapping(50, 50, 7));
        assert_eq!(ranges(&space).len(), 1, "nothing is mapped at no addresses");
        assert!(space.find(300).is_none());
        assert_eq!(space.find(299).unwrap().start, 0);
    }

    #[test]
    fn children_have_what_their_parents_had_and_lose_it_by_exec() {
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir(proc.path().join("7")).unwrap();
        std::fs::write(proc.path().join("7/maps"), "1000-2000 r-xp 0 08:01 7 /bin/shop\n").unwrap();
        let table = ProcessTable::at(proc.path());
        let mut spaces = AddressSpaces::new(&table);
        spaces.forked(8, 7);
        assert!(spaces.of(8).find(0x1800).is_some(), "of a process that is gone");
        let version = spaces.of(8).version();
        spaces.mapped(8, &mapping(0x3000, 0x4000, 0));
        assert_ne!(spaces.of(8).version(), version);
        assert!(spaces.of(7).find(0x3000).is_none());
        spaces.executed(8);
        assert!(spaces.of(8).find(0x1800).is_none());
        for pid in 100..3000 {
            spaces.forked(pid, 7);
        }
        assert!(spaces.by_pid.len() <= MOST);
    }
}
