//! What it means when a pprof port answers with anything but 200. Pure; called by [`super::capture`].

use hyper::StatusCode;

use super::absence;
use super::request::ProfileRequest;
use crate::runtime::{Reason, RecordError};

/// Characters of the app's own words that we repeat.
const QUOTE: usize = 300;

/// The error for an answer of `status` with the beginning of its `body`.
pub(super) fn refusal(request: &ProfileRequest, status: StatusCode, body: &[u8]) -> RecordError {
    let words = quote(body);
    let text = words.to_ascii_lowercase();
    let tool = |message: String| RecordError::Tool {
        tool: "net/http/pprof".to_owned(),
        message,
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RecordError::Impossible(Reason::new(
            "pprof_unauthorized",
            format!("the pprof port answered {status} to {}", request.profile),
            absence::give_header("<port>"),
        )),
        // runtime/pprof says `cpu profiling already in use`, runtime/trace `tracing already enabled` and newer ones
        // `execution tracer already enabled`.
        StatusCode::INTERNAL_SERVER_ERROR if text.contains("already in use") || text.contains("already enabled") => {
            let what = if request.profile == "trace" {
                "a Go execution trace"
            } else {
                "a Go CPU profile"
            };
            RecordError::AlreadyProfiled { what: what.to_owned() }
        }
        // Go 1.21 refuses what would outlive the server's WriteTimeout; 1.24 extends the deadline.
        StatusCode::BAD_REQUEST if text.contains("writetimeout") => tool(format!(
            "{words}; ask for fewer seconds, or serve pprof from an http.Server of its own without WriteTimeout"
        )),
        // The index alone serves the named profiles; `profile` and `trace` have handlers of their own.
        StatusCode::NOT_FOUND => tool(format!(
            "the app serves the index but not {0}: {words}; with a mux of its own it must route \
             /debug/pprof/profile to pprof.Profile and /debug/pprof/trace to pprof.Trace",
            request.profile
        )),
        status if status.is_redirection() => RecordError::Protocol {
            step: format!("read {}", request.profile),
            detail: format!("it answered {status}; redirects are not followed"),
        },
        status => tool(format!("{} answered {status}: {words}", request.profile)),
    }
}

/// The same of a server that was named by its URL, where it means something else than of a port; `None` where it does not.
pub(super) fn refusal_of_server(url: &str, status: StatusCode, location: &[u8]) -> Option<RecordError> {
    let reason = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::new(
            "pprof_unauthorized",
            format!("{url} answered {status}: it wants to know who asks for profiles, and that they may"),
            "name the Secret with a bearer token, secret=NAMESPACE/NAME, whose account may get the nonResourceURLs \
             /debug/pprof and /debug/pprof/* where the server is the Kubernetes API",
        ),
        status if status.is_redirection() => Reason::new(
            "pprof_redirected",
            format!(
                "{url} answered {status}: it points to {}, and redirects are not followed",
                quote(location)
            ),
            "give that place as url=, if it is one of yours and sideflame may ask it: --allow-url",
        ),
        _ => return None,
    };
    Some(RecordError::Impossible(reason))
}

/// What a server said, without our token in it, which it has seen.
pub(super) fn concealed(token: Option<&str>, said: Vec<u8>) -> Vec<u8> {
    match token {
        Some(token) => String::from_utf8_lossy(&said).replace(token, "…").into_bytes(),
        None => said,
    }
}

/// The beginning of a text of the app, on one line and without control characters.
fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(QUOTE)
        .collect();
    match plain.split_whitespace().collect::<Vec<_>>().join(" ") {
        words if words.is_empty() => "no explanation".to_owned(),
        words => words,
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::{concealed, quote, refusal, refusal_of_server};
    use crate::event::Event;
    use crate::format::RecordingKind;
    use crate::runtime::RecordError;
    use crate::runtime::go::parameters::GoOptions;
    use crate::runtime::go::request::ProfileRequest;

    fn answer(event: &Event, status: u16, body: &str) -> RecordError {
        refusal(
            &ProfileRequest::new(event, 5, RecordingKind::Pprof, &GoOptions::default())
                .unwrap()
                .unwrap(),
            StatusCode::from_u16(status).unwrap(),
            body.as_bytes(),
        )
    }

    #[test]
    fn a_running_profiler_is_somebody_elses() {
        let cpu = answer(
            &Event::Cpu,
            500,
            "Could not enable CPU profiling: cpu profiling already in use\n",
        );
        assert_eq!(
            cpu,
            RecordError::AlreadyProfiled {
                what: "a Go CPU profile".to_owned()
            }
        );
        for words in ["tracing already enabled", "execution tracer already enabled"] {
            let trace = answer(&Event::Trace, 500, &format!("Could not enable tracing: {words}\n"));
            assert_eq!(
                trace,
                RecordError::AlreadyProfiled {
                    what: "a Go execution trace".to_owned()
                }
            );
        }
    }

    #[test]
    fn a_missing_right_names_the_flag() {
        let RecordError::Impossible(reason) = answer(&Event::Heap, 401, "") else {
            panic!("another error")
        };
        assert_eq!(reason.key, "pprof_unauthorized");
        assert!(reason.remedy.contains("--go-pprof-header"));
    }

    #[test]
    fn the_write_timeout_of_old_servers_has_a_remedy() {
        let error = answer(&Event::Cpu, 400, "profile duration exceeds server's WriteTimeout\n");
        assert!(error.to_string().contains("fewer seconds"), "{error}");
    }

    #[test]
    fn a_server_does_not_have_us_repeat_our_token() {
        let said = concealed(Some("s3cret"), b"Bearer s3cret is\xff not welcome: s3cret".to_vec());
        assert_eq!(quote(&said), "Bearer … is\u{fffd} not welcome: …");
        assert_eq!(concealed(None, b"s3cret".to_vec()), b"s3cret");
    }

    #[test]
    fn a_redirect_is_told_and_a_missing_right_has_a_remedy() {
        let of = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            refusal_of_server("https://shop:1", status, b"http://169.254.169.254/\r\nx")
        };
        let Some(RecordError::Impossible(redirected)) = of(302) else {
            panic!("another error")
        };
        assert!(
            redirected.sentence.contains("points to http://169.254.169.254/ x,"),
            "{redirected:?}"
        );
        for status in [401, 403] {
            let Some(RecordError::Impossible(reason)) = of(status) else {
                panic!("another error")
            };
            assert!(reason.key == "pprof_unauthorized" && reason.remedy.contains("secret="));
        }
        assert_eq!((of(404), of(500)), (None, None));
    }

    #[test]
    fn the_apps_words_are_short_and_on_one_line() {
        assert_eq!(quote(b"bad\r\n\x1b[31mthing\0 here "), "bad [31mthing here");
        assert_eq!(quote(b" \n"), "no explanation");
        assert_eq!(quote("\u{e9}".repeat(1000).as_bytes()).chars().count(), 300);
        assert!(!quote(b"\xff\xfe").is_empty());
    }
}
