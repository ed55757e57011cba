//! Checks for Go targets: everything hangs on a pprof port, which `detect` has looked for.

use std::net::SocketAddr;

use crate::event::Event;
use crate::runtime::{Examination, PprofAbsence, Reason, RuntimeFacts, Target, Verdict, stopped};

/// What a program must do to be profiled.
const SERVE_PPROF: &str = "add to the program: import _ \"net/http/pprof\", and \
                           go http.ListenAndServe(\"127.0.0.1:6060\", nil) in main";

/// Events of `net/http/pprof`, and `wall`, which people ask for.
const EVENTS: [Event; 9] = [
    Event::Cpu,
    Event::Wall,
    Event::Alloc,
    Event::Heap,
    Event::Lock,
    Event::Block,
    Event::Goroutine,
    Event::Threadcreate,
    Event::Trace,
];

/// Verdicts for every event of the runtime.
pub fn verdicts(examination: &Examination<'_>) -> Vec<Verdict> {
    let target = examination.target;
    EVENTS
        .into_iter()
        .map(|event| match why_impossible(target, &event) {
            Some(reason) => Verdict::impossible(event, reason),
            None => Verdict::available(event),
        })
        .collect()
}

/// What keeps `event` from being recorded, as far as the facts tell.
pub fn why_impossible(target: &Target, event: &Event) -> Option<Reason> {
    if *event == Event::Wall {
        return Some(no_wall_profile());
    }
    if !EVENTS.contains(event) {
        return Some(no_such_profile(event));
    }
    if target.process.is_stopped() {
        return Some(stopped());
    }
    let RuntimeFacts::Go {
        pprof: None,
        pprof_absence,
        ..
    } = &target.facts
    else {
        return None;
    };
    Some(explain(pprof_absence.as_ref(), event))
}

fn no_wall_profile() -> Reason {
    Reason::new(
        "go_has_no_wall_profile",
        "the Go runtime has no wall-clock profile",
        "use event=trace for what goroutines wait for, event=block and event=lock for waits on synchronisation, \
         or event=cpu",
    )
}

fn no_such_profile(event: &Event) -> Reason {
    Reason::new(
        "event_not_of_runtime",
        format!("the Go runtime has no profile named {event}"),
        format!(
            "use one of: {}",
            EVENTS
                .iter()
                .map(Event::name)
                .filter(|name| *name != "wall")
                .collect::<Vec<_>>()
                .join(", ")
        ),
    )
}

fn explain(absence: Option<&PprofAbsence>, event: &Event) -> Reason {
    let mut reason = absence.map_or_else(not_looked_for, explain_absence);
    // Somebody who knows perf will ask.
    if *event == Event::Cpu {
        reason
            .sentence
            .push_str("; this version of sideflame samples Go programs through pprof only, not with perf");
    }
    reason
}

fn not_looked_for() -> Reason {
    Reason::new("pprof_not_found", "the program serves no net/http/pprof", SERVE_PPROF)
}

/// The port is not, or no longer, the program's.
pub(super) fn listens_elsewhere(address: SocketAddr) -> Reason {
    Reason::new(
        "pprof_not_found",
        format!("the program does not listen on {address}, where a pprof port was found or expected"),
        "try again in a few seconds: it has just closed the port, or another process has it",
    )
}

/// What to tell sideflame when `port` wants to know who asks.
pub(super) fn give_header(port: &str) -> String {
    format!(
        "give sideflame the port and the header: --go-pprof-port {port} --go-pprof-header 'Authorization: Bearer <token>'"
    )
}

/// The sentence for each absence.
fn explain_absence(absence: &PprofAbsence) -> Reason {
    match absence {
        PprofAbsence::Stopped => stopped(),
        PprofAbsence::OtherNetworkNamespace { .. } => Reason::new(
            "other_network_namespace",
            "the program is in another network namespace, and to enter it sideflame lacks CAP_SYS_ADMIN or CAP_SYS_PTRACE; the \
             program's loopback ports cannot be reached from here",
            "run sideflame with capabilities: {add: [SYS_ADMIN, SYS_PTRACE]} (kubectl debug node/<node> --profile=sysadmin has \
             them) or in the same pod (kubectl debug --target=<container>); or kubectl port-forward to that pod's pprof port \
             and use go tool pprof",
        ),
        PprofAbsence::SocketsUnreadable { detail } => Reason::new(
            "sockets_unreadable",
            format!("sideflame may not see on which ports the program listens: {detail}"),
            "name the pprof port: --go-pprof-port <port>; or run sideflame as the user and group of the program",
        ),
        PprofAbsence::NoListeningPort => Reason::new(
            "no_listening_port",
            "the program listens on no TCP port, so it serves no net/http/pprof",
            SERVE_PPROF,
        ),
        PprofAbsence::NotOnPorts { ports, untried, path } => not_on_ports(ports, untried, path),
        PprofAbsence::Unauthorized { address, status } => Reason::new(
            "pprof_unauthorized",
            format!("{address} answered {status}: it wants to know who asks for profiles"),
            give_header(address.rsplit(':').next().unwrap_or(address)),
        ),
        PprofAbsence::UnverifiedTls { address } => Reason::new(
            "tls_certificate_unverified",
            format!("{address} speaks TLS, and no authority vouches for the certificate of a local port"),
            "accept it: --go-pprof-insecure-tls",
        ),
        PprofAbsence::ProbeFailed { detail } => Reason::new(
            "pprof_probe_failed",
            format!("sideflame could not ask for pprof: {detail}"),
            "correct --go-pprof-header or --go-pprof-path-prefix",
        ),
    }
}

