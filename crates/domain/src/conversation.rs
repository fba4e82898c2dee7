use std::collections::BTreeMap;

use crate::digest::ItemHash;
use crate::{
    Change, Code, Command, CommandBody, ConversationId, DeleteScope, Event, InputError, Member,
    Own, Tenant, Timestamp, Update, UserId, check_emoji,
};

/// The most members of a group, its owner included.
pub const MAX_GROUP_MEMBERS: usize = 1_000;
/// The most members of a channel, its owner included.
pub const MAX_CHANNEL_MEMBERS: usize = 100_000;
/// How long after it was posted a message may be edited, in milliseconds.
pub const EDIT_WINDOW_MS: i64 = 15 * 60 * 1000;
/// The longest title, in bytes of UTF-8.
pub const MAX_TITLE_BYTES: usize = 256;

/// What kind of conversation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Two users; its members never change.
    Direct,
    /// Up to [`MAX_GROUP_MEMBERS`]; every member posts and may add others.
    Group,
    /// Up to [`MAX_CHANNEL_MEMBERS`]; only owners and admins post.
    Channel,
}

impl Kind {
    /// As the protocol spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Channel => "channel",
        }
    }

    /// The kind spelled `text`, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Direct, Self::Group, Self::Channel]
            .into_iter()
            .find(|k| k.as_str() == text)
    }

    fn max_members(self) -> usize {
        match self {
            Self::Direct => 2,
            Self::Group => MAX_GROUP_MEMBERS,
            Self::Channel => MAX_CHANNEL_MEMBERS,
        }
    }
}

/// What a member may do. Later ones may do more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Belongs to it.
    Member,
    /// Manages members and the title.
    Admin,
    /// Makes and unmakes admins and owners.
    Owner,
}

impl Role {
    /// As the protocol spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role spelled `text`, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Member, Self::Admin, Self::Owner]
            .into_iter()
            .find(|r| r.as_str() == text)
    }
}

/// Checks a title: not empty, not too long, no control characters.
///
/// # Errors
/// `invalid` or `too_large`, naming the field `title`.
pub fn check_title(title: &str) -> Result<(), InputError> {
    if title.is_empty() {
        return Err(InputError::invalid("title", "must not be empty"));
    }
    if title.len() > MAX_TITLE_BYTES {
        return Err(InputError::new(
            Code::TooLarge,
            "title",
            format!("is {} bytes, at most {MAX_TITLE_BYTES}", title.len()),
        ));
    }
    if title.chars().any(char::is_control) {
        return Err(InputError::invalid(
            "title",
            "must not hold control characters",
        ));
    }
    Ok(())
}

/// What an accepted command changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The conversation: the next event.
    Event(Event),
    /// Only what is the sender's own.
    Own(Own),
}

/// What must be known of a conversation to decide a command about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Whose it is.
    pub tenant: Tenant,
    /// What kind it is.
    pub kind: Kind,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// Whether nothing can be posted.
    pub closed: bool,
    /// The position of its last event.
    pub last_seq: u64,
    /// The ordinal of its last message; 0 while there is none.
    pub last_no: u64,
    /// Who belongs to it.
    pub members: BTreeMap<UserId, Role>,
}

impl Conversation {
    /// The event by which a conversation comes to be, decided from a `create`.
    pub(crate) fn create(command: &Command) -> Result<Event, Code> {
        let CommandBody::Create {
            kind,
            title,
            members,
        } = &command.body
        else {
            return Err(Code::NotFound);
        };
        let owner = Member {
            user_id: command.sender.clone(),
            role: Role::Owner,
        };
        // Neither end of a direct conversation is above the other.
        let others_role = if *kind == Kind::Direct {
            Role::Owner
        } else {
            Role::Member
        };
        let mut all = vec![owner];
        let mut others: Vec<&UserId> = members
            .iter()
            .filter(|user| **user != command.sender)
            .collect();
        others.sort();
        others.dedup();
        all.extend(others.into_iter().map(|u| Member {
            user_id: u.clone(),
            role: others_role,
        }));
        if *kind == Kind::Direct && all.len() != 2 {
            return Err(Code::Invalid);
        }
        if all.len() > kind.max_members() {
            return Err(Code::TooMany);
        }
        Ok(Event::ConversationUpdated(Change::Create {
            kind: *kind,
            title: title.clone(),
            members: all,
        }))
    }

