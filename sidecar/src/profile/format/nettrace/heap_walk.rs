//! The live objects of a heap by their types, from the walk that follows a full collection.
//!
//! The runtime tells of each object once, in bulks that are numbered from 0, and of the names of their types before and after.
//! They are added up by type, so that memory depends on the types and not on the objects. Called by [`super::collector`].

use hashbrown::HashMap;

use super::cursor::Cursor;
use super::sums::Sum;
use crate::profile::frame_name::UNKNOWN;
use crate::profile::strings::{StringId, Strings};
use crate::profile::{FrameKind, ModelError, Profile, ProfileBuilder, ValueType};

/// Distinct types, of objects or with a name. A large process has some ten thousand.
const MOST_TYPES: usize = 1 << 20;

/// Longest name of a type, in UTF-16 units.
const MAX_NAME: usize = 8 << 10;

/// The values of a type, as Go's heap names them.
const OBJECTS: &str = "inuse_objects";
pub(super) const BYTES: &str = "inuse_space";

/// Which part of a trace this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Before,
    Walking,
    /// Another walk, of whoever else looks at the heap, does not count.
    Over,
}

/// What a walk has added up to.
#[derive(Debug, Default)]
pub(super) struct HeapWalk {
    stage: Stage,
    /// Whether its collection was seen to end, so that nothing is missing behind the last bulk.
    ended: bool,
    /// Number of the next bulk.
    next: u32,
    /// Bulks that did not come.
    missing: u64,
    sums: HashMap<u64, Sum, ahash::RandomState>,
    total: Sum,
    names: HashMap<u64, StringId, ahash::RandomState>,
    texts: Strings,
    text: String,
    /// Bytes that survived the collection, by the collector's own count.
    survived: Option<u64>,
}

