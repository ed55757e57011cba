//! Records of a ring as values: the layout that `attr` asks the kernel for, and no other.
//!
//! The bytes are the kernel's, but names of files and contents of stacks in them are the target's. Pure but for the ring.
//! Called by `merge`.

use perf_event_open_sys::bindings::{
    PERF_RECORD_COMM, PERF_RECORD_EXIT, PERF_RECORD_FORK, PERF_RECORD_LOST, PERF_RECORD_LOST_SAMPLES,
    PERF_RECORD_MMAP2, PERF_RECORD_SAMPLE, PERF_RECORD_SWITCH, PERF_RECORD_SWITCH_CPU_WIDE, PERF_RECORD_THROTTLE,
};

use super::sys::Ring;
use crate::runtime::native::mapping::{Backing, FileId, Mapping};
use crate::runtime::native::sample::{Record, Registers, Sample};

/// `PERF_CONTEXT_KERNEL` and its siblings stand between the addresses of a stack: the last 4095 numbers.
const CONTEXTS: u64 = 0xffff_ffff_ffff_f001;
const CONTEXT_KERNEL: u64 = 0u64.wrapping_sub(128);
const CONTEXT_USER: u64 = 0u64.wrapping_sub(512);

/// `PERF_RECORD_MISC_COMM_EXEC`, and of a switch `PERF_RECORD_MISC_SWITCH_OUT`.
const MISC_EXEC_OR_OUT: u16 = 1 << 13;
/// `PERF_RECORD_MISC_SWITCH_OUT_PREEMPT`.
const MISC_PREEMPTED: u16 = 1 << 14;

/// Type, flags and size.
const HEADER: usize = 8;
/// Pid and tid, time, event: behind the header of a sample, at the end of every other record.
const ORIGIN: usize = 24;

/// What every record says: which, whose, when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope {
    kind: u32,
    misc: u16,
    pub(super) size: usize,
    pid: i32,
    pub(super) tid: i32,
    pub(super) time: u64,
    /// Id of the event that it is of.
    pub(super) event: u64,
}

/// Whose a record is, and when.
struct Origin {
    pid: i32,
    tid: i32,
    time: u64,
}

impl Origin {
    fn of(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            pid: fields.id()?,
            tid: fields.id()?,
            time: fields.u64()?,
        })
    }
}

/// A ring whose records cannot be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Envelope {
    /// The record `at` bytes behind the tail, if there is one.
    pub(super) fn at(ring: &Ring, at: usize) -> Result<Option<Self>, Broken> {
        let available = ring.available().saturating_sub(at);
        if available == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        let copied = ring.copy(at, &mut header);
        let mut fields = Fields(&header);
        let (kind, misc, size) = match (fields.u32(), fields.u16(), fields.u16()) {
            (Some(kind), Some(misc), Some(size)) if copied => (kind, misc, usize::from(size)),
            _ => return Err(Broken),
        };
        if size < HEADER + ORIGIN || size > available {
            return Err(Broken);
        }
        let mut origin = [0; ORIGIN];
        let is_sample = kind == PERF_RECORD_SAMPLE;
        let begin = if is_sample { HEADER } else { size - ORIGIN };
        if !ring.copy(at + begin, &mut origin) {
            return Err(Broken);
        }
        let mut fields = Fields(&origin);
        let origin = if is_sample {
            fields.u64().zip(Origin::of(&mut fields))
        } else {
            Origin::of(&mut fields).and_then(|origin| Some((fields.u64()?, origin)))
        };
        let (event, Origin { pid, tid, time }) = origin.ok_or(Broken)?;
        Ok(Some(Self {
            kind,
            misc,
            size,
            pid,
            tid,
            time,
            event,
        }))
    }

    pub(super) fn is_sample(&self) -> bool {
        self.kind == PERF_RECORD_SAMPLE
    }

    /// Where it tells that a thread leaves its CPU: whether it would have gone on.
    pub(super) fn leaves(&self) -> Option<bool> {
        let switches = matches!(self.kind, PERF_RECORD_SWITCH | PERF_RECORD_SWITCH_CPU_WIDE);
        (switches && self.misc & MISC_EXEC_OR_OUT != 0).then_some(self.misc & MISC_PREEMPTED != 0)
    }
}

/// What a decoded record borrows, kept for the next one.
#[derive(Debug)]
pub(super) struct Scratch {
    addresses: Vec<u64>,
    mapping: Mapping,
}

impl Default for Scratch {
    fn default() -> Self {
        let mapping = Mapping {
            start: 0,
            end: 0,
            offset: 0,
            backing: Backing::Anonymous,
        };
        Self {
            addresses: Vec::new(),
            mapping,
        }
    }
}

