//! Walks the stacks of code without frame pointers, by the tables that compilers leave for exceptions (framehop).
//!
//! Begins with registers and the bytes above the stack pointer, which are the app's and say anything: a walk ends after
//! [`DEEPEST`] frames and never reads outside of them. Code without tables (of a JIT) is walked by frame pointers. Must not
//! know names. Called by [`super::record`].

#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod tables;

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use framehop::{CacheNative, MayAllocateDuringUnwind, Module, Unwinder as _, UnwinderNative};

use super::address_spaces::AddressSpace;
use super::mapping::{Backing, FileId, Mapping};
use super::sample::Registers;
use super::symbols::Symbolizer;
use tables::{Bytes, Tables};

/// Frames of one stack; what is called deeper is cut at its root.
pub const DEEPEST: usize = 1024;

/// Tables of all files together: a renderer and the server have to live beside the recorder.
const MOST_BYTES: usize = 40 << 20;

/// The same where the processes are those of a whole node, whose stacks and names take more. Files that find no room are walked by
/// frame pointers.
const MOST_BYTES_OF_NODE: usize = 12 << 20;

/// Address spaces whose modules are put together.
const MOST_SPACES: usize = 64;

type Modules = UnwinderNative<Bytes, MayAllocateDuringUnwind>;

type Cache = CacheNative<MayAllocateDuringUnwind>;

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// At the first function of its thread.
    Whole,
    /// Where the bytes end, or where no table says how to go on.
    Cut,
}

/// Walks stacks of several processes.
pub struct Unwinder {
    cache: Cache,
    files: HashMap<FileId, Option<Rc<Tables>>>,
    bytes: usize,
    most_bytes: usize,
    /// By the version of an address space: a child has that of its parent until it maps something itself.
    modules: HashMap<u64, Modules>,
}

impl std::fmt::Debug for Unwinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unwinder")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Default for Unwinder {
    fn default() -> Self {
        Self::within(MOST_BYTES)
    }
}

impl Unwinder {
    /// For all processes of a node.
    pub fn of_node() -> Self {
        Self::within(MOST_BYTES_OF_NODE)
    }

    fn within(most_bytes: usize) -> Self {
        Self {
            cache: CacheNative::default(),
            files: HashMap::new(),
            bytes: 0,
            most_bytes,
            modules: HashMap::new(),
        }
    }

    /// Appends the return addresses of a stack to `frames`, the innermost address first.
    pub fn walk(
        &mut self,
        pid: i32,
        space: &AddressSpace,
        beginning: (Registers, &[u8]),
        files: &mut Symbolizer,
        frames: &mut Vec<u64>,
    ) -> Walk {
        if !self.modules.contains_key(&space.version()) {
            if self.modules.len() >= MOST_SPACES {
                self.modules.clear();
            }
            let unwinder = self.modules(pid, space, files);
            self.modules.insert(space.version(), unwinder);
        }
        let Some(modules) = self.modules.get(&space.version()) else {
            return Walk::Cut;
        };
        walk(modules, &mut self.cache, beginning, frames)
    }

    fn modules(&mut self, pid: i32, space: &AddressSpace, files: &mut Symbolizer) -> Modules {
        let mut unwinder = UnwinderNative::new();
        for mapping in space.mappings() {
            let Backing::File { path, id } = &mapping.backing else {
                continue;
            };
            let Some(tables) = self.tables(pid, mapping, *id, files) else {
                continue;
            };
            let name = path.to_string_lossy().into_owned();
            add(
                &mut unwinder,
                name,
                (mapping.start..mapping.end, mapping.offset),
                &tables,
            );
        }
        unwinder
    }

    fn tables(&mut self, pid: i32, mapping: &Mapping, id: FileId, files: &mut Symbolizer) -> Option<Rc<Tables>> {
        if let Some(known) = self.files.get(&id) {
            return known.clone();
        }
        let file = files.open(pid, mapping);
        let tables = file.and_then(Tables::read);
        let tables = tables
            .filter(|tables| self.bytes + tables.size() <= self.most_bytes)
            .map(Rc::new);
        self.bytes += tables.as_ref().map_or(0, |tables| tables.size());
        self.files.insert(id, tables.clone());
        tables
    }
}

/// Adds a file that is mapped at these addresses from this offset on, unless it has no code there.
fn add(modules: &mut Modules, name: String, (addresses, offset): (Range<u64>, u64), tables: &Tables) {
    if let Some(bias) = tables.bias(addresses.start, offset) {
        modules.add_module(Module::new(name, addresses, bias, tables.sections()));
    }
}

fn walk(modules: &Modules, cache: &mut Cache, (registers, stack): (Registers, &[u8]), frames: &mut Vec<u64>) -> Walk {
    let mut read = |address: u64| {
        let at = usize::try_from(address.wrapping_sub(registers.sp)).map_err(|_| ())?;
        let bytes = stack.get(at..at.checked_add(8).ok_or(())?).ok_or(())?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| ())
    };
    let mut walk = modules.iter_frames(registers.ip, of_machine(registers, modules), cache, &mut read);
    for _ in 0..DEEPEST {
        match walk.next() {
            Ok(Some(frame)) => frames.push(frame.address()),
            Ok(None) => return Walk::Whole,
            Err(_) => return Walk::Cut,
        }
    }
    Walk::Cut
}

#[cfg(target_arch = "x86_64")]
fn of_machine(registers: Registers, _: &Modules) -> framehop::UnwindRegsNative {
    framehop::UnwindRegsNative::new(registers.ip, registers.sp, registers.fp)
}

/// Return addresses may be signed in their upper bits, above the highest address that has code.
#[cfg(target_arch = "aarch64")]
fn of_machine(registers: Registers, unwinder: &Modules) -> framehop::UnwindRegsNative {
    let mask = framehop::aarch64::PtrAuthMask::from_max_known_address(unwinder.max_known_code_address());
    framehop::UnwindRegsNative::new_with_ptr_auth_mask(mask, registers.lr, registers.sp, registers.fp)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const CODE: u64 = 0x5000_0000;

    /// `leaf`, which has 48 bytes of its own, called by `deep`, which has 8, called by `_start`: see tests/data/elf/tables.cc.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn callers_are_found_where_the_tables_say_and_no_further_than_the_bytes_go() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(include_bytes!("../../../tests/data/elf/tables"))
            .unwrap();
        let tables = Tables::read(file).unwrap();
        let mut modules = Modules::default();
        add(&mut modules, "shop".to_owned(), (CODE..CODE + 0x1000, 0), &tables);
        let mut stack = [0x41; 88];
        for (at, address) in [(48, CODE + 0x181), (64, CODE + 0x1B3), (80, 0)] {
            stack[at..at + 8].copy_from_slice(&address.to_le_bytes());
        }
        let registers = Registers {
            ip: CODE + 0x110,
            sp: 0x7000,
            fp: 0,
            lr: 0,
        };
        let callers = [registers.ip, CODE + 0x181, CODE + 0x1B3];
        for (bytes, frames, end) in [
            (88, 3, Walk::Whole),
            (79, 3, Walk::Cut),
            (71, 2, Walk::Cut),
            (0, 1, Walk::Cut),
        ] {
            let mut found = Vec::new();
            let ended = walk(
                &modules,
                &mut Cache::default(),
                (registers, &stack[..bytes]),
                &mut found,
            );
            assert_eq!((&found[..], ended), (&callers[..frames], end), "{bytes} bytes");
        }
    }
}
