//! `POST /dump`: the heap of a JVM, what a .NET runtime writes of itself, or the memory of any process as a core file.
//!
//! A capture like any other, of a moment. By POST, and confirmed: nothing that only looks, a link or a prefetching browser, may stop an app.

use axum::extract::State;
use axum::response::Response;

use super::artifact::{self, Disposition};
use super::parameters::SelectorParameters;
use super::problem::ProblemBody;
use super::query::Pairs;
use super::{AppState, Problem};
use crate::capture::CaptureRequest;
use crate::capture::request::RequestError;
use crate::event::Event;
use crate::format::Format;
use crate::parameter::Takes;
use crate::runtime::{CORE, DUMP, DumpType, Runtime};

/// How one asks for a dump.
pub(super) const SPELLING: &str = "POST /dump?type=heap&confirm=yes (of .NET type: mini, heap, triage or full; of a JVM all=true and gz=1; of any process type=core): the app \
                                   stands still until it is written, and it holds all secrets that the app has in memory";

/// Levels of gzip.
const LEVEL: Takes = Takes::Number {
    what: "level of gzip",
    least: 1,
    most: 9,
};

/// What is said of a JVM's parameters.
const OF_A_JVM: &str = "nothing beside type=core: a JVM can do that with the heap that it writes itself";

