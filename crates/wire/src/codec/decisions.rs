//! Decisions to and from their records' values.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_domain::{
    Change, Code, ConversationId, Decision, DeleteScope, Event, First, FirstOutcome, Kind, Member,
    Outcome, Own, ReactionOp, Role, TempId, Tenant, Timestamp, UserId,
};

use super::avro::Avro;
use super::parts::{
    ContentRow, ForwardedFromRow, Id, Text, count, long, malformed, parse, required, text,
};
use super::{DecodeError, EncodeError};
use crate::{DeliveredBody, Topic};

const ACCEPTED: &str = "accepted";
const REJECTED: &str = "rejected";
const DUPLICATE: &str = "duplicate";
const DEAD: &str = "dead";

#[derive(Serialize, Deserialize)]
#[serde(rename = "Decision")]
struct DecisionRow<'a> {
    tenant: Option<Text<'a>>,
    conversation_id: Option<Id>,
    sender: Option<Text<'a>>,
    temp_id: Option<Text<'a>>,
    message_id: Option<Id>,
    outcome: Text<'a>,
    code: Option<Text<'a>>,
    seq: Option<i64>,
    no: Option<i64>,
    at: i64,
    first_outcome: Option<Text<'a>>,
    first_at: Option<i64>,
    event: Option<EventRow<'a>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename = "Event")]
struct EventRow<'a> {
    kind: Text<'a>,
    message_id: Option<Id>,
    no: Option<i64>,
    content: Option<ContentRow<'a>>,
    reply_to: Option<Id>,
    thread: Option<Id>,
    forwarded_from: Option<ForwardedFromRow<'a>>,
    scope: Option<Text<'a>>,
    emoji: Option<Text<'a>>,
    op: Option<Text<'a>>,
    conversation: Option<ConversationRow<'a>>,
    members: Option<Vec<MemberRow<'a>>>,
    user_id: Option<Text<'a>>,
    role: Option<Text<'a>>,
    title: Option<Text<'a>>,
    up_to: Option<i64>,
    until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Conversation")]
struct ConversationRow<'a> {
    kind: Text<'a>,
    title: Option<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Member")]
struct MemberRow<'a> {
    user_id: Text<'a>,
    role: Option<Text<'a>>,
}

/// The framed value of a decision's record.
pub(super) fn encode(avro: &Avro, decision: &Decision) -> Result<Bytes, EncodeError> {
    avro.write(Topic::MessageDelivered, &DecisionRow::from(decision))
}

/// What can be told of a command that went to the dead letters.
pub(super) fn encode_dead(
    avro: &Avro,
    tenant: Option<&str>,
    conversation_id: Option<ConversationId>,
    at: Timestamp,
) -> Result<Bytes, EncodeError> {
    let row = DecisionRow {
        tenant: tenant.map(text),
        conversation_id: conversation_id.map(Id::from),
        sender: None,
        temp_id: None,
        message_id: None,
        outcome: text(DEAD),
        code: None,
        seq: None,
        no: None,
        at: at.0,
        first_outcome: None,
        first_at: None,
        event: None,
    };
    avro.write(Topic::MessageDelivered, &row)
}

/// Reads the framed value of a record of `message.delivered`.
pub(super) fn decode(avro: &Avro, value: &[u8]) -> Result<DeliveredBody, DecodeError> {
    let row: DecisionRow<'_> = avro.read(Topic::MessageDelivered, value)?;
    let tenant = row.tenant.as_deref().map(Tenant::parse).transpose()?;
    let sender = row.sender.as_deref().map(UserId::parse).transpose()?;
    let temp_id = row
        .temp_id
        .as_deref()
        .map(TempId::parse_stored)
        .transpose()?;
    let conversation_id = row.conversation_id.map(Id::conversation);
    let at = Timestamp(row.at);
    if row.outcome == DEAD {
        return Ok(DeliveredBody::Dead {
            tenant,
            conversation_id,
            sender,
            temp_id,
            at,
        });
    }
    Ok(DeliveredBody::Decision(Decision {
        tenant: required("tenant", tenant)?,
        conversation_id: required("conversation_id", conversation_id)?,
        sender: required("sender", sender)?,
        temp_id: required("temp_id", temp_id)?,
        message_id: row.message_id.map(Id::message),
        at,
        outcome: row.outcome()?,
    }))
}

impl<'a> From<&'a Decision> for DecisionRow<'a> {
    fn from(decision: &'a Decision) -> Self {
        let mut row = Self {
            tenant: Some(text(decision.tenant.as_str())),
            conversation_id: Some(decision.conversation_id.into()),
            sender: Some(text(decision.sender.as_str())),
            temp_id: Some(text(decision.temp_id.as_str())),
            message_id: decision.message_id.map(Id::from),
            outcome: text(ACCEPTED),
            code: None,
            seq: None,
            no: None,
            at: decision.at.0,
            first_outcome: None,
            first_at: None,
            event: None,
        };
        match &decision.outcome {
            Outcome::Accepted { seq, event } => {
                row.seq = Some(long(*seq));
                row.no = event.no().map(long);
                row.event = Some(event.into());
            }
            // Accepted, with a change and without a seq.
            Outcome::Noted(own) => row.event = Some(own.into()),
            Outcome::Rejected(code) => {
                row.outcome = text(REJECTED);
                row.code = Some(text(code.as_str()));
            }
            Outcome::Duplicate(first) => row.duplicate(first),
        }
        row
    }
}

