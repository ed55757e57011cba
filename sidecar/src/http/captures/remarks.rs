//! `PATCH /captures/{id}`: what people say of a capture.

use axum::Json;
use axum::extract::{Request, State};

use super::{CaptureView, Id, json, known};
use crate::capture::remarks::RemarksChange;
use crate::http::problem::ProblemBody;
use crate::http::{AppState, Problem};

/// Gives a capture a name or a note, or pins it: then it is neither evicted nor does it expire.
///
/// Half of the captures and of the bytes of the store may be pinned. Who unpins a capture has it expire as if it had ended now.
#[utoipa::path(patch, path = "/captures/{id}", tag = "captures", params(("id" = String, Path)),
    request_body(content = RemarksChange, content_type = "application/json"),
    responses(
        (status = 200, description = "as it is now", body = CaptureView),
        (status = 404, description = "unknown or expired", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "it still runs, or enough is pinned", body = ProblemBody, content_type = "application/problem+json"),
        (status = "4XX", description = "see code and remedy", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(in crate::http) async fn remark(
    State(state): State<AppState>,
    id: Id,
    request: Request,
) -> Result<Json<CaptureView>, Problem> {
    let body = json(request).await?;
    let change: RemarksChange =
        serde_json::from_slice(&body).map_err(|error| Problem::malformed_remarks(error.to_string()))?;
    Ok(CaptureView::of(&*state.captures.remark(&known(id)?, &change)?))
}
