use axum::Json;
use tidings_domain::{Code, TempId};
use tidings_edge::Caller;

use crate::document::ReadProblems;
use crate::problem::Problem;
use crate::request::{Segments, conversation_id};
use crate::types::OutcomeBody;

/// Ask what became of a command
///
/// Of the caller's own, by its Idempotency-Key. `not_found` says that it never
/// became durable: it is safe to send again.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}/outcomes/{temp_id}",
    tag = "outcomes",
    params(
        ("conversation_id" = String, Path, format = "uuid"),
        ("temp_id" = String, Path, description = "The command's Idempotency-Key",
         pattern = "^[ -~]{1,67}$"),
    ),
    responses((status = 200, description = "The outcome", body = OutcomeBody), ReadProblems)
)]
pub(super) async fn get(
    caller: Caller,
    Segments((id, temp_id)): Segments<(String, String)>,
) -> Result<Json<OutcomeBody>, Problem> {
    let id = conversation_id(&id)?;
    // A forward's commands have longer ids than a client may choose.
    let temp_id = TempId::parse_stored(&temp_id)?;
    let asked = [(id, temp_id)];
    let states = caller.outcomes(&asked).await?;
    let (_, temp_id) = &asked[0];
    let found = states
        .into_iter()
        .next()
        .and_then(|state| OutcomeBody::of(id, temp_id, state));
    let unknown = || Problem::of(Code::NotFound, "There is no such command of yours.");
    found.map(Json).ok_or_else(unknown)
}
