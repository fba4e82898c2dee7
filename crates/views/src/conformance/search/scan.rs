use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tidings_domain::{ConversationId, Decision, Tenant, Timestamp, UserId};

use crate::conformance::Random;
use crate::search::{Asker, ConversationHit, Documents, Filters, Fold, MessageHit, Query};

/// The reference of the search view: looks at every document.
pub(super) struct Scan {
    pub(super) documents: Documents,
}

impl Scan {
    /// The documents of these decisions.
    pub(super) fn of(decisions: &[(i64, Decision)]) -> Self {
        let mut fold = Fold::default();
        for (offset, decision) in decisions {
            fold.apply(decision, *offset);
        }
        Self {
            documents: fold.into_changed(),
        }
    }

    /// Somebody, with the conversations they are in.
    pub(super) fn asker(&self, random: &mut Random) -> Asker {
        let users: Vec<_> = self.documents.users.iter().collect();
        let (tenant, user_id) = users[random.below(users.len())];
        let members = self.documents.members.values();
        let conversations = members
            .filter(|member| {
                member.is_present && member.tenant == *tenant && member.user_id == *user_id
            })
            .map(|member| member.conversation_id)
            .collect();
        Asker {
            tenant: tenant.clone(),
            user_id: user_id.clone(),
            conversations,
        }
    }

    /// Somebody of this tenant who claims to be in every conversation there
    /// is.
    pub(super) fn everything(&self, tenant: &Tenant) -> Asker {
        Asker {
            tenant: tenant.clone(),
            user_id: UserId::parse("nosy").expect("a valid user"),
            conversations: self.documents.conversations.keys().copied().collect(),
        }
    }

    /// Some filters, mostly none.
    pub(super) fn filters(&self, random: &mut Random) -> Filters {
        let messages: Vec<_> = self.documents.messages.values().collect();
        let mut some = |n| {
            let message = messages[random.below(messages.len())];
            (random.below(n) == 0).then_some(message)
        };
        Filters {
            by: some(6).map(|message| message.by.clone()),
            from: some(6).map(|message| message.at),
            to: some(6).map(|message| message.at),
            has_attachment: some(6).map(|message| message.has_attachment),
        }
    }

    pub(super) fn messages(
        &self,
        asker: &Asker,
        query: &Query,
        filters: &Filters,
    ) -> Vec<MessageHit> {
        let mut found: Vec<MessageHit> = self
            .documents
            .messages
            .values()
            .filter(|message| {
                message.tenant == asker.tenant
                    && asker.conversations.contains(&message.conversation_id)
                    && !message.hidden_for.contains(&asker.user_id)
                    && filters.by.as_ref().is_none_or(|by| *by == message.by)
                    && filters.from.is_none_or(|from| message.at >= from)
                    && filters.to.is_none_or(|to| message.at <= to)
                    && filters
                        .has_attachment
                        .is_none_or(|has| has == message.has_attachment)
            })
            .filter_map(|message| {
                let text = message.text.clone()?;
                query.marks(&text)?;
                Some(MessageHit {
                    message_id: message.message_id,
                    conversation_id: message.conversation_id,
                    no: message.no,
                    by: message.by.clone(),
                    at: message.at,
                    text,
                })
            })
            .collect();
        found.sort_by_key(|hit| Reverse((hit.at, hit.message_id)));
        found
    }

    pub(super) fn conversations(&self, asker: &Asker, query: &Query) -> Vec<ConversationHit> {
        let mut members: BTreeMap<ConversationId, Vec<&UserId>> = BTreeMap::new();
        for member in self.documents.members.values() {
            if member.is_present {
                let of = members.entry(member.conversation_id).or_default();
                of.push(&member.user_id);
            }
        }
        let has_title = |title: &Option<String>| {
            let marks = title.as_deref().and_then(|title| query.marks(title));
            query.has_words() && marks.is_some()
        };
        let has_member = |id: ConversationId| {
            let members = members.get(&id).map_or(&[][..], Vec::as_slice);
            members.iter().any(|user| begins(user, query))
        };
        let mut found: Vec<ConversationHit> = self
            .documents
            .conversations
            .values()
            .filter(|conversation| {
                conversation.tenant == asker.tenant
                    && asker.conversations.contains(&conversation.conversation_id)
                    && (has_title(&conversation.title) || has_member(conversation.conversation_id))
            })
            .map(|conversation| ConversationHit {
                conversation_id: conversation.conversation_id,
                kind: conversation.kind,
                title: conversation.title.clone(),
                created_at: conversation.created_at,
            })
            .collect();
        found.sort_by_key(
            |hit: &ConversationHit| -> Reverse<(Timestamp, ConversationId)> {
                Reverse((hit.created_at, hit.conversation_id))
            },
        );
        found
    }

    pub(super) fn users(&self, asker: &Asker, query: &Query) -> Vec<UserId> {
        let users = self.documents.users.iter();
        let found: BTreeSet<(String, UserId)> = users
            .filter(|(tenant, user)| *tenant == asker.tenant && begins(user, query))
            .map(|(_, user)| (user.as_str().to_lowercase(), user.clone()))
            .collect();
        found.into_iter().map(|(_, user)| user).collect()
    }
}

/// Whether a user's id begins with the query.
fn begins(user: &UserId, query: &Query) -> bool {
    let prefix = query.text().trim_end_matches('*').to_lowercase();
    !prefix.is_empty() && user.as_str().to_lowercase().starts_with(&prefix)
}
