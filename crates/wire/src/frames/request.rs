//! The fields of the commands.

use tidings_domain::{
    Attachment, Code, Content, ConversationId, DeleteScope, InputError, Kind, MAX_CHANNEL_MEMBERS,
    MAX_GROUP_MEMBERS, MessageId, ReactionOp, Role, Update, UserId, check_emoji, check_title,
};

use super::client::Request;
use super::fields::{self, Fields};
use super::question::MAX_SEQ;
use crate::parse_time;

/// The most messages one `forward` may name.
const MAX_FORWARDED: usize = 10;
/// The most conversations one `forward` may go to.
const MAX_FORWARD_TARGETS: usize = 5;
/// How deep a `meta` may nest. It is echoed inside events and pages, which
/// JSON parsers with a recursion limit must still read.
const MAX_META_DEPTH: usize = 32;

/// Reads the fields of the command `kind`, one of the eight there are.
pub(super) fn parse(kind: &str, fields: &Fields<'_>) -> Result<Request, InputError> {
    if kind == "create" {
        return create(fields);
    }
    let conversation_id = fields.conversation_id()?;
    Ok(match kind {
        "send" => Request::Send {
            conversation_id,
            content: content(fields)?,
            reply_to: fields
                .text("reply_to")?
                .map(|text| MessageId::parse("reply_to", &text))
                .transpose()?,
        },
        "edit" => Request::Edit {
            conversation_id,
            message_id: fields.message_id("message_id")?,
            content: content(fields)?,
        },
        "delete" => Request::Delete {
            conversation_id,
            message_id: fields.message_id("message_id")?,
            scope: DeleteScope::parse(&fields.required_text("scope")?)
                .ok_or_else(|| InputError::invalid("scope", "must be everyone, purge or me"))?,
        },
        "react" => Request::React {
            conversation_id,
            message_id: fields.message_id("message_id")?,
            emoji: emoji(fields)?,
            op: ReactionOp::parse(&fields.required_text("op")?)
                .ok_or_else(|| InputError::invalid("op", "must be add or remove"))?,
        },
        "forward" => Request::Forward {
            conversation_id,
            message_ids: ids(fields, "message_ids", MAX_FORWARDED, MessageId::parse)?,
            to: ids(fields, "to", MAX_FORWARD_TARGETS, ConversationId::parse)?,
        },
        "read" => Request::Read {
            conversation_id,
            up_to: fields
                .count("up_to")?
                .ok_or_else(|| InputError::invalid("up_to", "is missing"))?
                .min(MAX_SEQ),
        },
        _ => Request::Update {
            conversation_id,
            update: update(fields)?,
        },
    })
}

fn create(fields: &Fields<'_>) -> Result<Request, InputError> {
    let kind = Kind::parse(&fields.required_text("kind")?)
        .ok_or_else(|| InputError::invalid("kind", "must be direct, group or channel"))?;
    let title = fields.text("title")?;
    if let Some(title) = &title {
        check_title(title)?;
    }
    let members = match (fields.get("members"), kind) {
        (None, Kind::Group | Kind::Channel) => Vec::new(),
        _ => members(fields)?,
    };
    let most = match kind {
        Kind::Direct | Kind::Group => MAX_GROUP_MEMBERS,
        Kind::Channel => MAX_CHANNEL_MEMBERS,
    };
    if members.len() > most {
        let message = format!("holds {}, at most {most}", members.len());
        return Err(InputError::new(Code::TooMany, "members", message));
    }
    Ok(Request::Create {
        kind,
        title: title.map(Into::into),
        members,
    })
}

fn members(fields: &Fields<'_>) -> Result<Vec<UserId>, InputError> {
    const FIELD: &str = "members";
    fields::list(FIELD, fields.required(FIELD)?)?
        .into_iter()
        .map(|raw| fields::user_id(FIELD, &fields::text(FIELD, raw)?))
        .collect()
}

fn some_members(fields: &Fields<'_>) -> Result<Vec<UserId>, InputError> {
    let members = members(fields)?;
    if members.is_empty() {
        return Err(InputError::invalid("members", "must not be empty"));
    }
    Ok(members)
}

