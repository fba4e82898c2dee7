use tidings_domain::{CommandBody, Content, DeleteScope, MessageRow, ReactionOp};

use crate::plan::Ask;

/// A message that is posted, the client's `number`th command.
pub(crate) fn post(number: usize) -> CommandBody {
    CommandBody::Send {
        content: Content::text(format!("text {number}")),
        reply_to: None,
        thread: None,
        forwarded_from: None,
    }
}

/// What is asked about a message.
pub(crate) fn about(message: &MessageRow, what: Ask, number: usize) -> CommandBody {
    let message_id = message.message_id;
    let author = Some(message.by.clone());
    let delete = |scope| CommandBody::Delete {
        message_id,
        scope,
        author: author.clone(),
    };
    match what {
        Ask::Delete => delete(DeleteScope::Everyone),
        Ask::Purge => delete(DeleteScope::Purge),
        Ask::Hide => delete(DeleteScope::Me),
        Ask::React => CommandBody::React {
            message_id,
            emoji: "+1".to_owned(),
            op: ReactionOp::Add,
        },
        _ => CommandBody::Edit {
            message_id,
            content: Content::text(format!("text {number}, edited")),
            author,
            posted_at: Some(message.at),
        },
    }
}
