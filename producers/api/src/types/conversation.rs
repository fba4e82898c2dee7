use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tidings_domain::{
    ConversationId, ConversationRow, Kind, MemberRow, MessageRow, Role, Timestamp,
};
use utoipa::ToSchema;

use super::message::Message;

/// What kind of conversation it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Kind)]
pub(crate) enum KindName {
    /// Of two.
    Direct,
    /// Of up to 1,000.
    Group,
    /// Of up to 100,000, in which only owner and admins post.
    Channel,
}

impl From<Kind> for KindName {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Direct => Self::Direct,
            Kind::Group => Self::Group,
            Kind::Channel => Self::Channel,
        }
    }
}

/// As what somebody belongs to a conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Role)]
pub(crate) enum RoleName {
    Member,
    Admin,
    Owner,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

/// A conversation to make. The caller becomes its owner.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) struct NewConversation {
    kind: KindName,
    #[schema(example = "Ops")]
    title: Option<String>,
    /// The others. A direct conversation has exactly one.
    members: Option<Vec<UserName>>,
}

/// A user's id.
#[derive(ToSchema)]
#[schema(as = UserId, value_type = String, pattern = "^[A-Za-z0-9_.:@-]{1,64}$", example = "bob")]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) struct UserName(String);

/// Users to bring in.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) struct NewMembers {
    #[schema(min_items = 1)]
    members: Vec<UserName>,
}

/// A member's new role.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) struct NewRole {
    role: RoleName,
}

/// How far the caller has read.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) struct ReadUpTo {
    /// The `no` of the last message read. It never goes backwards.
    #[schema(minimum = 0, format = "uint64")]
    up_to: u64,
}

/// One change of a conversation, or of the caller's own settings of it.
#[derive(ToSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
#[expect(
    dead_code,
    reason = "read by the socket protocol's parser; this describes it"
)]
pub(crate) enum ConversationUpdate {
    /// A new title.
    Rename { title: String },
    /// Nothing can be posted until it is reopened (owner).
    Close,
    /// Posts are let in again (owner).
    Reopen,
    /// The caller's own: out of the way.
    Archive,
    /// The caller's own: back again.
    Unarchive,
    /// The caller's own: no notifications, for ever or until a time.
    Mute {
        #[schema(format = DateTime)]
        until: Option<String>,
    },
    /// The caller's own: notifications again.
    Unmute,
}

/// A conversation as the caller sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Conversation {
    #[schema(format = "uuid")]
    conversation_id: String,
    kind: KindName,
    #[schema(required)]
    title: Option<String>,
    /// The caller's.
    #[schema(required)]
    role: Option<RoleName>,
    /// Its last event.
    #[schema(minimum = 1)]
    last_seq: u64,
    /// Its last message's ordinal; 0 while there is none.
    #[schema(minimum = 0)]
    last_no: u64,
    /// The ordinal of the last message the caller has read.
    #[schema(minimum = 0)]
    read_up_to: u64,
    /// How many of the others' messages come after that.
    #[schema(minimum = 0)]
    unread: u64,
    muted: bool,
    archived: bool,
    closed: bool,
    #[schema(required, inline = false)]
    last_message: Option<Message>,
}

impl Conversation {
    pub(crate) fn of(
        conversation: &ConversationRow,
        member: &MemberRow,
        last_message: Option<&MessageRow>,
    ) -> Self {
        Self {
            conversation_id: conversation.conversation_id.to_string(),
            kind: conversation.kind.into(),
            title: conversation.title.clone(),
            role: member.role.map(Into::into),
            last_seq: conversation.last_seq,
            last_no: conversation.last_no,
            read_up_to: member.read_no,
            unread: conversation.last_no.saturating_sub(member.read_no),
            muted: member.is_muted(now()),
            archived: member.archived,
            closed: conversation.closed,
            last_message: last_message.map(Message::of),
        }
    }
}

/// By this machine's clock: what a mute's end is compared with.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since_epoch.unwrap_or_default().as_millis();
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// A page of the caller's conversations, latest activity first.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationList {
    pub(crate) conversations: Vec<Conversation>,
    /// The `cursor` of the next page; none at the end.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// A page of members, by user id.
#[derive(Serialize, ToSchema)]
pub(crate) struct MemberList {
    pub(crate) members: Vec<Member>,
    /// The `cursor` of the next page; none at the end.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// A member.
#[derive(Serialize, ToSchema)]
pub(crate) struct Member {
    user_id: String,
    role: RoleName,
    /// The ordinal of the last message they have read.
    #[schema(minimum = 0)]
    read_up_to: u64,
}

impl Member {
    /// None of somebody who has gone.
    pub(crate) fn of(row: &MemberRow) -> Option<Self> {
        Some(Self {
            user_id: row.user_id.to_string(),
            role: row.role?.into(),
            read_up_to: row.read_no,
        })
    }
}

/// What the caller has not read.
#[derive(Serialize, ToSchema)]
pub(crate) struct Unread {
    /// In all conversations.
    #[schema(minimum = 0)]
    total: u64,
    /// Those with any.
    conversations: Vec<UnreadOf>,
}

/// How much of a conversation the caller has not read.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnreadOf {
    #[schema(format = "uuid")]
    conversation_id: String,
    #[schema(minimum = 1)]
    unread: u64,
}

impl Unread {
    pub(crate) fn of(counts: &[(ConversationId, u64)]) -> Self {
        let conversations = counts.iter().map(|(id, unread)| UnreadOf {
            conversation_id: id.to_string(),
            unread: *unread,
        });
        Self {
            total: counts.iter().map(|(_, unread)| unread).sum(),
            conversations: conversations.collect(),
        }
    }
}
