//! What to ask `net/http/pprof` for, per event. Called by [`super::plan`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::format::RecordingKind;

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
    /// What the answer must be.
    pub(super) kind: RecordingKind,
}

impl ProfileRequest {
    /// The request for `event`; `None` when Go has no such profile.
    ///
    /// `heap` is what lives after a collection; the others that can are differences, so that a capture of an incident
    /// does not show the days before it. With `seconds` 0 they are what Go itself answers without parameters: the totals
    /// since the start of the program, and no collection for `heap`.
    pub(super) fn new(event: &Event, seconds: u64) -> Option<Self> {
        let (profile, span) = match event {
            Event::Cpu => ("profile", Span::Sampled),
            Event::Trace => ("trace", Span::Sampled),
            Event::Alloc => ("allocs", Span::Difference),
            Event::Lock => ("mutex", Span::Difference),
            Event::Block => ("block", Span::Difference),
            Event::Heap => ("heap", Span::Snapshot),
            Event::Goroutine => ("goroutine", Span::Snapshot),
            Event::Threadcreate => ("threadcreate", Span::Snapshot),
            Event::Wall | Event::Exceptions | Event::Named(_) => return None,
        };
        let span = if seconds == 0 && span == Span::Difference {
            Span::Snapshot
        } else {
            span
        };
        let query = match (event, span) {
            (Event::Heap, _) if seconds > 0 => "gc=1".to_owned(),
            (_, Span::Snapshot) => String::new(),
            _ => format!("seconds={seconds}"),
        };
        let kind = if *event == Event::Trace {
            RecordingKind::Trace
        } else {
            RecordingKind::Pprof
        };
        Some(Self {
            profile: profile.into(),
            query,
            span,
            kind,
        })
    }

    /// Path and query below `index`, which ends with a slash.
    pub(super) fn path_and_query(&self, index: &str) -> String {
        match self.query.as_str() {
            "" => format!("{index}{}", self.profile),
            query => format!("{index}{}?{query}", self.profile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ProfileRequest, Span};
    use crate::event::Event;
    use crate::format::RecordingKind;

    fn path(event: &Event) -> String {
        ProfileRequest::new(event, 5).unwrap().path_and_query("/debug/pprof/")
    }

    #[test]
    fn every_event_of_go_has_its_request() {
        assert_eq!(path(&Event::Cpu), "/debug/pprof/profile?seconds=5");
        assert_eq!(path(&Event::Trace), "/debug/pprof/trace?seconds=5");
        assert_eq!(path(&Event::Alloc), "/debug/pprof/allocs?seconds=5");
        assert_eq!(path(&Event::Lock), "/debug/pprof/mutex?seconds=5");
        assert_eq!(path(&Event::Block), "/debug/pprof/block?seconds=5");
        assert_eq!(path(&Event::Heap), "/debug/pprof/heap?gc=1");
        assert_eq!(path(&Event::Goroutine), "/debug/pprof/goroutine");
        assert_eq!(path(&Event::Threadcreate), "/debug/pprof/threadcreate");
    }

    #[test]
    fn zero_seconds_ask_for_what_go_answers_by_itself() {
        for (event, profile) in [(Event::Alloc, "allocs"), (Event::Lock, "mutex"), (Event::Heap, "heap")] {
            let request = ProfileRequest::new(&event, 0).unwrap();
            assert_eq!(
                (request.query.as_str(), &*request.profile, request.span),
                ("", profile, Span::Snapshot)
            );
        }
    }

    #[test]
    fn only_the_trace_is_no_pprof() {
        for event in Event::ALL {
            let Some(request) = ProfileRequest::new(&event, 5) else {
                assert!(matches!(event, Event::Wall | Event::Exceptions));
                continue;
            };
            assert_eq!(request.kind == RecordingKind::Trace, event == Event::Trace);
            assert_eq!(
                request.query.is_empty() || event == Event::Heap,
                request.span == Span::Snapshot
            );
        }
    }
}
