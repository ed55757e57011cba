//! Profiles of `net/http/pprof`, or what somebody gives to `render`. Read, written and read again they are the same.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use sideflame::format::RecordingKind;
use sideflame::profile::format::pprof::write::write;
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
