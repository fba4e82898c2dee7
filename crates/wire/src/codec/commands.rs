//! Commands to and from their records' values.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_domain::{
    Command, CommandBody, DeleteScope, Kind, ReactionOp, Role, TempId, Tenant, Timestamp, Update,
    UserId,
};

use super::avro::Avro;
use super::parts::{
    ContentRow, ForwardedFromRow, Id, Text, count, long, malformed, parse, required, text,
};
use super::{DecodeError, EncodeError};
use crate::Topic;

/// Defines the row of a command: the fields that all commands begin with, and
/// its own.
macro_rules! command_row {
    ($name:ident as $record:literal { $($field:ident: $type:ty,)* }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(rename = $record)]
        struct $name<'a> {
            tenant: Text<'a>,
            conversation_id: Id,
            sender: Text<'a>,
            temp_id: Text<'a>,
            at: i64,
            $($field: $type,)*
        }

        impl<'a> $name<'a> {
            #[allow(clippy::too_many_arguments, reason = "the fields of a record")]
            fn new(command: &'a Command, $($field: $type),*) -> Self {
                Self {
                    tenant: text(command.tenant.as_str()),
                    conversation_id: command.conversation_id.into(),
                    sender: text(command.sender.as_str()),
                    temp_id: text(command.temp_id.as_str()),
                    at: command.at.0,
                    $($field,)*
                }
            }

            fn command(
                self,
                body: impl FnOnce($($type),*) -> Result<CommandBody, DecodeError>,
            ) -> Result<Command, DecodeError> {
                Ok(Command {
                    tenant: Tenant::parse(&self.tenant)?,
                    conversation_id: self.conversation_id.conversation(),
                    sender: UserId::parse(&self.sender)?,
                    temp_id: TempId::parse_stored(&self.temp_id)?,
                    at: Timestamp(self.at),
                    body: body($(self.$field),*)?,
                })
            }
        }
    };
}

command_row!(SendRow as "SendCommand" {
    content: ContentRow<'a>,
    reply_to: Option<Id>,
    thread: Option<Id>,
    forwarded_from: Option<ForwardedFromRow<'a>>,
});
command_row!(EditRow as "EditCommand" {
    message_id: Id,
    content: ContentRow<'a>,
    author: Option<Text<'a>>,
    posted_at: Option<i64>,
});
command_row!(DeleteRow as "DeleteCommand" {
    message_id: Id,
    scope: Text<'a>,
    author: Option<Text<'a>>,
});
command_row!(ReactRow as "ReactCommand" {
    message_id: Id,
    emoji: Text<'a>,
    op: Text<'a>,
});
command_row!(ReadRow as "ReadCommand" {
    up_to: i64,
});
command_row!(UpdateRow as "UpdateCommand" {
    op: Text<'a>,
    kind: Option<Text<'a>>,
    title: Option<Text<'a>>,
    members: Option<Vec<Text<'a>>>,
    user_id: Option<Text<'a>>,
    role: Option<Text<'a>>,
    until: Option<i64>,
});

/// The framed value of a command's record.
pub(super) fn encode(avro: &Avro, command: &Command) -> Result<Bytes, EncodeError> {
    let topic = Topic::of_command(command);
    match &command.body {
        CommandBody::Send {
            content,
            reply_to,
            thread,
            forwarded_from,
        } => avro.write(
            topic,
            &SendRow::new(
                command,
                content.into(),
                reply_to.map(Id::from),
                thread.map(Id::from),
                forwarded_from.as_ref().map(ForwardedFromRow::from),
            ),
        ),
        CommandBody::Edit {
            message_id,
            content,
            author,
            posted_at,
        } => {
            let author = author.as_ref().map(|user| text(user.as_str()));
            let posted_at = posted_at.map(|time| time.0);
            let (id, content) = ((*message_id).into(), content.into());
            avro.write(
                topic,
                &EditRow::new(command, id, content, author, posted_at),
            )
        }
        CommandBody::Delete {
            message_id,
            scope,
            author,
        } => {
            let author = author.as_ref().map(|user| text(user.as_str()));
            let row = DeleteRow::new(command, (*message_id).into(), text(scope.as_str()), author);
            avro.write(topic, &row)
        }
        CommandBody::React {
            message_id,
            emoji,
            op,
        } => {
            let row = ReactRow::new(
                command,
                (*message_id).into(),
                text(emoji),
                text(op.as_str()),
            );
            avro.write(topic, &row)
        }
        CommandBody::Read { up_to } => avro.write(topic, &ReadRow::new(command, long(*up_to))),
        CommandBody::Create {
            kind,
            title,
            members,
        } => {
            let mut row = bare_update(command, "create");
            row.kind = Some(text(kind.as_str()));
            row.title = title.as_deref().map(text);
            row.members = Some(user_texts(members));
            avro.write(topic, &row)
        }
        CommandBody::Update(update) => avro.write(topic, &update_row(command, update)),
    }
}

