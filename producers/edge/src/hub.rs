use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tidings_domain::{ConversationId, Tenant, UserId};
use tungstenite::Utf8Bytes;

use crate::membership::MembershipChange;
use crate::socket::Socket;

/// Which sockets are here, and to which conversations their users belong.
///
/// Membership is a user's, not a socket's: it is loaded once, when the first
/// socket of a user comes, and kept up to date while there is one.
#[derive(Default)]
pub(crate) struct Hub {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    tenants: HashMap<Tenant, HashMap<UserId, Arc<User>>>,
    conversations: HashMap<ConversationId, Vec<Arc<User>>>,
}

/// A user with at least one socket here.
pub(crate) struct User {
    pub(crate) tenant: Tenant,
    pub(crate) id: UserId,
    state: Mutex<UserState>,
}

#[derive(Default)]
struct UserState {
    sockets: Vec<Arc<Socket>>,
    memberships: HashMap<ConversationId, Membership>,
    /// Whether all memberships are known; until then `memberships` also holds
    /// where the user is known to be no member.
    loaded: bool,
    /// Whether somebody is trying to load them in the background.
    loading: bool,
}

/// What is known of a user's place in a conversation.
#[derive(Clone, Copy)]
struct Membership {
    is_member: bool,
    /// The offset in the conversation's partition at which it became so, or
    /// just below the position of the view that said so.
    since: i64,
}

/// The user has as many sockets as they may have.
#[derive(Debug)]
pub(crate) struct TooManySockets;

impl Hub {
    /// Adds a socket, unless its user has `most` already.
    pub(crate) fn connect(
        &self,
        socket: &Arc<Socket>,
        most: usize,
    ) -> Result<Arc<User>, TooManySockets> {
        let mut inner = self.inner.write();
        let users = inner.tenants.entry(socket.peer.tenant.clone()).or_default();
        let user = users.entry(socket.peer.user.clone()).or_insert_with(|| {
            let (tenant, id) = (socket.peer.tenant.clone(), socket.peer.user.clone());
            Arc::new(User {
                tenant,
                id,
                state: Mutex::default(),
            })
        });
        let user = Arc::clone(user);
        let mut state = user.state.lock();
        if most > 0 && state.sockets.len() >= most {
            return Err(TooManySockets);
        }
        state.sockets.push(Arc::clone(socket));
        drop(state);
        Ok(user)
    }

    /// Removes a socket, and with its last one the user, whose conversations
    /// it gives.
    pub(crate) fn disconnect(&self, socket: &Arc<Socket>) -> Option<Vec<ConversationId>> {
        let mut inner = self.inner.write();
        let Inner {
            tenants,
            conversations,
        } = &mut *inner;
        let users = tenants.get_mut(&socket.peer.tenant)?;
        let user = users.get(&socket.peer.user)?;
        let mut state = user.state.lock();
        state.sockets.retain(|other| !Arc::ptr_eq(other, socket));
        if !state.sockets.is_empty() {
            return None;
        }
        let memberships = std::mem::take(&mut state.memberships);
        drop(state);
        let mut left = Vec::new();
        for (id, membership) in memberships {
            if membership.is_member {
                unsubscribe(conversations, id, user);
                left.push(id);
            }
        }
        users.remove(&socket.peer.user);
        if users.is_empty() {
            tenants.remove(&socket.peer.tenant);
        }
        Some(left)
    }

    /// A user with a socket here.
    pub(crate) fn user(&self, tenant: &Tenant, user: &UserId) -> Option<Arc<User>> {
        let inner = self.inner.read();
        inner.tenants.get(tenant)?.get(user).cloned()
    }

