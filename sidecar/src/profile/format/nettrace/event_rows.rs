//! Events in a block: headers, compressed to differences or not, and payloads.
//!
//! Must not know what an event means. Called by [`super::decoder`]; this is the hottest loop of all reading.

use super::cursor::Cursor;

/// The header of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventHeader {
    /// What kind of event it is: a row of the metadata.
    pub metadata: u32,
    /// Counts the events of `capture_thread`.
    pub sequence: u32,
    /// Who wrote it.
    pub capture_thread: u64,
    /// The thread it tells of. Like `capture_thread` the number of a thread, in version 6 an index of its table of threads.
    pub thread: u64,
    /// Its stack, 0 for none.
    pub stack: u32,
    /// When, in ticks.
    pub time: u64,
    /// Bytes of its payload.
    payload: u32,
}

/// Bits of the first byte of a compressed header: which fields follow.
mod has {
    pub(super) const METADATA: u8 = 1;
    pub(super) const SEQUENCE: u8 = 2;
    pub(super) const THREAD: u8 = 4;
    pub(super) const STACK: u8 = 8;
    /// Activity in versions 4 and 5, a list of labels in version 6.
    pub(super) const ACTIVITY: u8 = 16;
    /// Versions 4 and 5 only.
    pub(super) const RELATED_ACTIVITY: u8 = 32;
    pub(super) const PAYLOAD: u8 = 128;
}

const GUID: usize = 16;
/// Itself, flags, and the first and last time.
const HEADER: usize = 20;
/// The high bit says that events are in order from here.
const METADATA_BITS: u32 = 0x7fff_ffff;

/// The events of one block, of events or, in versions 4 and 5, of metadata.
#[derive(Debug)]
pub struct EventRows<'a> {
    cursor: Cursor<'a>,
    version: u32,
    compressed: bool,
    header: EventHeader,
}

impl<'a> EventRows<'a> {
    /// Those of a block with this content; `None` if its header is cut.
    pub fn new(version: u32, content: &'a [u8]) -> Option<Self> {
        const COMPRESSED: u16 = 1;
        let mut cursor = Cursor::new(content);
        let size = usize::from(cursor.u16()?);
        let flags = cursor.u16()?;
        cursor.take(size.max(HEADER) - 4)?;
        Some(Self {
            cursor,
            version,
            compressed: flags & COMPRESSED != 0,
            header: EventHeader::default(),
        })
    }

    /// Whether there is no more.
    pub fn is_empty(&self) -> bool {
        self.cursor.is_empty()
    }

    /// The next event with its payload; `None` if it is cut.
    pub fn row(&mut self) -> Option<(EventHeader, &'a [u8])> {
        if self.compressed {
            self.compressed_header()?;
            let payload = self.cursor.take(self.header.payload as usize)?;
            Some((self.header, payload))
        } else {
            self.plain()
        }
    }

    fn compressed_header(&mut self) -> Option<()> {
        let Self { cursor, header, .. } = self;
        let flags = cursor.u8()?;
        let has = |bit: u8| flags & bit != 0;
        if has(has::METADATA) {
            header.metadata = cursor.var32()?;
        }
        if has(has::SEQUENCE) {
            header.sequence = header.sequence.wrapping_add(cursor.var32()?);
            header.capture_thread = cursor.var64()?;
            cursor.var32()?; // processor
        }
        if self.version >= 6 || header.metadata != 0 {
            header.sequence = header.sequence.wrapping_add(1);
        }
        if has(has::THREAD) {
            header.thread = cursor.var64()?;
        }
        if has(has::STACK) {
            header.stack = cursor.var32()?;
        }
        header.time = header.time.wrapping_add(cursor.var64()?);
        if self.version >= 6 {
            if has(has::ACTIVITY) {
                cursor.var32()?;
            }
        } else {
            for bit in [has::ACTIVITY, has::RELATED_ACTIVITY] {
                if has(bit) {
                    cursor.take(GUID)?;
                }
            }
        }
        if has(has::PAYLOAD) {
            header.payload = cursor.var32()?;
        }
        Some(())
    }

