//! What is shown, and where it comes from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tidings_log::LogReader;
use tidings_operate::dead::{Journal, open_letters};
use tidings_operate::{LagMeter, LagReport};
use tidings_wire::Topic;
use tokio::runtime::Handle;

use crate::lag::LagArgs;

/// How long an edge may take to give out its metrics.
const METRICS_TIMEOUT: Duration = Duration::from_secs(1);
/// The gauge of an edge's open sockets.
const SOCKETS: &str = "tidings_sockets";

/// One look at everything.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) lag: LagReport,
    /// Records that each topic has had, in all partitions.
    pub(super) topics: Vec<(&'static str, i64)>,
    /// By partition: the epoch of the sequencer that owns it, as the log was
    /// last told.
    pub(super) epochs: Vec<Option<u64>>,
    /// Dead letters that are open, by topic.
    pub(super) dead: Vec<(&'static str, i64)>,
    /// Sockets by the address of each edge's metrics; none: not known.
    pub(super) edges: Vec<(String, Option<u64>)>,
}

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) look: Option<Look>,
    /// Records a second of each topic of the look.
    pub(super) rates: Vec<f64>,
    /// Why the last look failed, if it did; what is shown is older.
    pub(super) error: Option<String>,
}

impl Shown {
    pub(super) fn take(&mut self, look: Result<Look, String>) {
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                self.error = Some(error);
                return;
            }
        };
        self.error = None;
        self.rates = match &self.look {
            Some(before) => rates(before, &look),
            None => vec![0.0; look.topics.len()],
        };
        self.look = Some(look);
    }
}

/// Records a second from one look to the next.
fn rates(before: &Look, now: &Look) -> Vec<f64> {
    let seconds = (now.at - before.at).as_secs_f64().max(0.001);
    let counts = before.topics.iter().zip(&now.topics);
    counts
        .map(|((_, before), (_, now))| (now - before).max(0) as f64 / seconds)
        .collect()
}

/// Looks.
pub(super) struct Gatherer {
    log: Arc<dyn LogReader>,
    meter: LagMeter,
    consumers: Vec<String>,
    metrics: Vec<String>,
    http: reqwest::Client,
    runtime: Handle,
}

impl Gatherer {
    pub(super) fn new(args: &LagArgs, runtime: Handle) -> Result<Self> {
        let log = runtime.block_on(args.place.open_log())?;
        Ok(Self {
            meter: LagMeter::new(Arc::clone(&log))?,
            log,
            consumers: args.consumers.clone(),
            metrics: args.metrics.clone(),
            http: reqwest::Client::builder()
                .timeout(METRICS_TIMEOUT)
                .build()?,
            runtime,
        })
    }

    /// Looks at everything. Blocks.
    pub(super) fn look(&mut self) -> Result<Look> {
        let at = Instant::now();
        let lag = self.meter.measure(&self.consumers)?;
        let log = &*self.log;
        let partitions = log.partitions();
        let mut topics = Vec::new();
        for topic in Topic::ALL {
            let mut records = 0;
            for partition in 0..partitions {
                records += log.watermarks(topic, partition)?.1;
            }
            topics.push((topic.name(), records));
        }
        let epochs: Result<Vec<_>, _> = (0..partitions)
            .map(|partition| {
                let owner = log.mark(partition)?.and_then(|mark| mark.current);
                Ok::<_, tidings_log::LogError>(owner.map(|owner| owner.epoch.0))
            })
            .collect();
        let journal = Journal::read(log).context("the dead letters that are done with")?;
        let dead = open_letters(log, &journal)?;
        Ok(Look {
            at,
            lag,
            topics,
            epochs: epochs?,
            dead: dead
                .iter()
                .map(|(topic, open)| (topic.name(), *open))
                .collect(),
            edges: self.edges(),
        })
    }

    /// One that does not answer is not known, and stops nobody.
    fn edges(&self) -> Vec<(String, Option<u64>)> {
        let ask = async |url: &str| {
            let asked = self.http.get(url).send().await.ok()?;
            sockets_in(&asked.text().await.ok()?)
        };
        let asked = self.metrics.iter();
        asked
            .map(|url| {
                (
                    shown_url(url),
                    self.runtime.block_on(ask(&metrics_url(url))),
                )
            })
            .collect()
    }
}

/// Where an edge's metrics are: the address itself, or its `/metrics`.
fn metrics_url(url: &str) -> String {
    match url.trim_end_matches('/') {
        url if url.ends_with("/metrics") => url.to_owned(),
        url => format!("{url}/metrics"),
    }
}

/// An address without what may be a password.
fn shown_url(url: &str) -> String {
    let Ok(parsed) = reqwest::Url::parse(url) else {
        return "an address that cannot be read".to_owned();
    };
    let host = parsed.host_str().unwrap_or_default();
    match parsed.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The sockets that an edge's metrics tell of.
fn sockets_in(metrics: &str) -> Option<u64> {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(SOCKETS)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use tidings_operate::{ConsumerLag, ConsumerState, PausedConsumer};

    use super::*;

    pub(in crate::lag::watch) fn look() -> Look {
        let consumer = |name: &str, state, records| ConsumerLag {
            consumer: name.to_owned(),
            state,
            members: 1,
            paused: (state == ConsumerState::Paused).then(|| PausedConsumer {
                reason: "moving the index".to_owned(),
                by: Some("ann".to_owned()),
                since: "2026-01-02T03:04:05.000Z".to_owned(),
            }),
            records,
            seconds: records as f64 / 10.0,
            partitions: Vec::new(),
        };
        Look {
            at: Instant::now(),
            lag: LagReport {
                at: "2026-01-02T03:05:00.000Z".to_owned(),
                consumers: vec![
                    consumer("sequencer", ConsumerState::Active, 0),
                    consumer("search", ConsumerState::Paused, 345),
                ],
            },
            topics: vec![("message.sent", 100), ("message.delivered", 90)],
            epochs: vec![Some(3), None],
            dead: vec![("dead.search", 2)],
            edges: vec![
                ("10.0.0.1:7701".to_owned(), Some(1_234)),
                ("10.0.0.2:7701".to_owned(), None),
            ],
        }
    }

    #[test]
    fn rates_are_by_the_second() {
        let first = look();
        let mut second = first.clone();
        second.at += Duration::from_secs(2);
        second.topics[0].1 += 50;
        let mut shown = Shown::default();
        shown.take(Ok(first));
        assert_eq!(shown.rates, [0.0, 0.0]);
        shown.take(Ok(second));
        assert_eq!(shown.rates, [25.0, 0.0]);
    }

    #[test]
    fn a_look_that_fails_leaves_the_one_before() {
        let mut shown = Shown::default();
        shown.take(Ok(look()));
        shown.take(Err("no broker".to_owned()));
        assert!(shown.look.is_some());
        assert_eq!(shown.error.as_deref(), Some("no broker"));
        shown.take(Ok(look()));
        assert_eq!(shown.error, None);
    }

    #[test]
    fn sockets_are_found_among_the_metrics() {
        let text = "# TYPE tidings_sockets gauge\ntidings_sockets_opened 7\ntidings_sockets 12\n";
        assert_eq!(sockets_in(text), Some(12));
        assert_eq!(sockets_in("other 1\n"), None);
    }

    #[test]
    fn addresses_are_completed_and_shown_without_passwords() {
        assert_eq!(metrics_url("http://e:1"), "http://e:1/metrics");
        assert_eq!(metrics_url("http://e:1/metrics"), "http://e:1/metrics");
        assert_eq!(shown_url("http://u:secret@e:1/metrics"), "e:1");
    }
}
