//! Counters that are read from files, beside the tools and files that have them: `jcmd`, `jstat`, `/proc` and cgroups. Where
//! equality is asked for, the process stands still.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::{self, App, jdk_home};
use e2e::control_plane::wait;
use e2e::exposition::{self, Sample};
use e2e::{MemoryCgroup, Server, cache};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Values of one answer, by name and tags.
struct Counters(Value);

impl Counters {
    fn of(server: &Server, pid: i32) -> Self {
        Self(server.get(&format!("/counters?pid={pid}")).ok().json())
    }

    fn find(&self, name: &str, tags: &str) -> Option<f64> {
        let all = self.0["counters"].as_array().unwrap();
        let mut found = all
            .iter()
            .filter(|one| one["name"] == name && one["tags"].as_str().unwrap_or("") == tags);
        let value = found.next()?["value"].as_f64();
        assert!(found.next().is_none(), "{name}{{{tags}}} is there twice");
        value
    }

    fn get(&self, name: &str, tags: &str) -> f64 {
        let found = self.find(name, tags);
        assert!(found.is_some(), "no {name}{{{tags}}} in {:#}", self.0);
        found.unwrap()
    }

    fn degraded(&self) -> String {
        self.0["quality"]["degraded"].to_string()
    }
}

fn close(one: f64, other: f64, tolerance: f64, what: &str) {
    assert!(
        (one - other).abs() <= tolerance,
        "{what}: {one}, and {other} by its tool"
    );
}

