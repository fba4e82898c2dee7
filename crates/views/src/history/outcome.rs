use tidings_domain::{Event, EventRow, FirstOutcome, MessageRow, OutcomeRow, TempId};

/// The outcome of the send that made a message. The id of a message is the key
/// of its command, so it was found by `temp_id` and the rest.
pub(super) fn of_message(message: &MessageRow, temp_id: TempId) -> OutcomeRow {
    OutcomeRow {
        tenant: message.tenant.clone(),
        conversation_id: message.conversation_id,
        by: message.by.clone(),
        temp_id,
        at: message.at,
        outcome: FirstOutcome::Accepted {
            seq: message.seq,
            no: Some(message.no),
        },
        message_id: Some(message.message_id),
    }
}

/// The outcome of the command that made an event.
pub(super) fn of_event(row: &EventRow) -> OutcomeRow {
    let message_id = match &row.event {
        Event::MessageSent { message_id, .. }
        | Event::MessageEdited { message_id, .. }
        | Event::MessageDeleted { message_id, .. }
        | Event::MessageReacted { message_id, .. } => Some(*message_id),
        Event::ConversationUpdated(_) => None,
    };
    OutcomeRow {
        tenant: row.tenant.clone(),
        conversation_id: row.conversation_id,
        by: row.by.clone(),
        temp_id: row.temp_id.clone(),
        at: row.at,
        outcome: FirstOutcome::Accepted {
            seq: row.seq,
            no: row.event.no(),
        },
        message_id,
    }
}
