//! Captures as things that last: they outlive the server, are told of as they go on, are kept and named, and leave in one
//! archive that can be verified.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot set up must fail loudly"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::app::{self, App};
use e2e::{Server, jfr, target_files};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A folder for a store that several servers have one after the other, and is gone after the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sideflame-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn server(&self, flags: &[&str]) -> Server {
        let place = self.0.to_str().unwrap();
        Server::start(&[&["--store-dir", place], flags].concat())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What `tar x` and `sha256sum -c` say of an archive: the folder it makes.
fn verified(archive: &[u8], place: &Path) -> PathBuf {
    let mut tar = Command::new("tar")
        .arg("x")
        .current_dir(place)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(archive).unwrap();
    assert!(tar.wait().unwrap().success());
    let folders: Vec<_> = std::fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [folder] = &*folders else { panic!("{folders:?}") };
    let check = Command::new("sha256sum")
        .args(["-c", "SHA256SUMS"])
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success() && said.lines().count() == 5, "{said}");
    folder.clone()
}

#[test]
fn captures_outlive_a_killed_server_and_half_ones_are_named() {
    let app = App::start(app::java("17", &["-Dpassword=hunter2"], "cpu"));
    let place = Place::new("outlives");
    let mut server = place.server(&[]);
    let whole = server.capture(&format!("pid={}&seconds=2&format=jfr", app.pid));
    server.wait_for(&whole, &["finished"]);
    let path = format!("/captures/{whole}/artifact");
    let before = server.get(&path).whole();
    let svg = server.get(&format!("{path}?format=svg")).whole();
    let named = server.send_json(
        "PATCH",
        &format!("/captures/{whole}"),
        r#"{"name": "before", "pinned": true}"#,
    );
    assert_eq!(named.ok().json()["captureName"], "before");
    let quality = server.get(&format!("/captures/{whole}")).ok().json()["quality"].clone();
    let half = server.capture(&format!("pid={}&seconds=120", app.pid));
    server.wait_for(&half, &["sampling"]);
    // As the kernel does it that has no memory left for the container: none is left to clean.
    kill(Pid::from_raw(server.pid()), Signal::SIGSTOP).unwrap();
    kill(Pid::from_raw(server.recorder().unwrap()), Signal::SIGKILL).unwrap();
    // At once: another server of this machine that starts now cleans up as well.
    assert!(!target_files::left(app.pid).is_empty(), "the test provokes nothing");
    server.end(Signal::SIGKILL);

    let next = place.server(&[]);
    target_files::wait_until_clean(app.pid, Duration::from_secs(30));
    let capture = next.get(&format!("/captures/{whole}")).ok().json();
    assert_eq!(
        (&capture["captureName"], &capture["pinned"]),
        (&"before".into(), &true.into())
    );
    assert_eq!(
        (&capture["status"], &capture["quality"]),
        (&"finished".into(), &quality)
    );
    let after = next.get(&path).whole();
    assert!(after.body == before.body && after.header("etag") == before.header("etag"));
    assert_eq!(next.get(&format!("{path}?format=svg")).whole().text(), svg.text());
    let half = next.get(&format!("/captures/{half}")).ok().json();
    assert_eq!(
        (&half["status"], &half["problem"]["code"]),
        (&"failed".into(), &"capture_interrupted".into())
    );
    let archive = next.get(&format!("/captures/{whole}/export")).ok().body;
    let extracted = Place::new("outlived");
    let folder = verified(&archive, &extracted.0);
    assert_eq!(std::fs::read(folder.join("recording.jfr")).unwrap(), before.body);
    // The library can be used, and nothing of the old session is in its way.
    next.get(&format!("/profile?pid={}&seconds=1", app.pid)).ok();
    target_files::wait_until_clean(app.pid, Duration::from_secs(2));
    // The one that was killed has the folder no longer.
    drop(next);
    drop(server);
}

#[test]
fn two_servers_of_one_place_do_not_share_captures_and_a_clean_end_keeps_them() {
    let app = App::start(app::java("17", &[], "cpu"));
    let place = Place::new("shared");
    let mut first = place.server(&[]);
    let id = first.capture(&format!("pid={}&seconds=1", app.pid));
    first.wait_for(&id, &["finished"]);
    let path = format!("/captures/{id}");
    let second = place.server(&[]);
    assert_eq!(second.get(&path).status, 404);
    first.end(Signal::SIGTERM);
    let third = place.server(&[]);
    assert_eq!((second.get(&path).status, third.get(&path).status), (404, 200));
    drop(first);
}

