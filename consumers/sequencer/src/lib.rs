//! The sequencer: decides each command, numbers it, and writes the decision
//! to `message.delivered`.
//!
//! * [`Sequencer`] is the loop, on a thread of its own, over any log.
//! * `claim` gains a partition: it folds what the log holds (`fold`, helped
//!   by what `saved` finds in `conversation.state`), appends a claim, and
//!   folds on up to it.
//! * `owned` decides the commands of a partition that was gained.
//! * `checkpoint` saves the state of an owned partition now and then.
//!
//! Not here on purpose: a consumer of its own output. An owner knows from the
//! offsets of its acknowledged records whether it still is the owner.

mod args;
mod checkpoint;
mod claim;
mod clock;
mod context;
mod error;
mod fold;
mod inputs;
mod metrics;
mod options;
mod owned;
mod saved;
mod sequencer;
mod thread;

pub use args::SequencerArgs;
pub use clock::Clock;
pub use error::SequencerError;
pub use options::SequencerOptions;
pub use sequencer::{Parts, Sequencer};
pub use thread::SequencerHandle;
