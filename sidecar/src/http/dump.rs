//! `POST /dump`: the memory of a process as a core file.
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
use crate::runtime::{DUMP, DumpType};

/// How one asks for a dump.
pub(super) const SPELLING: &str = "POST /dump?type=heap&confirm=yes (type: mini, heap, triage or full): the app stands still until it is written, and \
                                   it holds all secrets that the app has in memory";

/// The memory of a .NET process as a core file.
///
/// For dotnet-dump, lldb and gdb. The app stands still until it is written, and it holds the app's secrets: hence POST and confirm=yes. It
/// lies in the temporary directory of the process, where no other user can read it, until it has been written, and no longer.
#[utoipa::path(post, path = "/dump", tag = "captures",
    params(
        ("type" = Option<String>, Query, description = "mini (stacks and what they lead to), heap (the default), triage (as mini, without what \
            may be private), full; of an app that is a single file only full, and from .NET 10 on"),
        ("confirm" = String, Query, description = "yes"),
        SelectorParameters,
    ),
    responses(
        (status = 200, description = "the core file; Content-Location is where it can be had again, and DELETE of that capture removes it",
            content_type = "application/octet-stream", body = Vec<u8>),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn dump(State(state): State<AppState>, pairs: Pairs) -> Result<Response, Problem> {
    let request = request(&pairs, state.captures.settings().max_seconds)?;
    artifact::taken(&state, &request, &Disposition::Attachment).await
}

fn request(pairs: &Pairs, max_seconds: u64) -> Result<CaptureRequest, Problem> {
    pairs.only_with_selectors(&["type", "confirm"])?;
    let name = pairs.value("type").unwrap_or(DumpType::Heap.name());
    let Some(kind) = DumpType::named(name) else {
        let names = DumpType::ALL.map(|kind| kind.name().to_owned());
        return Err(Problem::from(RequestError::Invalid {
            name: "type",
            value: name.chars().take(40).collect(),
            expected: format!("one of {}", names.join(", ")),
            allowed: names.into(),
        }));
    };
    if pairs.value("confirm") != Some("yes") {
        return Err(Problem::unconfirmed("a dump has to be confirmed", SPELLING));
    }
    let mut request = CaptureRequest::parse(&pairs.selectors(), max_seconds)?;
    request.event = Event::Named(DUMP.to_owned());
    request.format = Some(Format::Dump);
    request.snapshot = true;
    request.dump = true;
    request.options.dotnet.dump = Some(kind);
    Ok(request)
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
