//! Threads that events of version 6 refer to by an index.
//!
//! Called by [`super::decoder`]. In versions 4 and 5 events have the number of the thread itself.

use hashbrown::HashMap;

use super::cursor::Cursor;

/// Threads at a time.
const MAX_THREADS: usize = 1 << 20;

/// A thread as a trace knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thread {
    /// Number that the system gave it.
    pub id: u64,
    /// Process, where the trace tells.
    pub process: Option<u64>,
}

/// Threads by their index.
#[derive(Debug, Default)]
pub struct Threads {
    rows: HashMap<u64, Thread, ahash::RandomState>,
}

impl Threads {
    /// Adds those of a block; `None` if it is malformed or there are too many.
    pub fn add(&mut self, content: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(content);
        while !cursor.is_empty() {
            let size = usize::from(cursor.u16()?);
            let mut row = Cursor::new(cursor.take(size)?);
            let index = row.var64()?;
            let mut thread = Thread {
                id: index,
                process: None,
            };
            while !row.is_empty() {
                match row.u8()? {
                    1 => _ = row.utf8()?,
                    2 => thread.process = Some(row.var64()?),
                    3 => thread.id = row.var64()?,
                    4 => _ = (row.utf8()?, row.utf8()?),
                    // Its length is not known.
                    _ => break,
                }
            }
            if self.rows.len() >= MAX_THREADS && !self.rows.contains_key(&index) {
                return None;
            }
            self.rows.insert(index, thread);
        }
        Some(())
    }

    /// The thread of an index.
    pub fn get(&self, index: u64) -> Option<Thread> {
        self.rows.get(&index).copied()
    }

    /// One has ended.
    pub fn remove(&mut self, index: u64) {
        self.rows.remove(&index);
    }

    /// Indexes are new ones from here.
    pub fn clear(&mut self) {
        self.rows.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_thread_is_known_and_the_rest_is_skipped() {
        let row = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
        let whole = [
            row(b"\x01\x01\x04main\x02\x11\x03\x12"),
            row(b"\x02\x63\xff\xff"),
            row(b"\x03"),
        ]
        .concat();
        let mut threads = Threads::default();
        threads.add(&whole).unwrap();
        let main = Thread {
            id: 18,
            process: Some(17),
        };
        assert_eq!(threads.get(1), Some(main));
        assert_eq!(threads.get(2).map(|thread| thread.id), Some(2));
        assert_eq!(threads.get(3).map(|thread| thread.id), Some(3));
        threads.remove(1);
        assert_eq!(threads.get(1), None);
        let mut cut = Threads::default();
        assert_eq!(cut.add(&whole[..5]), None);
    }
}
