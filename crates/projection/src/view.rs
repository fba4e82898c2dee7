use async_trait::async_trait;
use tidings_domain::Decision;
use tidings_views::{Position, StoreError};
use tidings_wire::Topic;

/// What a projection builds: a fold of decisions, and the store that keeps
/// what comes of it.
#[async_trait]
pub trait View: Send + Sync {
    /// The projection's name: of its consumer group, its dead letters and its
    /// metrics.
    fn name(&self) -> &'static str;

    /// Where records go that cannot be applied.
    fn dead_letters(&self) -> Topic;

    /// Makes what the store needs, where it is not there.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Where every partition stands; one that is left out is at the beginning.
    async fn positions(&self) -> Result<Vec<Position>, StoreError>;

    /// Writes what these decisions change, in the order of the log, then the
    /// positions. Applying what was applied before changes nothing, so that a
    /// crash in the middle is mended by applying the same again. Positions
    /// never go backwards.
    ///
    /// Returns the decisions that cannot be applied. Where there are any, the
    /// rest is written but the positions are not: they come with a call of
    /// their own, once the refused ones are durable among the dead letters.
    ///
    /// # Errors
    /// [`StoreError`]. After [`StoreError::Data`] the batch is halved until the
    /// decision is found that the store refuses.
    async fn apply(
        &self,
        batch: &[Entry<'_>],
        positions: &[Position],
    ) -> Result<Vec<Refused>, StoreError>;
}

/// A valid decision of `message.delivered`.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its record's offset in its partition.
    pub offset: i64,
    /// The decision.
    pub decision: &'a Decision,
}

/// A decision that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its index in the batch.
    pub index: usize,
    /// Why. Holds no message text.
    pub cause: String,
}
