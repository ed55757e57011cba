//! The stacks between two sequence points, as the stream has them.
//!
//! Called by [`super::decoder`]. Nothing else keeps addresses twice: what is interned is only what an event of use refers to.

use hashbrown::HashMap;

use super::cursor::Cursor;

/// Frames of one stack. EventPipe takes at most 100.
pub const MAX_DEPTH: usize = 16 << 10;
/// Bytes between two sequence points. EventPipe makes one every 10 MiB of events.
const MAX_BYTES: usize = 256 << 20;

/// A stack, the innermost frame first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stack<'a> {
    bytes: &'a [u8],
    pointer_size: usize,
}

impl<'a> Stack<'a> {
    /// Its addresses: where each function goes on, except the innermost, which may have been interrupted.
    pub fn addresses(self) -> impl DoubleEndedIterator<Item = u64> + use<'a> {
        // One of the two is empty.
        let (four, eight) = if self.pointer_size == 4 {
            (self.bytes, &[][..])
        } else {
            (&[][..], self.bytes)
        };
        let four = four
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
        let eight = eight.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        four.chain(eight)
    }
}

/// More than any runtime writes, or bytes that are no stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadStacks {
    /// The block is cut, or a stack has a part of an address.
    Malformed,
    /// One stack is too deep.
    TooDeep,
    /// All together are too much.
    TooMany,
}

/// Stacks by their ids.
#[derive(Debug, Default)]
pub struct StackTable {
    bytes: Vec<u8>,
    /// Start and length in `bytes`.
    places: HashMap<u32, (u32, u32), ahash::RandomState>,
    pointer_size: usize,
}

impl StackTable {
    /// An empty table of a trace with addresses of so many bytes.
    pub fn new(pointer_size: usize) -> Self {
        Self {
            pointer_size,
            ..Self::default()
        }
    }

    /// Adds those of a block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, content: &[u8]) -> Result<(), BadStacks> {
        let mut cursor = Cursor::new(content);
        let first = cursor.u32().ok_or(BadStacks::Malformed)?;
        let count = cursor.u32().ok_or(BadStacks::Malformed)?;
        for number in 0..count {
            let stack = cursor.size().and_then(|size| cursor.take(size));
            let stack = stack.filter(|stack| stack.len().is_multiple_of(self.pointer_size.max(1)));
            let stack = stack.ok_or(BadStacks::Malformed)?;
            if stack.len() / self.pointer_size.max(1) > MAX_DEPTH {
                return Err(BadStacks::TooDeep);
            }
            if self.bytes.len() + stack.len() > MAX_BYTES {
                return Err(BadStacks::TooMany);
            }
            let (Ok(start), Ok(length)) = (u32::try_from(self.bytes.len()), u32::try_from(stack.len())) else {
                return Err(BadStacks::TooMany);
            };
            self.bytes.extend_from_slice(stack);
            self.places.insert(first.wrapping_add(number), (start, length));
        }
        if cursor.is_empty() {
            Ok(())
        } else {
            Err(BadStacks::Malformed)
        }
    }

    /// The stack with this id; none has the id 0 unless a block says so.
    pub fn get(&self, id: u32) -> Option<Stack<'_>> {
        match self.places.get(&id) {
            Some(&(start, length)) => {
                let bytes = self.bytes.get(start as usize..)?.get(..length as usize)?;
                Some(Stack {
                    bytes,
                    pointer_size: self.pointer_size,
                })
            }
            None => (id == 0).then(Stack::default),
        }
    }

    /// Forgets them all: ids behind a sequence point are new ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: u32, stacks: &[&[u8]]) -> Vec<u8> {
        let mut block = first.to_le_bytes().to_vec();
        block.extend(u32::try_from(stacks.len()).unwrap().to_le_bytes());
        for stack in stacks {
            block.extend(u32::try_from(stack.len()).unwrap().to_le_bytes());
            block.extend(*stack);
        }
        block
    }

    fn addresses(table: &StackTable, id: u32) -> Option<Vec<u64>> {
        table.get(id).map(|stack| stack.addresses().collect())
    }

    #[test]
    fn stacks_are_found_until_the_next_sequence_point() {
        let mut table = StackTable::new(8);
        let two = [7_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat();
        table.add(&block(1, &[&two, b""])).unwrap();
        table.add(&block(3, &[&two[8..]])).unwrap();
        assert_eq!(addresses(&table, 1), Some(vec![7, 9]));
        assert_eq!(addresses(&table, 2), Some(vec![]));
        assert_eq!(addresses(&table, 3), Some(vec![9]));
        assert_eq!((addresses(&table, 0), addresses(&table, 4)), (Some(vec![]), None));
        table.clear();
        assert_eq!(addresses(&table, 1), None);
    }

    #[test]
    fn addresses_of_four_bytes_are_read() {
        let mut table = StackTable::new(4);
        table.add(&block(1, &[&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]])).unwrap();
        assert_eq!(addresses(&table, 1), Some(vec![1, 0xffff_ffff]));
        let from_the_root: Vec<u64> = table.get(1).unwrap().addresses().rev().collect();
        assert_eq!(from_the_root, [0xffff_ffff, 1]);
    }

    #[test]
    fn lying_blocks_are_refused_before_anything_is_allocated_for_them() {
        let add = |content: &[u8]| StackTable::new(8).add(content);
        let whole = block(1, &[&[1; 16], &[2; 8]]);
        for end in 0..whole.len() {
            assert_eq!(add(&whole[..end]), Err(BadStacks::Malformed), "{end}");
        }
        let mut many = block(1, &[&[1; 8]]);
        many[4..8].fill(0xff);
        assert_eq!(add(&many), Err(BadStacks::Malformed));
        assert_eq!(add(&block(1, &[&[1; 7]])), Err(BadStacks::Malformed));
        assert_eq!(
            add(&block(1, &[&vec![1; 8 * (MAX_DEPTH + 1)]])),
            Err(BadStacks::TooDeep)
        );
        let mut behind = whole.clone();
        behind.push(0);
        assert_eq!(add(&behind), Err(BadStacks::Malformed));
    }
}
