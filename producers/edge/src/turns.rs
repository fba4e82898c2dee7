use std::sync::Arc;

use tidings_domain::Timestamp;
use tidings_log::{Log, LogError};
use tidings_service::auth::Auth;
use tidings_service::health::Condition;
use tidings_signals::{Exchange, InProcess};
use tidings_wire::Codec;

use crate::blocking::Blocking;
use crate::clock::Clock;
use crate::config::EdgeConfig;
use crate::edge::{Parts, share};
use crate::http::Arrival;
use crate::line::Line;
use crate::reader::Reader;
use crate::session;
use crate::shared::Shared;
use crate::views::Views;

/// An edge without threads and sockets: it reads the log when it is told to,
/// and serves whatever line it is given.
///
/// Everything else it does in the runtime it was made in, whose clock it waits
/// by. In a runtime of one thread that is nobody else's, with a clock that
/// stands still until all have done what they can, the same calls have the same
/// effect each time, if all waits of [`EdgeConfig::view_waits`] are of a
/// millisecond: that is the timer's unit, so nothing is left of their jitter.
pub struct ByTurns {
    shared: Arc<Shared>,
    reader: Reader,
}

impl ByTurns {
    /// An edge whose time of day is `now`. The log's calls are made in place.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(
        config: EdgeConfig,
        log: Arc<dyn Log>,
        codec: Codec,
        views: impl Into<Views>,
        auth: Auth,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let (signals, heard) = InProcess::default().attach();
        let parts = Parts {
            config,
            log,
            codec,
            views: views.into(),
            auth,
            signals,
            clock: Clock::new(now),
            blocking: Blocking::InPlace,
        };
        let shared = share(parts, heard);
        let reader = Reader::new(Arc::clone(&shared), Condition::new("log"));
        Self { shared, reader }
    }

    /// Takes in what the log gives next, and tells how many records that were.
    /// To be called within the runtime.
    ///
    /// # Errors
    /// [`LogError`]; the next turn goes on from where this one began.
    pub fn read(&mut self) -> Result<usize, LogError> {
        self.reader.turn()
    }

    /// A session on a line, to its end.
    pub fn serve<L: Line + 'static>(
        &self,
        mut line: L,
    ) -> impl Future<Output = ()> + Send + use<L> {
        let arrival = Arrival {
            shared: Arc::clone(&self.shared),
            guest: None,
        };
        async move { session::run(&arrival, &mut line).await }
    }
}

impl Drop for ByTurns {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
