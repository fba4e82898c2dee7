//! What every store of the history view must do, checked against the
//! in-memory [`Model`](tidings_domain::Model).
//!
//! Each check takes a store that is prepared and empty, and panics where the
//! store is wrong.

mod answers;
mod decisions;
mod writing;

use async_trait::async_trait;
use tidings_domain::Model;

pub use answers::{answers_like_the_model, keeps_tenants_apart, pages_lists};
pub use decisions::{Decisions, Random};
pub use writing::{keeps_positions, mends_whatever_stopped_it, project};

use crate::history::{HistoryReader, HistoryWriter, StoreError};

/// A store that can show all it holds.
#[async_trait]
pub trait Dump: HistoryWriter + HistoryReader {
    /// Everything but the positions, whoever's it is.
    async fn dump(&self) -> Result<Model, StoreError>;
}
