//! `/proc/PID/net/tcp` and `tcp6`, in which a Go program's pprof port is found.

use sideflame::runtime::go::fuzz::addresses;

use crate::{Seed, folder, parts};

/// Both tables.
pub(crate) fn run(bytes: &[u8]) {
    let [tcp, tcp6] = parts::split(bytes);
    folder::with(&[("net/tcp", tcp), ("net/tcp6", tcp6)], |table| {
        // What is not UTF-8 is an error: the kernel's tables have no such byte.
        let Ok(addresses) = addresses(table, &folder::row()) else {
            return;
        };
        assert!(addresses.len() <= 2 * bytes.len());
        assert!(addresses.iter().all(|address| !address.ip().is_unspecified()));
    });
}

pub(crate) fn seeds() -> Vec<Seed> {
    let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let rest = "00000000:00000000 00:00000000 00000000";
    let tcp = format!(
        "{head}   0: 0100007F:1F90 00000000:0000 0A {rest}  1000        0 4242 1 0000000000000000 100 0 0 10 0\n   \
         1: 00000000:1B39 00000000:0000 0A {rest}     0        0 4243 1 0000000000000000 100 0 0 10 0\n   \
         2: 0100007F:A001 0100007F:1F90 01 {rest}  1000        0 4244 1 0000000000000000 20 4 30 10 -1\n"
    );
    let six = ["0".repeat(32), format!("{}01000000", "0".repeat(24)), format!("{}FFFF00000100007F", "0".repeat(16))];
    let rows = six.iter().enumerate().map(|(index, address)| {
        format!("   {index}: {address}:17D4 {}:0000 0A {rest}  1000        0 {index} 1 0000000000000000 100 0 0 10 0\n", "0".repeat(32))
    });
    let tcp6 = head.to_owned() + &rows.collect::<String>();
    vec![
        ("both", parts::join(&[tcp.as_bytes(), tcp6.as_bytes()])),
        ("four", parts::join(&[tcp.as_bytes(), b""])),
    ]
}
