//! What to ask `net/http/pprof` for, per event. Called by [`super::plan`].

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parameters::GoOptions;
use crate::event::Event;
use crate::format::RecordingKind;
use crate::runtime::{HISTOGRAM, PlanError};

/// Go 1.27's profile of goroutines that nothing can wake any more; the only one without an event of ours that has
/// differences.
const GOROUTINE_LEAK: &str = "goroutineleak";

/// What lives, and what was allocated.
const HEAP: &str = "heap";

/// How the answer relates to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Span {
    /// Samples for the time asked for. When the request is cancelled the handler still sends what it has (Go's
    /// `pprof.Profile` and `pprof.Trace` only stop sleeping).
    Sampled,
    /// The difference between two moments. A cancelled request is answered with an error.
    Difference,
    /// A moment.
    Snapshot,
}

/// A request below the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProfileRequest {
    /// Name of Go's profile.
    pub(super) profile: Cow<'static, str>,
    /// Query without the question mark; may be empty.
    pub(super) query: String,
    /// How the answer relates to time.
    pub(super) span: Span,
    /// How long that takes; nothing for a moment.
    pub(super) time: Duration,
    /// What the answer must be.
    pub(super) kind: RecordingKind,
}

/// Go's name of the profile of `event`, and how it comes about where nothing else is asked for; `None` when Go has none.
pub(super) fn profile_of(event: &Event) -> Option<(Cow<'static, str>, Span)> {
    let (profile, span) = match event {
        Event::Cpu => ("profile", Span::Sampled),
        Event::Trace => ("trace", Span::Sampled),
        Event::Alloc => ("allocs", Span::Difference),
        Event::Lock => ("mutex", Span::Difference),
        Event::Block => ("block", Span::Difference),
        Event::Heap => (HEAP, Span::Snapshot),
        Event::Named(name) if name == HISTOGRAM => (HEAP, Span::Snapshot),
        Event::Goroutine => ("goroutine", Span::Snapshot),
        Event::Threadcreate => ("threadcreate", Span::Snapshot),
        Event::Named(name) => return Some((name.clone().into(), Span::Snapshot)),
        Event::Wall | Event::Exceptions | Event::Counters | Event::Several(_) => return None,
    };
    Some((profile.into(), span))
}

impl ProfileRequest {
    /// The request for `event` as a recording of `kind`; `None` when Go has no such profile.
    ///
    /// `heap` is what lives after a collection; the others that can are differences, so that a capture of an incident
    /// does not show the days before it. With `seconds` 0 they are what Go itself answers without parameters: the totals
    /// since the start of the program, and no collection for `heap`. Go's text is always of a moment.
    ///
    /// # Errors
    /// An option that does not fit the event or the kind.
    pub(super) fn new(
        event: &Event,
        seconds: u64,
        kind: RecordingKind,
        options: &GoOptions,
    ) -> Result<Option<Self>, PlanError> {
        let kind = match (kind, options.debug) {
            // Goroutines with equal stacks together, without their numbers.
            (RecordingKind::Goroutines, Some(1)) => RecordingKind::Text,
            (kind, _) => kind,
        };
        refuse_unsuitable(event, seconds, kind, options)?;
        let Some((profile, span)) = profile_of(event) else {
            return Ok(None);
        };
        let span = match span {
            Span::Sampled => span,
            _ if seconds == 0 || is_text(kind) => Span::Snapshot,
            _ if options.difference => Span::Difference,
            span => span,
        };
        let time = match (span, options.millis) {
            (Span::Snapshot, _) => Duration::ZERO,
            (Span::Sampled, Some(millis)) => Duration::from_millis(millis),
            _ => Duration::from_secs(seconds),
        };
        let mut query = Vec::new();
        if span != Span::Snapshot {
            query.push(format!("seconds={}", time.as_secs_f64()));
        }
        // What a histogram counts lives now, not at the last collection.
        let collects = options.gc || seconds > 0 || kind == RecordingKind::AllocationSites;
        if profile == HEAP && span == Span::Snapshot && collects {
            query.push("gc=1".to_owned());
        }
        match kind {
            RecordingKind::Text => query.push(format!("debug={}", options.debug.unwrap_or(1))),
            RecordingKind::Goroutines => query.push("debug=2".to_owned()),
            _ => {}
        }
        Ok(Some(Self {
            profile,
            query: query.join("&"),
            span,
            time,
            kind,
        }))
    }

    /// Path and query below `index`, which ends with a slash.
    pub(super) fn path_and_query(&self, index: &str) -> String {
        // The only characters of an event's name that a path does not have.
        let profile = self.profile.replace('<', "%3C").replace('>', "%3E");
        match self.query.as_str() {
            "" => format!("{index}{profile}"),
            query => format!("{index}{profile}?{query}"),
        }
    }
}

