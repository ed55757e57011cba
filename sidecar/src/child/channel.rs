//! The line between the server and a child: a pair of connected sockets, frames in both directions, and the files that
//! come with the order.
//!
//! A frame is a big-endian u32, its length, and as many bytes of JSON. Sockets and not pipes: an app of the same user can open
//! a child's pipes by `/proc/PID/fd` and read or write them, but no socket. Knows no role. Called by
//! [`super::conversation`] for the server's end and by [`super::run`] for the child's.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::LengthDelimitedCodec;

use crate::descriptors;

/// The longest frame in the server's direction that is looked at: the largest finding is some ten KB.
pub(super) const LONGEST_FRAME: usize = 64 << 10;

/// The longest frame a child reads. What the server says is ours; this only bounds a mistake.
const LONGEST_ORDER: u32 = 16 << 20;

/// The server's end and the child's, with `files` (two at most) under way to the child.
pub(super) fn pair(files: &[BorrowedFd<'_>]) -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let count = u8::try_from(files.len()).map_err(io::Error::other)?;
    // Descriptors need a byte to travel with: how many there are. An empty socket has room for it.
    descriptors::send(&ours, count, files)?;
    Ok((ours, theirs.into()))
}

/// Reads and bounds frames at the server's end.
pub(super) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_length(4)
        .max_frame_length(LONGEST_FRAME)
        .new_codec()
}

/// `message` as a frame.
pub(super) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The child's end.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    files: std::vec::IntoIter<OwnedFd>,
}

impl Channel {
    /// The channel a child finds as its standard input, and the files that wait there.
    pub(super) fn of_stdin() -> io::Result<Self> {
        Self::accept(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
    }

    fn accept(stream: UnixStream) -> io::Result<Self> {
        let (count, files) = descriptors::receive(&stream)?.unwrap_or_default();
        if files.len() != usize::from(count) {
            return Err(io::Error::other("files of the order are missing"));
        }
        Ok(Self {
            stream,
            files: files.into_iter(),
        })
    }

    /// The next of the attached files.
    pub(super) fn file(&mut self) -> io::Result<File> {
        let file = self.files.next().map(File::from);
        file.ok_or_else(|| io::Error::other("a file of the order is missing"))
    }

    /// What the server says next; `None` when it hung up.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = u32::from_be_bytes(length);
        if length > LONGEST_ORDER {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut frame = Vec::new();
        let stream = Read::by_ref(&mut self.stream);
        stream.take(length.into()).read_to_end(&mut frame)?;
        Ok(Some(serde_json::from_slice(&frame)?))
    }

    /// Tells the server.
    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.stream.write_all(&frame(message)?)
    }

    /// The same channel without the files, for another part of the child.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            files: Vec::new().into_iter(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_frames_arrive_in_their_order() {
        let [mut first, second] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        first.write_all(b"recording").unwrap();
        io::Seek::rewind(&mut first).unwrap();
        let (mut server, child) = pair(&[first.as_fd(), second.as_fd()]).unwrap();
        server.write_all(&frame(&"order").unwrap()).unwrap();
        server.write_all(&frame(&7).unwrap()).unwrap();
        drop(server);

        let mut child = Channel::accept(child.into()).unwrap();
        assert_eq!(child.receive::<String>().unwrap().as_deref(), Some("order"));
        assert_eq!(child.receive::<u8>().unwrap(), Some(7));
        assert_eq!(child.receive::<u8>().unwrap(), None);
        let mut text = String::new();
        child.file().unwrap().read_to_string(&mut text).unwrap();
        child.file().unwrap().write_all(b"artifact").unwrap();
        assert_eq!((text.as_str(), second.metadata().unwrap().len()), ("recording", 8));
        assert!(child.file().is_err());
    }

    #[test]
    fn a_frame_that_announces_too_much_is_not_read() {
        let (mut server, child) = pair(&[]).unwrap();
        server.write_all(&u32::MAX.to_be_bytes()).unwrap();
        let error = Channel::accept(child.into()).unwrap().receive::<String>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
