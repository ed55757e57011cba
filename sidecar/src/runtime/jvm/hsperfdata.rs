//! Reads the performance data a HotSpot JVM shares in `/tmp/hsperfdata_<user>/<pid>`.
//!
//! The file is the application's to forge: every offset and length in it is checked. Others who share its `/tmp` have no
//! say: file and directory must be of the application's own user, as they are for the JVM's own tools, and the process
//! must have the file mapped: with the same process id in another pid namespace a second JVM takes over the name. Called
//! by [`super::detect`], [`super::startup`] and [`super::counters`].
//! Source: OpenJDK `perfMemory.hpp` (`PerfDataPrologue`, `PerfDataEntry`), version 2.0 since JDK 1.5, and
//! `statSampler.cpp` for the names.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use super::detect::plausible_version;
use crate::process::{Process, ProcessTable, TargetRoot};

/// HotSpot makes it 32 KiB; somebody may have raised PerfDataMemorySize.
const LARGEST: u64 = 1 << 20;

/// What we want to know from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PerfData {
    /// `sun.rt.javaCommand`: main class or jar, and arguments.
    pub command: Option<String>,
    /// `java.property.java.version`, else the numbers of `java.property.java.vm.version`.
    pub version: Option<String>,
    /// `java.rt.vmArgs`: every option of the JVM, also those from variables and most files, in the order they were read.
    pub arguments: Option<String>,
    /// `java.rt.vmFlags`: what a file of `-XX:Flags=` said, without `-XX:`.
    pub flags: Option<String>,
    /// The first of `sun.rt.jvmCapabilities`: whether the attach mechanism is on, however it was decided.
    pub attachable: Option<bool>,
}

/// HotSpot cuts longer strings (`PerfDataManager::create_string_constant`).
pub const LONGEST_TEXT: usize = 1024;

