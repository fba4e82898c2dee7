//! Values as they are stored: JSON, without what the key says.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tidings_domain::{
    ConversationId, ConversationRow, MemberRow, MessageId, MessageRow, Mute, Tenant, Timestamp,
    UserId,
};
use uuid::Uuid;

use super::Key;
use crate::history::document::{
    self, ContentDocument, ForwardedDocument, ReactionDocument, Unreadable,
};

/// A conversation and its last message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) conversation: ConversationRow,
    pub(super) last_message: Option<MessageRow>,
}

/// The newest messages of a conversation, newest first and without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) messages: Vec<MessageRow>,
}

impl Recent {
    /// Whether there are no older ones.
    pub(super) fn is_all(&self) -> bool {
        self.messages.last().is_none_or(|oldest| oldest.no == 1)
    }

    pub(super) fn is_gapless(&self) -> bool {
        let pairs = self.messages.windows(2);
        pairs
            .into_iter()
            .all(|pair| pair[0].no == pair[1].no.saturating_add(1))
    }

    /// With these rows as they are now, and no more than `most` messages. None
    /// where one between them is missing.
    pub(super) fn amended(
        mut self,
        id: ConversationId,
        rows: Vec<MessageRow>,
        most: usize,
    ) -> Option<Self> {
        let is_all = self.is_all();
        let oldest = self.messages.last().map_or(0, |oldest| oldest.no);
        for row in rows.into_iter().filter(|row| row.conversation_id == id) {
            let mut known = self.messages.iter_mut();
            match known.find(|known| known.message_id == row.message_id) {
                Some(known) => *known = row,
                None if is_all || row.no > oldest => self.messages.push(row),
                None => {}
            }
        }
        self.messages.sort_by_key(|row| std::cmp::Reverse(row.no));
        self.messages.truncate(most);
        self.is_gapless().then_some(self)
    }
}

/// What a user has deleted for themselves of a conversation's messages, those
/// to come among them: only another deletion changes it. None: too many to be
/// kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hidden(pub(super) Option<Vec<Uuid>>);

/// The members of a conversation, by user id; none: too many to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members(pub(super) Option<Vec<MemberRow>>);

impl Members {
    /// These with some rows as they are now; none, if there are more than
    /// `most`.
    pub(super) fn amended(mut members: Vec<MemberRow>, rows: Vec<MemberRow>, most: usize) -> Self {
        for row in rows {
            members.retain(|member| member.user_id != row.user_id);
            if row.role.is_some() {
                members.push(row);
            }
        }
        members.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        Self((members.len() <= most).then_some(members))
    }
}

/// A user's place in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) member: MemberRow,
    /// The conversation's last message when this was read.
    pub(super) last_no: u64,
    /// Whether the user has deleted that one for themselves.
    pub(super) hides_last: bool,
}

/// A user's places; none: too many to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places(pub(super) Option<Vec<Place>>);

/// A value of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Head(Box<Head>),
    Recent(Recent),
    Members(Members),
    Hidden(Hidden),
    Places(Places),
}

