//! What operators do with the log and its views. The `tidings` command is a
//! thin layer above: arguments, printing, exit codes.

pub mod backup;
pub mod dead;
mod lag;
pub mod rebuild;
pub mod replay;
pub mod reset;

pub use lag::{
    ConsumerLag, ConsumerState, LagMeter, LagReport, PartitionLag, PausedConsumer, Thresholds,
};
pub mod explain;
pub mod verify;
