use std::collections::BTreeMap;

use serde::Serialize;

/// All that is known of a message or command.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Story {
    /// What became of it.
    pub state: State,
    /// The conversation.
    pub conversation_id: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The message, if it is about one.
    pub message_id: Option<String>,
    /// Its partition, of every topic.
    pub partition: Option<i32>,
    /// The records of commands, in the order in which they were taken.
    pub commands: Vec<CommandRecord>,
    /// The records of decisions, in the order of the log.
    pub decisions: Vec<DecisionRecord>,
    /// Records about it among the dead letters.
    pub dead_letters: Vec<DeadLetter>,
    /// What the views have of it.
    pub views: Vec<StateOfView>,
    /// How many records were read.
    pub records_read: u64,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing of it is in the log.
    #[default]
    Unknown,
    /// It is durable, and not decided.
    Pending,
    /// It was accepted.
    Delivered,
    /// It was refused.
    Rejected,
    /// It could not be read, and is among the dead letters.
    Dead,
}

impl State {
    /// As it is told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
            Self::Dead => "dead",
        }
    }
}

/// A command's record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandRecord {
    /// Its topic.
    pub topic: &'static str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When the edge took it.
    pub time: String,
    /// The id of its trace.
    pub trace_id: Option<String>,
    /// What was asked.
    pub kind: String,
    /// Who asked.
    pub sender: Option<String>,
    /// The client's id of it.
    pub temp_id: Option<String>,
    /// The message it makes or is about.
    pub message_id: Option<String>,
    /// What it says, or how long that is.
    pub text: Option<String>,
    /// Why it cannot be read.
    pub error: Option<String>,
}

/// A decision's record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionRecord {
    /// Its partition of `message.delivered`.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was decided.
    pub time: String,
    /// The id of its trace.
    pub trace_id: Option<String>,
    /// The epoch of who wrote it.
    pub epoch: u64,
    /// Who wrote it.
    pub owner: String,
    /// Whether it counts, by the reader's rule.
    pub valid: bool,
    /// The command: its topic and offset.
    pub input: String,
    /// accepted, noted, rejected, duplicate or dead.
    pub outcome: &'static str,
    /// Why it was refused.
    pub code: Option<String>,
    /// What changed.
    pub kind: Option<String>,
    /// The event's place in the conversation.
    pub seq: Option<u64>,
    /// The message's number.
    pub no: Option<u64>,
    /// Who asked.
    pub sender: Option<String>,
    /// The client's id of the command.
    pub temp_id: Option<String>,
    /// The message it made or is about.
    pub message_id: Option<String>,
    /// What it says, or how long that is.
    pub text: Option<String>,
    /// Why it cannot be read.
    pub error: Option<String>,
}

/// A record about it that a consumer could not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The topic of dead letters.
    pub topic: &'static str,
    /// The letter's partition.
    pub partition: i32,
    /// The letter's offset.
    pub offset: i64,
    /// When it was put there.
    pub time: String,
    /// The record: its topic and offset.
    pub of: String,
    /// Why.
    pub cause: String,
}

/// What a view has of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateOfView {
    /// The view.
    pub view: &'static str,
    /// Where it stands in the partition.
    pub position: Option<i64>,
    /// Whether it has come past all of these decisions.
    pub is_past: Option<bool>,
    /// Its documents.
    pub documents: Vec<ViewDocument>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// A document of a view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewDocument {
    /// Its kind.
    pub kind: &'static str,
    /// Its key.
    pub key: String,
    /// What it says, by field; texts by their lengths and hashes.
    pub fields: BTreeMap<String, String>,
}
