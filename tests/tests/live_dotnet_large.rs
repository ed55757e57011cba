//! .NET processes with very many threads or methods, and one that is busy, in little memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::app::{self, App};
use e2e::control_plane::wait;
use e2e::{MemoryCgroup, Server, cache, shares};

/// A sidecar that has 32 MiB, and what must hold of it afterwards.
fn small(work: impl FnOnce(&Server)) {
    let cgroup = MemoryCgroup::new(32 << 20);
    let server = Server::start_by(cgroup.command(&cache::sideflame()), &[]);
    work(&server);
    assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
}

#[test]
fn ten_thousand_methods_that_are_made_meanwhile_have_their_names() {
    for version in ["3.1", "8"] {
        let app = App::start(app::dotnet(version, "jit"));
        small(|server| {
            app.said();
            let answer = server
                .get(&format!("/profile?pid={}&seconds=6&format=collapsed", app.pid))
                .ok();
            let made = app.said().iter().filter(|line| line.starts_with("made ")).count() * 5000;
            assert!(made >= 10_000, ".NET {version}: {made} methods");
            let stacks = answer.text();
            let of_made = stacks.lines().filter(|line| line.contains("Made")).count();
            eprintln!(
                ".NET {version}: {made} methods, {of_made} of them seen, {} samples, {} lost, {} unresolved",
                answer.header("sideflame-samples"),
                answer.header("sideflame-lost"),
                answer.header("sideflame-unresolved"),
            );
            assert!(of_made > 100, "{of_made}");
            assert!(answer.number("sideflame-unresolved") < 0.01);
            assert_eq!(answer.header("sideflame-lost"), "0");
        });
    }
}

#[test]
fn five_hundred_threads_are_sampled_in_32_mib() {
    for version in ["3.1", "8"] {
        let mut command = app::dotnet(version, "wall");
        match version {
            "8" => command.env("SPLIT_THREADS", "500"),
            _ => command.arg("500"),
        };
        let app = App::start(command);
        small(|server| {
            let path = format!(
                "/profile?pid={}&seconds=5&event=wall&threads=true&format=collapsed",
                app.pid
            );
            let answer = server.get(&path).ok();
            let stacks = answer.text();
            let mut roots: Vec<_> = stacks
                .lines()
                .filter(|line| line.contains("Split.Wall"))
                .filter_map(|line| line.split(';').next())
                .collect();
            roots.sort_unstable();
            roots.dedup();
            eprintln!(
                ".NET {version}: {} samples, {} lost",
                answer.header("sideflame-samples"),
                answer.header("sideflame-lost")
            );
            assert_eq!(roots.len(), 500);
            // Each sleeps 6, 3 and 1 tenths of its time, out of step with the others.
            let of = |function: &str| shares::of(&stacks, function);
            let worker = of("Split.Wall");
            assert!(
                (of("Split.WallSixty") / worker - 0.6).abs() < 0.05,
                "{}",
                of("Split.WallSixty") / worker
            );
            let threads = server.get(&format!("/threads?pid={}&format=json", app.pid)).ok().json();
            assert!(threads["threads"].as_array().unwrap().len() >= 500);
        });
    }
}

/// Sends a request of the Model Context Protocol, of which its tools are the longest answer.
fn ask(app: &mut App, id: u32, method: &str, parameters: &str) {
    app.tell(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{parameters}}}"#
    ));
}

/// Ends the work of another thread, also when a test fails.
struct EndsWork<'a>(&'a AtomicBool);

impl Drop for EndsWork<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What `look` sees of a server of .NET 10 that has warmed up and is busy.
fn while_busy<T>(look: impl FnOnce(&Server, i32) -> T) -> T {
    let mut app = App::launch(app::dotnet_10());
    let hello = r#"{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"shop","version":"1"}}"#;
    ask(&mut app, 1, "initialize", hello);
    wait("an answer", Duration::from_secs(30), || {
        (!app.said().is_empty()).then_some(())
    });
    let server = Server::default();
    let (pid, over) = (app.pid, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 2.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                ask(&mut app, id, "tools/list", "{}");
                app.said();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let _end = EndsWork(&over);
        // What runs while it warms up is recompiled, by threads that are not managed.
        for _ in 0..2 {
            server.get(&format!("/profile?pid={pid}&seconds=4&format=collapsed"));
        }
        look(&server, pid)
    })
}

#[test]
fn a_busy_dotnet_10_has_names_and_says_how_much_cpu_time_it_saw() {
    let (cpu, allocated, counted) = while_busy(|server, pid| {
        let cpu = server.get(&format!("/profile?pid={pid}&seconds=4&format=collapsed"));
        std::thread::scope(|scope| {
            let counted = scope.spawn(|| server.get(&format!("/counters?pid={pid}&seconds=5")));
            let allocated = server.get(&format!("/profile?pid={pid}&seconds=5&event=alloc&format=collapsed"));
            (cpu.ok(), allocated.ok(), counted.join().unwrap().ok())
        })
    });
    let (seen, used) = (cpu.number("sideflame-sampled-cpu-ms"), cpu.number("sideflame-cpu-ms"));
    eprintln!("{seen} of {used} ms, {}", cpu.header("sideflame-degraded"));
    assert!(used > 500.0, "not busy: {used} ms");
    assert!(cpu.number("sideflame-unresolved") < 0.01, "{}", cpu.text());
    // Compilers and collectors are no managed threads.
    assert!(seen < used * 1.05 && seen > used * 0.4, "{seen} of {used} ms");
    let stacks = cpu.text();
    // How much is for its telemetry differs from run to run.
    let answering = shares::of(&stacks, "ModelContextProtocol");
    eprintln!("{answering:.2} of it for answers");
    assert!(answering > 0.05, "{stacks}");

    // Its random samples stand for the bytes that the runtime counts, and its ticks do not count them once more.
    let stacks = allocated.text();
    let values = stacks
        .lines()
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    let sampled = values.sum::<f64>() / 5.0;
    let counters = counted.json();
    let rate = counters["counters"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "alloc-rate");
    let rates: Vec<(f64, f64)> = serde_json::from_value(rate.unwrap()["values"].clone()).unwrap();
    let rate = rates.iter().map(|(_, value)| value).sum::<f64>() / f64::from(u32::try_from(rates.len()).unwrap());
    eprintln!("{sampled:.0} bytes a second sampled, {rate:.0} counted");
    assert!(
        (sampled / rate - 1.0).abs() < 0.3,
        "{sampled} bytes a second, counted {rate}"
    );
    assert!(allocated.number("sideflame-unresolved") < 0.01);
}
