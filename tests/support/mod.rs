//! A whole cluster of real processes, and a checker of what its log holds.

#![allow(dead_code, reason = "each file of tests uses some of it")]

pub(crate) mod asyncapi;
pub(crate) mod cluster;
pub(crate) mod history;
pub(crate) mod installed;
pub(crate) mod traffic;
