use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};

use super::{Candidate, Program, ask_all, asks_for_tls, candidates, is_pprof, trust_by_user};
use crate::process::{Process, ProcessTable, TargetRoot};
use crate::runtime::go::listening_sockets::dial_addresses;
use crate::runtime::{GoPprofSettings, PprofAbsence, PprofEndpoint, Scope, Scoped};

const INDEX: &str = "<html><title>/debug/pprof/</title><a href='goroutine?debug=1'>goroutine</a>\
                     <a href='threadcreate?debug=1'>threadcreate</a></html>";

fn myself() -> Process {
    ProcessTable::default()
        .get(i32::try_from(std::process::id()).unwrap())
        .unwrap()
}

/// A port that answers each request through `answer`; the thread ends with the test process.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let _ = stream.write_all(&answer(&String::from_utf8_lossy(&request[..read])));
        }
    });
    address
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn seen(address: SocketAddr) -> Candidate {
    Candidate {
        port: address.port(),
        addresses: vec![address],
        seen: true,
        trusted: false,
    }
}

fn ask(candidates: Vec<Candidate>, settings: &GoPprofSettings) -> Result<PprofEndpoint, PprofAbsence> {
    ask_beside(candidates, settings, &[])
}

fn ask_beside(
    candidates: Vec<Candidate>,
    settings: &GoPprofSettings,
    sockets: &[String],
) -> Result<PprofEndpoint, PprofAbsence> {
    let process = myself();
    let program = Program {
        process: &process,
        name: "shop",
    };
    let root = TargetRoot::open(&ProcessTable::default(), process.id).unwrap();
    ask_all(program, settings, candidates, (Some(&root), sockets.to_vec()))
}

/// For every program.
fn unscoped<T>(value: T) -> Vec<Scoped<T>> {
    let scope = Scope::default();
    vec![Scoped { scope, value }]
}

fn authorization(value: &str) -> (String, String) {
    ("Authorization".to_owned(), value.to_owned())
}

#[test]
fn a_port_with_the_index_is_the_endpoint() {
    let address = serve(|request| {
        assert!(request.starts_with("GET /admin/debug/pprof/ HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains("user-agent: sideflame/") && request.contains("connection: close"),
            "{request}"
        );
        assert!(request.contains("authorization: Bearer s3cret"), "{request}");
        http("200 OK", INDEX)
    });
    let settings = GoPprofSettings {
        ports: vec![address.port()],
        path_prefixes: unscoped("/admin/".to_owned()),
        headers: unscoped(authorization("Bearer s3cret")),
        ..GoPprofSettings::default()
    };
    let trusted = Candidate {
        trusted: true,
        ..seen(address)
    };
    let endpoint = ask(vec![trusted], &settings).unwrap();
    assert_eq!(endpoint.to_string(), format!("http://{address}/admin/debug/pprof/"));
}

#[test]
fn the_header_goes_to_the_port_it_was_given_for_if_the_process_listens_there() {
    let (said, heard) = std::sync::mpsc::channel();
    let server = |name: &'static str| {
        let said = said.clone();
        serve(move |request| {
            said.send((name, request.contains("s3cret"))).unwrap();
            http("404 Not Found", "")
        })
    };
    let (named, discovered, of_another) = (server("named"), server("discovered"), server("of another"));
    let settings = GoPprofSettings {
        ports: vec![named.port(), of_another.port()],
        headers: unscoped(authorization("Bearer s3cret")),
        ..GoPprofSettings::default()
    };
    ask(candidates(&[named, discovered], &settings.ports), &settings).unwrap_err();
    drop(said);
    let mut told: Vec<_> = heard.try_iter().collect();
    told.sort_unstable();
    assert_eq!(told, [("discovered", false), ("named", true), ("of another", false)]);
}

#[test]
fn without_the_right_to_see_whose_a_socket_is_its_user_decides() {
    let process = myself();
    let address = serve(|_| Vec::new());
    let trusted = |process: &Process| {
        let mut candidates = candidates(&[], &[address.port()]);
        trust_by_user(&mut candidates, &ProcessTable::default(), process);
        let [Candidate { trusted, addresses, .. }] = &candidates[..] else {
            panic!("{candidates:?}")
        };
        trusted.then(|| addresses.clone())
    };
    assert_eq!(trusted(&process), Some(vec![address]));
    let mut other = process;
    other.credentials.uid += 1;
    // A test that runs as root opens sockets as root, which may do so for anybody.
    let by_root = nix::unistd::geteuid().is_root();
    assert_eq!(trusted(&other).is_some(), by_root);
}

