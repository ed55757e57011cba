//! The recording's file, which never grows beyond what the server has reserved room for.
//!
//! Must not know the store: it asks and is answered by a number. Called by the recorder, as the output of every runtime.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::runtime::Output;

/// The server only adds two numbers; more than this means that it hangs.
const ANSWER: Duration = Duration::from_secs(10);

/// A file with a limit that the server moves.
pub(super) struct MeteredFile<A> {
    file: File,
    written: u64,
    /// Bytes that the file has already, for what will be written.
    reserved: u64,
    /// Bytes the file may have.
    granted: u64,
    answers: Receiver<u64>,
    ask: A,
}

impl<A: FnMut()> MeteredFile<A> {
    /// `file`, empty, may have `granted` bytes; `ask` asks for more, which comes by `answers`, each of which is the new
    /// number of bytes it may have.
    pub(super) fn new(file: File, granted: u64, answers: Receiver<u64>, ask: A) -> Self {
        Self {
            file,
            written: 0,
            reserved: 0,
            granted,
            answers,
            ask,
        }
    }

    fn ask_for_room(&mut self) -> io::Result<()> {
        (self.ask)();
        match self.answers.recv_timeout(ANSWER) {
            Ok(granted) if granted > self.granted => {
                self.granted = granted;
                Ok(())
            }
            Ok(_) => Err(ErrorKind::FileTooLarge.into()),
            Err(RecvTimeoutError::Timeout) => Err(ErrorKind::TimedOut.into()),
            // The server hung up, which means cancel.
            Err(RecvTimeoutError::Disconnected) => Err(ErrorKind::BrokenPipe.into()),
        }
    }
}

impl<A: FnMut()> Write for MeteredFile<A> {
    /// # Errors
    /// [`ErrorKind::FileTooLarge`] when the store has no more room, [`ErrorKind::BrokenPipe`] when the server gave up
    /// on us, and what the file system says.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.written >= self.granted {
            self.ask_for_room()?;
        }
        let room = usize::try_from(self.granted - self.written).unwrap_or(usize::MAX);
        let written = self.file.write(&bytes[..bytes.len().min(room)])?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.reserved > self.written {
            self.file.set_len(self.written)?;
            self.reserved = self.written;
        }
        self.file.flush()
    }
}

impl<A: FnMut()> Output for MeteredFile<A> {
    /// # Errors
    /// As [`Self::write`]: the store's size and its disk are both asked.
    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        while self.reserved < bytes {
            // Room is for those who fill what they have: what is reserved is filled.
            if self.reserved >= self.granted {
                self.ask_for_room()?;
            }
            let end = bytes.min(self.granted);
            allocate(&self.file, self.reserved, end)?;
            self.reserved = end;
        }
        Ok(())
    }
}

/// Lets the file have the bytes from `start` to `end`, and where the file system can, the blocks of its disk.
fn allocate(file: &File, start: u64, end: u64) -> io::Result<()> {
    let number = |bytes: u64| i64::try_from(bytes).map_err(|_| ErrorKind::FileTooLarge);
    loop {
        match fallocate(file, FallocateFlags::empty(), number(start)?, number(end - start)?) {
            Err(Errno::EINTR) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return file.set_len(end),
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_file_never_outgrows_the_last_answer() {
        let (answer, answers) = channel();
        let file = tempfile::tempfile().unwrap();
        let mut output = MeteredFile::new(file.try_clone().unwrap(), 4, answers, || {});
        let length = || file.metadata().unwrap().len();
        output.write_all(b"1234").unwrap();
        answer.send(6).unwrap();
        answer.send(6).unwrap();
        let error = output.write_all(b"5678").unwrap_err();
        assert_eq!((error.kind(), length()), (ErrorKind::FileTooLarge, 6));
        drop(answer);
        let error = output.write_all(b"7").unwrap_err();
        assert_eq!((error.kind(), length()), (ErrorKind::BrokenPipe, 6));
    }

    #[test]
    fn what_is_reserved_is_asked_for_at_once_and_given_back_at_the_end() {
        let (answer, answers) = channel();
        let file = tempfile::tempfile().unwrap();
        let length = || file.metadata().unwrap().len();
        // It asks when all that it has is used, and not before.
        let full = file.try_clone().unwrap();
        let mut granted = 4;
        let ask = move || {
            assert_eq!(full.metadata().unwrap().len(), granted);
            granted = (granted + 4).min(12);
            answer.send(granted).unwrap();
        };
        let mut output = MeteredFile::new(file.try_clone().unwrap(), 4, answers, ask);
        output.reserve(10).unwrap();
        assert_eq!(length(), 10);
        output.write_all(b"123456789").unwrap();
        output.flush().unwrap();
        assert_eq!(length(), 9);
        let error = output.reserve(13).unwrap_err();
        assert_eq!((error.kind(), length()), (ErrorKind::FileTooLarge, 12));
        output.flush().unwrap();
        assert_eq!(length(), 9);
    }
}
