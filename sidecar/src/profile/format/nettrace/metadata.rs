//! What kinds of events a trace has: their providers, numbers and versions.
//!
//! Native events tell no fields; their layouts are known by number and version. Called by [`super::decoder`].

use super::cursor::Cursor;
use super::event_rows::EventRows;
use super::fields::{self, Field};

/// A kind of event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// What events call it.
    pub id: u32,
    /// Who writes such events.
    pub provider: String,
    /// Number among those of the provider.
    pub event: u32,
    /// Name; native events have none.
    pub name: String,
    /// Version of the event's layout.
    pub version: u32,
    /// What is in its payload; empty where the trace does not say it in a way that is understood.
    pub fields: Vec<Field>,
}

/// Longest name of a provider or an event, in bytes of the stream.
const MAX_NAME: usize = 8 << 10;

/// Hands each kind of event in a block of metadata to `each`; `None` if the block is malformed.
pub fn read(version: u32, content: &[u8], each: impl FnMut(Metadata)) -> Option<()> {
    if version < 6 {
        read_events(version, content, each)
    } else {
        read_rows(content, each)
    }
}

/// Versions 4 and 5: descriptions are payloads of events.
fn read_events(version: u32, content: &[u8], mut each: impl FnMut(Metadata)) -> Option<()> {
    let mut rows = EventRows::new(version, content)?;
    while !rows.is_empty() {
        let (_, payload) = rows.row()?;
        let mut cursor = Cursor::new(payload);
        let id = cursor.u32()?;
        let provider = cursor.utf16().filter(|name| name.len() <= MAX_NAME)?;
        let event = cursor.u32()?;
        let name = cursor.utf16().filter(|name| name.len() <= MAX_NAME)?;
        cursor.u64()?; // keywords
        let version = cursor.u32()?;
        let fields = cursor.u32().and_then(|_level| fields::read(&mut cursor));
        each(Metadata {
            id,
            provider: provider.decode(),
            event,
            name: name.decode(),
            version,
            fields: fields.unwrap_or_default(),
        });
    }
    Some(())
}

fn read_rows(content: &[u8], mut each: impl FnMut(Metadata)) -> Option<()> {
    let mut cursor = Cursor::new(content);
    let header = usize::from(cursor.u16()?);
    cursor.take(header)?;
    while !cursor.is_empty() {
        let size = usize::from(cursor.u16()?);
        let mut row = Cursor::new(cursor.take(size)?);
        let mut metadata = Metadata {
            id: row.var32()?,
            provider: row.utf8()?.into_owned(),
            event: row.var32()?,
            name: row.utf8()?.into_owned(),
            version: 0,
            fields: Vec::new(),
        };
        for _ in 0..row.u16()? {
            let size = usize::from(row.u16()?);
            row.take(size)?;
        }
        let size = usize::from(row.u16()?);
        metadata.version = version_among(Cursor::new(row.take(size)?))?;
        each(metadata);
    }
    Some(())
}

/// The version among optional properties, 0 if it is not there.
fn version_among(mut properties: Cursor<'_>) -> Option<u32> {
    const GUID: usize = 16;
    while !properties.is_empty() {
        match properties.u8()? {
            1 | 8 => _ = properties.u8()?,
            3 => _ = properties.u64()?,
            4 | 5 => _ = properties.utf8()?,
            6 => _ = (properties.utf8()?, properties.utf8()?),
            7 => _ = properties.take(GUID)?,
            9 => return properties.u8().map(u32::from),
            // Its length is not known.
            _ => break,
        }
    }
    Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::nettrace::example::{event_block, utf16};

    fn all(version: u32, content: &[u8]) -> Option<Vec<Metadata>> {
        let mut all = Vec::new();
        read(version, content, |metadata| all.push(metadata))?;
        Some(all)
    }

    fn expected(id: u32) -> Metadata {
        Metadata {
            id,
            provider: "Shop".to_owned(),
            event: 143,
            name: "Bought".to_owned(),
            version: 2,
            fields: Vec::new(),
        }
    }

    #[test]
    fn descriptions_in_events_are_read_with_their_fields() {
        const FIELDS: [u8; 12] = [1, 0, 0, 0, 9, 0, 0, 0, b'x', 0, 0, 0];
        let describe = |id: u32| {
            let mut payload = id.to_le_bytes().to_vec();
            payload.extend(utf16("Shop"));
            payload.extend(143_u32.to_le_bytes());
            payload.extend(utf16("Bought"));
            payload.extend([0; 8]);
            payload.extend(2_u32.to_le_bytes());
            payload.extend([4, 0, 0, 0]);
            payload.extend(FIELDS);
            payload
        };
        let (one, two) = (describe(1), describe(2));
        let row = |payload: &[u8]| {
            let length = u8::try_from(payload.len()).unwrap();
            [&[0x80, 0, length][..], payload].concat()
        };
        let block = event_block(&[&row(&one), &row(&two)]);
        let expected = |id| Metadata {
            fields: fields::read(&mut Cursor::new(&FIELDS)).unwrap(),
            ..expected(id)
        };
        assert_eq!(all(4, &block), Some(vec![expected(1), expected(2)]));
        assert_eq!(all(5, &block[..block.len() - 1]), None);
    }

    #[test]
    fn rows_of_version_6_are_read_and_what_is_not_known_is_skipped() {
        let row = |id: u8, properties: &[u8]| {
            let mut row = vec![id];
            row.extend(b"\x04Shop\x8f\x01\x06Bought");
            row.extend([1, 0, 3, 0, 1, b'x', 9]);
            row.extend(u16::try_from(properties.len()).unwrap().to_le_bytes());
            row.extend(properties);
            row.extend(b"more");
            [&u16::try_from(row.len()).unwrap().to_le_bytes()[..], &row].concat()
        };
        let known = row(1, &[1, 5, 3, 0, 0, 0, 0, 0, 0, 0, 0, 8, 4, 9, 2]);
        let unknown = row(2, &[77, 9, 2]);
        let block = [&[2, 0, 0xff, 0xff][..], &known, &unknown].concat();
        let without = Metadata {
            version: 0,
            ..expected(2)
        };
        assert_eq!(all(6, &block), Some(vec![expected(1), without]));
        assert_eq!(all(6, &block[..block.len() - 1]), None);
    }
}