#[test]
fn ports_of_other_protocols_are_named() {
    let echo = serve(|request| request.as_bytes().to_owned());
    let not_found = serve(|_| http("404 Not Found", "404 page not found"));
    let silent = serve(|_| Vec::new());
    let absence = ask(
        vec![seen(echo), seen(not_found), seen(silent)],
        &GoPprofSettings::default(),
    )
    .unwrap_err();
    let PprofAbsence::NotOnPorts { ports, untried, .. } = absence else {
        panic!("{absence:?}")
    };
    assert_eq!(ports, [echo.port(), not_found.port(), silent.port()]);
    assert_eq!(untried, [0_u16; 0]);
}

#[test]
fn a_redirect_is_not_followed_and_said() {
    let pprof = serve(|_| http("200 OK", INDEX));
    let place = format!("http://{pprof}/debug/pprof/");
    let location = format!("302 Found\r\nLocation: {place}");
    let redirect = serve(move |_| http(&location, ""));
    let absence = ask(vec![seen(redirect)], &GoPprofSettings::default()).unwrap_err();
    let (address, status) = (redirect.to_string(), 302);
    assert_eq!(
        absence,
        PprofAbsence::Redirected {
            address,
            status,
            location: place
        }
    );
    let elsewhere = ask(vec![seen(redirect), seen(pprof)], &GoPprofSettings::default()).unwrap();
    assert_eq!(elsewhere.authority, pprof.to_string());
}

#[test]
fn without_a_prefix_it_is_tried_too() {
    let address = serve(|request| match request {
        request if request.starts_with("GET /debug/pprof/ ") => http("200 OK", INDEX),
        _ => http("404 Not Found", ""),
    });
    let settings = GoPprofSettings {
        path_prefixes: unscoped("/admin".to_owned()),
        ..GoPprofSettings::default()
    };
    let endpoint = ask(vec![seen(address)], &settings).unwrap();
    assert_eq!(endpoint.path, "/debug/pprof/");
    assert_eq!(endpoint.profiles, ["goroutine", "threadcreate"]);
}

#[test]
fn a_unix_socket_is_asked_when_no_port_has_it_and_gets_no_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pprof.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            said.send(String::from_utf8_lossy(&request[..read]).into_owned())
                .unwrap();
            let _ = stream.write_all(&http("200 OK", INDEX));
        }
    });
    let settings = GoPprofSettings {
        headers: unscoped(authorization("Bearer s3cret")),
        ..GoPprofSettings::default()
    };
    let sockets = ["@abstract".to_owned(), path.display().to_string()];
    let endpoint = ask_beside(Vec::new(), &settings, &sockets).unwrap();
    assert_eq!(endpoint.authority, format!("unix:{}", path.display()));
    let request = heard.recv().unwrap();
    assert!(
        request.contains("host: localhost") && !request.contains("s3cret"),
        "{request}"
    );
    let absence = ask_beside(Vec::new(), &settings, &sockets[..1]).unwrap_err();
    let PprofAbsence::NotOnPorts { sockets, .. } = absence else {
        panic!("{absence:?}")
    };
    assert_eq!(sockets, ["@abstract"]);
}

#[test]
fn a_port_that_asks_who_we_are_is_the_better_reason() {
    let other = serve(|_| http("404 Not Found", ""));
    let guarded = serve(|_| http("401 Unauthorized", ""));
    let absence = ask(vec![seen(guarded), seen(other)], &GoPprofSettings::default()).unwrap_err();
    assert_eq!(
        absence,
        PprofAbsence::Unauthorized {
            address: guarded.to_string(),
            status: 401
        }
    );
}

#[test]
fn tls_is_not_spoken_unasked() {
    let go = serve(|_| b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n".to_vec());
    let alert = serve(|_| b"\x15\x03\x01\x00\x02\x02\x46".to_vec());
    for address in [go, alert] {
        let absence = ask(vec![seen(address)], &GoPprofSettings::default()).unwrap_err();
        assert_eq!(
            absence,
            PprofAbsence::UnverifiedTls {
                address: address.to_string()
            }
        );
    }
}

#[test]
fn a_port_not_seen_must_prove_whose_it_is() {
    let answer = |cmdline: String| {
        serve(move |request| {
            if request.contains("/cmdline") {
                http("200 OK", &cmdline)
            } else {
                http("200 OK", INDEX)
            }
        })
    };
    let unseen = |address| {
        vec![Candidate {
            seen: false,
            ..seen(address)
        }]
    };
    let ours = answer(myself().command_line.arguments().collect::<Vec<_>>().join("\0"));
    assert!(ask(unseen(ours), &GoPprofSettings::default()).is_ok());
    let foreign = answer("/other\0--flag".to_owned());
    assert!(ask(unseen(foreign), &GoPprofSettings::default()).is_err());
}

#[test]
fn slow_ports_cost_two_seconds_at_most() {
    let slow = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n".iter().cycle() {
                        std::thread::sleep(Duration::from_millis(100));
                        if stream.write_all(&[*byte]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    };
    let candidates: Vec<Candidate> = (0..4).map(|_| seen(slow())).collect();
    let ports: Vec<u16> = candidates.iter().map(|candidate| candidate.port).collect();
    let begin = Instant::now();
    let absence = ask(candidates, &GoPprofSettings::default()).unwrap_err();
    assert!(begin.elapsed() < Duration::from_millis(2500), "{:?}", begin.elapsed());
    let PprofAbsence::NotOnPorts {
        ports: asked, untried, ..
    } = absence
    else {
        panic!("{absence:?}")
    };
    assert_eq!([asked, untried].concat(), ports);
}

#[test]
fn an_endless_index_is_cut() {
    let endless = serve(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
        answer.resize(1 << 20, b'x');
        answer
    });
    assert!(ask(vec![seen(endless)], &GoPprofSettings::default()).is_err());
}