/// A sample of an event with this fixed period, if it has one, and with or without copies; `None` if its bytes are none.
pub(super) fn sample<'a>(
    envelope: &Envelope,
    bytes: &'a [u8],
    (period, copies): (Option<u64>, bool),
    scratch: &'a mut Scratch,
) -> Option<Sample<'a>> {
    let mut fields = Fields(bytes.get(HEADER + ORIGIN..)?);
    let period = match period {
        Some(period) => period,
        None => fields.u64()?,
    };
    let count = usize::try_from(fields.u64()?).ok()?;
    let chain = fields.take(count.checked_mul(8)?)?;
    let addresses = &mut scratch.addresses;
    addresses.clear();
    let mut in_kernel = 0;
    let mut context = 0;
    for address in chain.chunks_exact(8) {
        let address = Fields(address).u64()?;
        match (address, context) {
            (CONTEXTS.., _) => context = address,
            (_, CONTEXT_KERNEL) => {
                addresses.push(address);
                in_kernel = addresses.len();
            }
            (_, CONTEXT_USER) => addresses.push(address),
            // Of a guest or a hypervisor.
            _ => {}
        }
    }
    let (registers, stack) = if copies { copied(&mut fields)? } else { (None, &[][..]) };
    let addresses: &[u64] = addresses;
    let (kernel, user) = addresses.split_at_checked(in_kernel)?;
    Some(Sample {
        pid: envelope.pid,
        tid: envelope.tid,
        time: envelope.time,
        period,
        kernel,
        user,
        registers,
        stack,
    })
}

/// Registers and stack. A thread of the kernel has none; of a 32-bit program they are none that we unwind.
fn copied<'a>(fields: &mut Fields<'a>) -> Option<(Option<Registers>, &'a [u8])> {
    const OF_64_BITS: u64 = 2;
    let abi = fields.u64()?;
    let registers = match abi {
        0 => None,
        _ => Some(registers(fields)?),
    };
    let size = usize::try_from(fields.u64()?).ok()?;
    let stack = fields.take(size)?;
    let used = if size > 0 {
        usize::try_from(fields.u64()?).ok()?
    } else {
        0
    };
    let registers = registers.filter(|_| abi == OF_64_BITS);
    Some((registers, &stack[..used.min(size)]))
}

/// In the order of their bits.
#[cfg(target_arch = "x86_64")]
fn registers(fields: &mut Fields<'_>) -> Option<Registers> {
    let (fp, sp, ip) = (fields.u64()?, fields.u64()?, fields.u64()?);
    Some(Registers { ip, sp, fp, lr: 0 })
}

/// In the order of their bits.
#[cfg(target_arch = "aarch64")]
fn registers(fields: &mut Fields<'_>) -> Option<Registers> {
    let (fp, lr, sp, ip) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
    Some(Registers { ip, sp, fp, lr })
}

/// A record that is no sample; `None` of those that tell nothing to us.
pub(super) fn record<'a>(envelope: &Envelope, bytes: &[u8], scratch: &'a mut Scratch) -> Option<Record<'a>> {
    let Envelope { pid, tid, time, .. } = *envelope;
    let mut fields = Fields(bytes.get(HEADER..bytes.len().checked_sub(ORIGIN)?)?);
    match envelope.kind {
        PERF_RECORD_SWITCH | PERF_RECORD_SWITCH_CPU_WIDE if envelope.leaves().is_none() && tid > 0 => {
            Some(Record::SwitchIn { pid, tid, time })
        }
        PERF_RECORD_MMAP2 => {
            let pid = fields.id()?;
            scratch.mapping = mapping(&mut fields)?;
            Some(Record::Mapped {
                pid,
                mapping: &scratch.mapping,
            })
        }
        PERF_RECORD_COMM if envelope.misc & MISC_EXEC_OR_OUT != 0 => Some(Record::Executed { pid: fields.id()? }),
        PERF_RECORD_FORK => {
            let (pid, parent) = (fields.id()?, fields.id()?);
            Some(Record::Forked { pid, parent })
        }
        PERF_RECORD_EXIT => {
            let (pid, _parent, tid) = (fields.id()?, fields.id()?, fields.id()?);
            Some(Record::Exited { pid, tid })
        }
        PERF_RECORD_LOST => {
            let (_event, lost) = (fields.u64()?, fields.u64()?);
            Some(Record::Lost(lost))
        }
        PERF_RECORD_LOST_SAMPLES => Some(Record::Lost(fields.u64()?)),
        PERF_RECORD_THROTTLE => Some(Record::Throttled),
        _ => None,
    }
}

/// Of an MMAP2, behind its pid.
fn mapping(fields: &mut Fields<'_>) -> Option<Mapping> {
    let _tid = fields.id()?;
    let (start, length, offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let device = (fields.u32()?, fields.u32()?);
    let (inode, _generation) = (fields.u64()?, fields.u64()?);
    let (_protection, _flags) = (fields.u32()?, fields.u32()?);
    let name = fields.0.split(|byte| *byte == 0).next()?;
    Some(Mapping {
        start,
        end: start.checked_add(length)?,
        offset,
        backing: Backing::of(name, FileId { device, inode }),
    })
}

/// Numbers, one after the other.
#[derive(Debug)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A pid or tid; -1 of a thread that is gone.
    fn id(&mut self) -> Option<i32> {
        Some(i32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests;
