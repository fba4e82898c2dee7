use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tidings_domain::Model;
use tidings_log::Delivery;
use tidings_projection::ByTurns;
use tidings_wire::Codec;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::log::SimulatedLog;
use crate::one_side::OneSide;
use crate::seat::Seat;
use crate::store::{Connection, Death, SimulatedStore};

/// So few decisions in one write that there are many writes.
const BATCH: usize = 6;
/// What is down answers the next time: nothing is gained by waiting.
const WAIT: Duration = Duration::from_micros(1);

/// A projection of the history view: the real one, its seat in the group and
/// its connection to the store.
pub(crate) struct Member {
    projection: ByTurns,
    seat: Seat,
    connection: Connection,
}

impl Member {
    pub(crate) fn new(
        log: &SimulatedLog,
        codec: &Codec,
        store: &SimulatedStore,
        runtime: &Handle,
    ) -> Result<Self, String> {
        let stop = CancellationToken::new();
        let (seat, connection) = (Seat::new(log), Connection::new(store, stop.clone()));
        let of = Arc::new(OneSide(seat.clone()));
        let projection =
            tidings_history::projection(of, codec.clone(), Arc::new(connection.clone()))
                .batch(BATCH)
                .waits(WAIT, WAIT)
                .by_turns(runtime.clone(), stop);
        let projection = projection.map_err(|error| error.to_string())?;
        Ok(Self {
            projection: projection.ok_or("a projection ended before it began")?,
            seat,
            connection,
        })
    }

    /// One turn; whether it still lives.
    pub(crate) fn turn(&mut self) -> Result<bool, String> {
        let turned = self.projection.turn();
        turned.map_err(|error| format!("a projection ended: {error}"))
    }

    pub(crate) fn assign(&self, partitions: Vec<i32>) {
        self.seat.tell(Delivery::Assigned(partitions));
    }

    pub(crate) fn revoke(&self, partition: i32) {
        self.seat.tell(Delivery::Revoked(vec![partition]));
    }

    pub(crate) fn die(&self, death: Death) {
        self.connection.die(death);
    }

    pub(crate) fn fail_polls(&self, count: usize) {
        self.seat.fail_polls(count);
    }

    pub(crate) fn jump(&self, back: i64) -> usize {
        self.seat.jump(back)
    }
}

/// How a view differs from what it must be.
pub(crate) fn difference(must: &Model, is: &Model) -> Option<String> {
    first_of("event", &must.events, &is.events)
        .or_else(|| first_of("message", &must.messages, &is.messages))
        .or_else(|| first_of("edit", &must.edits, &is.edits))
        .or_else(|| first_of("hidden", &must.hidden, &is.hidden))
        .or_else(|| first_of("outcome", &must.outcomes, &is.outcomes))
        .or_else(|| first_of("member", &must.members, &is.members))
        .or_else(|| first_of("conversation", &must.conversations, &is.conversations))
}

fn first_of<K: Ord + Debug, R: PartialEq + Debug>(
    what: &str,
    must: &BTreeMap<K, R>,
    is: &BTreeMap<K, R>,
) -> Option<String> {
    let differs = |key: &&K| must.get(key) != is.get(key);
    let key = must.keys().chain(is.keys()).find(differs)?;
    let (must, is) = (must.get(key), is.get(key));
    Some(format!(
        "the view's {what} {key:?} is {is:?} and must be {must:?}"
    ))
}
