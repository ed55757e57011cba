//! Go's parameters in our words. Called by the handlers of [`super`].

use crate::capture::CaptureRequest;
use crate::capture::request::RequestError;
use crate::event::Event;
use crate::format::Format;
use crate::http::Problem;
use crate::http::query::Pairs;

/// Go's own parameters; ours choose the process.
pub(super) const PARAMETERS: [&str; 3] = ["seconds", "debug", "gc"];

/// Ours, of a server in place of a process.
pub(super) const SERVER: [&str; 2] = ["url", "secret"];

/// What some ask for, and Go's handler does not take.
const RATE: &str = "hz";

/// Go's parameters → ours.
pub(super) fn request(event: &Event, pairs: &Pairs, max_seconds: u64) -> Result<CaptureRequest, Problem> {
    if pairs.value(RATE).is_some() {
        return Err(Problem::no_rate(RATE));
    }
    pairs.only_with_selectors(&[&PARAMETERS[..], &SERVER].concat())?;
    let given = |name| pairs.value(name).filter(|value| *value != "0");
    // Go's handlers of these two look at `seconds` alone.
    let samples = matches!(event, Event::Cpu | Event::Trace);
    let debug = given("debug").filter(|_| !samples);
    let gc = given("gc").filter(|_| *event == Event::Heap);
    // To Go, 0 seconds are the default.
    let seconds = given("seconds");
    if let (Some(_), Some(_)) = (seconds, debug) {
        return Err(RequestError::Conflict("seconds", "debug").into());
    }
    let millis = seconds.filter(|_| *event == Event::Trace).and_then(millis);
    let whole = match (event, millis) {
        (Event::Trace, Some(millis)) => Some(millis.div_ceil(1000).to_string()),
        (Event::Trace, None) => Some(seconds.unwrap_or("1").to_owned()),
        _ => seconds.map(str::to_owned),
    };
    let snapshot = whole.is_none() && *event != Event::Cpu;
    let mut ours = pairs.selectors();
    let server = SERVER
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), pairs.value(name)?.to_owned())));
    ours.extend(server);
    for (name, value) in [("seconds", whole), ("gc", gc.map(str::to_owned))] {
        ours.extend(value.map(|value| (name.to_owned(), value)));
    }
    let mut request = CaptureRequest::parse(&ours, max_seconds)?;
    request.event = event.clone();
    request.snapshot = snapshot;
    request.scraped = true;
    request.options.go.difference = !snapshot;
    request.options.go.millis = millis;
    request.options.go.debug = debug.map_or(Ok(None), |debug| level(debug, max_seconds))?;
    request.format = Some(match (event, debug) {
        (Event::Trace, _) => Format::Trace,
        (_, Some(_)) => Format::Text,
        _ => Format::Pprof,
    });
    Ok(request)
}

/// Of any runtime: what others than Go write of their threads has one level.
fn level(debug: &str, max_seconds: u64) -> Result<Option<u8>, Problem> {
    let given = [("debug".to_owned(), debug.to_owned())];
    Ok(CaptureRequest::parse(&given, max_seconds)?.options.go.debug)
}

/// `0.5` → 500, rounded up: Go takes parts of a second for traces. What is no such number is for the parser to judge.
fn millis(seconds: &str) -> Option<u64> {
    let (whole, part) = seconds.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if seconds.len() >= 16 || seconds.len() < 2 || !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: u64 = format!("{part:0<9}").get(..9)?.parse().ok()?;
    Some(whole.checked_mul(1000)? + nanos.div_ceil(1_000_000)).filter(|millis| *millis > 0)
}

#[cfg(test)]
mod tests {
    use super::super::PROFILES;
    use super::*;

    fn ask(name: &str, pairs: &[(&str, &str)]) -> Result<CaptureRequest, Problem> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let known = PROFILES.iter().find(|profile| profile.name == name);
        let event = known.map_or_else(|| Event::Named(name.to_owned()), |profile| profile.event.clone());
        request(&event, &Pairs(pairs.collect()), 600)
    }

    #[test]
    fn the_defaults_are_gos() {
        let cpu = ask("profile", &[]).unwrap();
        assert_eq!(
            (cpu.event, cpu.seconds, cpu.snapshot, cpu.format),
            (Event::Cpu, 30, false, Some(Format::Pprof))
        );
        let trace = ask("trace", &[]).unwrap();
        assert_eq!((trace.event, trace.seconds, trace.snapshot), (Event::Trace, 1, false));
        assert_eq!(trace.format, Some(Format::Trace));
        for total in [
            "allocs",
            "block",
            "goroutine",
            "heap",
            "mutex",
            "threadcreate",
            "shop.carts",
        ] {
            let zeros = [("seconds", "0"), ("debug", "0"), ("gc", "0")];
            for pairs in [&[][..], &zeros] {
                let total = ask(total, pairs).unwrap();
                assert!(total.snapshot && !total.options.go.difference, "{total:?}");
            }
            let delta = ask(total, &[("seconds", "5")]).unwrap();
            assert_eq!((delta.seconds, delta.snapshot), (5, false), "{total}");
            assert!(delta.options.go.difference, "{total}");
        }
        assert_eq!(ask("mutex", &[]).unwrap().event, Event::Lock);
    }

    #[test]
    fn parts_of_a_second_are_for_traces_only() {
        for (given, seconds, millis) in [
            ("0.5", 1, Some(500)),
            ("1.0", 1, Some(1000)),
            ("1.01", 2, Some(1010)),
            ("0.0001", 1, Some(1)),
            ("2.", 2, Some(2000)),
            (".1", 1, Some(100)),
            ("7", 7, None),
        ] {
            let trace = ask("trace", &[("seconds", given)]).unwrap();
            assert_eq!((trace.seconds, trace.options.go.millis), (seconds, millis), "{given}");
        }
        for bad in ["-1", "1e3", "x", ".", "1.5.5", "0.0", "601", "600.5"] {
            assert_eq!(
                ask("trace", &[("seconds", bad)]).unwrap_err().code(),
                "invalid_parameter",
                "{bad}"
            );
        }
        assert!(ask("profile", &[("seconds", "0.5")]).is_err());
    }

    #[test]
    fn debug_is_text_where_go_has_it() {
        let text = ask("goroutine", &[("debug", "2")]).unwrap();
        assert_eq!((text.format, text.options.go.debug), (Some(Format::Text), Some(2)));
        assert!(text.snapshot);
        // Go's handlers of these two do not look at it.
        assert_eq!(ask("profile", &[("debug", "1")]).unwrap().format, Some(Format::Pprof));
        assert_eq!(ask("trace", &[("debug", "1")]).unwrap().format, Some(Format::Trace));
        let both = ask("heap", &[("debug", "1"), ("seconds", "5")]).unwrap_err();
        assert_eq!(both.code(), "conflicting_parameters");
        assert_eq!(ask("heap", &[("debug", "3")]).unwrap_err().code(), "invalid_parameter");
        assert!(ask("heap", &[("gc", "1")]).unwrap().options.go.gc);
        assert!(!ask("allocs", &[("gc", "1")]).unwrap().options.go.gc);
    }

    #[test]
    fn what_is_not_served_is_refused_with_what_is() {
        let rate = ask("profile", &[("hz", "250")]).unwrap_err();
        assert_eq!(rate.code(), "invalid_parameter");
        assert!(rate.text().contains("frequency"), "{}", rate.text());
        assert_eq!(
            ask("heap", &[("event", "cpu")]).unwrap_err().code(),
            "unknown_parameter"
        );
    }
}
