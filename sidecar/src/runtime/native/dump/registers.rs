//! The registers of a thread as a core file has them: as the kernel gives them to a tracer.

use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::unistd::Pid;
use object::elf::{self, NoteType};

use crate::runtime::native::perf::register_set;

/// Bytes of the general ones, `elf_gregset_t`.
pub(super) const GENERAL: usize = size_of::<user_regs_struct>();

/// Bytes of those for floating-point numbers, `elf_fpregset_t`.
pub(super) const FLOATING: usize = if cfg!(target_arch = "aarch64") { 528 } else { 512 };

/// What else there is: all of the processor's vectors; on ARM, where variables of the thread are.
pub(super) const EXTENDED: NoteType = if cfg!(target_arch = "aarch64") {
    elf::NT_ARM_TLS
} else {
    elf::NT_X86_XSTATE
};

/// Bytes of them, at most: 11,008 with AMX.
const MOST_EXTENDED: usize = 16 << 10;

/// What they mostly have, with AVX-512.
pub(super) const USUAL_EXTENDED: usize = 2696;

/// Those of a thread that stands still.
#[derive(Debug, Clone)]
pub(super) struct Registers {
    pub(super) general: Vec<u8>,
    pub(super) floating: Vec<u8>,
    /// As many bytes for each thread; none where there are none.
    pub(super) extended: Vec<u8>,
}

impl Registers {
    /// Asks the kernel. To be called by the thread that has seized `tid`.
    ///
    /// # Errors
    /// It does not stand.
    pub(super) fn of(tid: Pid) -> Result<Self, Errno> {
        let set = |kind: NoteType, most: usize| {
            let mut bytes = vec![0; most];
            let length = register_set(tid, kind.0, &mut bytes)?;
            bytes.truncate(length);
            Ok(bytes)
        };
        let or_nothing = |set: Result<Vec<u8>, Errno>| match set {
            // Not of this processor.
            Err(Errno::EINVAL | Errno::EIO | Errno::ENODEV) => Ok(Vec::new()),
            set => set,
        };
        let mut registers = Self {
            general: set(elf::NT_PRSTATUS, GENERAL)?,
            floating: or_nothing(set(elf::NT_PRFPREG, FLOATING))?,
            extended: or_nothing(set(EXTENDED, MOST_EXTENDED))?,
        };
        registers.general.resize(GENERAL, 0);
        registers.floating.resize(FLOATING, 0);
        Ok(registers)
    }
}
