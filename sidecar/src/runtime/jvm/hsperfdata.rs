//! Reads the performance data a HotSpot JVM shares in `/tmp/hsperfdata_<user>/<pid>`.
//!
//! The file is the application's to forge: every offset and length in it is checked. Others who share its `/tmp` have no
//! say: file and directory must be of the application's own user, as they are for the JVM's own tools, and the process
//! must have the file mapped: with the same process id in another pid namespace a second JVM takes over the name. Called
//! by [`super::detect`] and [`super::startup`].
//! Source: OpenJDK `perfMemory.hpp` (`PerfDataPrologue`, `PerfDataEntry`), version 2.0 since JDK 1.5, and
//! `statSampler.cpp` for the names.

use std::io::Read;
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
    /// Looks for the file of the process, whatever its user is called.
    pub fn read(table: &ProcessTable, root: &TargetRoot, process: &Process) -> Option<Self> {
        const MOST_NAMES: usize = 65_536;
        let (user, file) = (process.credentials.uid, process.namespace_pid.to_string());
        let tmp = root.open_directory("/tmp").ok()?;
        let names = tmp.names(MOST_NAMES).ok()?;
        names
            .iter()
            .filter(|name| name.starts_with("hsperfdata_"))
            .find_map(|name| {
                let directory = tmp.directory(name).ok()?;
                // Another's directory may hold a second name (a hard link) of a file of this user.
                directory.owner().ok().filter(|owner| *owner == user)?;
                let data = directory.open_file_of(&file, &[user]).ok()?;
                is_mapped(table, process, &Path::new(name).join(&file)).then_some(())?;
                let mut bytes = Vec::new();
                data.take(LARGEST).read_to_end(&mut bytes).ok()?;
                parse(&bytes)
            })
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
    const MAGIC: [u8; 4] = [0xca, 0xfe, 0xc0, 0xc0];
    // A JVM of the other byte order cannot run here.
    const LITTLE_ENDIAN: u8 = 1;
    if bytes.get(..4)? != MAGIC || *bytes.get(4)? != LITTLE_ENDIAN {
        return None;
    }
    let mut offset = word(bytes, 24)?;
    let mut data = PerfData::default();
    let mut vm_version = None;
    for _ in 0..word(bytes, 28)? {
        let length = word(bytes, offset)?;
        let Some(entry) = bytes.get(offset..offset.checked_add(length)?) else {
            break;
        };
        match entry_text(entry) {
            Some(("sun.rt.javaCommand", text)) => data.command = Some(text),
            Some(("java.rt.vmArgs", text)) => data.arguments = Some(text),
            Some(("java.rt.vmFlags", text)) => data.flags = Some(text),
            Some(("sun.rt.jvmCapabilities", text)) => {
                data.attachable = match text.as_bytes().first() {
                    Some(b'1') => Some(true),
                    Some(b'0') => Some(false),
                    _ => None,
                };
            }
            Some(("java.property.java.version", text)) => data.version = plausible_version(&text),
            Some(("java.property.java.vm.version", text)) => {
                vm_version = text.split(['+', '-']).next().and_then(plausible_version);
            }
            _ => {}
        }
        // An entry of no length would be read for ever.
        if length == 0 {
            break;
        }
        offset += length;
    }
    data.version = data.version.or(vm_version);
    Some(data)
}

/// Name and value of an entry that holds a string: `entry_length name_offset vector_length type … data_offset`.
fn entry_text(entry: &[u8]) -> Option<(&str, String)> {
    let name = text(entry.get(word(entry, 4)?..)?)?;
    let length = word(entry, 8)?;
    const BYTES: u8 = b'B';
    if *entry.get(12)? != BYTES {
        return None;
    }
    let start = word(entry, 16)?;
    let value = entry.get(start..start.checked_add(length)?)?;
    Some((name, text(value).map(str::to_owned)?))
}

/// Bytes up to the first NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(i32::from_le_bytes(word.try_into().ok()?)).ok()
}

/// A file with these texts, for tests and for `tests/fuzz`.
#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::unwrap_used, reason = "no text of a test is too long")]
pub(super) fn example(texts: &[(&str, &str)]) -> Vec<u8> {
    let word = |number: usize| i32::try_from(number).unwrap().to_le_bytes();
    let mut bytes = vec![0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1];
    bytes.resize(24, 0);
    bytes.extend(word(32));
    bytes.extend(word(texts.len()));
    for (name, value) in texts {
        let name_at = 20;
        let data_at = name_at + name.len() + 1;
        let length = data_at + value.len() + 1;
        bytes.extend([length, name_at, value.len() + 1].map(word).concat());
        bytes.extend([b'B', 0, 5, 1]);
        bytes.extend(word(data_at));
        for text in [name, value] {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        example(&[
            ("java.property.java.vm.version", "17.0.15+6-Debian"),
            ("sun.rt.javaCommand", "demo.shop.Split cpu"),
            ("sun.rt.jvmCapabilities", "0100"),
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