impl PerfData {
    /// What the file of the process says, whatever its user is called.
    pub fn read(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Option<Self> {
        let file = PerfDataFile::open(table, root, process).ok()?;
        parse(&file.bytes().ok()?)
    }
}

/// Why the file of a process cannot be believed, or read.
#[derive(Debug, thiserror::Error)]
pub enum Unshared {
    /// There is no file of its process id.
    #[error("there is no file /tmp/hsperfdata_<user>/{0}")]
    NoFile(i32),
    /// The directory or the file is another user's, or everybody's to write.
    #[error("{0} is not a file of the application's own user alone")]
    Foreign(String),
    /// The process shares its data elsewhere, or not at all.
    #[error("{0} is not what this process shares: another JVM of the same process id wrote it")]
    NotMapped(String),
    /// The operating system's words.
    #[error("{0} cannot be read ({1})")]
    Unreadable(String, String),
}

/// The file of a process, open: what it says changes.
#[derive(Debug)]
pub struct PerfDataFile(File);

impl PerfDataFile {
    /// Looks for the file of the process, whatever its user is called.
    ///
    /// # Errors
    /// Why there is none to be believed, of several the one that says most.
    pub fn open(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Result<Self, Unshared> {
        const MOST_NAMES: usize = 65_536;
        let (user, file) = (process.credentials.uid, process.namespace_pid.to_string());
        let unreadable = |error: io::Error| Unshared::Unreadable("/tmp".to_owned(), error.to_string());
        let tmp = root.open_directory("/tmp").map_err(unreadable)?;
        let names = tmp.names(MOST_NAMES).map_err(unreadable)?;
        let mut why = Unshared::NoFile(process.namespace_pid);
        for name in names.iter().filter(|name| name.starts_with("hsperfdata_")) {
            let Ok(directory) = tmp.directory(name) else { continue };
            let path = format!("/tmp/{name}/{file}");
            // Another's directory may hold a second name (a hard link) of a file of this user.
            let is_own = directory.owner().is_ok_and(|owner| owner == user);
            let opened = match is_own {
                true => directory.open_file_of(&file, &[user]),
                false => directory.open_file(&file).and(Err(nix::errno::Errno::EPERM.into())),
            };
            match opened {
                Ok(data) if is_mapped(table, process, &Path::new(name).join(&file)) => return Ok(Self(data)),
                Ok(_) => why = Unshared::NotMapped(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => why = Unshared::Foreign(path),
                Err(error) => why = Unshared::Unreadable(path, error.to_string()),
            }
        }
        Err(why)
    }

    /// What is in it now.
    ///
    /// # Errors
    /// What reading it says.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = &self.0;
        file.rewind()?;
        file.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// True if the process shares its data in the file that ends in `name`. A file that another JVM has replaced is
/// "(deleted)", and what has its name is the other's.
fn is_mapped(table: &ProcessTable, process: &Process, name: &Path) -> bool {
    let mut mapped = table.mapped_files(process.id.pid).into_iter().flatten();
    mapped.any(|path| path.ends_with(name))
}

/// Reads the file; `None` if it is not one.
pub(super) fn parse(bytes: &[u8]) -> Option<PerfData> {
    let mut data = PerfData::default();
    let mut vm_version = None;
    for (name, value) in entries(bytes)? {
        let Value::Text(text) = value else { continue };
        match name {
            "sun.rt.javaCommand" => data.command = Some(text.to_owned()),
            "java.rt.vmArgs" => data.arguments = Some(text.to_owned()),
            "java.rt.vmFlags" => data.flags = Some(text.to_owned()),
            "sun.rt.jvmCapabilities" => {
                data.attachable = match text.as_bytes().first() {
                    Some(b'1') => Some(true),
                    Some(b'0') => Some(false),
                    _ => None,
                };
            }
            "java.property.java.version" => data.version = plausible_version(text),
            "java.property.java.vm.version" => {
                vm_version = text.split(['+', '-']).next().and_then(plausible_version);
            }
            _ => {}
        }
    }
    data.version = data.version.or(vm_version);
    Some(data)
}

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Up to its NUL.
    Text(&'a str),
    /// A count, a number of bytes, or ticks of `sun.os.hrt.frequency`.
    Number(i64),
}

/// The entries of a file that are text or a number, in their order; `None` if it is not one.
pub(super) fn entries(bytes: &[u8]) -> Option<impl Iterator<Item = (&str, Value<'_>)>> {
    const MAGIC: [u8; 4] = [0xca, 0xfe, 0xc0, 0xc0];
    // A JVM of the other byte order cannot run here.
    const LITTLE_ENDIAN: u8 = 1;
    if bytes.get(..4)? != MAGIC || *bytes.get(4)? != LITTLE_ENDIAN {
        return None;
    }
    let (mut offset, mut left) = (word(bytes, 24)?, word(bytes, 28)?);
    let raw = std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let length = word(bytes, offset)?;
        let entry = bytes.get(offset..offset.checked_add(length)?)?;
        offset += length;
        // An entry of no length would be read for ever.
        (length > 0).then_some(entry)
    });
    Some(raw.filter_map(entry))
}

/// Name and value: `entry_length name_offset vector_length type flags units variability data_offset`.
fn entry(entry: &[u8]) -> Option<(&str, Value<'_>)> {
    const BYTES: u8 = b'B';
    const LONG: u8 = b'J';
    let name = text(entry.get(word(entry, 4)?..)?)?;
    let length = word(entry, 8)?;
    let start = word(entry, 16)?;
    let value = match (*entry.get(12)?, length) {
        (BYTES, _) => Value::Text(text(entry.get(start..start.checked_add(length)?)?)?),
        // Of numbers there are no lists, only single ones.
        (LONG, 0) => {
            let bytes = entry.get(start..start.checked_add(8)?)?;
            Value::Number(i64::from_le_bytes(bytes.try_into().ok()?))
        }
        _ => return None,
    };
    Some((name, value))
}

/// Bytes up to the first NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(i32::from_le_bytes(word.try_into().ok()?)).ok()
}

/// A file with these entries, for tests and for `tests/fuzz`.
#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::unwrap_used, reason = "no text of a test is too long")]
pub(super) fn example(entries: &[(&str, Value<'_>)]) -> Vec<u8> {
    let word = |number: usize| i32::try_from(number).unwrap().to_le_bytes();
    let mut bytes = vec![0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1];
    bytes.resize(24, 0);
    bytes.extend(word(32));
    bytes.extend(word(entries.len()));
    for (name, value) in entries {
        let name_at = 20;
        let data_at = name_at + name.len() + 1;
        let (kind, vector, data) = match value {
            Value::Text(text) => (b'B', text.len() + 1, [text.as_bytes(), &[0]].concat()),
            Value::Number(number) => (b'J', 0, number.to_le_bytes().to_vec()),
        };
        bytes.extend([data_at + data.len(), name_at, vector].map(word).concat());
        bytes.extend([kind, 0, 5, 1]);
        bytes.extend(word(data_at));
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.extend(data);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        example(&[
            ("java.property.java.vm.version", Value::Text("17.0.15+6-Debian")),
            ("sun.rt.safepoints", Value::Number(7)),
            ("sun.rt.javaCommand", Value::Text("demo.shop.Split cpu")),
            ("sun.rt.jvmCapabilities", Value::Text("0100")),
        ])
    }

    #[test]
    fn only_a_file_of_the_targets_own_user_is_believed() {
        use std::os::unix::fs::PermissionsExt;

        let (root, proc, mut process) = TargetRoot::example();
        let ours = process.credentials.uid;
        let directory = proc.path().join("17/root/tmp/hsperfdata_shop");
        std::fs::create_dir(&directory).unwrap();
        let shared = directory.join("17");
        std::fs::write(&shared, file()).unwrap();
        let mode = |mode| std::fs::set_permissions(&shared, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o600);
        let table = ProcessTable::at(proc.path());
        let map = |path: &str| {
            let row = format!("7f0000000000-7f0000008000 rw-s 00000000 08:01 7      {path}\n");
            std::fs::write(proc.path().join("17/maps"), row).unwrap();
        };
        let read = |process: &Process| PerfData::read(&table, &root, process);
        map("/tmp/hsperfdata_shop/17 (deleted)");
        assert_eq!(read(&process), None, "another JVM's of the same process id");
        map("/tmp/hsperfdata_shop/17");
        assert_eq!(read(&process), parse(&file()));
        // The same file in the `/tmp` that a process of another user sees.
        process.credentials.uid = ours + 1;
        assert_eq!(read(&process), None);
        process.credentials.uid = ours;
        mode(0o666);
        assert_eq!(read(&process), None);
    }

    #[test]
    fn command_and_version_are_found() {
        let data = parse(&file()).unwrap();
        assert_eq!(data.command.as_deref(), Some("demo.shop.Split cpu"));
        assert_eq!(data.version.as_deref(), Some("17.0.15"));
        assert_eq!(data.attachable, Some(false));
    }

    #[test]
    fn every_truncation_is_survived() {
        let whole = file();
        for end in 0..whole.len() {
            let cut = parse(&whole[..end]);
            assert_ne!(cut, parse(&whole), "{end}");
        }
    }

    #[test]
    fn forged_lengths_and_offsets_are_survived() {
        let whole = file();
        for at in 0..whole.len() {
            for forged in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = forged;
                let _ = parse(&bytes);
            }
        }
        let mut endless = whole;
        endless[28..32].copy_from_slice(&i32::MAX.to_le_bytes());
        endless[32..36].fill(0);
        assert_eq!(parse(&endless), Some(PerfData::default()));
    }
}
