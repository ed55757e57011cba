//! A real kube-apiserver under load: names of a stripped program of 100 MB, and what authentication and
//! authorization cost it.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use e2e::control_plane::wait;
use e2e::{Answer, ControlPlane, MemoryCgroup, Server, cache, shares};
use serde_json::json;

/// Held by who puts load on the API server.
static LOAD: Mutex<()> = Mutex::new(());

/// A user of the API with a token of its own, over TLS: `kubectl proxy` speaks for it.
#[derive(Debug)]
struct User {
    proxy: Child,
    kubeconfig: PathBuf,
    api: ControlPlane,
}

impl User {
    /// Service account `name` of namespace `default`, which may do everything.
    fn new(plane: &ControlPlane, name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        plane.create(accounts, &json!({"metadata": {"name": name}})).ok();
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        });
        plane
            .create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding)
            .ok();
        let token = plane.create(&format!("{accounts}/{name}/token"), &json!({})).ok().body;
        let token = token["status"]["token"].as_str().unwrap().to_owned();

        let admin = std::fs::read_to_string(&plane.kubeconfig).unwrap();
        let lines = admin.lines().map(|line| match line.starts_with("  user: {") {
            true => format!("  user: {{token: \"{token}\"}}\n"),
            false => format!("{line}\n"),
        });
        let kubeconfig = std::env::temp_dir().join(format!("{name}.kubeconfig"));
        std::fs::write(&kubeconfig, lines.collect::<String>()).unwrap();
        let mut proxy = Command::new(cache::file("kube/kubectl"))
            .args(["proxy", "--port", "0"])
            .env("KUBECONFIG", &kubeconfig)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(proxy.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("Starting to serve on ").unwrap();
        let api = ControlPlane::running(kubeconfig.clone(), format!("http://{address}"));
        Self { proxy, kubeconfig, api }
    }

    /// What a client does all day: lists, and objects that come and go.
    fn work(&self, number: u64) {
        self.api.get("/api/v1/namespaces").ok();
        self.api.get("/api/v1/pods?limit=100").ok();
        let maps = "/api/v1/namespaces/default/configmaps";
        let name = format!("load-{}-{number}", std::process::id());
        let map = json!({"metadata": {"name": name}, "data": {"key": "x".repeat(1000)}});
        self.api.create(maps, &map).ok();
        self.api.get(&format!("{maps}/{name}")).ok();
        self.api.delete(&format!("{maps}/{name}")).ok();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

/// Says stop when dropped: else a scope would wait for ever where `act` fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Three users put load on the API server while `act` runs; gives what it gives, and the rounds of requests.
fn under_load<T>(plane: &ControlPlane, act: impl FnOnce() -> T) -> (T, u64) {
    let _only_load = LOAD.lock().unwrap_or_else(PoisonError::into_inner);
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let run = STARTED.fetch_add(1, Ordering::Relaxed);
    let users = ["ann", "bob", "cem"].map(|name| User::new(plane, &format!("{name}-{run}")));
    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(run << 32));
    let given = std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        for user in &users {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        user.work(next.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        }
        wait("load", Duration::from_secs(60), || {
            (next.load(Ordering::Relaxed) & 0xFFFF_FFFF > 20).then_some(())
        });
        act()
    });
    (given, next.load(Ordering::Relaxed) & 0xFFFF_FFFF)
}

/// The API server of `plane`, of which a machine may have several.
fn api_server(server: &Server, plane: &ControlPlane) -> i64 {
    let folder = plane.kubeconfig.parent().and_then(Path::parent).unwrap();
    let audit = folder.join("audit.yaml").display().to_string();
    let rows = server.get("/processes").ok().json();
    let mut rows = rows.as_array().unwrap().iter();
    let row = rows.find(|row| {
        let words = row["commandLine"].as_array().into_iter().flatten();
        row["runtime"] == "go" && words.into_iter().any(|word| word == audit.as_str())
    });
    row.unwrap()["pid"].as_i64().unwrap()
}

/// Share of all frames, by what their samples stand for, that have a name.
fn named(stacks: &str) -> f64 {
    let is_named = |frame: &&str| !(frame.starts_with("[unknown") || frame.starts_with("0x") || frame.contains("+0x"));
    let (mut all, mut with) = (0.0, 0.0);
    for line in stacks.lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let frames: Vec<&str> = stack.split(';').collect();
        let count = |frames: usize| f64::from(u32::try_from(frames).unwrap());
        all += value * count(frames.len());
        with += value * count(frames.iter().filter(|frame| is_named(frame)).count());
    }
    with / all
}

