//! What a pprof port says when it has no profile for us: the application's words, which we repeat.

use axum::http::StatusCode;
use sideflame::event::Event;
use sideflame::runtime::go::fuzz::refusal;

use crate::Seed;

/// Two bytes for the status, then the body.
pub(crate) fn run(bytes: &[u8]) {
    let Some(([high, low], body)) = bytes.split_first_chunk::<2>().map(|(status, body)| (*status, body)) else {
        return;
    };
    let Ok(status) = StatusCode::from_u16(u16::from_be_bytes([high, low])) else {
        return;
    };
    for event in [Event::Cpu, Event::Trace, Event::Heap] {
        let error = refusal(&event, status, body).expect("Go has such a profile");
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.chars().count() < 1000);
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |status: u16, body: &[u8]| [&status.to_be_bytes(), body].concat();
    vec![
        ("in-use", seed(500, b"Could not enable CPU profiling: cpu profiling already in use\n")),
        ("tracing", seed(500, b"Could not enable tracing: execution tracer already enabled\n")),
        ("timeout", seed(400, b"profile duration exceeds server's WriteTimeout\n")),
        ("unauthorized", seed(401, b"")),
        ("missing", seed(404, b"404 page not found\n")),
        ("moved", seed(302, b"<a href=\"/login\">Found</a>.\n")),
        ("odd", seed(503, b"bad\r\n\x1b[31mthing\0 \xc2\x9b here \xff")),
    ]
}