impl DecisionRow<'_> {
    fn duplicate(&mut self, first: &First) {
        self.outcome = text(DUPLICATE);
        // The domain's way to say that the time is not remembered.
        self.first_at = (first.at != Timestamp::default()).then_some(first.at.0);
        match first.outcome {
            FirstOutcome::Accepted { seq, no } => {
                self.first_outcome = Some(text(ACCEPTED));
                self.seq = Some(long(seq));
                self.no = no.map(long);
            }
            FirstOutcome::Noted => self.first_outcome = Some(text(ACCEPTED)),
            FirstOutcome::Rejected(code) => {
                self.first_outcome = Some(text(REJECTED));
                self.code = Some(text(code.as_str()));
            }
        }
    }

    fn outcome(self) -> Result<Outcome, DecodeError> {
        match self.outcome.as_ref() {
            ACCEPTED => {
                let seq = self.seq()?;
                let event = required("event", self.event)?;
                match seq {
                    Some(seq) => event
                        .into_event()
                        .map(|event| Outcome::Accepted { seq, event }),
                    None => event.into_own().map(Outcome::Noted),
                }
            }
            REJECTED => Ok(Outcome::Rejected(self.code()?)),
            DUPLICATE => {
                let outcome = match required("first_outcome", self.first_outcome.as_deref())? {
                    ACCEPTED => match self.seq()? {
                        Some(seq) => FirstOutcome::Accepted {
                            seq,
                            no: self.no.map(|no| count("no", no)).transpose()?,
                        },
                        None => FirstOutcome::Noted,
                    },
                    REJECTED => FirstOutcome::Rejected(self.code()?),
                    _ => return Err(malformed("first_outcome: neither accepted nor rejected")),
                };
                let at = self.first_at.map(Timestamp).unwrap_or_default();
                Ok(Outcome::Duplicate(First { outcome, at }))
            }
            _ => Err(malformed("outcome: not a value this version knows")),
        }
    }

    fn seq(&self) -> Result<Option<u64>, DecodeError> {
        self.seq.map(|seq| count("seq", seq)).transpose()
    }

    fn code(&self) -> Result<Code, DecodeError> {
        parse("code", required("code", self.code.as_deref())?, Code::parse)
    }
}

impl<'a> From<&'a Event> for EventRow<'a> {
    fn from(event: &'a Event) -> Self {
        let mut row = Self {
            kind: text(event.kind()),
            ..Self::default()
        };
        match event {
            Event::MessageSent {
                message_id,
                no,
                content,
                reply_to,
                thread,
                forwarded_from,
            } => {
                row.message_id = Some((*message_id).into());
                row.no = Some(long(*no));
                row.content = Some(content.into());
                row.reply_to = reply_to.map(Id::from);
                row.thread = thread.map(Id::from);
                row.forwarded_from = forwarded_from.as_ref().map(ForwardedFromRow::from);
            }
            Event::MessageEdited {
                message_id,
                content,
            } => {
                row.message_id = Some((*message_id).into());
                row.content = Some(content.into());
            }
            Event::MessageDeleted { message_id, scope } => {
                row.message_id = Some((*message_id).into());
                row.scope = Some(text(scope.as_str()));
            }
            Event::MessageReacted {
                message_id,
                emoji,
                op,
            } => {
                row.message_id = Some((*message_id).into());
                row.emoji = Some(text(emoji));
                row.op = Some(text(op.as_str()));
            }
            Event::ConversationUpdated(change) => row.change(change),
        }
        row
    }
}

impl<'a> From<&'a Own> for EventRow<'a> {
    fn from(own: &'a Own) -> Self {
        let mut row = Self {
            kind: text(own.kind()),
            ..Self::default()
        };
        match own {
            Own::Read { up_to } => row.up_to = Some(long(*up_to)),
            Own::Hide(message_id) => {
                row.message_id = Some((*message_id).into());
                row.scope = Some(text(DeleteScope::Me.as_str()));
            }
            Own::Mute { until } => {
                row.op = Some(text(own.op()));
                row.until = until.map(|time| time.0);
            }
            Own::Archive | Own::Unarchive | Own::Unmute => row.op = Some(text(own.op())),
        }
        row
    }
}

