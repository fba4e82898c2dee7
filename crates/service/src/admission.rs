//! Who may be connected, and who has to go when there are too many.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Of the files that the process may have open, a quarter is left to what is
/// no connection of a client, within these bounds.
const KEPT_FILES: std::ops::RangeInclusive<u64> = 64..=1_024;

/// How many connections a port has, and how many of them may be of guests:
/// clients that have not shown who they are.
///
/// A guest too many costs the one its place that has been one for longest.
/// So a flood of connections that say nothing pushes out itself, and a client
/// that shows a token as soon as it can is served.
#[derive(Clone, Debug)]
pub(crate) struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most_guests: usize,
    most_open: usize,
    state: Mutex<State>,
    /// A connection has gone.
    gone: Notify,
    figures: Figures,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// Guests by when they came.
    guests: BTreeMap<u64, Weak<Seat>>,
    next: u64,
}

struct Figures {
    open: Gauge,
    guests: Gauge,
    evicted: Counter,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

/// One connection, for as long as any clone of this is held. A guest's, until
/// it is told otherwise.
#[derive(Clone, Debug)]
pub struct Guest(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    admission: Admission,
    standing: Mutex<Standing>,
    evicted: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// With the place in the row.
    Guest(u64),
    Known,
    Evicted,
}

impl Admission {
    /// So many guests at once, and so many connections; 0: no limit.
    pub(crate) fn new(most_guests: usize, most_open: usize) -> Self {
        let unlimited = |most| if most == 0 { usize::MAX } else { most };
        describe_gauge!("tidings_http_connections", "Open connections on the port.");
        describe_gauge!(
            "tidings_http_unauthenticated_connections",
            "Open connections whose client has not shown a token."
        );
        describe_counter!(
            "tidings_http_evicted_total",
            "Connections without a token that were ended because there were too many."
        );
        Self(Arc::new(Inner {
            most_guests: unlimited(most_guests),
            most_open: unlimited(most_open),
            state: Mutex::default(),
            gone: Notify::new(),
            figures: Figures {
                open: gauge!("tidings_http_connections"),
                guests: gauge!("tidings_http_unauthenticated_connections"),
                evicted: counter!("tidings_http_evicted_total"),
            },
        }))
    }

    /// Takes a connection in, as a guest's. Where there are too many, the
    /// oldest guest is evicted, which is this one if there is no other.
    pub(crate) fn enter(&self) -> Guest {
        let seat = Arc::new(Seat {
            admission: self.clone(),
            standing: Mutex::new(Standing::Evicted),
            evicted: Notify::new(),
        });
        let mut state = self.0.state.lock();
        state.open += 1;
        self.0.figures.open.increment(1.0);
        let evicted = self.seat(&mut state, &seat);
        drop(state);
        drop(evicted);
        Guest(seat)
    }

    /// Returns when there are no more connections than there may be: when
    /// those are gone that were evicted. For one waiter.
    pub(crate) async fn settled(&self) {
        while self.0.state.lock().open > self.0.most_open {
            self.0.gone.notified().await;
        }
    }

    /// Puts a connection at the end of the row. Gives the one that is evicted
    /// for it, to be let go of when the state is not locked any more: it may be
    /// the last to hold it.
    #[must_use]
    fn seat(&self, state: &mut State, seat: &Arc<Seat>) -> Option<Arc<Seat>> {
        let place = state.next;
        state.next += 1;
        state.guests.insert(place, Arc::downgrade(seat));
        *seat.standing.lock() = Standing::Guest(place);
        self.0.figures.guests.increment(1.0);
        let too_many = state.guests.len() > self.0.most_guests || state.open > self.0.most_open;
        if !too_many {
            return None;
        }
        let (_, oldest) = state.guests.pop_first()?;
        self.0.figures.guests.decrement(1.0);
        self.0.figures.evicted.increment(1);
        let oldest = oldest.upgrade()?;
        *oldest.standing.lock() = Standing::Evicted;
        oldest.evicted.notify_one();
        Some(oldest)
    }
}

impl Guest {
    /// The client has shown who it is: the connection is not evicted any more.
    /// False where it was already.
    #[must_use]
    pub fn known(&self) -> bool {
        let inner = &self.0.admission.0;
        let mut state = inner.state.lock();
        let mut standing = self.0.standing.lock();
        match *standing {
            Standing::Guest(place) => {
                state.guests.remove(&place);
                inner.figures.guests.decrement(1.0);
                *standing = Standing::Known;
                true
            }
            Standing::Known => true,
            Standing::Evicted => false,
        }
    }