    /// Puts a frame into the outboxes of those who share one of these
    /// conversations with the user.
    pub(crate) fn tell_sharers(
        &self,
        tenant: &Tenant,
        user: &UserId,
        shared: &[ConversationId],
        frame: &Utf8Bytes,
    ) {
        let inner = self.inner.read();
        let mut told = HashSet::new();
        let members = shared.iter().filter_map(|id| inner.conversations.get(id));
        for member in members.flatten() {
            let concerns = member.tenant == *tenant && member.id != *user;
            if concerns && told.insert(&member.id) {
                for socket in &member.state.lock().sockets {
                    socket.send(frame.clone());
                }
            }
        }
    }

    /// Whether a user with a socket here belongs to the conversation.
    pub(crate) fn concerns(&self, id: ConversationId) -> bool {
        self.inner.read().conversations.contains_key(&id)
    }

    /// Brings in those whom an event at `offset` adds.
    pub(crate) fn add(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        offset: i64,
        change: &MembershipChange,
    ) {
        self.change(tenant, id, offset, &change.added, true);
    }

    /// Puts out those whom an event at `offset` removes.
    pub(crate) fn remove(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        offset: i64,
        change: &MembershipChange,
    ) {
        self.change(tenant, id, offset, &change.removed, false);
    }

    /// The log shows, at `offset`, that this user is a member: news only while
    /// the view has not told yet.
    pub(crate) fn seen_as_member(
        &self,
        tenant: &Tenant,
        user: &UserId,
        id: ConversationId,
        offset: i64,
    ) {
        let inner = self.inner.read();
        let here = inner.tenants.get(tenant).and_then(|users| users.get(user));
        let is_waiting = here.is_some_and(|user| !user.is_loaded());
        drop(inner);
        if is_waiting {
            self.change(tenant, id, offset, std::slice::from_ref(user), true);
        }
    }

    fn change(
        &self,
        tenant: &Tenant,
        id: ConversationId,
        offset: i64,
        users: &[UserId],
        is_member: bool,
    ) {
        if users.is_empty() {
            return;
        }
        let mut inner = self.inner.write();
        let Inner {
            tenants,
            conversations,
        } = &mut *inner;
        let Some(here) = tenants.get(tenant) else {
            return;
        };
        for user in users.iter().filter_map(|user| here.get(user)) {
            let membership = Membership {
                is_member,
                since: offset,
            };
            learn(conversations, user, id, membership);
        }
    }

    /// Takes in what a view knew of a user when each partition stood at the
    /// offset that `position` gives, and the changes since.
    pub(crate) fn load(
        &self,
        user: &Arc<User>,
        view: &[ConversationId],
        position: impl Fn(ConversationId) -> i64,
        changes: &[(ConversationId, i64, bool)],
    ) {
        let mut inner = self.inner.write();
        // The user may have gone meanwhile, and come back as another `User`; or
        // another socket's task was faster, and what has changed since is
        // known only until then.
        let state = user.state.lock();
        if state.loaded || state.sockets.is_empty() {
            return;
        }
        drop(state);
        let conversations = &mut inner.conversations;
        for id in view {
            let membership = Membership {
                is_member: true,
                since: position(*id) - 1,
            };
            learn(conversations, user, *id, membership);
        }
        for (id, offset, is_member) in changes {
            let membership = Membership {
                is_member: *is_member,
                since: *offset,
            };
            learn(conversations, user, *id, membership);
        }
        let mut state = user.state.lock();
        state.loaded = true;
        state.loading = false;
        state
            .memberships
            .retain(|_, membership| membership.is_member);
    }

    /// Puts an event into the outboxes of the members' sockets but `except`,
    /// and tells into how many. The sender's own get `own`.
    pub(crate) fn publish(
        &self,
        id: ConversationId,
        sender: &UserId,
        except: Option<&Arc<Socket>>,
        frames: impl Frames,
    ) -> usize {
        let inner = self.inner.read();
        let Some(members) = inner.conversations.get(&id) else {
            return 0;
        };
        let (mut own, mut others, mut sent) = (None, None, 0);
        for member in members {
            let state = member.state.lock();
            for socket in &state.sockets {
                if except.is_some_and(|except| Arc::ptr_eq(except, socket)) {
                    continue;
                }
                let frame: &Utf8Bytes = if member.id == *sender {
                    own.get_or_insert_with(|| frames.own())
                } else {
                    others.get_or_insert_with(|| frames.others())
                };
                socket.send(frame.clone());
                sent += 1;
            }
        }
        sent
    }

