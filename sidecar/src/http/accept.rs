//! What the client wants to get, from its Accept headers (RFC 9110 §12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use crate::format::Format;

/// More ranges than any browser sends; the rest is ignored.
const MOST: usize = 32;

/// Media types with their weights, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accept(Vec<(String, u16)>);

impl Accept {
    /// Reads all Accept headers; what is malformed is left out.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Self(
            values
                .flat_map(|value| value.split(','))
                .take(MOST)
                .filter_map(range)
                .collect(),
        )
    }

    /// Formats named explicitly, best first. `*/*` and `text/html` name none, and what weighs less than `*/*` is what
    /// the client likes least, not what it asks for.
    pub(super) fn formats(&self) -> Vec<Format> {
        let anything = self.weight("*/*").unwrap_or(0);
        let mut named: Vec<_> = self
            .0
            .iter()
            .filter(|(_, weight)| *weight > 0 && *weight >= anything)
            .collect();
        named.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        let formats = named.into_iter().flat_map(|(media_type, _)| formats(media_type));
        formats.copied().collect()
    }

    /// True if plain text is named and JSON is not named with a higher weight.
    pub(super) fn prefers_text(&self) -> bool {
        let text = self.weight("text/plain").unwrap_or(0);
        text > 0 && text > self.json()
    }

    /// True if JSON is named and plain text is not named with a higher weight.
    pub(super) fn prefers_json(&self) -> bool {
        let json = self.json();
        json > 0 && json >= self.weight("text/plain").unwrap_or(0)
    }

    /// For what is told as text unless JSON is asked for.
    pub(super) fn text_or_json(&self) -> Format {
        match self.prefers_json() {
            true => Format::Json,
            false => Format::Text,
        }
    }

    /// True if it is named.
    pub(super) fn names(&self, media_type: &str) -> bool {
        self.weight(media_type).is_some_and(|weight| weight > 0)
    }

    fn json(&self) -> u16 {
        let weights = ["application/json", "application/problem+json"].map(|name| self.weight(name).unwrap_or(0));
        weights[0].max(weights[1])
    }

    fn weight(&self, media_type: &str) -> Option<u16> {
        let found = self.0.iter().find(|(given, _)| given == media_type);
        found.map(|(_, weight)| *weight)
    }
}

/// `type/subtype;parameter;q=0.5` → the type in lower case and its weight in thousandths.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().filter(|name| name.contains('/'))?.to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((media_type, weight.map_or(Some(1000), thousandths)?))
}

/// `0`, `1`, `0.123`: at most three decimals (RFC 9110 §12.4.2).
pub(super) fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(decimals),
        "1" => Some(1000),
        _ => None,
    }
}

fn formats(media_type: &str) -> &'static [Format] {
    match media_type {
        "image/svg+xml" => &[Format::Svg],
        "text/plain" => &[Format::Collapsed],
        "application/json" => &[Format::Speedscope],
        // No runtime serves two of these by default, so the first that fits is the right one.
        "application/octet-stream" => &[Format::Pprof, Format::Nettrace, Format::Trace, Format::Jfr],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, value.parse().unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn curl_and_browsers_have_no_preference() {
        for none in [
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html",
            "",
            "svg",
            "*/*, image/svg+xml;q=0.1",
            "image/svg+xml;q=0",
        ] {
            assert_eq!(accept(none).formats(), [], "{none}");
            assert!(!accept(none).prefers_text() && !accept(none).prefers_json(), "{none}");
        }
    }

    #[test]
    fn formats_are_ordered_by_weight() {
        assert_eq!(
            accept("text/plain;q=0.5, application/json;q=0.9, Image/SVG+xml;q=0.123").formats(),
            [Format::Speedscope, Format::Collapsed, Format::Svg]
        );
        assert_eq!(accept("application/octet-stream").formats()[0], Format::Pprof);
        assert_eq!(
            accept("text/plain;charset=utf-8, */*;q=0.1").formats(),
            [Format::Collapsed]
        );
    }

    #[test]
    fn text_and_json_are_preferred_only_when_named() {
        assert!(accept("text/plain").prefers_text());
        assert!(accept("text/plain;q=0.2, application/json;q=0.9").prefers_json());
        assert!(accept("application/problem+json, text/plain").prefers_json());
        assert!(accept("text/plain, application/json;q=0.5").prefers_text());
    }

    #[test]
    fn malformed_weights_are_no_wish() {
        for bad in [
            "text/plain;q=2",
            "text/plain;q=-1",
            "text/plain;q=0.1234",
            "text/plain;q=x",
        ] {
            assert_eq!(accept(bad).formats(), [], "{bad}");
        }
    }
}