    /// The client was served what it has shown a token for, and is a guest
    /// again, the last to come.
    pub(crate) fn served(&self) {
        let admission = &self.0.admission;
        let mut state = admission.0.state.lock();
        let was_known = *self.0.standing.lock() == Standing::Known;
        let evicted = was_known.then(|| admission.seat(&mut state, &self.0));
        drop(state);
        drop(evicted);
    }

    /// Returns when the connection is to be ended at once. For one waiter.
    pub async fn evicted(&self) {
        self.0.evicted.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let inner = &self.admission.0;
        let mut state = inner.state.lock();
        state.open -= 1;
        inner.gone.notify_one();
        inner.figures.open.decrement(1.0);
        if let Standing::Guest(place) = *self.standing.get_mut()
            && state.guests.remove(&place).is_some()
        {
            inner.figures.guests.decrement(1.0);
        }
    }
}

/// How many connections the process has open files for. It asks for as many
/// files as it may have first.
pub(crate) fn most_connections() -> usize {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => usize::try_from(spared(files)).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::warn!(%error, "cannot tell how many files may be open");
            0
        }
    }
}

fn spared(files: u64) -> u64 {
    let kept = (files / 4).clamp(*KEPT_FILES.start(), *KEPT_FILES.end());
    files.saturating_sub(kept).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    fn is_evicted(guest: &Guest) -> bool {
        is_done(guest.evicted())
    }

    fn is_settled(admission: &Admission) -> bool {
        is_done(admission.settled())
    }

    fn is_done(future: impl Future<Output = ()>) -> bool {
        let future = std::pin::pin!(future);
        future.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    fn counts(admission: &Admission) -> (usize, usize) {
        let state = admission.0.state.lock();
        (state.open, state.guests.len())
    }

    #[test]
    fn the_oldest_guest_goes_and_who_is_known_stays() {
        let admission = Admission::new(2, 0);
        let known = admission.enter();
        assert!(known.known());
        let [first, second, third] = [(); 3].map(|()| admission.enter());
        assert_eq!([&known, &second, &third].map(is_evicted), [false; 3]);
        assert!(is_evicted(&first) && !first.known(), "it is too late");
        assert_eq!(counts(&admission), (4, 2));
        drop((first, second));
        assert_eq!(counts(&admission), (2, 1));
        assert!(third.known() && third.known(), "twice is as good");
        assert_eq!(counts(&admission), (2, 0));
        drop((known, third));
        assert_eq!(counts(&admission), (0, 0));
    }

    #[test]
    fn who_was_served_is_the_last_of_the_guests() {
        let admission = Admission::new(2, 0);
        let served = admission.enter();
        assert!(served.known());
        let first = admission.enter();
        served.served();
        let _last = admission.enter();
        assert!(is_evicted(&first) && !is_evicted(&served));
        let stranger = admission.enter();
        assert!(is_evicted(&served), "a guest like any other");
        stranger.served();
        assert!(!served.known());
        assert_eq!(
            counts(&admission).1,
            2,
            "who showed no token keeps its place"
        );
    }

    #[test]
    fn when_the_port_is_full_guests_go_for_each_other() {
        let admission = Admission::new(0, 2);
        let known = admission.enter();
        assert!(known.known());
        let guest = admission.enter();
        let newcomer = admission.enter();
        assert!(is_evicted(&guest) && !is_evicted(&newcomer));
        assert!(!is_settled(&admission));
        drop(guest);
        assert!(is_settled(&admission) && newcomer.known());
        let another = admission.enter();
        assert!(is_evicted(&another), "there is nobody else to go");
        assert_eq!(counts(&admission), (3, 0));
    }

    #[test]
    fn some_files_are_left_to_the_rest_of_the_process() {
        let table = [
            (64, 1),
            (256, 192),
            (1_024, 768),
            (1 << 20, (1 << 20) - 1_024),
        ];
        for (files, connections) in table {
            assert_eq!(spared(files), connections, "{files}");
        }
    }
}
