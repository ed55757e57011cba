//! How long an answer may take: what the API server says it will wait, less a margin for the way.

use std::time::{Duration, Instant};

/// Longest `timeoutSeconds` that Kubernetes allows.
const LONGEST: Duration = Duration::from_secs(30);

/// When things must be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// When the answer must be on its way.
    pub(super) answer: Instant,
    /// When to stop waiting for a permit: early enough to read the body and answer after it.
    pub(super) permit: Instant,
}

impl Deadlines {
    /// Begins now. The API server says how long it waits: `?timeout=2s`.
    pub(super) fn begin(query: Option<&str>, default: Duration) -> Self {
        let now = Instant::now();
        let named = query
            .unwrap_or_default()
            .split('&')
            .find_map(|pair| pair.strip_prefix("timeout="));
        let given = named.and_then(parse_go_duration).filter(|time| !time.is_zero());
        let given = given.unwrap_or(default).min(LONGEST);
        // An eighth, but never more than a quarter of a second, for both ways and the API server's own work.
        let time = given - (given / 8).min(Duration::from_millis(250));
        Self {
            answer: now + time,
            permit: now + time / 8,
        }
    }

    pub(super) fn are_over(&self) -> bool {
        Instant::now() >= self.answer
    }
}

/// Go's notation, as Kubernetes writes durations: `2s`, `1m30s`, `1.5s`, `300ms`. `None` for anything else.
fn parse_go_duration(text: &str) -> Option<Duration> {
    // The parser takes a sign, overflows and then panics. 16 characters are too few to overflow it.
    const MOST_CHARACTERS: usize = 16;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    if text.is_empty() || text.len() > MOST_CHARACTERS || !is_plain {
        return None;
    }
    text.parse::<kube::core::Duration>().ok().map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("2s", 2000),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("300ms", 300),
            ("1h0m0s", 3_600_000),
        ] {
            assert_eq!(parse_go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_go_duration("0"), Some(Duration::ZERO));
        for text in [
            "",
            "2",
            "s",
            "2 s",
            "-2s",
            "2x",
            "1..5s",
            "1e9999s",
            "9999999999999999999999h",
        ] {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn the_answer_is_due_before_the_api_server_gives_up() {
        let default = Duration::from_secs(2);
        let left = |query| Deadlines::begin(query, default).answer - Instant::now();
        assert!(left(Some("timeout=1s")) < Duration::from_millis(900));
        assert!(left(Some("timeout=1s")) > Duration::from_millis(800));
        assert!(left(Some("a=b&timeout=10s")) < Duration::from_millis(9_760));
        assert!(left(Some("timeout=10000h")) < LONGEST);
        for nothing in [None, Some(""), Some("timeout=0"), Some("timeout=soon")] {
            let left = left(nothing);
            assert!(
                left < Duration::from_millis(1_800) && left > Duration::from_millis(1_700),
                "{nothing:?}"
            );
        }
    }
}
