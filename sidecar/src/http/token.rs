//! The bearer token, from a file whose content may change while we run, as that of a mounted Secret does.
//!
//! The file is read for each request: it is small, and so the old token ends with the first request after the change.
//! Without a readable token in it every request is refused. Knows no HTTP. Called by [`super::guard`]; the `serve` command names
//! the file.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

/// A shorter one can be guessed.
const SHORTEST: usize = 16;

/// No token is longer; a header could not carry it.
const LONGEST: u64 = 64 << 10;

/// What every request must know.
#[derive(Clone)]
pub struct Token(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    /// Of what can be read once only, as the pipe of `--token-file <(…)`.
    Once([u8; 32]),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The token in the file at `path`, with white space around it.
    ///
    /// # Errors
    /// The file cannot be read, or the token is shorter than 16 characters.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let regular = file.metadata().is_ok_and(|facts| facts.is_file());
        let digest = digest(path, file)?;
        Ok(Self(if regular {
            Source::File(path.to_owned())
        } else {
            Source::Once(digest)
        }))
    }

    /// SHA-256 of the token as it is now.
    ///
    /// # Errors
    /// As [`Self::of_file`].
    pub(super) fn digest(&self) -> Result<[u8; 32]> {
        let path = match &self.0 {
            Source::File(path) => path,
            Source::Once(digest) => return Ok(*digest),
        };
        let mut options = OpenOptions::new();
        // Whatever stands there by now, opening it must not hold up the server.
        let file = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        digest(path, file.map_err(|error| unreadable(path, &error))?)
    }
}

fn digest(path: &Path, file: File) -> Result<[u8; 32]> {
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(path, &error))?;
    let token = text.trim();
    if token.len() < SHORTEST {
        let path = path.display();
        return Err(invalid(format!(
            "the token in {path} has fewer than {SHORTEST} characters"
        )));
    }
    Ok(Sha256::digest(token).into())
}

fn unreadable(path: &Path, error: &Error) -> Error {
    invalid(format!("failed to read the token file {}: {error}", path.display()))
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn hash(token: &str) -> [u8; 32] {
        Sha256::digest(token).into()
    }

    #[test]
    fn the_file_says_what_the_token_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "the-first-0123456789\n").unwrap();
        let token = Token::of_file(&path).unwrap();
        assert_eq!(token.digest().unwrap(), hash("the-first-0123456789"));
        // As the kubelet does it: another file under the same name, of the same size.
        std::fs::write(folder.path().join("new"), "the-other-0123456789\n").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(token.digest().unwrap(), hash("the-other-0123456789"));
        assert!(!format!("{token:?}").contains("other"));
    }

    #[test]
    fn without_a_token_in_it_there_is_none_and_the_old_one_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "short").unwrap();
        assert!(Token::of_file(&path).is_err());
        std::fs::write(&path, "the-first-0123456789").unwrap();
        let token = Token::of_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(token.digest().is_err(), "half written");
        std::fs::remove_file(&path).unwrap();
        assert!(token.digest().is_err(), "removed");
        // Without a writer.
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(token.digest().is_err(), "a pipe");
    }

    #[test]
    fn a_pipe_is_read_once() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"the-first-0123456789").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let token = Token::of_file(Path::new(&path)).unwrap();
        for _ in 0..2 {
            assert_eq!(token.digest().unwrap(), hash("the-first-0123456789"));
        }
    }
}