impl Value {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Head(head) => head.encode(),
            Self::Recent(recent) => recent.encode(),
            Self::Members(members) => members.encode(),
            Self::Hidden(hidden) => hidden.encode(),
            Self::Places(places) => places.encode(),
        }
    }

    /// None for what cannot be read: it is as good as not there.
    pub(super) fn decode(value: &[u8], key: &Key) -> Option<Self> {
        Some(match key {
            Key::Head(tenant, id) => Self::Head(Box::new(Head::decode(value, tenant, *id)?)),
            Key::Recent(tenant, id) => Self::Recent(Recent::decode(value, tenant, *id)?),
            Key::Members(tenant, _) => Self::Members(Members::decode(value, tenant)?),
            Key::Hidden(..) => Self::Hidden(Hidden::decode(value)?),
            Key::Places(tenant, _) => Self::Places(Places::decode(value, tenant)?),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct MessageDocument<'a> {
    id: Uuid,
    no: u64,
    seq: u64,
    rev: u64,
    by: Cow<'a, str>,
    at: i64,
    content: Option<ContentDocument<'a>>,
    reply_to: Option<Uuid>,
    thread: Option<Uuid>,
    forwarded_from: Option<ForwardedDocument<'a>>,
    edited_at: Option<i64>,
    deleted: Option<Cow<'a, str>>,
    reactions: Vec<ReactionDocument<'a>>,
    replies: u64,
}

impl<'a> From<&'a MessageRow> for MessageDocument<'a> {
    fn from(row: &'a MessageRow) -> Self {
        Self {
            id: row.message_id.0,
            no: row.no,
            seq: row.seq,
            rev: row.rev,
            by: row.by.as_str().into(),
            at: row.at.0,
            content: row.content.as_ref().map(Into::into),
            reply_to: row.reply_to.map(|id| id.0),
            thread: row.thread.map(|id| id.0),
            forwarded_from: row.forwarded_from.as_ref().map(Into::into),
            edited_at: row.edited_at.map(|at| at.0),
            deleted: row.deleted.map(|scope| scope.as_str().into()),
            reactions: document::reactions(&row.reactions),
            replies: row.replies,
        }
    }
}

impl MessageDocument<'_> {
    fn row(self, tenant: &Tenant, id: ConversationId) -> Result<MessageRow, Unreadable> {
        let deleted = self.deleted.as_deref().map(document::delete_scope);
        Ok(MessageRow {
            message_id: MessageId(self.id),
            conversation_id: id,
            tenant: tenant.clone(),
            no: self.no,
            seq: self.seq,
            rev: self.rev,
            by: document::user_id(&self.by)?,
            at: Timestamp(self.at),
            content: self.content.map(Into::into),
            reply_to: self.reply_to.map(MessageId),
            thread: self.thread.map(MessageId),
            forwarded_from: self.forwarded_from.map(TryInto::try_into).transpose()?,
            edited_at: self.edited_at.map(Timestamp),
            deleted: deleted.transpose()?,
            reactions: document::read_reactions(self.reactions)?,
            replies: self.replies,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct HeadDocument<'a> {
    kind: Cow<'a, str>,
    title: Option<Cow<'a, str>>,
    closed: bool,
    created_at: i64,
    last_at: i64,
    last_seq: u64,
    last_no: u64,
    last_message_id: Option<Uuid>,
    last_message: Option<MessageDocument<'a>>,
}

#[derive(Serialize, Deserialize)]
struct MuteDocument {
    until: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct MemberDocument<'a> {
    conversation: Uuid,
    user: Cow<'a, str>,
    role: Option<Cow<'a, str>>,
    read_no: u64,
    rev: u64,
    archived: bool,
    muted: Option<MuteDocument>,
    settings_rev: i64,
}

impl<'a> From<&'a MemberRow> for MemberDocument<'a> {
    fn from(row: &'a MemberRow) -> Self {
        Self {
            conversation: row.conversation_id.0,
            user: row.user_id.as_str().into(),
            role: row.role.map(|role| role.as_str().into()),
            read_no: row.read_no,
            rev: row.rev,
            archived: row.archived,
            muted: row.muted.map(|mute| MuteDocument {
                until: mute.until.map(|until| until.0),
            }),
            settings_rev: row.settings_rev,
        }
    }
}

impl MemberDocument<'_> {
    fn row(self, tenant: &Tenant) -> Result<MemberRow, Unreadable> {
        let mute = |mute: MuteDocument| Mute {
            until: mute.until.map(Timestamp),
        };
        Ok(MemberRow {
            conversation_id: ConversationId(self.conversation),
            user_id: document::user_id(&self.user)?,
            tenant: tenant.clone(),
            role: self.role.as_deref().map(document::role).transpose()?,
            read_no: self.read_no,
            rev: self.rev,
            archived: self.archived,
            muted: self.muted.map(mute),
            settings_rev: self.settings_rev,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct PlaceDocument<'a> {
    #[serde(flatten)]
    member: MemberDocument<'a>,
    last_no: u64,
    hides_last: bool,
}

impl<'a> From<&'a Place> for PlaceDocument<'a> {
    fn from(place: &'a Place) -> Self {
        Self {
            member: (&place.member).into(),
            last_no: place.last_no,
            hides_last: place.hides_last,
        }
    }
}

fn encode(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("rows hold only what JSON can say")
}

/// None for what cannot be read: it is as good as not there.
fn decode<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let row = &self.conversation;
        encode(&HeadDocument {
            kind: row.kind.as_str().into(),
            title: row.title.as_deref().map(Into::into),
            closed: row.closed,
            created_at: row.created_at.0,
            last_at: row.last_at.0,
            last_seq: row.last_seq,
            last_no: row.last_no,
            last_message_id: row.last_message_id.map(|id| id.0),
            last_message: self.last_message.as_ref().map(Into::into),
        })
    }

    pub(super) fn decode(value: &[u8], tenant: &Tenant, id: ConversationId) -> Option<Self> {
        let document: HeadDocument<'_> = decode(value)?;
        let last_message = match document.last_message {
            Some(message) => Some(message.row(tenant, id).ok()?),
            None => None,
        };
        let conversation = ConversationRow {
            conversation_id: id,
            tenant: tenant.clone(),
            kind: document::kind(&document.kind).ok()?,
            title: document.title.map(Cow::into_owned),
            closed: document.closed,
            created_at: Timestamp(document.created_at),
            last_at: Timestamp(document.last_at),
            last_seq: document.last_seq,
            last_no: document.last_no,
            last_message_id: document.last_message_id.map(MessageId),
        };
        Some(Self {
            conversation,
            last_message,
        })
    }
}

impl Recent {
    pub(super) fn encode(&self) -> Vec<u8> {
        let documents: Vec<MessageDocument<'_>> = self.messages.iter().map(Into::into).collect();
        encode(&documents)
    }

    pub(super) fn decode(value: &[u8], tenant: &Tenant, id: ConversationId) -> Option<Self> {
        let documents: Vec<MessageDocument<'_>> = decode(value)?;
        let rows = documents
            .into_iter()
            .map(|document| document.row(tenant, id));
        let messages = rows.collect::<Result<_, _>>().ok()?;
        Some(Self { messages })
    }
}

impl Hidden {
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        decode(value)
    }
}

