//! An AdmissionReview as it comes. Only the fields that are needed; the object stays raw, but for lists that no decision reads.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::lean;

/// The only version we speak.
pub(super) const API_VERSION: &str = "admission.k8s.io/v1";

/// The envelope.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    pub(super) uid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) kind: Kind<'a>,
    #[serde(borrow, default)]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) operation: Cow<'a, str>,
    #[serde(default)]
    pub(super) dry_run: Option<bool>,
    #[serde(default, deserialize_with = "lean::deserialize")]
    pub(super) object: Value,
}

/// Group and version are fixed by the rules of the configuration.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Kind<'a> {
    #[serde(borrow, default)]
    pub(super) kind: Cow<'a, str>,
}

/// Why a body is no review.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("the body is no AdmissionReview: {0}; send the JSON that an API server sends")]
    Json(#[from] serde_json::Error),
    #[error("apiVersion is {0:?}; set admissionReviewVersions to [v1] in the webhook configuration")]
    Version(String),
    #[error("the AdmissionReview has no request with a uid")]
    NoRequest,
}

impl<'a> Review<'a> {
    /// The request in `body`.
    pub(super) fn parse(body: &'a [u8]) -> Result<Request<'a>, ReviewError> {
        let review: Self = serde_json::from_slice(body)?;
        if review.api_version != API_VERSION {
            return Err(ReviewError::Version(review.api_version.chars().take(64).collect()));
        }
        review
            .request
            .filter(|request| !request.uid.is_empty())
            .ok_or(ReviewError::NoRequest)
    }
}

impl Request<'_> {
    /// Whether a pod wants to be refused when the injection fails.
    pub(super) fn blocks_on_error(&self) -> bool {
        let value = self.object.pointer("/metadata/annotations/sideflame.io~1on-error");
        value.and_then(Value::as_str) == Some("block")
    }
}

/// The `uid` of the request at the beginning of a body whose rest was thrown away. `prefix` may end anywhere.
pub(super) fn uid_of(prefix: &[u8]) -> Option<String> {
    let mut uid = None;
    let mut deserializer = serde_json::Deserializer::from_slice(prefix);
    // It always ends in an error: on purpose where the uid was found, else because the prefix ends.
    let _ = serde::de::DeserializeSeed::deserialize(
        UidSeed {
            depth: 0,
            uid: &mut uid,
        },
        &mut deserializer,
    );
    uid
}

/// Walks into `request`, takes `uid`, and stops.
struct UidSeed<'a> {
    depth: u8,
    uid: &'a mut Option<String>,
}

impl<'de> serde::de::DeserializeSeed<'de> for UidSeed<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> serde::de::Visitor<'de> for UidSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an AdmissionReview")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match (self.depth, key.as_ref()) {
                (0, "request") => map.next_value_seed(UidSeed {
                    depth: 1,
                    uid: self.uid,
                })?,
                (1, "uid") => {
                    let found: String = map.next_value()?;
                    *self.uid = Some(found).filter(|uid| !uid.is_empty());
                    return Err(serde::de::Error::custom("found"));
                }
                _ => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"7-a","kind":
        {"group":"","version":"v1","kind":"Pod"},"namespace":"shop","operation":"CREATE","userInfo":{"username":"x","uid":"no"},
        "object":{"kind":"Pod","metadata":{"annotations":{"sideflame.io/on-error":"block"}}},"oldObject":null,"dryRun":true}}"#;

    #[test]
    fn only_the_fields_we_need_are_read() {
        let request = Review::parse(BODY.as_bytes()).unwrap();
        assert_eq!(
            (&*request.uid, &*request.namespace, &*request.kind.kind),
            ("7-a", "shop", "Pod")
        );
        assert!(request.dry_run.unwrap() && request.blocks_on_error());
        assert_eq!(request.object["kind"], "Pod");
    }

    #[test]
    fn a_body_cut_anywhere_is_an_error_and_never_a_panic() {
        for end in 0..BODY.len() {
            assert!(Review::parse(&BODY.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn the_uid_is_found_in_every_prefix_that_holds_it() {
        let complete = BODY.find("\"7-a\"").unwrap() + "\"7-a\"".len();
        for end in 0..BODY.len() {
            let found = uid_of(&BODY.as_bytes()[..end]);
            assert_eq!(found.as_deref(), (end >= complete).then_some("7-a"), "{end}");
        }
        assert_eq!(uid_of(br#"{"uid":"outside"}"#), None);
        assert_eq!(
            uid_of(br#"{"request":{"object":{"uid":"inner"},"uid":"7"}}"#).as_deref(),
            Some("7")
        );
        assert_eq!(uid_of(b"[[[["), None);
    }

    #[test]
    fn other_versions_and_empty_reviews_say_what_is_wrong() {
        let error = |body: &str| Review::parse(body.as_bytes()).unwrap_err().to_string();
        assert!(error(r#"{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}"#).contains("v1beta1"));
        assert!(error(r#"{"apiVersion":"admission.k8s.io/v1"}"#).contains("no request"));
        assert!(error(r#"{"apiVersion":"admission.k8s.io/v1","request":{"uid":""}}"#).contains("uid"));
    }
}
