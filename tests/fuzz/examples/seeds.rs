//! Writes the seeds of every target into its corpus: `cargo run --package fuzz --example seeds`.

#![expect(clippy::unwrap_used, reason = "a failed step is the end")]

use std::path::Path;

use fuzz::TARGETS;

fn main() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in (target.seeds)() {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
}