#[test]
fn a_capture_is_told_of_as_it_goes_on() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=13", app.pid));
    let path = format!("/captures/{id}/events");
    let mut tabs: Vec<_> = (0..7).map(|_| server.streamed(&path)).collect();
    for tab in &mut tabs {
        let (mut events, mut heartbeats) = (Vec::new(), 0);
        while let Some(line) = tab.next_line() {
            match line.split_once(':') {
                Some(("event", event)) => events.push((event.trim().to_owned(), serde_json::Value::Null)),
                Some(("data", data)) => events.last_mut().unwrap().1 = serde_json::from_str(data).unwrap(),
                Some(("", _)) => heartbeats += 1,
                _ => {}
            }
        }
        assert!(heartbeats >= 1, "{events:?}");
        let (end, data) = events.pop().unwrap();
        assert_eq!(
            (end.as_str(), &data["status"], &data["seconds"]),
            ("end", &"finished".into(), &13.into())
        );
        assert!(
            data["elapsedMs"].as_u64().unwrap() >= 13_000 && data["bytes"].as_u64().unwrap() > 0,
            "{data}"
        );
        assert!(
            events
                .iter()
                .all(|(event, data)| event == "progress" && data["status"] == "running")
        );
        assert!(events.iter().any(|(_, data)| data["phase"] == "sampling"), "{events:?}");
    }
    let again = server.send("GET", &path, &[("Last-Event-ID", "end")]);
    assert_eq!(again.status, 204);
    // What has failed says why.
    let id = server.capture(&format!("pid={}&seconds=60", app.pid));
    server.wait_for(&id, &["sampling"]);
    let mut told = server.streamed(&format!("/captures/{id}/events"));
    drop(app);
    let mut last = String::new();
    while let Some(line) = told.next_line() {
        if line.starts_with("data:") {
            last = line;
        }
    }
    assert!(last.contains("target_exited"), "{last}");
}

