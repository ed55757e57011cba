//! The parameters that choose what of a recording is shown, wherever something is rendered.
//!
//! What they do is [`crate::profile::view`]'s.

use super::CaptureError;
use super::request::{self, RequestError};
use crate::format::Format;
use crate::parameter::{self, Parameter, Refusal, Row, Takes};
use crate::profile::{Pattern, View};

const PATTERN: &str = "a regular expression for names of functions, at most 256 bytes";

/// The parameters.
pub(super) static VIEWS: [Row<View>; 2] = [
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
];

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

/// Refuses a part where only the whole can be had. `formats` are all that there are.
///
/// # Errors
/// [`CaptureError::Indivisible`].
pub(super) fn divisible(view: &View, format: Format, formats: &[Format]) -> Result<(), CaptureError> {
    if view.is_all() || format.is_of_stacks() {
        return Ok(());
    }
    let of_stacks = formats.iter().copied().filter(|format| format.is_of_stacks());
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
        let all = [Format::Jfr, Format::Svg];
        assert!(divisible(&view, Format::Svg, &all).is_ok() && divisible(&View::default(), Format::Jfr, &all).is_ok());
        match divisible(&view, Format::Jfr, &all).unwrap_err() {
            CaptureError::Indivisible { allowed, .. } => assert_eq!(allowed, [Format::Svg]),
            other => panic!("{other:?}"),
        }
    }
}
