//! Files that go from one process of ours to another: a byte over a Unix socket, with descriptors attached (`SCM_RIGHTS`).
//!
//! Must not know what the byte means. Called by [`crate::child`] at both ends of a channel and by the server's end of a line, and by
//! the other end of a line in [`crate::runtime`].

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Descriptors that may travel with one byte: two recordings and the artifact made of both.
const MOST: usize = 3;

/// Sends `byte` with `files`, three at most.
///
/// # Errors
/// There are more of them, or what the socket says.
pub fn send(socket: impl AsFd, byte: u8, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    let fits = files.is_empty() || attached.push(SendAncillaryMessage::ScmRights(files));
    if files.len() > MOST || !fits {
        return Err(io::Error::other("too many files for a message"));
    }
    sendmsg(socket, &[IoSlice::new(&[byte])], &mut attached, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next byte and what came with it; `None` at the end.
///
/// # Errors
/// What the socket says.
pub fn receive(socket: impl AsFd) -> io::Result<Option<(u8, Vec<OwnedFd>)>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut attached, flags)?;
    let files = attached.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => files.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let files = files.collect();
    Ok((received.bytes > 0).then_some((byte[0], files)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_arrives_with_its_byte_and_the_end_is_none() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut talker, mut listener) = UnixStream::pair().unwrap();
        send(&ours, 7, &[listener.as_fd()]).unwrap();
        send(&ours, 8, &[]).unwrap();
        let four = [listener.as_fd(), talker.as_fd(), ours.as_fd(), theirs.as_fd()];
        assert!(send(&ours, 9, &four).is_err());
        drop(ours);
        let (byte, mut files) = receive(&theirs).unwrap().unwrap();
        assert_eq!((byte, files.len()), (7, 1));
        talker.write_all(b"x").unwrap();
        let mut heard = [0];
        UnixStream::from(files.remove(0)).read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"x");
        assert!(listener.set_nonblocking(true).is_ok() && listener.read(&mut heard).is_err());
        let (byte, files) = receive(&theirs).unwrap().unwrap();
        assert_eq!((byte, files.len()), (8, 0));
        assert!(receive(&theirs).unwrap().is_none());
    }
}
