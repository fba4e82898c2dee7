//! Projects `message.delivered` into the history view.
//!
//! [`Projection`] reads the log on a thread of its own, folds each batch of
//! valid decisions into the rows of the view, and writes them together with
//! the position after them. What it cannot apply goes to `dead.history`.

mod apply;
mod config;
mod connect;
mod dead;
mod fold;
mod intake;
mod ledger;
mod meter;
mod outage;
mod pause;
mod projection;
mod step;
mod worker;

pub use config::Config;
pub use connect::connect;
pub use projection::{Projection, ProjectionError};
