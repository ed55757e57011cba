//! Checks for Go targets: everything hangs on a pprof port, which `detect` has looked for.

use super::absence;
use super::request::profile_of;
use crate::event::Event;
use crate::runtime::{Examination, PprofAbsence, PprofEndpoint, Reason, RuntimeFacts, Target, Verdict, stopped};

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

/// Verdicts for every event of the runtime, and for the profiles that this program has beside them.
pub fn verdicts(examination: &Examination<'_>) -> Vec<Verdict> {
    let target = examination.target;
    let own = own_profiles(target).map(|name| Event::Named(name.to_owned()));
    EVENTS
        .into_iter()
        .chain(own)
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
    if !EVENTS.contains(event) && !own_profiles(target).any(|name| name == event.name()) {
        return Some(no_such_profile(event));
    }
    if target.process.is_stopped() {
        return Some(stopped());
    }
    match &target.facts {
        RuntimeFacts::Go {
            pprof: None,
            pprof_absence,
            ..
        } => Some(explain(pprof_absence.as_ref(), event)),
        RuntimeFacts::Go { pprof: Some(index), .. } if lacks(&index.profiles, event) => {
            Some(missing_profile(index, event))
        }
        _ => None,
    }
}

/// Profiles in the program's index that are none of our events: Go's newer ones, and those that it defines itself.
fn own_profiles(target: &Target) -> impl Iterator<Item = &str> {
    let profiles = match &target.facts {
        RuntimeFacts::Go { pprof: Some(index), .. } => index.profiles.as_slice(),
        _ => &[],
    };
    let known = |name: &str| EVENTS.iter().filter_map(profile_of).any(|(profile, _)| profile == name);
    profiles.iter().map(String::as_str).filter(move |name| !known(name))
}

/// True if an index that was read has no profile of this event.
fn lacks(profiles: &[String], event: &Event) -> bool {
    let profile = profile_of(event);
    profile.is_some_and(|(profile, _)| !profiles.is_empty() && !profiles.iter().any(|name| *name == profile))
}

fn missing_profile(index: &PprofEndpoint, event: &Event) -> Reason {
    Reason::new(
        "profile_not_served",
        format!("the program's {index} does not list the profile of {event}"),
        format!("use one that it lists: {}", index.profiles.join(", ")),
    )
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

fn explain(why: Option<&PprofAbsence>, event: &Event) -> Reason {
    let mut reason = why.map_or_else(absence::not_looked_for, absence::explain);
    // Somebody who knows perf will ask.
    if *event == Event::Cpu {
        reason
            .sentence
            .push_str("; this version of sideflame samples Go programs through pprof only, not with perf");
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::{verdicts, why_impossible};
    use crate::event::Event;
    use crate::process::{Process, ProcessTable};
    use crate::runtime::{Availability, Examination, PerfRights};
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
            profiles: Vec::new(),
        }
    }

    #[test]
    fn the_profiles_of_the_index_are_those_there_are() {
        let names = [
            "allocs",
            "goroutine",
            "goroutineleak",
            "heap",
            "profile",
            "shop.carts",
            "threadcreate",
            "trace",
        ];
        let target = target(Ok(PprofEndpoint {
            profiles: names.map(str::to_owned).into(),
            ..endpoint()
        }));
        let key = |event: &str| {
            let reason = why_impossible(&target, &event.parse().unwrap());
            reason.map_or_else(String::new, |reason| reason.key.into_owned())
        };
        for there in ["cpu", "alloc", "trace", "goroutineleak", "shop.carts"] {
            assert_eq!(key(there), "", "{there}");
        }
        assert_eq!(key("block"), "profile_not_served");
        assert_eq!(key("shop.orders"), "event_not_of_runtime");
        assert_eq!(key("wall"), "go_has_no_wall_profile");
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
            perf: &PerfRights::default(),
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
                PprofAbsence::MutualTls { address: address() },
                "pprof_wants_certificate",
                "without TLS",
            ),
            (
                PprofAbsence::Redirected {
                    address: address(),
                    status: 302,
                    location: "/login".to_owned(),
                },
                "pprof_redirected",
                "--go-pprof-path-prefix",
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
            sockets: vec!["/run/shop.sock".to_owned(), "@shop".to_owned()],
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
        assert!(reason.sentence.contains("/run/shop.sock, @shop"), "{}", reason.sentence);
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
