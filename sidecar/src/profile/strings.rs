//! Every distinct string of a profile once, in one allocation.
//!
//! A profile of a million lines repeats a few thousand names. Knows nothing of profiles; the builder is its only user.

use hashbrown::HashTable;

use super::builder::ModelError;

/// Total bytes of distinct strings. No honest profile comes near; a hostile one stops here.
const MAX_BYTES: usize = 256 << 20;

/// A string of one [`Strings`] table. 0 is the empty string, as in `profile.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct StringId(u32);

impl StringId {
    /// Position in the table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An append-only table of distinct strings.
#[derive(Debug, Clone)]
pub struct Strings {
    text: String,
    /// End of each string in `text`; it starts where its predecessor ends.
    ends: Vec<u32>,
    table: HashTable<StringId>,
    /// Keyed at random per process, because the names come from the target.
    hasher: ahash::RandomState,
}

impl Default for Strings {
    fn default() -> Self {
        let hasher = ahash::RandomState::new();
        let mut table = HashTable::new();
        table.insert_unique(hasher.hash_one(""), StringId(0), |_| 0);
        Self {
            text: String::new(),
            ends: vec![0],
            table,
            hasher,
        }
    }
}

impl Strings {
    /// The id of `text`, which is added if it is new.
    ///
    /// # Errors
    /// The table is full.
    pub fn intern(&mut self, text: &str) -> Result<StringId, ModelError> {
        let hash = self.hasher.hash_one(text);
        if let Some(&id) = self.table.find(hash, |&id| slice(&self.text, &self.ends, id) == text) {
            return Ok(id);
        }
        let too_large = ModelError::TooLarge {
            what: "bytes of names",
            limit: MAX_BYTES,
        };
        let end = self.text.len() + text.len();
        if end > MAX_BYTES {
            return Err(too_large);
        }
        let (Ok(index), Ok(end)) = (u32::try_from(self.ends.len()), u32::try_from(end)) else {
            return Err(too_large);
        };
        self.text.push_str(text);
        self.ends.push(end);
        let id = StringId(index);
        let Self {
            text,
            ends,
            table,
            hasher,
        } = self;
        table.insert_unique(hash, id, |&id| hasher.hash_one(slice(text, ends, id)));
        Ok(id)
    }

    /// The id of `text`, if it is there.
    pub fn find(&self, text: &str) -> Option<StringId> {
        let hash = self.hasher.hash_one(text);
        self.table
            .find(hash, |&id| slice(&self.text, &self.ends, id) == text)
            .copied()
    }

    /// The string; empty for an id of another table.
    pub fn get(&self, id: StringId) -> &str {
        slice(&self.text, &self.ends, id)
    }

    /// All strings in the order of their ids, the empty one first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.text[start as usize..end as usize])
    }

    /// How many strings there are, the empty one included.
    pub fn count(&self) -> usize {
        self.ends.len()
    }
}

fn slice<'a>(text: &'a str, ends: &[u32], id: StringId) -> &'a str {
    let index = id.index();
    let start = if index == 0 {
        0
    } else {
        ends.get(index - 1).copied().unwrap_or(0)
    };
    let end = ends.get(index).copied().unwrap_or(start);
    text.get(start as usize..end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_an_id_and_empty_is_zero() {
        let mut strings = Strings::default();
        assert_eq!(strings.intern("").unwrap().index(), 0);
        let first = strings.intern("a").unwrap();
        for i in 0..1000 {
            strings.intern(&i.to_string()).unwrap();
        }
        assert_eq!(strings.intern("a").unwrap(), first);
        assert_eq!(strings.get(first), "a");
        assert_eq!(strings.count(), 1002);
        assert_eq!(strings.iter().nth(2), Some("0"));
    }

    #[test]
    fn an_id_of_another_table_is_empty() {
        assert_eq!(Strings::default().get(StringId(7)), "");
    }
}
