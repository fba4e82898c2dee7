use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_domain::{ConversationId, Tenant, UserId};
use tidings_service::lifecycle::Backoff;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::listener::{Listener, Listening};
use super::message::Message;
use super::outage::{Outage, Way};
use super::register::{Failed, Register, Users};
use super::{RedisExchange, RedisTiming};
use crate::{EdgeId, HEARD, Heard, Orphan, Presence, Signal, Signals, Typing};

/// How much typing may wait to be published.
const TYPING: usize = 1_024;
/// How many are remembered who left while Redis was down.
const LEFT: usize = 10_000;
/// After an outage, how many more times it is said who is here: others may
/// have been slower to listen again.
const REPEATS: u32 = 3;
/// How long an edge that ends may take to say so.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// An edge's place on Redis. Its tasks end with it.
pub(super) struct Place {
    inner: Arc<Inner>,
    typing: mpsc::Sender<Typing>,
    _stop: DropGuard,
}

/// The conversations whose members are told of a user.
type Conversations = Arc<[ConversationId]>;

struct Inner {
    register: Register,
    outage: Arc<Outage>,
    listening: Listening,
    /// The users whose sockets are on this edge.
    here: Mutex<HashMap<Tenant, HashMap<UserId, Conversations>>>,
    /// Whether somebody came or left of whom Redis does not know.
    unsaid: AtomicBool,
    /// Those who left while Redis was down.
    left: Mutex<HashMap<(Tenant, UserId), Conversations>>,
    heard: mpsc::Sender<Signal>,
}

impl Place {
    pub(super) fn new(exchange: &RedisExchange) -> (Self, Heard) {
        let edge = EdgeId(Uuid::new_v4());
        let (sender, heard) = mpsc::channel(HEARD);
        let (typing, to_publish) = mpsc::channel(TYPING);
        let outage = Arc::new(Outage::default());
        let listening = Listening::default();
        let timing = exchange.timing;
        let (pool, names) = (exchange.pool.clone(), exchange.names.clone());
        let inner = Arc::new(Inner {
            register: Register::new(edge, pool, names.clone(), timing.expiry),
            outage: Arc::clone(&outage),
            listening: listening.clone(),
            here: Mutex::default(),
            unsaid: AtomicBool::new(false),
            left: Mutex::default(),
            heard: sender.clone(),
        });
        let listener = Listener {
            client: exchange.client.clone(),
            names,
            edge,
            timing,
            listening,
            outage,
            heard: sender,
        };
        let stop = CancellationToken::new();
        // They end with the place.
        let until = || stop.clone();
        tokio::spawn(until().run_until_cancelled_owned(listener.run()));
        tokio::spawn(until().run_until_cancelled_owned(Arc::clone(&inner).beat(timing)));
        tokio::spawn(until().run_until_cancelled_owned(Arc::clone(&inner).publish(to_publish)));
        let place = Self {
            inner,
            typing,
            _stop: stop.drop_guard(),
        };
        (place, heard)
    }
}

impl Inner {
    /// Tells this edge itself, where Redis does not.
    fn hear(&self, signal: Signal) {
        if self.heard.try_send(signal).is_err() {
            metrics::counter!("tidings_signals_lost_total").increment(1);
        }
    }

    /// Whether what was said of a tenant since `before` was asked is heard here
    /// anyway. What is said while listening begins or breaks off may be missed;
    /// to hear it twice does no harm.
    fn heard_since(&self, before: bool, tenant: &Tenant) -> bool {
        before && self.listening.is_on(tenant)
    }

    fn hear_presence(
        &self,
        tenant: &Tenant,
        user: &UserId,
        online: bool,
        conversations: Arc<[ConversationId]>,
    ) {
        self.hear(Signal::Presence(Presence {
            tenant: tenant.clone(),
            user_id: user.clone(),
            online,
            conversations,
        }));
    }

