//! From an HTTP request to its answer: permit, body, deadline. What the answer says is decided in `decision`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout_at;

use super::deadlines::Deadlines;
use super::request_body::{read_uid, read_whole};
use super::review::Review;
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
    let body = request.into_body();
    let permit = timeout_at(deadlines.permit.into(), admission.permits.acquire()).await;
    let answer = match permit {
        Ok(Ok(_permit)) => review(admission, endpoint, body, deadlines).await,
        _ => busy(admission, endpoint, body, deadlines).await,
    };
    admission.metrics.review(began.elapsed());
    answer.unwrap_or_else(|refused| refused.into_response(admission))
}

async fn review(
    admission: &Admission,
    endpoint: Endpoint,
    body: Body,
    deadlines: Deadlines,
) -> Result<Response, Refused> {
    let body = read_whole(body, deadlines).await?;
    // From here to the answer nothing waits: on one thread, reviews are worked on one after the other, and only one
    // of them has its object unpacked.
    let request = Review::parse(&body).map_err(|error| Refused(Refusal::Malformed, error.to_string()))?;
    Ok(match endpoint {
        Endpoint::Workload => decision::look_at(admission, &request),
        Endpoint::Pod | Endpoint::Probe => decision::decide(admission, endpoint, &request, deadlines),
    })
}

async fn busy(
    admission: &Admission,
    endpoint: Endpoint,
    body: Body,
    deadlines: Deadlines,
) -> Result<Response, Refused> {
    let Some(uid) = read_uid(body, deadlines).await? else {
        let text = "the body is no AdmissionReview with a uid".to_owned();
        return Err(Refused(Refusal::Malformed, text));
    };
    tracing::warn!(uid, path = endpoint.path(), "busy: allowed without being looked at");
    Ok(decision::fail(admission, endpoint, &uid, Failure::Busy, false))
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
            Refusal::Slow => "the body did not come within the timeout".to_owned(),
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
