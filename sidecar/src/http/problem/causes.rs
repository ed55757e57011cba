//! What can go wrong, as problems: the errors of the use case, and those only HTTP has. Every one with its remedy.

use axum::extract::Request;
use axum::http::header::{CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};

use super::super::dotnet_monitor;
use super::{Code, Problem};
use crate::capture::CaptureError;
use crate::capture::remarks::InvalidRemark;
use crate::capture::request::{RequestError, shorten};
use crate::child::ChildError;
use crate::format::Format;
use crate::runtime::{ALREADY_PROFILED, NoRoom, Reason, RecordError, URL_NOT_ALLOWED};

const REPORT: &str = "see the log of sideflame; please report this as a bug";

fn one_of<T: ToString>(allowed: &[T]) -> String {
    match allowed {
        [] => "nothing can be given here".to_owned(),
        [one] => format!("use {}", one.to_string()),
        several => format!(
            "use one of {}",
            several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    }
}

impl Problem {
    pub(in crate::http) fn malformed_query(detail: &str) -> Self {
        Self::new(
            Code::MalformedQuery,
            detail,
            "percent-encode the values, e.g. with curl -G --data-urlencode",
        )
    }

    pub(in crate::http) fn query_too_long(most: usize) -> Self {
        let detail = format!("it is longer than {most} bytes");
        Self::new(
            Code::QueryTooLong,
            detail,
            "shorten it, or send the parameters as JSON to POST /captures",
        )
    }

    pub(in crate::http) fn unknown_parameter(name: &str, allowed: &[&str]) -> Self {
        let name = shorten(name);
        Self::new(
            Code::UnknownParameter,
            format!("there is no parameter {name:?}"),
            one_of(allowed),
        )
        .parameter(name)
        .allowed(allowed)
    }

    pub(in crate::http) fn repeated_parameter(name: &str) -> Self {
        Self::new(
            Code::RepeatedParameter,
            format!("{name} is given more than once"),
            format!("give {name} once"),
        )
        .parameter(name)
    }

    pub(in crate::http) fn invalid_parameter(name: &str, value: &str, allowed: &[&str]) -> Self {
        let detail = format!("{name}={} is not possible here", shorten(value));
        let values: Vec<String> = allowed.iter().map(|value| format!("{name}={value}")).collect();
        Self::new(Code::InvalidParameter, detail, one_of(&values))
            .parameter(name)
            .allowed(allowed)
    }

    pub(in crate::http) fn of_an_artifact(name: &'static str) -> Self {
        let detail = format!("{name} chooses what an artifact shows; the recording has all of it");
        let remedy = format!("leave {name} out, and give it to GET /captures/{{id}}/artifact");
        Self::new(Code::InvalidParameter, detail, remedy).parameter(name)
    }

    pub(in crate::http) fn not_of_dotnet_monitor(parameter: &'static str, remedy: &'static str) -> Self {
        let detail = format!("{parameter} has no such meaning here as in dotnet-monitor");
        Self::new(Code::InvalidParameter, detail, remedy).parameter(parameter)
    }

    pub(in crate::http) fn no_rate(name: &str) -> Self {
        Self::new(
            Code::InvalidParameter,
            format!("{name}: the handler of a Go program takes no rate, it samples 100 times a second"),
            format!("leave {name} out; of a JVM, GET /profile?format=pprof&frequency=<rate>"),
        )
        .parameter(name)
    }

    pub(in crate::http) fn malformed_body(detail: impl Into<String>) -> Self {
        let remedy =
            "send a JSON object with the parameters of GET /profile, e.g. {\"seconds\": 10, \"event\": \"cpu\"}";
        Self::new(Code::MalformedBody, detail, remedy)
    }

    pub(in crate::http) fn malformed_processor_body(detail: impl Into<String>) -> Self {
        let remedy = "send a JSON object with source, type, and what else there is to say: {\"source\": \"https://10.0.2.15:6443\", \"type\": \
                      \"Heap\", \"expirationSeconds\": 300}";
        Self::new(Code::MalformedBody, detail, remedy)
    }

    pub(in crate::http) fn malformed_remarks(detail: impl Into<String>) -> Self {
        let remedy =
            "send a JSON object with what changes: {\"name\": \"before the fix\", \"note\": \"…\", \"pinned\": true}";
        Self::new(Code::MalformedBody, detail, remedy)
    }

    pub(in crate::http) fn too_many_streams(most: usize) -> Self {
        let detail = format!("{most} clients are told of captures as they go on");
        Self::new(
            Code::Busy,
            detail,
            "close one of them, or ask GET /captures/{id} now and then",
        )
        .header(RETRY_AFTER, "5")
    }

    pub(in crate::http) fn body_too_large(most: usize) -> Self {
        Self::new(
            Code::BodyTooLarge,
            format!("a body has at most {most} bytes"),
            "send only the parameters",
        )
    }

    pub(in crate::http) fn file_too_large(most: u64) -> Self {
        Self::new(
            Code::BodyTooLarge,
            format!("a recording that is sent has at most {most} bytes"),
            "compare large files with sideflame diff BEFORE AFTER",
        )
    }

    pub(in crate::http) fn malformed_archive(detail: impl Into<String>) -> Self {
        Self::new(
            Code::MalformedBody,
            detail,
            "send two files in one archive: tar -c before.pb.gz after.pb.gz | curl --data-binary @- localhost:7117/diff",
        )
    }

    pub(in crate::http) fn missing_capture(name: &str) -> Self {
        let remedy =
            format!("add {name}=ID of a finished capture, see GET /captures; files are compared by POST /diff");
        Self::new(Code::InvalidParameter, format!("{name} is missing"), remedy).parameter(name)
    }

    pub(in crate::http) fn unsupported_content_type() -> Self {
        let detail = "a body is JSON and says so";
        Self::new(
            Code::UnsupportedContentType,
            detail,
            "send Content-Type: application/json",
        )
        .allowed(&["application/json"])
    }

    pub(in crate::http) fn request_timeout(seconds: u64) -> Self {
        let detail = format!("the body was not complete within {seconds} s");
        Self::new(Code::RequestTimeout, detail, "send it at once")
    }

    pub(in crate::http) fn too_many_answers() -> Self {
        let detail = "as many requests as possible are being answered";
        Self::new(Code::Busy, detail, "wait, or close connections that are not read").header(RETRY_AFTER, "1")
    }

    pub(in crate::http) fn unauthorized() -> Self {
        let detail = "the Authorization header is missing or wrong";
        Self::new(
            Code::Unauthorized,
            detail,
            "send Authorization: Bearer <the token sideflame was started with>",
        )
        .header(WWW_AUTHENTICATE, "Bearer realm=\"sideflame\"")
    }

    pub(in crate::http) fn foreign_host(detail: &str) -> Self {
        let remedy = "use http://localhost:<port>/ or http://127.0.0.1:<port>/; for other names start sideflame with a \
                      token";
        Self::new(Code::ForeignHost, detail, remedy)
    }

    pub(in crate::http) fn cross_site(detail: &str) -> Self {
        let remedy = "type the address into the address bar, or use curl; only / may be linked to";
        Self::new(Code::CrossSiteRequest, detail, remedy)
    }

    pub(in crate::http) fn no_such_profile(name: &str, allowed: &[&str]) -> Self {
        let detail = format!("there is no profile {:?}", shorten(name));
        Self::new(Code::NoSuchPath, detail, one_of(allowed)).allowed(allowed)
    }

    pub(in crate::http) fn range_not_satisfiable(length: u64) -> Self {
        let detail = format!("the artifact has {length} bytes");
        Self::new(
            Code::RangeNotSatisfiable,
            detail,
            "ask for a range inside, or without Range for the whole",
        )
        .header(CONTENT_RANGE, format!("bytes */{length}"))
    }

    /// What does harm was not asked for twice.
    pub(in crate::http) fn unconfirmed(detail: &str, spelling: &str) -> Self {
        Self::new(Code::InvalidParameter, detail, spelling).parameter("confirm")
    }

    /// Something that cannot happen; the cause goes to the log only.
    pub(in crate::http) fn bug(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a response could not be made");
        Self::new(Code::Internal, "sideflame could not make the response", REPORT)
    }

    fn store_full(limit: NoRoom, detail: String) -> Self {
        let remedy = match limit {
            NoRoom::Store => {
                "DELETE captures of GET /captures, record for a shorter time, or give the store more room: \
                 sideflame.io/capture-size on the pod, --store-size elsewhere"
            }
            NoRoom::Disk => {
                "free space on the disk below --store-dir, in a pod the node's; what was captured before is still \
                 there, and DELETE of captures of GET /captures frees their part"
            }
            NoRoom::ReadOnly => {
                let remedy = "see the log of the node for why the file system below --store-dir is read-only; what was captured \
                              before can be fetched as it is";
                return Self::new(Code::StoreReadOnly, detail, remedy);
            }
        };
        Self::new(Code::StoreFull, detail, remedy)
    }

    fn out_of_memory(detail: String) -> Self {
        let remedy = "raise sideflame.io/memory-limit on the pod, or record less: a shorter time, a lower frequency";
        Self::new(Code::OutOfMemory, detail, remedy)
    }

    fn child_killed(detail: String) -> Self {
        let remedy = "try again; something in the pod or on the node kills processes of sideflame";
        Self::new(Code::ChildKilled, detail, remedy)
    }

    /// What was recorded is kept nevertheless.
    fn kept(mut self, capture: String, others: &[Format]) -> Self {
        let artifact = format!("GET /captures/{capture}/artifact");
        let others: Vec<_> = others.iter().map(Format::to_string).collect();
        let kept = match &*others {
            [] => artifact,
            [one] => format!("{artifact}?format={one}"),
            [first, rest @ ..] => format!("{artifact}?format={first}, or {}", rest.join(", ")),
        };
        self.0.remedy = format!("{}; the recording is kept: {kept}", self.0.remedy);
        self.0.capture = Some(capture);
        self.allowed(&others)
    }

    fn impossible(reason: Reason) -> Self {
        // Whether the doctor saw it or the profiler itself said it, a profiler at work is one and the same answer.
        let code = match &*reason.key {
            ALREADY_PROFILED => Code::AlreadyProfiled,
            URL_NOT_ALLOWED => Code::UrlNotAllowed,
            _ => Code::Impossible,
        };
        Self::because(code, reason)
    }

    fn because(code: Code, reason: Reason) -> Self {
        let mut problem = Self::new(code, reason.sentence, reason.remedy);
        problem.0.reason = Some(reason.key.into_owned());
        problem
    }
}

/// The answer to a path that is not in the table.
pub(in crate::http) async fn no_such_path(request: Request) -> Problem {
    let path = request.uri().path();
    let detail = format!("there is nothing at {}", shorten(path));
    let remedy = match dotnet_monitor::elsewhere(path) {
        Some(spelling) => format!("what dotnet-monitor has there is here: {spelling}"),
        None => "GET / lists what there is".to_owned(),
    };
    Problem::new(Code::NoSuchPath, detail, remedy)
}

/// The answer to a known path with another method; the router adds the Allow header.
pub(in crate::http) async fn method_not_allowed(request: Request) -> Problem {
    let method = shorten(request.method().as_str());
    let path = request.uri().path();
    let remedy = match path {
        "/dump" => super::super::dump::SPELLING,
        _ => "use a method of the Allow header; GET /openapi.json describes all requests",
    };
    let detail = format!("{method} is not possible at {}", shorten(path));
    Problem::new(Code::MethodNotAllowed, detail, remedy)
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::Unknown { name, allowed } => Self::unknown_parameter(&name, &allowed),
            RequestError::Refused { name, .. } => {
                Self::new(Code::UnknownParameter, detail, format!("leave {name} out")).parameter(name)
            }
            RequestError::Repeated { name } => Self::repeated_parameter(name),
            RequestError::Invalid {
                name,
                expected,
                allowed,
                ..
            } => Self::new(Code::InvalidParameter, detail, format!("give {name} as {expected}"))
                .parameter(name)
                .allowed(&allowed),
            RequestError::Unsuitable { name, .. } => {
                Self::new(Code::InvalidParameter, detail, format!("change or leave out {name}")).parameter(name)
            }
            RequestError::Conflict(..) => Self::new(Code::ConflictingParameters, detail, "leave one of them out"),
        }
    }
}

