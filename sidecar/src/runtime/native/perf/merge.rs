//! The records of all rings, one by one, in the order in which they happened.
//!
//! Must not know what a record says beyond its envelope. Called by `sampler`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::decode::{Broken, Envelope};
use super::sys::Ring;

/// A record, and of a sample whether right behind it its thread leaves the CPU: `Some(true)` if it would have gone on.
pub(super) type Each<'a> = dyn FnMut(&Envelope, Option<bool>, &[u8]) + 'a;

/// Takes out of the rings what happened until the time `until`, and gives the room back to the kernel. What is later stays: an
/// earlier record of another CPU may not be written yet, which says what the later one means.
///
/// `bytes` is for one record, kept by the caller. Returns how many rings could not be read on and were emptied.
pub(super) fn merge<'a>(
    rings: impl Iterator<Item = &'a mut Ring>,
    until: u64,
    bytes: &mut Vec<u8>,
    each: &mut Each<'_>,
) -> u64 {
    let mut rings: Vec<(&mut Ring, Option<Envelope>)> = rings.map(|ring| (ring, None)).collect();
    let mut order = BinaryHeap::new();
    let mut broken = 0;
    let mut look = |(ring, next): &mut (&mut Ring, Option<Envelope>)| {
        *next = Envelope::at(ring, 0).unwrap_or_else(|Broken| {
            ring.consume(ring.available());
            broken += 1;
            None
        });
        next.map(|next| next.time).filter(|time| *time <= until)
    };
    for (number, ring) in rings.iter_mut().enumerate() {
        order.extend(look(ring).map(|time| Reverse((time, number))));
    }
    while let Some(Reverse((_, number))) = order.pop() {
        let Some(ring) = rings.get_mut(number) else { continue };
        if let (ring, Some(envelope)) = &mut *ring {
            bytes.resize(envelope.size, 0);
            if ring.copy(0, bytes) {
                each(envelope, leaves(ring, envelope), bytes);
            }
            ring.consume(envelope.size);
        }
        order.extend(look(ring).map(|time| Reverse((time, number))));
    }
    broken
}

/// The kernel samples a thread that leaves, and right behind it tells how it leaves.
fn leaves(ring: &Ring, sample: &Envelope) -> Option<bool> {
    if !sample.is_sample() {
        return None;
    }
    let next = Envelope::at(ring, sample.size).ok().flatten()?;
    next.leaves().filter(|_| next.tid == sample.tid)
}
