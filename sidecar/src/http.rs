//! The HTTP API: one router, thin handlers, no logic of the use case.
//!
//! Handlers turn a request into a call of [`crate::capture::Captures`] and its answer into a response; must not know
//! runtimes, recorders or `/proc`. Called by the `serve` command: [`routers`] builds the service, [`serve`] runs it.

mod accept;
mod activity;
mod answer;
mod artifact;
mod captures;
mod counters;
mod diff;
mod digest;
mod doctor;
mod dotnet_monitor;
mod dump;
mod flame;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod go_profiler;
mod guard;
mod gzip;
mod histogram;
mod index;
mod metrics;
mod minify;
mod openapi;
mod parameters;
mod pprof;
mod problem;
mod processes;
mod profile;
mod query;
mod serve;
mod share;
mod status;
mod svg;
mod threads;
mod timeline;
mod token;
mod ui;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use crate::capture::Captures;

pub use activity::Activity;
pub use guard::GuardSettings;
pub use problem::Problem;
pub use serve::{Limits, serve};
pub use token::Token;

use captures::events::Streams;
use guard::Guard;
use metrics::Metrics;

/// What handlers share.
#[derive(Debug, Clone)]
struct AppState {
    captures: Arc<Captures>,
    metrics: Arc<Metrics>,
    streams: Streams,
}

/// The whole API behind its guard; and the part that may be reached from other pods, which is its metrics.
pub fn routers(captures: Arc<Captures>, guard: GuardSettings) -> (Router, Router) {
    let metrics = Arc::new(Metrics::new(Arc::clone(&captures)));
    let state = AppState {
        captures,
        metrics,
        streams: Streams::default(),
    };
    let scraped = Guard::of_metrics(guard.token.clone());
    let of_metrics = routes().into_iter().filter(|(path, _)| *path == "/metrics");
    // No part of the API, which is described as a whole.
    let page = [("/ui/{file}", get(ui::file))];
    (
        guarded(routes().into_iter().chain(page), Guard::new(guard), state.clone()),
        guarded(of_metrics, scraped, state),
    )
}

fn guarded(
    routes: impl IntoIterator<Item = (&'static str, MethodRouter<AppState>)>,
    guard: Guard,
    state: AppState,
) -> Router {
    let routes = routes.into_iter();
    let router = routes.fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::new(guard), guard::check))
        .layer(from_fn_with_state(Arc::clone(&state.metrics), answer::complete))
        .with_state(state)
}

/// Every path with its methods. A GET that would start a capture has a HEAD of its own: the default one would run it.
fn routes() -> [(&'static str, MethodRouter<AppState>); 32] {
    [
        ("/", get(index::index)),
        ("/profile", get(profile::profile).head(profile::check)),
        ("/captures", get(captures::list).post(captures::start)),
        (
            "/captures/{id}",
            get(captures::one)
                .patch(captures::remarks::remark)
                .delete(captures::delete),
        ),
        ("/captures/{id}/stop", post(captures::stop)),
        ("/captures/{id}/artifact", get(captures::artifact)),
        ("/captures/{id}/share", get(share::share)),
        ("/captures/{id}/flame", get(flame::flame)),
        ("/captures/{id}/timeline", get(timeline::timeline)),
        ("/diff", get(diff::diff).post(diff::of_files)),
        ("/captures/{id}/events", get(captures::events::events)),
        ("/captures/{id}/export", get(captures::export::export)),
        ("/processes", get(processes::processes)),
        ("/doctor", get(doctor::doctor)),
        ("/counters", get(counters::counters).head(counters::check)),
        ("/threads", get(threads::threads).head(threads::check)),
        ("/histogram", get(histogram::histogram).head(histogram::check)),
        ("/gcdump", get(histogram::gcdump).head(histogram::check_gcdump)),
        ("/dump", post(dump::dump)),
        ("/debug/pprof/", get(pprof::index)),
        ("/debug/pprof/cmdline", get(pprof::cmdline)),
        ("/debug/pprof/symbol", get(pprof::symbol).post(pprof::symbolize)),
        // Names of a program's own profiles have slashes in them.
        ("/debug/pprof/{*profile}", get(pprof::profile).head(pprof::check)),
        ("/trace", get(dotnet_monitor::trace).head(dotnet_monitor::check_trace)),
        (
            "/livemetrics",
            get(dotnet_monitor::livemetrics).head(dotnet_monitor::check_livemetrics),
        ),
        (go_profiler::PATH, post(go_profiler::process)),
        ("/processor/goProfiler/{id}", get(go_profiler::page)),
        ("/processor/goProfiler/{id}/{part}", get(go_profiler::part)),
        ("/metrics", get(metrics::metrics)),
        ("/healthz", get(status::healthz)),
        ("/version", get(status::version)),
        ("/openapi.json", get(openapi::openapi)),
    ]
}

#[cfg(test)]
mod tests;
