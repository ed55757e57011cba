//! A child's end of a line to the server, by which it gets connections of one runtime that calls by itself.
//!
//! Each command takes a connection for itself, and the runtime connects anew once it has one: so they are asked for one by one.
//! The child says a byte; the server answers with a byte and a connection, or without one when the runtime is gone. Which
//! runtime that is stands fast when the line is made: whoever takes over a child gets no other's. Called by [`super::client`].

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::descriptors;

/// The line.
#[derive(Debug)]
pub struct Line {
    socket: UnixStream,
    /// An answer is due.
    asked: AtomicBool,
}

impl Line {
    /// The line whose end this descriptor is.
    ///
    /// # Errors
    /// It is no socket.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        let socket = UnixStream::from(end);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            asked: AtomicBool::new(false),
        })
    }

    /// The next connection, if it is there already.
    ///
    /// # Errors
    /// `WouldBlock` means later: wait until the line can be read. `NotConnected` means that the runtime is gone.
    pub fn connection(&self) -> io::Result<UnixStream> {
        if !self.asked.load(Ordering::Relaxed) {
            (&self.socket).write_all(&[1])?;
            self.asked.store(true, Ordering::Relaxed);
        }
        let answer = descriptors::receive(&self.socket)?;
        self.asked.store(false, Ordering::Relaxed);
        let connection = answer.and_then(|(_, files)| files.into_iter().next());
        connection
            .map(UnixStream::from)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the runtime does not call any more"))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn one_connection_is_asked_for_at_a_time() {
        let (mut server, child) = UnixStream::pair().unwrap();
        let line = Line::new(child.into()).unwrap();
        let later = |line: &Line| line.connection().unwrap_err().kind();
        assert_eq!(later(&line), io::ErrorKind::WouldBlock);
        assert_eq!(later(&line), io::ErrorKind::WouldBlock);
        server.set_nonblocking(true).unwrap();
        let mut asked = [0; 8];
        assert_eq!(server.read(&mut asked).unwrap(), 1);
        let (_runtime, connection) = UnixStream::pair().unwrap();
        descriptors::send(&server, 1, &[connection.as_fd()]).unwrap();
        assert!(line.connection().is_ok());
        assert_eq!(later(&line), io::ErrorKind::WouldBlock);
        assert_eq!(server.read(&mut asked).unwrap(), 1);
        descriptors::send(&server, 0, &[]).unwrap();
        assert_eq!(later(&line), io::ErrorKind::NotConnected);
        drop(server);
        assert!(line.connection().is_err());
    }
}
