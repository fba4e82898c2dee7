//! The pure core of tidings: ids, commands, decisions, and the functions that
//! decide and fold.
//!
//! Nothing in this crate does I/O, reads a clock or draws a random number. A
//! sequencer gives [`Partition::decide`] a command and the time, writes the
//! decision to the log, and every reader folds the decisions it finds there:
//! the sequencer into [`Partition`], a projection into its view (the
//! in-memory reference is [`Model`]).

mod code;
mod command;
mod content;
mod conversation;
mod decision;
mod digest;
mod fold;
mod ids;
mod model;
mod partition;
mod reader;
mod rows;
mod time;
mod wanted;
mod window;

pub use code::{Code, InputError};
pub use command::{Command, CommandBody, DeleteScope, ForwardedFrom, ReactionOp, Update};
pub use content::{
    Attachment, Content, MAX_ATTACHMENTS, MAX_EMOJI_BYTES, MAX_META_BYTES, MAX_TEXT_BYTES,
    check_emoji,
};
pub use conversation::{
    Conversation, EDIT_WINDOW_MS, Kind, MAX_CHANNEL_MEMBERS, MAX_GROUP_MEMBERS, MAX_TITLE_BYTES,
    Role, check_title,
};
pub use decision::{Change, Decision, Event, First, FirstOutcome, Member, Outcome, Own};
pub use digest::Digest;
pub use fold::{MAX_REACTIONS, Rows, Withheld};
pub use ids::{CommandKey, ConversationId, MessageId, NAMESPACE, TempId, Tenant, UserId};
pub use model::Model;
pub use partition::{Partition, Snapshot};
pub use reader::{Epoch, OwnerId, Ownership, ReaderRule, Verdict};
pub use rows::{
    ConversationRow, EditRow, EventRow, HiddenRow, MemberRow, MessageRow, Mute, OutcomeRow,
    Reaction,
};
pub use time::Timestamp;
pub use wanted::Wanted;
pub use window::{DEDUPE_WINDOW_MS, Window};
