use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies, recorded in microseconds up to two minutes.
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        const HIGHEST_US: u64 = 120_000_000;
        let histogram = Histogram::new_with_bounds(1, HIGHEST_US, 3);
        Self(histogram.expect("the bounds are constants, and good ones"))
    }

    pub(super) fn record_nanos(&mut self, nanos: u64) {
        self.0.saturating_record((nanos / 1_000).max(1));
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = |quantile| ms(self.0.value_at_quantile(quantile));
        Percentiles {
            count: self.0.len(),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: ms(self.0.max()),
        }
    }
}

/// Percentiles of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
    pub(super) max: f64,
}

/// What a load did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LoadReport {
    pub(super) connections: usize,
    pub(super) conversations: usize,
    pub(super) members: usize,
    pub(super) bytes: usize,
    /// How long it was measured, in seconds.
    pub(super) seconds: f64,
    /// Messages a second that were due; none: as fast as the window allows.
    pub(super) offered_rate: Option<f64>,
    /// Messages a second that were delivered.
    pub(super) achieved_rate: f64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    /// Events that reached the other members.
    pub(super) received: u64,
    pub(super) pending_ms: Percentiles,
    pub(super) delivered_ms: Percentiles,
    pub(super) received_ms: Percentiles,
    /// Refused messages and lost connections.
    pub(super) errors: u64,
    /// The same by what they were.
    pub(super) error_causes: BTreeMap<String, u64>,
    /// Messages without a decision, and events that did not come.
    pub(super) lost: u64,
    /// Messages decided and events received more than once.
    pub(super) duplicated: u64,
    /// Events that came before one with a lower seq.
    pub(super) out_of_order: u64,
    /// CPU time of this generator, in seconds.
    pub(super) generator_cpu_seconds: f64,
    /// What the servers below do without us, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) raw: Option<serde_json::Value>,
    /// `achieved_rate` by the rate of the raw pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio_to_raw: Option<f64>,
}

impl LoadReport {
    /// For a person.
    pub(super) fn describe(&self) -> String {
        let offered = self
            .offered_rate
            .map_or("as many as go".to_owned(), |r| format!("{r:.0}"));
        let mut lines = vec![
            format!(
                "{} connections in conversations of {}, texts of {} bytes, {:.0} s",
                self.connections, self.members, self.bytes, self.seconds
            ),
            format!(
                "messages/s: {offered} offered, {:.0} achieved",
                self.achieved_rate
            ),
            format!(
                "sent {}, delivered {}, received {}",
                self.sent, self.delivered, self.received
            ),
        ];
        lines.extend(table(&[
            ("pending", self.pending_ms),
            ("delivered", self.delivered_ms),
            ("received", self.received_ms),
        ]));
        lines.push(format!(
            "errors {}, lost {}, duplicated {}, out of order {}",
            self.errors, self.lost, self.duplicated, self.out_of_order
        ));
        lines.extend(
            self.error_causes
                .iter()
                .map(|(cause, count)| format!("  {count} {cause}")),
        );
        if let Some(ratio) = self.ratio_to_raw {
            lines.push(format!("{ratio:.2} of the raw pipeline's rate"));
        }
        lines.join("\n")
    }

    /// Whether nothing went wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.errors + self.lost + self.duplicated + self.out_of_order == 0
    }
}

/// A table of latencies.
pub(super) fn table(rows: &[(&str, Percentiles)]) -> Vec<String> {
    let head = ["p50", "p90", "p95", "p99", "p99.9", "max"];
    let head: String = head.iter().map(|name| format!("{name:>10}")).collect();
    let mut lines = vec![format!("{:<14}{head}   ms", "")];
    for (name, row) in rows {
        let values = [row.p50, row.p90, row.p95, row.p99, row.p99_9, row.max];
        let values: String = values
            .iter()
            .map(|value| format!("{value:>10.2}"))
            .collect();
        lines.push(format!("{name:<14}{values}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latencies = Latencies::new();
        for ms in 1..=1_000_u64 {
            latencies.record_nanos(ms * 1_000_000);
        }
        let Percentiles {
            count,
            p50,
            p99,
            max,
            ..
        } = latencies.percentiles();
        assert_eq!(count, 1_000);
        let near = |value: f64, expected: f64| (value - expected).abs() < expected / 500.0;
        assert!(
            near(p50, 500.0) && near(p99, 990.0) && near(max, 1_000.0),
            "{p50} {p99} {max}"
        );
    }
}
