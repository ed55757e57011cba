//! Reads the columns back, for tests and for `tests/fuzz`, and holds them against what they promise.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

use std::collections::BTreeMap;

use serde_json::Value;

use super::write::MAGIC;

/// The tree as a page has it.
#[derive(Debug)]
pub struct Columns {
    /// The head.
    pub head: Value,
    /// Where each row begins, and where the last one ends.
    pub row_offset: Vec<u32>,
    /// Where each node begins.
    pub start: Vec<f64>,
    /// What it has.
    pub width: Vec<f64>,
    /// Its name, by its position among the names of the head.
    pub name: Vec<u32>,
    /// The position of its parent.
    pub parent: Vec<u32>,
    /// What the stacks have that end in it.
    pub own: Vec<f64>,
    /// Of a difference what it has before and after; of one profile nothing.
    pub both: [Vec<f64>; 2],
}

impl Columns {
    /// Takes a file apart.
    ///
    /// # Panics
    /// It is none.
    pub fn of(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        assert_eq!(taken(&mut rest, 4), MAGIC);
        let length = u32::from_le_bytes(taken(&mut rest, 4).try_into().unwrap());
        assert!(length.is_multiple_of(8), "columns begin at {length}");
        let head: Value = serde_json::from_slice(taken(&mut rest, length as usize)).unwrap();
        let number = |name: &str| usize::try_from(head[name].as_u64().unwrap()).unwrap();
        let (nodes, rows) = (number("nodes"), number("rows"));
        let more = if head["base"].is_null() { 0 } else { nodes };
        let columns = Self {
            row_offset: column(&mut rest, rows + 1, u32::from_le_bytes),
            start: column(&mut rest, nodes, f64::from_le_bytes),
            width: column(&mut rest, nodes, f64::from_le_bytes),
            name: column(&mut rest, nodes, u32::from_le_bytes),
            parent: column(&mut rest, nodes, u32::from_le_bytes),
            own: column(&mut rest, nodes, f64::from_le_bytes),
            both: [(); 2].map(|()| column(&mut rest, more, f64::from_le_bytes)),
            head,
        };
        assert!(rest.is_empty(), "{} bytes behind the last column", rest.len());
        columns
    }

    /// The name of a node.
    pub fn name_of(&self, node: usize) -> &str {
        self.head["names"][self.name[node] as usize].as_str().unwrap()
    }

    /// Sees that nothing of what a page believes is broken.
    ///
    /// # Panics
    /// Something is.
    pub fn assert_sound(&self) {
        let names = self.head["names"].as_array().unwrap();
        assert_eq!(names.len(), self.head["kinds"].as_array().unwrap().len());
        assert!(names.iter().all(|name| name.as_str().unwrap().len() <= 4096));
        assert_eq!((self.parent[0], self.start[0], self.name[0]), (u32::MAX, 0.0, 0));
        assert_eq!((self.row_offset[0], self.row_offset[1]), (0, 1), "one root");
        assert_eq!(self.row_offset.last().map(|end| *end as usize), Some(self.width.len()));
        let close = |one: f64, other: f64| (one - other).abs() <= other.abs() * 1e-9;
        assert!(close(self.width[0], self.head["total"].as_u64().unwrap() as f64));
        let mut filled = self.own.clone();
        for (row, ends) in self.row_offset.windows(2).enumerate().skip(1) {
            let nodes = ends[0] as usize..ends[1] as usize;
            assert!(!nodes.is_empty(), "row {row} is empty");
            for node in nodes.clone() {
                let parent = self.parent[node] as usize;
                let before = self.row_offset[row - 1] as usize..ends[0] as usize;
                assert!(before.contains(&parent), "the parent of {node} is one row before it");
                // Where the one before it ends, or its parent begins.
                let sibling = node.checked_sub(1).filter(|before| nodes.contains(before));
                let begin = match sibling.filter(|before| self.parent[*before] as usize == parent) {
                    Some(before) => {
                        assert!(
                            self.name[before] < self.name[node],
                            "children are sorted, and each is one"
                        );
                        self.start[before] + self.width[before]
                    }
                    None => self.start[parent],
                };
                assert!(close(self.start[node], begin), "{node} begins at {begin}");
                filled[parent] += self.width[node];
            }
        }
        let mut folded = 0.0;
        for (node, filled) in filled.iter().enumerate() {
            let left = self.width[node] - filled;
            assert!(left >= -1e-9 * self.width[node], "{node} has more in it than it has");
            folded += left;
        }
        let told = self.head["folded"]["value"].as_u64().unwrap() as f64;
        assert!((folded - told).abs() <= 1e-9 * self.width[0], "{folded} and {told}");
    }

    /// What collapsed text has of the same: stacks with a value of their own.
    pub fn stacks(&self) -> BTreeMap<String, f64> {
        let mut paths: Vec<String> = Vec::new();
        let mut stacks = BTreeMap::new();
        for node in 0..self.width.len() {
            let path = match self.parent[node] {
                u32::MAX => String::new(),
                parent => match paths[parent as usize].as_str() {
                    "" => self.name_of(node).to_owned(),
                    path => format!("{path};{}", self.name_of(node)),
                },
            };
            if self.own[node] > 0.0 {
                stacks.insert(path.clone(), self.own[node]);
            }
            paths.push(path);
        }
        stacks
    }
}

fn taken<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

fn column<T, const SIZE: usize>(bytes: &mut &[u8], length: usize, of: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    let numbers = taken(bytes, length * SIZE).chunks_exact(SIZE);
    let numbers = numbers.map(|number| of(number.try_into().unwrap())).collect();
    let fill = (length * SIZE).next_multiple_of(8) - length * SIZE;
    assert!(taken(bytes, fill).iter().all(|byte| *byte == 0), "filled with zeros");
    numbers
}