impl From<CaptureError> for Problem {
    fn from(error: CaptureError) -> Self {
        let detail = error.to_string();
        match error {
            CaptureError::Request(error) => error.into(),
            CaptureError::ParameterNotApplicable { parameter, .. } => {
                Self::new(Code::ParameterNotApplicable, detail, format!("leave {parameter} out")).parameter(parameter)
            }
            CaptureError::EventNotOffered { allowed, .. } => Self::new(Code::EventNotOffered, detail, one_of(&allowed))
                .parameter("event")
                .allowed(&allowed),
            CaptureError::FormatNotOffered { allowed, .. } => {
                Self::new(Code::FormatNotOffered, detail, one_of(&allowed))
                    .parameter("format")
                    .allowed(&allowed)
            }
            CaptureError::Indivisible { allowed, .. } => Self::new(Code::Indivisible, detail, one_of(&allowed))
                .parameter("format")
                .allowed(&allowed),
            CaptureError::NoSuchProcess { candidates } => Self::new(
                Code::NoSuchProcess,
                detail,
                "see GET /processes; if the app is not listed, the pod lacks shareProcessNamespace: true, the \
                 ephemeral container the app's name as --target, or a pod that looks at the node hostPID: true",
            )
            .candidates(candidates),
            CaptureError::NotConnected(_) => Self::new(Code::NoSuchProcess, detail, CaptureError::CONNECT),
            CaptureError::Ambiguous { candidates, .. } => {
                let example = candidates
                    .first()
                    .map_or_else(String::new, |one| format!("pid={}", one.pid));
                Self::new(
                    Code::AmbiguousProcess,
                    detail,
                    format!("add {example} or another of the candidates"),
                )
                .candidates(candidates)
            }
            CaptureError::Impossible(reason) => Self::impossible(reason),
            CaptureError::Busy { retry_after, .. } => Self::new(
                Code::Busy,
                detail,
                "wait; a running capture can be ended: GET /captures, then POST /captures/{id}/stop",
            )
            .header(RETRY_AFTER, retry_after.to_string()),
            CaptureError::Remark(InvalidRemark { field, .. }) => Self::new(
                Code::InvalidParameter,
                detail,
                format!("shorten {field}, or leave it out"),
            )
            .parameter(field),
            CaptureError::TooMuchPinned { .. } => Self::new(
                Code::TooMuchPinned,
                detail,
                "unpin another one, PATCH /captures/{id} with {\"pinned\": false}, or GET /captures/{id}/export and keep the archive",
            ),
            CaptureError::StoreFull { .. } => Self::store_full(NoRoom::Store, detail),
            CaptureError::NoRoom(limit) => Self::store_full(limit, detail),
            CaptureError::Child(ChildError::OutOfMemory { .. }) => Self::out_of_memory(detail),
            CaptureError::Child(ChildError::Killed { .. }) => Self::child_killed(detail),
            CaptureError::Child(ChildError::TimedOut { .. }) => Self::new(Code::StepTimedOut, detail, "try again"),
            CaptureError::NoSuchCapture(_) => Self::new(Code::NoSuchCapture, detail, "see GET /captures"),
            CaptureError::NotFinished(id) => Self::new(
                Code::CaptureNotFinished,
                detail,
                format!("wait, or POST /captures/{id}/stop"),
            ),
            CaptureError::Record(error) => error.into(),
            CaptureError::Render(_) => Self::new(
                Code::RenderFailed,
                detail,
                "fetch another format of the same capture; please report this",
            ),
            CaptureError::Unlike(_) => Self::new(
                Code::UnlikeRecordings,
                detail,
                "compare recordings of the same event; GET /captures lists what there is",
            ),
            CaptureError::Unreadable(_) => Self::new(
                Code::UnreadableRecording,
                detail,
                "send two recordings as collapsed text, pprof, JFR or nettrace",
            ),
            CaptureError::NotRendered { capture, others, cause } => Self::from(*cause).kept(capture, &others),
            CaptureError::ShuttingDown => Self::new(Code::ShuttingDown, detail, "try again when it is back"),
            CaptureError::Internal { .. } | CaptureError::Child(_) => Self::new(Code::Internal, detail, REPORT),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        let detail = error.to_string();
        match error {
            RecordError::Impossible(reason) => Self::impossible(reason),
            RecordError::AlreadyProfiled { .. } => Self::new(
                Code::AlreadyProfiled,
                detail,
                "end the other profiler, or wait until it is done",
            ),
            RecordError::TargetExited => Self::new(Code::TargetExited, detail, "see GET /processes for its successor"),
            RecordError::Timeout { .. } => Self::new(
                Code::StepTimedOut,
                detail,
                "see whether the process is stopped or starved of CPU: GET /doctor",
            ),
            RecordError::Protocol { .. } => Self::new(Code::TargetMisbehaved, detail, "see GET /doctor and try again"),
            RecordError::Tool { .. } => Self::new(Code::ToolFailed, detail, "see GET /doctor and try again"),
            RecordError::BadArgument { parameter, .. } => Self::new(
                Code::InvalidParameter,
                detail,
                format!("change or leave out {parameter}"),
            )
            .parameter(parameter),
            RecordError::SamplerDied { .. } => Self::new(
                Code::SamplerDied,
                detail,
                "raise the limit of open files of the application, or use event=ctimer, which takes none; see that nothing in \
                 it handles SIGPROF",
            ),
            RecordError::StoreFull { limit } => Self::store_full(limit, detail),
            RecordError::TargetDiskFull(reason) => Self::because(Code::TargetDiskFull, reason),
            RecordError::OutOfMemory => Self::out_of_memory(detail),
            RecordError::Killed => Self::child_killed(detail),
            RecordError::NothingToKeep { .. } => Self::new(Code::NothingToKeep, detail, "let it run for longer"),
            RecordError::Cancelled => Self::new(Code::CaptureCancelled, detail, "start another one"),
            RecordError::Interrupted => Self::new(Code::CaptureInterrupted, detail, "start another one"),
            RecordError::Internal { .. } => Self::new(Code::Internal, detail, REPORT),
        }
    }
}

/// An id that cannot be one of ours.
pub(in crate::http) fn no_such_capture(id: &str) -> Problem {
    CaptureError::NoSuchCapture(shorten(id)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_a_kill_and_missing_memory_are_told_apart() {
        let answer = |error: CaptureError| {
            let body = Problem::from(error).body(None);
            (body.status, body.code)
        };
        let timeout = RecordError::Timeout {
            step: "the capture".to_owned(),
            seconds: 330,
        };
        assert_eq!(answer(timeout.into()), (504, "step_timed_out"));
        assert_eq!(answer(RecordError::Killed.into()), (503, "child_killed"));
        assert_eq!(answer(RecordError::OutOfMemory.into()), (503, "out_of_memory"));
        let role = "renderer";
        assert_eq!(answer(ChildError::Killed { role }.into()), (503, "child_killed"));
        assert_eq!(answer(ChildError::OutOfMemory { role }.into()), (503, "out_of_memory"));
        let error = ChildError::TimedOut { role, seconds: 120 };
        assert_eq!(answer(error.into()), (504, "step_timed_out"));
    }
}
