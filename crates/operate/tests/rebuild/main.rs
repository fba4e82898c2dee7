//! Rebuilding views on Kafka, a schema registry and real stores, while they are
//! written and read.

mod cluster;
mod stores;
mod world;
