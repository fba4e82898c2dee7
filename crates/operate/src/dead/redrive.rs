use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use tidings_log::{Log, LogError};
use tidings_projection::View;
use tidings_wire::{Codec, Topic};

use super::command;
use super::filter::consumer_of;
use super::journal::{Entry, Journal, State};
use super::view::ViewRedrive;
use super::{Filter, Letter, LetterId, Lock, letters};

/// How often letters are looked for that came of what was done meanwhile.
const ROUNDS: usize = 100;

/// Does dead letters again: in the order of each partition, and so of each
/// conversation, until one cannot be done.
pub struct Redrive<'a> {
    /// The log.
    pub log: &'a Arc<dyn Log>,
    /// Reads its records.
    pub codec: &'a Codec,
    /// The views whose letters can be done, each in all of its generations: the
    /// one that is read first.
    pub views: &'a BTreeMap<Topic, Vec<Arc<dyn View>>>,
    /// Who does it.
    pub by: Option<String>,
    /// Whether only to tell what would be done.
    pub dry_run: bool,
}

/// What was done with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The letter.
    pub letter: String,
    /// Where its record stood.
    pub origin: String,
    /// Whether its conversation had to be done with another's.
    pub follows: bool,
    /// Where its command is now; null of a decision that was applied, and in a
    /// dry run.
    pub offset: Option<i64>,
}

/// The letter that could not be done, at which it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The letter; null: a record that is none, between those of letters.
    pub letter: Option<String>,
    /// Where the record stands that could not be done.
    pub origin: String,
    /// Why.
    pub cause: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Letters done, or, in a dry run, to be done.
    pub redriven: u64,
    /// Letters that were meant and were done before.
    pub done_before: u64,
    /// Where it stopped.
    pub failure: Option<Failure>,
}

/// Why redriving ended before it was through.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store of a view is not to be had.
    #[error("{0}")]
    Store(String),
    /// A letter could not be done.
    #[error("{}: {}", .0.origin, .0.cause)]
    Failed(Failure),
    /// Whoever watches wants no more.
    #[error("interrupted")]
    Interrupted,
}

/// Is told of each letter that is done.
pub type Progress<'a> = dyn FnMut(&Done) -> Result<(), RedriveError> + 'a;

/// The open letters of one partition of a topic, in order, and which of them
/// were asked for.
pub(super) struct Queue {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) letters: Vec<(Letter, bool)>,
    /// The offsets of the records whose letters are done.
    pub(super) handled: BTreeSet<i64>,
}