    /// Notes how a command went.
    fn note<T>(&self, result: Result<T, Failed>) -> Option<T> {
        match result {
            Ok(value) => {
                self.outage.worked(Way::Commands);
                Some(value)
            }
            Err(error) => {
                self.outage.failed(Way::Commands, &error);
                None
            }
        }
    }

    async fn publish(self: Arc<Self>, mut typing: mpsc::Receiver<Typing>) {
        while let Some(typing) = typing.recv().await {
            // Who comes back later does not want to know who typed before.
            if self.outage.is_up() {
                let message = Message::typing(self.register.edge, &typing);
                self.note(self.register.publish(&typing.tenant, &message).await);
            }
        }
    }

    fn tenants(&self) -> Vec<Tenant> {
        self.here.lock().keys().cloned().collect()
    }

    fn users(&self, tenant: &Tenant) -> Users {
        let here = self.here.lock();
        let users = here.get(tenant).into_iter().flatten();
        users
            .map(|(user, conversations)| (user.clone(), Arc::clone(conversations)))
            .collect()
    }

    /// Gives signs of life, and clears up after those who give none. While
    /// Redis is down, looks when it is back.
    async fn beat(self: Arc<Self>, timing: RedisTiming) {
        let mut backoff = Backoff::new(timing.heartbeat / 8, timing.heartbeat);
        let mut repeats = 0;
        loop {
            let is_up = self.outage.is_up();
            let wait = if is_up {
                backoff.reset();
                timing.heartbeat
            } else {
                backoff.next_wait()
            };
            // A beat after the first that worked, when the others listen again.
            let unsaid = self.unsaid.load(Ordering::Acquire);
            let catch_up = is_up && (unsaid || repeats > 0);
            tokio::time::sleep(wait).await;
            let mut works = true;
            for tenant in self.tenants() {
                works = works && self.note(self.beat_for(&tenant).await).is_some();
            }
            if catch_up && works {
                repeats = if unsaid { REPEATS } else { repeats - 1 };
                self.unsaid.store(false, Ordering::Release);
                if self.note(self.catch_up().await).is_none() {
                    self.unsaid.store(true, Ordering::Release);
                }
            }
        }
    }

    /// After an outage: says who is here and who left, to all who could not
    /// hear it.
    async fn catch_up(&self) -> Result<(), Failed> {
        for tenant in self.tenants() {
            self.join_again(&tenant).await?;
        }
        let left: Vec<_> = self.left.lock().drain().collect();
        for ((tenant, user), conversations) in left {
            let is_back = self.is_here(&tenant, &user);
            if !is_back {
                self.register.leave(&tenant, &user, &conversations).await?;
            }
        }
        Ok(())
    }

    fn is_here(&self, tenant: &Tenant, user: &UserId) -> bool {
        let here = self.here.lock();
        here.get(tenant)
            .is_some_and(|users| users.contains_key(user))
    }

    async fn beat_for(&self, tenant: &Tenant) -> Result<(), Failed> {
        let beat = self.register.beat(tenant).await?;
        if !beat.edge_was_known {
            // It counted as dead, or Redis has forgotten everything.
            self.join_again(tenant).await?;
        }
        for dead in beat.dead {
            self.sweep(tenant, dead).await?;
        }
        Ok(())
    }

    /// Registers all users of a tenant anew, and says that they are online.
    async fn join_again(&self, tenant: &Tenant) -> Result<(), Failed> {
        let users = self.users(tenant);
        self.register.join_all(tenant, &users).await?;
        // Those who left meanwhile found nothing to leave.
        for (user, conversations) in users {
            if !self.is_here(tenant, &user) {
                self.register.leave(tenant, &user, &conversations).await?;
            }
        }
        Ok(())
    }

