use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidings_domain::Decision;
use tidings_log::{Log, read_range};
use tidings_projection::{Entry as Step, View};
use tidings_wire::{
    Codec, Delivered, DeliveredBody, DeliveredStream, Judged, Stored, Topic, delivered_header,
};

use super::command::{failed, record_at};
use super::journal::{Entry, Journal, State};
use super::redrive::{Done, Failure, Progress, Queue, RedriveError};
use super::{Letter, Lock, Origin};

/// How many decisions are applied at once.
const BATCH: usize = 128;
/// How many offsets are read at once.
const CHUNK: i64 = 4_096;

/// Applies the decisions of a projection's letters to its view again.
///
/// With each, every later decision of its conversation is applied again, up to
/// where the view stands: what was refused because of it, and what a view left
/// out that skips what does not fit. Applying what is there changes nothing.
///
/// It is done in every generation of the view, as each has met it: in one that
/// is not there yet up to where it stands; the rest it meets by itself.
pub(super) struct ViewRedrive<'a> {
    pub(super) log: &'a dyn Log,
    pub(super) codec: &'a Codec,
    /// The generation that is read, then the others.
    pub(super) views: &'a [Arc<dyn View>],
    pub(super) by: Option<String>,
    pub(super) dry_run: bool,
}

/// A record to do again.
struct Work {
    stored: Stored,
    /// None: it asks nothing of a view.
    decision: Option<Decision>,
}

/// What is to be done again in one partition.
struct Plan<'q> {
    /// The letters, by the offset of their record. A record has several where
    /// it was given up several times.
    letters: BTreeMap<i64, Vec<&'q (Letter, bool)>>,
    /// The conversations of the letters.
    keys: BTreeSet<&'q [u8]>,
    /// Records whose letters were redriven or dropped before.
    handled: &'q BTreeSet<i64>,
}

impl ViewRedrive<'_> {
    pub(super) async fn run(
        &self,
        queue: &Queue,
        journal: &mut Journal,
        lock: &mut Option<Lock>,
        progress: &mut Progress<'_>,
    ) -> Result<(), RedriveError> {
        let plan = Plan::of(queue)?;
        let Some((first, last)) = plan.range() else {
            return Ok(());
        };
        let mut stream = self.stream_at(queue.partition, first, &plan)?;
        let mut stands = Vec::with_capacity(self.views.len());
        for view in self.views {
            stands.push(position(&**view, queue.partition).await?);
        }
        let Some(to) = stands.first().copied() else {
            return Ok(());
        };
        if last >= to {
            let why = format!(
                "the view stands at offset {to} and meets it again by itself: start its projection"
            );
            return Err(plan.failed(last, &why));
        }
        let to = stands.iter().copied().max().unwrap_or(to);
        let mut next = first;
        while next < to {
            let end = to.min(next + CHUNK);
            let mut chunk = Vec::new();
            let topic = Topic::MessageDelivered;
            read_range::<RedriveError>(self.log, topic, queue.partition, next, end, |stored| {
                chunk.push(stored);
                Ok(())
            })?;
            let mut pending = Vec::new();
            for stored in chunk {
                match self.work(stored, &plan, &mut stream) {
                    Ok(None) => {}
                    Ok(Some(work)) => pending.push(work),
                    Err(error) => {
                        // What comes before it is done first.
                        self.apply(&mut pending, &stands, &plan, journal, lock, progress)
                            .await?;
                        return Err(error);
                    }
                }
                if pending.len() == BATCH {
                    self.apply(&mut pending, &stands, &plan, journal, lock, progress)
                        .await?;
                }
            }
            self.apply(&mut pending, &stands, &plan, journal, lock, progress)
                .await?;
            next = end;
        }
        Ok(())
    }

    /// The reader's rule at the first letter: its writer was the owner, or it
    /// would have been void and no letter.
    fn stream_at(
        &self,
        partition: i32,
        first: i64,
        plan: &Plan<'_>,
    ) -> Result<DeliveredStream, RedriveError> {
        let origin = Origin {
            topic: Topic::MessageDelivered,
            partition,
            offset: first,
        };
        let Some(stored) = record_at(self.log, origin)? else {
            return Err(plan.failed(first, "the log does not hold it"));
        };
        let by = match delivered_header(&stored.record) {
            Ok(Delivered::Decided(marked)) => marked.by,
            Ok(Delivered::Claim(by)) => by,
            Err(error) => {
                let why = format!("it is nobody's decision ({error}): drop it");
                return Err(plan.failed(first, &why));
            }
        };
        let mut stream = DeliveredStream::default();
        stream.resume(partition, Some(by));
        Ok(stream)
    }

    /// What is to be done with a record, if anything.
    fn work(
        &self,
        stored: Stored,
        plan: &Plan<'_>,
        stream: &mut DeliveredStream,
    ) -> Result<Option<Work>, RedriveError> {
        let offset = stored.offset;
        let judged = stream.judge(&stored);
        let has_letter = plan.letters.contains_key(&offset);
        let key = stored.record.key.as_deref().unwrap_or_default();
        if !has_letter && !plan.keys.contains(key) {
            return Ok(None);
        }
        match judged {
            Ok(Judged::Valid(_)) => {}
            Err(error) if has_letter => {
                let why = format!("it is nobody's decision ({error}): drop it");
                return Err(plan.failed(offset, &why));
            }
            Ok(Judged::Claim(_) | Judged::Void) if has_letter => {
                return Err(plan.failed(offset, "it does not count by the reader's rule: drop it"));
            }
            _ => return Ok(None),
        }
        let decision = match self.codec.decode_delivered(&stored.record) {
            Ok(DeliveredBody::Decision(decision)) => Some(decision),
            Ok(DeliveredBody::Dead { .. }) => None,
            Err(_) if !has_letter && plan.handled.contains(&offset) => return Ok(None),
            Err(error) => {
                let why = format!("it cannot be read yet: {error}");
                return Err(plan.failed_at(&stored, &why));
            }
        };
        Ok(Some(Work { stored, decision }))
    }

    /// Applies decisions and notes their letters as done.
    async fn apply(
        &self,
        works: &mut Vec<Work>,
        stands: &[i64],
        plan: &Plan<'_>,
        journal: &mut Journal,
        lock: &mut Option<Lock>,
        progress: &mut Progress<'_>,
    ) -> Result<(), RedriveError> {
        let works = std::mem::take(works);
        let mut refused = Vec::new();
        if !self.dry_run {
            if let Some(lock) = lock {
                lock.renew(self.log)?;
            }
            for (view, stands) in self.views.iter().zip(stands) {
                let (steps, places): (Vec<Step<'_>>, Vec<usize>) = works
                    .iter()
                    .enumerate()
                    .filter(|(_, work)| work.stored.offset < *stands)
                    .filter_map(|(place, work)| {
                        let decision = work.decision.as_ref()?;
                        let offset = work.stored.offset;
                        Some((Step { offset, decision }, place))
                    })
                    .unzip();
                let applied = view.apply(&steps, &[]).await;
                let mut of_view =
                    applied.map_err(|error| RedriveError::Store(error.to_string()))?;
                for refused in &mut of_view {
                    refused.index = places[refused.index];
                }
                refused.append(&mut of_view);
            }
            refused.sort_by_key(|refused| refused.index);
        }
        for (place, work) in works.iter().enumerate() {
            if let Some(refused) = refused.first().filter(|refused| refused.index == place) {
                return Err(plan.failed_at(&work.stored, &refused.cause));
            }
            for (letter, asked) in plan.letters.get(&work.stored.offset).into_iter().flatten() {
                if !self.dry_run {
                    let state = State::Redriven { offset: None };
                    journal.note(self.log, letter.id, Entry::now(state, self.by.clone()))?;
                }
                progress(&Done {
                    letter: letter.id.to_string(),
                    origin: place_of(&work.stored),
                    follows: !asked,
                    offset: None,
                })?;
            }
        }
        Ok(())
    }
}

