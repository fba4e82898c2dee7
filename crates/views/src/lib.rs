//! What people read: the history view's port, its adapters and their
//! conformance suite.

pub mod history;
