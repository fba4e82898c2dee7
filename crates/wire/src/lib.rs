//! Avro records and socket frames, to and from the domain.
//!
//! * [`Topic`], [`Record`], [`Headers`]: what stands in the log.
//! * [`Codec`]: domain values to records and back, in Avro with Confluent's
//!   framing, schemas from a registry or from the committed lock file.
//! * [`Delivered`], [`DeliveredStream`]: `message.delivered` read by the
//!   reader's rule.
//! * `schemas`: the schemas as such, for who changes or registers them.
//! * [`frames`]: the socket protocol's frames.

mod codec;
mod delivered;
pub mod frames;
mod headers;
mod partitioner;
mod record;
#[cfg(feature = "registry")]
pub mod schemas;
mod state;
mod time;
mod topic;

pub use codec::{Codec, DecodeError, EncodeError};
#[cfg(feature = "registry")]
pub use codec::{RegistryConfig, RegistryError};
pub use delivered::{
    Delivered, DeliveredBody, DeliveredStream, Input, Judged, Marked, delivered_header,
};
pub use headers::{HeaderName, Headers, TraceParent, names};
pub use partitioner::partition_of;
pub use record::{Record, Stored};
pub use state::StateEntry;
pub use time::{format_time, parse_time};
pub use topic::Topic;
