//! Errors as RFC 9457 problems. The only file that names a status code, those of success included.
//!
//! A handler returns a [`Problem`]; [`super::answer`] renders it, because only there the request's Accept and path
//! are at hand. `code` is stable: clients may compare it, nothing else.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::listing::printable;
use crate::runtime::Who;

mod causes;

pub(super) use causes::{method_not_allowed, no_such_capture, no_such_path};

pub(super) const OK: StatusCode = StatusCode::OK;
pub(super) const ACCEPTED: StatusCode = StatusCode::ACCEPTED;
pub(super) const NO_CONTENT: StatusCode = StatusCode::NO_CONTENT;
pub(super) const SEE_OTHER: StatusCode = StatusCode::SEE_OTHER;
pub(super) const PARTIAL_CONTENT: StatusCode = StatusCode::PARTIAL_CONTENT;
pub(super) const NOT_MODIFIED: StatusCode = StatusCode::NOT_MODIFIED;

/// What went wrong, for machines: name, status and title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    MalformedQuery,
    UnknownParameter,
    RepeatedParameter,
    InvalidParameter,
    ConflictingParameters,
    ParameterNotApplicable,
    EventNotOffered,
    FormatNotOffered,
    AmbiguousProcess,
    MalformedBody,
    Unauthorized,
    ForeignHost,
    CrossSiteRequest,
    UrlNotAllowed,
    NoSuchPath,
    NoSuchProcess,
    NoSuchCapture,
    MethodNotAllowed,
    RequestTimeout,
    AlreadyProfiled,
    CaptureNotFinished,
    CaptureCancelled,
    CaptureInterrupted,
    TooMuchPinned,
    BodyTooLarge,
    QueryTooLong,
    UnsupportedContentType,
    RangeNotSatisfiable,
    Impossible,
    NothingToKeep,
    UnlikeRecordings,
    UnreadableRecording,
    Indivisible,
    Busy,
    RenderFailed,
    Internal,
    TargetExited,
    TargetMisbehaved,
    ToolFailed,
    SamplerDied,
    ShuttingDown,
    StepTimedOut,
    StoreFull,
    StoreReadOnly,
    TargetDiskFull,
    OutOfMemory,
    ChildKilled,
}

