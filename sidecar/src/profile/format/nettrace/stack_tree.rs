//! All stacks of a trace as one tree, in which equal beginnings are shared.
//!
//! Called by [`super::collector`].

use hashbrown::HashTable;

use super::addresses::{AddressId, Addresses};
use super::stack_table::Stack;
use crate::profile::ModelError;

/// Frames of all distinct stacks.
const MOST: usize = 16 << 20;

/// A stack: its innermost frame.
pub(super) type StackId = u32;

/// The stack without a frame.
pub(super) const EMPTY: StackId = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    caller: StackId,
    address: AddressId,
}

/// Stacks by their ids.
#[derive(Debug)]
pub(super) struct StackTree {
    /// The first is that of the empty stack.
    nodes: Vec<Node>,
    table: HashTable<StackId>,
    hasher: ahash::RandomState,
}

impl Default for StackTree {
    fn default() -> Self {
        let root = Node { caller: 0, address: 0 };
        Self {
            nodes: vec![root],
            table: HashTable::new(),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl StackTree {
    /// The id of a stack. `interrupted` says that its innermost address is where it was stopped; else it is, as all others, where
    /// a call returns to, which may be the first byte of something else.
    pub(super) fn id(
        &mut self,
        stack: Stack<'_>,
        interrupted: bool,
        addresses: &mut Addresses,
    ) -> Result<StackId, ModelError> {
        let mut id = EMPTY;
        let mut from_root = stack.addresses().rev().peekable();
        while let Some(address) = from_root.next() {
            let exact = interrupted && from_root.peek().is_none();
            let address = if exact { address } else { address.saturating_sub(1) };
            id = self.called(id, addresses.id(address)?)?;
        }
        Ok(id)
    }

    fn called(&mut self, caller: StackId, address: AddressId) -> Result<StackId, ModelError> {
        let node = Node { caller, address };
        let Self { nodes, table, hasher } = self;
        let hash = hasher.hash_one(node);
        if let Some(&id) = table.find(hash, |&id| nodes.get(id as usize) == Some(&node)) {
            return Ok(id);
        }
        let too_many = ModelError::TooLarge {
            what: "frames of distinct stacks",
            limit: MOST,
        };
        if nodes.len() >= MOST {
            return Err(too_many);
        }
        let id = u32::try_from(nodes.len()).map_err(|_| too_many)?;
        nodes.push(node);
        table.insert_unique(hash, id, |&id| hasher.hash_one(nodes[id as usize]));
        Ok(id)
    }

    /// Addresses of a stack, the innermost first.
    pub(super) fn addresses(&self, stack: StackId) -> impl Iterator<Item = AddressId> {
        let mut next = stack;
        std::iter::from_fn(move || {
            let node = self.nodes.get(next as usize).filter(|_| next != EMPTY)?;
            next = node.caller;
            Some(node.address)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::nettrace::stack_table::StackTable;

    #[test]
    fn equal_beginnings_are_shared_and_only_an_interrupted_leaf_is_where_it_says() {
        let stack = |addresses: &[u64]| {
            let bytes: Vec<u8> = addresses.iter().flat_map(|address| address.to_le_bytes()).collect();
            let mut block = vec![1, 0, 0, 0, 1, 0, 0, 0];
            block.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            block.extend(bytes);
            let mut table = StackTable::new(8);
            table.add(&block).unwrap();
            table
        };
        let (mut tree, mut addresses) = (StackTree::default(), Addresses::default());
        let mut id =
            |stack: &StackTable, interrupted| tree.id(stack.get(1).unwrap(), interrupted, &mut addresses).unwrap();
        let (two, other) = (stack(&[20, 10]), stack(&[30, 10]));
        let ids = [id(&two, true), id(&two, true), id(&two, false), id(&other, true)];
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
        assert_eq!(id(&stack(&[]), true), EMPTY);
        let seen = |id| -> Vec<u64> { tree.addresses(id).map(|id| addresses.get(id).0).collect() };
        assert_eq!((seen(ids[0]), seen(ids[2])), (vec![20, 9], vec![19, 9]));
        assert_eq!(seen(ids[3]), [30, 9]);
        assert_eq!(seen(EMPTY), Vec::<u64>::new());
        assert_eq!(tree.nodes.len(), 1 + 1 + 3, "the caller is there once");
    }
}
