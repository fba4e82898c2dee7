//! The declared topics: what they should be, what is to be done so that they
//! are, and doing it.
//!
//! [`Declared`] comes from `topics/*.toml`, [`Actual`] from a `Cluster`;
//! [`plan`] compares the two without any I/O, and `Cluster::apply` carries a
//! plan out, unless anything in it is refused.

#[cfg(feature = "kafka")]
mod cluster;
mod declared;
mod plan;

#[cfg(feature = "kafka")]
pub use cluster::Cluster;
pub use declared::{Declared, DeclaredTopic};
pub use plan::{Action, Actual, ActualConfig, ActualTopic, Plan, Refusal, plan};

/// Why the topics could not be read, planned or applied.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// A declaration is wrong.
    #[error("{file}: {message}")]
    Declaration {
        /// The file it stands in.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// The cluster did not answer as it should.
    #[error("Kafka: {0}")]
    Cluster(String),
    /// The plan holds refusals; nothing was done.
    #[error(
        "nothing was changed, because {0} of the changes asked for would lose or reorder events"
    )]
    Refused(usize),
}
