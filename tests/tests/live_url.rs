//! Go servers at their URLs: over TLS with a token, as KubeDiag asks for it, and all that is not asked for anybody.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::app::App;
use e2e::control_plane::wait;
use e2e::resolver::Resolver;
use e2e::{Answer, ControlPlane, Server, cache, certificate};
use serde_json::{Value, json};

const TOKEN: &str = "a-token-that-is-never-repeated";
const ENDPOINT: &str = "diagnoser.runtime.go_profiler.result.endpoint";

/// A folder that is gone in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sideflame-url-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) -> String {
        let file = self.0.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate of 127.0.0.1 for clients, and where it is with its key for the server.
fn certificate(folder: &Folder) -> (String, String) {
    let (public, both) = certificate::self_signed("127.0.0.1");
    (public, folder.put("server.pem", both))
}

/// The sample app with pprof at `address`, which it may choose the port of, and where that is.
fn serve(address: &str, flags: &[&str]) -> (App, String) {
    let mut command = Command::new(cache::file("apps/go/split"));
    command.args(["-pprof", address]).args(flags).arg("cpu");
    let mut app = App::launch(command);
    let address = app.wait_for("pprof");
    app.wait_for("ready");
    (app, address)
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}

fn heap(server: &Server, url: &str) -> Answer {
    server.get(&format!("/profile?event=heap&format=collapsed&url={}", encode(url)))
}

/// All that is below a folder.
fn bytes_below(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(bytes_below(&path)),
            false => all.extend(std::fs::read(&path).unwrap_or_default()),
        }
    }
    all
}

fn has_token(bytes: &[u8]) -> bool {
    bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes())
}

/// The path of the page that an answer of a processor leads to, and the seconds that it says.
fn visited(server: &Server, answer: &Answer) -> (String, u64) {
    let answer: Value = answer.clone().ok().json();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    let text = answer[ENDPOINT].as_str().unwrap();
    let rest = text.strip_prefix("Visit ").unwrap();
    let (address, rest) = rest.split_once(", this server will expire in ").unwrap();
    let seconds = rest.strip_suffix(" seconds.").unwrap().parse().unwrap();
    (address.strip_prefix(&server.url).unwrap().to_owned(), seconds)
}

