//! What a page reads of `GET /captures/{id}/flame`, written apart from the writer: columns of numbers behind a head of JSON.

use std::collections::BTreeMap;

use serde_json::Value;

/// The tree of a flame graph.
#[derive(Debug)]
pub struct Flame {
    /// What is known beside the numbers.
    pub head: Value,
    /// Where each row begins.
    pub row_offset: Vec<u32>,
    /// What each node has, with all below it.
    pub width: Vec<f64>,
    /// Its name, by the position in the head.
    pub name: Vec<u32>,
    /// Where its parent is.
    pub parent: Vec<u32>,
    /// What it has itself.
    pub own: Vec<f64>,
    /// Of a difference what it has before and after.
    pub both: [Vec<f64>; 2],
}

impl Flame {
    /// Of an answer's body.
    ///
    /// # Panics
    /// It is none, or longer or shorter than its head says.
    pub fn of(body: &[u8]) -> Self {
        assert_eq!(&body[..4], b"SFL1");
        let length = usize::try_from(u32::from_le_bytes(body[4..8].try_into().unwrap())).unwrap();
        let head: Value = serde_json::from_slice(&body[8..8 + length]).unwrap();
        let count = |name: &str| usize::try_from(head[name].as_u64().unwrap()).unwrap();
        let (nodes, rows) = (count("nodes"), count("rows"));
        let mut at = 8 + length;
        let mut column = |count: usize, size: usize| {
            assert_eq!(at % 8, 0, "columns are aligned");
            let bytes = &body[at..at + count * size];
            at = (at + bytes.len()).next_multiple_of(8);
            bytes
        };
        let numbers = |bytes: &[u8]| {
            let chunks = bytes.chunks_exact(4);
            chunks
                .map(|chunk| u32::from_le_bytes(chunk.try_into().unwrap()))
                .collect::<Vec<_>>()
        };
        let values = |bytes: &[u8]| {
            let chunks = bytes.chunks_exact(8);
            chunks
                .map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap()))
                .collect::<Vec<_>>()
        };
        let row_offset = numbers(column(rows + 1, 4));
        let _start = column(nodes, 8);
        let width = values(column(nodes, 8));
        let (name, parent) = (numbers(column(nodes, 4)), numbers(column(nodes, 4)));
        let own = values(column(nodes, 8));
        let more = if head["base"].is_string() { nodes } else { 0 };
        let both = [values(column(more, 8)), values(column(more, 8))];
        assert_eq!(at, body.len(), "nothing is behind the columns");
        Self {
            head,
            row_offset,
            width,
            name,
            parent,
            own,
            both,
        }
    }

    /// The name of a node.
    ///
    /// # Panics
    /// It has none.
    pub fn name_of(&self, node: usize) -> &str {
        self.head["names"][self.name[node] as usize].as_str().unwrap()
    }

    /// Share of the stacks with a function that `matches`, 0 to 1: what a page computes for a search.
    pub fn share(&self, matches: impl Fn(&str) -> bool) -> f64 {
        self.share_of(&self.width, matches)
    }

    /// The same of another column.
    pub fn share_of(&self, values: &[f64], matches: impl Fn(&str) -> bool) -> f64 {
        let names = self.head["names"].as_array().into_iter().flatten();
        let found: Vec<bool> = names.map(|name| name.as_str().is_some_and(&matches)).collect();
        let mut covered = vec![false; values.len()];
        let mut sum = 0.0;
        for node in 1..values.len() {
            let above = covered[self.parent[node] as usize];
            let is_match = found[self.name[node] as usize];
            covered[node] = above || is_match;
            if is_match && !above {
                sum += values[node];
            }
        }
        sum / values[0]
    }

    /// Stacks with what they have themselves, as in collapsed text.
    pub fn stacks(&self) -> BTreeMap<String, f64> {
        let mut paths = vec![String::new()];
        let mut stacks = BTreeMap::new();
        for node in 1..self.width.len() {
            let above = &paths[self.parent[node] as usize];
            let path = if above.is_empty() {
                self.name_of(node).to_owned()
            } else {
                format!("{above};{}", self.name_of(node))
            };
            if self.own[node] > 0.0 {
                stacks.insert(path.clone(), self.own[node]);
            }
            paths.push(path);
        }
        stacks
    }
}
