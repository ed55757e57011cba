//! `GET /openapi.json`: generated from the handlers; a test compares it with the router.

use axum::Json;
use utoipa::OpenApi;

use super::{
    captures, counters, diff, doctor, dotnet_monitor, dump, flame, go_profiler, histogram, index, metrics,
    openapi as own, pprof, processes, profile, share, status, threads, timeline,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sideflame",
        description = "Profiles the JVM, .NET, Go and native processes of a pod. Every error is an RFC 9457 problem with a \
            stable code and a remedy; Accept: text/plain turns it into three lines.",
    ),
    servers((url = "http://localhost:7117")),
    paths(
        index::index,
        profile::profile,
        captures::start,
        captures::list,
        captures::one,
        captures::delete,
        captures::stop,
        captures::artifact,
        share::share,
        timeline::timeline,
        flame::flame,
        diff::diff,
        diff::of_files,
        captures::remarks::remark,
        captures::events::events,
        captures::export::export,
        processes::processes,
        doctor::doctor,
        threads::threads,
        counters::counters,
        dotnet_monitor::trace,
        dotnet_monitor::livemetrics,
        histogram::histogram,
        histogram::gcdump,
        dump::dump,
        pprof::index,
        pprof::cmdline,
        pprof::symbol,
        pprof::symbolize,
        pprof::profile,
        go_profiler::process,
        go_profiler::page,
        go_profiler::part,
        metrics::metrics,
        status::healthz,
        status::version,
        own::openapi,
    )
)]
struct Document;

/// The document as a value.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
