//! Builds a view anew beside the one that is read, and switches to it.
//!
//! A rebuild begins a generation of the view, fills it from the beginning of
//! `message.delivered` by a consumer of its own, catches up with the live end,
//! has it looked at, hands it over to those who keep the view in step, and only
//! then switches what is read: one write. What was read before stays and is
//! kept in step, to be switched back to ([`rollback`]) until it is deleted
//! ([`prune`]).
//!
//! Where a generation stands is kept in it, and what becomes of it in the
//! store's register; so a rebuild that ends anywhere, in any way, is gone on
//! with by the next one.

mod build;
mod error;
mod handover;
mod holder;
mod measure;
mod progress;
mod prune;
mod rollback;
mod status;
mod view;

pub use build::{RebuildOptions, Rebuilt, rebuild};
pub use error::RebuildError;
pub use measure::{Measured, measure};
pub use progress::{Phase, Progress};
pub use prune::{Pruned, prune};
pub use rollback::{RolledBack, rollback};
pub use status::{GenerationStatus, Status, status};
pub use view::{Check, View, ViewName};
