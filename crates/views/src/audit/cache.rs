use std::collections::BTreeSet;

use async_trait::async_trait;
use tidings_domain::Decision;

use super::{Audit, HistoryTruth, StoredDocument};
use crate::StoreError;
use crate::cache::{audited, changed_by};

/// A cache whose values can be compared with what they are copies of, and
/// dropped. What is not there is never missed, and nothing is put in: replacing
/// a value drops it.
#[async_trait]
pub trait CacheAudit: Audit {}

/// The keys of the values that a decision changes, by kind.
#[must_use]
pub fn cache_keys_changed_by(decision: &Decision) -> Vec<(&'static str, String)> {
    let changed = changed_by(decision).into_iter();
    let keys: BTreeSet<_> = changed.map(|changed| changed.key).collect();
    keys.into_iter()
        .map(|key| (key.kind(), key.to_string()))
        .collect()
}

/// What a reader of the history view would put in the place of a cached value;
/// none: nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn cacheable(
    truth: &HistoryTruth,
    value: &StoredDocument,
) -> Result<Option<StoredDocument>, StoreError> {
    audited::cacheable(&truth.history, value).await
}
