//! What a program said that it was doing meanwhile: the spans of async-profiler's API, by whose tags samples can be told apart.
//!
//! A span is written when it ends, behind the samples that are in it; so those of a chunk are read before its samples. A sample does not
//! know a span that ends in a later chunk. Of several the one that began last is meant. Called by [`super::read`].

use std::cmp::Reverse;
use std::collections::HashMap;

use super::JfrError;
use super::cursor::Cursor;
use super::metadata::{Type, Types, Value};

/// Part of a thread's time.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
    /// Key of what it is called.
    tag: u64,
}

/// The spans of a chunk, as they come.
#[derive(Debug)]
pub(super) struct Spans<'t> {
    types: &'t Types,
    span: Option<(u64, &'t Type)>,
    found: HashMap<u64, Vec<Span>, ahash::RandomState>,
}

impl<'t> Spans<'t> {
    pub(super) fn of(types: &'t Types) -> Self {
        Self {
            types,
            span: types.named("profiler.Span"),
            found: HashMap::default(),
        }
    }

    /// Takes an event of the type `id`, if it is a span. One without a tag tells nothing.
    pub(super) fn take(&mut self, id: u64, mut cursor: Cursor<'_>) -> Result<(), JfrError> {
        let Some((_, of_id)) = self.span.filter(|(known, _)| *known == id) else {
            return Ok(());
        };
        let (mut start, mut duration, mut thread, mut tag) = (0_u64, 0, 0, 0);
        for field in &of_id.fields {
            match (field.name.as_str(), self.types.field(&mut cursor, field)?) {
                ("startTime", Value::Number(number)) => start = number,
                ("duration", Value::Number(number)) => duration = number,
                ("eventThread", Value::Number(number)) => thread = number,
                ("tag", Value::Number(number)) => tag = number,
                _ => {}
            }
        }
        if tag != 0 {
            let end = start.saturating_add(duration);
            self.found.entry(thread).or_default().push(Span { start, end, tag });
        }
        Ok(())
    }

    /// They are all there.
    pub(super) fn finish(self) -> Tags {
        let threads = self.found.into_iter();
        Tags(threads.map(|(thread, spans)| (thread, borders(spans))).collect())
    }
}

/// When another tag begins to hold on a thread, and its key, or 0 for none; by thread.
#[derive(Debug, Default)]
pub(super) struct Tags(HashMap<u64, Vec<(u64, u64)>, ahash::RandomState>);

impl Tags {
    /// The key of the tag that holds on a thread at a time, 0 for none.
    pub(super) fn at(&self, thread: u64, time: u64) -> u64 {
        let borders = self.0.get(&thread).map_or(&[][..], Vec::as_slice);
        let behind = borders.partition_point(|(begin, _)| *begin <= time);
        let last = behind.checked_sub(1).and_then(|at| borders.get(at));
        last.map_or(0, |(_, tag)| *tag)
    }
}

fn borders(mut spans: Vec<Span>) -> Vec<(u64, u64)> {
    // Of those that begin together the shortest is within the others.
    spans.sort_unstable_by_key(|span| (span.start, Reverse(span.end), span.tag));
    let (mut open, mut borders) = (Vec::new(), Vec::new());
    for span in spans {
        close(&mut open, span.start, &mut borders);
        borders.push((span.start, span.tag));
        open.push(span);
    }
    close(&mut open, u64::MAX, &mut borders);
    borders
}

/// Ends the spans that end until then: what holds behind one is the last of those before it that goes on.
fn close(open: &mut Vec<Span>, until: u64, borders: &mut Vec<(u64, u64)>) {
    while let Some(ended) = open.pop_if(|span| span.end <= until) {
        while open.pop_if(|span| span.end <= ended.end).is_some() {}
        borders.push((ended.end, open.last().map_or(0, |span| span.tag)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(spans: &[[u64; 3]]) -> Tags {
        let spans = spans.iter().map(|&[start, end, tag]| Span { start, end, tag });
        Tags([(7, borders(spans.collect()))].into_iter().collect())
    }

    fn told(spans: &[[u64; 3]], times: std::ops::Range<u64>) -> Vec<u64> {
        let tags = tags(spans);
        times.map(|time| tags.at(7, time)).collect()
    }

    #[test]
    fn a_moment_has_the_tag_of_the_span_that_began_last() {
        assert_eq!(told(&[[2, 4, 1], [5, 6, 2]], 1..7), [0, 1, 1, 0, 2, 0]);
        assert_eq!(
            told(&[[0, 8, 1], [2, 6, 2], [3, 4, 3]], 0..9),
            [1, 1, 2, 3, 2, 2, 1, 1, 0]
        );
        // Both end together, or begin together, or one ends within another.
        assert_eq!(told(&[[0, 4, 1], [2, 4, 2]], 0..5), [1, 1, 2, 2, 0]);
        assert_eq!(told(&[[0, 2, 1], [0, 4, 2]], 0..5), [1, 1, 2, 2, 0]);
        assert_eq!(told(&[[0, 3, 1], [2, 5, 2]], 0..6), [1, 1, 2, 2, 2, 0]);
        assert_eq!(told(&[[1, 1, 1]], 0..3), [0, 0, 0]);
        let endless = tags(&[[5, u64::MAX, 1]]);
        assert_eq!([4, 5, u64::MAX - 1].map(|time| endless.at(7, time)), [0, 1, 1]);
        assert_eq!(endless.at(8, 6), 0, "another thread");
    }
}