fn update(fields: &Fields<'_>) -> Result<Update, InputError> {
    Ok(match &*fields.required_text("op")? {
        "add_members" => Update::AddMembers(some_members(fields)?),
        "remove_members" => Update::RemoveMembers(some_members(fields)?),
        "rename" => {
            let title = fields.required_text("title")?;
            check_title(&title)?;
            Update::Rename(title.into())
        }
        "set_role" => Update::SetRole {
            user_id: fields.user_id("user_id")?,
            role: Role::parse(&fields.required_text("role")?)
                .ok_or_else(|| InputError::invalid("role", "must be member, admin or owner"))?,
        },
        "leave" => Update::Leave,
        "close" => Update::Close,
        "reopen" => Update::Reopen,
        "archive" => Update::Archive,
        "unarchive" => Update::Unarchive,
        "mute" => Update::Mute {
            until: fields
                .text("until")?
                .map(|text| {
                    parse_time(&text)
                        .ok_or_else(|| InputError::invalid("until", "is not an RFC 3339 time"))
                })
                .transpose()?,
        },
        "unmute" => Update::Unmute,
        _ => return Err(InputError::invalid("op", "is none that an update has")),
    })
}

fn emoji(fields: &Fields<'_>) -> Result<String, InputError> {
    let emoji = fields.required_text("emoji")?;
    check_emoji(&emoji)?;
    Ok(emoji.into())
}

fn ids<T>(
    fields: &Fields<'_>,
    field: &'static str,
    most: usize,
    parse: impl Fn(&'static str, &str) -> Result<T, InputError>,
) -> Result<Vec<T>, InputError> {
    let items = fields::list(field, fields.required(field)?)?;
    if items.is_empty() {
        return Err(InputError::invalid(field, "must not be empty"));
    }
    if items.len() > most {
        let message = format!("holds {}, at most {most}", items.len());
        return Err(InputError::new(Code::TooMany, field, message));
    }
    items
        .into_iter()
        .map(|raw| parse(field, &fields::text(field, raw)?))
        .collect()
}

fn content(fields: &Fields<'_>) -> Result<Content, InputError> {
    let fields = Fields::nested("content", fields.required("content")?)?;
    let text = fields.required_text("text").map_err(|error| InputError {
        field: "content.text",
        ..error
    })?;
    let content = Content {
        text: text.into(),
        attachments: attachments(&fields)?,
        meta: meta(&fields)?,
    };
    content.check()?;
    Ok(content)
}

fn attachments(content: &Fields<'_>) -> Result<Vec<Attachment>, InputError> {
    const FIELD: &str = "content.attachments";
    let Some(raw) = content.get("attachments") else {
        return Ok(Vec::new());
    };
    fields::list(FIELD, raw)?
        .into_iter()
        .map(|raw| {
            let fields = Fields::nested(FIELD, raw)?;
            let named = |error| InputError {
                field: FIELD,
                ..error
            };
            let size = serde_json::from_str(fields.required("size").map_err(named)?.get());
            Ok(Attachment {
                id: fields.required_text("id").map_err(named)?.into(),
                name: fields.required_text("name").map_err(named)?.into(),
                mime: fields.required_text("mime").map_err(named)?.into(),
                size: size
                    .map_err(|_| InputError::invalid(FIELD, "size must be a whole number"))?,
            })
        })
        .collect()
}

/// The object as its text. It was skipped over so far, and is now read in
/// full: what a client's parser would not read must not reach it.
fn meta(content: &Fields<'_>) -> Result<Option<String>, InputError> {
    const FIELD: &str = "content.meta";
    let Some(raw) = content.get("meta") else {
        return Ok(None);
    };
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(InputError::invalid(FIELD, "must be an object"));
    }
    if depth(text) > MAX_META_DEPTH {
        return Err(InputError::invalid(
            FIELD,
            format!("nests deeper than {MAX_META_DEPTH}"),
        ));
    }
    if serde_json::from_str::<serde_json::Value>(text).is_err() {
        return Err(InputError::invalid(
            FIELD,
            "holds a value that JSON parsers refuse",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// How deep valid JSON nests.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}
