use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_domain::{
    ConversationId, ConversationRow, EditRow, EventRow, Kind, MemberRow, MessageId, MessageRow,
    Model, OutcomeRow, TempId, Tenant, Timestamp, UserId,
};
use tidings_views::history::{ConversationPage, HistoryReader, ListedConversation};
use tidings_views::{Position, StoreError};

use crate::sockets::step::Answering;
use crate::store::{Kept, SimulatedStore};

/// How long a slow view takes to answer.
const SLOW: Duration = Duration::from_millis(7);

/// An edge's way to the history view: what the store holds, as members may see
/// it. The simulator holds a second handle to it.
#[derive(Clone)]
pub(crate) struct View {
    store: SimulatedStore,
    answering: Arc<Mutex<Answering>>,
}

impl View {
    pub(crate) fn new(store: &SimulatedStore) -> Self {
        Self {
            store: store.clone(),
            answering: Arc::default(),
        }
    }

    pub(crate) fn set(&self, answering: Answering) {
        *self.answering.lock() = answering;
    }

    async fn ask<T>(&self, look: impl FnOnce(&Kept) -> T) -> Result<T, StoreError> {
        let answering = *self.answering.lock();
        match answering {
            Answering::Up => {}
            Answering::Down => return Err(StoreError::Transient("as the plan says".to_owned())),
            Answering::Slow => tokio::time::sleep(SLOW).await,
        }
        Ok(self.store.look(look))
    }

    async fn model<T>(&self, look: impl FnOnce(&Model) -> T) -> Result<T, StoreError> {
        self.ask(|kept| look(&kept.model)).await
    }
}

/// The messages of a conversation that a user sees, newest first.
fn visible(model: &Model, tenant: &Tenant, id: ConversationId, viewer: &UserId) -> Vec<MessageRow> {
    let rows = model.messages.values();
    let mut visible: Vec<_> = rows
        .filter(|row| row.tenant == *tenant && row.conversation_id == id)
        .filter(|row| !is_hidden(model, tenant, viewer, row.message_id))
        .map(|row| row.clone().shown())
        .collect();
    visible.sort_unstable_by_key(|row| Reverse(row.no));
    visible
}

/// The last message of a conversation that a user has not deleted for
/// themselves.
fn last_message(model: &Model, row: &ConversationRow, viewer: &UserId) -> Option<MessageRow> {
    let (tenant, id) = (&row.tenant, row.last_message_id?);
    if is_hidden(model, tenant, viewer, id) {
        let visible = visible(model, tenant, row.conversation_id, viewer);
        return visible.into_iter().next();
    }
    model.messages.get(&id).map(|row| row.clone().shown())
}

fn is_hidden(model: &Model, tenant: &Tenant, user: &UserId, id: MessageId) -> bool {
    let key = (tenant.clone(), user.clone(), id);
    model.hidden.contains_key(&key)
}

/// The places of a user who has not gone, with the conversations that are there.
fn places<'a>(
    model: &'a Model,
    tenant: &'a Tenant,
    user: &'a UserId,
) -> impl Iterator<Item = (&'a MemberRow, &'a ConversationRow)> {
    let rows = model.members.values();
    let own = rows.filter(move |row| row.tenant == *tenant && row.user_id == *user);
    own.filter(|row| row.role.is_some())
        .filter_map(|row| Some((row, model.conversations.get(&row.conversation_id)?)))
}

