//! Who is there: told to those who share a small conversation, and kept
//! nowhere.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_domain::{ConversationId, Tenant, UserId};
use tidings_signals::{Heard, Orphan, Presence, Signal};
use tidings_wire::frames::ServerFrame;
use tokio::sync::{Semaphore, mpsc};

use crate::courtesies;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::typing;

/// Of how many users it is found out at once who is to know of them.
const AT_ONCE: usize = 16;
/// How many users of dead edges may wait; those that do not fit are met again.
const ORPHANS: usize = 1_024;

/// What the others were told of the users here.
pub(crate) struct Presences {
    users: Mutex<HashMap<(Tenant, UserId), Told>>,
    room: Semaphore,
}

#[derive(Default)]
struct Told {
    online: bool,
    /// Whether a task is telling.
    busy: bool,
    /// The conversations of a user who left.
    left: Vec<ConversationId>,
}

impl Default for Presences {
    fn default() -> Self {
        Self {
            users: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        }
    }
}

/// A user's socket came, or went; `left` are the conversations of a user whose
/// last one it was.
pub(crate) fn changed(shared: &Arc<Shared>, peer: &Peer, left: Option<Vec<ConversationId>>) {
    let (tenant, user) = (peer.tenant.clone(), peer.user.clone());
    let mut users = shared.presences.users.lock();
    let told = users.entry((tenant.clone(), user.clone())).or_default();
    if let Some(left) = left {
        told.left = left;
    }
    // Whoever is telling looks again when they are done.
    if std::mem::replace(&mut told.busy, true) {
        return;
    }
    drop(users);
    let telling = tell_until_true(Arc::clone(shared), tenant, user);
    shared.runtime.spawn(telling);
}

/// Tells the others whether the user is here, until what they were told is so.
async fn tell_until_true(shared: Arc<Shared>, tenant: Tenant, user: UserId) {
    let key = (tenant, user);
    let (tenant, user) = &key;
    loop {
        let (here, left) = {
            let mut users = shared.presences.users.lock();
            let here = shared.hub.user(tenant, user);
            let told = users.entry(key.clone()).or_default();
            if here.is_some() == told.online {
                told.busy = false;
                if !told.online {
                    users.remove(&key);
                }
                return;
            }
            (here, told.left.clone())
        };
        // Never closed.
        let _room = shared.presences.room.acquire().await;
        let online = here.is_some();
        let mut all = here.map_or(left, |here| here.conversations());
        // The view is asked the same each time.
        all.sort_unstable();
        let conversations = small_ones(&shared, tenant, all).await;
        let signals = &shared.signals;
        match online {
            true => signals.came(tenant, user, conversations).await,
            false => signals.gone(tenant, user, conversations).await,
        }
        let mut users = shared.presences.users.lock();
        users.entry(key.clone()).or_default().online = online;
    }
}

async fn small_ones(
    shared: &Shared,
    tenant: &Tenant,
    all: Vec<ConversationId>,
) -> Arc<[ConversationId]> {
    let mut small = Vec::with_capacity(all.len());
    for id in all {
        if courtesies::is_small(shared, tenant, id).await {
            small.push(id);
        }
    }
    small.into()
}

/// Passes on to the sockets here what comes from other edges.
pub(crate) async fn listen(shared: Arc<Shared>, mut heard: Heard) {
    let (orphans, to_bury) = mpsc::channel(ORPHANS);
    tokio::spawn(bury(Arc::clone(&shared), to_bury));
    loop {
        let signal = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            signal = heard.recv() => signal,
        };
        match signal {
            Some(Signal::Typing(typing)) => typing::tell(&shared, &typing),
            Some(Signal::Presence(presence)) => tell(&shared, &presence),
            Some(Signal::Orphan(orphan)) => {
                if orphans.try_send(orphan).is_err() {
                    tracing::debug!("a user of a dead edge has to wait for the next round");
                }
            }
            None => return,
        }
    }
}

fn tell(shared: &Shared, presence: &Presence) {
    let frame = ServerFrame::Presence {
        user_id: &presence.user_id,
        online: presence.online,
    };
    let (conversations, frame) = (&presence.conversations, frame.to_json().into());
    shared
        .hub
        .tell_sharers(&presence.tenant, &presence.user_id, conversations, &frame);
}

/// Finds out who is to know that a user of a dead edge is gone. Where the view
/// does not tell, the user is met again.
async fn bury(shared: Arc<Shared>, mut orphans: mpsc::Receiver<Orphan>) {
    while let Some(orphan) = orphans.recv().await {
        let (tenant, user) = (&orphan.tenant, &orphan.user_id);
        let asked = shared.view.ask(|view| view.memberships(tenant, user));
        let Ok(all) = asked.await else {
            continue;
        };
        let conversations = small_ones(&shared, tenant, all).await;
        shared.signals.bury(&orphan, conversations).await;
    }
}