    /// Puts a frame into the outboxes of a user's sockets but `except`.
    pub(crate) fn tell_user(
        &self,
        tenant: &Tenant,
        user: &UserId,
        except: Option<&Arc<Socket>>,
        frame: &Utf8Bytes,
    ) {
        let inner = self.inner.read();
        let here = inner.tenants.get(tenant).and_then(|users| users.get(user));
        let Some(user) = here else {
            return;
        };
        for socket in &user.state.lock().sockets {
            if !except.is_some_and(|except| Arc::ptr_eq(except, socket)) {
                socket.send(frame.clone());
            }
        }
    }

    /// Puts a frame into the outboxes of the members' sockets but those of
    /// `about`.
    pub(crate) fn tell_others(&self, id: ConversationId, about: &UserId, frame: &Utf8Bytes) {
        let inner = self.inner.read();
        let members = inner.conversations.get(&id).into_iter().flatten();
        for member in members.filter(|member| member.id != *about) {
            for socket in &member.state.lock().sockets {
                socket.send(frame.clone());
            }
        }
    }

    /// All sockets.
    pub(crate) fn sockets(&self) -> Vec<Arc<Socket>> {
        let inner = self.inner.read();
        let users = inner.tenants.values().flat_map(HashMap::values);
        users
            .flat_map(|user| user.state.lock().sockets.clone())
            .collect()
    }
}

/// The two variants of an event's frame, each made when first needed.
pub(crate) trait Frames {
    /// For the sender's other sockets.
    fn own(&self) -> Utf8Bytes;
    /// For everybody else's.
    fn others(&self) -> Utf8Bytes;
}

impl User {
    pub(crate) fn is_loaded(&self) -> bool {
        self.state.lock().loaded
    }

    /// Whether the caller is the one to load the memberships in the background.
    pub(crate) fn start_loading(&self) -> bool {
        let mut state = self.state.lock();
        !state.loaded && !std::mem::replace(&mut state.loading, true)
    }

