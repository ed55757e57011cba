//! The values of counters in a session's stream, a line each as soon as they come.
//!
//! Two kinds of sources: `EventCounters` of an `EventSource`, from .NET Core 3.0, and instruments of Meters, which
//! `System.Diagnostics.Metrics` publishes from .NET 6. Called by [`super::record`], in the recorder, as what it copies a session to.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::profile::counter::{CounterKind, CounterValue};
use crate::profile::format::nettrace::cursor::{Cursor, Utf16};
use crate::profile::format::nettrace::decoder::{Decoder, Event, NettraceError, Visitor};
use crate::profile::format::nettrace::fields::{self, Field, Value};
use crate::profile::format::nettrace::metadata::Metadata;
use crate::profile::format::nettrace::trace_header::TraceHeader;

use super::providers::METRICS;

/// Kinds of events that have counters; a runtime has two for each `EventSource`.
const MOST_KINDS: usize = 4096;
/// Longest text of a counter.
const MAX_TEXT: usize = 4 << 10;
/// Sentences of the runtime about counters that it leaves out.
const MOST_NOTES: usize = 8;

/// What a kind of event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// A value of an `EventSource`'s counter.
    EventCounter,
    /// What was added to a Meter's counter.
    Added,
    /// The last value of a Meter's gauge.
    Last,
    /// The sum of a Meter's up-down counter.
    Sum,
    /// Quantiles of a Meter's histogram.
    Quantiles,
    /// Why values are missing.
    Trouble,
}

/// Takes a stream and writes the values in it.
pub struct CounterLines<'a> {
    decoder: Decoder<Option<usize>>,
    values: Values<'a>,
}

impl std::fmt::Debug for CounterLines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CounterLines").finish_non_exhaustive()
    }
}

struct Values<'a> {
    out: &'a mut dyn Write,
    header: TraceHeader,
    kinds: Vec<(Tells, String, Vec<Field>)>,
    /// Seconds between two values of a Meter.
    interval: f64,
    notes: BTreeSet<String>,
}

impl<'a> CounterLines<'a> {
    /// Writes to `out`; Meters were asked for a value every `interval` seconds.
    pub fn new(out: &'a mut dyn Write, interval: u32) -> Self {
        Self {
            decoder: Decoder::default(),
            values: Values {
                out,
                header: TraceHeader::default(),
                kinds: Vec::new(),
                interval: f64::from(interval.max(1)),
                notes: BTreeSet::new(),
            },
        }
    }

    /// How many events are missing, and what the runtime says of counters that are not there.
    pub fn missing(self) -> (Option<u64>, Vec<String>) {
        (self.decoder.finish().ok(), self.values.notes.into_iter().collect())
    }
}

impl Write for CounterLines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.decoder
            .feed(bytes, &mut self.values)
            .map_err(|error| match error {
                CountersError::Stream(error) => io::Error::new(io::ErrorKind::InvalidData, error),
                CountersError::Write(error) => error,
            })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.values.out.flush()
    }
}

enum CountersError {
    Stream(NettraceError),
    Write(io::Error),
}

impl From<NettraceError> for CountersError {
    fn from(error: NettraceError) -> Self {
        Self::Stream(error)
    }
}

