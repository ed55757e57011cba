//! An AdmissionReview as it comes. Only the fields that are needed; the object stays raw, but for lists that no decision reads.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::lean::LeanObject;
use crate::dns::is_label;

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
    #[serde(default)]
    pub(super) object: LeanObject,
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
    #[error("the request's namespace is no DNS label, so this comes from no API server")]
    Namespace,
}

impl<'a> Review<'a> {
    /// The request in `body`.
    pub(super) fn parse(body: &'a [u8]) -> Result<Request<'a>, ReviewError> {
        let review: Self = serde_json::from_slice(body)?;
        if review.api_version != API_VERSION {
            return Err(ReviewError::Version(review.api_version.chars().take(64).collect()));
        }
        let request = review.request.filter(|request| is_uid(&request.uid));
        let request = request.ok_or(ReviewError::NoRequest)?;
        // It becomes part of an address when an Event is written.
        if !request.namespace.is_empty() && !is_label(&request.namespace) {
            return Err(ReviewError::Namespace);
        }
        Ok(request)
    }
}

impl Request<'_> {
    /// Whether a pod wants to be refused when the injection fails.
    pub(super) fn blocks_on_error(&self) -> bool {
        let value = self
            .object
            .value
            .pointer("/metadata/annotations/sideflame.io~1on-error");
        value.and_then(Value::as_str) == Some("block")
    }
}

/// What can be known from the beginning of a body whose rest was thrown away. It may end anywhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The `uid` of the request.
    pub(super) uid: Option<String>,
    /// The pod was seen to ask for a refusal.
    pub(super) blocks_on_error: bool,
}

impl Beginning {
    /// Reads `bytes` as far as they go.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let walk = Walk {
            place: Place::Review,
            found: &mut found,
        };
        // It mostly ends in an error, as the bytes end.
        let _ = serde::de::DeserializeSeed::deserialize(walk, &mut deserializer);
        found.uid = found.uid.filter(|uid| is_uid(uid));
        found
    }
}

/// An API server takes a UUID.
fn is_uid(uid: &str) -> bool {
    (1..=128).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A map on the way to what we want to know.
#[derive(Debug, Clone, Copy)]
enum Place {
    Review,
    Request,
    Object,
    Metadata,
    Annotations,
}

/// Walks from map to map, and takes what it finds.
struct Walk<'a> {
    place: Place,
    found: &'a mut Beginning,
}

impl<'de> serde::de::DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an AdmissionReview")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            let place = match (self.place, key.as_ref()) {
                (Place::Review, "request") => Place::Request,
                (Place::Request, "object") => Place::Object,
                (Place::Object, "metadata") => Place::Metadata,
                (Place::Metadata, "annotations") => Place::Annotations,
                (Place::Request, "uid") => {
                    self.found.uid = map.next_value()?;
                    continue;
                }
                (Place::Annotations, "sideflame.io/on-error") => {
                    let value: Cow<'_, str> = map.next_value()?;
                    self.found.blocks_on_error = value == "block";
                    continue;
                }
                _ => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                    continue;
                }
            };
            map.next_value_seed(Walk {
                place,
                found: self.found,
            })?;
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
        assert_eq!(request.object.value["kind"], "Pod");
    }

    #[test]
    fn a_body_cut_anywhere_is_an_error_and_never_a_panic() {
        for end in 0..BODY.len() {
            assert!(Review::parse(&BODY.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn uid_and_on_error_are_found_in_every_beginning_that_holds_them() {
        let complete = BODY.find("\"7-a\"").unwrap() + "\"7-a\"".len();
        let asked = BODY.find("\"block\"").unwrap() + "\"block\"".len();
        for end in 0..BODY.len() {
            let found = Beginning::of(&BODY.as_bytes()[..end]);
            assert_eq!(found.uid.as_deref(), (end >= complete).then_some("7-a"), "{end}");
            assert_eq!(found.blocks_on_error, end >= asked, "{end}");
        }
        let uid = |text: &str| Beginning::of(text.as_bytes()).uid;
        assert_eq!(uid(r#"{"uid":"outside"}"#), None);
        assert_eq!(
            uid(r#"{"request":{"object":{"uid":"inner"},"uid":"7"}}"#).as_deref(),
            Some("7")
        );
        assert_eq!(uid("[[[["), None);
    }

    #[test]
    fn other_versions_and_empty_reviews_say_what_is_wrong() {
        let error = |body: &str| Review::parse(body.as_bytes()).unwrap_err().to_string();
        assert!(error(r#"{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}"#).contains("v1beta1"));
        assert!(error(r#"{"apiVersion":"admission.k8s.io/v1"}"#).contains("no request"));
        assert!(error(r#"{"apiVersion":"admission.k8s.io/v1","request":{"uid":""}}"#).contains("uid"));
    }

    #[test]
    fn a_namespace_that_is_no_label_is_no_review() {
        for namespace in ["a/../../b", "a?b", "A", "a.b", "..", "a\\u0000", &"a".repeat(64)] {
            let body = BODY.replace("shop", namespace);
            assert!(Review::parse(body.as_bytes()).is_err(), "{namespace}");
        }
    }
}
