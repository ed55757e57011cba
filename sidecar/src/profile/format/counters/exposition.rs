//! Counters as the text that Prometheus reads (format 0.0.4): families by name, each sample once.
//!
//! Names, tags and texts are the app's: whatever they hold, the text stays valid.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use crate::profile::counter::{CounterKind, CounterValue};

/// Text in the making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposition(BTreeMap<String, Family>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Family {
    help: String,
    kind: &'static str,
    /// `name{labels}` that are there.
    known: HashSet<String>,
    samples: String,
}

impl Exposition {
    /// Adds a value with `labels` before its own; `time` adds when it was. A runtime's own counters are named by `runtime`, their
    /// provider and their name. A second value of the same name and labels is left out.
    pub fn add(&mut self, runtime: &str, labels: &[(&str, String)], value: &CounterValue, time: bool) {
        let name = metric(runtime, value);
        let (family, kind) = family(&name, value);
        let family = self.0.entry(family.to_owned()).or_insert_with(|| Family {
            help: help(value),
            kind,
            known: HashSet::new(),
            samples: String::new(),
        });
        // The sums of a summary cannot stand in a family of another kind.
        if (family.kind == "summary") != (kind == "summary") {
            return;
        }
        let series = format!("{name}{}", braced(labels, &value.tags));
        if family.known.insert(series.clone()) {
            let _ = match time {
                true => writeln!(family.samples, "{series} {} {}", value.value, value.at_ms),
                false => writeln!(family.samples, "{series} {}", value.value),
            };
        }
    }

    /// Series in it.
    pub fn len(&self) -> usize {
        self.0.values().map(|family| family.known.len()).sum()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    pub fn text(&self) -> String {
        self.merged_into("")
    }

    /// The text behind `page`, which is valid: what belongs to a family of the page stands with it, as a family may be there once.
    pub fn merged_into(&self, page: &str) -> String {
        let mut text = String::with_capacity(page.len());
        let mut merged = HashSet::new();
        let mut open: Option<&str> = None;
        for line in page.lines() {
            let described = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
            let name = described.and_then(|rest| rest.split(' ').next());
            if let Some(name) = name
                && open != Some(name)
            {
                self.close(open.replace(name), &mut text, &mut merged);
            }
            text.push_str(line);
            text.push('\n');
        }
        self.close(open, &mut text, &mut merged);
        for (name, family) in self.0.iter().filter(|(name, _)| !merged.contains(name.as_str())) {
            let _ = writeln!(text, "# HELP {name} {}", family.help);
            let _ = writeln!(text, "# TYPE {name} {}", family.kind);
            text.push_str(&family.samples);
        }
        text
    }

    fn close<'a>(&'a self, name: Option<&str>, text: &mut String, merged: &mut HashSet<&'a str>) {
        if let Some((name, family)) = name.and_then(|name| self.0.get_key_value(name))
            && merged.insert(name)
        {
            text.push_str(&family.samples);
        }
    }
}

/// Name and kind of the family. Prometheus counters would promise totals, and most runtimes tell what was added.
fn family<'a>(name: &'a str, value: &CounterValue) -> (&'a str, &'static str) {
    match value.kind {
        CounterKind::Total => {
            let summary = name.strip_suffix("_count").or_else(|| name.strip_suffix("_sum"));
            summary.map_or((name, "counter"), |name| (name, "summary"))
        }
        CounterKind::Gauge | CounterKind::Rate | CounterKind::Quantile => (name, "gauge"),
    }
}

fn metric(runtime: &str, value: &CounterValue) -> String {
    if value.is_shared() {
        return plain(&value.name);
    }
    let suffix = match value.kind {
        CounterKind::Rate => "_per_second",
        CounterKind::Gauge | CounterKind::Quantile => "",
        CounterKind::Total => "_total",
    };
    format!(
        "{}_{}_{}{suffix}",
        plain(runtime),
        plain(&value.provider),
        plain(&value.name)
    )
}

fn help(value: &CounterValue) -> String {
    let texts = [&*value.display_name, &*value.name];
    let text = texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    match value.unit.as_str() {
        unit if unit.is_empty() || value.is_shared() => escaped(text, false),
        unit => escaped(&format!("{text} ({unit})"), false),
    }
}

/// The first of several labels of a name counts.
fn braced(labels: &[(&str, String)], tags: &str) -> String {
    let own = labels.iter().map(|(key, value)| ((*key).to_owned(), value.as_str()));
    let tags = tags.split(',').filter_map(|tag| tag.split_once('='));
    let tags = tags.map(|(key, value)| (plain(key), value));
    let mut seen = HashSet::new();
    let mut text = String::new();
    for (key, value) in own.chain(tags) {
        if seen.insert(key.clone()) {
            let opening = if text.is_empty() { '{' } else { ',' };
            let _ = write!(text, "{opening}{key}=\"{}\"", escaped(value, true));
        }
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

/// As names in Prometheus are: `Microsoft.AspNetCore.Hosting` becomes `microsoft_aspnetcore_hosting`.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            'a'..='z' | '0'..='9' => plain.push(c),
            'A'..='Z' => plain.push(c.to_ascii_lowercase()),
            _ if plain.ends_with('_') => {}
            _ => plain.push('_'),
        }
    }
    if plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() {
        plain.insert(0, '_');
    }
    plain
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(name: &str, kind: CounterKind, value: f64) -> CounterValue {
        CounterValue::shared("/proc", name, kind, value)
    }

    #[test]
    fn a_family_of_the_page_takes_what_belongs_to_it_and_stays_one() {
        let mut exposition = Exposition::default();
        let labels = [("pid", "17".to_owned())];
        for value in [
            shared("process_resident_memory_bytes", CounterKind::Gauge, 5.0),
            shared("process_resident_memory_bytes", CounterKind::Gauge, 6.0),
            shared("process_cpu_seconds_total", CounterKind::Total, 1.5),
            shared("jvm_gc_collection_seconds_sum", CounterKind::Total, 0.25),
            shared("jvm_gc_collection_seconds_count", CounterKind::Total, 3.0),
            shared("jvm_gc_collection_seconds", CounterKind::Gauge, 3.0),
        ] {
            exposition.add("jvm", &labels, &value, false);
        }
        let page = "\
# HELP a A.
# TYPE a gauge
a 1
# HELP process_resident_memory_bytes Resident memory.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 7
";
        let expected = "\
# HELP a A.
# TYPE a gauge
a 1
# HELP process_resident_memory_bytes Resident memory.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 7
process_resident_memory_bytes{pid=\"17\"} 5
# HELP jvm_gc_collection_seconds jvm_gc_collection_seconds_sum
# TYPE jvm_gc_collection_seconds summary
jvm_gc_collection_seconds_sum{pid=\"17\"} 0.25
jvm_gc_collection_seconds_count{pid=\"17\"} 3
# HELP process_cpu_seconds_total process_cpu_seconds_total
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total{pid=\"17\"} 1.5
";
        assert_eq!(exposition.merged_into(page), expected);
        assert_eq!(exposition.len(), 4);
    }
}
