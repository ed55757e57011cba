//! Liveness and build.

use axum::Json;
use serde::Serialize;

/// Answers as long as the server runs; needs no token.
#[utoipa::path(get, path = "/healthz", tag = "server",
    responses((status = 200, description = "alive", content_type = "text/plain", body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The build.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Version {
    /// `sideflame`.
    name: &'static str,
    /// Semantic version.
    version: &'static str,
    /// E.g. `x86_64`.
    architecture: &'static str,
}

/// Which build this is.
#[utoipa::path(get, path = "/version", tag = "server", responses((status = 200, description = "the build", body = Version)))]
pub(super) async fn version() -> Json<Version> {
    Json(Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        architecture: std::env::consts::ARCH,
    })
}
