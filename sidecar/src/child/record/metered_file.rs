//! The recording's file, which never grows beyond what the server has reserved room for.
//!
//! Must not know the store: it asks and is answered by a number. Called by the recorder, as the output of every runtime.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// The server only adds two numbers; more than this means that it hangs.
const ANSWER: Duration = Duration::from_secs(10);

/// A file with a limit that the server moves.
pub(super) struct MeteredFile<A> {
    file: File,
    written: u64,
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
        self.file.flush()
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
}
