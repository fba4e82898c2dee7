use std::collections::BTreeSet;

use tidings_views::audit::StoredDocument;

/// Buckets of each kind.
const BUCKETS: usize = 4_096;

/// The sums of the hashes of all documents of a kind, by bucket: the same in
/// whatever order the documents come.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    sums: Vec<u128>,
    documents: u64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            sums: vec![0; BUCKETS],
            documents: 0,
        }
    }
}

impl Buckets {
    pub(super) fn add(&mut self, document: &StoredDocument) {
        let sum = &mut self.sums[Self::bucket(&document.key)];
        *sum = sum.wrapping_add(document.digest());
        self.documents += 1;
    }

    /// How many documents there are.
    pub(super) fn documents(&self) -> u64 {
        self.documents
    }

    /// The buckets in which the two differ.
    pub(super) fn differing(&self, other: &Self) -> BTreeSet<usize> {
        let sums = self.sums.iter().zip(&other.sums).enumerate();
        sums.filter(|(_, (one, other))| one != other)
            .map(|(bucket, _)| bucket)
            .collect()
    }

    /// The bucket of a key.
    pub(super) fn bucket(key: &str) -> usize {
        let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes());
        usize::try_from(hash % BUCKETS as u64).unwrap_or(0)
    }
}
