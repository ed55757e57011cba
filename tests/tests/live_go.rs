//! Go captures over HTTP: shares of known functions, every profile type, stripped and not.

use std::process::Command;
use std::time::Duration;

use e2e::app::App;
use e2e::control_plane::wait;
use e2e::{Server, cache, shares};

/// Starts `apps/go/<binary>` with pprof on a free port.
fn start(binary: &str, scenario: &str, flags: &[&str]) -> App {
    let mut command = Command::new(cache::file(&format!("apps/go/{binary}")));
    command.args(flags).arg(scenario);
    App::start(command)
}

const PPROF: [&str; 2] = ["-pprof", "127.0.0.1:0"];

#[test]
fn cpu_shares_are_the_known_split() {
    for binary in ["split", "split-stripped", "split-pie"] {
        let app = start(binary, "cpu", &PPROF);
        let server = Server::default();
        let query = format!("/profile?pid={}&seconds=10&format=collapsed", app.pid);
        shares::assert_split(&shares::enough(|| server.get(&query)), shares::GO_CPU);
    }
}

#[test]
fn what_the_program_labels_is_told_apart_by_its_labels() {
    let app = start("split", "labels", &PPROF);
    let server = Server::default();
    let by_label = "&by=label:endpoint";
    let query = format!("/profile?pid={}&seconds=10&format=collapsed{by_label}", app.pid);
    let stacks = shares::enough(|| server.get(&query));
    let endpoints = [
        ("[endpoint: /cart]", 0.6),
        ("[endpoint: /search]", 0.3),
        ("[endpoint: /health]", 0.1),
    ];
    shares::assert_split(&stacks, endpoints);
    assert!(shares::of(&stacks, "[no endpoint]") < 0.03, "{stacks}");

    // Of a capture that is kept they are what Go's own tool finds in it, whichever label is asked for.
    let id = server.capture(&format!("pid={}&seconds=3", app.pid));
    server.wait_for(&id, &["finished"]);
    let artifact = |view: &str| format!("/captures/{id}/artifact?{view}");
    let shown = |view: &str| server.get(&artifact(view)).ok().text();
    let tags = Command::new("go")
        .args(["tool", "pprof", "-tags"])
        .arg(format!("{}{}", server.url, artifact("format=pprof")))
        .output()
        .unwrap();
    let tags = String::from_utf8_lossy(&tags.stdout).into_owned();
    let percent = |tag: &str| {
        let line = tags.lines().find(|line| line.ends_with(&format!("): {tag}")));
        let inside = line.and_then(|line| line.split(['(', '%']).nth(1));
        inside
            .and_then(|number| number.trim().parse::<f64>().ok())
            .unwrap_or_else(|| panic!("{tag} in {tags}"))
    };
    let by_endpoint = shown(&format!("format=collapsed{by_label}"));
    for tag in ["/cart", "/search", "/health"] {
        let share = shares::of(&by_endpoint, &format!("[endpoint: {tag}]"));
        let difference = share * 100.0 - percent(tag);
        assert!(difference.abs() < 0.01, "{tag}: {share} of {tags}");
    }
    let gold = shares::of(&shown("format=collapsed&by=label:tier"), "[tier: gold]");
    let search = shares::of(&by_endpoint, "[endpoint: /search]");
    assert!((gold - search).abs() < 0.0001 && gold > 0.0, "{gold}, {search}");
    let picture = shown(&format!("format=svg{by_label}"));
    assert!(endpoints.iter().all(|(endpoint, _)| picture.contains(endpoint)));
    assert!(!shown("format=collapsed").contains("endpoint"));
}

#[test]
fn every_profile_type_answers_on_the_paths_of_go() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    for path in [
        "profile?seconds=1&",
        "heap?",
        "allocs?",
        "allocs?seconds=1&",
        "goroutine?",
        "block?",
        "mutex?",
        "mutex?seconds=1&",
        "threadcreate?",
    ] {
        let url = format!("{}/debug/pprof/{path}pid={}", server.url, app.pid);
        let top = Command::new("go")
            .args(["tool", "pprof", "-top", &url])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&top.stderr).into_owned();
        assert!(top.status.success(), "{path}: {said}");
    }
}

#[test]
fn alloc_shares_are_the_known_split() {
    let app = start("split", "alloc", &PPROF);
    let server = Server::default();
    let query = format!("/profile?pid={}&seconds=5&event=alloc&format=collapsed", app.pid);
    let functions = [
        ("main.allocSixty", 0.6),
        ("main.allocThirty", 0.3),
        ("main.allocTen", 0.1),
    ];
    shares::assert_split(&server.get(&query).ok().text(), functions);
}