fn bare_update<'a>(command: &'a Command, op: &'static str) -> UpdateRow<'a> {
    UpdateRow::new(command, text(op), None, None, None, None, None, None)
}

fn update_row<'a>(command: &'a Command, update: &'a Update) -> UpdateRow<'a> {
    let mut row = bare_update(command, update.op());
    match update {
        Update::AddMembers(users) | Update::RemoveMembers(users) => {
            row.members = Some(user_texts(users));
        }
        Update::Rename(title) => row.title = Some(text(title)),
        Update::SetRole { user_id, role } => {
            row.user_id = Some(text(user_id.as_str()));
            row.role = Some(text(role.as_str()));
        }
        Update::Mute { until } => row.until = until.map(|time| time.0),
        Update::Leave
        | Update::Close
        | Update::Reopen
        | Update::Archive
        | Update::Unarchive
        | Update::Unmute => {}
    }
    row
}

fn user_texts(users: &[UserId]) -> Vec<Text<'_>> {
    users.iter().map(|user| text(user.as_str())).collect()
}

fn users(texts: Option<Vec<Text<'_>>>) -> Result<Vec<UserId>, DecodeError> {
    required("members", texts)?
        .iter()
        .map(|user| Ok(UserId::parse(user)?))
        .collect()
}

/// Reads the framed value of a record of a command topic.
pub(super) fn decode(avro: &Avro, topic: Topic, value: &[u8]) -> Result<Command, DecodeError> {
    match topic {
        Topic::MessageSent => {
            let row: SendRow<'_> = avro.read(topic, value)?;
            row.command(|content, reply_to, thread, forwarded_from| {
                Ok(CommandBody::Send {
                    content: content.into_content(),
                    reply_to: reply_to.map(Id::message),
                    thread: thread.map(Id::message),
                    forwarded_from: forwarded_from
                        .map(ForwardedFromRow::into_forwarded_from)
                        .transpose()?,
                })
            })
        }
        Topic::MessageEdited => {
            let row: EditRow<'_> = avro.read(topic, value)?;
            row.command(|message_id, content, author, posted_at| {
                Ok(CommandBody::Edit {
                    message_id: message_id.message(),
                    content: content.into_content(),
                    author: author.map(|user| UserId::parse(&user)).transpose()?,
                    posted_at: posted_at.map(Timestamp),
                })
            })
        }
        Topic::MessageDeleted => {
            let row: DeleteRow<'_> = avro.read(topic, value)?;
            row.command(|message_id, scope, author| {
                Ok(CommandBody::Delete {
                    message_id: message_id.message(),
                    scope: parse("scope", &scope, DeleteScope::parse)?,
                    author: author.map(|user| UserId::parse(&user)).transpose()?,
                })
            })
        }
        Topic::MessageReacted => {
            let row: ReactRow<'_> = avro.read(topic, value)?;
            row.command(|message_id, emoji, op| {
                Ok(CommandBody::React {
                    message_id: message_id.message(),
                    emoji: emoji.into_owned(),
                    op: parse("op", &op, ReactionOp::parse)?,
                })
            })
        }
        Topic::MessageRead => {
            let row: ReadRow<'_> = avro.read(topic, value)?;
            row.command(|up_to| {
                Ok(CommandBody::Read {
                    up_to: count("up_to", up_to)?,
                })
            })
        }
        Topic::ConversationUpdated => {
            let row: UpdateRow<'_> = avro.read(topic, value)?;
            row.command(update_body)
        }
        _ => Err(malformed(format_args!("{topic} holds no commands"))),
    }
}

fn update_body(
    op: Text<'_>,
    kind: Option<Text<'_>>,
    title: Option<Text<'_>>,
    members: Option<Vec<Text<'_>>>,
    user_id: Option<Text<'_>>,
    role: Option<Text<'_>>,
    until: Option<i64>,
) -> Result<CommandBody, DecodeError> {
    let update = match op.as_ref() {
        "create" => {
            return Ok(CommandBody::Create {
                kind: parse("kind", &required("kind", kind)?, Kind::parse)?,
                title: title.map(Text::into_owned),
                members: users(members)?,
            });
        }
        "add_members" => Update::AddMembers(users(members)?),
        "remove_members" => Update::RemoveMembers(users(members)?),
        "rename" => Update::Rename(required("title", title)?.into_owned()),
        "set_role" => Update::SetRole {
            user_id: UserId::parse(&required("user_id", user_id)?)?,
            role: parse("role", &required("role", role)?, Role::parse)?,
        },
        "leave" => Update::Leave,
        "close" => Update::Close,
        "reopen" => Update::Reopen,
        "archive" => Update::Archive,
        "unarchive" => Update::Unarchive,
        "mute" => Update::Mute {
            until: until.map(Timestamp),
        },
        "unmute" => Update::Unmute,
        _ => return Err(malformed("op: not a value this version knows")),
    };
    Ok(CommandBody::Update(update))
}
