//! A minute of .NET's sampler at its usual millisecond, in little memory. Beside other programs (`rig/test.sh`): it mostly waits.

use e2e::app::{self, App};
use e2e::{MemoryCgroup, Server, cache};

#[test]
fn a_minute_of_a_sample_each_millisecond_is_recorded_and_drawn_in_32_mib() {
    const THREADS: u32 = 20;
    std::thread::scope(|scope| {
        for version in ["3.1", "8"] {
            scope.spawn(move || {
                let mut command = app::dotnet(version, "wall");
                match version {
                    "8" => command.env("SPLIT_THREADS", THREADS.to_string()),
                    _ => command.arg(THREADS.to_string()),
                };
                let app = App::start(command);
                let cgroup = MemoryCgroup::new(32 << 20);
                let server = Server::start_by(cgroup.command(&cache::sideflame()), &[]);
                let path = format!("/profile?pid={}&seconds=60&event=wall&format=collapsed", app.pid);
                let answer = server.get(&path).ok();
                let stacks = answer.text();
                let of_workers = |line: &str| {
                    let (stack, value) = line.rsplit_once(' ')?;
                    stack.contains("Split.Wall").then(|| value.parse::<f64>().unwrap())
                };
                let nanoseconds: f64 = stacks.lines().filter_map(of_workers).sum();
                let seconds = nanoseconds / 1e9 / f64::from(THREADS);
                eprintln!(
                    ".NET {version}: {} samples, {} lost, {seconds:.1} s of each thread",
                    answer.header("sideflame-samples"),
                    answer.header("sideflame-lost"),
                );
                // Where others want the CPUs, too, the runtime's ticks are rarer.
                assert!(answer.number("sideflame-samples") > 60.0 * 250.0 * f64::from(THREADS));
                assert!((seconds - 60.0).abs() < 1.5, "{seconds} s of each thread");
                assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
            });
        }
    });
}
