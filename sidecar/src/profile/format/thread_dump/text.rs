//! Writes the threads of a profile as text, for people: of a runtime that has no dump of its own.
//!
//! A frame is written as .NET's own stack traces are. Called by the renderer.

use std::io::{self, BufWriter, Write};

use super::listed::{Thread, deadlocks};
use crate::profile::model::Profile;
use crate::profile::thread_samples as key;

/// Writes all threads below `stamp`, a line that says whose they are and when.
///
/// # Errors
/// The output fails.
pub fn write(profile: &Profile, stamp: &str, out: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    writeln!(out, "{stamp}")?;
    for members in deadlocks(profile) {
        writeln!(out, "deadlock: {}", members.join(", "))?;
    }
    for thread in Thread::all(profile) {
        writeln!(out)?;
        match thread.text(key::NAME) {
            Some(name) => write!(out, "\"{name}\"")?,
            None => write!(out, "a thread")?,
        }
        if let Some(tid) = thread.number(key::TID) {
            write!(out, " tid={tid}")?;
        }
        match thread.text(key::STATE) {
            Some(state) => writeln!(out, " [{state}]:")?,
            None => writeln!(out, ":")?,
        }
        if let Some(lock) = thread.text(key::WAITS_FOR) {
            writeln!(out, "   - waits for {lock}")?;
        }
        for lock in thread.texts(key::HOLDS) {
            writeln!(out, "   - holds {lock}")?;
        }
        for frame in thread.frames() {
            write!(out, "   at {}", frame.function)?;
            match (&*frame.file, frame.line) {
                ("", _) => writeln!(out)?,
                (file, 0) => writeln!(out, " in {file}")?,
                (file, line) => writeln!(out, " in {file}:line {line}")?,
            }
        }
    }
    out.flush()
}
