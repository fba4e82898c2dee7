use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_domain::{ConversationId, Tenant, UserId};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{EdgeId, Exchange, HEARD, Heard, Orphan, Presence, Signal, Signals, Typing};

/// Signals between the edges of one process.
#[derive(Clone, Default)]
pub struct InProcess {
    board: Arc<Mutex<Board>>,
}

#[derive(Default)]
struct Board {
    edges: HashMap<EdgeId, mpsc::Sender<Signal>>,
    /// Who is on which edges.
    tenants: HashMap<Tenant, HashMap<UserId, User>>,
}

#[derive(Default)]
struct User {
    edges: HashSet<EdgeId>,
    conversations: Arc<[ConversationId]>,
}

impl Exchange for InProcess {
    fn attach(&self) -> (Arc<dyn Signals>, Heard) {
        let (sender, heard) = mpsc::channel(HEARD);
        let id = EdgeId(Uuid::new_v4());
        self.board.lock().edges.insert(id, sender);
        let board = Arc::clone(&self.board);
        (Arc::new(Place { id, board }), heard)
    }
}

struct Place {
    id: EdgeId,
    board: Arc<Mutex<Board>>,
}

impl Board {
    /// Tells the edges where the tenant has users, but `except`.
    fn tell(&self, tenant: &Tenant, except: Option<EdgeId>, signal: &Signal) {
        let users = self
            .tenants
            .get(tenant)
            .into_iter()
            .flat_map(|u| u.values());
        let edges: HashSet<EdgeId> = users.flat_map(|user| user.edges.iter().copied()).collect();
        for edge in edges.into_iter().filter(|edge| Some(*edge) != except) {
            if let Some(sender) = self.edges.get(&edge)
                && sender.try_send(signal.clone()).is_err()
            {
                metrics::counter!("tidings_signals_lost_total").increment(1);
            }
        }
    }

    fn leave(&mut self, edge: EdgeId, tenant: &Tenant, user_id: &UserId) {
        let Some(users) = self.tenants.get_mut(tenant) else {
            return;
        };
        let Some(user) = users.get_mut(user_id) else {
            return;
        };
        if !user.edges.remove(&edge) || !user.edges.is_empty() {
            return;
        }
        let conversations = Arc::clone(&user.conversations);
        users.remove(user_id);
        let signal = Signal::Presence(Presence {
            tenant: tenant.clone(),
            user_id: user_id.clone(),
            online: false,
            conversations,
        });
        if users.is_empty() {
            self.tenants.remove(tenant);
        } else {
            self.tell(tenant, None, &signal);
        }
    }

    fn leave_all(&mut self, edge: EdgeId) {
        let of_edge = |(tenant, users): (&Tenant, &HashMap<UserId, User>)| {
            let here = users.iter().filter(|(_, user)| user.edges.contains(&edge));
            here.map(|(id, _)| (tenant.clone(), id.clone()))
                .collect::<Vec<_>>()
        };
        let left: Vec<_> = self.tenants.iter().flat_map(of_edge).collect();
        for (tenant, user) in left {
            self.leave(edge, &tenant, &user);
        }
    }
}

#[async_trait]
impl Signals for Place {
    fn typing(&self, typing: Typing) {
        let tenant = typing.tenant.clone();
        let board = self.board.lock();
        board.tell(&tenant, Some(self.id), &Signal::Typing(typing));
    }

    async fn came(&self, tenant: &Tenant, user: &UserId, conversations: Arc<[ConversationId]>) {
        let mut board = self.board.lock();
        let users = board.tenants.entry(tenant.clone()).or_default();
        let entry = users.entry(user.clone()).or_default();
        let is_first = entry.edges.is_empty();
        entry.edges.insert(self.id);
        entry.conversations = Arc::clone(&conversations);
        if is_first {
            let presence = Presence {
                tenant: tenant.clone(),
                user_id: user.clone(),
                online: true,
                conversations,
            };
            board.tell(tenant, None, &Signal::Presence(presence));
        }
    }

    async fn gone(&self, tenant: &Tenant, user: &UserId, conversations: Arc<[ConversationId]>) {
        let mut board = self.board.lock();
        let users = board.tenants.get_mut(tenant);
        if let Some(entry) = users.and_then(|users| users.get_mut(user)) {
            entry.conversations = conversations;
        }
        board.leave(self.id, tenant, user);
    }

    /// Edges of one process do not die without a word.
    async fn bury(&self, _: &Orphan, _: Arc<[ConversationId]>) {}

    async fn close(&self) {
        self.board.lock().leave_all(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut board = self.board.lock();
        board.edges.remove(&self.id);
        board.leave_all(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::InProcess;
    use crate::conformance;

    #[tokio::test]
    async fn passes_the_suite() {
        conformance::passes_typing_on(&InProcess::default()).await;
        conformance::knows_the_first_and_the_last(&InProcess::default()).await;
        conformance::keeps_tenants_apart(&InProcess::default()).await;
        conformance::misses_the_dead(&InProcess::default()).await;
        conformance::signs_off(&InProcess::default()).await;
    }
}