#[test]
fn a_server_over_tls_is_profiled_with_the_token_of_a_mounted_secret() {
    let folder = Folder::new("tls");
    let (public, both) = certificate(&folder);
    let (_app, address) = serve("127.0.0.1:0", &["-tls", "-certificate", &both, "-token", TOKEN]);
    let url = format!("https://{address}");
    folder.put("secrets/shop/with-authority/token", TOKEN);
    folder.put("secrets/shop/with-authority/ca.crt", &public);
    folder.put("secrets/token-alone/token", format!("{TOKEN}\n"));
    folder.put("secrets/wrong/token", "another");
    let (secrets, store) = (folder.path() + "/secrets", folder.path() + "/store");
    std::fs::create_dir(&store).unwrap();
    let flags = ["--url-secrets", &secrets, "--store-dir", &store, "--log-level", "debug"];
    let server = Server::start(&flags);
    let profile = |rest: &str| server.get(&format!("/profile?url={}&{rest}", encode(&url)));

    // Its shares are those of live_go; on a busy machine a second may pass without a sample.
    wait("samples of the program", Duration::from_secs(60), || {
        let stacks = profile("secret=shop/with-authority&seconds=2&format=collapsed")
            .ok()
            .text();
        stacks.contains("main.sixty").then_some(())
    });
    // The same for Go's own tools.
    let path = format!("/debug/pprof/heap?url={}&secret=shop/with-authority", encode(&url));
    let top = Command::new("go")
        .args(["tool", "pprof", "-top", &format!("{}{path}", server.url)])
        .output()
        .unwrap();
    assert!(top.status.success(), "{}", String::from_utf8_lossy(&top.stderr));
    let head = server.send("HEAD", &format!("/profile?url={}", encode(&url)), &[]);
    assert_eq!((head.status, head.header("content-type")), (200, "image/svg+xml"));

    // Who signed it must be known, and it must be of that name; and who asks must be known to it.
    for (rest, reason) in [
        ("event=heap&secret=token-alone", "tls_certificate_unverified"),
        ("event=heap", "tls_certificate_unverified"),
        ("event=heap&secret=none", "secret_unreadable"),
    ] {
        let refused = profile(rest);
        assert_eq!(
            (refused.status, &refused.json()["reason"]),
            (422, &json!(reason)),
            "{rest}: {}",
            refused.text()
        );
    }
    let port = address.rsplit(':').next().unwrap();
    let renamed = heap(&server, &format!("https://localhost:{port}"));
    assert_eq!(
        renamed.json()["reason"],
        "tls_certificate_unverified",
        "{}",
        renamed.text()
    );
    let ca = folder.put("ca.pem", &public);
    let told = Server::start(&["--url-ca", &ca, "--url-secrets", &secrets]);
    let of = |secret: &str| told.get(&format!("/profile?event=heap&url={}{secret}", encode(&url)));
    of("&secret=token-alone").ok();
    for secret in ["", "&secret=wrong"] {
        let refused = of(secret);
        assert_eq!(
            (refused.status, &refused.json()["reason"]),
            (422, &json!("pprof_unauthorized")),
            "{}",
            refused.text()
        );
    }
    // A token is for https; and whose it is makes no sense without a server.
    let plain = server.get(&format!(
        "/profile?url={}&secret=shop/with-authority",
        encode("http://127.0.0.1:1")
    ));
    assert_eq!((plain.status, plain.code()), (400, "invalid_parameter".to_owned()));
    let both = profile("pid=1");
    assert_eq!((both.status, both.code()), (400, "conflicting_parameters".to_owned()));

    // It is nowhere but in the recorder's memory.
    let captures = server.get("/captures").ok();
    let id = captures.json()[0]["id"].as_str().unwrap().to_owned();
    let export = server.get(&format!("/captures/{id}/export")).ok();
    let stored = bytes_below(Path::new(&store));
    assert!(stored.len() > 1000 && !has_token(&stored));
    assert!(!has_token(&captures.body) && !has_token(&export.body) && !has_token(server.log().as_bytes()));
    assert!(server.log().contains(&url), "what was done is in the log");
}