    /// Finds the users of a dead edge. Once it has none, it is forgotten.
    async fn sweep(&self, tenant: &Tenant, dead: EdgeId) -> Result<(), Failed> {
        if !self.register.may_sweep(tenant, dead).await? {
            return Ok(());
        }
        let (mut cursor, mut found) = (0, false);
        loop {
            let (next, users) = self.register.users_of(tenant, dead, cursor).await?;
            for user_id in users {
                found = true;
                let orphan = Orphan {
                    tenant: tenant.clone(),
                    user_id,
                    edge: dead,
                };
                // Waits for room; the receiver goes only with the edge.
                self.heard.send(Signal::Orphan(orphan)).await.ok();
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        if !found {
            self.register.forget(tenant, dead).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Signals for Place {
    fn typing(&self, typing: Typing) {
        if self.typing.try_send(typing).is_err() {
            metrics::counter!("tidings_signals_lost_total").increment(1);
        }
    }

    async fn came(&self, tenant: &Tenant, user: &UserId, conversations: Arc<[ConversationId]>) {
        let inner = &self.inner;
        let others_here = {
            let mut here = inner.here.lock();
            let users = here.entry(tenant.clone()).or_default();
            users.insert(user.clone(), Arc::clone(&conversations));
            users.len() > 1
        };
        let heard = inner.listening.is_on(tenant);
        inner.listening.want(tenant);
        let joined = if inner.outage.is_up() {
            inner.note(inner.register.join(tenant, user, &conversations).await)
        } else {
            None
        };
        match joined {
            Some(joined) => {
                if joined.is_first && !inner.heard_since(heard, tenant) {
                    inner.hear_presence(tenant, user, true, conversations);
                }
                if others_here && !joined.edge_was_known {
                    inner.note(inner.join_again(tenant).await);
                }
            }
            None => {
                inner.unsaid.store(true, Ordering::Release);
                inner.hear_presence(tenant, user, true, conversations);
            }
        }
    }

    async fn gone(&self, tenant: &Tenant, user: &UserId, conversations: Arc<[ConversationId]>) {
        let inner = &self.inner;
        let is_last_here = {
            let mut here = inner.here.lock();
            let users = here.entry(tenant.clone()).or_default();
            users.remove(user);
            let is_empty = users.is_empty();
            if is_empty {
                here.remove(tenant);
            }
            is_empty
        };
        let heard = inner.listening.is_on(tenant);
        let left = if inner.outage.is_up() {
            inner.note(inner.register.leave(tenant, user, &conversations).await)
        } else {
            None
        };
        match left {
            Some(nowhere) => {
                if nowhere && !inner.heard_since(heard, tenant) {
                    inner.hear_presence(tenant, user, false, conversations);
                }
            }
            None => {
                let mut left = inner.left.lock();
                if left.len() < LEFT {
                    left.insert((tenant.clone(), user.clone()), Arc::clone(&conversations));
                }
                drop(left);
                inner.unsaid.store(true, Ordering::Release);
                inner.hear_presence(tenant, user, false, conversations);
            }
        }
        if is_last_here {
            inner.listening.forget(tenant);
            if inner.outage.is_up() {
                inner.note(inner.register.sign_off(tenant).await);
            }
        }
    }

    async fn bury(&self, orphan: &Orphan, conversations: Arc<[ConversationId]>) {
        let inner = &self.inner;
        let (tenant, user) = (&orphan.tenant, &orphan.user_id);
        let heard = inner.listening.is_on(tenant);
        let buried = inner
            .register
            .bury(tenant, user, orphan.edge, &conversations);
        let is_gone = inner.note(buried.await) == Some(true);
        if is_gone && !inner.heard_since(heard, tenant) {
            inner.hear_presence(tenant, user, false, conversations);
        }
    }

    async fn close(&self) {
        let inner = &self.inner;
        let leave = async {
            for tenant in inner.tenants() {
                for (user, conversations) in inner.users(&tenant) {
                    if !inner.outage.is_up() {
                        return;
                    }
                    self.gone(&tenant, &user, conversations).await;
                }
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, leave).await.is_err() {
            tracing::debug!("not everybody could be signed off; they will expire");
        }
    }
}
