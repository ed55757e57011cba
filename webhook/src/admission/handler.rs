//! From an HTTP request to its answer: body, memory, deadline. What the answer says is decided in `decision`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::{IntoResponse, Response};

use super::deadlines::Deadlines;
use super::request_body::{self, Read};
use super::review::{Beginning, Review};
use super::{Admission, BODY_BYTES, decision};
use crate::endpoint::Endpoint;
use crate::outcome::{Failure, Refusal};

/// `POST /inject`: pods.
pub(super) async fn inject(State(admission): State<Arc<Admission>>, request: HttpRequest<Body>) -> Response {
    answer(&admission, Endpoint::Pod, request).await
}

/// `POST /probe`: pods that we create ourselves, as a dry run, to see whether everything works.
pub(super) async fn probe(State(admission): State<Arc<Admission>>, request: HttpRequest<Body>) -> Response {
    answer(&admission, Endpoint::Probe, request).await
}

/// `POST /warn`: workloads, which are only looked at.
pub(super) async fn warn(State(admission): State<Arc<Admission>>, request: HttpRequest<Body>) -> Response {
    answer(&admission, Endpoint::Workload, request).await
}

async fn answer(admission: &Admission, endpoint: Endpoint, request: HttpRequest<Body>) -> Response {
    let began = Instant::now();
    admission.metrics.request(endpoint);
    admission.metrics.in_flight.inc();
    let _leaving = Leaving(admission);
    let deadlines = Deadlines::begin(request.uri().query(), admission.limits.timeout);
    let answer = match request_body::read(request.into_body(), deadlines, &admission.memory).await {
        Ok(Read::Whole(body, _share)) => review(admission, endpoint, &body, deadlines),
        Ok(Read::Beginning(bytes)) => busy(admission, endpoint, &bytes),
        Err(refusal) => Err(refusal.into()),
    };
    admission.metrics.review(began.elapsed());
    answer.unwrap_or_else(|refused| refused.into_response(admission))
}

/// Nothing here waits: on one thread, reviews are worked on one after the other, and only one of them has its object
/// unpacked.
fn review(admission: &Admission, endpoint: Endpoint, body: &Bytes, deadlines: Deadlines) -> Result<Response, Refused> {
    let request = Review::parse(body).map_err(|error| Refused(Refusal::Malformed, error.to_string()))?;
    Ok(match endpoint {
        Endpoint::Workload => decision::look_at(admission, &request),
        Endpoint::Pod | Endpoint::Probe => decision::decide(admission, endpoint, &request, deadlines),
    })
}

fn busy(admission: &Admission, endpoint: Endpoint, bytes: &[u8]) -> Result<Response, Refused> {
    let Beginning { uid, blocks_on_error } = Beginning::of(bytes);
    let Some(uid) = uid else {
        let text = "the body is no AdmissionReview with a uid".to_owned();
        return Err(Refused(Refusal::Malformed, text));
    };
    tracing::warn!(uid, path = endpoint.path(), "busy: not looked at");
    Ok(decision::fail(
        admission,
        endpoint,
        &uid,
        Failure::Busy,
        blocks_on_error,
    ))
}

/// A client that goes away drops the future of its answer: the gauge must fall then, too.
struct Leaving<'a>(&'a Admission);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

/// No review: it has no uid that could be answered. With failurePolicy Ignore the object is created all the same.
struct Refused(Refusal, String);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let text = match refusal {
            Refusal::Malformed => "the body ended early".to_owned(),
            Refusal::TooLarge => format!("the body is longer than {BODY_BYTES} bytes, which no object in etcd can be"),
            Refusal::Slow => "the body did not come within half of the timeout".to_owned(),
        };
        Self(refusal, text)
    }
}

impl Refused {
    fn into_response(self, admission: &Admission) -> Response {
        let Self(refusal, text) = self;
        admission.metrics.refusal(refusal);
        tracing::warn!(reason = refusal.key(), "refused a request: {text}");
        let status = match refusal {
            Refusal::Malformed => StatusCode::BAD_REQUEST,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
        };
        (status, text + "\n").into_response()
    }
}
