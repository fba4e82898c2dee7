//! Finding the conversations of a user who connects.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::Ownership;
use tidings_log::{LogError, LogRange, read_ranges};
use tidings_service::lifecycle::Backoff;
use tidings_views::history::Position;
use tidings_wire::{DecodeError, DeliveredBody, DeliveredStream, Judged, Topic};

use crate::hub::User;
use crate::membership::{Gap, LoggedChange, MembershipChange};
use crate::peer::Peer;
use crate::reader;
use crate::shared::Shared;
use crate::view::Unavailable;

/// The most records read from the log to make up for a view that lags behind.
/// Past that the user is loaded when the view has come closer.
const MOST_MISSING: i64 = 1_000_000;

/// Finds the user's conversations before their socket is welcomed. Where the
/// view cannot tell in time, goes on trying in the background; meanwhile the
/// user gets what changes, and the conversations they post to.
pub(crate) async fn memberships(shared: &Arc<Shared>, user: &Arc<User>) {
    if user.is_loaded() {
        return;
    }
    let in_time = tokio::time::timeout(shared.config.view_timeout, load(shared, user)).await;
    if matches!(in_time, Ok(Ok(()))) || !user.start_loading() {
        return;
    }
    let (shared, user) = (Arc::clone(shared), Arc::clone(user));
    tokio::spawn(async move {
        let [first, longest] = shared.config.view_waits.load;
        let mut backoff = Backoff::new(first, longest);
        while user.is_here() && !user.is_loaded() && !shared.stop.is_cancelled() {
            tokio::time::sleep(backoff.next_wait()).await;
            if load(&shared, &user).await.is_ok() {
                return;
            }
        }
    });
}

/// Whoever is told by the view what they missed gets all that comes after: so
/// their conversations are known before.
///
/// # Errors
/// Where the view cannot tell.
pub(crate) async fn before_answer(shared: &Arc<Shared>, peer: &Peer) -> Result<(), Unavailable> {
    match shared.hub.user(&peer.tenant, &peer.user) {
        Some(user) if !user.is_loaded() => load(shared, &user).await,
        _ => Ok(()),
    }
}

async fn load(shared: &Arc<Shared>, user: &Arc<User>) -> Result<(), Unavailable> {
    // The positions first: what is read after them is at least as new.
    let positions = shared.view.ask(|view| view.positions()).await?;
    let conversations = shared
        .view
        .ask(|view| view.memberships(&user.tenant, &user.id))
        .await?;
    let mut offsets = vec![0; shared.partitions as usize];
    for position in &positions {
        if let Some(offset) = offsets.get_mut(position.partition as usize) {
            *offset = position.offset;
        }
    }
    fill_ring(shared, &positions, &offsets).await?;
    let changes = shared.ring.changes_of(&user.tenant, &user.id, &offsets);
    let position = |id| offsets[shared.partition_of(id) as usize];
    shared.hub.load(user, &conversations, position, &changes);
    Ok(())
}

/// Reads the membership changes between the view's positions and those that
/// the ring has, one user at a time: the next one finds them in the ring.
async fn fill_ring(
    shared: &Arc<Shared>,
    positions: &[Position],
    offsets: &[i64],
) -> Result<(), Unavailable> {
    if shared.ring.gaps(offsets).is_empty() {
        return Ok(());
    }
    let _filling = shared.filling_ring.lock().await;
    let gaps = shared.ring.gaps(offsets);
    let missing: i64 = gaps.iter().map(|gap| gap.to - gap.from).sum();
    if missing > MOST_MISSING {
        tracing::warn!(
            missing,
            "the history view is too far behind to load memberships"
        );
        return Err(Unavailable);
    }
    let owners = positions
        .iter()
        .map(|position| (position.partition, position.current))
        .collect();
    let reading = {
        let (shared, gaps) = (Arc::clone(shared), gaps.clone());
        move || read_changes(&shared, &gaps, &owners)
    };
    let changes = shared.blocking.call(reading).await?;
    let mut changes = changes.map_err(|error| {
        tracing::warn!(%error, "cannot read membership changes");
        Unavailable
    })?;
    for gap in gaps {
        let of_gap = changes.remove(&gap.partition).unwrap_or_default();
        shared.ring.extend_back(gap, of_gap);
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Registry(DecodeError),
}

/// The changes in all gaps, by partition. `owners` had the partitions where the
/// gaps begin.
fn read_changes(
    shared: &Shared,
    gaps: &[Gap],
    owners: &HashMap<i32, Option<Ownership>>,
) -> Result<HashMap<i32, Vec<LoggedChange>>, ReadError> {
    let mut stream = DeliveredStream::default();
    let mut ranges = Vec::with_capacity(gaps.len());
    for gap in gaps {
        let owner = owners.get(&gap.partition).copied().flatten();
        stream.resume(gap.partition, owner);
        ranges.push(LogRange {
            topic: Topic::MessageDelivered,
            partition: gap.partition,
            from: gap.from,
            to: gap.to,
        });
    }
    let mut changes: HashMap<i32, Vec<LoggedChange>> = HashMap::new();
    read_ranges(&*shared.log, &ranges, |stored| {
        // What cannot be read is passed over, as the reader does.
        let Ok(Judged::Valid(_)) = stream.judge(&stored) else {
            return Ok(());
        };
        if !reader::is_conversation_updated(&stored.record) {
            return Ok(());
        }
        let decision = match shared.codec.decode_delivered(&stored.record) {
            Ok(DeliveredBody::Decision(decision)) => decision,
            Err(error) if error.is_transient() => return Err(ReadError::Registry(error)),
            Ok(DeliveredBody::Dead { .. }) | Err(_) => return Ok(()),
        };
        if let Some(change) = MembershipChange::of(&decision) {
            changes
                .entry(stored.partition)
                .or_default()
                .push(LoggedChange {
                    offset: stored.offset,
                    tenant: decision.tenant,
                    conversation_id: decision.conversation_id,
                    change: Arc::new(change),
                });
        }
        Ok(())
    })?;
    Ok(changes)
}
