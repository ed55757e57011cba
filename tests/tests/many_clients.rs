//! Fifty clients at once, with whatever clients ask: the codes are right, memory comes back, and no capture is lost.
//!
//! `SIDEFLAME_LOAD_SECONDS` says for how long; `make soak` has it last five minutes.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up must fail loudly")]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::app::{self, App};
use e2e::{Server, cache, target_files};

const CLIENTS: u64 = 50;

/// Captures at a time: memory is to be that of so many, whatever came and went.
const KEPT: usize = 40;

/// Of the server, in KiB. Debug builds with glibc take some more now and then, and keep it.
const MOST_GROWTH: u64 = 12 << 10;

/// What the clients know of the captures.
#[derive(Default)]
struct Known {
    captures: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

fn anonymous_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The same numbers in each run, others for each client.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Client<'a> {
    server: &'a Server,
    known: &'a Mutex<Known>,
    pids: (i32, i32),
    dice: Dice,
}

impl Client<'_> {
    fn any(&mut self) -> Option<String> {
        let known = self.known.lock().unwrap();
        let count = known.captures.len() as u64;
        let at = usize::try_from(self.dice.roll(count.max(1))).unwrap();
        known.captures.iter().nth(at).cloned()
    }

    /// A request of a capture that another client may have deleted meanwhile.
    fn of_capture(&mut self, method: &str, end: &str, allowed: &[u16]) {
        let Some(id) = self.any() else { return };
        let headers: &[(&str, &str)] = if allowed.contains(&206) {
            &[("Range", "bytes=1-9")]
        } else {
            &[]
        };
        let answer = self.server.send(method, &format!("/captures/{id}{end}"), headers);
        let gone = answer.status == 404 && self.known.lock().unwrap().deleted.contains(&id);
        assert!(
            gone || allowed.contains(&answer.status),
            "{method} {end}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.status == 200 && end.starts_with("/artifact") {
            answer.whole();
        }
    }

    fn start(&mut self) {
        let (go, jvm) = self.pids;
        let query = match self.dice.roll(3) {
            0 => format!("pid={jvm}&event=goroutine&format=text"),
            _ => format!("pid={go}&event=goroutine&format=pprof"),
        };
        let answer = self.server.send("POST", &format!("/captures?{query}"), &[]);
        assert!([202, 429].contains(&answer.status), "{}", answer.text());
        if answer.status == 202 {
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            self.known.lock().unwrap().captures.insert(id);
        }
    }

    fn delete(&mut self) {
        let Some(id) = self.any() else { return };
        let mut known = self.known.lock().unwrap();
        // Nobody else deletes it, and whoever asks for it from now on may be told that it is gone.
        if !known.captures.remove(&id) {
            return;
        }
        known.deleted.insert(id.clone());
        drop(known);
        assert_eq!(self.server.send("DELETE", &format!("/captures/{id}"), &[]).status, 204);
    }

    fn plain(&mut self, path: &str, status: u16) {
        let answer = self.server.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }

    fn act(&mut self) {
        let full = self.known.lock().unwrap().captures.len() >= KEPT;
        let (_, jvm) = self.pids;
        match self.dice.roll(16) {
            0 | 1 if full => self.delete(),
            0 | 1 => self.start(),
            2 => self.of_capture("GET", "/artifact", &[200, 409]),
            3 => self.of_capture("GET", "/artifact?format=svg", &[200, 409, 503]),
            4 => self.of_capture("GET", "/artifact", &[206, 409]),
            5 => self.of_capture("GET", "/artifact?format=nettrace", &[400]),
            6 => self.of_capture("GET", "/export", &[200, 409]),
            7 => self.of_capture("GET", "/events", &[200, 429]),
            8 => self.of_capture("POST", "/stop", &[202]),
            9 => {
                let Some(id) = self.any() else { return };
                let pinned = self.dice.roll(2) == 0;
                let body = format!(r#"{{"name": "load", "pinned": {pinned}}}"#);
                let answer = self.server.send_json("PATCH", &format!("/captures/{id}"), &body);
                assert!([200, 404, 409].contains(&answer.status), "{}", answer.text());
            }
            10 => self.plain("/captures", 200),
            11 => self.plain("/processes", 200),
            12 => self.plain(&format!("/doctor?pid={jvm}"), 200),
            13 => self.plain("/metrics", 200),
            14 => self.plain("/profile?seconds=0", 400),
            _ => self.plain("/nothing/here", 404),
        }
    }
}

#[test]
fn fifty_clients_with_mixed_requests_lose_nothing_and_leave_nothing() {
    let seconds = std::env::var("SIDEFLAME_LOAD_SECONDS").map_or(20, |seconds| seconds.parse().unwrap());
    let mut go = Command::new(cache::file("apps/go/split"));
    go.args(["-pprof", "127.0.0.1:0", "idle"]);
    let go = App::start(go);
    let jvm = App::start(app::java("17", &[], "idle"));
    let server = Server::start(&["--max-captures", "8"]);
    let known = Mutex::new(Known::default());
    let (requests, warm) = (AtomicU64::new(0), AtomicU64::new(0));
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let mut client = Client {
                server: &server,
                known: &known,
                pids: (go.pid, jvm.pid),
                dice: Dice(number),
            };
            let requests = &requests;
            scope.spawn(move || {
                while Instant::now() < end {
                    client.act();
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(seconds) / 2);
            warm.store(anonymous_kib(server.pid()), Ordering::Relaxed);
        });
    });
    let known = known.into_inner().unwrap();
    for id in &known.captures {
        server.wait_for(id, &["finished"]);
        server.get(&format!("/captures/{id}/artifact")).whole();
    }
    let listed = server.get("/captures").ok().json();
    let listed: BTreeSet<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|capture| capture["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, known.captures);
    let (warm, after) = (warm.into_inner(), anonymous_kib(server.pid()));
    let requests = requests.into_inner();
    eprintln!("{requests} requests; {warm} KiB after half of the time, {after} KiB at the end");
    assert!(requests > 500, "the test provokes nothing: {requests} requests");
    assert!(after <= warm + MOST_GROWTH, "{warm} KiB grew to {after}");
    assert!(target_files::left(jvm.pid).is_empty());
}
