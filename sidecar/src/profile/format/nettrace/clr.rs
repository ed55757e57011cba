//! The events of CoreCLR that make a profile, and what is in them.
//!
//! Native events bring no names of their fields, so the layouts stand here, by `ClrEtwAll.man` and `ClrEtwAllMeta.lst` of
//! dotnet/runtime. A later version of an event only adds fields at its end, which are not looked at. Called by
//! [`super::collector`].

use super::cursor::{Cursor, Utf16};
use super::metadata::Metadata;

const RUNTIME: &str = "Microsoft-Windows-DotNETRuntime";
const RUNDOWN: &str = "Microsoft-Windows-DotNETRuntimeRundown";
const SAMPLE_PROFILER: &str = "Microsoft-DotNETCore-SampleProfiler";

/// An event, by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClrEvent {
    /// One thread at one tick of the sample profiler.
    Sample,
    /// Code of a method is there: now, or at the end of the trace.
    MethodNamed,
    /// The same without a name.
    MethodUnnamed,
    /// Code of a method is gone.
    MethodUnloaded {
        /// Whether the event has its name.
        named: bool,
    },
    /// A module is there. `domain` says that the id of its application domain stands before its flags.
    Module {
        /// Whether it does.
        domain: bool,
    },
    /// About 100 KiB were allocated, the last of it this.
    AllocationTick,
    /// An allocation that was chosen at random.
    AllocationSampled,
    /// A thread begins to wait for a monitor.
    ContentionStart,
    /// It has the monitor.
    ContentionStop,
    /// An exception was thrown.
    Exception,
    /// A collection of garbage has ended.
    CollectionEnded,
    /// What is left in the heap after it.
    HeapCounted,
    /// Names of types.
    Types,
    /// Objects of the heap.
    Objects,
    /// Anything else.
    Other,
}

impl ClrEvent {
    /// The event of a provider with this number.
    pub(super) fn of(metadata: &Metadata) -> Self {
        match (metadata.provider.as_str(), metadata.event) {
            (SAMPLE_PROFILER, 0) => Self::Sample,
            (RUNTIME, 2) => Self::CollectionEnded,
            (RUNTIME, 4) => Self::HeapCounted,
            (RUNTIME, 15) => Self::Types,
            (RUNTIME, 18) => Self::Objects,
            (RUNTIME, 10) if metadata.version >= 2 => Self::AllocationTick,
            (RUNTIME, 80) if metadata.version >= 1 => Self::Exception,
            (RUNTIME, 81) => Self::ContentionStart,
            (RUNTIME, 91) => Self::ContentionStop,
            (RUNTIME, 141) | (RUNDOWN, 141 | 142) => Self::MethodUnnamed,
            (RUNTIME, 143) | (RUNDOWN, 143 | 144) => Self::MethodNamed,
            (RUNTIME, 142) => Self::MethodUnloaded { named: false },
            (RUNTIME, 144) => Self::MethodUnloaded { named: true },
            (RUNTIME, 151) | (RUNDOWN, 151 | 152) => Self::Module { domain: true },
            (RUNTIME, 152) | (RUNDOWN, 153 | 154) => Self::Module { domain: false },
            (RUNTIME, 303) => Self::AllocationSampled,
            _ => Self::Other,
        }
    }
}

/// What the runtime says of a sampled thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadState {
    /// It was in managed code.
    Managed,
    /// It was in native code: waiting, mostly.
    External,
}

impl ThreadState {
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        const MANAGED: u32 = 2;
        let managed = Cursor::new(payload).u32()? == MANAGED;
        Some(if managed { Self::Managed } else { Self::External })
    }
}

/// Code of a method.
#[derive(Debug, Clone, Copy)]
pub(super) struct MethodCode<'a> {
    pub(super) module: u64,
    pub(super) start: u64,
    pub(super) size: u32,
    pub(super) token: u32,
    /// Compiled at run time; else it is part of its module's file.
    pub(super) jitted: bool,
    /// Name of its type and its own.
    pub(super) name: Option<(Utf16<'a>, Utf16<'a>)>,
}

impl<'a> MethodCode<'a> {
    pub(super) fn read(payload: &'a [u8], named: bool) -> Option<Self> {
        const JITTED: u32 = 8;
        let mut cursor = Cursor::new(payload);
        cursor.u64()?; // method
        let mut code = Self {
            module: cursor.u64()?,
            start: cursor.u64()?,
            size: cursor.u32()?,
            token: cursor.u32()?,
            jitted: cursor.u32()? & JITTED != 0,
            name: None,
        };
        if named {
            code.name = Some((cursor.utf16()?, cursor.utf16()?));
        }
        Some(code)
    }
}

/// Id and path of a module.
pub(super) fn module(payload: &[u8], domain: bool) -> Option<(u64, Utf16<'_>)> {
    let mut cursor = Cursor::new(payload);
    let id = cursor.u64()?;
    cursor.u64()?; // assembly
    if domain {
        cursor.u64()?;
    }
    cursor.u64()?; // flags, reserved
    Some((id, cursor.utf16()?))
}

