use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// For how long nobody waits again for what was waited for in vain.
const AFTER: Duration = Duration::from_secs(1);

/// Whether it is worth while to wait for something that is a little behind.
#[derive(Default)]
pub(super) struct Patience {
    in_vain: Mutex<Option<Instant>>,
}

impl Patience {
    pub(super) fn has_some(&self) -> bool {
        let in_vain = *self.in_vain.lock();
        in_vain.is_none_or(|since| since.elapsed() >= AFTER)
    }

    /// It was waited for long enough.
    pub(super) fn lost(&self) {
        *self.in_vain.lock() = Some(Instant::now());
    }
}
