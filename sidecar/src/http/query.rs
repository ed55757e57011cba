//! The query string as pairs of decoded text. Knows no parameter: their meaning is [`crate::capture::request`]'s.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Problem;
use crate::capture::selector::Selector;
use crate::capture::views;

/// Longest query we read. Sixteen frame patterns of 256 characters fit; what is longer is no request of ours.
const LONGEST: usize = 8 << 10;

/// Name and value of each parameter, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl Pairs {
    /// As [`Self::only`] for `own` names and those that choose processes.
    ///
    /// # Errors
    /// As there.
    pub(super) fn only_with_selectors(&self, own: &[&str]) -> Result<(), Problem> {
        let selectors = Selector::parameters().map(|parameter| parameter.name);
        self.only(&own.iter().copied().chain(selectors).collect::<Vec<_>>())
    }

    /// As [`Self::only`] for `own` names and those that choose what is shown.
    ///
    /// # Errors
    /// As there.
    pub(super) fn only_with_views(&self, own: &[&str]) -> Result<(), Problem> {
        let views = views::parameters().map(|parameter| parameter.name);
        self.only(&own.iter().copied().chain(views).collect::<Vec<_>>())
    }

    /// Refuses every name that is not in `allowed`, and every name given twice.
    ///
    /// # Errors
    /// The first such name, with those allowed.
    pub(super) fn only(&self, allowed: &[&str]) -> Result<(), Problem> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !allowed.contains(&name.as_str()) {
                return Err(Problem::unknown_parameter(name, allowed));
            }
            if self.0[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::repeated_parameter(name));
            }
        }
        Ok(())
    }

    /// Without the zoom and the search that a flame graph's script keeps in its URL: a reload sends them to us.
    pub(super) fn without_view(mut self) -> Self {
        const VIEW: [&str; 3] = ["x", "y", "s"];
        self.0.retain(|(name, _)| !VIEW.contains(&name.as_str()));
        self
    }

    /// Those that choose the process.
    pub(super) fn selectors(&self) -> Vec<(String, String)> {
        let selects = |name: &str| Selector::parameters().any(|parameter| parameter.is_called(name));
        self.0.iter().filter(|(name, _)| selects(name)).cloned().collect()
    }

    /// Those that choose what is shown.
    pub(super) fn views(&self) -> Vec<(String, String)> {
        let chooses = |name: &str| views::parameters().any(|parameter| parameter.is_called(name));
        self.0.iter().filter(|(name, _)| chooses(name)).cloned().collect()
    }

    /// The first value of `name`.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Pairs {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default())
    }
}

/// Decodes `name=value&name=value` as the URL standard's form encoding does, but strictly.
pub(super) fn parse(query: &str) -> Result<Pairs, Problem> {
    if query.len() > LONGEST {
        return Err(Problem::query_too_long(LONGEST));
    }
    let segments = query.split('&').filter(|segment| !segment.is_empty());
    let pairs = segments.map(|segment| {
        let (name, value) = segment.split_once('=').unwrap_or((segment, ""));
        Ok((decode(name)?, decode(value)?))
    });
    pairs.collect::<Result<_, Problem>>().map(Pairs)
}

/// A value as [`parse`] reads it back.
pub(super) fn encode(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn decode(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = (rest.next().and_then(hexadecimal), rest.next().and_then(hexadecimal));
                let (Some(high), Some(low)) = digits else {
                    return Err(Problem::malformed_query("% is not followed by two hexadecimal digits"));
                };
                high << 4 | low
            }
            other => other,
        });
    }
    if bytes.contains(&0) {
        return Err(Problem::malformed_query("it contains a NUL character"));
    }
    String::from_utf8(bytes).map_err(|_| Problem::malformed_query("it is not UTF-8"))
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        parse(query).unwrap().0
    }

    #[test]
    fn pairs_keep_their_order_and_are_decoded() {
        let expected = [("a", "b c"), ("threads", ""), ("x", "1=2"), ("name", "é &")];
        let expected: Vec<_> = expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        assert_eq!(pairs("a=b+c&threads&&x=1=2&name=%C3%a9%20%26"), expected);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let pattern = "^a+ (é|%2) &=#";
        assert_eq!(
            pairs(&format!("focus={}", encode(pattern))),
            [("focus".to_owned(), pattern.to_owned())]
        );
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for bad in ["a=%", "a=%4", "a=%zz", "a=%+1", "a=%00", "a=%ff", "%c3=1"] {
            assert_eq!(parse(bad).unwrap_err().code(), "malformed_query", "{bad}");
        }
        assert_eq!(parse(&"a".repeat(LONGEST + 1)).unwrap_err().code(), "query_too_long");
    }

    #[test]
    fn a_reloaded_flame_graph_asks_for_itself() {
        let reloaded = parse("format=svg&x=0.5&y=141&s=shop").unwrap().without_view();
        assert_eq!(reloaded, parse("format=svg").unwrap());
    }

    #[test]
    fn only_names_the_stranger_and_the_repeated() {
        let given = parse("pid=1&pid=2").unwrap();
        assert_eq!(given.only(&["pid"]).unwrap_err().code(), "repeated_parameter");
        assert_eq!(given.only(&["name"]).unwrap_err().code(), "unknown_parameter");
        assert_eq!(given.value("pid"), Some("1"));
    }
}