/// The heap of a JVM (HPROF), what a .NET runtime writes of itself, or the memory of any process (core files).
///
/// For Eclipse MAT and VisualVM; for dotnet-dump; for gdb, lldb, Delve and jhsdb. The app stands still until it is written, and it holds the
/// app's secrets: hence POST and confirm=yes. What a JVM or .NET writes lies in the temporary directory of the process, where no other user can
/// read it, until it has been written, and no longer; 507 `target_disk_full` says that there is no room for it, before the runtime is asked. Of
/// Go and machine code, and with type=core of a JVM or .NET that hangs or writes none, sideflame reads the memory (ptrace) into its own store
/// and writes nothing in the app; 507 says that there is no room, before the app is stopped. For how many milliseconds it was,
/// `Sideflame-Sampler` and `quality.durationMs` say.
#[utoipa::path(post, path = "/dump", tag = "captures",
    params(
        ("type" = Option<String>, Query, description = "of .NET: mini (stacks and what they lead to), heap (the default), triage (as mini, without \
            what may be private), full; of an app that is a single file only full, and from .NET 10 on. Of a JVM heap is all \
            there is. Of any process: core, for which its runtime is not asked"),
        ("all" = Option<bool>, Query, description = "of a JVM: objects that nothing refers to as well; without it only live ones, after a full \
            collection"),
        ("gz" = Option<u8>, Query, minimum = 1, maximum = 9, description = "of a JVM: compressed by gzip with this level; by the JVM itself, so that less of its \
            disk is needed, from JDK 17 on"),
        ("confirm" = String, Query, description = "yes"),
        SelectorParameters,
    ),
    responses(
        (status = 200, description = "the file; Content-Location is where it can be had again, and DELETE of that capture removes it",
            content_type = "application/octet-stream", body = Vec<u8>),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn dump(State(state): State<AppState>, pairs: Pairs) -> Result<Response, Problem> {
    let request = request(&pairs, state.captures.settings().max_seconds)?;
    artifact::taken(&state, &request, &Disposition::Attachment).await
}

fn request(pairs: &Pairs, max_seconds: u64) -> Result<CaptureRequest, Problem> {
    pairs.only_with_selectors(&["type", "all", "gz", "confirm"])?;
    let name = pairs.value("type").unwrap_or(DumpType::Heap.name());
    let kind = DumpType::named(name);
    if kind.is_none() && name != CORE {
        let names: Vec<_> = DumpType::ALL.iter().map(|kind| kind.name()).chain([CORE]).collect();
        let expected = format!("one of {}", names.join(", "));
        let allowed = names.into_iter().map(str::to_owned).collect();
        return Err(invalid("type", name, &expected, allowed));
    }
    let level = pairs.value("gz").map(|level| match LEVEL.number(level) {
        Ok(number) => u8::try_from(number).map_err(|_| level),
        Err(_) => Err(level),
    });
    let level = level.transpose();
    let gz = level.map_err(|level| invalid("gz", level, &LEVEL.expected(), Vec::new()))?;
    if pairs.value("confirm") != Some("yes") {
        return Err(Problem::unconfirmed("a dump has to be confirmed", SPELLING));
    }
    let own = pairs.0.iter().filter(|(name, _)| name == "all").cloned();
    let pairs: Vec<_> = pairs.selectors().into_iter().chain(own).collect();
    let mut request = CaptureRequest::parse(&pairs, max_seconds)?;
    request.snapshot = true;
    request.options.native.dump = true;
    let Some(kind) = kind else {
        if let Some((_, value)) = pairs.iter().find(|(name, _)| name == "all") {
            return Err(invalid("all", value, OF_A_JVM, Vec::new()));
        }
        if let Some(level) = gz {
            return Err(invalid("gz", &level.to_string(), OF_A_JVM, Vec::new()));
        }
        request.event = Event::Named(CORE.to_owned());
        return Ok(request);
    };
    request.event = Event::Named(DUMP.to_owned());
    request.options.dotnet.dump = Some(kind);
    if kind != DumpType::Heap {
        request.options.given_for(Runtime::Dotnet, "type");
    }
    request.options.jvm.dump = Some(gz);
    if gz.is_some() {
        request.options.given_for(Runtime::Jvm, "gz");
        request.format = Some(Format::HprofGz);
    }
    Ok(request)
}

fn invalid(name: &'static str, value: &str, expected: &str, allowed: Vec<String>) -> Problem {
    Problem::from(RequestError::Invalid {
        name,
        value: value.chars().take(40).collect(),
        expected: expected.to_owned(),
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&str, &str)]) -> Result<CaptureRequest, &'static str> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        request(&Pairs(pairs.collect()), 600).map_err(|problem| problem.code())
    }

    #[test]
    fn nothing_is_dumped_that_was_not_confirmed() {
        assert_eq!(ask(&[]), Err("invalid_parameter"));
        for answer in ["", "no", "true", "YES"] {
            assert_eq!(ask(&[("confirm", answer), ("type", "mini")]), Err("invalid_parameter"));
        }
        let usual = ask(&[("confirm", "yes")]).unwrap();
        assert_eq!(usual.options.dotnet.dump, Some(DumpType::Heap));
        for kind in DumpType::ALL {
            let asked = ask(&[("confirm", "yes"), ("type", kind.name())]).unwrap();
            assert_eq!(asked.options.dotnet.dump, Some(kind));
            // A JVM has only one.
            let foreign = asked.options.foreign_to(Runtime::Jvm);
            assert_eq!(foreign.is_none(), kind == DumpType::Heap, "{foreign:?}");
        }
    }

    #[test]
    fn what_is_a_jvms_is_not_asked_of_dotnet() {
        let asked = ask(&[("confirm", "yes"), ("gz", "1"), ("all", "true")]).unwrap();
        assert_eq!(asked.options.jvm.dump, Some(Some(1)));
        assert!(asked.options.jvm.all && asked.format == Some(Format::HprofGz));
        assert!(
            asked.options.foreign_to(Runtime::Jvm).is_none() && asked.options.foreign_to(Runtime::Dotnet).is_some()
        );
        for bad in ["0", "10", "", "-1", "true"] {
            assert_eq!(
                ask(&[("confirm", "yes"), ("gz", bad)]),
                Err("invalid_parameter"),
                "{bad}"
            );
        }
        assert_eq!(ask(&[("confirm", "yes"), ("all", "perhaps")]), Err("invalid_parameter"));
    }

    #[test]
    fn a_core_file_is_of_any_process_and_all_there_is() {
        let asked = ask(&[("confirm", "yes"), ("type", "core")]).unwrap();
        assert_eq!(asked.event.name(), CORE);
        assert!(asked.options.native.dump && asked.options.dotnet.dump.is_none() && asked.options.jvm.dump.is_none());
        for runtime in [Runtime::Jvm, Runtime::Dotnet, Runtime::Go, Runtime::Native] {
            assert!(asked.options.foreign_to(runtime).is_none());
        }
        for foreign in [("all", "true"), ("gz", "1")] {
            assert_eq!(
                ask(&[("confirm", "yes"), ("type", "core"), foreign]),
                Err("invalid_parameter")
            );
        }
    }

    #[test]
    fn only_known_types_and_parameters_are_taken() {
        assert_eq!(ask(&[("confirm", "yes"), ("type", "4")]), Err("invalid_parameter"));
        assert_eq!(ask(&[("confirm", "yes"), ("path", "/etc")]), Err("unknown_parameter"));
        assert_eq!(
            ask(&[("confirm", "yes"), ("confirm", "yes")]),
            Err("repeated_parameter")
        );
    }
}
