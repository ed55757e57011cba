//! The measured matrix of who may look into whom, row by row. `Stays` rows are measurements of a process that does not
//! switch; `sideflame` switches whenever it can.

use super::*;
use CapabilitySet as Caps;

const DEFAULT: Caps = Caps::RUNTIME_DEFAULT;

fn process(uid: u32, gid: u32, capabilities: Caps) -> Credentials {
    Credentials { uid, gid, capabilities }
}

#[derive(Clone, Copy)]
enum Caller {
    Stays,
    Switches,
}
use Caller::{Stays, Switches};

#[test]
fn the_measured_matrix_holds_row_by_row() {
    let app = process(1000, 1000, Caps::NONE);
    let root = process(0, 0, DEFAULT);
    let bare_root = process(0, 0, Caps::NONE);
    let capable = process(1000, 1000, Caps::NET_BIND_SERVICE);
    let ptrace = Caps::SYS_PTRACE;
    let master = ptrace.union(Caps::DAC_OVERRIDE).union(Caps::KILL);
    let user = Err(Obstacle::User);
    let group = Err(Obstacle::Group);
    let capabilities = Err(Obstacle::Capabilities);
    let rows = [
        (
            "same uid and gid, drop ALL",
            Stays,
            process(1000, 1000, Caps::NONE),
            app,
            Ok(()),
        ),
        ("same uid, gid 0", Stays, process(1000, 0, Caps::NONE), app, group),
        (
            "same uid, gid 2000 (supplementary 1000 does not help)",
            Stays,
            process(1000, 2000, Caps::NONE),
            app,
            group,
        ),
        ("other uid, same gid", Stays, process(2000, 1000, Caps::NONE), app, user),
        ("uid 0, drop ALL", Stays, process(0, 0, Caps::NONE), app, user),
        (
            "uid 0, the 14 defaults, staying root",
            Stays,
            process(0, 0, DEFAULT),
            app,
            user,
        ),
        (
            "uid 0, the 14 defaults, becoming the target",
            Switches,
            process(0, 0, DEFAULT),
            app,
            Ok(()),
        ),
        (
            "uid 0, only SETUID+SETGID, becoming the target",
            Switches,
            process(0, 0, Caps::SWITCH),
            app,
            Ok(()),
        ),
        ("uid 0, SYS_PTRACE only", Stays, process(0, 0, ptrace), app, user),
        (
            "uid 0, SYS_PTRACE+DAC_OVERRIDE+KILL",
            Stays,
            process(0, 0, master),
            app,
            Ok(()),
        ),
        (
            "uid 2000, add SYS_PTRACE (lost at exec)",
            Stays,
            process(2000, 2000, Caps::NONE),
            app,
            user,
        ),
        ("uid 0, PERFMON only", Stays, process(0, 0, Caps::PERFMON), app, user),
        (
            "root app, uid 0 drop ALL",
            Stays,
            process(0, 0, Caps::NONE),
            root,
            capabilities,
        ),
        (
            "root app, uid 0 with the same 14",
            Switches,
            process(0, 0, DEFAULT),
            root,
            Ok(()),
        ),
        (
            "root app, uid 0 with the 14 and SYS_PTRACE",
            Switches,
            process(0, 0, DEFAULT.union(ptrace)),
            root,
            Ok(()),
        ),
        (
            "root app, only SETUID+SETGID",
            Switches,
            process(0, 0, Caps::SWITCH),
            root,
            capabilities,
        ),
        (
            "root app, same-user 1000",
            Stays,
            process(1000, 1000, Caps::NONE),
            root,
            user,
        ),
        (
            "root without capabilities, uid 0 drop ALL",
            Stays,
            process(0, 0, Caps::NONE),
            bare_root,
            Ok(()),
        ),
        (
            "1000 with NET_BIND_SERVICE, same uid drop ALL",
            Stays,
            process(1000, 1000, Caps::NONE),
            capable,
            capabilities,
        ),
        (
            "1000 with NET_BIND_SERVICE, switching with it",
            Switches,
            process(0, 0, DEFAULT),
            capable,
            Ok(()),
        ),
        (
            "privileged app, uid 0 with the 14",
            Switches,
            process(0, 0, DEFAULT),
            process(0, 0, Caps::ALL),
            capabilities,
        ),
        (
            "privileged app, uid 0 with the 14 and SYS_PTRACE",
            Switches,
            process(0, 0, DEFAULT.union(ptrace)),
            process(0, 0, Caps::ALL),
            Ok(()),
        ),
    ];
    for (row, caller, sidecar, target, expected) in rows {
        let got = match caller {
            Stays => access_unchanged(sidecar, target),
            Switches => access(sidecar, target),
        };
        assert_eq!(got, expected, "{row}");
    }
}
