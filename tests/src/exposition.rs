//! Prometheus' text format 0.0.4, read strictly: what `promtool check metrics` refuses, this does.

use std::collections::{BTreeMap, HashSet};

/// A line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the series, of a summary with its `_sum` or `_count`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The number.
    pub value: f64,
}

/// All samples of a page.
///
/// # Panics
/// It is not valid.
pub fn parse(text: &str) -> Vec<Sample> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families: HashSet<&str> = HashSet::new();
    let mut series = HashSet::new();
    let mut samples = Vec::new();
    let (mut helped, mut family, mut kind) = ("", "", "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            is_name(name, true);
            assert!(valid_escapes(help, false) && !help.contains(char::is_control), "{line}");
            assert!(families.insert(name), "a second family {name}");
            helped = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of_kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(helped == name || families.insert(name), "a second family {name}");
            assert!(["counter", "gauge", "summary", "untyped"].contains(&of_kind), "{line}");
            let total = name.ends_with("_total");
            assert_eq!(of_kind == "counter", total, "{line}");
            (family, kind) = (name, of_kind);
        } else {
            let sample = sample(line);
            let allowed: &[&str] = if kind == "summary" { &["_sum", "_count"] } else { &[""] };
            let of_family = allowed.iter().any(|suffix| sample.name == format!("{family}{suffix}"));
            assert!(of_family, "{line}: in the family {family} ({kind})");
            assert!(kind != "counter" || sample.value >= 0.0, "{line}");
            let one = (sample.name.clone(), sample.labels.clone());
            assert!(series.insert(one), "twice: {line}");
            samples.push(sample);
        }
    }
    samples
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    is_name(name, true);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        let mut inner = inner;
        loop {
            let (label, after) = inner.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            is_name(label, false);
            let end = end_of_text(after).unwrap_or_else(|| panic!("an open text: {line}"));
            let value = &after[..end];
            assert!(
                valid_escapes(value, true) && !value.contains(char::is_control),
                "{line}"
            );
            assert!(labels.insert(label.to_owned(), value.to_owned()).is_none(), "{line}");
            inner = &after[end + 1..];
            match inner.strip_prefix(',') {
                Some(more) => inner = more,
                None => break,
            }
        }
        rest = inner.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
    }
    let numbers = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let (value, time) = numbers
        .split_once(' ')
        .map_or((numbers, None), |(value, time)| (value, Some(time)));
    if let Some(time) = time {
        time.parse::<i64>().unwrap_or_else(|_| panic!("{line}"));
    }
    Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().unwrap_or_else(|_| panic!("{line}")),
    }
}

/// Names of metrics may have colons, those of labels not, and both no digit in front.
fn is_name(name: &str, metric: bool) {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || (metric && c == ':');
    let good = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
    assert!(good && (metric || !name.starts_with("__")), "no name: {name:?}");
}

fn end_of_text(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn valid_escapes(text: &str, quotes: bool) -> bool {
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c == '\\' {
            match characters.next() {
                Some('\\' | 'n') => {}
                Some('"') if quotes => {}
                _ => return false,
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn what_prometheus_refuses_is_refused() {
        let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"x\\\"\\\\\\n\",c=\"\"} 1 17\na_total 2\n";
        assert_eq!(parse(good)[0].labels["b"], "x\\\"\\\\\\n");
        for bad in [
            "# TYPE a gauge\na 1",
            "# TYPE a gauge\na\n",
            "# TYPE a gauge\na{} 1\n",
            "# TYPE a gauge\na{b=\"x} 1\n",
            "# TYPE a gauge\na{b=\"x\",b=\"y\"} 1\n",
            "# TYPE a gauge\na{9=\"x\"} 1\n",
            "# TYPE a gauge\na{b=\"\\x\"} 1\n",
            "# TYPE a gauge\na 1 x\n",
            "# TYPE a gauge\na one\n",
            "# TYPE a gauge\na 1\na 2\n",
            "# TYPE a gauge\nb 1\n",
            "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\na{c=\"d\"} 1\n",
            "# TYPE a counter\na 1\n",
            "# TYPE a_total gauge\na_total 1\n",
            "# TYPE a-b gauge\na-b 1\n",
            "# TYPE a summary\na 1\n",
            "a 1\n",
        ] {
            assert!(catch_unwind(|| parse(bad)).is_err(), "{bad}");
        }
    }
}