/// A type and how many bytes an event of it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allocation<'a> {
    pub(super) bytes: u64,
    pub(super) type_name: Utf16<'a>,
}

impl<'a> Allocation<'a> {
    /// From version 2: the bytes since the tick before.
    pub(super) fn tick(payload: &'a [u8], pointer_size: usize) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        cursor.u64()?; // amount in 32 bits, kind
        cursor.u16()?; // instance of the runtime
        let bytes = cursor.u64()?;
        cursor.pointer(pointer_size)?; // type
        let type_name = cursor.utf16()?;
        Some(Self { bytes, type_name })
    }

    /// Every byte is chosen with the same probability, so that an object stands for its size by that of being chosen.
    pub(super) fn sampled(payload: &'a [u8], pointer_size: usize) -> Option<Self> {
        const MEAN_DISTANCE: f64 = 102_400.0;
        let mut cursor = Cursor::new(payload);
        cursor.u32()?; // kind
        cursor.u16()?; // instance of the runtime
        cursor.pointer(pointer_size)?; // type
        let type_name = cursor.utf16()?;
        cursor.pointer(pointer_size)?; // address
        #[expect(clippy::cast_precision_loss, reason = "an object of 2^53 bytes is none")]
        let size = cursor.u64()? as f64;
        let chosen = -(-size / MEAN_DISTANCE).exp_m1();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a cast stops at the end of its type"
        )]
        let bytes = if chosen > 0.0 {
            (size / chosen).round() as u64
        } else {
            0
        };
        Some(Self { bytes, type_name })
    }
}

/// How long a wait took by the runtime's own count, where its version counts.
pub(super) fn contention_nanoseconds(payload: &[u8]) -> Option<u64> {
    let mut cursor = Cursor::new(payload);
    cursor.u8()?; // flags
    cursor.u16()?; // instance of the runtime
    let nanoseconds = cursor.f64().filter(|nanoseconds| (0.0..1e18).contains(nanoseconds))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds just checked"
    )]
    Some(nanoseconds as u64)
}

/// The type of an exception.
pub(super) fn exception_type(payload: &[u8]) -> Option<Utf16<'_>> {
    Cursor::new(payload).utf16()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::nettrace::example::utf16;

    fn kind(provider: &str, event: u32, version: u32) -> ClrEvent {
        ClrEvent::of(&Metadata {
            provider: provider.to_owned(),
            event,
            version,
            ..Metadata::default()
        })
    }

    #[test]
    fn numbers_mean_something_for_their_provider_only() {
        assert_eq!(kind(RUNTIME, 144, 1), ClrEvent::MethodUnloaded { named: true });
        assert_eq!(kind(RUNDOWN, 144, 1), ClrEvent::MethodNamed);
        assert_eq!(kind(RUNTIME, 152, 2), ClrEvent::Module { domain: false });
        assert_eq!(kind(RUNDOWN, 152, 2), ClrEvent::Module { domain: true });
        assert_eq!(kind("Shop", 143, 1), ClrEvent::Other);
        assert_eq!(kind(RUNTIME, 10, 1), ClrEvent::Other, "without a type");
    }

    #[test]
    fn an_object_stands_for_its_size_by_the_chance_of_being_chosen() {
        let sampled = |size: u64| {
            let mut payload = vec![0; 6 + 8];
            payload.extend(utf16("T"));
            payload.extend([0; 8]);
            payload.extend(size.to_le_bytes());
            Allocation::sampled(&payload, 8).unwrap().bytes
        };
        // A small one for the mean distance, a large one for itself.
        assert_eq!(sampled(24), 102_412);
        assert_eq!(sampled(102_400), 161_994);
        assert_eq!(sampled(10_000_000), 10_000_000);
        assert_eq!(sampled(0), 0);
    }

    #[test]
    fn cut_payloads_are_none() {
        let mut method = vec![0; 36];
        method.extend(utf16("Demo.Shop.Split"));
        method.extend(utf16("Sixty"));
        let whole = MethodCode::read(&method, true).unwrap();
        assert_eq!(whole.name.map(|(_, name)| name.decode()).as_deref(), Some("Sixty"));
        for end in 0..method.len() {
            assert!(MethodCode::read(&method[..end], true).is_none(), "{end}");
        }
        assert!(MethodCode::read(&method[..36], false).is_some());
        for end in 0..8 {
            assert!(contention_nanoseconds(&[0; 11][..end]).is_none());
            assert!(module(&[0; 24][..end], false).is_none());
        }
        let hour = [&[0; 3][..], &3.6e12_f64.to_le_bytes()].concat();
        assert_eq!(contention_nanoseconds(&hour), Some(3_600_000_000_000));
        let absurd = [&[0; 3][..], &f64::NAN.to_le_bytes()].concat();
        assert_eq!(contention_nanoseconds(&absurd), None);
    }
}