/// Where a view stands.
async fn position(view: &dyn View, partition: i32) -> Result<i64, RedriveError> {
    let positions = view.positions().await;
    let positions = positions.map_err(|error| RedriveError::Store(error.to_string()))?;
    let of_partition = positions.iter().find(|at| at.partition == partition);
    Ok(of_partition.map_or(0, |at| at.offset))
}

impl<'q> Plan<'q> {
    fn of(queue: &'q Queue) -> Result<Self, RedriveError> {
        let mut plan = Self {
            letters: BTreeMap::new(),
            keys: BTreeSet::new(),
            handled: &queue.handled,
        };
        for entry in &queue.letters {
            let (letter, _) = entry;
            let origin = letter.origin.filter(|origin| {
                origin.topic == Topic::MessageDelivered && origin.partition == queue.partition
            });
            let Some(origin) = origin else {
                let why = "its headers do not say where in message.delivered it stood: drop it";
                return Err(failed(letter, letter.origin, why));
            };
            plan.letters.entry(origin.offset).or_default().push(entry);
            plan.keys.extend(letter.record.key.as_deref());
        }
        Ok(plan)
    }

    /// The offsets of the first and the last letter's records.
    fn range(&self) -> Option<(i64, i64)> {
        let (first, _) = self.letters.first_key_value()?;
        let (last, _) = self.letters.last_key_value()?;
        Some((*first, *last))
    }

    fn failed(&self, offset: i64, cause: &str) -> RedriveError {
        let (letter, _) = self.letters[&offset][0];
        failed(letter, letter.origin, cause)
    }

    fn failed_at(&self, stored: &Stored, cause: &str) -> RedriveError {
        let letter = self.letters.get(&stored.offset).map(|letters| letters[0]);
        RedriveError::Failed(Failure {
            letter: letter.map(|(letter, _)| letter.id.to_string()),
            origin: place_of(stored),
            cause: cause.to_owned(),
        })
    }
}

fn place_of(stored: &Stored) -> String {
    let (topic, partition, offset) = (stored.topic, stored.partition, stored.offset);
    let origin = Origin {
        topic,
        partition,
        offset,
    };
    origin.to_string()
}