#[test]
fn a_processor_answers_with_a_page_that_expires() {
    let folder = Folder::new("processor");
    let (public, both) = certificate(&folder);
    let (_app, address) = serve("127.0.0.1:0", &["-tls", "-certificate", &both, "-token", TOKEN]);
    folder.put("secrets/kubediag/sa-token/token", TOKEN);
    folder.put("secrets/kubediag/sa-token/ca.crt", &public);
    let (_plain, plain) = serve("127.0.0.1:0", &[]);
    let own = "the-token-of-sideflame";
    let own_token = folder.put("own-token", own);
    let secrets = folder.path() + "/secrets";
    // A profile of CPU time takes 30 s, or what the operator allows.
    let server = Server::start(&["--url-secrets", &secrets, "--max-seconds", "2"]);
    let locked = Server::start(&["--token-file", &own_token]);
    let process = |body: &Value| server.send_json("POST", "/processor/goProfiler", &body.to_string());

    let long = "param.diagnoser.runtime.go_profiler.";
    let key = |name: &str| format!("{long}{name}");
    let asked = process(&json!({
        key("source"): format!("https://{address}"),
        key("type"): "Goroutine",
        key("tls.secret_reference.name"): "sa-token",
        key("tls.secret_reference.namespace"): "kubediag",
        key("expiration_seconds"): 10,
        "diagnosis.name": "go-profiler",
    }));
    let (page, seconds) = visited(&server, &asked);
    let answered = Instant::now();
    assert_eq!(seconds, 10);
    let shown = server.get(&page).ok();
    assert!(
        shown.header("content-type").starts_with("text/html"),
        "{:?}",
        shown.headers
    );
    let policy = shown.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; img-src 'self'") && !policy.contains("script"),
        "{policy}"
    );
    let html = shown.text();
    assert!(
        html.contains(&format!("{page}/flame.svg")) && html.contains("<pre>") && html.contains("main."),
        "{html}"
    );
    assert!(server.get(&format!("{page}/flame.svg")).ok().text().contains("<svg"));
    server.get(&format!("{page}/top.txt")).ok();
    let pprof = server.get(&format!("{page}/profile.pb.gz")).ok();
    assert_eq!(pprof.body[..2], [0x1f, 0x8b]);
    assert_eq!(server.get(&format!("{page}/other")).status, 404);
    let gone = wait("expiry", Duration::from_secs(60), || {
        let answer = server.get(&page);
        (answer.status != 200).then_some((answer, answered.elapsed()))
    });
    assert_eq!((gone.0.status, gone.0.code()), (404, "no_such_capture".to_owned()));
    // It began to expire a moment before we had the answer.
    assert!(gone.1 > Duration::from_secs(4), "{:?}", gone.1);
    assert_eq!(server.get(&format!("{page}/flame.svg")).status, 404);

    // The short keys, of each type; Go says no content type unless it is told to.
    for (kind, shown) in [("Profile", "main.sixty"), ("Heap", "heap of"), ("Goroutine", "main.")] {
        let body = json!({"source": format!("http://{plain}"), "type": kind, "expirationSeconds": 300});
        let asked = server.post("/processor/goProfiler", body.to_string().into_bytes());
        let (page, seconds) = visited(&server, &asked);
        assert_eq!(seconds, 300);
        assert!(server.get(&page).ok().text().contains(shown), "{kind}");
    }
    // Its page can be looked at by whoever was told of it, with nothing but its address; nothing else can.
    let bearer = format!("Bearer {own}");
    let body = json!({"source": format!("http://{plain}"), "type": "Goroutine"});
    let post = |headers: &[(&str, &str)]| {
        let body = body.to_string().into_bytes();
        let answer = locked.send_bytes("POST", "/processor/goProfiler", headers, body);
        (answer.status, answer)
    };
    assert_eq!(post(&[]).0, 401);
    let (page, seconds) = visited(&locked, &post(&[("Authorization", &bearer)]).1);
    assert_eq!(seconds, 7200);
    let link = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    locked.send("GET", &page, &link).ok();
    locked.get(&format!("{page}/flame.svg")).ok();
    assert_eq!(locked.get("/captures").status, 401);
    let other = locked.send(
        "GET",
        &format!("/profile?event=heap&url=http://{plain}"),
        &[("Authorization", &bearer)],
    );
    let other = other.ok().header("sideflame-capture").to_owned();
    assert_eq!(locked.get(&format!("/processor/goProfiler/{other}")).status, 404);

    // What is wrong is 400, what went wrong is 500, and only POST is understood.
    assert_eq!(server.get("/processor/goProfiler").status, 405);
    let with = |source: &str, kind: &str| process(&json!({"source": source, "type": kind}));
    for (source, kind) in [
        ("http://127.0.0.1:1", "heap"),
        ("ftp://127.0.0.1", "Heap"),
        ("http://169.254.169.254", "Heap"),
        ("http://192.0.2.1:6060", "Heap"),
        ("", "Heap"),
    ] {
        let refused = with(source, kind);
        assert_eq!(refused.status, 400, "{source}: {}", refused.text());
    }
    assert_eq!(server.send_json("POST", "/processor/goProfiler", "{").status, 400);
    let cross = server.send("POST", "/processor/goProfiler", &[("Sec-Fetch-Site", "cross-site")]);
    assert_eq!((cross.status, cross.code()), (403, "cross_site_request".to_owned()));
    for source in [
        "http://127.0.0.1:1".to_owned(),
        format!("https://{address}"),
        server.url.clone() + "/none",
    ] {
        let failed = with(&source, "Heap");
        assert_eq!(failed.status, 500, "{source}: {}", failed.text());
        assert_eq!(failed.json()["status"], 500);
    }
}

