//! An answer, written in one go: no intermediate JSON tree.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::{Serialize, Serializer};

use super::review::API_VERSION;
use crate::outcome::{Failure, Outcome};

/// The answer to a review.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) uid: &'a str,
    /// `None` where nothing was decided: a workload is only looked at.
    pub(super) outcome: Option<Outcome>,
    /// Why the object is refused; allowed without.
    pub(super) refused: Option<&'a str>,
    pub(super) patch: Option<&'a Patch>,
    pub(super) warnings: &'a [String],
    pub(super) settings_hash: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: WireResponse<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<WireStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "base64")]
    patch: Option<Vec<u8>>,
    audit_annotations: WireAudit<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
struct WireStatus<'a> {
    status: &'static str,
    code: u16,
    reason: &'static str,
    message: &'a str,
}

/// The API server puts the name of the webhook in front of each key.
#[derive(Serialize)]
struct WireAudit<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    version: &'static str,
    settings: &'a str,
}

fn base64<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::new(bytes.as_deref().unwrap_or_default(), &STANDARD))
}

impl Answer<'_> {
    /// The body.
    pub(super) fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let patch = self.patch.map(serde_json::to_vec).transpose()?;
        let (decision, reason) = self.outcome.map(Outcome::key).unzip();
        let mut body = Vec::with_capacity(512 + patch.as_ref().map_or(0, |patch| patch.len().div_ceil(3) * 4));
        let wire = Wire {
            api_version: API_VERSION,
            kind: "AdmissionReview",
            response: WireResponse {
                uid: self.uid,
                allowed: self.refused.is_none(),
                // What the API server makes of a validation error, which it is: the pod cannot be what it asks for.
                status: self.refused.map(|message| WireStatus {
                    status: "Failure",
                    code: 422,
                    reason: "Invalid",
                    message,
                }),
                patch_type: patch.is_some().then_some("JSONPatch"),
                patch,
                audit_annotations: WireAudit {
                    decision,
                    reason,
                    version: env!("CARGO_PKG_VERSION"),
                    settings: self.settings_hash,
                },
                warnings: self.warnings,
            },
        };
        serde_json::to_writer(&mut body, &wire)?;
        Ok(body)
    }

    /// The body, or, if it cannot be written, one that lets the object pass.
    pub(super) fn into_response(self) -> Response {
        let body = self.write().or_else(|error| {
            tracing::error!(%error, uid = self.uid, "an answer could not be written");
            let warnings = [Failure::Unwritable.sentence().to_owned()];
            let plain = Answer {
                outcome: Some(Outcome::Failed(Failure::Unwritable)),
                patch: None,
                refused: None,
                warnings: &warnings,
                ..self
            };
            plain.write()
        });
        ([(CONTENT_TYPE, "application/json")], body.unwrap_or_default()).into_response()
    }
}
