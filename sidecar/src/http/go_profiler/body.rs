//! What KubeDiag's agent sends: its own keys among all that a diagnosis knows.

use std::time::Duration;

use serde_json::Value;

use crate::capture::CaptureRequest;
use crate::capture::request::{DEFAULT_SECONDS, shorten};
use crate::event::Event;
use crate::format::Format;
use crate::http::Problem;
use crate::runtime::{SecretName, ServerUrl};

/// What stands in front of the long keys.
const PREFIX: &str = "param.diagnoser.runtime.go_profiler.";

/// What is meant without `expirationSeconds`; so it is in KubeDiag.
const DEFAULT_EXPIRATION: u64 = 7200;

/// A day.
const LONGEST_EXPIRATION: u64 = 24 * 3600;

/// Each parameter as the long keys and as the short ones spell it.
const KEYS: [(&str, &str); 5] = [
    ("source", "source"),
    ("type", "type"),
    ("tls.secret_reference.namespace", "tls.secretReference.namespace"),
    ("tls.secret_reference.name", "tls.secretReference.name"),
    ("expiration_seconds", "expirationSeconds"),
];

/// A request of KubeDiag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    source: ServerUrl,
    event: Event,
    secret: Option<SecretName>,
    pub(super) expiration_seconds: u64,
}

impl Asked {
    /// In our words: totals where Go keeps them, as its own handlers answer without parameters.
    pub(super) fn request(&self, max_seconds: u64) -> CaptureRequest {
        let mut request = CaptureRequest {
            seconds: DEFAULT_SECONDS.min(max_seconds),
            snapshot: self.event != Event::Cpu,
            keep: Some(Duration::from_secs(self.expiration_seconds)),
            event: self.event.clone(),
            format: Some(Format::Svg),
            ..CaptureRequest::default()
        };
        request.options.go.url = Some(self.source.clone());
        // As in KubeDiag, a Secret is of no use for http.
        request.options.go.secret = self.secret.clone().filter(|_| self.source.is_encrypted());
        request
    }
}

/// Reads the body.
///
/// # Errors
/// It is no JSON object, or a parameter is missing or wrong. Keys of no parameter are those of other steps of a diagnosis.
pub(super) fn parse(json: &[u8]) -> Result<Asked, Problem> {
    let malformed = |detail: String| Problem::malformed_processor_body(detail);
    let body: Value = serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    if !body.is_object() {
        return Err(malformed("it is no JSON object".to_owned()));
    }
    let mut given: [Option<String>; KEYS.len()] = Default::default();
    take(&body, "", &mut given)?;
    let [source, kind, namespace, name, expiration] = given;
    let missing = |name: &str| malformed(format!("{name} is missing"));
    let source = source.ok_or_else(|| missing("source"))?;
    // What is wrong is said without the URL: there may be a password in it.
    let source = ServerUrl::parse(&source).map_err(|error| malformed(format!("source is to be {error}")))?;
    let event = match kind.ok_or_else(|| missing("type"))?.as_str() {
        "Profile" => Event::Cpu,
        "Heap" => Event::Heap,
        "Goroutine" => Event::Goroutine,
        other => {
            let detail = format!("type is Profile, Heap or Goroutine, not {:?}", shorten(other));
            return Err(malformed(detail));
        }
    };
    let secret = match (namespace, name) {
        (_, Some(name)) if name.contains('/') => Err(()),
        (namespace, Some(name)) => {
            let namespace = namespace.unwrap_or_else(|| "default".to_owned());
            SecretName::parse(&format!("{namespace}/{name}")).map(Some).ok_or(())
        }
        (Some(_), None) => Err(()),
        (None, None) => Ok(None),
    };
    let secret =
        secret.map_err(|()| malformed("tls.secretReference has the namespace and the name of a Secret".to_owned()))?;
    let expiration_seconds = match expiration {
        None => DEFAULT_EXPIRATION,
        Some(text) => {
            let seconds = text
                .parse()
                .ok()
                .filter(|seconds| (1..=LONGEST_EXPIRATION).contains(seconds));
            seconds.ok_or_else(|| {
                malformed(format!(
                    "expirationSeconds is a whole number from 1 to {LONGEST_EXPIRATION}"
                ))
            })?
        }
    };
    Ok(Asked {
        source,
        event,
        secret,
        expiration_seconds,
    })
}

