use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Generation, Generations};
use crate::{Position, StoreError};

mod readers;

/// How old a knowledge of what serves may be.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a generation that is behind what was answered is waited for.
const WAIT_AT_MOST: Duration = Duration::from_secs(10);

/// A store, read in the generation that serves: within a second after another
/// is switched to, it is that one that answers.
///
/// It is not moved to before it has all that was promised by
/// [`positions`](crate::history::HistoryReader::positions): until then the one
/// before answers, which is kept in step as well.
pub struct Serving<S> {
    store: S,
    /// Held by whoever looks; the others wait for what they find.
    looking: tokio::sync::Mutex<()>,
    current: Mutex<Current<S>>,
}

struct Current<S> {
    generation: Generation,
    handle: Arc<S>,
    looked: Option<Instant>,
    /// The highest positions that were given, by partition.
    promised: HashMap<i32, i64>,
    /// Since when another one serves that is behind these.
    behind: Option<Instant>,
}

impl<S: Generations> Serving<S> {
    /// Nobody is asked yet.
    #[must_use]
    pub fn new(store: S) -> Self {
        let current = Current {
            generation: Generation::FIRST,
            handle: Arc::new(store.of(Generation::FIRST)),
            looked: None,
            promised: HashMap::new(),
            behind: None,
        };
        Self {
            store,
            looking: tokio::sync::Mutex::default(),
            current: Mutex::new(current),
        }
    }

    /// The generation to read now.
    async fn current(&self) -> Result<(Generation, Arc<S>), StoreError> {
        if let Some(current) = self.known() {
            return Ok(current);
        }
        let _looking = self.looking.lock().await;
        if let Some(current) = self.known() {
            return Ok(current);
        }
        let register = self.store.register().await?;
        let serving = register.serving();
        let (now_read, is_new) = {
            let current = self.current.lock();
            (current.generation, current.looked.is_none())
        };
        if serving != now_read {
            let handle = Arc::new(self.store.of(serving));
            let stays = !is_new && register.followed().contains(&now_read);
            let reached = match stays {
                true => handle.reached().await?,
                false => Vec::new(),
            };
            let mut current = self.current.lock();
            if !stays || current.may_move(&reached) {
                tracing::info!(generation = %serving, "reading another generation of the view");
                current.generation = serving;
                current.handle = handle;
                current.behind = None;
            }
        }
        let mut current = self.current.lock();
        current.looked = Some(Instant::now());
        Ok((current.generation, Arc::clone(&current.handle)))
    }

    fn known(&self) -> Option<(Generation, Arc<S>)> {
        let current = self.current.lock();
        current
            .looked
            .filter(|looked| looked.elapsed() < LOOK_EVERY)
            .map(|_| (current.generation, Arc::clone(&current.handle)))
    }

    /// Where the generation stands that is read. All that is read from now on
    /// is at least as new.
    async fn reached(&self) -> Result<Vec<Position>, StoreError> {
        loop {
            let (generation, handle) = self.current().await?;
            let reached = handle.reached().await?;
            let mut current = self.current.lock();
            // What another one was asked for meanwhile promises nothing.
            if current.generation == generation {
                for position in &reached {
                    let promised = current.promised.entry(position.partition).or_default();
                    *promised = (*promised).max(position.offset);
                }
                return Ok(reached);
            }
        }
    }
}

impl<S> Current<S> {
    /// Whether a generation that stands there has what was promised, or was
    /// waited for long enough.
    fn may_move(&mut self, reached: &[Position]) -> bool {
        let has = |(partition, offset): (&i32, &i64)| {
            let position = reached.iter().find(|at| at.partition == *partition);
            position.map_or(0, |at| at.offset) >= *offset
        };
        if self.promised.iter().all(has) {
            return true;
        }
        let since = *self.behind.get_or_insert_with(Instant::now);
        let is_long = since.elapsed() >= WAIT_AT_MOST;
        if is_long {
            tracing::warn!("the generation that serves is behind the one that was read before");
        }
        is_long
    }
}

#[cfg(test)]
mod tests {
    use super::{Generation, Generations, Serving};
    use crate::generation::{Builder, change};
    use crate::history::{HistoryReader, HistoryWriter, SqliteHistory};
    use crate::{Position, StoreError};
    use tidings_domain::{Rows, Timestamp};
    use tidings_sqlite::Database;

    const SECOND: Generation = Generation(2);

    async fn moves_to(store: &SqliteHistory, offset: i64) {
        let position = Position {
            partition: 0,
            offset,
            current: None,
        };
        let moved = store.write(&Rows::default(), &[position]).await;
        moved.expect("writes");
    }

    #[tokio::test]
    async fn never_reads_what_lacks_what_it_has_promised() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = SqliteHistory::new(Database::open(folder.path()).expect("opens"));
        let second = first.of(SECOND);
        for store in [&first, &second] {
            store.prepare().await.expect("prepares");
        }
        moves_to(&first, 10).await;
        moves_to(&second, 5).await;
        let serving = Serving::new(first.clone());
        let stands = async || {
            let positions = HistoryReader::positions(&serving).await.expect("reads");
            positions[0].offset
        };
        assert_eq!(stands().await, 10);

        let builder = Builder {
            by: "a test".to_owned(),
            token: "t".to_owned(),
        };
        let switched = change(&first, |register| {
            let begun = register.begin(&builder, None, Timestamp(1));
            assert_eq!(begun, Ok(SECOND));
            register
                .built(SECOND, &builder, Timestamp(2))
                .expect("its own");
            let switched = register.switch(SECOND, Timestamp(3));
            switched.map_err(|error| StoreError::Fatal(error.to_string()))
        });
        switched.await.expect("switches");
        // Until it has looked, and found the other one behind.
        while serving.current.lock().behind.is_none() {
            assert_eq!(stands().await, 10);
        }
        assert_eq!(stands().await, 10);
        moves_to(&second, 12).await;
        while serving.current.lock().generation != SECOND {
            assert!(stands().await >= 10);
        }
        assert_eq!(stands().await, 12);
    }
}
