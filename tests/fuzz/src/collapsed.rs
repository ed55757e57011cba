//! Collapsed stacks, of async-profiler or of whoever calls `render`.

use sideflame::format::RecordingKind;

use crate::{Seed, rendering};

pub(crate) fn run(bytes: &[u8]) {
    rendering::check(bytes, RecordingKind::Collapsed);
}

pub(crate) fn seeds() -> Vec<Seed> {
    let jvm = include_bytes!("../../../sidecar/tests/data/profile/collapsed/jvm-cpu-threads.txt");
    let head = jvm.split_inclusive(|byte| *byte == b'\n').take(12).flatten().copied();
    vec![
        ("jvm-cpu-threads", head.collect()),
        ("annotations", b"a_[j];b_[i];c_[k];d_[0];e_[1] 3\na;b 2\n".to_vec()),
        (
            "hidden-classes",
            b"Shop$$Lambda$14/0x0000000840060840.accept;java.lang.invoke.LambdaForm$DMH/925858445.invoke 1\n".to_vec(),
        ),
        ("odd", b"[GC_active] 1\n\xe2\x80\xae\x1b[31m;\xff 2\nno number\n[a b tid=1] 7\n".to_vec()),
        ("empty", Vec::new()),
    ]
}
