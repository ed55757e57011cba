//! One thread, made to stand still for as long as its registers and its stack are read (`ptrace`).
//!
//! It is seized and interrupted, which sends it no signal. The thread of ours that does it never waits for it and never lets it
//! go by a call: it ends, and with it the kernel detaches what it traced (`exit_ptrace`). So a signal that the thread was
//! about to take is delivered to it as if nothing had been, whatever the signal, and nothing can be left stopped: also a
//! thread that stands in the kernel until later goes on then, and if we are killed, all do.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sys::ptrace;
use nix::unistd::Pid;

use super::futex::Futex;
use crate::runtime::native::sample::Registers;

/// Bytes of a stack that are read: 1,024 frames of usual size.
pub(super) const STACK: usize = 128 << 10;

/// A thread that cannot be interrupted (`D`) is left alone.
const LIMIT: Duration = Duration::from_millis(100);

/// Between two looks whether it stands. Most do within 20 µs.
const BETWEEN: Duration = Duration::from_micros(20);

/// A thread as it stood.
#[derive(Debug)]
pub(super) struct Still {
    pub(super) registers: Registers,
    /// Bytes of the stack that were read.
    pub(super) stack: usize,
    /// In the system call for a lock.
    pub(super) futex: Option<Futex>,
    /// For how long it stood.
    pub(super) stood: Duration,
}

impl Still {
    /// Looks at the thread whose folder in `/proc` is `task`. Its stack is read into `stack`, which has [`STACK`] bytes.
    ///
    /// # Errors
    /// `ESRCH` for one that is gone or cannot be interrupted; else why it may not be traced.
    pub(super) fn look(tid: i32, task: &Path, memory: &File, stack: &mut [u8]) -> io::Result<Self> {
        std::thread::scope(|scope| {
            let tracer = std::thread::Builder::new().name("tracer".to_owned());
            let tracer = tracer.spawn_scoped(scope, || trace(Pid::from_raw(tid), task, memory, stack))?;
            tracer.join().map_err(|_| io::Error::other("the tracer panicked"))?
        })
    }
}

fn trace(tid: Pid, task: &Path, memory: &File, stack: &mut [u8]) -> io::Result<Still> {
    ptrace::seize(tid, ptrace::Options::empty())?;
    ptrace::interrupt(tid)?;
    let began = Instant::now();
    let registers = loop {
        match ptrace::getregs(tid) {
            Ok(registers) => break of(&registers),
            // Not yet, or never more.
            Err(Errno::ESRCH) if began.elapsed() < LIMIT && task.exists() => std::thread::sleep(BETWEEN),
            Err(error) => return Err(error.into()),
        }
    };
    Ok(Still {
        registers,
        // What is not there ends it: the end of the stack, or a pointer that leads nowhere.
        stack: memory.read_at(stack, registers.sp).unwrap_or_default(),
        futex: Futex::of(task, memory),
        stood: began.elapsed(),
    })
}

#[cfg(target_arch = "x86_64")]
fn of(registers: &user_regs_struct) -> Registers {
    Registers {
        ip: registers.rip,
        sp: registers.rsp,
        fp: registers.rbp,
        lr: 0,
    }
}

#[cfg(target_arch = "aarch64")]
fn of(registers: &user_regs_struct) -> Registers {
    Registers {
        ip: registers.pc,
        sp: registers.sp,
        fp: registers.regs[29],
        lr: registers.regs[30],
    }
}
