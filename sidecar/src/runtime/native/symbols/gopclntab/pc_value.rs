//! Values that change along a function: pairs of differences, of the value and of the address.

use super::super::source::Source;

/// Pairs of one function that are read; generated functions have some ten thousand.
const PAIRS: usize = 1 << 20;

/// The value at `distance` behind the entry of a function, by the pairs at `at` of the file; -1 stands for none.
pub(super) fn value_at(source: &Source, at: u64, quantum: u32, distance: u64) -> Option<i32> {
    let mut bytes = Bytes {
        source,
        at,
        kept: [0; 64],
        used: 64,
    };
    let (mut value, mut reached) = (-1_i32, 0_u64);
    for pair in 0..PAIRS {
        let difference = bytes.number()?;
        if difference == 0 && pair != 0 {
            return None;
        }
        let signed = (difference >> 1).cast_signed() ^ -((difference & 1).cast_signed());
        value = value.wrapping_add(signed);
        reached += u64::from(bytes.number()?) * u64::from(quantum);
        if distance < reached {
            return Some(value);
        }
    }
    None
}

struct Bytes<'a> {
    source: &'a Source,
    at: u64,
    kept: [u8; 64],
    used: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        if self.used == self.kept.len() {
            // Near the end of the file there are fewer.
            let left = self.source.length().checked_sub(self.at)?;
            let length = self.kept.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let start = self.kept.len() - length;
            let fresh = self.kept.get_mut(start..).filter(|fresh| !fresh.is_empty())?;
            self.source.read(self.at, fresh).ok()?;
            self.used = start;
            self.at += length as u64;
        }
        let byte = self.kept.get(self.used).copied();
        self.used += 1;
        byte
    }

    /// Seven bits a byte, the lowest first, at most five bytes.
    fn number(&mut self) -> Option<u32> {
        let mut number = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.next()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_until_the_next_address() {
        // 10 for 4 bytes, then 8 for 300, then the end.
        let pairs = Source::example(vec![22, 4, 3, 0xac, 2, 0]);
        let at = |distance| value_at(&pairs, 0, 1, distance);
        assert_eq!(
            [at(0), at(3), at(4), at(303), at(304)],
            [Some(10), Some(10), Some(8), Some(8), None]
        );
        assert_eq!(value_at(&pairs, 0, 4, 15), Some(10));
        assert_eq!(value_at(&pairs, 3, 1, 900), None);
        assert_eq!(value_at(&pairs, 7, 1, 0), None);
        assert_eq!(value_at(&Source::example(vec![0xff; 100]), 0, 1, 0), None);
    }
}
