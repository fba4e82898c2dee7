//! Reads `message.delivered` and keeps a [`View`] in step with it.
//!
//! [`Projection`] reads the log on a thread of its own, judges each record by
//! the reader's rule, and gives the view batches of valid decisions together
//! with the positions after them. It waits for a store that is down, finds the
//! decision that a store refuses, and puts what cannot be applied among the
//! dead letters. [`Keeper`] runs one for each generation of a view.
//! [`process`] is what the binaries of all projections share.

mod apply;
mod dead;
mod fixed;
mod intake;
mod keeper;
mod lag;
mod ledger;
mod meter;
mod outage;
mod pause;
pub mod process;
mod projection;
mod step;
mod throttle;
mod view;
mod worker;

pub use keeper::Keeper;
pub use projection::{ByTurns, Projection, ProjectionError};
pub use throttle::Throttle;
pub use view::{Entry, Refused, View};
