//! The parameters that choose what of a recording is shown, wherever something is rendered.
//!
//! What they do is [`crate::profile::view`]'s.

use super::CaptureError;
use super::request::{self, RequestError};
use crate::format::{Format, RecordingKind};
use crate::parameter::{self, Parameter, Refusal, Row, Takes};
use crate::profile::view::by::UnknownBy;
use crate::profile::{Fold, Pattern, View};

const SECONDS: &str = "seconds into the capture, with up to three digits behind the point";
const THREAD: &str = "a regular expression for names of threads, or a thread's number";
const BY: &str = "thread, thread-name, or label: and the key of a label; a JFR with spans has label:span";
const PATTERN: &str = "a regular expression for names of functions, at most 256 bytes";

/// The parameters.
pub(super) static VIEWS: [Row<View>; 8] = [
    Row::new(
        Parameter::new(
            "from",
            "SECONDS",
            Takes::Text(SECONDS),
            "Show only what was sampled from this moment of the capture on",
        ),
        |view, _, value| {
            view.from = Some(milliseconds(value)?);
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "to",
            "SECONDS",
            Takes::Text(SECONDS),
            "Show only what was sampled before this moment of the capture",
        ),
        |view, _, value| {
            view.to = Some(milliseconds(value)?);
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "thread",
            "PATTERN",
            Takes::Text(THREAD),
            "Show only threads whose name matches, or the one of that number",
        ),
        |view, _, value| {
            view.thread = Some(read(value)?);
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "by",
            "WHAT",
            Takes::Text(BY),
            "Split stacks by thread, by the names of threads, or by the values of a label",
        ),
        |view, _, value| {
            view.by = Some(
                value
                    .parse()
                    .map_err(|error: UnknownBy| Refusal::because(error.to_string()))?,
            );
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "focus",
            "PATTERN",
            Takes::Text(PATTERN),
            "Show only stacks with a function that matches",
        ),
        |view, _, value| {
            view.focus = Some(read(value)?);
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "callers",
            "PATTERN",
            Takes::Text(PATTERN),
            "Show who calls the function that matches: it is the root, and its callers are above it",
        ),
        |view, _, value| {
            view.callers = Some(read(value)?);
            Ok(())
        },
    ),
    Row::new(
        Parameter::new(
            "fold",
            "WHAT",
            Takes::Name {
                names: || vec![Fold::RECURSION.to_owned()],
                or: None,
            },
            "Make one frame of a function that calls itself",
        ),
        |view, _, value| {
            view.fold = (value == Fold::RECURSION).then_some(Fold::Recursion);
            view.fold.map(drop).ok_or_else(Refusal::default)
        },
    ),
    Row::new(
        Parameter::new(
            "nodes",
            "NUMBER",
            Takes::Number {
                what: "nodes",
                least: 1,
                most: 1_000_000,
            },
            "How many frames the columns of a flame graph have at most (format=flame), the widest; 250000 without it",
        ),
        |view, takes, value| {
            view.nodes = u32::try_from(takes.number(value)?).ok();
            Ok(())
        },
    ),
];

/// Seconds as milliseconds.
fn milliseconds(value: &str) -> Result<u32, Refusal> {
    let (whole, part) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return Err(Refusal::default());
    }
    let number = |text: &str| text.parse::<u32>().ok();
    let milliseconds =
        number(whole).and_then(|whole| whole.checked_mul(1000)?.checked_add(number(&format!("{part:0<3}"))?));
    milliseconds.ok_or_else(Refusal::default)
}

/// A regular expression, or what is wrong with it.
fn read(value: &str) -> Result<Pattern, Refusal> {
    value
        .parse()
        .map_err(|error| Refusal::because(format!("{PATTERN} ({error})")))
}

/// The pattern that another parameter has.
///
/// # Errors
/// What is wrong with it.
pub fn pattern(name: &'static str, value: &str) -> Result<Pattern, RequestError> {
    read(value).map_err(|refusal| RequestError::Invalid {
        name,
        value: request::shorten(value),
        expected: refusal.because.unwrap_or_default(),
        allowed: Vec::new(),
    })
}

/// The parameters that choose what is shown.
pub fn parameters() -> impl Iterator<Item = &'static Parameter> {
    VIEWS.iter().map(|row| &row.parameter)
}

