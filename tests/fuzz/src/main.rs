//! The targets under libFuzzer: `SIDEFLAME_FUZZ_TARGET` names one, the arguments are libFuzzer's. One program for all: it is
//! linked once, and a new target needs nothing here. Started by `tests/rig/fuzz.sh`.

#![no_main]
#![expect(clippy::expect_used, reason = "without a target there is nothing to do")]

use std::sync::OnceLock;

use fuzz::{Target, target};

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("SIDEFLAME_FUZZ_TARGET").expect("SIDEFLAME_FUZZ_TARGET");
        let target = target(&name).expect("SIDEFLAME_FUZZ_TARGET names no target");
        TARGET.get_or_init(|| target);
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(bytes);
        }
    }
);
