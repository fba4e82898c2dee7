use std::collections::{BTreeMap, HashMap, HashSet};

use tidings_views::audit::{Replacement, StoredDocument};

use super::candidates::Candidates;
use super::{Difference, Phase, Repair, Run, VerifyError};

/// Documents looked at in one question.
const AT_ONCE: usize = 500;
/// Documents that differ at the view's position, and are held until it is known
/// whether they are wrong.
const HELD: usize = 10_000;
/// How often what was mended is looked at again, where a projection beside
/// keeps writing it.
const ROUNDS: usize = 8;

/// Two documents that differ at the view's position.
struct Pair {
    kind: &'static str,
    key: String,
    view: Option<StoredDocument>,
    log: Option<StoredDocument>,
}

impl Run<'_> {
    /// Looks at each candidate, tells which are wrong, and mends them.
    pub(super) async fn examine(&mut self, mut candidates: Candidates) -> Result<(), VerifyError> {
        for round in 0..ROUNDS {
            let total = candidates.count()?;
            if total == 0 {
                break;
            }
            let again = Candidates::new()?;
            // What is looked at again was counted before.
            let is_first = round == 0;
            if !is_first {
                self.report.left = 0;
            }
            let mut done = 0;
            let mut held: Vec<Pair> = Vec::new();
            self.advance().await?;
            while let Some((kind, keys)) = candidates.take(AT_ONCE)? {
                done += keys.len() as u64;
                self.options.tell(Phase::Comparing, done, Some(total));
                let Some(kind) = self.store.kinds().iter().find(|it| **it == kind) else {
                    continue;
                };
                held.append(&mut self.differing_pairs(kind, keys).await?);
                if held.len() >= HELD {
                    self.settle(std::mem::take(&mut held), is_first, &again)
                        .await?;
                    self.advance().await?;
                }
            }
            self.settle(held, is_first, &again).await?;
            candidates = again;
            if self.options.repair == Repair::No {
                break;
            }
        }
        if self.options.repair == Repair::Yes {
            // The last round found out what is left, and mended it perhaps.
            self.report.left = candidates.count()?;
            self.report.repaired = self.report.wrong().saturating_sub(self.report.left);
        }
        Ok(())
    }

    /// Those of these documents that are not as the log says at the view's
    /// position.
    async fn differing_pairs(
        &self,
        kind: &'static str,
        keys: Vec<String>,
    ) -> Result<Vec<Pair>, VerifyError> {
        let seen = self.store.get(kind, &keys).await?;
        let right = self.truth.get(kind, &keys, &seen).await?;
        let by_key = |documents: Vec<StoredDocument>| -> HashMap<String, StoredDocument> {
            let documents = documents.into_iter();
            documents.map(|it| (it.key.clone(), it)).collect()
        };
        let (mut seen, mut right) = (by_key(seen), by_key(right));
        let pairs = keys.into_iter().map(|key| Pair {
            kind,
            view: seen.remove(&key),
            log: right.remove(&key),
            key,
        });
        Ok(pairs
            .filter(|pair| !self.are_alike(pair.view.as_ref(), pair.log.as_ref()))
            .collect())
    }

    /// Whether a document is as the log says. One that was mended may have a
    /// higher version, as long as it keeps out nothing that is to come.
    fn are_alike(&self, view: Option<&StoredDocument>, log: Option<&StoredDocument>) -> bool {
        let (view, log) = match (view, log) {
            (None, None) => return true,
            (Some(view), Some(log)) => (view, log),
            _ => return false,
        };
        if view.fields != log.fields {
            return false;
        }
        match (view.version, log.version) {
            (Some(view_version), Some(version)) if view_version > version => {
                let id = log.conversation_id();
                let partition = id.map(|id| self.cursor.partition_of(id));
                let at = partition.map(|partition| self.cursor.position(partition).0);
                at.is_some_and(|at| view_version <= at)
            }
            (view_version, version) => view_version == version,
        }
    }

    /// Finds out which of these are wrong at every position that they may be
    /// of; tells of them, and mends them.
    async fn settle(
        &mut self,
        held: Vec<Pair>,
        is_first: bool,
        again: &Candidates,
    ) -> Result<(), VerifyError> {
        if held.is_empty() {
            return Ok(());
        }
        let wrong = self.wrong_up_to_the_end(held).await?;
        for pair in &wrong {
            if is_first {
                self.tell(pair);
            } else {
                self.report.left += 1;
            }
        }
        if self.options.repair == Repair::No {
            return Ok(());
        }
        let most = self.options.rate.map_or(AT_ONCE, |rate| rate as usize);
        for chunk in wrong.chunks(most.clamp(1, AT_ONCE)) {
            if let Some(throttle) = &self.throttle {
                tokio::time::sleep(throttle.admit(chunk.len())).await;
            }
            let replacements: Vec<Replacement> = chunk.iter().map(replacement).collect();
            self.store.replace(&replacements).await?;
            for pair in chunk {
                again.add(pair.kind, &pair.key)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, pair: &Pair) {
        let difference = Difference::between(
            pair.kind,
            &pair.key,
            pair.view.as_ref(),
            pair.log.as_ref(),
            self.options.show_texts,
        );
        if let Some(each) = &self.options.each {
            each(&difference);
        }
        self.report.count(&difference);
    }

    /// Those that are not what the log says at any position from the view's to
    /// its end, as it is now that they were read.
    async fn wrong_up_to_the_end(&self, held: Vec<Pair>) -> Result<Vec<Pair>, VerifyError> {
        let ends: BTreeMap<i32, i64> = self.cursor.ends().await?.into_iter().collect();
        let conversations = held.iter().map(|pair| {
            let document = pair.log.as_ref().or(pair.view.as_ref());
            document.and_then(StoredDocument::conversation_id)
        });
        let conversations: Option<HashSet<_>> = conversations.collect();
        let to: BTreeMap<i32, i64> = match &conversations {
            Some(conversations) => {
                let partitions = conversations.iter().map(|id| self.cursor.partition_of(*id));
                partitions
                    .filter_map(|partition| Some((partition, *ends.get(&partition)?)))
                    .collect()
            }
            None => ends,
        };
        if self.cursor.distance(&to) == 0 {
            return Ok(held);
        }
        let truth = self.truth.fork().await?;
        let mut cursor = match conversations {
            Some(conversations) => self.cursor.only(conversations),
            None => self.cursor.clone(),
        };
        let mut held: HashMap<(&'static str, String), Pair> = held
            .into_iter()
            .map(|pair| ((pair.kind, pair.key.clone()), pair))
            .collect();
        cursor
            .read_to(&to, 1, async |batch| {
                if batch.decisions.is_empty() || held.is_empty() {
                    return Ok(());
                }
                let applied = truth.apply(&batch.entries(), batch.position, true).await?;
                for (kind, key) in applied.touched {
                    let place = (kind, key);
                    let Some(pair) = held.get(&place) else {
                        continue;
                    };
                    let seen: Vec<_> = pair.view.iter().cloned().collect();
                    let keys = std::slice::from_ref(&pair.key);
                    let right = truth.get(kind, keys, &seen).await?;
                    if self.are_alike(pair.view.as_ref(), right.first()) {
                        held.remove(&place);
                    }
                }
                Ok(())
            })
            .await?;
        let mut wrong: Vec<Pair> = held.into_values().collect();
        wrong.sort_by(|one, other| (one.kind, &one.key).cmp(&(other.kind, &other.key)));
        Ok(wrong)
    }
}

fn replacement(pair: &Pair) -> Replacement {
    Replacement {
        seen: pair.view.clone(),
        new: pair.log.clone(),
    }
}