/// Share of the value whose stack has a frame that one of these begin.
fn below(stacks: &str, begin: &[&str]) -> f64 {
    let (mut all, mut with) = (0.0, 0.0);
    for line in stacks.lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        all += value;
        if stack
            .split(';')
            .any(|frame| begin.iter().any(|begin| frame.starts_with(begin)))
        {
            with += value;
        }
    }
    with / all
}

fn told(what: &str, answer: &Answer) -> String {
    let stacks = answer.text();
    format!(
        "{what}: {} samples, {:.4} of frames named, unresolved {}, truncated {}, lost {}, {} of {} ms of CPU; {}",
        answer.header("sideflame-samples"),
        named(&stacks),
        answer.header("sideflame-unresolved"),
        shares::of(&stacks, "[truncated]"),
        answer.header("sideflame-lost"),
        answer.header("sideflame-sampled-cpu-ms"),
        answer.header("sideflame-cpu-ms"),
        answer.header("sideflame-degraded"),
    )
}

/// The largest resident set of the recorder while there is one.
fn peak_of_recorder(server: &Server, stop: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !stop.load(Ordering::Relaxed) {
        let status = server
            .recorder()
            .map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")));
        let status = status.and_then(Result::ok).unwrap_or_default();
        let row = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = row.and_then(|row| row.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

#[test]
fn its_frames_have_names_at_every_rate_in_64_mib_and_say_what_authorization_costs() {
    let plane = ControlPlane::shared();
    let cgroup = MemoryCgroup::new(64 << 20);
    let server = Server::start_by(cgroup.command(&cache::sideflame()), &[]);
    let pid = api_server(&server, plane);
    let capture = |parameters: &str| {
        let query = format!("/profile?pid={pid}&seconds=8&format=collapsed&{parameters}");
        server.get(&query).ok()
    };
    let idle = {
        let _no_load = LOAD.lock().unwrap_or_else(PoisonError::into_inner);
        capture("event=cpu&frequency=99")
    };
    eprintln!("{}", told("idle, cpu at 99 Hz", &idle));

    let stop = AtomicBool::new(false);
    let (loaded, peak) = std::thread::scope(|scope| {
        let peak = scope.spawn(|| peak_of_recorder(&server, &stop));
        let _stopping = Stopping(&stop);
        let (loaded, rounds) = under_load(plane, || {
            [
                "cpu&frequency=99",
                "cpu&frequency=999",
                "context-switches&frequency=99",
                "context-switches&frequency=999",
            ]
            .map(|event| (event, capture(&format!("event={event}"))))
        });
        eprintln!("{rounds} rounds of five requests");
        stop.store(true, Ordering::Relaxed);
        (loaded, peak.join().unwrap())
    });
    for (event, answer) in &loaded {
        eprintln!("{}", told(event, answer));
        let stacks = answer.text();
        assert!(named(&stacks) >= 0.95, "{event}: {:.4} of frames named", named(&stacks));
        assert!(answer.number("sideflame-unresolved") <= 0.05, "{event}");
        assert!(shares::of(&stacks, "[truncated]") < 0.02, "{event}");
        assert!(below(&stacks, &["k8s.io/apiserver/pkg/"]) > 0.1, "{event}: {stacks}");
    }
    let [(_, at_99), (_, at_999), ..] = &loaded;
    let samples = |answer: &Answer| answer.number("sideflame-samples");
    assert!(
        samples(at_99) > 3.0 * samples(&idle),
        "{} and {}",
        samples(at_99),
        samples(&idle)
    );
    assert!(
        samples(at_999) > 3.0 * samples(at_99),
        "{} and {}",
        samples(at_999),
        samples(at_99)
    );

    let stacks = at_999.text();
    let work = [
        "k8s.io/apiserver/pkg/authentication/",
        "k8s.io/apiserver/pkg/authorization/",
        "k8s.io/kubernetes/plugin/pkg/auth/",
        "k8s.io/kubernetes/pkg/serviceaccount",
    ];
    let filters = [
        "k8s.io/apiserver/pkg/endpoints/filters.withAuthentication",
        "k8s.io/apiserver/pkg/endpoints/filters.WithAuthentication",
        "k8s.io/apiserver/pkg/endpoints/filters.WithAuthorization",
        "k8s.io/apiserver/pkg/endpoints/filters.withAuthorization",
    ];
    let (work, below_filters) = (below(&stacks, &work), below(&stacks, &filters));
    eprintln!("authentication and authorization: {work:.4} of CPU time; {below_filters:.4} below their filters");
    assert!(work > 0.0 && below_filters > work, "{work} {below_filters}");
    eprintln!("the recorder's memory: {peak} KiB at most");
    assert!(peak > 0 && peak <= 64 << 10, "{peak} KiB");
    assert_eq!(cgroup.oom_kills(), 0, "{}", server.log());
    drop(server);
}
