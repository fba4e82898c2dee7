use std::sync::Arc;

use async_trait::async_trait;
use tidings_domain::{ConversationId, Tenant, UserId};
use tokio::sync::mpsc;
use uuid::Uuid;

/// How many signals may wait for an edge to take them. What does not fit is
/// lost: a later one says more.
pub const HEARD: usize = 4_096;

/// What an edge hears.
pub type Heard = mpsc::Receiver<Signal>;

/// An edge, for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeId(pub Uuid);

/// Somebody types, or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typing {
    /// The tenant.
    pub tenant: Tenant,
    /// Where.
    pub conversation_id: ConversationId,
    /// Who.
    pub by: UserId,
    /// Whether they type.
    pub on: bool,
}

/// A user came online or went offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The tenant.
    pub tenant: Tenant,
    /// Who.
    pub user_id: UserId,
    /// Whether they have a socket anywhere.
    pub online: bool,
    /// Whose members are to know: what the user shares with few enough.
    pub conversations: Arc<[ConversationId]>,
}

/// A user who was on an edge that died without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The tenant.
    pub tenant: Tenant,
    /// Who.
    pub user_id: UserId,
    /// On which edge.
    pub edge: EdgeId,
}

/// What an edge is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Somebody types on another edge, or stopped.
    Typing(Typing),
    /// A user came online or went offline, here or elsewhere.
    Presence(Presence),
    /// Somebody must find out who is to know that this user is gone, and
    /// [`bury`](Signals::bury) them.
    Orphan(Orphan),
}

/// Where edges meet.
pub trait Exchange: Send + Sync {
    /// A new edge's place. It hears what concerns the tenants of the users
    /// that it says are here. When it is dropped it counts as dead.
    fn attach(&self) -> (Arc<dyn Signals>, Heard);
}

/// One edge's place on the exchange.
///
/// Nothing here fails: what cannot be shared with other edges is told within
/// this one.
#[async_trait]
pub trait Signals: Send + Sync {
    /// Tells the other edges, without waiting. This edge does not hear it.
    fn typing(&self, typing: Typing);

    /// The first socket of a user came to this edge. Where they had none
    /// anywhere, every edge of the tenant hears that they are online. Of one
    /// user, calls follow one after another.
    async fn came(&self, tenant: &Tenant, user: &UserId, conversations: Arc<[ConversationId]>);

    /// The last socket of a user left this edge. Where they have none any
    /// more, every edge of the tenant hears that they are offline.
    async fn gone(&self, tenant: &Tenant, user: &UserId, conversations: Arc<[ConversationId]>);

    /// A user of a dead edge is no more on that one.
    async fn bury(&self, orphan: &Orphan, conversations: Arc<[ConversationId]>);

    /// This edge ends: all its users leave.
    async fn close(&self);
}
