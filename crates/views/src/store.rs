use tidings_domain::Ownership;

/// Why a store could not do what was asked, by what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, timed out, no primary: try again.
    #[error("store unavailable: {0}")]
    Transient(String),
    /// Asks to slow down: try again later.
    #[error("store saturated: {0}")]
    Saturated(String),
    /// It will not take this row, ever: to the dead letters.
    #[error("store refused the data: {0}")]
    Data(String),
    /// Nothing will work until somebody changes something: stop.
    #[error("store unusable: {0}")]
    Fatal(String),
}

/// How far a view has come in one partition of `message.delivered`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// The next offset to apply.
    pub offset: i64,
    /// The owner at that offset, by the reader's rule.
    pub current: Option<Ownership>,
}
