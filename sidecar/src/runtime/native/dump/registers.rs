//! The registers of a thread as a core file has them: as the kernel itself gives them to a tracer.

use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sys::ptrace::{self, regset};
use nix::unistd::Pid;

/// Those of a thread that stands still.
#[derive(Debug, Clone)]
pub(super) struct Registers {
    /// `elf_gregset_t`.
    pub(super) general: Vec<u8>,
    /// `elf_fpregset_t`.
    pub(super) floating: Vec<u8>,
}

/// Bytes of the general ones.
pub(super) const GENERAL: usize = size_of::<user_regs_struct>();

/// Bytes of the others.
pub(super) const FLOATING: usize = size_of::<<regset::NT_PRFPREG as ptrace::RegisterSet>::Regs>();

impl Registers {
    /// Asks the kernel. To be called by the thread that has seized `tid`.
    ///
    /// # Errors
    /// It does not stand.
    pub(super) fn of(tid: Pid) -> Result<Self, Errno> {
        Ok(Self {
            general: general(&ptrace::getregs(tid)?),
            floating: floating(tid)?,
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn general(registers: &user_regs_struct) -> Vec<u8> {
    let r = registers;
    let words = [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx, r.rsi, r.rdi,
        r.orig_rax, r.rip, r.cs, r.eflags, r.rsp, r.ss, r.fs_base, r.gs_base, r.ds, r.es, r.fs, r.gs,
    ];
    words.into_iter().flat_map(u64::to_ne_bytes).collect()
}

#[cfg(target_arch = "x86_64")]
fn floating(tid: Pid) -> Result<Vec<u8>, Errno> {
    let r = ptrace::getregset::<regset::NT_PRFPREG>(tid)?;
    let mut bytes = Vec::with_capacity(FLOATING);
    for half in [r.cwd, r.swd, r.ftw, r.fop] {
        bytes.extend(half.to_ne_bytes());
    }
    for word in [r.rip, r.rdp] {
        bytes.extend(word.to_ne_bytes());
    }
    let halves = [r.mxcsr, r.mxcr_mask];
    for half in halves.iter().chain(&r.st_space).chain(&r.xmm_space) {
        bytes.extend(half.to_ne_bytes());
    }
    // What is behind them is of no use.
    bytes.resize(FLOATING, 0);
    Ok(bytes)
}

#[cfg(target_arch = "aarch64")]
fn general(registers: &user_regs_struct) -> Vec<u8> {
    let r = registers;
    let words = r.regs.into_iter().chain([r.sp, r.pc, r.pstate]);
    words.flat_map(u64::to_ne_bytes).collect()
}

#[cfg(target_arch = "aarch64")]
fn floating(tid: Pid) -> Result<Vec<u8>, Errno> {
    let r = ptrace::getregset::<regset::NT_PRFPREG>(tid)?;
    let mut bytes: Vec<u8> = r.vregs.iter().flat_map(|register| register.to_ne_bytes()).collect();
    bytes.extend([r.fpsr, r.fpcr].into_iter().flat_map(u32::to_ne_bytes));
    bytes.resize(FLOATING, 0);
    Ok(bytes)
}