/// What a tool of the JDK says.
fn said(jdk: &str, tool: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(jdk_home(jdk).join("bin").join(tool));
    let output = command.args(arguments).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `jcmd PID PerfCounter.print`, as `name=value`; texts in quotes.
fn perf_counters(jdk: &str, pid: i32) -> HashMap<String, String> {
    let text = said(jdk, "jcmd", &[&pid.to_string(), "PerfCounter.print"]);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

#[test]
fn counters_of_a_jvm_are_those_of_jcmd_and_jstat() {
    let server = Server::default();
    for (jdk, collector) in [
        ("17", "-XX:+UseSerialGC"),
        ("17", "-XX:+UseG1GC"),
        ("25", "-XX:+UseParallelGC"),
        ("25", "-XX:+UseG1GC"),
    ] {
        let app = App::start(app::java(jdk, &[collector, "-Xmx64m"], "alloc"));
        app.signal(Signal::SIGSTOP);
        let ours = Counters::of(&server, app.pid);
        let what = format!("JDK {jdk} {collector}");
        assert_eq!(ours.degraded(), "[]", "{what}");
        let jcmd = perf_counters(jdk, app.pid);
        let number = |name: &str| jcmd[name].parse::<f64>().unwrap();
        let ticks = number("sun.os.hrt.frequency");

        let mut collections = 0.0;
        for at in (0..8).map(|at| format!("sun.gc.collector.{at}")) {
            let Some(name) = jcmd.get(&format!("{at}.name")) else {
                continue;
            };
            let (tags, count) = (format!("gc={name}"), number(&format!("{at}.invocations")));
            close(ours.get("jvm_gc_collection_seconds_count", &tags), count, 0.0, &what);
            let time = number(&format!("{at}.time")) / ticks;
            close(ours.get("jvm_gc_collection_seconds_sum", &tags), time, 1e-9, &what);
            collections += count;
        }
        assert!(collections > 0.0, "{what}: no collection");
        let (mut used, mut pools) = (0.0, 0);
        for generation in [0, 1].map(|at| format!("sun.gc.generation.{at}")) {
            for space in (0..3).map(|at| format!("{generation}.space.{at}")) {
                let Some(name) = jcmd.get(&format!("{space}.name")) else {
                    continue;
                };
                let tags = format!("pool={} {name}", jcmd[&format!("{generation}.name")]);
                for (metric, of) in [("used", "used"), ("committed", "capacity"), ("max", "maxCapacity")] {
                    let metric = format!("jvm_memory_pool_{metric}_bytes");
                    close(ours.get(&metric, &tags), number(&format!("{space}.{of}")), 0.0, &what);
                }
                used += number(&format!("{space}.used"));
                pools += 1;
            }
        }
        assert_eq!(pools, 4, "{what}");
        close(ours.get("jvm_memory_used_bytes", "area=heap"), used, 0.0, &what);
        let max = ours.get("jvm_memory_max_bytes", "area=heap");
        assert!(
            (60.0..=64.1).contains(&(max / f64::from(1 << 20))),
            "{what}: {max} of 64 MiB"
        );
        for (metric, of) in [
            ("jvm_threads_current", "java.threads.live"),
            ("jvm_threads_daemon", "java.threads.daemon"),
            ("jvm_threads_peak", "java.threads.livePeak"),
            ("jvm_threads_started_total", "java.threads.started"),
            ("jvm_safepoints_total", "sun.rt.safepoints"),
        ] {
            close(ours.get(metric, ""), number(of), 0.0, &format!("{what} {metric}"));
        }
        for (metric, of) in [
            ("jvm_safepoint_seconds_total", "sun.rt.safepointTime"),
            ("jvm_safepoint_sync_seconds_total", "sun.rt.safepointSyncTime"),
            ("jvm_compilation_time_seconds_total", "java.ci.totalTime"),
        ] {
            close(
                ours.get(metric, ""),
                number(of) / ticks,
                1e-9,
                &format!("{what} {metric}"),
            );
        }
        let loaded = number("java.cls.loadedClasses") + number("java.cls.sharedLoadedClasses");
        close(ours.get("jvm_classes_loaded_total", ""), loaded, 0.0, &what);

        // jstat has KiB with a digit behind the point, and milliseconds.
        let jstat = said(jdk, "jstat", &["-gc", &app.pid.to_string()]);
        let mut rows = jstat.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        let (names, numbers) = (rows.next().unwrap(), rows.next().unwrap());
        let of = |name: &str| {
            numbers[names.iter().position(|one| *one == name).unwrap()]
                .parse::<f64>()
                .unwrap()
        };
        let generation = |at: &str| jcmd[&format!("sun.gc.generation.{at}.name")].clone();
        let old = format!("pool={} {}", generation("1"), jcmd["sun.gc.generation.1.space.0.name"]);
        let eden = format!("pool={} eden", generation("0"));
        for (metric, tags, column) in [
            ("jvm_memory_pool_used_bytes", &*old, "OU"),
            ("jvm_memory_pool_committed_bytes", &*old, "OC"),
            ("jvm_memory_pool_used_bytes", &*eden, "EU"),
            ("jvm_memory_pool_used_bytes", "pool=metaspace", "MU"),
            ("jvm_memory_pool_committed_bytes", "pool=metaspace", "MC"),
        ] {
            close(
                ours.get(metric, tags) / 1024.0,
                of(column),
                0.06,
                &format!("{what} {column}"),
            );
        }
        let young = format!("gc={}", jcmd["sun.gc.collector.0.name"]);
        close(
            ours.get("jvm_gc_collection_seconds_count", &young),
            of("YGC"),
            0.0,
            &what,
        );
        close(
            ours.get("jvm_gc_collection_seconds_sum", &young),
            of("YGCT"),
            6e-4,
            &what,
        );
        app.signal(Signal::SIGCONT);
    }
}

/// The number behind `key` in a file of the process.
fn field(pid: i32, file: &str, key: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn counters_of_any_process_are_those_of_proc() {
    let server = Server::default();
    let mut native = Command::new(cache::file("apps/c/split"));
    native.arg("cpu");
    for command in [native, app::java("25", &[], "cpu"), app::dotnet("8", "counted")] {
        let app = App::start(command);
        app.signal(Signal::SIGSTOP);
        let pid = app.pid;
        let ours = Counters::of(&server, pid);
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let stat: Vec<f64> = stat
            .rsplit_once(") ")
            .unwrap()
            .1
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse().unwrap())
            .collect();
        // Field 4 of the manual's list is the first of these.
        let stat = |field: usize| stat[field - 4];
        let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap() as f64;
        for (metric, expected) in [
            ("process_cpu_user_seconds_total", stat(14) / hertz),
            ("process_cpu_system_seconds_total", stat(15) / hertz),
            ("process_cpu_seconds_total", (stat(14) + stat(15)) / hertz),
            ("process_minor_page_faults_total", stat(10)),
            ("process_major_page_faults_total", stat(12)),
            ("process_threads", stat(20)),
            ("process_virtual_memory_bytes", stat(23)),
            ("process_resident_memory_bytes", stat(24) * 4096.0),
            ("process_swap_bytes", field(pid, "status", "VmSwap:") * 1024.0),
            ("process_io_read_bytes_total", field(pid, "io", "rchar:")),
            ("process_io_written_bytes_total", field(pid, "io", "wchar:")),
            ("process_io_storage_read_bytes_total", field(pid, "io", "read_bytes:")),
            (
                "process_io_storage_written_bytes_total",
                field(pid, "io", "write_bytes:"),
            ),
            (
                "process_open_fds",
                std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as f64,
            ),
            ("process_max_fds", field(pid, "limits", "Max open files")),
        ] {
            close(ours.get(metric, ""), expected, 1e-6, &format!("{pid} {metric}"));
        }
        for (tags, key) in [
            ("kind=voluntary", "voluntary_ctxt_switches:"),
            ("kind=involuntary", "nonvoluntary_ctxt_switches:"),
        ] {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            let threads = threads.map(|thread| thread.unwrap().file_name().into_string().unwrap());
            let sum: f64 = threads
                .map(|thread| field(pid, &format!("task/{thread}/status"), key))
                .sum();
            close(ours.get("process_threads_context_switches", tags), sum, 0.0, tags);
        }
        let started = ours.get("process_start_time_seconds", "");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        assert!((-2.0..120.0).contains(&(now - started)), "{started}, now {now}");
        app.signal(Signal::SIGCONT);
    }
}

/// A cgroup whose tasks have a fifth of a CPU; removed when dropped.
struct Quota {
    folder: PathBuf,
    version: u8,
}

impl Quota {
    fn new() -> Self {
        let version = if PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists() {
            2
        } else {
            1
        };
        let mount = if version == 2 {
            "/sys/fs/cgroup"
        } else {
            "/sys/fs/cgroup/cpu"
        };
        if version == 2 {
            let _ = std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu");
        }
        let folder = PathBuf::from(mount).join(format!("sideflame-test-quota-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let quota = Self { folder, version };
        match version {
            2 => quota.write("cpu.max", "20000 100000"),
            _ => quota.write("cpu.cfs_quota_us", "20000"),
        }
        quota
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.join(file), text).unwrap();
    }

    fn stat(&self, key: &str) -> f64 {
        let text = std::fs::read_to_string(self.folder.join("cpu.stat")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn throttling_and_memory_against_the_limit_are_those_of_the_cgroup() {
    let server = Server::default();
    let memory = MemoryCgroup::new(64 << 20);
    let quota = Quota::new();
    let mut command = memory.command(&cache::file("apps/c/split"));
    command.arg("cpu");
    let app = App::start(command);
    quota.write("cgroup.procs", &app.pid.to_string());
    wait("throttling", Duration::from_secs(30), || {
        (quota.stat("nr_throttled ") >= 3.0).then_some(())
    });
    app.signal(Signal::SIGSTOP);
    // The period in which it was stopped ends.
    std::thread::sleep(Duration::from_millis(300));
    let ours = Counters::of(&server, app.pid);
    for (metric, expected) in [
        ("container_cpu_cfs_periods_total", quota.stat("nr_periods ")),
        ("container_cpu_cfs_throttled_periods_total", quota.stat("nr_throttled ")),
        (
            "container_cpu_cfs_throttled_seconds_total",
            match quota.version {
                2 => quota.stat("throttled_usec ") / 1e6,
                _ => quota.stat("throttled_time ") / 1e9,
            },
        ),
        ("container_cpu_limit_cores", 0.2),
    ] {
        close(ours.get(metric, ""), expected, 1e-6, metric);
    }
    if quota.version == 1 {
        // In one tree with the CPU in version 2, where it is in the other cgroup now.
        let folder = memory.folder();
        let number = |file: &str| {
            std::fs::read_to_string(folder.join(file))
                .unwrap()
                .trim()
                .parse::<f64>()
                .unwrap()
        };
        close(
            ours.get("container_spec_memory_limit_bytes", ""),
            f64::from(64 << 20),
            0.0,
            "limit",
        );
        close(
            ours.get("container_memory_usage_bytes", ""),
            number("memory.usage_in_bytes"),
            256.0 * 1024.0,
            "usage",
        );
        close(
            ours.get("container_memory_rss", ""),
            memory.anonymous() as f64,
            0.0,
            "anonymous",
        );
        close(
            ours.get("container_oom_events_total", ""),
            memory.oom_kills() as f64,
            0.0,
            "kills",
        );
    }
    app.signal(Signal::SIGCONT);
}

#[test]
fn a_jvm_that_shares_nothing_says_why_and_has_the_counters_of_its_process() {
    let server = Server::default();
    for option in ["-XX:-UsePerfData", "-XX:+PerfDisableSharedMem"] {
        let app = App::start(app::java("17", &[option], "idle"));
        let ours = Counters::of(&server, app.pid);
        assert!(
            ours.degraded().contains(&format!("it runs with {option}")),
            "{}",
            ours.degraded()
        );
        assert!(ours.get("process_cpu_seconds_total", "") > 0.0);
        assert_eq!(ours.find("jvm_threads_current", ""), None);
        let path = format!("/doctor?pid={}", app.pid);
        let doctor = server.send("GET", &path, &[("accept", "application/json")]).ok().json();
        let verdicts = doctor[0]["verdicts"].as_array().unwrap();
        let verdict = verdicts.iter().find(|verdict| verdict["event"] == "counters").unwrap();
        assert_eq!(
            (&verdict["availability"], &verdict["reason"]["key"]),
            (&"degraded".into(), &"perf_data_unavailable".into())
        );
    }
}

#[test]
fn what_may_not_be_looked_into_has_the_counters_that_everybody_may_read() {
    let app = App::start(app::java("17", &[], "idle"));
    let server = Server::start_by(app::as_user(&Command::new(cache::sideflame())), &[]);
    let ours = Counters::of(&server, app.pid);
    assert!(
        ours.degraded()
            .contains("the process runs as 0:0 and sideflame as 1000:1000"),
        "{}",
        ours.degraded()
    );
    assert!(ours.get("process_cpu_seconds_total", "") > 0.0 && ours.get("process_max_fds", "") > 0.0);
    for missing in [
        "process_io_read_bytes_total",
        "jvm_threads_current",
        "container_memory_usage_bytes",
    ] {
        assert_eq!(ours.find(missing, ""), None, "{missing}");
    }
    let sampled = server.get(&format!("/profile?pid={}&event=counters&frequency=9", app.pid));
    assert_eq!(sampled.status, 400, "{}", sampled.text());
}

#[test]
fn a_jvm_is_followed_without_being_asked() {
    let server = Server::default();
    let app = App::start(app::java("17", &[], "cpu"));
    let mut streamed = server.streamed(&format!("/counters?pid={}&format=jsonl&interval=1", app.pid));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let value: Value = serde_json::from_str(&streamed.line()).unwrap();
        if value["name"] == "process_cpu_seconds_total" {
            assert_eq!(
                (&value["kind"], &value["unit"], &value["provider"]),
                (&"total".into(), &"seconds".into(), &"/proc".into())
            );
            seen.push((value["atMs"].as_f64().unwrap(), value["value"].as_f64().unwrap()));
        }
    }
    drop(streamed);
    for pair in seen.windows(2) {
        let (milliseconds, used) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        assert!((900.0..2500.0).contains(&milliseconds) && used > 0.02, "{seen:?}");
    }
    let said = app.said().concat();
    assert!(!said.contains("Full thread dump"), "it was signalled: {said}");
    let text = server
        .get(&format!("/counters?pid={}&format=text", app.pid))
        .ok()
        .text();
    let samples = exposition::parse(&text);
    assert!(
        samples
            .iter()
            .any(|sample| sample.name == "jvm_gc_collection_seconds_sum"),
        "{text}"
    );
    assert!(samples.iter().all(|sample| sample.labels["pid"] == app.pid.to_string()));
}

fn scraped(server: &Server) -> (Vec<Sample>, Duration) {
    let began = Instant::now();
    let page = server.get("/metrics?targets=true").ok();
    let time = began.elapsed();
    assert_eq!(page.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    (exposition::parse(&page.text()), time)
}

#[test]
fn a_scrape_tells_all_processes_within_bounds_and_asks_none() {
    let server = Server::default();
    let jvm = App::start(app::java("25", &[], "alloc"));
    let mut go = Command::new(cache::file("apps/go/split"));
    go.args(["-pprof", "127.0.0.1:0", "cpu"]);
    let apps = [
        (App::start(go), "go"),
        (App::start(app::dotnet("8", "counted")), "dotnet"),
        (jvm, "jvm"),
    ];
    // Who stands still could answer nothing.
    for (app, _) in &apps {
        app.signal(Signal::SIGSTOP);
    }
    let (samples, _) = scraped(&server);
    for (app, runtime) in &apps {
        let of = |name: &str| {
            let mut found = samples
                .iter()
                .filter(|one| one.name == name && one.labels.get("pid") == Some(&app.pid.to_string()));
            found
                .next()
                .unwrap_or_else(|| panic!("{name} of {runtime} {}", app.pid))
        };
        let cpu = of("process_cpu_seconds_total");
        assert_eq!(
            (&*cpu.labels["runtime"], cpu.labels["name"].is_empty()),
            (*runtime, false)
        );
        close(
            of("process_threads").value,
            std::fs::read_dir(format!("/proc/{}/task", app.pid)).unwrap().count() as f64,
            0.0,
            runtime,
        );
        if *runtime == "jvm" {
            let jcmd = perf_counters("25", app.pid);
            close(
                of("jvm_threads_current").value,
                jcmd["java.threads.live"].parse().unwrap(),
                0.0,
                runtime,
            );
        }
    }
    // The server's own stay as they are.
    let plain = exposition::parse(&server.get("/metrics").ok().text());
    for own in plain.iter().filter(|own| own.name != "sideflame_http_requests_total") {
        let is_own = |one: &&Sample| one.name == own.name && one.labels == own.labels;
        assert_eq!(samples.iter().filter(is_own).count(), 1, "{}", own.name);
    }
    assert!(plain.iter().all(|sample| !sample.labels.contains_key("pid")));

    let mut many: Vec<_> = (0..80)
        .map(|_| Command::new("sleep").arg("600").spawn().unwrap())
        .collect();
    let (samples, time) = scraped(&server);
    let value = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(value("sideflame_targets"), 64.0);
    assert!(value("sideflame_targets_left_out") >= 19.0);
    for (app, runtime) in &apps {
        let told = samples
            .iter()
            .any(|one| one.labels.get("pid") == Some(&app.pid.to_string()));
        assert!(told, "{runtime} gave way to a program without a runtime");
        let series = samples
            .iter()
            .filter(|one| one.labels.get("pid") == Some(&app.pid.to_string()))
            .count();
        assert!((20..=128).contains(&series), "{series} series of {runtime}");
    }
    assert!(time < Duration::from_secs(8), "{time:?}");
    for child in &mut many {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for (app, _) in &apps {
        app.signal(Signal::SIGCONT);
    }
    assert_eq!(server.get("/metrics?targets=maybe").code(), "invalid_parameter");
}

#[test]
fn a_go_program_that_serves_expvar_tells_what_its_runtime_counts() {
    let server = Server::start(&["--go-pprof-path-prefix", "/admin"]);
    let mut command = Command::new(cache::file("apps/go/split"));
    command.args(["-pprof", "127.0.0.1:0", "-prefix", "/admin", "alloc"]);
    let mut app = App::launch(command);
    let address = app.wait_for("pprof");
    app.wait_for("ready");
    let own = || -> Value {
        let mut answer = ureq::get(format!("http://{}/admin/debug/vars", address.trim()))
            .call()
            .unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    };
    let before = own();
    let ours = Counters::of(&server, app.pid);
    let after = own();
    for (metric, field, scale) in [
        ("go_memstats_alloc_bytes_total", "TotalAlloc", 1.0),
        ("go_memstats_mallocs_total", "Mallocs", 1.0),
        ("go_memstats_frees_total", "Frees", 1.0),
        ("go_gc_duration_seconds_count", "NumGC", 1.0),
        ("go_gc_duration_seconds_sum", "PauseTotalNs", 1e-9),
    ] {
        let number = |document: &Value| document["memstats"][field].as_f64().unwrap() * scale;
        let value = ours.get(metric, "");
        assert!(
            (number(&before)..=number(&after)).contains(&value),
            "{metric}: {value}, itself {} to {}",
            number(&before),
            number(&after)
        );
    }
    assert!(ours.get("go_memstats_alloc_bytes_total", "") > 0.0);
    close(
        ours.get("go_expvar", "key=shop.carts.open"),
        2.0,
        0.0,
        "a number of the program's own",
    );
    assert_eq!(ours.degraded(), "[]");

    let mut silent = Command::new(cache::file("apps/go/split"));
    silent.args(["-pprof", "127.0.0.1:0", "-token", "secret", "cpu"]);
    let silent = App::start(silent);
    let refused = Counters::of(&server, silent.pid);
    assert!(refused.degraded().contains("answered 401"), "{}", refused.degraded());
    assert!(refused.get("process_cpu_seconds_total", "") > 0.0);
    let mut none = Command::new(cache::file("apps/go/split-nopprof"));
    none.arg("cpu");
    let none = App::start(none);
    let ours = Counters::of(&server, none.pid);
    assert!(ours.degraded().contains("serves no /debug/vars"), "{}", ours.degraded());
}