#[async_trait]
impl HistoryReader for View {
    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.ask(|kept| kept.positions.values().copied().collect())
            .await
    }

    async fn events(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.model(|model| {
            let rows = model.events.range((id, after + 1)..=(id, u64::MAX));
            let own = rows.filter(|(_, row)| row.tenant == *tenant);
            let shown = own.map(|(_, row)| row.clone().shown());
            shown.take(limit).collect()
        })
        .await
    }

    async fn conversation(
        &self,
        tenant: &Tenant,
        id: ConversationId,
    ) -> Result<Option<ConversationRow>, StoreError> {
        self.model(|model| {
            let row = model.conversations.get(&id);
            row.filter(|row| row.tenant == *tenant).cloned()
        })
        .await
    }

    async fn member(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        user: &UserId,
    ) -> Result<Option<MemberRow>, StoreError> {
        self.model(|model| {
            let row = model.members.get(&(id, user.clone()));
            row.filter(|row| row.tenant == *tenant).cloned()
        })
        .await
    }

    async fn memberships(
        &self,
        tenant: &Tenant,
        user: &UserId,
    ) -> Result<Vec<ConversationId>, StoreError> {
        self.model(|model| {
            let places = places(model, tenant, user);
            places.map(|(place, _)| place.conversation_id).collect()
        })
        .await
    }

    async fn members(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.model(|model| {
            let rows = model.members.values();
            let of_it = rows.filter(|row| row.tenant == *tenant && row.conversation_id == id);
            let next = of_it.filter(|row| row.role.is_some() && after < Some(&row.user_id));
            next.take(limit).cloned().collect()
        })
        .await
    }

    async fn unread(
        &self,
        tenant: &Tenant,
        user: &UserId,
    ) -> Result<Vec<(ConversationId, u64)>, StoreError> {
        self.model(|model| {
            let places = places(model, tenant, user);
            let unread = places.map(|(place, conversation)| {
                let count = conversation.last_no.saturating_sub(place.read_no);
                (place.conversation_id, count)
            });
            unread.filter(|(_, count)| *count > 0).collect()
        })
        .await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        user: &UserId,
        kind: Option<Kind>,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<ConversationPage, StoreError> {
        self.model(|model| {
            let place = |row: &ConversationRow| (Reverse(row.last_at), row.conversation_id);
            let after = after.map(|(at, id)| (Reverse(at), id));
            let mut all: Vec<_> = places(model, tenant, user)
                .filter(|(_, row)| kind.is_none_or(|kind| row.kind == kind))
                .filter(|(_, row)| after.is_none_or(|after| place(row) > after))
                .collect();
            all.sort_unstable_by_key(|(_, row)| place(row));
            let more = all.len() > limit;
            all.truncate(limit);
            let last = all.last().filter(|_| more);
            let next = last.map(|(_, row)| (row.last_at, row.conversation_id));
            let listed = all.iter().map(|(member, row)| ListedConversation {
                conversation: (*row).clone(),
                member: (*member).clone(),
                last_message: last_message(model, row, user),
            });
            ConversationPage {
                conversations: listed.collect(),
                next,
            }
        })
        .await
    }

    async fn message(
        &self,
        tenant: &Tenant,
        id: MessageId,
    ) -> Result<Option<MessageRow>, StoreError> {
        self.model(|model| {
            let row = model.messages.get(&id);
            let own = row.filter(|row| row.tenant == *tenant);
            own.map(|row| row.clone().shown())
        })
        .await
    }

    async fn page(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        viewer: &UserId,
        thread: Option<MessageId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.model(|model| {
            let rows = visible(model, tenant, id, viewer).into_iter();
            let in_thread = rows.filter(|row| thread.is_none() || row.thread == thread);
            let older = in_thread.filter(|row| before.is_none_or(|before| row.no < before));
            older.take(limit).collect()
        })
        .await
    }

    async fn edits(&self, tenant: &Tenant, id: MessageId) -> Result<Vec<EditRow>, StoreError> {
        self.model(|model| {
            let message = model.messages.get(&id);
            if !message.is_some_and(|row| row.tenant == *tenant && row.deleted.is_none()) {
                return Vec::new();
            }
            let rows = model.edits.range((id, 0)..=(id, u64::MAX));
            let texts = rows.filter(|(_, row)| !row.content.text.is_empty());
            texts.map(|(_, row)| row.clone()).collect()
        })
        .await
    }

    async fn hidden(
        &self,
        tenant: &Tenant,
        user: &UserId,
        messages: &[MessageId],
    ) -> Result<Vec<MessageId>, StoreError> {
        self.model(|model| {
            let asked = messages.iter().copied();
            asked
                .filter(|id| is_hidden(model, tenant, user, *id))
                .collect()
        })
        .await
    }

    async fn hidden_in(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        user: &UserId,
        limit: usize,
    ) -> Result<Vec<MessageId>, StoreError> {
        self.model(|model| {
            let rows = model.hidden.values();
            let own = rows.filter(|row| row.tenant == *tenant && row.user_id == *user);
            let in_it = own.filter(|row| row.conversation_id == id);
            in_it.map(|row| row.message_id).take(limit).collect()
        })
        .await
    }

    async fn conversations(
        &self,
        tenant: &Tenant,
        ids: &[ConversationId],
    ) -> Result<Vec<ConversationRow>, StoreError> {
        self.model(|model| {
            let rows = ids.iter().filter_map(|id| model.conversations.get(id));
            rows.filter(|row| row.tenant == *tenant).cloned().collect()
        })
        .await
    }

    async fn messages(
        &self,
        tenant: &Tenant,
        ids: &[MessageId],
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.model(|model| {
            let rows = ids.iter().filter_map(|id| model.messages.get(id));
            let own = rows.filter(|row| row.tenant == *tenant);
            own.map(|row| row.clone().shown()).collect()
        })
        .await
    }

    async fn places(
        &self,
        tenant: &Tenant,
        ids: &[(ConversationId, UserId)],
    ) -> Result<Vec<MemberRow>, StoreError> {
        self.model(|model| {
            let rows = ids.iter().filter_map(|id| model.members.get(id));
            rows.filter(|row| row.tenant == *tenant).cloned().collect()
        })
        .await
    }

    async fn outcome(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        sender: &UserId,
        temp_id: &TempId,
    ) -> Result<Option<OutcomeRow>, StoreError> {
        let key = (tenant.clone(), id, sender.clone(), temp_id.clone());
        self.model(|model| {
            let rows = model.events.range((id, 0)..=(id, u64::MAX));
            let mut own = rows.filter(|(_, row)| row.tenant == *tenant && row.by == *sender);
            let event = own.find(|(_, row)| row.temp_id == *temp_id);
            let of_event = event.map(|(_, row)| row.outcome());
            of_event.or_else(|| model.outcomes.get(&key).cloned())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Connection;
    use tidings_domain::{Rows, Wanted};
    use tidings_views::conformance::{self, Dump};
    use tidings_views::history::HistoryWriter;
    use tokio_util::sync::CancellationToken;

    #[async_trait]
    impl HistoryWriter for View {
        async fn prepare(&self) -> Result<(), StoreError> {
            Ok(())
        }

        async fn positions(&self) -> Result<Vec<Position>, StoreError> {
            HistoryReader::positions(self).await
        }

        async fn load(&self, wanted: &Wanted) -> Result<Rows, StoreError> {
            writer(self).load(wanted).await
        }

        async fn write(&self, rows: &Rows, positions: &[Position]) -> Result<(), StoreError> {
            writer(self).write(rows, positions).await
        }
    }

    #[async_trait]
    impl Dump for View {
        async fn dump(&self) -> Result<Model, StoreError> {
            Ok(self.store.model())
        }
    }

    fn writer(view: &View) -> Connection {
        Connection::new(&view.store, CancellationToken::new())
    }

    fn view() -> View {
        View::new(&SimulatedStore::default())
    }

    /// What stands for the store of the history view is one.
    #[tokio::test]
    async fn passes_the_suite() {
        for seed in [1, 2] {
            conformance::answers_like_the_model(&view(), seed).await;
        }
        conformance::keeps_tenants_apart(&view(), 200).await;
        conformance::pages_lists(&view()).await;
        conformance::keeps_positions(&view()).await;
    }
}