/// An address of this machine that is no loopback address; nothing is sent.
fn own_address() -> Ipv4Addr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("a network beside loopback");
    match socket.local_addr().unwrap().ip() {
        IpAddr::V4(address) if !address.is_loopback() => address,
        other => panic!("{other} is no address of a pod"),
    }
}

#[test]
fn no_other_machine_is_asked() {
    let own = own_address();
    let (_app, address) = serve(&format!("{own}:0"), &[]);
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    let loopback = Ipv4Addr::LOCALHOST;
    let resolver = Resolver::start(&[
        ("steady.test", &[&[own]]),
        ("rebound.test", &[&[own], &[metadata], &[loopback]]),
        ("loopback.test", &[&[loopback]]),
        ("mixed.test", &[&[own, metadata]]),
        ("unlisted.test", &[&[own]]),
    ]);
    let names = [
        "steady.test",
        "rebound.test",
        "loopback.test",
        "mixed.test",
        "none.test",
    ];
    let allowed: Vec<String> = names.iter().map(|name| format!("http://{name}:{port}")).collect();
    let everything = format!("http://0.0.0.0/0:{port}");
    let mut flags: Vec<&str> = allowed.iter().flat_map(|entry| ["--allow-url", entry]).collect();
    flags.extend(["--allow-url", "http://0.0.0.0/0:80", "--allow-url", "http://[::/0]:80"]);
    let server = Server::start_by(resolver.used_by(&Command::new(cache::sideflame())), &flags);
    let plain = Server::default();

    // Our own address needs no entry where it is written, in any of its spellings that are one.
    heap(&plain, &format!("http://{address}")).ok();
    heap(&plain, &format!("http://[::ffff:{own}]:{port}")).ok();
    heap(&server, &format!("http://steady.test:{port}/debug/pprof/")).ok();
    assert_eq!(resolver.asked("steady.test"), 1, "a name is resolved once");

    // The first answer is judged and connected to; it does not matter that each one is another.
    let rebound = format!("http://rebound.test:{port}");
    heap(&server, &rebound).ok();
    assert_eq!(resolver.asked("rebound.test"), 1);
    for (asked, word) in [(2, "never asked"), (3, "loopback")] {
        let refused = heap(&server, &rebound);
        assert_eq!(
            (refused.status, refused.code()),
            (403, "url_not_allowed".to_owned()),
            "{}",
            refused.text()
        );
        assert!(refused.text().contains(word), "{}", refused.text());
        assert_eq!(resolver.asked("rebound.test"), asked);
    }

    let host = |host: &str| format!("http://{host}:{port}");
    for (url, status, code) in [
        (host("loopback.test"), 403, "url_not_allowed"),
        (host("mixed.test"), 403, "url_not_allowed"),
        (host("unlisted.test"), 403, "url_not_allowed"),
        (host("none.test"), 422, "impossible"),
        // Of all there is, port 80 is allowed.
        ("http://169.254.169.254".to_owned(), 403, "url_not_allowed"),
        ("http://169.254.1.2".to_owned(), 403, "url_not_allowed"),
        ("http://[fe80::1]".to_owned(), 403, "url_not_allowed"),
        ("http://[fd00:ec2::254]".to_owned(), 403, "url_not_allowed"),
        ("http://[::ffff:169.254.169.254]".to_owned(), 403, "url_not_allowed"),
        ("http://[64:ff9b::a9fe:a9fe]".to_owned(), 403, "url_not_allowed"),
        ("http://[2002:a9fe:a9fe::]".to_owned(), 403, "url_not_allowed"),
        ("http://0.0.0.0".to_owned(), 403, "url_not_allowed"),
        ("http://[::]".to_owned(), 403, "url_not_allowed"),
        ("http://224.0.0.1".to_owned(), 403, "url_not_allowed"),
        ("http://[ff02::1]".to_owned(), 403, "url_not_allowed"),
        ("http://192.0.2.1:81".to_owned(), 403, "url_not_allowed"),
        ("https://192.0.2.1:80".to_owned(), 403, "url_not_allowed"),
        ("http://2130706433".to_owned(), 400, "invalid_parameter"),
        ("http://017700000001".to_owned(), 400, "invalid_parameter"),
        ("http://0x7f.0.0.1".to_owned(), 400, "invalid_parameter"),
        ("http://127.1".to_owned(), 400, "invalid_parameter"),
        ("http://127.0.0.1%0d%0aHost:x".to_owned(), 400, "invalid_parameter"),
        ("http://127.0.0.1\r\nHost: x".to_owned(), 400, "invalid_parameter"),
        ("http://user:secret@127.0.0.1".to_owned(), 400, "invalid_parameter"),
        ("file:///etc/passwd".to_owned(), 400, "invalid_parameter"),
        ("gopher://127.0.0.1:70/_x".to_owned(), 400, "invalid_parameter"),
        ("http://127.0.0.1/?a=b".to_owned(), 400, "invalid_parameter"),
        ("http://127.0.0.1/../x".to_owned(), 400, "invalid_parameter"),
    ] {
        let refused = heap(&server, &url);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (status, code),
            "{url}: {}",
            refused.text()
        );
        assert!(
            !refused.text().contains("secret@") && !refused.text().contains("user:"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(
        resolver.asked("unlisted.test"),
        0,
        "a name that is not on the list is not even resolved"
    );
    // A network covers what a name leads to.
    let by_network = Server::start_by(
        resolver.used_by(&Command::new(cache::sideflame())),
        &["--allow-url", &everything],
    );
    heap(&by_network, &host("unlisted.test")).ok();
    let refused = heap(&by_network, &host("loopback.test"));
    assert_eq!((refused.status, refused.code()), (403, "url_not_allowed".to_owned()));

    // A redirect is told, and not followed: neither there nor at home.
    for to in [
        "http://169.254.169.254/latest/meta-data/",
        &format!("http://{address}/debug/pprof/heap"),
    ] {
        let (_app, address) = serve("127.0.0.1:0", &["-redirect", to]);
        let told = heap(&plain, &format!("http://{address}"));
        assert_eq!(
            (told.status, &told.json()["reason"]),
            (422, &json!("pprof_redirected")),
            "{}",
            told.text()
        );
        assert!(told.json()["detail"].as_str().unwrap().contains(to), "{}", told.text());
    }
    // What is wrong with the list is said at the start.
    let wrong = Command::new(cache::sideflame())
        .args(["serve", "--allow-url", "http://169.254.169.254"])
        .output()
        .unwrap();
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("never asked"));
}

#[test]
fn the_kubernetes_api_is_profiled_with_the_token_of_a_secret_that_it_keeps() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace(&json!({}));
    let account = |name: &str| {
        plane
            .create(&namespace.path("serviceaccounts"), &json!({"metadata": {"name": name}}))
            .ok()
    };
    account("profiler");
    account("sideflame");
    plane
        .create(
            &namespace.path("secrets"),
            &json!({
                "metadata": {"name": "profiler-token", "annotations": {"kubernetes.io/service-account.name": "profiler"}},
                "type": "kubernetes.io/service-account-token",
            }),
        )
        .ok();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let subject = |name: &str| json!([{"kind": "ServiceAccount", "name": name, "namespace": namespace.name}]);
    let bind = |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    let role = format!("{}-pprof", namespace.name);
    let rules = json!([{"nonResourceURLs": ["/debug/pprof", "/debug/pprof/*"], "verbs": ["get"]}]);
    plane
        .create(
            &format!("{rbac}/clusterroles"),
            &json!({"metadata": {"name": role}, "rules": rules}),
        )
        .ok();
    let binding =
        json!({"metadata": {"name": role}, "roleRef": bind("ClusterRole", &role), "subjects": subject("profiler")});
    plane.create(&format!("{rbac}/clusterrolebindings"), &binding).ok();
    let in_namespace = |kind: &str| namespace.path_in("rbac.authorization.k8s.io/v1", kind);
    let rules =
        json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["profiler-token"], "verbs": ["get"]}]);
    plane
        .create(
            &in_namespace("roles"),
            &json!({"metadata": {"name": "one-secret"}, "rules": rules}),
        )
        .ok();
    let binding = json!({"metadata": {"name": "one-secret"}, "roleRef": bind("Role", "one-secret"), "subjects": subject("sideflame")});
    plane.create(&in_namespace("rolebindings"), &binding).ok();
    let secret = wait("token of the service account", Duration::from_secs(30), || {
        let secret = plane.get(&namespace.path("secrets/profiler-token")).ok().body;
        secret["data"]["token"].is_string().then_some(secret)
    });

    // What the kubelet mounts and says in the pod of a sidecar.
    let folder = Folder::new("account");
    let token = plane
        .create(&namespace.path("serviceaccounts/sideflame/token"), &json!({}))
        .ok()
        .body;
    folder.put("token", token["status"]["token"].as_str().unwrap());
    folder.put("namespace", &namespace.name);
    let authority = wait("the authority in a new namespace", Duration::from_secs(30), || {
        let reply = plane.get(&namespace.path("configmaps/kube-root-ca.crt"));
        (reply.status == 200).then_some(reply.body)
    });
    folder.put("ca.crt", authority["data"]["ca.crt"].as_str().unwrap());
    let kubeconfig = std::fs::read_to_string(&plane.kubeconfig).unwrap();
    let url = kubeconfig.split('"').find(|text| text.starts_with("https://")).unwrap();
    let (host, port) = url.strip_prefix("https://").unwrap().rsplit_once(':').unwrap();
    let start = |environment: &[(&str, &str)]| {
        let mut command = Command::new(cache::sideflame());
        command.envs(environment.iter().copied());
        Server::start_by(command, &["--service-account", &folder.path()])
    };
    let server = start(&[
        ("KUBERNETES_SERVICE_HOST", host),
        ("KUBERNETES_SERVICE_PORT_HTTPS", port),
    ]);

    let body = |name: &str, kind: &str| {
        json!({
            "param.diagnoser.runtime.go_profiler.source": url,
            "param.diagnoser.runtime.go_profiler.type": kind,
            "param.diagnoser.runtime.go_profiler.tls.secret_reference.name": name,
            "param.diagnoser.runtime.go_profiler.tls.secret_reference.namespace": namespace.name,
            "param.diagnoser.runtime.go_profiler.expiration_seconds": 300,
        })
    };
    let process = |server: &Server, name: &str, kind: &str| {
        server.send_json("POST", "/processor/goProfiler", &body(name, kind).to_string())
    };
    for kind in ["Heap", "Goroutine"] {
        let (page, seconds) = visited(&server, &process(&server, "profiler-token", kind));
        assert_eq!(seconds, 300);
        let page = server.get(&page).ok().text();
        assert!(page.contains("k8s.io/"), "{kind}: {page}");
    }
    let seconds = format!(
        "/profile?url={}&secret=profiler-token&seconds=2&format=collapsed",
        encode(url)
    );
    server.get(&seconds).ok();
    // What sideflame's own account may not read, the token of another one, and none.
    let refused = process(&server, "another", "Heap");
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (500, &json!("secret_unreadable")),
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("403"), "{}", refused.text());
    let anonymous = server.get(&format!("/profile?event=heap&url={}", encode(url)));
    assert_eq!(
        (anonymous.status, &anonymous.json()["reason"]),
        (422, &json!("pprof_unauthorized")),
        "{}",
        anonymous.text()
    );
    let nowhere = process(&start(&[]), "profiler-token", "Heap");
    assert_eq!(
        (nowhere.status, &nowhere.json()["reason"]),
        (500, &json!("secret_unreadable")),
        "{}",
        nowhere.text()
    );
    let secret = secret["data"]["token"].as_str().unwrap();
    assert!(
        !server.log().contains(&secret[..40]),
        "the token in base64 is in the log"
    );
    plane.delete(&format!("{rbac}/clusterrolebindings/{role}"));
    plane.delete(&format!("{rbac}/clusterroles/{role}"));
}