/// Takes what `value` has of the parameters; its own key is `path`, with a dot between those of nested objects.
fn take(value: &Value, path: &str, given: &mut [Option<String>; KEYS.len()]) -> Result<(), Problem> {
    if let Value::Object(members) = value {
        for (key, value) in members {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            // No key of ours is as long; what is nested deeper is of no interest.
            if path.len() <= 128 {
                take(value, &path, given)?;
            }
        }
        return Ok(());
    }
    let short = path.strip_prefix(PREFIX).unwrap_or(path);
    let Some(at) = KEYS.iter().position(|(long, camel)| [*long, *camel].contains(&short)) else {
        return Ok(());
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            return Err(Problem::malformed_processor_body(format!(
                "{short} is neither a string nor a number"
            )));
        }
    };
    // An agent that fills in all parameters means nothing by an empty one.
    if text.is_empty() {
        return Ok(());
    }
    match given[at].replace(text) {
        Some(earlier) if given[at].as_ref() != Some(&earlier) => Err(Problem::malformed_processor_body(format!(
            "{short} is given twice, with different values"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(json: &str) -> Asked {
        parse(json.as_bytes()).unwrap_or_else(|problem| panic!("{json}: {}", problem.text()))
    }

    const SEED: &str = r#"{
      "param.diagnoser.runtime.go_profiler.source": "https://10.0.2.15:6443",
      "param.diagnoser.runtime.go_profiler.type": "Heap",
      "param.diagnoser.runtime.go_profiler.tls.secret_reference.name": "apiserver-profiler-sa-token-gj9x8",
      "param.diagnoser.runtime.go_profiler.tls.secret_reference.namespace": "kubediag",
      "param.diagnoser.runtime.go_profiler.expiration_seconds": 300
    }"#;

    #[test]
    fn both_styles_say_the_same() {
        let asked = ok(SEED);
        assert_eq!((asked.event.clone(), asked.expiration_seconds), (Event::Heap, 300));
        assert_eq!(asked.source.to_string(), "https://10.0.2.15:6443");
        assert_eq!(
            asked.secret.as_ref().unwrap().to_string(),
            "kubediag/apiserver-profiler-sa-token-gj9x8"
        );
        let reference =
            r#""tls":{"secretReference":{"name":"apiserver-profiler-sa-token-gj9x8","namespace":"kubediag"}}"#;
        let short = |secret: &str| {
            format!(r#"{{"source":"https://10.0.2.15:6443","type":"Heap","expirationSeconds":300,{secret}}}"#)
        };
        assert_eq!(ok(&short(reference)), asked);
        let dotted = r#""tls.secretReference.name":"apiserver-profiler-sa-token-gj9x8","tls.secretReference.namespace":"kubediag""#;
        assert_eq!(ok(&short(dotted)), asked);
        let snake = r#""tls":{"secret_reference":{"name":"apiserver-profiler-sa-token-gj9x8","namespace":"kubediag"}},"other":[{}]"#;
        assert_eq!(ok(&short(snake)), asked);
        // All values of a diagnosis are strings.
        assert_eq!(ok(&SEED.replace("300", "\"300\"")), asked);
    }

    #[test]
    fn what_is_not_said_is_what_kubediag_means() {
        let asked = ok(r#"{"source": "http://127.0.0.1:8090", "type": "Goroutine"}"#);
        assert_eq!((asked.expiration_seconds, asked.secret.clone()), (7200, None));
        let request = asked.request(600);
        assert!(request.snapshot && request.keep == Some(Duration::from_secs(7200)));
        let cpu = ok(r#"{"source": "http://127.0.0.1:8090", "type": "Profile", "tls.secretReference.name": "a"}"#);
        assert_eq!(cpu.secret.as_ref().unwrap().to_string(), "default/a");
        assert_eq!(cpu.request(600).options.go.secret, None, "over http");
        assert_eq!((cpu.request(600).seconds, cpu.request(10).seconds), (30, 10));
    }

    #[test]
    fn a_wrong_body_says_what_is_wrong() {
        let with = |rest: &str| format!(r#"{{"source":"http://127.0.0.1:1","type":"Heap"{rest}}}"#);
        for (bad, word) in [
            ("", "EOF"),
            ("[]", "object"),
            ("{}", "source is missing"),
            (r#"{"source":"http://127.0.0.1:1"}"#, "type is missing"),
            (
                r#"{"source":"http://127.0.0.1:1","type":"heap"}"#,
                "Profile, Heap or Goroutine",
            ),
            (r#"{"source":"file:///etc/passwd","type":"Heap"}"#, "http://HOST"),
            (r#"{"source":null,"type":"Heap"}"#, "neither"),
            (&with(r#","expirationSeconds":0"#), "1 to 86400"),
            (&with(r#","expirationSeconds":1.5"#), "1 to 86400"),
            (&with(r#","expirationSeconds":-1"#), "1 to 86400"),
            (&with(r#","expiration_seconds":5,"expirationSeconds":6"#), "twice"),
            (&with(r#","tls.secretReference.name":"../x""#), "secretReference"),
            (&with(r#","tls.secretReference.name":"a/b""#), "secretReference"),
            (&with(r#","tls.secretReference.namespace":"a""#), "secretReference"),
        ] {
            let problem = parse(bad.as_bytes()).unwrap_err();
            assert!(problem.text().contains(word), "{bad}: {}", problem.text());
        }
        let secret = parse(br#"{"source":"http://me:s3cret@127.0.0.1","type":"Heap"}"#).unwrap_err();
        assert!(!secret.text().contains("s3cret"), "{}", secret.text());
    }
}
