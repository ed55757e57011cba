//! How long an answer may take: what the API server says it will wait, less a margin for the way, and never longer than
//! configured. The address of a request is its client's to choose.

use std::time::Duration;

use tokio::time::Instant;

/// Longest `timeoutSeconds` that Kubernetes allows.
const LONGEST: Duration = Duration::from_secs(30);

/// When things must be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// When the answer must be on its way.
    pub(super) answer: Instant,
    /// When the body must be there: an API server has it ready before it connects.
    pub(super) body: Instant,
}

impl Deadlines {
    /// Begins now. The API server says how long it waits, `?timeout=2s`; it was configured to wait as long as `configured`.
    pub(super) fn begin(query: Option<&str>, configured: Duration) -> Self {
        let now = Instant::now();
        let named = query
            .unwrap_or_default()
            .split('&')
            .find_map(|pair| pair.strip_prefix("timeout="));
        let given = named.and_then(parse_go_duration).filter(|time| !time.is_zero());
        let given = given.unwrap_or(configured).min(configured).min(LONGEST);
        // An eighth, but never more than a quarter of a second, for both ways and the API server's own work.
        let time = given - (given / 8).min(Duration::from_millis(250));
        Self {
            answer: now + time,
            body: now + time / 2,
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
        let configured = Duration::from_secs(2);
        let left = |query| Deadlines::begin(query, configured).answer - Instant::now();
        assert!(left(Some("a=b&timeout=1s")) < Duration::from_millis(900));
        assert!(left(Some("timeout=1s")) > Duration::from_millis(800));
        // Nor does a client get more time by asking for it.
        for nothing in [
            None,
            Some(""),
            Some("timeout=0"),
            Some("timeout=soon"),
            Some("timeout=30s"),
            Some("timeout=10000h"),
        ] {
            let left = left(nothing);
            assert!(
                left < Duration::from_millis(1_800) && left > Duration::from_millis(1_700),
                "{nothing:?}"
            );
        }
    }

    #[test]
    fn no_configuration_lets_an_answer_take_longer_than_kubernetes_waits() {
        let deadlines = Deadlines::begin(None, Duration::from_secs(3600));
        assert!(deadlines.answer - Instant::now() < LONGEST);
        assert!(deadlines.body - Instant::now() < LONGEST / 2);
    }
}
