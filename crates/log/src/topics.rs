//! The declared topics.
