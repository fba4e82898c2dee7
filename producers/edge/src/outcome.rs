//! `outcome`: what became of commands whose answers a client missed.

use std::sync::Arc;

use tidings_domain::{CommandKey, ConversationId, OutcomeRow, TempId};
use tidings_log::{LogError, read_range};
use tidings_wire::frames::OutcomeState;
use tidings_wire::{DecodeError, Topic};

use crate::answer::Refusal;
use crate::freshness::Age;
use crate::lookup::REMEMBERED_MS;
use crate::peer::Peer;
use crate::reader::conversation_of;
use crate::shared::Shared;
use crate::view::Unavailable;

/// The most records of a command topic searched for undecided commands.
const MOST_UNDECIDED: i64 = 100_000;

/// What became of each command, in the order asked.
pub(crate) async fn states(
    shared: &Arc<Shared>,
    peer: &Peer,
    commands: &[(ConversationId, TempId)],
) -> Result<Vec<OutcomeState>, Refusal> {
    let asked: Vec<Asked<'_>> = commands
        .iter()
        .map(|(conversation_id, temp_id)| Asked {
            conversation_id: *conversation_id,
            temp_id,
            key: CommandKey::of(&peer.tenant, *conversation_id, &peer.user, temp_id),
            partition: shared.partition_of(*conversation_id),
        })
        .collect();
    let mut states: Vec<_> = asked
        .iter()
        .map(|command| at_hand(shared, command))
        .collect();
    let open: Vec<usize> = (0..asked.len())
        .filter(|at| states[*at].is_none())
        .collect();
    if !open.is_empty() {
        find(shared, peer, &asked, &open, &mut states).await?;
    }
    let states = states.into_iter();
    Ok(states
        .map(|state| state.unwrap_or(OutcomeState::Unknown))
        .collect())
}

struct Asked<'a> {
    conversation_id: ConversationId,
    temp_id: &'a TempId,
    key: CommandKey,
    partition: i32,
}

fn at_hand(shared: &Shared, command: &Asked<'_>) -> Option<OutcomeState> {
    if let Some(recent) = shared.recent.get(command.key) {
        return Some(OutcomeState::of(recent.outcome, recent.message_id));
    }
    // One that is on its way to the log may never get there.
    shared
        .inflight
        .is_durable(command.key)
        .then_some(OutcomeState::Pending)
}

/// Asks the view, and for what it does not know searches the undecided part of
/// the command topics. The order matters: a command decided between the two is
/// in the part that was undecided before the view was asked.
async fn find(
    shared: &Arc<Shared>,
    peer: &Peer,
    asked: &[Asked<'_>],
    open: &[usize],
    states: &mut [Option<OutcomeState>],
) -> Result<(), Refusal> {
    let mut partitions: Vec<i32> = open.iter().map(|at| asked[*at].partition).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let undecided = undecided_from(shared, &partitions).await?;
    let positions: Vec<_> = partitions
        .iter()
        .map(|partition| (*partition, shared.progress.position(*partition)))
        .collect();
    shared.freshness.reached(&positions, Age::Now).await?;
    let mut unknown = Vec::new();
    for at in open {
        let command = &asked[*at];
        let (tenant, user) = (&peer.tenant, &peer.user);
        let row: Option<OutcomeRow> = shared
            .view
            .ask(|view| view.outcome(tenant, command.conversation_id, user, command.temp_id))
            .await?;
        match row {
            Some(row) => states[*at] = Some(OutcomeState::from(&row)),
            None => unknown.push(*at),
        }
    }
    let keys: Vec<CommandKey> = unknown.iter().map(|at| asked[*at].key).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let conversations: Vec<_> = unknown
        .iter()
        .map(|at| asked[*at].conversation_id)
        .collect();
    let searching = {
        let shared = Arc::clone(shared);
        move || undecided_commands(&shared, &undecided, &conversations, &keys)
    };
    let found = shared.blocking.call(searching).await?;
    let found = found.map_err(|error| {
        tracing::warn!(session_id = %peer.id, %error, "cannot search for commands");
        Unavailable
    })?;
    for at in unknown {
        if found.contains(&asked[at].key) {
            states[at] = Some(OutcomeState::Pending);
        }
    }
    Ok(())
}

/// From where on each command topic may hold undecided commands. A topic of
/// which this edge has seen no decision yet is searched back to the time the
/// sequencer remembers.
pub(crate) async fn undecided_from(
    shared: &Arc<Shared>,
    partitions: &[i32],
) -> Result<Vec<(Topic, i32, i64)>, Unavailable> {
    let mut known = Vec::new();
    let mut unseen = Vec::new();
    for partition in partitions {
        for topic in Topic::COMMANDS {
            match shared.progress.undecided_from(topic, *partition) {
                Some(offset) => known.push((topic, *partition, offset)),
                None => unseen.push((topic, *partition)),
            }
        }
    }
    let log = Arc::clone(&shared.log);
    let since = shared.clock.now().minus_ms(REMEMBERED_MS);
    let searching = move || -> Result<Vec<_>, LogError> {
        let from =
            |(topic, partition)| Ok((topic, partition, log.offset_at(topic, partition, since.0)?));
        unseen.into_iter().map(from).collect()
    };
    let unseen = shared.blocking.call(searching).await?;
    known.extend(unseen.map_err(|_| Unavailable)?);
    Ok(known)
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Registry(DecodeError),
    #[error("{0} commands of {1} are undecided, more than are searched")]
    TooMany(i64, Topic),
}

/// Those of `keys` that stand in the undecided part of the command topics.
pub(crate) fn undecided_commands(
    shared: &Shared,
    undecided: &[(Topic, i32, i64)],
    conversations: &[ConversationId],
    keys: &[CommandKey],
) -> Result<Vec<CommandKey>, SearchError> {
    let mut found = Vec::new();
    for (topic, partition, from) in undecided.iter().copied() {
        let (_, end) = shared.log.watermarks(topic, partition)?;
        if end - from > MOST_UNDECIDED {
            return Err(SearchError::TooMany(end - from, topic));
        }
        read_range(&*shared.log, topic, partition, from, end, |stored| {
            if !conversation_of(&stored.record).is_some_and(|id| conversations.contains(&id)) {
                return Ok(());
            }
            match shared.codec.decode_command(topic, &stored.record) {
                Ok(command) if keys.contains(&command.key()) => found.push(command.key()),
                Err(error) if error.is_transient() => return Err(SearchError::Registry(error)),
                // Another's, or for the dead letters.
                Ok(_) | Err(_) => {}
            }
            Ok(())
        })?;
    }
    Ok(found)
}