impl Code {
    /// The contract, one row per code.
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedQuery => ("malformed_query", S::BAD_REQUEST, "the query string cannot be read"),
            Self::UnknownParameter => ("unknown_parameter", S::BAD_REQUEST, "unknown parameter"),
            Self::RepeatedParameter => ("repeated_parameter", S::BAD_REQUEST, "parameter given twice"),
            Self::InvalidParameter => ("invalid_parameter", S::BAD_REQUEST, "invalid parameter"),
            Self::ConflictingParameters => (
                "conflicting_parameters",
                S::BAD_REQUEST,
                "parameters exclude each other",
            ),
            Self::ParameterNotApplicable => (
                "parameter_not_applicable",
                S::BAD_REQUEST,
                "parameter of another runtime",
            ),
            Self::EventNotOffered => ("event_not_offered", S::BAD_REQUEST, "no such event in this runtime"),
            Self::FormatNotOffered => ("format_not_offered", S::BAD_REQUEST, "not available in this format"),
            Self::AmbiguousProcess => ("ambiguous_process", S::BAD_REQUEST, "several processes match"),
            Self::MalformedBody => ("malformed_body", S::BAD_REQUEST, "the body cannot be read"),
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "a bearer token is required"),
            Self::ForeignHost => ("foreign_host", S::FORBIDDEN, "not addressed to a loopback name"),
            Self::CrossSiteRequest => ("cross_site_request", S::FORBIDDEN, "request of another web page"),
            Self::UrlNotAllowed => ("url_not_allowed", S::FORBIDDEN, "this server may not be asked"),
            Self::NoSuchPath => ("no_such_path", S::NOT_FOUND, "no such path"),
            Self::NoSuchProcess => ("no_such_process", S::NOT_FOUND, "no such process"),
            Self::NoSuchCapture => ("no_such_capture", S::NOT_FOUND, "no such capture"),
            Self::MethodNotAllowed => ("method_not_allowed", S::METHOD_NOT_ALLOWED, "method not allowed"),
            Self::RequestTimeout => ("request_timeout", S::REQUEST_TIMEOUT, "the request came too slowly"),
            Self::AlreadyProfiled => ("already_profiled", S::CONFLICT, "another profiler is at work"),
            Self::CaptureNotFinished => ("capture_not_finished", S::CONFLICT, "the capture is not finished"),
            Self::CaptureCancelled => ("capture_cancelled", S::CONFLICT, "the capture was cancelled"),
            Self::CaptureInterrupted => ("capture_interrupted", S::CONFLICT, "the server ended in mid-capture"),
            Self::TooMuchPinned => ("too_much_pinned", S::CONFLICT, "enough is pinned"),
            Self::BodyTooLarge => ("body_too_large", S::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::QueryTooLong => ("query_too_long", S::URI_TOO_LONG, "the query string is too long"),
            Self::UnsupportedContentType => (
                "unsupported_content_type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported content type",
            ),
            Self::RangeNotSatisfiable => (
                "range_not_satisfiable",
                S::RANGE_NOT_SATISFIABLE,
                "the range begins after the end",
            ),
            Self::Impossible => ("impossible", S::UNPROCESSABLE_ENTITY, "impossible for this process"),
            Self::NothingToKeep => ("nothing_to_keep", S::UNPROCESSABLE_ENTITY, "nothing was recorded"),
            Self::UnlikeRecordings => (
                "unlike_recordings",
                S::UNPROCESSABLE_ENTITY,
                "these recordings cannot be compared",
            ),
            Self::UnreadableRecording => (
                "unreadable_recording",
                S::UNPROCESSABLE_ENTITY,
                "this is no recording that can be read",
            ),
            Self::Indivisible => (
                "indivisible",
                S::UNPROCESSABLE_ENTITY,
                "this format shows all of the recording",
            ),
            Self::Busy => ("busy", S::TOO_MANY_REQUESTS, "busy"),
            Self::RenderFailed => (
                "render_failed",
                S::INTERNAL_SERVER_ERROR,
                "the recording could not be rendered",
            ),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "internal error"),
            Self::TargetExited => ("target_exited", S::NOT_FOUND, "the process exited"),
            Self::TargetMisbehaved => ("target_misbehaved", S::BAD_GATEWAY, "unexpected answer of the process"),
            Self::ToolFailed => ("tool_failed", S::BAD_GATEWAY, "the profiler failed"),
            Self::SamplerDied => ("sampler_died", S::BAD_GATEWAY, "the profiler stopped in mid-capture"),
            Self::ShuttingDown => ("shutting_down", S::SERVICE_UNAVAILABLE, "shutting down"),
            Self::StepTimedOut => (
                "step_timed_out",
                S::GATEWAY_TIMEOUT,
                "the process did not answer in time",
            ),
            Self::StoreFull => ("store_full", S::INSUFFICIENT_STORAGE, "the store is full"),
            Self::StoreReadOnly => (
                "store_read_only",
                S::INSUFFICIENT_STORAGE,
                "the store cannot be written",
            ),
            Self::TargetDiskFull => (
                "target_disk_full",
                S::INSUFFICIENT_STORAGE,
                "the disk of the process has no room",
            ),
            Self::OutOfMemory => ("out_of_memory", S::SERVICE_UNAVAILABLE, "out of memory"),
            Self::ChildKilled => ("child_killed", S::SERVICE_UNAVAILABLE, "a process of ours was killed"),
        }
    }
}

