//! Reads little-endian values, and panics where there are none.

/// Little-endian values, one after the other.
#[derive(Debug)]
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.all.len()
    }

    /// Up to a multiple of `size`, counted from the start.
    pub(super) fn align(&mut self, size: usize) {
        self.take(self.at.next_multiple_of(size) - self.at);
    }

    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let end = self.at + count;
        let taken = self
            .all
            .get(self.at..end)
            .unwrap_or_else(|| panic!("cut: {count} bytes wanted at {} of {}", self.at, self.all.len()));
        self.at = end;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("of this length")
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("a number of more than 64 bits at {}", self.at)
    }

    /// Up to a zero, which is consumed.
    pub(super) fn utf16(&mut self) -> String {
        let units: Vec<u16> = std::iter::from_fn(|| Some(self.u16()).filter(|unit| *unit != 0)).collect();
        String::from_utf16_lossy(&units)
    }
}