impl Redrive<'_> {
    /// Does the letters that are meant, and those of the same conversations
    /// that are open too: an earlier one must come first, and later ones were
    /// often refused only because of it.
    ///
    /// What stops it is told in the summary; what was done until then stays.
    ///
    /// # Errors
    /// [`RedriveError`] of the log and of stores.
    pub async fn run(
        &self,
        filter: &Filter,
        progress: &mut Progress<'_>,
    ) -> Result<Summary, RedriveError> {
        let mut summary = Summary::default();
        for topic in filter.dead_topics() {
            let name = format!("redrive {topic}");
            let mut lock = match self.dry_run {
                true => None,
                false => Some(Lock::take(&**self.log, &name, self.by.clone())?),
            };
            let result = self
                .topic(topic, filter, &mut lock, &mut summary, progress)
                .await;
            if let Some(lock) = lock
                && let Err(error) = lock.release(&**self.log)
            {
                tracing::warn!(%error, "the lock is not given up; it ends by itself");
            }
            match result {
                Ok(()) => {}
                Err(RedriveError::Failed(failure)) => {
                    summary.failure = Some(failure);
                    return Ok(summary);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(summary)
    }

    async fn topic(
        &self,
        topic: Topic,
        filter: &Filter,
        lock: &mut Option<Lock>,
        summary: &mut Summary,
        progress: &mut Progress<'_>,
    ) -> Result<(), RedriveError> {
        let mut journal = Journal::read(&**self.log)?;
        let mut seen: BTreeSet<LetterId> = BTreeSet::new();
        for round in 0..ROUNDS {
            let queues = self.queues(topic, filter, &journal, round == 0, summary)?;
            let mut is_new = false;
            for queue in queues {
                let mut told = |done: &Done| -> Result<(), RedriveError> {
                    summary.redriven += 1;
                    progress(done)
                };
                is_new |= queue
                    .letters
                    .iter()
                    .any(|(letter, _)| seen.insert(letter.id));
                if topic == Topic::DeadSequencer {
                    self.commands(&queue, &mut journal, lock, &mut told)?;
                } else {
                    self.view(&queue, &mut journal, lock, &mut told).await?;
                }
            }
            // A projection at work may have refused what followed on what was
            // not there yet. A command's letter that comes back is another
            // failure, not more of this work.
            if !is_new || self.dry_run || topic == Topic::DeadSequencer {
                break;
            }
        }
        if !self.dry_run {
            journal.prune(&**self.log)?;
        }
        Ok(())
    }

    /// The open letters of the conversations that are meant.
    fn queues(
        &self,
        topic: Topic,
        filter: &Filter,
        journal: &Journal,
        count_done: bool,
        summary: &mut Summary,
    ) -> Result<Vec<Queue>, RedriveError> {
        let mut meant: BTreeSet<(i32, Vec<u8>)> = BTreeSet::new();
        let key_of = |letter: &Letter| {
            let key = letter.record.key.as_deref()?;
            Some((letter.id.partition, key.to_vec()))
        };
        letters::<LogError>(&**self.log, &[topic], journal, |letter, entry| {
            if !filter.takes(&letter) {
                return Ok(());
            }
            if entry.is_some_and(Entry::is_done) {
                summary.done_before += u64::from(count_done);
            } else {
                meant.extend(key_of(&letter));
            }
            Ok(())
        })?;
        let mut queues: Vec<Queue> = Vec::new();
        let mut handled: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
        letters::<LogError>(&**self.log, &[topic], journal, |letter, entry| {
            let asked = filter.takes(&letter);
            let follows = key_of(&letter).is_some_and(|key| meant.contains(&key));
            let partition = letter.id.partition;
            if entry.is_some_and(Entry::is_done) {
                let offset = letter.origin.map(|origin| origin.offset);
                handled.entry(partition).or_default().extend(offset);
                return Ok(());
            }
            if !(asked || follows) {
                return Ok(());
            }
            match queues.last_mut() {
                Some(queue) if queue.partition == partition => queue.letters.push((letter, asked)),
                _ => queues.push(Queue {
                    topic,
                    partition,
                    letters: vec![(letter, asked)],
                    handled: BTreeSet::new(),
                }),
            }
            Ok(())
        })?;
        for queue in &mut queues {
            queue.handled = handled.remove(&queue.partition).unwrap_or_default();
        }
        Ok(queues)
    }

    fn commands(
        &self,
        queue: &Queue,
        journal: &mut Journal,
        lock: &mut Option<Lock>,
        progress: &mut Progress<'_>,
    ) -> Result<(), RedriveError> {
        let log = &**self.log;
        for (letter, asked) in &queue.letters {
            let command = command::Command::of(letter, log, self.codec)?;
            let mut done = Done {
                letter: letter.id.to_string(),
                origin: command.origin.to_string(),
                follows: !asked,
                offset: None,
            };
            if !self.dry_run {
                if let Some(lock) = lock {
                    lock.renew(log)?;
                }
                let offset = command.append_once(log, journal, self.by.clone())?;
                let state = State::Redriven {
                    offset: Some(offset),
                };
                journal.note(log, letter.id, Entry::now(state, self.by.clone()))?;
                done.offset = Some(offset);
            }
            progress(&done)?;
        }
        Ok(())
    }

    async fn view(
        &self,
        queue: &Queue,
        journal: &mut Journal,
        lock: &mut Option<Lock>,
        progress: &mut Progress<'_>,
    ) -> Result<(), RedriveError> {
        let Some(views) = self.views.get(&queue.topic) else {
            let name = consumer_of(queue.topic);
            return Err(RedriveError::Store(format!(
                "the letters of {} are done again in the {name} view, and its store is not given",
                queue.topic
            )));
        };
        let redrive = ViewRedrive {
            log: &**self.log,
            codec: self.codec,
            views,
            by: self.by.clone(),
            dry_run: self.dry_run,
        };
        redrive.run(queue, journal, lock, progress).await
    }
}
