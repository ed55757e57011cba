//! `/counters` beside what the process counts itself.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::process::Command;
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::{Server, cache, exposition};
use serde_json::Value;

/// A line `counted MS GEN0 HEAP POOL` of the sample app.
#[derive(Debug, Clone, Copy)]
struct Own {
    at: f64,
    collections: f64,
    heap: f64,
    pool: f64,
}

fn own(app: &App) -> Vec<Own> {
    let lines = app.said();
    let read = |line: &String| {
        let mut numbers = line
            .strip_prefix("counted ")?
            .split(' ')
            .map(|text| text.parse::<f64>().unwrap());
        let mut next = || numbers.next().unwrap();
        Some(Own {
            at: next(),
            collections: next(),
            heap: next(),
            pool: next(),
        })
    };
    lines.iter().filter_map(read).collect()
}

fn counter<'a>(document: &'a Value, name: &str) -> &'a Value {
    let all = document["counters"].as_array().unwrap();
    all.iter().find(|counter| counter["name"] == name).unwrap()
}

fn values(counter: &Value) -> Vec<(f64, f64)> {
    serde_json::from_value(counter["values"].clone()).unwrap()
}

#[test]
fn counters_say_what_the_process_counts_itself() {
    let server = Server::default();
    for version in ["3.1", "8"] {
        let app = App::start(app::dotnet(version, "counted"));
        let path = format!("/counters?pid={}&seconds=5", app.pid);
        let document = server.get(&path).ok().json();
        let own = own(&app);

        let rates = values(counter(&document, "gen-0-gc-count"));
        assert!(rates.len() >= 3, "{rates:?}");
        let (first, last) = (rates[0].0, rates[rates.len() - 1].0);
        let counted: f64 = rates
            .iter()
            .skip(1)
            .zip(&rates)
            .map(|(rate, before)| rate.1 * (rate.0 - before.0) / 1000.0)
            .sum();
        let within: Vec<_> = own.iter().filter(|own| (first..=last).contains(&own.at)).collect();
        let expected = within[within.len() - 1].collections - within[0].collections + 1.0;
        assert!(
            (counted - expected).abs() <= 2.0,
            ".NET {version}: {counted} collections, itself {expected}"
        );
        // Its megabytes are of 1,000,000 bytes; 3.1 rounds to whole ones.
        let heap = counter(&document, "gc-heap-size")["value"].as_f64().unwrap();
        let itself = within[within.len() - 1].heap / 1e6;
        assert!(
            (heap - itself).abs() < 2.0,
            ".NET {version}: {heap} MB, itself {itself}"
        );
        let pool = counter(&document, "threadpool-thread-count")["value"].as_f64().unwrap();
        assert!(
            within.iter().any(|own| (own.pool - pool).abs() < 0.5),
            ".NET {version}: {pool} threads, itself {within:?}"
        );
        assert_eq!(document["quality"]["lost"], 0);
    }
}

#[test]
fn one_reading_is_the_default_and_prometheus_reads_it() {
    let server = Server::default();
    let app = App::start(app::dotnet("8", "counted"));
    let document = server.get(&format!("/counters?pid={}", app.pid)).ok().json();
    let taken = values(counter(&document, "working-set")).len();
    assert!((1..=2).contains(&taken), "{document:#}");
    let text = server.get(&format!("/counters?pid={}&format=text", app.pid)).ok();
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    let text = text.text();
    // What the kernel counts of the process is beside what its runtime counts.
    let samples = exposition::parse(&text);
    assert!(
        samples.iter().any(|sample| sample.name == "process_cpu_seconds_total"),
        "{text}"
    );
    let heap = format!(
        "dotnet_system_runtime_gc_heap_size{{process=\"Sarif.Multitool\",pid=\"{}\"}} ",
        app.pid
    );
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&heap))
        .unwrap_or_else(|| panic!("{text}"));
    let (value, at) = line.split_once(' ').unwrap();
    assert!(value.parse::<f64>().unwrap() > 39.0 && at.parse::<u64>().unwrap() > 1_700_000_000_000);
    assert!(text.contains("# TYPE dotnet_system_runtime_gc_heap_size gauge\n"));
}