    fn plain(&mut self) -> Option<(EventHeader, &'a [u8])> {
        let size = self.cursor.size()?;
        let before = self.cursor.rest().len();
        let mut row = Cursor::new(self.cursor.take(size)?);
        let mut header = EventHeader {
            metadata: row.u32()? & METADATA_BITS,
            sequence: row.u32()?,
            ..EventHeader::default()
        };
        header.thread = row.u64()?;
        header.capture_thread = row.u64()?;
        row.u32()?; // processor
        header.stack = row.u32()?;
        header.time = row.u64()?;
        if self.version >= 6 {
            row.u32()?; // labels
        } else {
            row.take(2 * GUID)?;
        }
        header.payload = row.u32()?;
        let payload = row.take(header.payload as usize)?;
        if self.version < 6 {
            // Rows start at a multiple of 4, whether their size counts the padding or not. The block does, too.
            let padding = before.wrapping_sub(size) % 4;
            let padding = padding.min(self.cursor.rest().len());
            self.cursor.take(padding)?;
        }
        Some((header, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(flags: u16, rows: &[&[u8]]) -> Vec<u8> {
        let mut block = 20_u16.to_le_bytes().to_vec();
        block.extend(flags.to_le_bytes());
        block.extend([0; 16]);
        block.extend(rows.concat());
        block
    }

    fn read(version: u32, block: &[u8]) -> Option<Vec<(EventHeader, Vec<u8>)>> {
        let mut rows = EventRows::new(version, block)?;
        let mut events = Vec::new();
        while !rows.is_empty() {
            let (header, payload) = rows.row()?;
            events.push((header, payload.to_vec()));
        }
        Some(events)
    }

    const FIRST: &[u8] = &[0x8f, 7, 4, 200, 1, 3, 9, 5, 100, 2, b'a', b'b'];

    #[test]
    fn compressed_headers_are_differences_to_the_one_before() {
        let guids = [&[0x30, 1][..], &[0; 32], b"cd"].concat();
        let events = read(4, &block(1, &[FIRST, &[0, 10, b'x', b'y'], &guids])).unwrap();
        let header = EventHeader {
            metadata: 7,
            sequence: 5,
            capture_thread: 200,
            thread: 9,
            stack: 5,
            time: 100,
            payload: 2,
        };
        assert_eq!(events[0], (header, b"ab".to_vec()));
        let (second, third) = (&events[1], &events[2]);
        assert_eq!((second.0.sequence, second.0.time, &second.1[..]), (6, 110, &b"xy"[..]));
        assert_eq!((third.0.sequence, third.0.time, &third.1[..]), (7, 111, &b"cd"[..]));
    }

    #[test]
    fn metadata_of_versions_4_and_5_is_not_counted_and_labels_of_version_6_are_a_number() {
        let row = [0x80, 3, 1, b'm'];
        assert_eq!(read(4, &block(1, &[&row])).unwrap()[0].0.sequence, 0);
        assert_eq!(read(6, &block(1, &[&row])).unwrap()[0].0.sequence, 1);
        let labelled = [0x91, 7, 3, 200, 1, 1, b'm'];
        let events = read(6, &block(1, &[&labelled])).unwrap();
        assert_eq!((events[0].0.metadata, &events[0].1[..]), (7, &b"m"[..]));
    }

    #[test]
    fn plain_rows_are_read_too() {
        for version in [4, 6] {
            let labels: &[u8] = if version == 6 { &[0; 4] } else { &[0; 32] };
            let row = |payload: &[u8]| {
                let mut row = Vec::new();
                for word in [0x8000_0007_u32, 3] {
                    row.extend(word.to_le_bytes());
                }
                row.extend(9_u64.to_le_bytes());
                row.extend(200_u64.to_le_bytes());
                row.extend([0; 4]);
                row.extend(5_u32.to_le_bytes());
                row.extend(100_u64.to_le_bytes());
                row.extend(labels);
                row.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
                row.extend(payload);
                let mut sized = u32::try_from(row.len()).unwrap().to_le_bytes().to_vec();
                sized.extend(row);
                if version < 6 {
                    sized.resize(sized.len().next_multiple_of(4), 0);
                }
                sized
            };
            let events = read(version, &block(0, &[&row(b"abc"), &row(b""), &row(b"d")])).unwrap();
            let payloads: Vec<_> = events.iter().map(|(_, payload)| payload.as_slice()).collect();
            assert_eq!(payloads, [&b"abc"[..], b"", b"d"], "{version}");
            let header = events[2].0;
            assert_eq!((header.metadata, header.sequence, header.thread), (7, 3, 9));
            assert_eq!((header.capture_thread, header.stack, header.time), (200, 5, 100));
        }
    }

    #[test]
    fn a_cut_row_or_block_is_none() {
        let whole = block(1, &[FIRST]);
        for end in 0..whole.len() {
            let read = read(4, &whole[..end]);
            assert_eq!(read.is_some(), end == HEADER, "{end}");
        }
        assert_eq!(
            read(4, &block(1, &[&[0x80, 1, 0xff, 0xff, 0xff, 0xff, 0xf]])),
            None,
            "a payload of 4 GiB"
        );
        assert_eq!(read(4, &block(0, &[&[0xff; 4]])), None, "a row of 4 GiB");
    }
}
