//! Checks for Go targets: everything hangs on a pprof port, which `detect` has looked for, but for what the kernel samples.

use super::absence;
use super::request::profile_of;
use crate::event::Event;
use crate::runtime::dump::asks_for_one;
use crate::runtime::{
    Availability, Examination, HISTOGRAM, PprofAbsence, PprofEndpoint, Reason, RuntimeFacts, Target, Verdict, stopped,
};

/// Events of `net/http/pprof`, and `wall`, which the kernel has.
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

/// Verdicts for every event of the runtime, for the profiles that this program has beside them, and for what the kernel
/// samples, `by_kernel`.
pub fn verdicts(examination: &Examination<'_>, by_kernel: Vec<Verdict>) -> Vec<Verdict> {
    let target = examination.target;
    let own = own_profiles(target).map(|name| Event::Named(name.to_owned()));
    let kernels = |event: &Event| by_kernel.iter().find(|verdict| verdict.event == *event).cloned();
    let mut verdicts: Vec<_> = EVENTS
        .into_iter()
        .chain(own)
        .map(|event| match (serves(target, &event), kernels(&event)) {
            (false, Some(verdict)) if event == Event::Cpu => in_place_of_pprof(target, verdict),
            (false, Some(verdict)) => verdict,
            _ => match why_impossible(target, &event) {
                Some(reason) => Verdict::impossible(event, reason),
                None => Verdict::available(event),
            },
        })
        .collect();
    for verdict in by_kernel {
        if !verdicts.iter().any(|known| known.event == verdict.event) {
            verdicts.push(verdict);
        }
    }
    verdicts
}

/// The same of a server that was named by its URL, which nothing is known of: what it does not have, it will say.
pub fn verdicts_of_server() -> Vec<Verdict> {
    let by_kernel = |event: &Event| *event == Event::Wall;
    EVENTS
        .into_iter()
        .filter(|event| !by_kernel(event))
        .map(Verdict::available)
        .collect()
}

/// The event whose verdict counts for `event`.
pub fn judged_as(event: &Event) -> &Event {
    match event {
        Event::Named(name) if name == HISTOGRAM => &Event::Heap,
        event => event,
    }
}

/// True if the program's own runtime is who to ask for `event`, also where it would have to say no.
pub fn serves(target: &Target, event: &Event) -> bool {
    match event {
        Event::Wall => false,
        event if asks_for_one(event) => false,
        Event::Cpu => !matches!(target.facts, RuntimeFacts::Go { pprof: None, .. }),
        Event::Named(name) => name == HISTOGRAM || own_profiles(target).any(|own| own == name),
        _ => true,
    }
}

/// The kernel's verdict for `cpu` of a program without a pprof port, which says that it is the kernel's.
fn in_place_of_pprof(target: &Target, verdict: Verdict) -> Verdict {
    if target.process.is_stopped() {
        return Verdict::impossible(verdict.event, stopped());
    }
    if verdict.availability == Availability::Impossible {
        let mut absence = absence_of(target);
        if let Some(kernel) = &verdict.reason {
            absence.sentence = format!(
                "{}; nor may the kernel sample it: {}",
                absence.sentence, kernel.sentence
            );
            absence.remedy = format!("{}; or: {}", absence.remedy, kernel.remedy);
        }
        return Verdict::impossible(verdict.event, absence);
    }
    let others: Vec<_> = verdict.reasons().cloned().collect();
    Verdict::limited(verdict.event, std::iter::once(sampled_by_kernel(target)).chain(others))
}

/// What is to be said of a profile of CPU time that is not the runtime's own.
pub fn sampled_by_kernel(target: &Target) -> Reason {
    let absence = absence_of(target);
    Reason::new(
        "sampled_by_kernel",
        format!(
            "{}; the kernel samples its threads instead, without the labels of goroutines",
            absence.sentence
        ),
        absence.remedy,
    )
}

fn absence_of(target: &Target) -> Reason {
    match &target.facts {
        RuntimeFacts::Go { pprof_absence, .. } => explain(pprof_absence.as_ref()),
        _ => absence::not_looked_for(),
    }
}

