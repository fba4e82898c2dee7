//! The socket protocol's frames (`tidings.v1`).
