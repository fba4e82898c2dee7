use std::collections::HashSet;
use std::sync::Arc;

use deadpool_redis::redis::aio::PubSubSink;
use deadpool_redis::redis::{Client, Msg, RedisError};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tidings_domain::Tenant;
use tidings_service::lifecycle::Backoff;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::RedisTiming;
use super::message::Message;
use super::names::Names;
use super::outage::{Outage, Way};
use crate::{EdgeId, Signal};

/// Which tenants are listened to: those wanted, and those that Redis said are.
#[derive(Clone, Default)]
pub(super) struct Listening {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    wanted: HashSet<Tenant>,
    on: HashSet<Tenant>,
}

impl Listening {
    pub(super) fn want(&self, tenant: &Tenant) {
        if self.state.lock().wanted.insert(tenant.clone()) {
            self.changed.notify_one();
        }
    }

    pub(super) fn forget(&self, tenant: &Tenant) {
        if self.state.lock().wanted.remove(tenant) {
            self.changed.notify_one();
        }
    }

    pub(super) fn is_on(&self, tenant: &Tenant) -> bool {
        self.state.lock().on.contains(tenant)
    }

    /// What to begin and what to leave.
    fn difference(&self) -> (Vec<Tenant>, Vec<Tenant>) {
        let state = self.state.lock();
        let begin = state.wanted.difference(&state.on).cloned().collect();
        let leave = state.on.difference(&state.wanted).cloned().collect();
        (begin, leave)
    }
}

/// Follows the channels of the tenants that are here, on a connection of its
/// own, which it makes anew whenever it breaks or falls silent.
pub(super) struct Listener {
    pub(super) client: Client,
    pub(super) names: Names,
    pub(super) edge: EdgeId,
    pub(super) timing: RedisTiming,
    pub(super) listening: Listening,
    pub(super) outage: Arc<Outage>,
    pub(super) heard: mpsc::Sender<Signal>,
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("the connection was closed")]
    Closed,
}

impl Listener {
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(self.timing.heartbeat / 20, self.timing.heartbeat);
        loop {
            let mut connected = false;
            let Err(error) = self.listen(&mut connected).await;
            self.listening.state.lock().on.clear();
            self.outage.failed(Way::Listening, &error);
            if connected {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn listen(&self, connected: &mut bool) -> Result<std::convert::Infallible, Broken> {
        let limit = self.timing.timeout;
        let connection = timeout(limit, self.client.get_async_pubsub()).await??;
        let (mut sink, mut messages) = connection.split();
        let mut look = tokio::time::interval(self.timing.heartbeat);
        loop {
            tokio::select! {
                message = messages.next() => self.hear(&message.ok_or(Broken::Closed)?),
                () = self.listening.changed.notified() => self.follow(&mut sink).await?,
                // A connection that is dead says nothing either. The first
                // look is at once.
                _ = look.tick() => {
                    let () = timeout(limit, sink.ping()).await??;
                    self.follow(&mut sink).await?;
                    *connected = true;
                    self.outage.worked(Way::Listening);
                }
            }
        }
    }

    async fn follow(&self, sink: &mut PubSubSink) -> Result<(), Broken> {
        let (begin, leave) = self.listening.difference();
        for tenant in begin {
            let channel = self.names.channel(&tenant);
            timeout(self.timing.timeout, sink.subscribe(channel)).await??;
            self.listening.state.lock().on.insert(tenant);
        }
        for tenant in leave {
            self.listening.state.lock().on.remove(&tenant);
            let channel = self.names.channel(&tenant);
            timeout(self.timing.timeout, sink.unsubscribe(channel)).await??;
        }
        Ok(())
    }

    fn hear(&self, message: &Msg) {
        let signal = self
            .names
            .tenant_of(message.get_channel_name())
            .zip(Message::parse(message.get_payload_bytes()))
            // Its own typing an edge has told its sockets itself.
            .filter(|(_, message)| !(message.is_typing() && message.from == self.edge.0))
            .and_then(|(tenant, message)| message.signal(tenant));
        if let Some(signal) = signal
            && self.heard.try_send(signal).is_err()
        {
            metrics::counter!("tidings_signals_lost_total").increment(1);
        }
    }
}