impl Visitor for Values<'_> {
    type Kind = Option<usize>;
    type Error = CountersError;

    fn trace(&mut self, header: &TraceHeader) {
        self.header = *header;
    }

    fn describe(&mut self, metadata: &Metadata) -> Option<usize> {
        let tells = match (metadata.provider.as_str(), metadata.name.as_str()) {
            (METRICS, "CounterRateValuePublished") => Tells::Added,
            (METRICS, "GaugeValuePublished") => Tells::Last,
            (METRICS, "UpDownCounterRateValuePublished") => Tells::Sum,
            (METRICS, "HistogramValuePublished") => Tells::Quantiles,
            (METRICS, name) if name.ends_with("Error") || name.ends_with("LimitReached") => Tells::Trouble,
            (_, "EventCounters") => Tells::EventCounter,
            _ => return None,
        };
        let name = if tells == Tells::Trouble {
            &metadata.name
        } else {
            &metadata.provider
        };
        (self.kinds.len() < MOST_KINDS).then(|| {
            self.kinds.push((tells, name.clone(), metadata.fields.clone()));
            self.kinds.len() - 1
        })
    }

    fn event(&mut self, event: &Event<'_, Option<usize>>) -> Result<(), CountersError> {
        let Some((tells, name, described)) = event.kind.and_then(|kind| self.kinds.get(kind)) else {
            return Ok(());
        };
        let mut told = Told::default();
        let mut payload = Cursor::new(event.payload);
        // A payload that is too short for its fields has told what it could.
        let _ = fields::each(described, &mut payload, &mut |name, value| told.take(name, value));
        if *tells == Tells::Trouble {
            if self.notes.len() < MOST_NOTES {
                let error = [told.text("errorMessage"), told.text("exceptionMessage")].concat();
                self.notes.insert(
                    format!("{name} of the runtime: counters are missing {error}")
                        .trim()
                        .to_owned(),
                );
            }
            return Ok(());
        }
        let ticks = event.header.time.saturating_sub(self.header.start);
        let at_ms = self
            .header
            .unix_nanoseconds
            .saturating_add(self.header.nanoseconds(ticks))
            / 1_000_000;
        for value in told.values(*tells, name, self.interval, at_ms) {
            let mut line = serde_json::to_vec(&value).map_err(|error| CountersError::Write(error.into()))?;
            line.push(b'\n');
            self.out.write_all(&line).map_err(CountersError::Write)?;
        }
        Ok(())
    }
}

/// The fields of an event that are of use.
#[derive(Debug, Default)]
struct Told {
    texts: Vec<(&'static str, String)>,
    numbers: Vec<(&'static str, f64)>,
}

const TEXTS: [&str; 15] = [
    "Name",
    "DisplayName",
    "DisplayUnits",
    "CounterType",
    "Metadata",
    "meterName",
    "instrumentName",
    "unit",
    "tags",
    "rate",
    "value",
    "lastValue",
    "quantiles",
    "errorMessage",
    "exceptionMessage",
];
const NUMBERS: [&str; 3] = ["Mean", "Increment", "IntervalSec"];

impl Told {
    fn take(&mut self, name: &str, value: Value<'_>) {
        match value {
            Value::Text(text) => {
                if let Some(name) = TEXTS.into_iter().find(|known| *known == name) {
                    self.texts.push((name, short(text)));
                }
            }
            Value::Number(number) => {
                if let Some(name) = NUMBERS.into_iter().find(|known| *known == name) {
                    self.numbers.push((name, number));
                }
            }
        }
    }

    fn text(&self, name: &str) -> &str {
        let found = self.texts.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, text)| text)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.numbers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| *number)
    }

    /// A number that is written as text, without regard to the app's culture.
    fn written(&self, name: &str) -> Option<f64> {
        self.text(name).parse().ok()
    }

    fn values(&self, tells: Tells, provider: &str, interval: f64, at_ms: u64) -> Vec<CounterValue> {
        let of_meter = |kind, value: f64, tags: String| CounterValue {
            at_ms,
            provider: self.text("meterName").to_owned(),
            name: self.text("instrumentName").to_owned(),
            display_name: String::new(),
            unit: self.text("unit").to_owned(),
            tags,
            kind,
            value,
        };
        let tags = || self.text("tags").to_owned();
        let one = match tells {
            Tells::EventCounter => self.event_counter(provider, at_ms),
            Tells::Added => self
                .written("rate")
                .map(|added| of_meter(CounterKind::Rate, added / interval, tags())),
            Tells::Last => self
                .written("lastValue")
                .map(|value| of_meter(CounterKind::Gauge, value, tags())),
            Tells::Sum => self
                .written("value")
                .map(|value| of_meter(CounterKind::Gauge, value, tags())),
            Tells::Quantiles => {
                let pairs = self
                    .text("quantiles")
                    .split(';')
                    .filter_map(|pair| pair.split_once('='));
                let values = pairs.take(8).filter_map(|(quantile, value)| {
                    let tags = [self.text("tags"), &format!("quantile={quantile}")];
                    let tags = tags
                        .into_iter()
                        .filter(|tag| !tag.is_empty())
                        .collect::<Vec<_>>()
                        .join(",");
                    Some(of_meter(CounterKind::Quantile, value.parse().ok()?, tags))
                });
                return values.filter(|value| value.value.is_finite()).collect();
            }
            Tells::Trouble => None,
        };
        one.into_iter().filter(|value| value.value.is_finite()).collect()
    }

    fn event_counter(&self, provider: &str, at_ms: u64) -> Option<CounterValue> {
        let (kind, value) = match (self.number("Increment"), self.number("Mean")) {
            (Some(added), _) => {
                let seconds = self.number("IntervalSec").filter(|seconds| *seconds > 0.0);
                (CounterKind::Rate, added / seconds.unwrap_or(1.0))
            }
            (None, mean) => (CounterKind::Gauge, mean?),
        };
        Some(CounterValue {
            at_ms,
            provider: provider.to_owned(),
            name: self.text("Name").to_owned(),
            display_name: self.text("DisplayName").to_owned(),
            unit: self.text("DisplayUnits").to_owned(),
            tags: self.text("Metadata").replace(':', "="),
            kind,
            value,
        })
    }
}