impl<'a> EventRow<'a> {
    /// A change without a seq.
    fn into_own(self) -> Result<Own, DecodeError> {
        match (
            self.kind.as_ref(),
            self.scope.as_deref(),
            self.op.as_deref(),
        ) {
            ("message.read", _, _) => Ok(Own::Read {
                up_to: count("event.up_to", required("event.up_to", self.up_to)?)?,
            }),
            ("message.deleted", Some("me"), _) => {
                let message_id = required("event.message_id", self.message_id)?;
                Ok(Own::Hide(message_id.message()))
            }
            ("conversation.updated", _, Some("archive")) => Ok(Own::Archive),
            ("conversation.updated", _, Some("unarchive")) => Ok(Own::Unarchive),
            ("conversation.updated", _, Some("mute")) => Ok(Own::Mute {
                until: self.until.map(Timestamp),
            }),
            ("conversation.updated", _, Some("unmute")) => Ok(Own::Unmute),
            _ => Err(malformed("event: no change of this kind is without a seq")),
        }
    }

    fn change(&mut self, change: &'a Change) {
        self.op = Some(text(change.op()));
        match change {
            Change::Create {
                kind,
                title,
                members,
            } => {
                self.conversation = Some(ConversationRow {
                    kind: text(kind.as_str()),
                    title: title.as_deref().map(text),
                });
                let rows = members
                    .iter()
                    .map(|it| member_row(&it.user_id, Some(it.role)));
                self.members = Some(rows.collect());
            }
            Change::AddMembers(users) => {
                let rows = users
                    .iter()
                    .map(|user| member_row(user, Some(Role::Member)));
                self.members = Some(rows.collect());
            }
            Change::RemoveMembers(users) => {
                self.members = Some(users.iter().map(|user| member_row(user, None)).collect());
            }
            Change::Rename(title) => self.title = Some(text(title)),
            Change::SetRole { user_id, role } => {
                self.user_id = Some(text(user_id.as_str()));
                self.role = Some(text(role.as_str()));
            }
            Change::Leave | Change::Close | Change::Reopen => {}
        }
    }

    fn into_event(self) -> Result<Event, DecodeError> {
        let message_id = || required("event.message_id", self.message_id).map(Id::message);
        match self.kind.as_ref() {
            "message.sent" => Ok(Event::MessageSent {
                message_id: message_id()?,
                no: count("event.no", required("event.no", self.no)?)?,
                content: required("event.content", self.content)?.into_content(),
                reply_to: self.reply_to.map(Id::message),
                thread: self.thread.map(Id::message),
                forwarded_from: self
                    .forwarded_from
                    .map(ForwardedFromRow::into_forwarded_from)
                    .transpose()?,
            }),
            "message.edited" => Ok(Event::MessageEdited {
                message_id: message_id()?,
                content: required("event.content", self.content)?.into_content(),
            }),
            "message.deleted" => Ok(Event::MessageDeleted {
                message_id: message_id()?,
                scope: required("event.scope", self.scope.as_deref())
                    .and_then(|scope| parse("event.scope", scope, DeleteScope::parse))?,
            }),
            "message.reacted" => Ok(Event::MessageReacted {
                message_id: message_id()?,
                op: required("event.op", self.op.as_deref())
                    .and_then(|op| parse("event.op", op, ReactionOp::parse))?,
                emoji: required("event.emoji", self.emoji)?.into_owned(),
            }),
            "conversation.updated" => self.into_change().map(Event::ConversationUpdated),
            _ => Err(malformed("event.kind: not a value this version knows")),
        }
    }

    fn into_change(self) -> Result<Change, DecodeError> {
        match required("event.op", self.op.as_deref())? {
            "create" => {
                let conversation = required("event.conversation", self.conversation)?;
                let members = required("event.members", self.members)?;
                Ok(Change::Create {
                    kind: parse("event.conversation.kind", &conversation.kind, Kind::parse)?,
                    title: conversation.title.map(Cow::into_owned),
                    members: members
                        .iter()
                        .map(MemberRow::member)
                        .collect::<Result<_, _>>()?,
                })
            }
            "add_members" => users(self.members).map(Change::AddMembers),
            "remove_members" => users(self.members).map(Change::RemoveMembers),
            "rename" => Ok(Change::Rename(
                required("event.title", self.title)?.into_owned(),
            )),
            "set_role" => Ok(Change::SetRole {
                user_id: UserId::parse(&required("event.user_id", self.user_id)?)?,
                role: parse(
                    "event.role",
                    &required("event.role", self.role)?,
                    Role::parse,
                )?,
            }),
            "leave" => Ok(Change::Leave),
            "close" => Ok(Change::Close),
            "reopen" => Ok(Change::Reopen),
            _ => Err(malformed("event.op: not a value this version knows")),
        }
    }
}

fn member_row(user: &UserId, role: Option<Role>) -> MemberRow<'_> {
    MemberRow {
        user_id: text(user.as_str()),
        role: role.map(|role| text(role.as_str())),
    }
}

impl MemberRow<'_> {
    fn member(&self) -> Result<Member, DecodeError> {
        let role = required("event.members.role", self.role.as_deref())?;
        Ok(Member {
            user_id: UserId::parse(&self.user_id)?,
            role: parse("event.members.role", role, Role::parse)?,
        })
    }
}

fn users(members: Option<Vec<MemberRow<'_>>>) -> Result<Vec<UserId>, DecodeError> {
    let members = required("event.members", members)?;
    members
        .iter()
        .map(|member| Ok(UserId::parse(&member.user_id)?))
        .collect()
}
