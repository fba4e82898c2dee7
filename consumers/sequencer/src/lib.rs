//! Decides each command, numbers it, and writes the decision to the log.
