//! `GET /`: what can be asked for, for people with curl; made from the OpenAPI document.

use super::openapi::document;

/// The requests there are, one per line.
#[utoipa::path(get, path = "/", tag = "server",
    responses((status = 200, description = "one request per line", content_type = "text/plain", body = String)))]
pub(super) async fn index() -> String {
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
