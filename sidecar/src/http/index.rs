//! `GET /`: the page for browsers, and for people with curl what can be asked for, made from the OpenAPI document.

use axum::http::HeaderMap;
use axum::http::header::VARY;
use axum::response::{IntoResponse, Response};

use super::openapi::document;
use super::ui;

/// The requests there are, one per line; with Accept: text/html the web page.
#[utoipa::path(get, path = "/", tag = "server",
    responses((status = 200, description = "one request per line, or the page",
        content((String = "text/plain"), (String = "text/html")))))]
pub(super) async fn index(headers: HeaderMap) -> Response {
    ui::page(&headers).unwrap_or_else(|| ([(VARY, "Accept")], requests()).into_response())
}

fn requests() -> String {
    let mut text = format!("sideflame {}\n\n", env!("CARGO_PKG_VERSION"));
    for (path, item) in document().paths.paths {
        for (method, operation) in [("GET", item.get), ("POST", item.post), ("DELETE", item.delete)] {
            let Some(operation) = operation else { continue };
            let summary = operation.summary.unwrap_or_default();
            text.push_str(format!("{method:<6} {path:<24}  {summary}").trim_end());
            text.push('\n');
        }
    }
    text.push_str("\ncurl -o flame.svg 'localhost:7117/profile?seconds=30'\n");
    text
}