/// What keeps `event` from being recorded, as far as the facts tell.
pub fn why_impossible(target: &Target, event: &Event) -> Option<Reason> {
    let event = judged_as(event);
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
        } => Some(explain(pprof_absence.as_ref())),
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
    // What asks for memory is no profile, whatever the program calls by such a name.
    let is_free = move |name: &&str| !known(name) && !asks_for_one(&Event::Named((*name).to_owned()));
    profiles.iter().map(String::as_str).filter(is_free)
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

fn no_such_profile(event: &Event) -> Reason {
    Reason::new(
        "event_not_of_runtime",
        format!("the Go runtime has no profile named {event}"),
        format!(
            "use one of: {}",
            EVENTS.iter().map(Event::name).collect::<Vec<_>>().join(", ")
        ),
    )
}

fn explain(why: Option<&PprofAbsence>) -> Reason {
    why.map_or_else(absence::not_looked_for, absence::explain)
}

#[cfg(test)]
mod tests {
    use super::{verdicts, why_impossible};
    use crate::event::Event;
    use crate::process::{Process, ProcessTable};
    use crate::runtime::{
        Availability, CORE, DUMP, Examination, PerfRights, PprofAbsence, PprofEndpoint, Reason, Runtime, RuntimeFacts,
        Target, Verdict, served_by,
    };

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
    }

    fn judged(target: &Target, by_kernel: Vec<Verdict>) -> Vec<Verdict> {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        let table = ProcessTable::at("/nonexistent");
        let examination = Examination {
            table: &table,
            target,
            root: Err(&error),
            perf: &PerfRights::default(),
        };
        verdicts(&examination, by_kernel)
    }

    fn kernels(verdict: impl Fn(Event) -> Verdict) -> Vec<Verdict> {
        let faults = Event::Named("page-faults".to_owned());
        [Event::Cpu, Event::Wall, faults].into_iter().map(verdict).collect()
    }

    #[test]
    fn with_a_port_the_runtime_serves_everything_but_wall_and_what_is_counted() {
        let refused = |event| Verdict::impossible(event, Reason::new("perf_seccomp", "it is forbidden", "allow it"));
        let verdicts = judged(&target(Ok(endpoint())), kernels(refused));
        assert_eq!(verdicts.len(), 10);
        for verdict in verdicts {
            let expected = match verdict.event {
                Event::Wall | Event::Named(_) => Availability::Impossible,
                _ => Availability::Available,
            };
            assert_eq!(verdict.availability, expected, "{}", verdict.event);
            assert_eq!(verdict.reason.is_none(), expected == Availability::Available);
        }
    }

    #[test]
    fn a_dump_is_of_its_memory_also_where_a_profile_is_called_so() {
        let names = [DUMP, CORE];
        let target = target(Ok(PprofEndpoint {
            profiles: names.map(str::to_owned).into(),
            ..endpoint()
        }));
        for event in names.map(|name| Event::Named(name.to_owned())) {
            let verdicts = judged(&target, Vec::new());
            assert!(!verdicts.iter().any(|verdict| verdict.event == event), "{verdicts:?}");
            assert_eq!(served_by(&target, &event), Runtime::Native);
        }
    }

    #[test]
    fn without_a_port_the_kernel_samples_and_that_is_said() {
        let target = target(Err(PprofAbsence::NoListeningPort));
        let verdicts = judged(&target, kernels(Verdict::available));
        let cpu = &verdicts[0];
        assert_eq!((&cpu.event, cpu.availability), (&Event::Cpu, Availability::Degraded));
        assert_eq!(cpu.reason.as_ref().unwrap().key, "sampled_by_kernel");
        assert_eq!(verdicts[1], Verdict::available(Event::Wall));
        let heap = verdicts.iter().find(|verdict| verdict.event == Event::Heap);
        assert_eq!(heap.unwrap().reason.as_ref().unwrap().key, "no_listening_port");

        let refused = |event| Verdict::impossible(event, Reason::new("perf_seccomp", "it is forbidden", "allow it"));
        let cpu = judged(&target, kernels(refused)).swap_remove(0);
        let reason = cpu.reason.unwrap();
        assert_eq!(reason.key, "no_listening_port");
        assert!(
            reason.sentence.ends_with("it is forbidden") && reason.remedy.ends_with("allow it"),
            "{reason:?}"
        );
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
        let reason = why_impossible(&target(Err(absence)), &Event::Heap).unwrap();
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
        assert!(reason.remedy.contains("goroutine"));
    }
}