/// Validates `pairs`, which choose what is shown and nothing else.
///
/// # Errors
/// The first thing wrong, with what is allowed instead.
pub fn parse(pairs: &[(String, String)]) -> Result<View, RequestError> {
    let mut view = View::default();
    let known: Vec<_> = parameters().collect();
    request::read(pairs, &known, |parameter, value| {
        let row = parameter::row(&VIEWS, parameter.name).ok_or_else(Refusal::default)?;
        row.set(&mut view, value)
    })?;
    Ok(view)
}

/// Refuses a part where only the whole can be had of a recording.
///
/// # Errors
/// [`CaptureError::Indivisible`], or a range of time of a recording without times.
pub(super) fn divisible(view: &View, format: Format, kind: RecordingKind) -> Result<(), CaptureError> {
    if let (Some(from), Some(to)) = (view.from, view.to)
        && from >= to
    {
        let message = "it ends before it begins: to is a later moment than from".to_owned();
        return Err(CaptureError::Request(RequestError::Unsuitable { name: "to", message }));
    }
    if view.is_of_time() && format == Format::Timeline {
        let message = "a timeline is of the whole capture".to_owned();
        return Err(CaptureError::Request(RequestError::Unsuitable {
            name: "format",
            message,
        }));
    }
    if view.is_of_time() && !kind.has_times() {
        let name = if view.from.is_some() { "from" } else { "to" };
        let message = format!(
            "a {} recording has no times; a JVM's has with format=jfr, and so has a nettrace of .NET",
            kind.native_format()
        );
        return Err(CaptureError::Request(RequestError::Unsuitable { name, message }));
    }
    if view.nodes.is_some() && format != Format::Flame {
        let message = "only columns have a limit of nodes, format=flame".to_owned();
        return Err(CaptureError::Request(RequestError::Unsuitable {
            name: "nodes",
            message,
        }));
    }
    if view.is_all() || format.is_of_stacks() {
        return Ok(());
    }
    let of_stacks = kind.formats().iter().copied().filter(|format| format.is_of_stacks());
    Err(CaptureError::Indivisible {
        view: view.words(),
        format,
        allowed: of_stacks.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_once_and_what_is_wrong_with_it_is_named() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let view = parse(&[pair("callers", "^hash$"), pair("focus", "Cart")]).unwrap();
        assert_eq!(view.words(), "focus=Cart callers=^hash$");
        assert!(parse(&[]).unwrap().is_all());
        for (name, value, reason) in [
            ("focus", "(", "unclosed group"),
            ("callers", "", "missing"),
            ("focus", &"a".repeat(300), "at most 256"),
        ] {
            match parse(&[pair(name, value)]).unwrap_err() {
                RequestError::Invalid {
                    name: named, expected, ..
                } => assert!(named == name && expected.contains(reason), "{expected}"),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(
            parse(&[pair("focus", "a"), pair("focus", "b")]),
            Err(RequestError::Repeated { name: "focus" })
        ));
    }

    #[test]
    fn a_part_of_what_is_copied_is_refused_with_what_can_be_divided() {
        let view = View::of_focus("a".parse().unwrap());
        let kind = RecordingKind::Jfr;
        assert!(divisible(&view, Format::Svg, kind).is_ok() && divisible(&View::default(), Format::Jfr, kind).is_ok());
        match divisible(&view, Format::Jfr, kind).unwrap_err() {
            CaptureError::Indivisible { allowed, .. } => {
                assert!(allowed.contains(&Format::Svg) && !allowed.contains(&Format::Jfr))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_range_of_time_is_in_seconds_and_of_a_recording_that_has_times() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let view = parse(&[pair("from", "1.5"), pair("to", "20"), pair("by", "label:endpoint")]).unwrap();
        assert_eq!((view.from, view.to), (Some(1500), Some(20_000)));
        assert_eq!(view.words(), "from=1.5 to=20 by=label:endpoint");
        for bad in ["", "-1", "1.2345", ".5", "1.", "1e3", "5000000"] {
            assert!(parse(&[pair("from", bad)]).is_err(), "{bad}");
        }
        assert!(parse(&[pair("by", "label:")]).is_err() && parse(&[pair("by", "colour")]).is_err());
        assert!(divisible(&view, Format::Svg, RecordingKind::Jfr).is_ok());
        let turned = parse(&[pair("from", "2"), pair("to", "2")]).unwrap();
        assert!(divisible(&turned, Format::Svg, RecordingKind::Jfr).is_err());
        let refused = divisible(&view, Format::Svg, RecordingKind::Collapsed).unwrap_err();
        assert!(refused.to_string().contains("format=jfr"), "{refused}");
    }
}
