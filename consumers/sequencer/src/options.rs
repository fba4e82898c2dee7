use std::time::Duration;

/// What can be tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequencerOptions {
    /// How often the state of a partition that changed is saved. What was
    /// decided since must be folded again after a crash.
    pub checkpoint_interval: Duration,
    /// How long a partition that is given up may take to finish.
    pub drain_timeout: Duration,
    /// How many decisions of a partition may be on their way to the log before
    /// no more of its commands are taken.
    pub max_in_flight: usize,
    /// The first wait before a partition is claimed again; doubled up to
    /// [`longest_wait`](Self::longest_wait).
    pub first_wait: Duration,
    /// The longest wait before a partition is claimed again.
    pub longest_wait: Duration,
}

impl Default for SequencerOptions {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
            max_in_flight: 4_096,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(5),
        }
    }
}
