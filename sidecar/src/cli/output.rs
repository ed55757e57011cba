//! Where `record` and `render` write.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::format::Format;

/// Flag for the file.
#[derive(Debug, Args)]
pub struct FileFlag {
    /// File to write; - writes to stdout [default: a new file named after the process, event and time]
    #[arg(short, long, value_name = "FILE")]
    pub filename: Option<PathBuf>,
}

/// True if `text`, given as a format, looks like the name of a file.
pub(super) fn is_file_name(text: &str) -> bool {
    text.contains(['.', '/']) || text == "-"
}

/// The tip for a file where a format belongs.
pub(super) fn not_a_format(text: &str) -> String {
    format!("it takes a format; to write that file: -f {text}")
}

/// The format a file name asks for by its ending.
pub fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    let by_ending = |format: &Format| name.ends_with(&format!(".{}", format.extension()));
    Format::ALL
        .into_iter()
        .find(by_ending)
        .or_else(|| match path.extension()?.to_str()? {
            "txt" | "collapsed" | "folded" => Some(Format::Collapsed),
            "pprof" | "pb" => Some(Format::Pprof),
            "json" => Some(Format::Speedscope),
            _ => None,
        })
}

/// A file that appears under its name only when whole, or stdout.
#[derive(Debug)]
pub enum Output {
    /// `-`
    Stdout,
    /// A file.
    File {
        /// The name it gets.
        path: PathBuf,
        /// The name it has until then, in the same folder.
        partial: PathBuf,
        /// Open for writing.
        file: File,
    },
}

impl Output {
    /// Opens the file the user named, or a new one called `suggested` in the current folder.
    ///
    /// # Errors
    /// `EEXIST` if `suggested` exists; what `open` says.
    pub fn create(named: Option<&Path>, suggested: &str) -> io::Result<Self> {
        if named == Some(Path::new("-")) {
            return Ok(Self::Stdout);
        }
        let path = named.map_or_else(|| PathBuf::from(suggested), Path::to_owned);
        if named.is_none() && path.exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} exists", path.display()),
            ));
        }
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&partial)?;
        Ok(Self::File { path, partial, file })
    }

    /// Where to write.
    pub fn writer(&mut self) -> Box<dyn Write + '_> {
        match self {
            Self::Stdout => Box::new(io::stdout().lock()),
            Self::File { file, .. } => Box::new(file),
        }
    }

    /// The file is whole: gives it its name and returns it; `None` for stdout.
    ///
    /// # Errors
    /// What `rename` says.
    pub fn publish(self) -> io::Result<Option<PathBuf>> {
        match self {
            Self::Stdout => Ok(None),
            Self::File { path, partial, .. } => {
                std::fs::rename(&partial, &path)?;
                Ok(Some(path))
            }
        }
    }

    /// The file is not whole: removes it.
    pub fn discard(self) {
        if let Self::File { partial, .. } = self {
            let _ = std::fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_file_names_its_format() {
        for (name, format) in [
            ("a.svg", Some(Format::Svg)),
            ("b.collapsed.txt", Some(Format::Collapsed)),
            ("b.txt", Some(Format::Collapsed)),
            ("b.pprof.txt", Some(Format::Text)),
            ("c.pb.gz", Some(Format::Pprof)),
            ("d.speedscope.json", Some(Format::Speedscope)),
            ("d.top.txt", Some(Format::Top)),
            ("d.top.json", Some(Format::TopJson)),
            ("e.gif", None),
            ("svg", None),
        ] {
            assert_eq!(format_of(Path::new(name)), format, "{name}");
        }
    }
}
