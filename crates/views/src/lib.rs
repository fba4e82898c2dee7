//! What people read: the history view's port, its adapters and their
//! conformance suite.

pub mod audit;
pub mod bulk;
pub mod cache;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod generation;
pub mod history;
pub mod search;
mod sqlite_file;
mod store;

pub use store::{Position, StoreError};