    /// Decides a command about this conversation: what it changes, or why it
    /// changes nothing. The tenant has been compared already.
    ///
    /// A closed conversation takes no posts and no edits; its members may still
    /// delete, react, read, and keep their own settings.
    pub(crate) fn decide(&self, command: &Command) -> Result<Effect, Code> {
        let role = *self.members.get(&command.sender).ok_or(Code::NotAMember)?;
        match &command.body {
            CommandBody::Send {
                content,
                reply_to,
                thread,
                forwarded_from,
            } => {
                self.check_may_post(role)?;
                Ok(Effect::Event(Event::MessageSent {
                    message_id: command.key().message_id(),
                    no: self.last_no + 1,
                    content: content.clone(),
                    reply_to: *reply_to,
                    thread: *thread,
                    forwarded_from: forwarded_from.clone(),
                }))
            }
            CommandBody::Edit {
                message_id,
                content,
                author,
                posted_at,
            } => {
                if self.closed {
                    return Err(Code::Closed);
                }
                require(author.as_ref() == Some(&command.sender))?;
                check_edit_window(*posted_at, command.at)?;
                Ok(Effect::Event(Event::MessageEdited {
                    message_id: *message_id,
                    content: content.clone(),
                }))
            }
            CommandBody::Delete {
                message_id,
                scope,
                author,
            } => match scope {
                DeleteScope::Me => Ok(Effect::Own(Own::Hide(*message_id))),
                // Both ends of a direct conversation are its owners.
                DeleteScope::Everyone | DeleteScope::Purge => {
                    require(role >= Role::Admin || author.as_ref() == Some(&command.sender))?;
                    Ok(Effect::Event(Event::MessageDeleted {
                        message_id: *message_id,
                        scope: *scope,
                    }))
                }
            },
            CommandBody::React {
                message_id,
                emoji,
                op,
            } => {
                check_emoji(emoji).map_err(|error| error.code)?;
                Ok(Effect::Event(Event::MessageReacted {
                    message_id: *message_id,
                    emoji: emoji.clone(),
                    op: *op,
                }))
            }
            CommandBody::Read { up_to } => Ok(Effect::Own(Own::Read {
                up_to: (*up_to).min(self.last_no),
            })),
            CommandBody::Update(update) => match own_setting(update) {
                Some(own) => Ok(Effect::Own(own)),
                None => self
                    .decide_update(role, &command.sender, update)
                    .map(|change| Effect::Event(Event::ConversationUpdated(change))),
            },
            CommandBody::Create { .. } => Err(Code::Invalid),
        }
    }

    fn check_may_post(&self, role: Role) -> Result<(), Code> {
        if self.kind == Kind::Channel && role == Role::Member {
            return Err(Code::Forbidden);
        }
        if self.closed {
            return Err(Code::Closed);
        }
        Ok(())
    }

    fn decide_update(&self, role: Role, sender: &UserId, update: &Update) -> Result<Change, Code> {
        let fixed_members = self.kind == Kind::Direct;
        match update {
            Update::AddMembers(users) => {
                let allowed = match self.kind {
                    Kind::Direct => false,
                    Kind::Group => true,
                    Kind::Channel => role >= Role::Admin,
                };
                require(allowed)?;
                let mut added: Vec<UserId> = users
                    .iter()
                    .filter(|u| !self.members.contains_key(*u))
                    .cloned()
                    .collect();
                added.sort();
                added.dedup();
                if self.members.len() + added.len() > self.kind.max_members() {
                    return Err(Code::TooMany);
                }
                Ok(Change::AddMembers(added))
            }
            Update::RemoveMembers(users) => {
                require(!fixed_members && role >= Role::Admin)?;
                let mut removed: Vec<UserId> = users
                    .iter()
                    .filter(|u| self.members.contains_key(*u))
                    .cloned()
                    .collect();
                removed.sort();
                removed.dedup();
                let others_above = removed
                    .iter()
                    .filter(|u| *u != sender)
                    .any(|u| role != Role::Owner && self.members[u] >= Role::Admin);
                require(!others_above)?;
                require(self.stays_owned(|user| removed.contains(user)))?;
                Ok(Change::RemoveMembers(removed))
            }
            Update::Rename(title) => {
                require(!fixed_members && role >= Role::Admin)?;
                Ok(Change::Rename(title.clone()))
            }
            Update::SetRole {
                user_id,
                role: wanted,
            } => {
                require(!fixed_members && role >= Role::Admin)?;
                let current = *self.members.get(user_id).ok_or(Code::NotFound)?;
                let among_members = current == Role::Member && *wanted == Role::Member;
                require(role == Role::Owner || among_members)?;
                let steps_down = current == Role::Owner && *wanted != Role::Owner;
                let another_owner = self
                    .members
                    .iter()
                    .any(|(u, r)| u != user_id && *r == Role::Owner);
                require(!steps_down || another_owner)?;
                Ok(Change::SetRole {
                    user_id: user_id.clone(),
                    role: *wanted,
                })
            }
            Update::Leave => {
                require(!fixed_members)?;
                require(self.stays_owned(|user| user == sender))?;
                Ok(Change::Leave)
            }
            Update::Close => {
                require(!fixed_members && role == Role::Owner)?;
                Ok(Change::Close)
            }
            Update::Reopen => {
                require(!fixed_members && role == Role::Owner)?;
                Ok(Change::Reopen)
            }
            // The sender's own: decided before.
            Update::Archive | Update::Unarchive | Update::Mute { .. } | Update::Unmute => {
                Err(Code::Invalid)
            }
        }
    }

