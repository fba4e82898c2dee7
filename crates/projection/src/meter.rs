use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
use tidings_views::StoreError;
use tidings_views::generation::Generation;

/// What the projection counts and measures.
#[derive(Clone)]
pub(crate) struct Meter {
    applied: Counter,
    void: Counter,
    repeated: Counter,
    dead: Counter,
    batch_seconds: Histogram,
    lag_records: Gauge,
    lag_seconds: Gauge,
    paused: Gauge,
    errors: [Counter; 4],
}

impl Meter {
    pub(crate) fn new(name: &'static str, generation: Generation) -> Self {
        let labels = [
            Label::new("projection", name),
            Label::new("generation", generation.to_string()),
        ];
        let errors = ["transient", "saturated", "data", "fatal"].map(|class| {
            let mut labels = labels.to_vec();
            labels.push(Label::new("class", class));
            counter!("tidings_store_errors_total", labels)
        });
        Self {
            applied: counter!("tidings_projection_applied_total", labels.to_vec()),
            void: counter!("tidings_projection_void_total", labels.to_vec()),
            repeated: counter!("tidings_projection_repeated_total", labels.to_vec()),
            dead: counter!("tidings_dead_letters_total", labels.to_vec()),
            batch_seconds: histogram!("tidings_projection_batch_seconds", labels.to_vec()),
            lag_records: gauge!("tidings_projection_lag_records", labels.to_vec()),
            lag_seconds: gauge!("tidings_projection_lag_seconds", labels.to_vec()),
            paused: gauge!("tidings_projection_paused", labels.to_vec()),
            errors,
        }
    }

    /// Decisions that are in the store now.
    pub(crate) fn applied(&self, decisions: usize, took: Duration) {
        self.applied.increment(decisions as u64);
        self.batch_seconds.record(took);
    }

    /// A claim that lost, or a decision of one who was not the owner.
    pub(crate) fn void(&self) {
        self.void.increment(1);
    }

    /// A record that was done already.
    pub(crate) fn repeated(&self) {
        self.repeated.increment(1);
    }

    /// A record that is among the dead letters now.
    pub(crate) fn dead(&self) {
        self.dead.increment(1);
    }

    /// The store failed.
    pub(crate) fn store_error(&self, error: &StoreError) {
        let class = match error {
            StoreError::Transient(_) => 0,
            StoreError::Saturated(_) => 1,
            StoreError::Data(_) => 2,
            StoreError::Fatal(_) => 3,
        };
        self.errors[class].increment(1);
    }

    /// Whether an operator has paused it.
    pub(crate) fn paused(&self, is_paused: bool) {
        self.paused.set(f64::from(u8::from(is_paused)));
    }

    /// How far the view is behind the log.
    pub(crate) fn lag(&self, records: i64, behind: Duration) {
        self.lag_records.set(records as f64);
        self.lag_seconds.set(behind.as_secs_f64());
    }
}
