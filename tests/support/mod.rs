//! A whole cluster of real processes, and a checker of what its log holds.

pub(crate) mod cluster;
pub(crate) mod history;
