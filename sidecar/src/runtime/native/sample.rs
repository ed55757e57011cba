//! A moment of one thread, as the kernel told it: addresses, and nothing of what they mean.
//!
//! Made by `perf`, taken by `collector`. Must not know names or files.

/// What the kernel tells of a process group while it is sampled, in the order in which it happened.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// A thread at work, or at what is counted.
    Sample(Sample<'a>),
    /// A thread leaves its CPU until its next [`Record::SwitchIn`]. Only where switches were asked for.
    SwitchOut {
        /// Where it leaves.
        sample: Sample<'a>,
        /// It would have gone on: it does not wait for anything but a CPU.
        preempted: bool,
    },
    /// A thread came back to a CPU. Only where switches were asked for.
    SwitchIn {
        /// Process.
        pid: i32,
        /// Thread.
        tid: i32,
        /// Nanoseconds of `CLOCK_MONOTONIC`.
        time: u64,
    },
    /// A file, or memory that may hold code, was mapped executable.
    Mapped {
        /// Process.
        pid: i32,
        /// What and where.
        mapping: &'a super::mapping::Mapping,
    },
    /// A process was forked; a new thread has the pid of its parent.
    Forked {
        /// The new process.
        pid: i32,
        /// Who forked.
        parent: i32,
    },
    /// A process became another program: nothing that was mapped is any more.
    Executed {
        /// Process.
        pid: i32,
    },
    /// A thread ended.
    Exited {
        /// Process.
        pid: i32,
        /// Thread.
        tid: i32,
    },
    /// The kernel had no room for this many records.
    Lost(u64),
    /// The kernel sampled less than asked for, to save its own time.
    Throttled,
}

/// One sample.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Process.
    pub pid: i32,
    /// Thread.
    pub tid: i32,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// Events that it stands for: nanoseconds of `cpu-clock`, cycles, faults, …
    pub period: u64,
    /// Addresses within the kernel, leaf first; empty where it may not be seen.
    pub kernel: &'a [u64],
    /// Addresses within the process by frame pointers, leaf first. With `unwind=dwarf`, empty.
    pub user: &'a [u64],
    /// Registers of the process, for an unwinder.
    pub registers: Option<Registers>,
    /// What lies above the stack pointer.
    pub stack: &'a [u8],
}

/// What an unwinder begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Program counter.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer (`rbp`, `x29`).
    pub fp: u64,
    /// Link register; 0 on x86-64, which has none.
    pub lr: u64,
}
