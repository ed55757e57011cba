//! Whether a runtime waits at its start until a diagnostic tool resumes it: no line of the app has run then, and a session
//! would record nothing. Reads the environment and names of threads; called by [`super::doctor`] and the recorder.

use crate::process::{Process, ProcessTable};
use crate::runtime::Reason;

/// Ports the runtime dials or listens on beside its default one.
const PORTS: [&str; 2] = ["DOTNET_DiagnosticPorts", "COMPlus_DiagnosticPorts"];

/// Switches that make it wait at the default one.
const SUSPENDS: [&str; 2] = [
    "DOTNET_DefaultDiagnosticPortSuspend",
    "COMPlus_DefaultDiagnosticPortSuspend",
];

/// The threads of a runtime that waits, beside the first one. It makes the others, as that of its finalizers, afterwards.
const EARLY_THREADS: [&str; 3] = [".NET SynchManag", ".NET EventPipe", ".NET SigHandler"];

/// The reason, if `process` waits.
pub(super) fn paused(table: &ProcessTable, process: &Process) -> Option<Reason> {
    let (variable, waits_at) = suspends(table, process)?;
    let waits = has_only_early_threads(table, process.id.pid);
    waits.then(|| {
        Reason::new(
            "paused_at_startup",
            format!("the runtime is paused at its start until a diagnostic tool at {waits_at} resumes it: {variable} says so"),
            format!(
                "start that tool (dotnet-monitor, dotnet-trace); or let {} and restart the process",
                if PORTS.contains(&variable) {
                    format!("the port in {variable} end in ,nosuspend")
                } else {
                    format!("{variable} away")
                }
            ),
        )
    })
}

/// The variable by which the runtime waits, and the port at which it does.
fn suspends(table: &ProcessTable, process: &Process) -> Option<(&'static str, String)> {
    let environment = table.environment(process.id.pid, &[PORTS, SUSPENDS].concat());
    let by_port = PORTS.into_iter().find_map(|name| {
        let port = suspending_port(environment.get(name)?)?;
        Some((name, port.to_owned()))
    });
    let at_default = || {
        let name = SUSPENDS.into_iter().find(|name| {
            let value = environment
                .get(*name)
                .map(|value| value.trim().trim_start_matches("0x"));
            value.is_some_and(|digits| u32::from_str_radix(digits, 16).is_ok_and(|number| number != 0))
        })?;
        Some((name, "its default port".to_owned()))
    };
    by_port.or_else(at_default)
}

/// The first port of `path[,connect|listen][,suspend|nosuspend];…` at which the runtime waits, which it does unless it is
/// told not to.
fn suspending_port(ports: &str) -> Option<&str> {
    ports.split(';').find_map(|port| {
        let mut words = port.split(',').map(str::trim);
        let path = words.next().filter(|path| !path.is_empty())?;
        // The last word on it counts.
        let says = words.rfind(|word| word.eq_ignore_ascii_case("suspend") || word.eq_ignore_ascii_case("nosuspend"));
        says.is_none_or(|word| word.eq_ignore_ascii_case("suspend"))
            .then_some(path)
    })
}

fn has_only_early_threads(table: &ProcessTable, pid: i32) -> bool {
    let tasks = table.directory(pid).join("task");
    let Ok(entries) = std::fs::read_dir(tasks) else {
        return false;
    };
    let others = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str() != Some(&pid.to_string()));
    // One thread more than those is enough to know.
    let mut names = others
        .take(EARLY_THREADS.len() + 1)
        .map(|entry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default());
    names.all(|name| EARLY_THREADS.contains(&name.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(environ: &str, threads: &[&str]) -> (tempfile::TempDir, ProcessTable) {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("17");
        for (at, name) in ["shop"].iter().chain(threads).enumerate() {
            let task = process.join(format!("task/{}", 17 + at));
            std::fs::create_dir_all(&task).unwrap();
            std::fs::write(task.join("comm"), format!("{name}\n")).unwrap();
        }
        std::fs::write(process.join("environ"), environ.replace(' ', "\0")).unwrap();
        let table = ProcessTable::at(proc.path());
        (proc, table)
    }

    #[test]
    fn a_runtime_that_waits_is_told_from_one_that_runs() {
        let early = [".NET SynchManag", ".NET EventPipe"];
        let reason = |environ: &str, threads: &[&str]| {
            let (_proc, table) = table(environ, threads);
            paused(&table, &Process::example(17))
        };
        let ports = "A=1 DOTNET_DiagnosticPorts=/diag/port.sock";
        let waits = reason(ports, &early).unwrap();
        assert_eq!(waits.key, "paused_at_startup");
        assert!(waits.sentence.contains("/diag/port.sock"), "{}", waits.sentence);
        assert!(waits.remedy.contains(",nosuspend"), "{}", waits.remedy);
        assert!(reason("DOTNET_DefaultDiagnosticPortSuspend=1", &early).is_some());
        let runs = [&early[..], &[".NET Finalizer"]].concat();
        assert_eq!(reason(ports, &runs), None);
        for environ in [
            "A=1",
            "DOTNET_DiagnosticPorts=/a,nosuspend",
            // Ours.
            "DOTNET_DiagnosticPorts=/sideflame-dotnet/port.sock,connect,nosuspend",
            "DOTNET_DefaultDiagnosticPortSuspend=0",
        ] {
            assert_eq!(reason(environ, &early), None, "{environ}");
        }
    }

    #[test]
    fn the_port_that_suspends_is_named() {
        for (ports, expected) in [
            ("/a", Some("/a")),
            ("/a,connect", Some("/a")),
            ("/a,listen,suspend", Some("/a")),
            ("/a,nosuspend", None),
            ("/a,nosuspend;/b,connect", Some("/b")),
            ("/a,NoSuspend,connect", None),
            ("", None),
            (";;", None),
        ] {
            assert_eq!(suspending_port(ports), expected, "{ports}");
        }
    }
}
