//! Writes counters as one JSON document, and as the text that Prometheus reads.

use std::io::{self, Write};

use serde::Serialize;

use super::exposition::Exposition;
use super::read::Series;
use crate::profile::counter::CounterValue;
use crate::profile::quality::Quality;

/// All counters with their values: `value` is the last one.
///
/// # Errors
/// The output fails.
pub fn json(all: &[Series], quality: &Quality, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        counters: Vec<Counter<'a>>,
        quality: &'a Quality,
    }
    #[derive(Serialize)]
    struct Counter<'a> {
        #[serde(flatten)]
        last: &'a CounterValue,
        values: &'a [(u64, f64)],
    }
    let counters = all.iter().map(|Series { last, values }| Counter { last, values });
    let counters = counters.collect();
    serde_json::to_writer(&mut *out, &Document { counters, quality })?;
    out.write_all(b"\n")
}

/// The last value of each counter, with the process as labels.
///
/// # Errors
/// The output fails.
pub fn prometheus(all: &[Series], quality: &Quality, out: &mut impl Write) -> io::Result<()> {
    let process = quality.process.as_deref().map(|name| ("process", name.to_owned()));
    let pid = quality.pid.map(|pid| ("pid", pid.to_string()));
    let labels: Vec<_> = process.into_iter().chain(pid).collect();
    let runtime = quality.runtime.as_deref().and_then(|runtime| runtime.split(' ').next());
    let mut exposition = Exposition::default();
    for Series { last, .. } in all {
        exposition.add(runtime.unwrap_or("app"), &labels, last, true);
    }
    out.write_all(exposition.text().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::read::read;
    use super::*;
    use crate::profile::counter::CounterKind;

    fn value(name: &str, at_ms: u64, value: f64) -> CounterValue {
        CounterValue {
            at_ms,
            provider: "System.Runtime".to_owned(),
            name: name.to_owned(),
            display_name: "GC \"Heap\"\nSize".to_owned(),
            unit: "MB".to_owned(),
            tags: "pid=9,Path=/a\"b".to_owned(),
            kind: CounterKind::Gauge,
            value,
        }
    }

    fn recorded(values: &[CounterValue]) -> Vec<u8> {
        let lines = values.iter().map(|value| serde_json::to_string(value).unwrap() + "\n");
        lines.collect::<String>().into_bytes()
    }

    #[test]
    fn values_become_series_and_the_last_one_is_what_prometheus_gets() {
        let rate = CounterValue {
            kind: CounterKind::Rate,
            tags: String::new(),
            ..value("gc-count", 7, 2.0)
        };
        let bytes = recorded(&[value("gc-heap-size", 5, 1.5), rate, value("gc-heap-size", 6, 2.5)]);
        let all = read(&*bytes).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].values, [(5, 1.5), (6, 2.5)]);
        let quality = Quality {
            process: Some("shop".to_owned()),
            pid: Some(17),
            runtime: Some("dotnet 8.0.30".to_owned()),
            ..Quality::default()
        };
        let mut text = Vec::new();
        prometheus(&all, &quality, &mut text).unwrap();
        let expected = "\
# HELP dotnet_system_runtime_gc_count_per_second GC \"Heap\"\\nSize (MB)
# TYPE dotnet_system_runtime_gc_count_per_second gauge
dotnet_system_runtime_gc_count_per_second{process=\"shop\",pid=\"17\"} 2 7
# HELP dotnet_system_runtime_gc_heap_size GC \"Heap\"\\nSize (MB)
# TYPE dotnet_system_runtime_gc_heap_size gauge
dotnet_system_runtime_gc_heap_size{process=\"shop\",pid=\"17\",path=\"/a\\\"b\"} 2.5 6
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        let mut document = Vec::new();
        json(&all, &quality, &mut document).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["counters"][0]["values"][1], serde_json::json!([6, 2.5]));
        assert_eq!(document["counters"][0]["value"], 2.5);
    }

    #[test]
    fn what_is_no_line_of_ours_is_refused() {
        let whole = recorded(&[value("a", 5, 1.5)]);
        for end in 1..whole.len() - 1 {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
        assert!(read(&b""[..]).unwrap().is_empty());
    }
}
