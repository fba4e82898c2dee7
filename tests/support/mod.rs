//! A whole cluster of real processes, and a checker of what its log holds.

pub mod cluster;
pub mod history;