impl HeapWalk {
    /// Some objects (`GCBulkNode`); `None` if the payload is too short for what it says.
    pub(super) fn objects(&mut self, payload: &[u8], pointer_size: usize) -> Option<Result<(), ModelError>> {
        let mut cursor = Cursor::new(payload);
        let number = cursor.u32()?;
        let count = cursor.u32()?;
        cursor.u16()?; // instance of the runtime
        match self.stage {
            Stage::Over => return Some(Ok(())),
            // The end of the first walk was lost.
            Stage::Walking if number == 0 => {
                self.stage = Stage::Over;
                return Some(Ok(()));
            }
            Stage::Before | Stage::Walking => self.stage = Stage::Walking,
        }
        self.missing += u64::from(number.saturating_sub(self.next));
        self.next = number.saturating_add(1);
        for _ in 0..count {
            cursor.pointer(pointer_size)?; // address
            let size = cursor.u64()?;
            let type_id = cursor.u64()?;
            cursor.u64()?; // references
            if let Err(error) = self.add(type_id, size) {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    fn add(&mut self, type_id: u64, size: u64) -> Result<(), ModelError> {
        if self.sums.len() >= MOST_TYPES && !self.sums.contains_key(&type_id) {
            return Err(too_many_types());
        }
        for sum in [self.sums.entry(type_id).or_default(), &mut self.total] {
            sum.count += 1;
            sum.weight = sum.weight.checked_add(size).ok_or(ModelError::Overflow)?;
        }
        Ok(())
    }

    /// Names of some types (`BulkType`); `None` if the payload is too short for what it says.
    pub(super) fn types(&mut self, payload: &[u8]) -> Option<Result<(), ModelError>> {
        let mut cursor = Cursor::new(payload);
        let count = cursor.u32()?;
        cursor.u16()?; // instance of the runtime
        for _ in 0..count {
            let type_id = cursor.u64()?;
            cursor.u64()?; // module
            cursor.u64()?; // token, flags
            cursor.u8()?; // kind
            let name = cursor.utf16()?;
            let parameters = cursor.size()?;
            cursor.take(parameters.checked_mul(8)?)?;
            if name.len() > 2 * MAX_NAME {
                continue;
            }
            name.decode_into(&mut self.text);
            if self.names.len() >= MOST_TYPES && !self.names.contains_key(&type_id) {
                return Some(Err(too_many_types()));
            }
            match self.texts.intern(&self.text) {
                Ok(text) => _ = self.names.insert(type_id, text),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(()))
    }

    /// A collection has ended: that of the walk, if one has begun, as the app stands still from its start to its end.
    pub(super) fn collection_ended(&mut self) {
        if self.stage == Stage::Walking {
            self.stage = Stage::Over;
            self.ended = true;
        }
    }

    /// What the collector counted (`GCHeapStats`), which it says right after the end; `None` if the payload is too short.
    pub(super) fn counted(&mut self, payload: &[u8]) -> Option<()> {
        const GENERATIONS: usize = 4;
        let mut cursor = Cursor::new(payload);
        let mut survived = 0_u64;
        for _ in 0..GENERATIONS {
            cursor.u64()?; // its size, with the gaps
            survived = survived.saturating_add(cursor.u64()?);
        }
        // Bytes and number of what is to be finalized, three counts, the instance of the runtime.
        cursor.take(8 + 8 + 3 * 4 + 2)?;
        // From .NET 5 on, the heap of pinned objects.
        if cursor.u64().is_some() {
            survived = survived.saturating_add(cursor.u64().unwrap_or(0));
        }
        if self.ended {
            self.survived.get_or_insert(survived);
        }
        Some(())
    }

    /// The profile: a stack per type, of one frame. `None` if there was no walk.
    pub(super) fn profile(&self) -> Result<Option<Profile>, ModelError> {
        if self.total.count == 0 {
            return Ok(None);
        }
        let types = vec![ValueType::new(OBJECTS, "count"), ValueType::new(BYTES, "bytes")];
        let mut builder = ProfileBuilder::new(types)?;
        let name = |type_id: &u64| match self.names.get(type_id).map(|id| self.texts.get(*id)) {
            None | Some("") => UNKNOWN,
            Some(name) => name,
        };
        let mut rows: Vec<(&str, Sum)> = self.sums.iter().map(|(type_id, sum)| (name(type_id), *sum)).collect();
        rows.sort_unstable_by(|(one, a), (other, b)| b.weight.cmp(&a.weight).then_with(|| one.cmp(other)));
        for (name, sum) in rows {
            let frame = builder.frame(name, FrameKind::Other)?;
            let signed = |number: u64| i64::try_from(number).map_err(|_| ModelError::Overflow);
            builder.sample(&[frame], &[signed(sum.count)?, signed(sum.weight)?], &[])?;
        }
        let mut profile = builder.finish();
        profile.default_sample_type = Some(BYTES.to_owned());
        profile.recorded_samples = Some(self.total.count);
        profile.live_bytes = self.survived;
        if let Some(sentence) = self.doubt() {
            for column in [OBJECTS, BYTES] {
                profile.doubts.push((column.to_owned(), sentence.clone()));
            }
        }
        Ok(Some(profile))
    }

    /// Why the sums are less than the heap.
    fn doubt(&self) -> Option<String> {
        let seen = self.total.weight;
        match self.survived {
            // What the collector counts and what it walks through differ by a few objects that it made itself.
            Some(survived) if seen < survived - survived / 100 => Some(format!(
                "objects of {seen} of the {survived} bytes that survived the collection were seen: what did not fit into the runtime's \
                 buffers was lost"
            )),
            _ if self.missing > 0 => Some(format!("{} bulks of objects were lost", self.missing)),
            _ if !self.ended => Some("the end of the walk through the heap was lost, and perhaps more".to_owned()),
            _ => None,
        }
    }
}

fn too_many_types() -> ModelError {
    ModelError::TooLarge {
        what: "types",
        limit: MOST_TYPES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::nettrace::example::{bulk_nodes, bulk_types, heap_stats};

    fn walked(bulks: &[(u32, &[(u64, u64)])]) -> HeapWalk {
        let mut walk = HeapWalk::default();
        walk.types(&bulk_types(&[(7, "Shop.Order"), (8, "Shop.Order[]"), (9, "")]))
            .unwrap()
            .unwrap();
        for (number, objects) in bulks {
            walk.objects(&bulk_nodes(*number, objects), 8).unwrap().unwrap();
        }
        walk
    }

    fn rows(walk: &HeapWalk) -> Vec<(String, i64, i64)> {
        let profile = walk.profile().unwrap().unwrap();
        let row = |sample: crate::profile::model::Sample<'_>| {
            let location = &profile.locations()[sample.stack[0].index()];
            let function = profile.functions()[profile.lines(location)[0].function.index()];
            (
                profile.text(function.name).to_owned(),
                sample.values[0],
                sample.values[1],
            )
        };
        profile.samples().map(row).collect()
    }

    #[test]
    fn objects_are_added_up_by_the_name_of_their_type_the_largest_first() {
        let mut walk = walked(&[(0, &[(7, 24), (7, 24)]), (1, &[(8, 400), (5, 16), (9, 16), (7, 24)])]);
        walk.collection_ended();
        walk.counted(&heap_stats([400, 16, 16, 72])).unwrap();
        let named = |name: &str, objects, bytes| (name.to_owned(), objects, bytes);
        assert_eq!(
            rows(&walk),
            [
                named("Shop.Order[]", 1, 400),
                named("Shop.Order", 3, 72),
                named(UNKNOWN, 2, 32)
            ]
        );
        let profile = walk.profile().unwrap().unwrap();
        assert_eq!(
            (profile.live_bytes, profile.recorded_samples),
            (Some(504), Some(6)),
            "what was counted is kept beside what was seen"
        );
        assert_eq!(profile.doubts, []);
    }

    #[test]
    fn a_second_walk_does_not_count() {
        let mut walk = walked(&[(0, &[(7, 24)])]);
        walk.collection_ended();
        let one = rows(&walk);
        walk.objects(&bulk_nodes(0, &[(7, 24)]), 8).unwrap().unwrap();
        assert_eq!(rows(&walk), one);
        let lost_end = walked(&[(0, &[(7, 24)]), (0, &[(7, 24)]), (1, &[(7, 24)])]);
        assert_eq!(rows(&lost_end), one);
    }

    #[test]
    fn a_thin_histogram_says_so() {
        let doubts = |walk: &HeapWalk| walk.profile().unwrap().unwrap().doubts;
        let mut walk = walked(&[(0, &[(7, 99)])]);
        assert!(doubts(&walk)[0].1.contains("the end of the walk"));
        walk.collection_ended();
        walk.counted(&heap_stats([100, 0, 0, 0])).unwrap();
        assert_eq!(doubts(&walk), []);
        let mut walk = walked(&[(0, &[(7, 98)])]);
        walk.collection_ended();
        walk.counted(&heap_stats([100, 0, 0, 0])).unwrap();
        assert!(doubts(&walk)[0].1.contains("objects of 98 of the 100 bytes"));
        let mut walk = walked(&[(0, &[(7, 98)]), (3, &[(7, 2)])]);
        walk.collection_ended();
        assert!(doubts(&walk)[0].1.contains("2 bulks"));
    }

    #[test]
    fn what_the_collector_counts_of_other_collections_is_not_compared() {
        let mut walk = HeapWalk::default();
        walk.counted(&heap_stats([100, 0, 0, 0])).unwrap();
        assert_eq!(walk.survived, None);
        assert!(walk.profile().unwrap().is_none());
    }

    #[test]
    fn cut_payloads_are_none() {
        let (types, nodes, stats) = (
            bulk_types(&[(7, "Shop.Order")]),
            bulk_nodes(0, &[(7, 24)]),
            heap_stats([1, 2, 3, 4]),
        );
        for end in 0..types.len() {
            assert!(HeapWalk::default().types(&types[..end]).is_none(), "{end}");
        }
        for end in 0..nodes.len() {
            assert!(HeapWalk::default().objects(&nodes[..end], 8).is_none(), "{end}");
        }
        // .NET Core 3 has no heap of pinned objects.
        for end in 0..94 {
            assert!(HeapWalk::default().counted(&stats[..end]).is_none(), "{end}");
        }
        assert!(HeapWalk::default().counted(&stats[..94]).is_some());
        let absurd = [&u32::MAX.to_le_bytes()[..], &nodes[4..]].concat();
        assert!(HeapWalk::default().types(&absurd).is_none());
    }
}
