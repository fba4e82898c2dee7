use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_domain::{Rows, Wanted};
use tidings_views::history::{HistoryWriter, Position, SqliteHistory, StoreError};

/// What is wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Every operation fails like this.
    Always(StoreError),
    /// Writes of a message with this text are refused as data.
    Refuses(&'static str),
    /// Every seventh operation fails, some of them after the write was made.
    Now(u32),
}

/// A real store that fails on demand.
pub(crate) struct FaultyStore {
    store: SqliteHistory,
    fault: Mutex<Fault>,
    failed: Mutex<usize>,
}

impl FaultyStore {
    pub(crate) fn new(store: SqliteHistory, fault: Fault) -> Self {
        Self {
            store,
            fault: Mutex::new(fault),
            failed: Mutex::new(0),
        }
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }

    /// How many operations have failed so far.
    pub(crate) fn failed(&self) -> usize {
        *self.failed.lock()
    }

    fn check(&self) -> Result<(), StoreError> {
        let error = match &mut *self.fault.lock() {
            Fault::None | Fault::Refuses(_) => return Ok(()),
            Fault::Always(error) => error.clone(),
            Fault::Now(count) => {
                *count += 1;
                if *count % 7 != 0 {
                    return Ok(());
                }
                StoreError::Transient("now and then".to_owned())
            }
        };
        *self.failed.lock() += 1;
        Err(error)
    }

    fn refused(&self, rows: &Rows) -> bool {
        let Fault::Refuses(text) = &*self.fault.lock() else {
            return false;
        };
        rows.messages.values().any(|message| {
            let content = message.content.as_ref();
            content.is_some_and(|content| content.text == **text)
        })
    }
}

#[async_trait]
impl HistoryWriter for FaultyStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.check()?;
        self.store.prepare().await
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.check()?;
        HistoryWriter::positions(&self.store).await
    }

    async fn load(&self, wanted: &Wanted) -> Result<Rows, StoreError> {
        self.check()?;
        self.store.load(wanted).await
    }

    async fn write(&self, rows: &Rows, positions: &[Position]) -> Result<(), StoreError> {
        self.check()?;
        if self.refused(rows) {
            return Err(StoreError::Data("will not take this text".to_owned()));
        }
        self.store.write(rows, positions).await?;
        // It was written, but the answer is lost.
        self.check()
    }
}