/// True if Go writes it for people.
fn is_text(kind: RecordingKind) -> bool {
    matches!(kind, RecordingKind::Text | RecordingKind::Goroutines)
}

fn refuse_unsuitable(event: &Event, seconds: u64, kind: RecordingKind, options: &GoOptions) -> Result<(), PlanError> {
    let unsuitable = |parameter, message: &str| {
        Err(PlanError::Unsuitable {
            parameter,
            message: message.to_owned(),
        })
    };
    if options.debug.is_some() && !is_text(kind) {
        return unsuitable(
            "debug",
            "debug is of Go's text: add format=text, which cpu and trace do not have",
        );
    }
    if options.gc && *event != Event::Heap {
        return unsuitable("gc", "gc is of event=heap");
    }
    match event {
        Event::Named(name) if options.difference && seconds > 0 && name != GOROUTINE_LEAK => unsuitable(
            "seconds",
            "Go gives no difference of a profile that the program defines itself",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{ProfileRequest, Span};
    use crate::event::Event;
    use crate::format::RecordingKind;
    use crate::runtime::PlanError;
    use crate::runtime::go::parameters::GoOptions;

    fn request(event: &Event, seconds: u64, options: &GoOptions) -> Result<ProfileRequest, PlanError> {
        let kind = match (event, options.debug) {
            (Event::Trace, _) => RecordingKind::Trace,
            (_, Some(_)) => RecordingKind::Text,
            _ => RecordingKind::Pprof,
        };
        ProfileRequest::new(event, seconds, kind, options).map(Option::unwrap)
    }

    fn path(event: &Event, seconds: u64, options: &GoOptions) -> String {
        let request = request(event, seconds, options).unwrap();
        request.path_and_query("/debug/pprof/")["/debug/pprof/".len()..].to_owned()
    }

    #[test]
    fn every_event_of_go_has_its_request() {
        let path = |event| path(&event, 5, &GoOptions::default());
        assert_eq!(path(Event::Cpu), "profile?seconds=5");
        assert_eq!(path(Event::Trace), "trace?seconds=5");
        assert_eq!(path(Event::Alloc), "allocs?seconds=5");
        assert_eq!(path(Event::Lock), "mutex?seconds=5");
        assert_eq!(path(Event::Block), "block?seconds=5");
        assert_eq!(path(Event::Heap), "heap?gc=1");
        assert_eq!(path(Event::Goroutine), "goroutine");
        assert_eq!(path(Event::Threadcreate), "threadcreate");
        assert_eq!(path(Event::Named("shop.carts".to_owned())), "shop.carts");
        assert_eq!(path(Event::Named("<pool>/a".to_owned())), "%3Cpool%3E/a");
        for none in [Event::Wall, Event::Exceptions] {
            let asked = ProfileRequest::new(&none, 5, RecordingKind::Pprof, &GoOptions::default());
            assert!(asked.unwrap().is_none(), "{none}");
        }
    }

    #[test]
    fn zero_seconds_ask_for_what_go_answers_by_itself() {
        for (event, profile) in [(Event::Alloc, "allocs"), (Event::Lock, "mutex"), (Event::Heap, "heap")] {
            let request = request(&event, 0, &GoOptions::default()).unwrap();
            assert_eq!(
                (request.query.as_str(), &*request.profile, request.span),
                ("", profile, Span::Snapshot)
            );
        }
    }

    #[test]
    fn the_grammar_of_go_is_passed_on_whole() {
        let difference = GoOptions {
            difference: true,
            ..GoOptions::default()
        };
        assert_eq!(path(&Event::Heap, 5, &difference), "heap?seconds=5");
        assert_eq!(path(&Event::Goroutine, 5, &difference), "goroutine?seconds=5");
        let leak = Event::Named("goroutineleak".to_owned());
        assert_eq!(path(&leak, 5, &difference), "goroutineleak?seconds=5");
        let own = request(&Event::Named("carts".to_owned()), 5, &difference);
        assert!(matches!(
            own,
            Err(PlanError::Unsuitable {
                parameter: "seconds",
                ..
            })
        ));
        let collected = GoOptions {
            gc: true,
            ..GoOptions::default()
        };
        assert_eq!(path(&Event::Heap, 0, &collected), "heap?gc=1");
        assert!(request(&Event::Alloc, 0, &collected).is_err());
        let text = GoOptions {
            debug: Some(2),
            ..GoOptions::default()
        };
        assert_eq!(path(&Event::Goroutine, 30, &text), "goroutine?debug=2");
        assert_eq!(path(&Event::Alloc, 30, &text), "allocs?debug=2");
        assert!(ProfileRequest::new(&Event::Heap, 0, RecordingKind::Pprof, &text).is_err());
        let part = GoOptions {
            millis: Some(250),
            ..GoOptions::default()
        };
        assert_eq!(path(&Event::Trace, 1, &part), "trace?seconds=0.25");
    }
}
