//! One function per parser of bytes that others made: no bytes may make it panic, take more time or memory than they are long,
//! or break the rule its file names.
//!
//! Called with bytes that libFuzzer makes (`src/main.rs`, `make fuzz`) and with those in `corpus/<target>/` (`tests/fuzz_corpus.rs`,
//! `make unit`). What libFuzzer found becomes a file there. Parsers that are private have a door, a module `fuzz` beside
//! them, with the feature `fuzzing`. It is a feature and not a `cfg`: the replay has to go through the same doors, and
//! what passes a `cfg` to a dependency are `RUSTFLAGS`, with which everything would be compiled a second time. Only this crate
//! asks for it, so the binaries of `make build` and of the images have none.
//!
//! To add a target: a file here with `run` and `seeds`, its line in [`TARGETS`], and `cargo run --package fuzz --example seeds`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target reports what it finds by a panic"
)]

mod flame_graph;
mod folder;
mod golden;
mod parts;
mod rendering;

/// Bytes to begin with, by the name of their file.
pub type Seed = (&'static str, Vec<u8>);

/// A function for a fuzzer.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also that of its folder in the corpus.
    pub name: &'static str,
    /// Takes any bytes and panics if they break a rule.
    pub run: fn(&[u8]),
    /// Real or made by the product.
    pub seeds: fn() -> Vec<Seed>,
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*

        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), run: $name::run, seeds: $name::seeds }),*];
    };
}

targets![
    agent_log,
    agent_recording,
    annotations,
    attach,
    body,
    class_histogram,
    collapsed,
    command_line,
    container,
    counters,
    diff,
    documents,
    elf,
    elf_symbols,
    expvar,
    frames,
    go_recording,
    gopclntab,
    goroutines,
    guard,
    hsperfdata,
    ipc,
    jfr,
    kallsyms,
    maps,
    metadata,
    nettrace,
    perf_map,
    pprof,
    pprof_refusal,
    process,
    quantity,
    query,
    range,
    recognise,
    review,
    server_url,
    sockets,
    stamp,
    tar,
    threads,
    unwind,
    virtual_threads,
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
