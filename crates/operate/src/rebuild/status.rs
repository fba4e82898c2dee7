use serde::Serialize;
use tidings_views::generation::{Generation, State};
use tidings_wire::format_time;

use super::view::offset_of;
use super::{RebuildError, View, ViewName};

/// The generations of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The view.
    pub view: ViewName,
    /// All there are.
    pub generations: Vec<GenerationStatus>,
}

/// How it stands with a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GenerationStatus {
    /// Which.
    pub generation: Generation,
    /// `building`, `built`, `serving`, `kept` or `dropping`.
    pub state: &'static str,
    /// Since when, RFC 3339; none: from the start.
    pub since: Option<String>,
    /// Records of the log that it reflects.
    pub applied: i64,
    /// Records that it is behind.
    pub behind: i64,
    /// Who builds it.
    pub by: Option<String>,
}

/// Looks at the generations of a view.
///
/// # Errors
/// [`RebuildError`].
pub async fn status(view: &View) -> Result<Status, RebuildError> {
    let register = view.store.register().await?;
    let ends = view.ends().await?;
    let mut generations = Vec::new();
    for (generation, standing) in register.generations() {
        let reached = view.reached(generation).await?;
        let (state, by) = match &standing.state {
            State::Building(build) => ("building", Some(build.by.clone())),
            State::Built(build) => ("built", Some(build.by.clone())),
            State::Serving => ("serving", None),
            State::Kept => ("kept", None),
            State::Dropping => ("dropping", None),
        };
        let at = |partition| offset_of(partition, &reached);
        generations.push(GenerationStatus {
            generation,
            state,
            since: (standing.since.0 > 0).then(|| format_time(standing.since)),
            applied: reached.iter().map(|at| at.offset).sum(),
            behind: (0..)
                .zip(&ends)
                .map(|(partition, end)| (end - at(partition)).max(0))
                .sum(),
            by,
        });
    }
    Ok(Status {
        view: view.name,
        generations,
    })
}
