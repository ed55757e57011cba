//! An app that plants links, and a browser page that is not ours.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use e2e::Server;
use e2e::app::{self, App};

/// A file that must stay as it is.
fn victim() -> PathBuf {
    let file = std::env::temp_dir().join(format!(
        "sideflame-victim-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&file, "untouched").unwrap();
    file
}

fn assert_untouched(file: &Path) {
    assert_eq!(std::fs::read_to_string(file).unwrap(), "untouched");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn links_at_the_paths_of_the_jvm_are_not_followed() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let victim = victim();
    for name in [format!(".java_pid{}", app.pid), format!(".attach_pid{}", app.pid)] {
        let link = std::env::temp_dir().join(&name);
        symlink(&victim, &link).unwrap();
        let answer = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
        assert_eq!(std::fs::read_link(&link).ok().as_ref().unwrap_or(&victim), &victim);
        let _ = std::fs::remove_file(&link);
    }
    assert_untouched(&victim);
    server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
}

#[test]
fn a_link_at_the_library_is_not_followed() {
    // With a /tmp of its own, so that the library is not where it could load it from ours.
    let own_tmp = "mount -t tmpfs -o mode=1777 tmpfs /tmp && exec";
    let app = App::start(app::in_own_mounts(own_tmp, &app::java("25", &[], "cpu")));
    let server = Server::default();
    server.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", app.pid)).unwrap();
    let loaded = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| path.contains(".sideflame"));
    let library = loaded.expect("a library of ours in the target");
    let folder = Path::new(library.trim_end_matches(" (deleted)")).parent().unwrap();
    let inside = |path: &Path| PathBuf::from(format!("/proc/{}/root{}", app.pid, path.display()));
    let victim = inside(Path::new("/tmp/victim"));
    std::fs::create_dir(&victim).unwrap();
    symlink("/tmp/victim", inside(folder)).unwrap();
    let answer = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(answer.status, 502, "{}", answer.text());
    std::fs::remove_file(inside(folder)).unwrap();
    assert_eq!(
        std::fs::read_dir(&victim).unwrap().count(),
        0,
        "something was written through the link"
    );
    std::fs::remove_dir(&victim).unwrap();
}

#[test]
fn a_link_or_a_foreign_socket_in_place_of_the_diagnostic_socket_is_refused() {
    let app = App::start(app::dotnet("3.1", "cpu"));
    let socket = std::fs::read_dir(std::env::temp_dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.to_string_lossy()
                .contains(&format!("dotnet-diagnostic-{}-", app.pid))
        })
        .expect("a diagnostic socket");
    let away = socket.with_extension("away");
    std::fs::rename(&socket, &away).unwrap();

    symlink(&away, &socket).unwrap();
    let server = Server::default();
    let answer = server.get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(answer.status, 422, "link: {}", answer.text());
    std::fs::remove_file(&socket).unwrap();

    let foreign = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    foreign.set_nonblocking(true).unwrap();
    let answer = Server::default().get(&format!("/profile?pid={}&seconds=1", app.pid));
    assert_eq!(answer.status, 422, "foreign: {}", answer.text());
    let mut said = String::new();
    if let Ok((mut connection, _)) = foreign.accept() {
        connection.set_nonblocking(false).unwrap();
        connection.read_to_string(&mut said).unwrap();
    }
    assert_eq!(said, "", "we spoke to a foreign process");
    std::fs::remove_file(&socket).unwrap();

    std::fs::rename(&away, &socket).unwrap();
    Server::default()
        .get(&format!("/profile?pid={}&seconds=1", app.pid))
        .ok();
}

#[test]
fn a_cross_site_page_gets_nothing() {
    let server = Server::default();
    for site in ["cross-site", "same-site"] {
        let answer = server.send(
            "GET",
            "/processes",
            &[("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "no-cors")],
        );
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "cross_site_request"),
            "{site}"
        );
    }
    let answer = server.send("POST", "/captures", &[("Origin", "http://localhost:3000")]);
    assert_eq!(answer.status, 403, "{}", answer.text());
    server
        .send("GET", "/processes", &[("Sec-Fetch-Site", "same-origin")])
        .ok();
    let answer = server.get("/processes").ok();
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

/// One raw request; what came back until the server closed.
fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_foreign_host_is_refused() {
    let server = Server::default();
    for host in [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1:7117",
        "127.0.0.1.nip.io",
        "",
    ] {
        let answer = raw(
            &server,
            format!("GET /processes HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 4"), "{host}: {answer}");
    }
    for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:9", "127.0.0.2"] {
        let answer = raw(
            &server,
            format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
}

#[test]
fn a_query_of_a_megabyte_is_refused_and_the_server_lives() {
    let server = Server::default();
    let query = "a".repeat(1 << 20);
    let answer = raw(
        &server,
        format!("GET /profile?name={query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    assert!(
        answer.starts_with("HTTP/1.1 4") || answer.is_empty(),
        "{}",
        answer.chars().take(200).collect::<String>()
    );
    server.get("/healthz").ok();
    let answer = server.get(&format!("/profile?name={}", "a".repeat(20_000)));
    assert_eq!(answer.status, 414, "{}", answer.text());
}
