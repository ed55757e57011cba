//! The texts of `/proc/PID` by which processes are listed. The kernel writes them; the app chooses name, arguments, cgroup paths
//! and environment.

use crate::{Seed, folder, parts};

/// Name of the program and what follows it in `stat`, then `status`, `cgroup`, `environ` and `cmdline`.
pub(crate) fn run(bytes: &[u8]) {
    let [name, stat, status, cgroup, environ, cmdline] = parts::split(bytes);
    // The name ends at the last parenthesis: what follows are a letter and numbers, by which the kernel's reader finds its way.
    if !stat.first().is_some_and(u8::is_ascii_alphabetic) || stat.contains(&b')') {
        return;
    }
    let stat = [b"7 (", name, b") ", stat].concat();
    let files = [
        ("stat", stat.as_slice()),
        ("status", status),
        ("cgroup", cgroup),
        ("environ", environ),
        ("cmdline", cmdline),
    ];
    folder::with(&files, |table| {
        let Some(process) = table.get(folder::PID) else { return };
        assert_eq!(process.id.pid, folder::PID);
        // What is not UTF-8 becomes three bytes.
        assert!(process.command_line.size() <= 3 * cmdline.len() + 1);
        assert_eq!(table.is_alive(process.id), !matches!(process.state, 'Z' | 'X'));
        let _ = (process.executable_name(), process.handles_sigquit(), process.is_stopped());
        let listed = table.snapshot(|_| true);
        assert!(listed.iter().all(|row| row.id == process.id && row.credentials == process.credentials));
        let found = table.environment(folder::PID, &["TMPDIR", "DOTNET_EnableDiagnostics"]);
        assert!(found.values().map(String::len).sum::<usize>() <= environ.len());
        // Written and read again it is the same, but for the arguments, which do not travel.
        let written = serde_json::to_vec(&process).unwrap();
        let again: sideflame::process::Process = serde_json::from_slice(&written).expect("a row of ours");
        assert_eq!((again.id, again.container), (process.id, process.container));
    });
}

pub(crate) fn seeds() -> Vec<Seed> {
    let stat = b"S 1 7 7 0 -1 4194304 1 0 0 0 3 1 0 0 20 0 5 0 4242 1000000 500 18446744073709551615 1 1 0 0 0 0 0 4096 \
        2 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    let status = b"Name:\tshop\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nNgid:\t0\nPid:\t7\nPPid:\t1\nTracerPid:\t0\n\
        Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nFDSize:\t64\nGroups:\t4 24 \nNStgid:\t7\t1\nNSpid:\t7\t1\n\
        NSpgid:\t7\t1\nNSsid:\t7\t1\nVmPeak:\t    3000 kB\nVmSize:\t    3000 kB\nVmRSS:\t    1000 kB\nThreads:\t5\n\
        SigQ:\t0/100\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n\
        SigIgn:\t0000000000000004\nSigCgt:\t0000000180014a07\nCapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\n\
        CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n\
        Cpus_allowed:\t3\nCpus_allowed_list:\t0-1\nMems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t7\n\
        nonvoluntary_ctxt_switches:\t1\n";
    let cgroup = b"0::/kubepods/burstable/pod1f6a0c3e-8b6d-4a55-9a77-3c1e5f0a9b21/\
        3f5c6e1d0b9a87766554433221100ffeeddccbbaa99887766554433221100abc\n";
    let environ = b"TMPDIR=/var/tmp\0DOTNET_EnableDiagnostics=0\0PATH=/bin\0";
    let seed = |name: &[u8], cmdline: &[u8]| parts::join(&[name, stat, status, cgroup, environ, cmdline]);
    vec![
        ("shop", seed(b"shop", b"/shop\0--password=x\0")),
        ("odd-name", seed(b"a) b)\xff (\n", b"nginx: master process")),
    ]
}
