//! The regular files of a tar archive, piece by piece as it comes. Knows no socket and no file: bytes in, pieces out.
//!
//! POSIX ustar and what GNU and BSD tar write: headers of long names and attributes are passed over, names are not looked at.

/// A header, and what data is filled up to.
const BLOCK: usize = 512;

/// Where in an archive one is.
#[derive(Debug)]
enum State {
    /// In a header, with so many bytes of it.
    Header(Vec<u8>),
    /// In the data of an entry, which is passed on or not.
    Data { left: u64, fill: u64, is_file: bool },
    /// Behind a file, in what fills up its last block.
    Fill(u64),
    /// Behind the last entry: what follows is padding.
    End,
}

/// Takes an archive apart.
#[derive(Debug)]
pub(in crate::http) struct Tar(State);

/// A piece of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Piece<'a> {
    /// A file begins, of so many bytes.
    Begin(u64),
    /// More of it.
    Data(&'a [u8]),
    /// It is whole.
    End,
}

/// It is no archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum TarError {
    /// Bytes that are no header.
    #[error("the body is no tar archive")]
    Header,
    /// More than anybody has.
    #[error("the archive has a file whose size cannot be read")]
    Size,
}

impl Tar {
    /// At the beginning of an archive.
    pub(in crate::http) fn new() -> Self {
        Self(State::Header(Vec::new()))
    }

    /// The next piece, and `bytes` behind it; `None` when more bytes are needed.
    ///
    /// # Errors
    /// See [`TarError`].
    pub(in crate::http) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, TarError> {
        loop {
            match &mut self.0 {
                State::Header(header) => {
                    let missing = bytes.len().min(BLOCK - header.len());
                    header.extend_from_slice(taken(bytes, missing));
                    if header.len() < BLOCK {
                        return Ok(None);
                    }
                    let entry = entry(header)?;
                    self.0 = match entry {
                        None => State::End,
                        Some((size, is_file)) => State::Data {
                            left: size,
                            fill: size.next_multiple_of(BLOCK as u64) - size,
                            is_file,
                        },
                    };
                    if let Some((size, true)) = entry {
                        return Ok(Some(Piece::Begin(size)));
                    }
                }
                State::Data { left: 0, fill, is_file } => {
                    let is_file = *is_file;
                    self.0 = State::Fill(*fill);
                    if is_file {
                        return Ok(Some(Piece::End));
                    }
                }
                State::Data { left, is_file, .. } => {
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    let data = taken(bytes, usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= data.len() as u64;
                    if *is_file {
                        return Ok(Some(Piece::Data(data)));
                    }
                }
                State::Fill(0) => self.0 = State::Header(Vec::new()),
                State::Fill(left) => {
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    *left -= taken(bytes, usize::try_from(*left).unwrap_or(usize::MAX)).len() as u64;
                }
                State::End => {
                    *bytes = &[];
                    return Ok(None);
                }
            }
        }
    }

    /// Whether nothing is missing.
    pub(in crate::http) fn is_whole(&self) -> bool {
        match &self.0 {
            State::Header(header) => header.is_empty(),
            State::End => true,
            State::Data { .. } | State::Fill(_) => false,
        }
    }
}

/// The first `most` of `bytes`, which begin behind them afterwards.
fn taken<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (first, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    first
}

/// The size of an entry, and whether it is a regular file; `None` at the end of an archive.
fn entry(header: &[u8]) -> Result<Option<(u64, bool)>, TarError> {
    if header.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let field = |from: usize, to: usize| header.get(from..to).unwrap_or_default();
    // The sum is of the header with spaces in the place of the sum.
    let outside = field(0, 148).iter().chain(field(156, BLOCK));
    let sum = outside.map(|byte| u64::from(*byte)).sum::<u64>() + 8 * u64::from(b' ');
    if octal(field(148, 156)) != Some(sum) {
        return Err(TarError::Header);
    }
    let size = octal(field(124, 136)).ok_or(TarError::Size)?;
    let is_file = matches!(header.get(156), Some(b'0' | 0 | b'7'));
    Ok(Some((size, is_file)))
}

/// Digits with spaces before them, and spaces or NULs behind. At most eleven of them, so that no number is too large.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches([' ', '\0']);
    let is_octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    match digits {
        "" => Some(0),
        _ if is_octal => u64::from_str_radix(digits, 8).ok(),
        _ => None,
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::http) mod example {
    use super::BLOCK;

    /// One entry as tar writes it.
    pub(in crate::http) fn entry(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..5].copy_from_slice(b"a.txt");
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[156] = kind;
        header[257..262].copy_from_slice(b"ustar");
        header[148..156].copy_from_slice(b"        ");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header.extend_from_slice(data);
        header.resize(header.len().next_multiple_of(BLOCK), 0);
        header
    }

    /// An archive of two files, with what other entries there may be.
    pub(in crate::http) fn archive(before: &[u8], after: &[u8]) -> Vec<u8> {
        let mut archive = entry(b'x', b"30 mtime=1795219200.000000000\n");
        archive.extend(entry(b'0', before));
        archive.extend(entry(b'5', b""));
        archive.extend(entry(b'0', after));
        archive.resize(archive.len() + 2 * BLOCK, 0);
        archive
    }
}

#[cfg(test)]
mod tests {
    use super::example::{archive, entry};
    use super::*;

    /// The files of an archive that comes in pieces of `step` bytes.
    fn files(archive: &[u8], step: usize) -> Result<(Vec<Vec<u8>>, bool), TarError> {
        let (mut tar, mut files) = (Tar::new(), Vec::<Vec<u8>>::new());
        for mut bytes in archive.chunks(step) {
            while let Some(piece) = tar.next(&mut bytes)? {
                match piece {
                    Piece::Begin(_) => files.push(Vec::new()),
                    Piece::Data(data) => files.last_mut().unwrap().extend_from_slice(data),
                    Piece::End => {}
                }
            }
            assert!(bytes.is_empty());
        }
        Ok((files, tar.is_whole()))
    }

    #[test]
    fn files_come_whole_however_the_archive_is_cut() {
        let after = vec![7; 1200];
        let archive = archive(b"before", &after);
        for step in [1, 7, 511, 512, 513, 100_000] {
            let (files, whole) = files(&archive, step).unwrap();
            assert_eq!(
                (files, whole),
                (vec![b"before".to_vec(), after.clone()], true),
                "{step}"
            );
        }
    }

    #[test]
    fn a_cut_archive_is_not_whole_and_other_bytes_are_none() {
        let archive = archive(b"before", b"after");
        for end in 1..archive.len() - 1024 {
            let cut = files(&archive[..end], 4096).unwrap();
            let whole = end % 512 == 0 && cut.0.iter().all(|file| !file.is_empty());
            assert!(!cut.1 || whole, "{end}");
        }
        assert_eq!(files(&[b'a'; 600], 64), Err(TarError::Header));
        let mut huge = entry(b'0', b"");
        huge[124] = 0x80;
        assert!(files(&huge, 512).is_err());
    }
}