    /// The rule of the last owner: as long as anybody is left, an owner is.
    /// The last member of all may go, and leaves nobody behind.
    fn stays_owned(&self, goes: impl Fn(&UserId) -> bool) -> bool {
        let mut left = self
            .members
            .iter()
            .filter(|(user, _)| !goes(user))
            .peekable();
        left.peek().is_none() || left.any(|(_, role)| *role == Role::Owner)
    }

    /// The conversation right after its first event.
    pub(crate) fn born(tenant: &Tenant, change: &Change) -> Option<Self> {
        let Change::Create {
            kind,
            title,
            members,
        } = change
        else {
            return None;
        };
        Some(Self {
            tenant: tenant.clone(),
            kind: *kind,
            title: title.clone(),
            closed: false,
            last_seq: 1,
            last_no: 0,
            members: members
                .iter()
                .map(|m| (m.user_id.clone(), m.role))
                .collect(),
        })
    }

    pub(crate) fn head_hash(&self, id: ConversationId) -> ItemHash {
        ItemHash::of(&[
            b"head",
            id.0.as_bytes(),
            self.tenant.as_str().as_bytes(),
            self.kind.as_str().as_bytes(),
            // A title is never empty, so none and empty need not differ.
            self.title.as_deref().unwrap_or_default().as_bytes(),
            &[u8::from(self.closed)],
            &self.last_seq.to_le_bytes(),
            &self.last_no.to_le_bytes(),
        ])
    }
}

pub(crate) fn member_hash(id: ConversationId, user: &UserId, role: Role) -> ItemHash {
    ItemHash::of(&[
        b"member",
        id.0.as_bytes(),
        user.as_str().as_bytes(),
        role.as_str().as_bytes(),
    ])
}

/// The sender's own setting that an update asks for, if it asks for one.
fn own_setting(update: &Update) -> Option<Own> {
    match update {
        Update::Archive => Some(Own::Archive),
        Update::Unarchive => Some(Own::Unarchive),
        Update::Mute { until } => Some(Own::Mute { until: *until }),
        Update::Unmute => Some(Own::Unmute),
        Update::AddMembers(_)
        | Update::RemoveMembers(_)
        | Update::Rename(_)
        | Update::SetRole { .. }
        | Update::Leave
        | Update::Close
        | Update::Reopen => None,
    }
}

/// The edge has looked already, by its own clock; this holds also for an edge
/// that did not. A command that does not say when the message was posted is
/// of an edge that could not know.
fn check_edit_window(posted_at: Option<Timestamp>, at: Timestamp) -> Result<(), Code> {
    let posted_at = posted_at.ok_or(Code::EditWindowClosed)?;
    if at.minus_ms(EDIT_WINDOW_MS) > posted_at {
        return Err(Code::EditWindowClosed);
    }
    Ok(())
}

fn require(allowed: bool) -> Result<(), Code> {
    if allowed {
        Ok(())
    } else {
        Err(Code::Forbidden)
    }
}
