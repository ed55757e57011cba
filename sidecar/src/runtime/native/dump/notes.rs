//! The notes of a core file: what is not memory. Pure.
//!
//! Sources: `include/uapi/linux/elfcore.h`, `fs/binfmt_elf.c` and `man 5 elf`, for 64 bits.

use object::elf::{self, NoteType};
use object::pod::bytes_of;
use object::{LittleEndian, U32};

use super::layout::Layout;
use super::registers::{EXTENDED, FLOATING, GENERAL, Registers};

/// Bytes of `struct elf_prstatus` before the registers.
const BEFORE_REGISTERS: usize = 112;

/// The same behind them: whether there are others, and padding.
const BEHIND_REGISTERS: usize = 8;

/// Bytes of `struct elf_prpsinfo`.
const ABOUT: usize = 136;

/// Whose kind of note it is, with the byte that ends it, and padded.
const OWNER: usize = 8;

/// What there is to say of the process, by its numbers in its own pid namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    pub(super) pid: i32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) state: char,
    pub(super) name: String,
    /// Separated by spaces; their beginning is kept.
    pub(super) arguments: String,
}

/// Bytes of all notes, of so many threads that have so many bytes of other registers.
pub(super) fn length((threads, extended): (usize, usize), auxiliary: usize, files: usize) -> u64 {
    let status = BEFORE_REGISTERS + GENERAL + BEHIND_REGISTERS;
    let extended = if extended > 0 { whole(extended) } else { 0 };
    let of_a_thread = whole(status) + whole(FLOATING) + extended;
    let all = threads as u64 * of_a_thread as u64;
    all + (whole(ABOUT) + whole(auxiliary) + whole(files)) as u64
}

/// Bytes of a note with so much in it.
fn whole(contents: usize) -> usize {
    size_of::<elf::NoteHeader64<LittleEndian>>() + OWNER + contents.next_multiple_of(4)
}

fn note(kind: NoteType, contents: &[u8]) -> Vec<u8> {
    owned(elf::ELF_NOTE_CORE, kind, contents)
}

fn owned(owner: &[u8], kind: NoteType, contents: &[u8]) -> Vec<u8> {
    let number = |number| U32::new(LittleEndian, number);
    let header = elf::NoteHeader64 {
        n_namesz: number(u32::try_from(owner.len() + 1).unwrap_or_default()),
        n_descsz: number(u32::try_from(contents.len()).unwrap_or_default()),
        n_type: U32::new(LittleEndian, kind),
    };
    let mut note = [bytes_of(&header), owner].concat();
    note.resize(bytes_of(&header).len() + OWNER, 0);
    note.extend(contents);
    note.resize(whole(contents.len()), 0);
    note
}

/// A thread and its registers.
pub(super) fn status(thread: i32, about: &About, registers: &Registers) -> Vec<u8> {
    const NUMBERS_AT: usize = 32;
    let mut contents = vec![0; BEFORE_REGISTERS];
    // Of the thread, its parent, its group: what is not known is zero.
    put(&mut contents, NUMBERS_AT, &thread.to_ne_bytes());
    put(&mut contents, NUMBERS_AT + 8, &about.pid.to_ne_bytes());
    contents.extend(&registers.general);
    contents.extend(1_u64.to_ne_bytes());
    note(elf::NT_PRSTATUS, &contents)
}

/// Its other registers, behind it.
pub(super) fn others(registers: &Registers) -> Vec<u8> {
    let mut notes = note(elf::NT_PRFPREG, &registers.floating);
    if !registers.extended.is_empty() {
        notes.extend(owned(elf::ELF_NOTE_LINUX, EXTENDED, &registers.extended));
    }
    notes
}

/// The process.
pub(super) fn about(about: &About) -> Vec<u8> {
    const NAME: usize = 16;
    const ARGUMENTS: usize = 80;
    let mut contents = vec![0; ABOUT];
    let state = "RSDTZW".find(about.state).and_then(|at| u8::try_from(at).ok());
    put(
        &mut contents,
        0,
        &[state.unwrap_or_default(), u8::try_from(about.state).unwrap_or(b'.')],
    );
    put(&mut contents, 16, &about.uid.to_ne_bytes());
    put(&mut contents, 20, &about.gid.to_ne_bytes());
    put(&mut contents, 24, &about.pid.to_ne_bytes());
    let cut = |text: &str, most: usize| text.bytes().take(most - 1).collect::<Vec<_>>();
    put(&mut contents, 40, &cut(&about.name, NAME));
    put(&mut contents, 40 + NAME, &cut(&about.arguments, ARGUMENTS));
    note(elf::NT_PRPSINFO, &contents)
}

/// What the kernel told the program when it started.
pub(super) fn auxiliary(vector: &[u8]) -> Vec<u8> {
    note(elf::NT_AUXV, vector)
}

/// Bytes in the note of the files.
pub(super) fn length_of_files(layout: &Layout) -> usize {
    let names = layout.files.iter().map(|file| layout.name(file).len() + 1);
    16 + layout.files.len() * 24 + names.sum::<usize>()
}

/// Which file is mapped where.
pub(super) fn files(layout: &Layout) -> Vec<u8> {
    let mut contents = Vec::with_capacity(length_of_files(layout));
    let mut number = |number: u64| contents.extend(number.to_ne_bytes());
    number(layout.files.len() as u64);
    number(layout.page);
    for file in &layout.files {
        number(file.range.0);
        number(file.range.1);
        number(file.offset / layout.page);
    }
    for file in &layout.files {
        contents.extend(layout.name(file));
        contents.push(0);
    }
    note(elf::NT_FILE, &contents)
}

fn put(contents: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = contents.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