    /// The conversations that the user is known to belong to.
    pub(crate) fn conversations(&self) -> Vec<ConversationId> {
        let state = self.state.lock();
        let known = state.memberships.iter();
        known
            .filter(|(_, membership)| membership.is_member)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Whether the user is known to belong to the conversation.
    pub(crate) fn belongs_to(&self, id: ConversationId) -> bool {
        let state = self.state.lock();
        let known = state.memberships.get(&id);
        known.is_some_and(|membership| membership.is_member)
    }

    pub(crate) fn is_here(&self) -> bool {
        !self.state.lock().sockets.is_empty()
    }
}

type Conversations = HashMap<ConversationId, Vec<Arc<User>>>;

/// Notes a membership, unless something newer is known.
fn learn(conversations: &mut Conversations, user: &Arc<User>, id: ConversationId, new: Membership) {
    let mut state = user.state.lock();
    let before = state.memberships.get(&id).copied();
    if before.is_some_and(|before| before.since >= new.since) {
        return;
    }
    let was_member = before.is_some_and(|before| before.is_member);
    if new.is_member || !state.loaded {
        state.memberships.insert(id, new);
    } else {
        state.memberships.remove(&id);
    }
    drop(state);
    match (was_member, new.is_member) {
        (false, true) => conversations.entry(id).or_default().push(Arc::clone(user)),
        (true, false) => unsubscribe(conversations, id, user),
        _ => {}
    }
}

fn unsubscribe(conversations: &mut Conversations, id: ConversationId, user: &Arc<User>) {
    if let Some(members) = conversations.get_mut(&id) {
        if let Some(at) = members.iter().position(|member| Arc::ptr_eq(member, user)) {
            members.swap_remove(at);
        }
        if members.is_empty() {
            conversations.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::outbox::Outbox;
    use uuid::Uuid;

    struct Fixed;

    impl Frames for Fixed {
        fn own(&self) -> Utf8Bytes {
            "own".into()
        }
        fn others(&self) -> Utf8Bytes {
            "others".into()
        }
    }

    fn tenant() -> Tenant {
        Tenant::parse("t").unwrap()
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn socket(name: &str) -> Arc<Socket> {
        let outbox = Outbox::new(16, 4_096, metrics::Gauge::noop());
        let metrics = Arc::new(Metrics::new());
        Arc::new(Socket::new(
            Uuid::new_v4(),
            (tenant(), user(name)),
            outbox,
            None,
            metrics,
        ))
    }

    fn sent(socket: &Socket) -> Vec<String> {
        socket
            .outbox
            .take()
            .frames
            .iter()
            .map(|frame| frame.as_str().to_owned())
            .collect()
    }

    const C: ConversationId = ConversationId(Uuid::nil());

    fn added(names: &[&str]) -> MembershipChange {
        MembershipChange {
            added: names.iter().map(|name| user(name)).collect(),
            removed: Vec::new(),
        }
    }

    #[test]
    fn each_member_socket_but_the_senders_own_gets_an_event() {
        let hub = Hub::default();
        let [alice, alice_too, bob, carol] = ["alice", "alice", "bob", "carol"].map(socket);
        for socket in [&alice, &alice_too, &bob, &carol] {
            hub.connect(socket, 0).unwrap();
        }
        hub.add(&tenant(), C, 1, &added(&["alice", "bob", "dave"]));
        assert_eq!(hub.publish(C, &user("alice"), Some(&alice), Fixed), 2);
        assert!(sent(&alice).is_empty());
        assert_eq!(sent(&alice_too), ["own"]);
        assert_eq!(sent(&bob), ["others"]);
        assert!(sent(&carol).is_empty());

        hub.disconnect(&bob);
        hub.disconnect(&alice);
        assert!(hub.concerns(C));
        hub.disconnect(&alice_too);
        assert!(!hub.concerns(C));
        assert_eq!(hub.sockets().len(), 1);
    }

    #[test]
    fn another_tenants_user_of_the_same_name_gets_nothing() {
        let (hub, bob) = (Hub::default(), socket("bob"));
        hub.connect(&bob, 0).unwrap();
        hub.add(&Tenant::parse("x").unwrap(), C, 1, &added(&["bob"]));
        assert!(!hub.concerns(C));
    }

    #[test]
    fn what_the_log_says_later_outweighs_a_view_that_lags_behind() {
        let (hub, bob) = (Hub::default(), socket("bob"));
        let loaded = hub.connect(&bob, 0).unwrap();
        let other = ConversationId(Uuid::from_u128(1));
        let removed = MembershipChange {
            added: Vec::new(),
            removed: vec![user("bob")],
        };
        // Read live while the view is asked: out at 7, and in elsewhere at 8.
        hub.remove(&tenant(), C, 7, &removed);
        hub.add(&tenant(), other, 8, &added(&["bob"]));
        hub.load(&loaded, &[C], |_| 5, &[(C, 6, true), (C, 7, false)]);
        assert!(loaded.is_loaded() && !hub.concerns(C) && hub.concerns(other));
        hub.add(&tenant(), C, 9, &added(&["bob"]));
        assert!(hub.concerns(C));
        hub.remove(&tenant(), C, 10, &removed);
        assert!(!hub.concerns(C));
    }

    #[test]
    fn a_user_has_so_many_sockets() {
        let hub = Hub::default();
        let [first, second] = ["bob", "bob"].map(socket);
        hub.connect(&first, 1).unwrap();
        assert!(hub.connect(&second, 1).is_err());
        hub.disconnect(&second);
        assert_eq!(hub.sockets().len(), 1);
        hub.disconnect(&first);
        hub.connect(&second, 1).unwrap();
    }
}
