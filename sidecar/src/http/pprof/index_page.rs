//! The text of `/debug/pprof/`: what a process has, and no more. Called by the handlers of [`super`].

use super::PROFILES;
use super::grammar::{PARAMETERS, SERVER};
use crate::capture::CaptureError;
use crate::capture::selector::{self, Selector};
use crate::child::Inspection;
use crate::event::Event;
use crate::format::Format;
use crate::listing::printable;
use crate::runtime;

const CMDLINE: &str = "cmdline";
const SYMBOL: &str = "symbol";

/// The index of those that `selector` chooses.
pub(super) fn page(selector: &Selector, inspections: &[Inspection]) -> String {
    let mut page = String::new();
    match selector::resolve(selector, inspections) {
        Ok(one) => page += &lines(&inspections[one], ""),
        Err(CaptureError::Ambiguous { candidates, .. } | CaptureError::NoSuchProcess { candidates }) => {
            page += "no process is chosen; those there are:\n";
            for who in candidates {
                let head = format!("pid={} {} ({}){}", who.pid, who.name, who.runtime, who.place());
                page.extend(["\n", &printable(&head), "\n"]);
                let chosen = inspections.iter().find(|one| one.target.id().pid == who.pid);
                page += &chosen.map_or_else(String::new, |one| lines(one, &format!("?pid={}", who.pid)));
            }
        }
        Err(_) => {}
    }
    let selectors = Selector::parameters().map(|parameter| parameter.name);
    let parameters: Vec<_> = PARAMETERS.into_iter().chain(SERVER).chain(selectors).collect();
    page + "\nparameters: " + &parameters.join(", ") + "\n"
}

/// What one process has.
fn lines(inspection: &Inspection, query: &str) -> String {
    let line = |name: &str, description: &str| {
        let path = format!("{name}{query}");
        printable(format!("/debug/pprof/{path:<14}  {description}").trim_end()) + "\n"
    };
    let runtime = inspection.target.runtime();
    let standard = PROFILES.iter().filter(|profile| {
        let event = runtime::scraped_as(runtime, &profile.event);
        served(inspection).any(|served| served == event.as_ref().unwrap_or(&profile.event))
    });
    let own = served(inspection).filter(|event| matches!(event, Event::Named(_)));
    let mut lines: Vec<_> = own.map(|event| line(event.name(), "")).collect();
    lines.extend(standard.map(|profile| line(profile.name, profile.description)));
    lines.push(line(CMDLINE, "arguments of the process"));
    lines.push(line(SYMBOL, "says that names are in the profiles themselves"));
    lines.sort();
    lines.concat()
}

/// The events that can be had as pprof's tools read them. What the kernel counts of a Go program is none of its profiles.
pub(super) fn served(inspection: &Inspection) -> impl Iterator<Item = &Event> {
    let runtime = inspection.target.runtime();
    inspection.possible_events().filter(move |event| {
        let serving = runtime::served_by(&inspection.target, event);
        if matches!(event, Event::Named(_)) && serving != runtime {
            return false;
        }
        let kinds = runtime::recordings(serving, event).iter();
        let mut formats = kinds.flat_map(|kind| kind.formats());
        formats.any(|format| matches!(format, Format::Pprof | Format::Trace))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;
    use crate::runtime::{JavaVm, Reason, RuntimeFacts, Target, Verdict};

    fn inspection(pid: i32, facts: RuntimeFacts, events: &[&str]) -> Inspection {
        let target = Target {
            process: Process::example(pid),
            name: "shop".to_owned(),
            facts,
        };
        let possible = events.iter().map(|event| Verdict::available(event.parse().unwrap()));
        let reason = Reason::new("why", "sentence", "remedy");
        let mut verdicts: Vec<_> = possible.collect();
        verdicts.push(Verdict::impossible(Event::Block, reason));
        Inspection {
            target,
            verdicts: verdicts.into(),
        }
    }

    #[test]
    fn the_index_promises_what_the_process_has() {
        let jvm = || RuntimeFacts::Jvm {
            vm: JavaVm::HotSpot,
            version: None,
        };
        let [one, other] = [
            inspection(7, jvm(), &["cpu", "wall", "alloc", "shop.carts"]),
            inspection(8, jvm(), &["heap", "lock"]),
        ];
        let paths = |inspections: &[Inspection]| {
            let page = page(&Selector::default(), inspections);
            let paths = page.lines().filter_map(|line| line.strip_prefix("/debug/pprof/"));
            let paths = paths.filter_map(|rest| rest.split_whitespace().next().map(str::to_owned));
            paths.collect::<Vec<_>>()
        };
        let of_one = ["allocs", "cmdline", "profile", "shop.carts", "symbol"];
        assert_eq!(paths(std::slice::from_ref(&one)), of_one);
        let of_one = of_one.map(|name| format!("{name}?pid=7"));
        let of_other = ["block", "cmdline", "heap", "mutex", "symbol"].map(|name| format!("{name}?pid=8"));
        assert_eq!(paths(&[one, other]), [&of_one[..], &of_other].concat());
        assert_eq!(paths(&[]), [""; 0]);
        let dotnet = RuntimeFacts::Dotnet {
            version: None,
            rid: None,
            socket: None,
            port: None,
        };
        let of_dotnet = ["allocs", "cmdline", "mutex", "profile", "symbol"];
        assert_eq!(
            paths(&[inspection(9, dotnet, &["cpu", "alloc", "lock", "exceptions"])]),
            of_dotnet
        );
    }
}