#[test]
fn at_most_sixteen_ports_are_asked() {
    // Bound and not listening: refused, and no other test can get the port.
    let flags = SockFlag::SOCK_CLOEXEC;
    let bound = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    bind(bound.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let closed: SockaddrIn = getsockname(bound.as_raw_fd()).unwrap();
    let closed = SocketAddr::from((closed.ip(), closed.port()));
    let candidates = (0..20).map(|_| seen(closed)).collect();
    let absence = ask(candidates, &GoPprofSettings::default()).unwrap_err();
    let PprofAbsence::NotOnPorts { ports, untried, .. } = absence else {
        panic!("{absence:?}")
    };
    assert_eq!((ports.len(), untried.len()), (16, 4));
}

#[test]
fn a_header_that_cannot_be_sent_is_said_without_its_value() {
    let address = serve(|_| Vec::new());
    let settings = GoPprofSettings {
        ports: vec![address.port()],
        headers: unscoped(authorization("Bearer s3cret\r\nX: y")),
        ..GoPprofSettings::default()
    };
    let trusted = Candidate {
        trusted: true,
        ..seen(address)
    };
    let absence = ask(vec![trusted], &settings).unwrap_err();
    let PprofAbsence::ProbeFailed { detail } = absence else {
        panic!("{absence:?}")
    };
    assert!(
        detail.contains("authorization") && !detail.contains("s3cret"),
        "{detail}"
    );
}

#[test]
fn configured_ports_come_first_then_the_likely_ones() {
    let listening: Vec<SocketAddr> = [
        "0.0.0.0:8080",
        "10.1.2.3:9100",
        "127.0.0.1:9999",
        "[::]:6060",
        "[::1]:9999",
        "[fe80::1]:7000",
    ]
    .map(|address| address.parse().unwrap())
    .to_vec();
    let found = candidates(&listening, &[9100, 4000, 9100]);
    let shown: Vec<String> = found
        .iter()
        .map(|candidate| {
            let addresses: Vec<String> = candidate.addresses.iter().map(ToString::to_string).collect();
            format!(
                "{} {}",
                if candidate.seen { "seen" } else { "unseen" },
                addresses.join(" ")
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "seen 10.1.2.3:9100",
            "unseen 127.0.0.1:4000 [::1]:4000",
            "seen [::1]:6060 127.0.0.1:6060",
            "seen 127.0.0.1:9999 [::1]:9999",
            "seen 127.0.0.1:8080",
        ]
    );
    assert!(dial_addresses("[fe80::1]:1".parse().unwrap()).is_empty());
}

#[test]
fn only_an_answer_of_pprof_counts() {
    let none = HeaderMap::new();
    assert!(is_pprof(StatusCode::OK, &none, INDEX.as_bytes()));
    assert!(!is_pprof(
        StatusCode::OK,
        &none,
        b"<html>/debug/pprof/ is not here</html>"
    ));
    assert!(!is_pprof(StatusCode::NOT_FOUND, &none, INDEX.as_bytes()));
    let mut marked = HeaderMap::new();
    marked.insert("x-go-pprof", HeaderValue::from_static("1"));
    assert!(is_pprof(StatusCode::INTERNAL_SERVER_ERROR, &marked, b""));
}

#[test]
fn a_plain_request_to_a_tls_port_is_told_by_the_answer() {
    assert!(asks_for_tls(b"Client sent an HTTP request to an HTTPS server.\n"));
    assert!(asks_for_tls(
        b"<center>The plain HTTP request was sent to HTTPS port</center>"
    ));
    assert!(!asks_for_tls(b"400 Bad Request"));
}
