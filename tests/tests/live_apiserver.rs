//! A real kube-apiserver under load: names of a stripped program of 100 MB, and what authentication and
//! authorization cost it.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use e2e::control_plane::wait;
use e2e::load::Stopping;
use e2e::{Answer, ControlPlane, MemoryCgroup, Server, addresses, cache, shares};
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
        shares::named(&stacks),
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
        assert!(
            shares::named(&stacks) >= 0.95,
            "{event}: {:.4} of frames named",
            shares::named(&stacks)
        );
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

/// What share of samples each function has as the innermost one.
fn by_leaf<'a>(leaves: impl Iterator<Item = (&'a str, f64)>) -> BTreeMap<String, f64> {
    let (mut shares, mut total) = (BTreeMap::new(), 0.0);
    for (leaf, value) in leaves {
        *shares.entry(leaf.to_owned()).or_insert(0.0) += value;
        total += value;
    }
    shares.values_mut().for_each(|share| *share /= total);
    shares
}

/// The innermost function of each sample that perf took of a process, as it is called by what names our own samples: perf has
/// no names of a stripped Go program, and prints where in its file the code is.
fn leaves_of_perf(pid: i64, script: &str) -> BTreeMap<String, f64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let code = maps.lines().find(|line| line.contains(" r-xp ")).unwrap();
    let fields: Vec<&str> = code.split_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let (start, offset, path) = (hex(fields[0].split_once('-').unwrap().0), hex(fields[2]), fields[5]);

    let mut leaves = Vec::new();
    let mut is_leaf = true;
    for line in script.lines() {
        if line.trim().is_empty() {
            is_leaf = true;
        } else if line.starts_with('\t') && is_leaf {
            is_leaf = false;
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, symbol, file) = (words[0], words[1], words.last().unwrap());
            leaves.push((file.contains(path).then(|| hex(address) - offset + start), symbol));
        }
    }
    let addresses: Vec<u64> = leaves.iter().filter_map(|(address, _)| *address).collect();
    let (symbols, places) = addresses::names(i32::try_from(pid).unwrap(), &addresses);
    let mut places = places.into_iter();
    let named = leaves.iter().map(|(address, symbol)| {
        let name = match address {
            Some(_) => &*symbols.frames(places.next().unwrap())[0].name,
            None => symbol.rsplit_once("+0x").map_or(*symbol, |(name, _)| name),
        };
        (name, 1.0)
    });
    by_leaf(named)
}

#[test]
fn perf_record_has_the_same_functions_at_its_top() {
    let plane = ControlPlane::shared();
    let server = Server::default();
    let pid = api_server(&server, plane);
    let file = std::env::temp_dir().join(format!("sideflame-perf-{pid}.data"));
    let ((ours, script), _) = under_load(plane, || {
        let recording = Command::new("perf")
            .args([
                "record",
                "-q",
                "-e",
                "cpu-clock",
                "-F",
                "499",
                "-g",
                "-p",
                &pid.to_string(),
                "-o",
            ])
            .arg(&file)
            .args(["--", "sleep", "15"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ours = server
            .get(&format!(
                "/profile?pid={pid}&event=cpu&seconds=15&frequency=499&format=collapsed"
            ))
            .ok();
        let recorded = recording.wait_with_output().unwrap();
        assert!(
            recorded.status.success(),
            "{}",
            String::from_utf8_lossy(&recorded.stderr)
        );
        let script = Command::new("perf")
            .args(["script", "-F", "ip,sym,dso", "-i"])
            .arg(&file)
            .output()
            .unwrap();
        (ours.text(), String::from_utf8_lossy(&script.stdout).into_owned())
    });
    std::fs::remove_file(&file).unwrap();
    let theirs = leaves_of_perf(pid, &script);
    let ours = by_leaf(ours.lines().map(|line| {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        (stack.rsplit(';').next().unwrap(), value.parse().unwrap())
    }));
    let share = |of: &BTreeMap<String, f64>, name: &str| of.get(name).copied().unwrap_or_default();
    for (of, others) in [(&theirs, &ours), (&ours, &theirs)] {
        let mut top: Vec<_> = of.iter().collect();
        top.sort_by(|one, other| other.1.total_cmp(one.1));
        assert!(top.len() >= 20, "{of:?}");
        for (name, _) in &top[..20] {
            let (perf, ours) = (share(&theirs, name), share(&ours, name));
            eprintln!("perf {perf:.4}, ours {ours:.4}: {name}");
            assert!(
                (perf - ours).abs() < 0.03,
                "{name}: perf {perf}, ours {ours}; {top:?} {others:?}"
            );
        }
        // None of them has another name in the other one.
        let sum = |of: &BTreeMap<String, f64>| top[..20].iter().map(|(name, _)| share(of, name)).sum::<f64>();
        assert!((sum(of) - sum(others)).abs() < 0.05, "{top:?} {others:?}");
    }
}
