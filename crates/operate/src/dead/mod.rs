//! Dead letters: what no consumer could use, and what is done about it.
//!
//! | module | what it is |
//! |---|---|
//! | `letter` | a dead letter, read back from its record |
//! | `filter` | which letters are meant |
//! | `journal` | what was done with letters, noted in `operator.notes` |
//! | `lock` | one operator at a time |
//! | `redrive` | the order in which letters are done again, and where it stops |
//! | `command` | a sequencer's letter: the command goes back to its topic |
//! | `view` | a projection's: the decision is applied to the view again |

mod command;
mod filter;
mod journal;
mod letter;
mod lock;
mod redrive;
mod view;

pub use filter::{BadFilter, Filter};
pub use journal::{Entry, Journal, State};
pub use letter::{Letter, LetterId, Origin};
pub use lock::Lock;
pub use redrive::{Done, Failure, Progress, Redrive, RedriveError, Summary};

use tidings_log::{LogError, LogReader, read_range};
use tidings_wire::Topic;

/// Gives every letter of these topics to `each`, in order, with what was done
/// with it.
///
/// # Errors
/// [`LogError`], or whatever `each` returns.
pub fn letters<E: From<LogError>>(
    log: &dyn LogReader,
    topics: &[Topic],
    journal: &Journal,
    mut each: impl FnMut(Letter, Option<&Entry>) -> Result<(), E>,
) -> Result<(), E> {
    for topic in topics {
        for partition in 0..log.partitions() {
            read_range(log, *topic, partition, 0, i64::MAX, |stored| {
                let letter = Letter::from(stored);
                let entry = journal.entry(letter.id);
                each(letter, entry)
            })?;
        }
    }
    Ok(())
}

/// How many letters of each topic are neither redriven nor dropped.
///
/// # Errors
/// [`LogError`].
pub fn open_letters(log: &dyn LogReader, journal: &Journal) -> Result<Vec<(Topic, i64)>, LogError> {
    let mut counts = Vec::with_capacity(Topic::DEAD.len());
    for topic in Topic::DEAD {
        let mut open = 0;
        for partition in 0..log.partitions() {
            let (low, high) = log.watermarks(topic, partition)?;
            open += high - low - journal.done_within(topic, partition, low, high);
        }
        counts.push((topic, open.max(0)));
    }
    Ok(counts)
}
