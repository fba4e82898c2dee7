use std::collections::{BTreeMap, BTreeSet};

use tidings_views::StoreError;
use tidings_views::audit::StoredDocument;

use super::buckets::Buckets;
use super::candidates::{Candidates, Side};
use super::scope::Belongs;
use super::{Phase, Run, VerifyError};

impl Run<'_> {
    /// Compares all documents, and mends those that are wrong.
    pub(super) async fn documents(&mut self, is_cache: bool) -> Result<(), VerifyError> {
        let candidates = Candidates::new()?;
        if is_cache {
            self.every_value(&candidates).await?;
        } else {
            let differing = self.differing(&candidates).await?;
            self.keys_of(&differing, &candidates).await?;
        }
        self.examine(candidates).await
    }

    /// What is in a cache is read anew, all of it.
    async fn every_value(&mut self, candidates: &Candidates) -> Result<(), VerifyError> {
        for kind in self.store.kinds() {
            let (scope, mut count, mut failed) = (self.scope, 0, None);
            let mut each = |documents: Vec<StoredDocument>| {
                for document in documents {
                    if scope.belongs(&document) != Belongs::No {
                        count += 1;
                        keep(&mut failed, candidates.add(kind, &document.key));
                    }
                }
                Ok(())
            };
            self.store.scan(kind, &scope.part(), &mut each).await?;
            failed.map_or(Ok(()), Err)?;
            self.report.documents.insert(kind, count);
        }
        Ok(())
    }

    /// Adds up both sides; which buckets of each kind differ.
    async fn differing(
        &mut self,
        candidates: &Candidates,
    ) -> Result<BTreeMap<&'static str, BTreeSet<usize>>, VerifyError> {
        let mut differing = BTreeMap::new();
        let mut done = 0;
        for kind in self.store.kinds() {
            let (scope, options, cursor) = (self.scope, self.options, &self.cursor);
            let (mut of_log, mut of_view) = (Buckets::default(), Buckets::default());
            let mut failed = None;
            let mut each = |documents: Vec<StoredDocument>| {
                done += documents.len() as u64;
                options.tell(Phase::Adding, done, None);
                for document in documents {
                    match scope.belongs(&document) {
                        Belongs::Yes => of_log.add(&document),
                        // The log knows it, as it was read within the scope.
                        _ => keep(&mut failed, candidates.add(kind, &document.key)),
                    }
                }
                Ok(())
            };
            self.truth.scan(kind, &mut each).await?;
            let partitions = &mut self.report.partitions;
            let mut each = |documents: Vec<StoredDocument>| {
                done += documents.len() as u64;
                options.tell(Phase::Adding, done, None);
                for document in documents {
                    if scope.belongs(&document) == Belongs::Yes {
                        let id = document.conversation_id();
                        partitions.extend(id.map(|id| cursor.partition_of(id)));
                        of_view.add(&document);
                    }
                }
                Ok(())
            };
            self.store.scan(kind, &scope.part(), &mut each).await?;
            failed.map_or(Ok(()), Err)?;
            self.report.documents.insert(kind, of_view.documents());
            let buckets = of_view.differing(&of_log);
            if !buckets.is_empty() {
                differing.insert(*kind, buckets);
            }
        }
        Ok(differing)
    }

    /// The documents of these buckets that are not alike.
    async fn keys_of(
        &mut self,
        differing: &BTreeMap<&'static str, BTreeSet<usize>>,
        candidates: &Candidates,
    ) -> Result<(), VerifyError> {
        let mut done = 0;
        for (kind, buckets) in differing {
            let (scope, options) = (self.scope, self.options);
            let mut failed = None;
            let mut note = |side, documents: Vec<StoredDocument>| -> Result<(), StoreError> {
                done += documents.len() as u64;
                options.tell(Phase::Comparing, done, None);
                for document in documents {
                    let is_of_these = buckets.contains(&Buckets::bucket(&document.key));
                    if is_of_these && scope.belongs(&document) == Belongs::Yes {
                        keep(&mut failed, candidates.note(side, &document));
                    }
                }
                Ok(())
            };
            let mut each = |documents| note(Side::Log, documents);
            self.truth.scan(kind, &mut each).await?;
            let mut each = |documents| note(Side::View, documents);
            self.store.scan(kind, &scope.part(), &mut each).await?;
            failed.map_or(Ok(()), Err)?;
        }
        candidates.compare()
    }
}

/// Keeps the first failure.
fn keep(failed: &mut Option<VerifyError>, result: Result<(), VerifyError>) {
    if let Err(error) = result {
        failed.get_or_insert(error);
    }
}