#[test]
fn an_execution_trace_is_handed_out_as_it_is() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let answer = server
        .get(&format!("/debug/pprof/trace?seconds=1&pid={}", app.pid))
        .ok();
    assert!(answer.body.starts_with(b"go 1."), "{:?}", &answer.body[..16]);
    let file = std::env::temp_dir().join(format!("sideflame-{}.trace", std::process::id()));
    std::fs::write(&file, &answer.body).unwrap();
    let parsed = Command::new("go")
        .args(["tool", "trace", "-d=footprint"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
}

#[test]
fn an_svg_needs_no_go_toolchain() {
    let app = start("split-stripped", "cpu", &PPROF);
    let server = Server::default();
    let answer = server.get(&format!("/profile?pid={}&seconds=2", app.pid)).ok();
    assert_eq!(answer.header("content-type"), "image/svg+xml");
    assert!(answer.text().contains("main.sixty"));
}

#[test]
fn https_pprof_needs_the_operators_word() {
    let app = start("split", "cpu", &["-pprof", "127.0.0.1:0", "-tls"]);
    let strict = Server::default();
    let refused = strict.get(&format!("/profile?pid={}&event=heap", app.pid));
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("--go-pprof-insecure-tls"), "{}", refused.text());
    let lenient = Server::start(&["--go-pprof-insecure-tls"]);
    lenient.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn a_path_prefix_is_the_operators_to_name() {
    let app = start("split", "cpu", &["-pprof", "127.0.0.1:0", "-prefix", "/admin"]);
    assert_eq!(
        Server::default()
            .get(&format!("/profile?pid={}&event=heap", app.pid))
            .status,
        422
    );
    let told = Server::start(&["--go-pprof-path-prefix", "/admin"]);
    told.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    let plain = start("split", "cpu", &PPROF);
    told.get(&format!("/profile?pid={}&seconds=1", plain.pid)).ok();
}

/// As [`start`], with the port it got.
fn start_at(flags: &[&str]) -> (App, String) {
    let mut command = Command::new(cache::file("apps/go/split"));
    command.args(PPROF).args(flags).arg("cpu");
    let mut app = App::launch(command);
    let address = app.wait_for("pprof");
    app.wait_for("ready");
    let port = address.rsplit(':').next().unwrap_or_default().to_owned();
    (app, port)
}

#[test]
fn several_programs_of_a_pod_have_each_their_own_secret_prefix_and_certificate() {
    let (one, first) = start_at(&["-token", "one", "-prefix", "/admin"]);
    let (two, second) = start_at(&["-token", "two", "-tls"]);
    let ports = format!("{first},{second}");
    let server = |headers: [String; 2], tls: &str, prefix: &str| {
        let [first, second] = &headers;
        let flags = [
            "--go-pprof-port",
            &ports,
            "--go-pprof-header",
            first,
            "--go-pprof-header",
            second,
        ];
        Server::start(&[&flags[..], &[tls, "--go-pprof-path-prefix", prefix]].concat())
    };
    let header = |port: &str, token: &str| format!("{port}=Authorization: Bearer {token}");
    let tls = format!("--go-pprof-insecure-tls={second}");
    let prefix = format!("{first}=/admin");
    let told = server([header(&first, "one"), header(&second, "two")], &tls, &prefix);
    for app in [&one, &two] {
        told.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    }
    // Whoever gets the other's says so.
    let crossed = server([header(&second, "one"), header(&first, "two")], &tls, &prefix);
    for app in [&one, &two] {
        let refused = crossed.get(&format!("/profile?pid={}&event=heap", app.pid));
        assert_eq!(refused.json()["reason"], "pprof_unauthorized", "{}", refused.text());
    }
}

#[test]
fn a_unix_socket_serves_pprof_as_a_port_does() {
    let folder = std::env::temp_dir().join(format!("sideflame-unix-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let socket = folder.join("pprof.sock");
    let app = start("split", "cpu", &["-pprof", &format!("unix:{}", socket.display())]);
    let server = Server::default();
    let answer = server
        .get(&format!("/profile?pid={}&seconds=1&format=collapsed", app.pid))
        .ok();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(answer.text().contains("main.sixty"), "{}", answer.text());
    let gone = Server::default().get(&format!("/profile?pid={}&event=heap", app.pid));
    assert_eq!(gone.json()["reason"], "pprof_not_found", "{}", gone.text());
    assert!(gone.text().contains("pprof.sock"), "{}", gone.text());
}

#[test]
fn mutual_tls_and_a_redirect_have_reasons_of_their_own() {
    let (mutual, _) = start_at(&["-tls", "-mtls"]);
    let (elsewhere, _) = start_at(&["-redirect", "https://shop.example/login"]);
    let server = Server::start(&["--go-pprof-insecure-tls"]);
    let reason = |app: &App| {
        let refused = server.get(&format!("/profile?pid={}&event=heap", app.pid)).json();
        (
            refused["reason"].clone(),
            refused["detail"].as_str().unwrap().to_owned(),
        )
    };
    let (key, detail) = reason(&mutual);
    assert_eq!(key, "pprof_wants_certificate", "{detail}");
    let (key, detail) = reason(&elsewhere);
    assert_eq!(key, "pprof_redirected", "{detail}");
    assert!(detail.contains("https://shop.example/login"), "{detail}");
}

#[test]
fn a_go_program_without_pprof_says_what_is_missing() {
    for flags in [&["-http", "127.0.0.1:0"][..], &["-tcp", "127.0.0.1:0"]] {
        let mut app = start("split-nopprof", "cpu", flags);
        let server = Server::default();
        let refused = server.get(&format!("/profile?pid={}&event=heap", app.pid));
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(
            refused.json()["remedy"].as_str().unwrap().contains("net/http/pprof"),
            "{}",
            refused.text()
        );
        // CPU time can be had all the same, and it is said who sampled it.
        let sampled = server
            .get(&format!("/profile?pid={}&seconds=2&format=collapsed", app.pid))
            .ok();
        assert!(sampled.text().contains("main.cpu;main.sixty"), "{}", sampled.text());
        assert!(sampled.header("sideflame-sampler").contains("perf_events"));
        assert!(
            sampled.header("sideflame-degraded").contains("net/http/pprof"),
            "{}",
            sampled.header("sideflame-degraded")
        );
        assert!(app.is_alive());
    }
}

#[test]
fn a_profile_somebody_else_takes_is_a_conflict() {
    let app = start("split", "cpu", &PPROF);
    let one = Server::default();
    let other = Server::default();
    let id = one.capture(&format!("pid={}&seconds=10", app.pid));
    one.wait_for(&id, &["sampling"]);
    // Go's profiler has a timer per thread.
    wait("Go's profiler", Duration::from_secs(5), || {
        let timers = std::fs::read_to_string(format!("/proc/{}/timers", app.pid)).unwrap();
        (!timers.is_empty()).then_some(())
    });
    let refused = other.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "already_profiled"),
        "{}",
        refused.text()
    );
    one.send("DELETE", &format!("/captures/{id}"), &[]);
    other.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn who_would_wait_long_for_the_profiler_is_told_for_how_long() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=300", app.pid));
    let busy = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!((busy.status, busy.code().as_str()), (429, "busy"), "{}", busy.text());
    let wait = busy.header("retry-after").parse::<u64>().unwrap();
    assert!((290..=301).contains(&wait), "{wait}");
    // A profiler is all that it takes for itself.
    for beside in ["trace?seconds=1&", "allocs?seconds=1&", "heap?"] {
        server.get(&format!("/debug/pprof/{beside}pid={}", app.pid)).ok();
    }
    server.send("DELETE", &format!("/captures/{id}"), &[]);
    server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn scrapers_and_people_do_not_refuse_each_other() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let scraped = [
        "profile?seconds=2&",
        "allocs?seconds=2&",
        "goroutine?",
        "mutex?seconds=2&",
        "block?seconds=2&",
        "heap?",
    ];
    let scraped = scraped.map(|path| format!("/debug/pprof/{path}pid={}", app.pid));
    let by_a_person = format!("/profile?pid={}&seconds=3&format=collapsed", app.pid);
    for _ in 0..2 {
        std::thread::scope(|scope| {
            let server = &server;
            let asked = scraped.iter().chain([&by_a_person]);
            let answers: Vec<_> = asked.map(|path| (path, scope.spawn(|| server.get(path)))).collect();
            for (path, answer) in answers {
                let answer = answer.join().unwrap();
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
        });
    }
}

#[test]
fn the_whole_grammar_of_go_is_understood() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let get = |path: &str| {
        let and = if path.contains('?') { '&' } else { '?' };
        server.get(&format!("/debug/pprof/{path}{and}pid={}", app.pid))
    };
    let text = get("goroutine?debug=1").ok();
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert!(text.text().starts_with("goroutine profile: total "), "{}", text.text());
    let dump = get("goroutine?debug=2").ok().text();
    assert!(dump.starts_with("goroutine ") && dump.contains("main.cpu"), "{dump}");
    assert!(get("heap?debug=1&gc=1").ok().text().starts_with("heap profile: "));
    assert!(
        get("shop.carts?debug=1")
            .ok()
            .text()
            .starts_with("shop.carts profile: total 2")
    );
    for binary in [
        "shop.carts",
        "heap?gc=1",
        "heap?seconds=1",
        "goroutine?seconds=1",
        "threadcreate?seconds=1",
    ] {
        assert!(get(binary).ok().body.starts_with(&[0x1f, 0x8b]), "{binary}");
    }
    // Which Go answers with a profile all the same.
    assert!(get("profile?seconds=1&debug=1").ok().body.starts_with(&[0x1f, 0x8b]));
    let trace = get("trace?seconds=0.2").ok();
    assert!(trace.body.starts_with(b"go 1."));
    let id = trace.header("sideflame-capture");
    let sampled = server.get(&format!("/captures/{id}")).ok().json()["quality"]["durationMs"].clone();
    assert!(
        sampled.as_u64().is_some_and(|millis| (1..1000).contains(&millis)),
        "{sampled}"
    );
    let arguments = get("cmdline").ok().text();
    let arguments: Vec<&str> = arguments.split('\0').skip(1).collect();
    assert_eq!(arguments, ["-pprof", "127.0.0.1:0", "cpu"]);
    assert_eq!(get("symbol?0x1").ok().text(), "num_symbols: 0\n");
    for (refused, status) in [
        ("heap?seconds=1&debug=1", 400),
        ("shop.carts?seconds=1", 400),
        ("profile?hz=200", 400),
        ("shop.orders", 404),
    ] {
        let answer = get(refused);
        assert_eq!(answer.status, status, "{refused}: {}", answer.text());
        assert_eq!(answer.header("x-go-pprof"), "1", "{refused}");
    }
    let collapsed = format!("/profile?pid={}&event=shop.carts&format=collapsed", app.pid);
    assert!(server.get(&collapsed).ok().text().contains("main.startPprof"));
    let by_format = format!("/profile?pid={}&event=goroutine&format=text&debug=2", app.pid);
    assert!(server.get(&by_format).ok().text().contains("main.cpu"));
}

#[test]
fn the_index_promises_what_the_process_has_and_keeps_it() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let index = server.get(&format!("/debug/pprof/?pid={}", app.pid)).ok().text();
    let names = index.lines().filter_map(|line| line.strip_prefix("/debug/pprof/"));
    let names: Vec<&str> = names.filter_map(|rest| rest.split_whitespace().next()).collect();
    let expected = [
        "allocs",
        "block",
        "cmdline",
        "goroutine",
        "heap",
        "mutex",
        "profile",
        "shop.carts",
        "symbol",
        "threadcreate",
        "trace",
    ];
    assert_eq!(names, expected, "{index}");
    for name in names {
        let seconds = if name == "profile" { "seconds=1&" } else { "" };
        server
            .get(&format!("/debug/pprof/{name}?{seconds}pid={}", app.pid))
            .ok();
    }
    let jvm = App::start(e2e::app::java("17", &[], "cpu"));
    let index = server.get(&format!("/debug/pprof/?pid={}", jvm.pid)).ok().text();
    assert!(
        index.contains("/debug/pprof/profile ") && !index.contains("/debug/pprof/threadcreate"),
        "{index}"
    );
}