/// Why a request failed, with what to change. Boxed: it travels in every `Result` of the handlers.
#[derive(Debug, Clone)]
pub struct Problem(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    code: Code,
    detail: String,
    remedy: String,
    parameter: Option<String>,
    reason: Option<String>,
    allowed: Vec<String>,
    candidates: Vec<Who>,
    capture: Option<String>,
    header: Option<(HeaderName, String)>,
    /// Where a contract that is not ours has a status of its own.
    status: Option<StatusCode>,
}

/// An RFC 9457 problem.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct ProblemBody {
    /// Identifies the code as a URI; not meant to be fetched.
    pub(super) r#type: String,
    /// The code in a few words.
    pub(super) title: &'static str,
    /// HTTP status.
    pub(super) status: u16,
    /// What happened this time.
    pub(super) detail: String,
    /// Path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<String>,
    /// Stable; compare this.
    pub(super) code: &'static str,
    /// What to change.
    pub(super) remedy: String,
    /// The parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameter: Option<String>,
    /// With `impossible` and `target_disk_full`: the doctor's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// What may be given instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) allowed: Vec<String>,
    /// Processes that could be meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) candidates: Vec<Who>,
    /// The capture whose recording is kept although this request failed; `allowed` are its other formats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) capture: Option<String>,
}

impl Problem {
    fn new(code: Code, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            code,
            detail: detail.into(),
            remedy: remedy.into(),
            parameter: None,
            reason: None,
            allowed: Vec::new(),
            candidates: Vec::new(),
            capture: None,
            header: None,
            status: None,
        }))
    }

    fn parameter(mut self, name: impl Into<String>) -> Self {
        self.0.parameter = Some(name.into());
        self
    }

    fn allowed<T: ToString>(mut self, allowed: &[T]) -> Self {
        self.0.allowed = allowed.iter().map(ToString::to_string).collect();
        self
    }

    fn candidates(mut self, candidates: Vec<Who>) -> Self {
        self.0.candidates = candidates;
        self
    }

    fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.0.header = Some((name, value.into()));
        self
    }

    fn status(&self) -> StatusCode {
        self.0.status.unwrap_or(self.0.code.row().1)
    }

    /// As a processor of KubeDiag says it, which knows two: what is wrong with the request is 400, all else 500.
    pub(super) fn of_processor(mut self) -> Self {
        let of_request = matches!(
            self.0.code,
            Code::MalformedBody
                | Code::BodyTooLarge
                | Code::UnsupportedContentType
                | Code::RequestTimeout
                | Code::InvalidParameter
                | Code::UrlNotAllowed
        );
        self.0.status = Some(match of_request {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::INTERNAL_SERVER_ERROR,
        });
        self
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        self.0.code.row().0
    }

    /// The JSON form.
    pub(super) fn body(&self, instance: Option<&str>) -> ProblemBody {
        let (code, _, title) = self.0.code.row();
        let facts = &*self.0;
        let status = self.status();
        ProblemBody {
            r#type: format!("tag:sideflame.io,2026:problem/{code}"),
            title,
            status: status.as_u16(),
            detail: facts.detail.clone(),
            instance: instance.map(str::to_owned),
            code,
            remedy: facts.remedy.clone(),
            parameter: facts.parameter.clone(),
            reason: facts.reason.clone(),
            allowed: facts.allowed.clone(),
            candidates: facts.candidates.clone(),
            capture: facts.capture.clone(),
        }
    }

    /// Three lines for a terminal, then the candidates if there are any.
    pub(super) fn text(&self) -> String {
        let (code, _, title) = self.0.code.row();
        let facts = &*self.0;
        let mut lines = vec![
            format!("error: {title} ({code})"),
            format!("reason: {}", facts.detail),
            format!("try: {}", facts.remedy),
        ];
        let candidate = |one: &Who| format!("  pid={} {} ({}){}", one.pid, one.name, one.runtime, one.place());
        lines.extend(facts.candidates.iter().map(candidate));
        lines.iter().map(|line| printable(line) + "\n").collect()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Some((name, value)) = &self.0.header
            && let Ok(value) = HeaderValue::from_str(value)
        {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
