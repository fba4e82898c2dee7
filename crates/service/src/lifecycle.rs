//! Starting when servers are not there yet, and stopping when told.

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The first wait between two attempts; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A token that is cancelled by the first SIGTERM or SIGINT. The second one
/// ends the process at once, with the shell's code for it (128 + signal).
///
/// # Errors
/// Where the signals cannot be caught.
pub fn shutdown_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            if cancelled.is_cancelled() {
                std::process::exit(128 + signal.as_raw_value());
            }
            tracing::info!(signal = signal.as_raw_value(), "shutting down");
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// Tries `op` until it succeeds, with growing waits (a quarter of a second to
/// five seconds, with jitter) and a warning for each failure. Gives none if
/// `stop` is cancelled first.
///
/// For a failure that waiting does not mend, let `op` succeed with a `Result`:
/// `Ok(Err(…))` ends the attempts.
pub async fn retry_with_backoff<T, E: Display>(
    what: &str,
    stop: &CancellationToken,
    mut op: impl AsyncFnMut() -> Result<T, E>,
) -> Option<T> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            result = op() => result,
        };
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let wait = backoff.next_wait();
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "waiting for {what}");
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Waits that double, up to a limit, each shortened by up to half at random
/// so that many who wait for the same thing do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.longest);
        full.mul_f64(0.5 + random_fraction() / 2.0)
    }

    /// It worked: start from the first wait again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A number from 0 to 1, good enough for jitter: the standard library seeds
/// each `RandomState` differently.
fn random_fraction() -> f64 {
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        for full in [100, 200, 300, 300] {
            let wait = backoff.next_wait();
            let full = Duration::from_millis(full);
            assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn tries_until_it_works_or_is_stopped() {
        let stop = CancellationToken::new();
        let mut left = 3;
        let value = retry_with_backoff("a server", &stop, async || {
            left -= 1;
            if left == 0 {
                Ok("there")
            } else {
                Err("not yet")
            }
        })
        .await;
        assert_eq!(value, Some("there"));

        let stopped = stop.clone();
        let never = retry_with_backoff("a server", &stop, async || {
            stopped.cancel();
            Err::<(), _>("never")
        });
        assert_eq!(never.await, None);
    }
}