#[test]
fn values_come_as_they_change_and_the_session_ends_when_the_client_leaves() {
    let server = Server::default();
    let app = App::start(app::dotnet("8", "counted"));
    for (format, beginning) in [("sse", "data: {\"atMs\":"), ("jsonl", "{\"atMs\":")] {
        let mut streamed = server.streamed(&format!("/counters?pid={}&format={format}", app.pid));
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let line = streamed.line();
            if line.contains("\"gen-0-gc-count\"") {
                assert!(line.starts_with(beginning), "{line}");
                seen.push(line);
            }
        }
        let captures = |state: &str| {
            let list = server.get("/captures").ok().json();
            list.as_array()
                .unwrap()
                .iter()
                .filter(|one| one["status"] == state)
                .count()
        };
        assert_eq!(captures("running"), 1);
        drop(streamed);
        wait("the end of the capture", Duration::from_secs(20), || {
            (captures("running") + captures("finished") == 0).then_some(())
        });
    }
    // The session's thread is gone from the runtime, too.
    let sessions = || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", app.pid)).unwrap();
        let names = threads.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
        names.filter(|name| name.starts_with(".NET EventPipe")).count()
    };
    wait("the end of the session", Duration::from_secs(20), || {
        (sessions() <= 1).then_some(())
    });
}

#[test]
fn what_is_no_counter_is_told() {
    let server = Server::default();
    let mut command = Command::new(cache::file("apps/go/split"));
    command.args(["-pprof", "127.0.0.1:0", "cpu"]);
    let go = App::start(command);
    // Names of sources are .NET's.
    let answer = server.get(&format!("/counters?pid={}&counters=System.Runtime", go.pid));
    assert_eq!((answer.status, &*answer.code()), (400, "parameter_not_applicable"));
    let app = App::start(app::dotnet("8", "idle"));
    for (query, code) in [
        ("&counters=a;b", "invalid_parameter"),
        ("&interval=0", "invalid_parameter"),
        ("&event=cpu", "unknown_parameter"),
        ("&format=svg", "format_not_offered"),
    ] {
        let answer = server.get(&format!("/counters?pid={}{query}", app.pid));
        assert_eq!(&*answer.code(), code, "{query}: {}", answer.text());
    }
    let foreign = server.get(&format!("/profile?pid={}&event=cpu&counters=System.Runtime", app.pid));
    assert!(foreign.text().contains("event=counters"), "{}", foreign.text());
}

#[test]
fn users_of_dotnet_monitor_find_traces_and_metrics_where_they_look_for_them() {
    let server = Server::default();
    let app = App::start(app::dotnet("8", "counted"));
    let of = |path: &str| server.get(&format!("{path}pid={}", app.pid));
    let trace = of("/trace?durationSeconds=2&profile=Cpu,Metrics&").ok();
    assert!(trace.body.starts_with(b"Nettrace"));
    assert_eq!(trace.header("content-type"), "application/octet-stream");
    for found in ["Microsoft-DotNETCore-SampleProfiler", "EventCounters"] {
        let wide: Vec<u8> = found.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(trace.body.windows(wide.len()).any(|bytes| bytes == wide), "{found}");
    }
    let metrics = of("/livemetrics?durationSeconds=3&").ok();
    assert_eq!(metrics.header("content-type"), "application/json-seq");
    let records = metrics.text();
    let records: Vec<Value> = records
        .split_terminator('\u{1e}')
        .skip(1)
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let heap = records.iter().find(|record| record["name"] == "gc-heap-size").unwrap();
    assert_eq!(
        (&heap["provider"], &heap["counterType"]),
        (&"System.Runtime".into(), &"Metric".into())
    );
    assert!(heap["value"].as_f64().unwrap() > 39.0 && heap["timestamp"].as_str().unwrap().ends_with('Z'));

    for (path, remedy) in [
        ("/trace?profile=Logs&", "providers="),
        ("/trace?uid=67f0&", "pid="),
        ("/livemetrics?durationSeconds=-1&", "POST /captures"),
        ("/livemetrics?egressProvider=s3&", "POST /captures"),
    ] {
        let answer = of(path);
        assert_eq!(answer.status, 400, "{path}");
        assert!(
            answer.json()["remedy"].as_str().unwrap().contains(remedy),
            "{path}: {}",
            answer.text()
        );
    }
    let stacks = of("/stacks?");
    assert_eq!((stacks.status, &*stacks.code()), (404, "no_such_path"));
    assert!(stacks.text().contains("GET /threads"), "{}", stacks.text());
}

#[test]
fn a_runtime_that_stands_still_leaves_what_the_kernel_counts_of_it() {
    let server = Server::default();
    let app = App::start(app::dotnet("8", "idle"));
    app.signal(nix::sys::signal::Signal::SIGSTOP);
    let document = server.get(&format!("/counters?pid={}", app.pid)).ok().json();
    assert!(
        counter(&document, "process_cpu_seconds_total")["value"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    let degraded = document["quality"]["degraded"].to_string();
    assert!(degraded.contains("stopped (state T)"), "{degraded}");
    app.signal(nix::sys::signal::Signal::SIGCONT);
}
