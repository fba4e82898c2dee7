use tidings_log::LogError;
use tidings_projection::ProjectionError;
use tidings_views::StoreError;
use tidings_views::generation::{Build, Generation, Lost, NotSwitched};

use super::ViewName;

/// Why a view was not rebuilt, switched or pruned.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another process rebuilds the view now.
    #[error(
        "generation {generation} of the {view} view is being built by {by}, which has applied \
         {applied} of {total} records and was alive {ago} s ago",
        by = build.by
    )]
    Held {
        /// The view.
        view: ViewName,
        /// What is being built.
        generation: Generation,
        /// By whom.
        build: Build,
        /// Records that it has applied.
        applied: i64,
        /// Records that there are.
        total: i64,
        /// Seconds since it last said that it lives.
        ago: i64,
    },
    /// The view is paused, and so is what would build it.
    #[error(
        "the {view} view is paused, and a rebuild would only wait: {reason}; `tidings resume \
         {view}` first"
    )]
    Paused {
        /// The view.
        view: ViewName,
        /// Why it is paused.
        reason: String,
    },
    /// Another process went on with this one's generation.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// There is nothing to switch to.
    #[error(transparent)]
    NotSwitched(#[from] NotSwitched),
    /// What was built is not what it should be.
    #[error(
        "generation {generation} is not what the log says, and is not switched to: {what}; \
         `rebuild --prune` deletes it"
    )]
    Wrong {
        /// Which.
        generation: Generation,
        /// What is wrong.
        what: String,
    },
    /// The processes that keep the view do not keep the generation.
    #[error(
        "generation {generation} is complete, but the processes that keep the view do not keep it \
         in step: {why}; the same command goes on once they do"
    )]
    NotFollowed {
        /// Which.
        generation: Generation,
        /// What is known.
        why: String,
    },
    /// The view is none of documents.
    #[error(
        "the {0} view has no documents of its own, but copies of what is asked for: there is \
         nothing to compare with"
    )]
    NoDocuments(ViewName),
    /// It was told to stop.
    #[error("stopped; the same command goes on from here")]
    Stopped,
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The projection.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    /// Looking at what was built.
    #[error("cannot look at what was built: {0:#}")]
    Check(anyhow::Error),
}