#[test]
fn people_name_and_pin_captures_within_bounds() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::start(&["--store-captures", "2"]);
    let capture = || {
        let id = server.capture(&format!("pid={}&seconds=1", app.pid));
        server.wait_for(&id, &["finished"]);
        id
    };
    let patch = |id: &str, body: &str| server.send_json("PATCH", &format!("/captures/{id}"), body);
    let first = capture();
    let pinned = patch(&first, r#"{"name": "peak", "note": "two\nlines", "pinned": true}"#)
        .ok()
        .json();
    assert_eq!(
        (&pinned["captureName"], &pinned["note"]),
        (&"peak".into(), &"two\nlines".into())
    );
    assert!(
        pinned["pinned"] == true && pinned.get("expiresAtMs").is_none(),
        "{pinned}"
    );
    let second = capture();
    let refused = patch(&second, r#"{"pinned": true}"#);
    assert_eq!((refused.status, refused.code().as_str()), (409, "too_much_pinned"));
    for (body, code) in [
        (format!(r#"{{"name": "{}"}}"#, "x".repeat(81)), "invalid_parameter"),
        (r#"{"note": "\u001b[31m"}"#.to_owned(), "invalid_parameter"),
        (r#"{"colour": "red"}"#.to_owned(), "malformed_body"),
        ("[]".to_owned(), "malformed_body"),
    ] {
        let refused = patch(&second, &body);
        assert_eq!((refused.status, refused.code().as_str()), (400, code), "{body}");
    }
    // Other pages may do it no more than start captures.
    let foreign = server.send(
        "PATCH",
        &format!("/captures/{first}"),
        &[("Origin", "http://evil.example")],
    );
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "cross_site_request"));
    server.get(&format!("/captures/{second}/artifact")).ok();
    server.get(&format!("/captures/{first}/artifact")).ok();
    let third = capture();
    assert_eq!(
        server.get(&format!("/captures/{second}")).status,
        404,
        "the one that is not pinned made room"
    );
    patch(&first, r#"{"pinned": false, "name": ""}"#).ok();
    let unpinned = server.get(&format!("/captures/{first}")).ok().json();
    assert!(
        unpinned["expiresAtMs"].is_u64() && unpinned.get("captureName").is_none(),
        "{unpinned}"
    );
    patch(&third, r#"{"pinned": true}"#).ok();
}

#[test]
fn an_archive_has_the_capture_and_the_process_and_none_of_our_secrets() {
    let app = App::start(app::java("17", &["-Dpassword=hunter2"], "cpu"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=1", app.pid));
    let early = server.get(&format!("/captures/{id}/export"));
    assert_eq!((early.status, early.code().as_str()), (409, "capture_not_finished"));
    server.wait_for(&id, &["finished"]);
    let answer = server.get(&format!("/captures/{id}/export")).ok();
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert!(
        answer
            .header("content-disposition")
            .contains(&format!("sideflame-{id}.tar"))
    );
    let place = Place::new("archive");
    let folder = verified(&answer.body, &place.0);
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let about = json("metadata.json");
    assert_eq!((&about["id"], &about["pid"]), (&id.as_str().into(), &app.pid.into()));
    let line = about["commandLine"].as_array().unwrap();
    assert!(line.iter().any(|argument| argument == "demo.shop.Split"), "{about}");
    assert_eq!(about["process"]["facts"]["runtime"], "jvm");
    let doctor = json("doctor.json");
    let accept = [("Accept", "application/json")];
    let now = server
        .send("GET", &format!("/doctor?pid={}", app.pid), &accept)
        .ok()
        .json();
    assert_eq!(&now[0]["verdicts"], &doctor, "the process has not changed since");

    assert!(json("quality.json")["samples"].as_u64().unwrap() > 0);
    let recording = std::fs::read_to_string(folder.join("recording.collapsed.txt")).unwrap();
    assert!(
        recording.contains("demo/shop/Split") || recording.contains("demo.shop.Split"),
        "{recording}"
    );
    assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"));
    // What was changed afterwards is found out.
    std::fs::write(folder.join("quality.json"), "{}").unwrap();
    let check = Command::new("sha256sum")
        .args(["-c", "SHA256SUMS"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(!check.status.success());
}

#[test]
fn a_jfr_has_no_secrets_unless_they_are_asked_for() {
    let flags = ["-Dpassword=hunter2"];
    let app = App::start(app::java("17", &flags, "cpu"));
    let server = Server::default();
    let profile = |more: &str| {
        let answer = server.get(&format!("/profile?pid={}&seconds=1&format=jfr{more}", app.pid));
        answer.ok().body
    };
    let has = |file: &[u8], text: &str| file.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    let (blanked, kept) = (profile(""), profile("&secrets=keep"));
    assert!(has(&kept, "-Dpassword=hunter2"), "the test provokes nothing");
    assert!(!has(&blanked, "hunter2"));
    for jdk in ["17", "25"] {
        let summary = jfr::summary(jdk, &blanked);
        assert!(jfr::number(&summary, "jdk.ExecutionSample", 1) > 0, "{summary}");
        let properties = jfr::events(jdk, &blanked, "jdk.InitialSystemProperty");
        assert!(
            properties.contains("key = \"password\"") && properties.contains("value = \"*******\""),
            "{properties}"
        );
        let jvm = jfr::events(jdk, &blanked, "jdk.JVMInformation");
        assert!(jvm.contains("OpenJDK") && !jvm.contains("demo.shop"), "{jvm}");
        assert!(jfr::events(jdk, &blanked, "jdk.ActiveSetting").contains("cpu-clock"));
    }
    let refused = server.get(&format!("/profile?pid={}&seconds=1&secrets=keep", app.pid));
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (400, "invalid_parameter"),
        "{}",
        refused.text()
    );
}

/// Gives a client `most` bytes of what `server` answers, and cuts the connection, as a port-forward that drops.
fn cut_after(server: &str, most: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut upstream = TcpStream::connect(&server).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
            });
            let _ = std::io::copy(&mut (&mut upstream).take(most as u64), &mut client);
            let _ = client.shutdown(Shutdown::Both);
            let _ = upstream.shutdown(Shutdown::Both);
        }
    });
    address.to_string()
}

/// What came of the answer, and whether it was all: a head and a body of the length that the head says.
fn fetch(address: &str, path: &str, from: usize, etag: &str) -> (Vec<u8>, String, bool) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let range = format!("Range: bytes={from}-\r\nIf-Range: {etag}\r\n");
    let range = if from > 0 { range.as_str() } else { "" };
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{range}\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(
        head.starts_with(if from > 0 { "http/1.1 206" } else { "http/1.1 200" }),
        "{head}"
    );
    let value = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    let whole = value("content-length:").parse::<usize>().unwrap() == body.len();
    (body, value("etag:"), whole)
}

#[test]
fn a_download_that_was_cut_is_resumed_and_is_the_same() {
    let app = App::start(app::java("17", &[], "cpu"));
    let server = Server::default();
    let id = server.capture(&format!("pid={}&seconds=3&format=jfr&frequency=999", app.pid));
    server.wait_for(&id, &["finished"]);
    let path = format!("/captures/{id}/artifact");
    let expected = server.get(&path).whole();
    let most = expected.body.len() / 3;
    assert!(most > 4096, "the test provokes nothing: {} bytes", expected.body.len());
    let proxy = cut_after(server.url.strip_prefix("http://").unwrap(), most);
    let (mut got, etag, mut whole) = fetch(&proxy, &path, 0, "");
    let mut cuts = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !whole {
        assert!(
            Instant::now() < deadline,
            "{} of {} bytes",
            got.len(),
            expected.body.len()
        );
        cuts += 1;
        let (more, same, all) = fetch(&proxy, &path, got.len(), &etag);
        assert_eq!(same, etag);
        got.extend(more);
        whole = all;
    }
    assert!(cuts >= 2, "{cuts}");
    assert_eq!(etag, expected.header("etag"));
    assert!(got == expected.body);
}