fn not_on_ports(ports: &[u16], untried: &[u16], path: &str) -> Reason {
    let list = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let asked = match ports {
        [port] => format!("port {port} does not serve net/http/pprof at {path}"),
        ports => format!("none of the ports {} serves net/http/pprof at {path}", list(ports)),
    };
    let shown = &untried[..untried.len().min(16)];
    let more = if shown.len() < untried.len() { ", …" } else { "" };
    let sentence = match shown {
        [] => asked,
        shown => format!("{asked}; not asked: {}{more}", list(shown)),
    };
    let remedy = format!("{SERVE_PPROF}; or, if it serves pprof elsewhere, --go-pprof-port or --go-pprof-path-prefix");
    Reason::new("pprof_not_found", sentence, remedy)
}

#[cfg(test)]
mod tests {
    use super::{verdicts, why_impossible};
    use crate::event::Event;
    use crate::process::{Process, ProcessTable};
    use crate::runtime::{Availability, Examination};
    use crate::runtime::{PprofAbsence, PprofEndpoint, RuntimeFacts, Target};

    fn target(pprof: Result<PprofEndpoint, PprofAbsence>) -> Target {
        let (pprof, pprof_absence) = match pprof {
            Ok(endpoint) => (Some(endpoint), None),
            Err(absence) => (None, Some(absence)),
        };
        let facts = RuntimeFacts::Go {
            version: None,
            module: None,
            pprof,
            pprof_absence,
        };
        Target {
            process: Process::example(7),
            name: "shop".to_owned(),
            facts,
        }
    }

    fn endpoint() -> PprofEndpoint {
        PprofEndpoint {
            scheme: "http".to_owned(),
            authority: "127.0.0.1:6060".to_owned(),
            path: "/debug/pprof/".to_owned(),
        }
    }

    #[test]
    fn with_a_port_everything_but_wall_is_available() {
        let target = target(Ok(endpoint()));
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        let table = ProcessTable::at("/nonexistent");
        let verdicts = verdicts(&Examination {
            table: &table,
            target: &target,
            root: Err(&error),
        });
        assert_eq!(verdicts.len(), 9);
        for verdict in verdicts {
            let expected = match verdict.event {
                Event::Wall => Availability::Impossible,
                _ => Availability::Available,
            };
            assert_eq!(verdict.availability, expected, "{}", verdict.event);
            assert_eq!(verdict.reason.is_none(), expected == Availability::Available);
        }
    }

    #[test]
    fn every_absence_has_its_own_key_and_names_the_flag_that_helps() {
        let address = || "127.0.0.1:8443".to_owned();
        let cases = [
            (
                PprofAbsence::OtherNetworkNamespace {
                    namespace: "net:[1]".to_owned(),
                },
                "other_network_namespace",
                "port-forward",
            ),
            (
                PprofAbsence::SocketsUnreadable {
                    detail: "EACCES".to_owned(),
                },
                "sockets_unreadable",
                "--go-pprof-port",
            ),
            (PprofAbsence::NoListeningPort, "no_listening_port", "net/http/pprof"),
            (
                PprofAbsence::Unauthorized {
                    address: address(),
                    status: 401,
                },
                "pprof_unauthorized",
                "--go-pprof-port 8443 --go-pprof-header",
            ),
            (
                PprofAbsence::UnverifiedTls { address: address() },
                "tls_certificate_unverified",
                "--go-pprof-insecure-tls",
            ),
            (
                PprofAbsence::ProbeFailed {
                    detail: "a header".to_owned(),
                },
                "pprof_probe_failed",
                "--go-pprof-header",
            ),
        ];
        for (absence, key, flag) in cases {
            let reason = why_impossible(&target(Err(absence)), &Event::Heap).unwrap();
            assert_eq!(reason.key, key);
            assert!(reason.remedy.contains(flag), "{}", reason.remedy);
        }
    }

    #[test]
    fn the_ports_that_were_asked_are_named() {
        let absence = PprofAbsence::NotOnPorts {
            ports: vec![8080, 9090],
            untried: (1..100).collect(),
            path: "/debug/pprof/".to_owned(),
        };
        let reason = why_impossible(&target(Err(absence)), &Event::Cpu).unwrap();
        assert_eq!(reason.key, "pprof_not_found");
        assert!(
            reason.sentence.starts_with("none of the ports 8080, 9090 serves"),
            "{}",
            reason.sentence
        );
        assert!(
            reason.sentence.contains("not asked: 1, 2,") && reason.sentence.contains("16, …"),
            "{}",
            reason.sentence
        );
        assert!(reason.sentence.ends_with("not with perf"), "{}", reason.sentence);
    }

    #[test]
    fn a_stopped_process_is_not_told_to_serve_pprof() {
        let mut target = target(Err(PprofAbsence::Stopped));
        target.process.state = 'T';
        assert_eq!(why_impossible(&target, &Event::Cpu).unwrap().key, "target_stopped");
    }

    #[test]
    fn an_event_of_another_runtime_is_impossible() {
        let reason = why_impossible(&target(Ok(endpoint())), &Event::Exceptions).unwrap();
        assert_eq!(reason.key, "event_not_of_runtime");
        assert!(reason.remedy.contains("goroutine") && !reason.remedy.contains("wall"));
    }
}
