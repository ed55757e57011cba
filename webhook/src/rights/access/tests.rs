//! The measured matrix of which process may look into which, row by row, for a sidecar that becomes its target where it can.
//! `tests/tests/cluster_rights.rs` measures it in real containers.

use super::*;
use CapabilitySet as Caps;

const DEFAULT: Caps = Caps::RUNTIME_DEFAULT;

fn process(uid: u32, gid: u32, capabilities: Caps) -> Credentials {
    Credentials { uid, gid, capabilities }
}

#[test]
fn the_measured_matrix_holds_row_by_row() {
    let app = process(1000, 1000, Caps::NONE);
    let root = process(0, 0, DEFAULT);
    let bare_root = process(0, 0, Caps::NONE);
    let capable = process(1000, 1000, Caps::NET_BIND_SERVICE);
    let ptrace = Caps::SYS_PTRACE;
    let net_admin = Caps::named("NET_ADMIN").unwrap();
    let ipc_lock = Caps::named("IPC_LOCK").unwrap();
    let master = ptrace.union(Caps::DAC_OVERRIDE).union(Caps::KILL);
    let user = Err(Blocker::User);
    let group = Err(Blocker::Group);
    let capabilities = Err(Blocker::Capabilities);
    let rows = [
        (
            "same uid and gid, drop ALL",
            process(1000, 1000, Caps::NONE),
            app,
            Ok(()),
        ),
        ("same uid, gid 0", process(1000, 0, Caps::NONE), app, group),
        (
            "same uid, gid 2000 (supplementary 1000 does not help)",
            process(1000, 2000, Caps::NONE),
            app,
            group,
        ),
        ("other uid, same gid", process(2000, 1000, Caps::NONE), app, user),
        ("uid 0, drop ALL", process(0, 0, Caps::NONE), app, user),
        (
            "uid 0, the 14 defaults, becoming the target",
            process(0, 0, DEFAULT),
            app,
            Ok(()),
        ),
        (
            "uid 0, only SETUID+SETGID, becoming the target",
            process(0, 0, Caps::SWITCH),
            app,
            Ok(()),
        ),
        ("uid 0, SYS_PTRACE only", process(0, 0, ptrace), app, user),
        ("uid 0, SYS_PTRACE+DAC_OVERRIDE+KILL", process(0, 0, master), app, user),
        (
            "uid 2000, add SYS_PTRACE (lost at exec)",
            process(2000, 2000, Caps::NONE),
            app,
            user,
        ),
        ("uid 0, PERFMON only", process(0, 0, Caps::PERFMON), app, user),
        (
            "root app, uid 0 drop ALL",
            process(0, 0, Caps::NONE),
            root,
            capabilities,
        ),
        ("root app, uid 0 with the same 14", process(0, 0, DEFAULT), root, Ok(())),
        (
            "root app, uid 0 with the 14 and SYS_PTRACE",
            process(0, 0, DEFAULT.union(ptrace)),
            root,
            Ok(()),
        ),
        (
            "root app, uid 0 with SYS_PTRACE only, which is not kept",
            process(0, 0, ptrace),
            root,
            capabilities,
        ),
        (
            "root app with NET_ADMIN, uid 0 with the 14 and SYS_PTRACE",
            process(0, 0, DEFAULT.union(ptrace)),
            process(0, 0, DEFAULT.union(net_admin)),
            capabilities,
        ),
        (
            "root app with NET_ADMIN, uid 0 with the 14 and NET_ADMIN",
            process(0, 0, DEFAULT.union(net_admin)),
            process(0, 0, DEFAULT.union(net_admin)),
            Ok(()),
        ),
        (
            "root app with SYS_PTRACE, uid 0 with the 14",
            process(0, 0, DEFAULT),
            process(0, 0, DEFAULT.union(ptrace)),
            capabilities,
        ),
        (
            "root app with SYS_PTRACE, uid 0 with the 14 and SYS_PTRACE",
            process(0, 0, DEFAULT.union(ptrace)),
            process(0, 0, DEFAULT.union(ptrace)),
            Ok(()),
        ),
        (
            "root app with NET_ADMIN alone, switching with it",
            process(0, 0, Caps::SWITCH.union(net_admin)),
            process(0, 0, net_admin),
            Ok(()),
        ),
        (
            "1000 with IPC_LOCK by its file, switching with it",
            process(0, 0, Caps::SWITCH.union(ipc_lock)),
            process(1000, 1000, ipc_lock),
            Ok(()),
        ),
        (
            "root app, only SETUID+SETGID",
            process(0, 0, Caps::SWITCH),
            root,
            capabilities,
        ),
        ("root app, same-user 1000", process(1000, 1000, Caps::NONE), root, user),
        (
            "root without capabilities, uid 0 drop ALL",
            process(0, 0, Caps::NONE),
            bare_root,
            Ok(()),
        ),
        (
            "1000 with NET_BIND_SERVICE, same uid drop ALL",
            process(1000, 1000, Caps::NONE),
            capable,
            capabilities,
        ),
        (
            "1000 with NET_BIND_SERVICE, switching with it",
            process(0, 0, DEFAULT),
            capable,
            Ok(()),
        ),
        (
            "privileged app, uid 0 with the 14",
            process(0, 0, DEFAULT),
            process(0, 0, Caps::ALL),
            capabilities,
        ),
        (
            "privileged app, uid 0 with the 14 and SYS_PTRACE",
            process(0, 0, DEFAULT.union(ptrace)),
            process(0, 0, Caps::ALL),
            Ok(()),
        ),
    ];
    for (row, sidecar, target, expected) in rows {
        assert_eq!(access(sidecar, target), expected, "{row}");
    }
}