/// Text without what a terminal obeys, and not longer than names are.
fn short(text: Utf16<'_>) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.decode().chars().take(MAX_TEXT).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::counters::read::{Series, read};

    /// The values in what a runtime sent before its rundown.
    fn recorded(stream: &[u8], interval: u32) -> Vec<Series> {
        let mut out = Vec::new();
        let mut lines = CounterLines::new(&mut out, interval);
        for piece in stream.chunks(1000) {
            lines.write_all(piece).unwrap();
        }
        assert_eq!(lines.missing(), (None, Vec::new()), "the end of the stream is cut off");
        read(&*out).unwrap()
    }

    fn counter<'a>(all: &'a [Series], name: &str) -> &'a CounterValue {
        let mut named = all.iter().filter(|series| series.last.name == name);
        let found = &named.next().unwrap().last;
        assert_eq!(named.next(), None, "{name}");
        found
    }

    #[test]
    fn counters_of_event_sources_are_gauges_or_rates_per_second() {
        let all = recorded(include_bytes!("../../../tests/data/counters/dotnet-3.1.nettrace"), 1);
        assert!(all.iter().all(|series| series.last.provider == "System.Runtime"));
        let heap = counter(&all, "gc-heap-size");
        assert_eq!(
            (&*heap.display_name, &*heap.unit, heap.kind),
            ("GC Heap Size", "MB", CounterKind::Gauge)
        );
        assert!(heap.value > 1.0 && heap.at_ms > 1_700_000_000_000, "{heap:?}");
        let rate = counter(&all, "alloc-rate");
        assert_eq!(rate.kind, CounterKind::Rate);
        assert!(rate.value > 1e6, "{rate:?}");
    }

    #[test]
    fn instruments_of_meters_have_their_tags_and_units() {
        let stream = include_bytes!("../../../tests/data/counters/dotnet-10.nettrace");
        let all = recorded(stream, 1);
        let set = counter(&all, "dotnet.process.memory.working_set");
        assert_eq!(
            (&*set.provider, &*set.unit, set.kind),
            ("System.Runtime", "By", CounterKind::Gauge)
        );
        assert!(set.value > 1e7, "{set:?}");
        let generations = all
            .iter()
            .filter(|series| series.last.name == "dotnet.gc.last_collection.heap.size");
        let tags: Vec<_> = generations.map(|series| &*series.last.tags).collect();
        assert!(tags.contains(&"gc.heap.generation=gen2"), "{tags:?}");
        let allocated = counter(&all, "dotnet.gc.heap.total_allocated");
        assert_eq!(allocated.kind, CounterKind::Rate);
        let slower = recorded(stream, 2);
        let half = counter(&slower, "dotnet.gc.heap.total_allocated").value * 2.0;
        assert!((half - allocated.value).abs() < 1e-6, "per second, not per interval");
    }

    #[test]
    fn a_malformed_stream_ends_with_what_it_was() {
        let mut out = Vec::new();
        let mut lines = CounterLines::new(&mut out, 1);
        let error = lines.write_all(&[b'x'; 100]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
