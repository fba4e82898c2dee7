use serde_json::Value;
use tidings_domain::ConversationId;

/// Something that a device was told.
pub(crate) struct Heard {
    /// When the edge wrote it, by the log.
    pub(crate) moment: u64,
    pub(crate) what: What,
}

/// What it was told. `which` is the device's number of its command.
pub(crate) enum What {
    Welcome,
    Event(Value),
    Pending {
        which: usize,
    },
    Delivered {
        which: usize,
        frame: Value,
    },
    Rejected {
        which: usize,
        frame: Value,
    },
    Changes {
        id: ConversationId,
        after: u64,
        /// How much was heard on this connection before it was asked.
        heard: usize,
        frame: Value,
    },
    Outcome {
        which: usize,
        /// When it was asked.
        asked: u64,
        item: Value,
    },
    Bye,
}
