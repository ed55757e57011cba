//! A core file, written from its first byte to its last: what it is made of is known before, so that nothing is gone back to.
//!
//! Sources: `man 5 elf`, and `fs/binfmt_elf.c` for more segments than a header can count. Called by [`super`].

use std::io::{self, Write};

use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::pod::bytes_of;
use object::{LittleEndian, U16, U32, U64};

use super::layout::{Layout, Segment};
use crate::runtime::native::maps::Permissions;

const ENDIAN: LittleEndian = LittleEndian;

/// The place of everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct CoreFile<'a> {
    layout: &'a Layout,
    notes: u64,
}

impl<'a> CoreFile<'a> {
    /// With so many bytes of notes.
    pub(super) fn new(layout: &'a Layout, notes: u64) -> Self {
        Self { layout, notes }
    }

    /// Bytes of the whole file.
    pub(super) fn length(&self) -> u64 {
        self.memory_at() + self.layout.kept()
    }

    /// Everything before the notes.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write_headers(&self, output: &mut dyn Write) -> io::Result<()> {
        output.write_all(bytes_of(&self.header()))?;
        output.write_all(bytes_of(&ProgramHeader64 {
            p_type: U32::new(ENDIAN, elf::PT_NOTE),
            p_offset: U64::new(ENDIAN, self.notes_at()),
            p_filesz: U64::new(ENDIAN, self.notes),
            p_align: U64::new(ENDIAN, 4),
            ..nothing()
        }))?;
        let mut at = self.memory_at();
        for segment in &self.layout.segments {
            output.write_all(bytes_of(&self.program_header(segment, at)))?;
            at += segment.kept;
        }
        if self.counts_elsewhere() {
            output.write_all(bytes_of(&self.count()))?;
        }
        Ok(())
    }

    /// Everything between the notes and the memory.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write_padding(&self, output: &mut dyn Write) -> io::Result<()> {
        let size = self.memory_at() - self.notes_at() - self.notes;
        output.write_all(&vec![0; usize::try_from(size).unwrap_or_default()])
    }

    fn program_headers(&self) -> u64 {
        self.layout.segments.len() as u64 + 1
    }

    /// The number of program headers does not fit where it is looked for.
    fn counts_elsewhere(&self) -> bool {
        self.program_headers() >= elf::PN_XNUM.into()
    }

    fn count_at(&self) -> u64 {
        size_of::<FileHeader64<LittleEndian>>() as u64
            + self.program_headers() * size_of::<ProgramHeader64<LittleEndian>>() as u64
    }

    fn notes_at(&self) -> u64 {
        let count = size_of::<SectionHeader64<LittleEndian>>() as u64;
        self.count_at() + if self.counts_elsewhere() { count } else { 0 }
    }

    fn memory_at(&self) -> u64 {
        (self.notes_at() + self.notes).next_multiple_of(self.layout.page)
    }

    fn header(&self) -> FileHeader64<LittleEndian> {
        let size = |bytes: usize| U16::new(ENDIAN, u16::try_from(bytes).unwrap_or_default());
        let (sections, sections_at) = match self.counts_elsewhere() {
            true => (1, self.count_at()),
            false => (0, 0),
        };
        FileHeader64 {
            e_ident: elf::Ident {
                magic: elf::ELFMAG,
                class: elf::ELFCLASS64,
                data: elf::ELFDATA2LSB,
                version: elf::EV_CURRENT,
                os_abi: elf::ELFOSABI_NONE,
                abi_version: 0,
                padding: [0; 7],
            },
            e_type: U16::new(ENDIAN, elf::ET_CORE),
            e_machine: U16::new(
                ENDIAN,
                if cfg!(target_arch = "aarch64") {
                    elf::EM_AARCH64
                } else {
                    elf::EM_X86_64
                },
            ),
            e_version: U32::new(ENDIAN, elf::EV_CURRENT.0.into()),
            e_entry: U64::default(),
            e_phoff: U64::new(ENDIAN, size_of::<FileHeader64<LittleEndian>>() as u64),
            e_shoff: U64::new(ENDIAN, sections_at),
            e_flags: U32::default(),
            e_ehsize: size(size_of::<FileHeader64<LittleEndian>>()),
            e_phentsize: size(size_of::<ProgramHeader64<LittleEndian>>()),
            e_phnum: U16::new(ENDIAN, u16::try_from(self.program_headers()).unwrap_or(elf::PN_XNUM)),
            e_shentsize: size(sections * size_of::<SectionHeader64<LittleEndian>>()),
            e_shnum: size(sections),
            e_shstrndx: U16::default(),
        }
    }

    fn program_header(&self, segment: &Segment, at: u64) -> ProgramHeader64<LittleEndian> {
        let Permissions {
            readable,
            writable,
            executable,
            ..
        } = segment.permissions;
        let flags = [(readable, elf::PF_R), (writable, elf::PF_W), (executable, elf::PF_X)];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        ProgramHeader64 {
            p_type: U32::new(ENDIAN, elf::PT_LOAD),
            p_flags: U32::new(ENDIAN, elf::ProgramFlags(set.fold(0, |all, (_, flag)| all | flag.0))),
            p_offset: U64::new(ENDIAN, at),
            p_vaddr: U64::new(ENDIAN, segment.address),
            p_filesz: U64::new(ENDIAN, segment.kept),
            p_memsz: U64::new(ENDIAN, segment.size),
            p_align: U64::new(ENDIAN, self.layout.page),
            ..nothing()
        }
    }

    /// A section without anything but the number of program headers.
    fn count(&self) -> SectionHeader64<LittleEndian> {
        let number = |number: u64| U32::new(ENDIAN, u32::try_from(number).unwrap_or_default());
        SectionHeader64 {
            sh_name: U32::default(),
            sh_type: U32::new(ENDIAN, elf::SHT_NULL),
            sh_flags: U64::default(),
            sh_addr: U64::default(),
            sh_offset: U64::default(),
            sh_size: U64::new(ENDIAN, 1),
            sh_link: U32::default(),
            sh_info: number(self.program_headers()),
            sh_addralign: U64::default(),
            sh_entsize: U64::default(),
        }
    }
}

fn nothing() -> ProgramHeader64<LittleEndian> {
    ProgramHeader64 {
        p_type: U32::default(),
        p_flags: U32::default(),
        p_offset: U64::default(),
        p_vaddr: U64::default(),
        p_paddr: U64::default(),
        p_filesz: U64::default(),
        p_memsz: U64::default(),
        p_align: U64::default(),
    }
}
