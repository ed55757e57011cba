//! The addresses that were sampled, each with a number.

use ahash::AHashMap;

/// Addresses that are told apart. A big program under load has some ten thousand; an app that makes code all the time has
/// new ones with each sample.
const LIMIT: usize = 100_000;

/// A sampled address; a small number, so that stacks of them can be compared and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(u32);

impl Place {
    /// An address of which nothing will be known.
    pub const UNKNOWN: Self = Self(u32::MAX);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an address is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Space {
    /// An offset in a file, by its number.
    File(u32),
    /// An address of a process.
    Anonymous(i32),
    /// An offset in the vDSO.
    Vdso,
    /// An address of the kernel.
    Kernel,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Places {
    numbers: AHashMap<(Space, u64), Place>,
}

impl Places {
    pub(super) fn number(&mut self, space: Space, address: u64) -> Place {
        if let Some(place) = self.numbers.get(&(space, address)) {
            return *place;
        }
        let next = self.numbers.len();
        match u32::try_from(next) {
            Ok(number) if next < LIMIT => {
                self.numbers.insert((space, address), Place(number));
                Place(number)
            }
            _ => Place::UNKNOWN,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// By space, each with its addresses in order.
    pub(super) fn groups(&mut self) -> Vec<(Space, Vec<(u64, Place)>)> {
        let mut all: Vec<_> = std::mem::take(&mut self.numbers).into_iter().collect();
        all.sort_unstable_by_key(|((space, address), _)| (*space, *address));
        all.chunk_by(|((one, _), _), ((other, _), _)| one == other)
            .filter_map(|group| {
                let ((space, _), _) = group.first()?;
                let addresses = group.iter().map(|((_, address), place)| (*address, *place));
                Some((*space, addresses.collect()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_number_and_a_space_its_addresses_in_order() {
        let mut places = Places::default();
        let one = places.number(Space::File(0), 7);
        let two = places.number(Space::File(0), 3);
        let kernel = places.number(Space::Kernel, 7);
        assert_eq!(places.number(Space::File(0), 7), one);
        assert_ne!(one, kernel);
        let groups = places.groups();
        assert_eq!(
            groups,
            [
                (Space::File(0), vec![(3, two), (7, one)]),
                (Space::Kernel, vec![(7, kernel)])
            ]
        );
    }

    #[test]
    fn code_that_is_always_new_does_not_fill_the_memory() {
        let mut places = Places::default();
        for address in 0..=LIMIT as u64 {
            places.number(Space::Anonymous(1), address);
        }
        assert_eq!(places.len(), LIMIT);
        assert_eq!(places.number(Space::Anonymous(1), u64::MAX), Place::UNKNOWN);
        assert_eq!(places.number(Space::Anonymous(1), 0).index(), 0);
    }
}