#[test]
fn an_early_stop_keeps_what_go_can_give() {
    let app = start("split", "cpu", &PPROF);
    let server = Server::default();
    let stopped = |query: &str| {
        let id = server.capture(&format!("pid={}&seconds=300&{query}", app.pid));
        server.wait_for(&id, &["sampling"]);
        // What is stopped early is to be as long as this.
        std::thread::sleep(Duration::from_secs(3));
        server.send("POST", &format!("/captures/{id}/stop"), &[]);
        let end = server.wait_for(&id, &["finished", "failed"]);
        (id, end)
    };
    for query in ["event=cpu", "event=trace&format=trace"] {
        let (id, end) = stopped(query);
        assert_eq!(end["status"], "finished", "{end}");
        assert!(end["expiresAtMs"].as_u64() > end["createdAtMs"].as_u64(), "{end}");
        let artifact = server.get(&format!("/captures/{id}/artifact")).ok();
        let text = if query == "event=cpu" { "main.sixty" } else { "go 1." };
        assert!(artifact.text().contains(text), "{query}: {} bytes", artifact.body.len());
    }
    // A difference exists only at its end, and says so.
    let (_, end) = stopped("event=alloc");
    assert_eq!(end["status"], "failed", "{end}");
    assert!(end["error"].as_str().unwrap().contains("difference"), "{end}");
}