impl Members {
    pub(super) fn encode(&self) -> Vec<u8> {
        let rows = self.0.as_ref();
        let documents: Option<Vec<MemberDocument<'_>>> =
            rows.map(|rows| rows.iter().map(Into::into).collect());
        encode(&documents)
    }

    pub(super) fn decode(value: &[u8], tenant: &Tenant) -> Option<Self> {
        let documents: Option<Vec<MemberDocument<'_>>> = decode(value)?;
        let Some(documents) = documents else {
            return Some(Self(None));
        };
        let rows = documents.into_iter().map(|document| document.row(tenant));
        Some(Self(Some(rows.collect::<Result<_, _>>().ok()?)))
    }
}

impl Places {
    pub(super) fn encode(&self) -> Vec<u8> {
        let places = self.0.as_ref();
        let documents: Option<Vec<PlaceDocument<'_>>> =
            places.map(|places| places.iter().map(Into::into).collect());
        encode(&documents)
    }

    pub(super) fn decode(value: &[u8], tenant: &Tenant) -> Option<Self> {
        let documents: Option<Vec<PlaceDocument<'_>>> = decode(value)?;
        let Some(documents) = documents else {
            return Some(Self(None));
        };
        let places = documents.into_iter().map(|document| {
            Ok::<_, Unreadable>(Place {
                member: document.member.row(tenant)?,
                last_no: document.last_no,
                hides_last: document.hides_last,
            })
        });
        Some(Self(Some(places.collect::<Result<_, _>>().ok()?)))
    }
}

/// Where a user is a member.
pub(super) fn place<'a>(
    places: &'a [Place],
    id: ConversationId,
    user: &UserId,
) -> Option<&'a Place> {
    places
        .iter()
        .find(|place| place.member.conversation_id == id && place.member.user_id == *user)
}
