//! Profiles of `net/http/pprof`, or what somebody gives to `render`. Read, written and read again they are the same. Those of our own
//! sampler have times: however they are cut, nothing is lost.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use sideflame::format::RecordingKind;
use sideflame::profile::format::pprof::moments::Moments;
use sideflame::profile::format::pprof::write::{write, write_timed};
use sideflame::profile::slicing::{Cuts, Slicing};
use sideflame::profile::words::words;

use crate::{Seed, rendering};

pub(crate) fn run(bytes: &[u8]) {
    let Some(profile) = rendering::read(bytes, RecordingKind::Pprof) else {
        return;
    };
    let mut written = Vec::new();
    write(&profile, &mut written).expect("memory to write to");
    let again = rendering::read(&written, RecordingKind::Pprof).expect("our own profile is read again");
    assert_eq!(words(&again), words(&profile));
    rendering::check(bytes, RecordingKind::Pprof);
    rendering::slices(bytes, RecordingKind::PprofTimed);
    timed(bytes);
}

/// The moments of a sample are the same in sum, whichever parts they are in.
fn timed(bytes: &[u8]) {
    let around = Cuts::Around { from: 7, to: 70_000_000 };
    let parts = [(Cuts::Every(1), false), (Cuts::Every(1_000_000_000), true), (around, true), (Cuts::None, true)];
    let sums = parts.map(|(cuts, by_thread)| {
        let slicing = Slicing { cuts, by_thread, ..Slicing::default() };
        let profile = rendering::sliced(bytes, RecordingKind::PprofTimed, slicing)?;
        let values = profile.samples().flat_map(|sample| sample.values.iter().map(|value| i128::from(*value)));
        Some(values.sum::<i128>())
    });
    // Parts that are added up may overflow.
    let sums: Vec<_> = sums.into_iter().flatten().collect();
    assert!(sums.windows(2).all(|two| two[0] == two[1]), "{sums:?}");
}

macro_rules! real {
    ($name:literal) => {
        include_bytes!(concat!("../../../sidecar/tests/data/profile/pprof/", $name))
    };
}

pub(crate) fn seeds() -> Vec<Seed> {
    vec![
        // libFuzzer cannot see through a compressor.
        ("go-cpu", plain(real!("go-cpu.pb.gz"))),
        ("go-heap", plain(real!("go-heap.pb.gz"))),
        ("go-goroutine", plain(real!("go-goroutine.pb.gz"))),
        ("long-unit", plain(real!("long-unit.pb.gz"))),
        ("hostile-strings", real!("hostile-strings.pb").to_vec()),
        ("gzipped", real!("go-goroutine.pb.gz").to_vec()),
        ("of-collapsed", of_collapsed()),
        ("timed", of_our_sampler()),
    ]
}

pub(crate) fn plain(gzip: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(gzip).read_to_end(&mut plain).unwrap();
    plain
}

/// With a stamp, threads as labels, and two sample types.
fn of_collapsed() -> Vec<u8> {
    let text = b"[main tid=7];Shop.main_[j];Shop.cart_[i];libc.so.6 3\n[main tid=7];Shop.main_[j] 2\n[unknown] 1\n";
    let made = rendering::made(text, RecordingKind::Collapsed, sideflame::format::Format::Pprof, Some(rendering::stamp()));
    plain(&made.unwrap())
}

/// With threads, and times of all samples but the last.
fn of_our_sampler() -> Vec<u8> {
    let text = b"[main tid=7];main;cart 3\n[pool tid=8];main;hash 2\nmain 1\n";
    let profile = rendering::read(text, RecordingKind::Collapsed).unwrap();
    let mut moments = Moments::new(10);
    moments.add(0, 0, (7, Some("main")), &[1]);
    moments.add(0, 49, (8, None), &[2]);
    moments.add(1, 60, (0, None), &[2]);
    let mut written = Vec::new();
    write_timed(&profile, &moments, &mut written).unwrap();
    plain(&written)
}
