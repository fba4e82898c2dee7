use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tidings_testkit::SocketClient;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::caller::Caller;
use crate::member::Member;
use crate::record::{Record, judge};

const MEMBERS: usize = 12;
const CALLERS: usize = 2;
const CONVERSATIONS: usize = 4;
/// How long every command may take to its final answer once all is well again.
const DECIDED_WITHIN: Duration = Duration::from_secs(150);
/// How long everybody may take to see all of it.
const SEEN_WITHIN: Duration = Duration::from_secs(120);

/// What everybody is at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Connected, and silent.
    Quiet,
    Sending,
    /// Only waits for what is undecided, or sends it again.
    Settling,
    /// Asks for whatever was not seen yet, and ends.
    Closing,
}

/// What a participant shares with the crowd.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) token: String,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) acks: Arc<Acks>,
    record: Arc<Mutex<Record>>,
    settled: Arc<AtomicBool>,
}

impl Seat {
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing of one's own is undecided, and nothing more will be sent.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }
}

/// When commands of whomever were decided: the longest time that none was.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    times: Mutex<AckTimes>,
}

#[derive(Debug, Default)]
struct AckTimes {
    last: Option<Instant>,
    longest: Duration,
    decided: u64,
}

impl Acks {
    pub(crate) fn note(&self) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.decided += 1;
        times.gap();
        times.last = Some(Instant::now());
    }

    pub(crate) fn decided(&self) -> u64 {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.decided
    }

    fn longest(&self) -> Duration {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.gap();
        times.longest
    }
}

impl AckTimes {
    fn gap(&mut self) {
        if let Some(last) = self.last {
            self.longest = self.longest.max(last.elapsed());
        }
    }
}

/// Users who talk to each other over sockets and the HTTP API, and keep a
/// record of all they send, are told and see.
pub(crate) struct Crowd {
    conversations: Vec<String>,
    seats: Vec<Seat>,
    stage: watch::Sender<Stage>,
    acks: Arc<Acks>,
    tasks: JoinSet<()>,
}

/// What a crowd went through.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) conversations: Vec<String>,
    /// Conversation, sender, temp_id, seq and text of each delivered message.
    pub(crate) delivered: Vec<Delivery>,
    pub(crate) resent: u64,
    pub(crate) reconnects: u64,
    pub(crate) stall: Duration,
    pub(crate) found: Vec<String>,
}

/// A message that its sender was told is delivered.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) conversation: String,
    pub(crate) sender: String,
    pub(crate) temp_id: String,
    pub(crate) seq: u64,
    pub(crate) text: String,
}

/// Who is in a crowd, with their tokens: the same ones for every cell.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let members = (0..MEMBERS).map(|n| format!("member-{n}"));
    members.chain((0..CALLERS).map(|n| format!("caller-{n}")))
}

impl Crowd {
    /// Makes the conversations of a cell and connects everybody, who are
    /// silent so far. `tokens` in the order of [`names`].
    pub(crate) async fn gather(
        cell: &str,
        edges: &[SocketAddr],
        api: SocketAddr,
        tokens: &[String],
    ) -> Result<Self> {
        let names: Vec<String> = names().collect();
        let conversations = create(cell, edges[0], &names, &tokens[0]).await?;
        let (stage, receiver) = watch::channel(Stage::Quiet);
        let acks = Arc::new(Acks::default());
        let mut tasks = JoinSet::new();
        let mut seats = Vec::new();
        for (n, (name, token)) in names.iter().zip(tokens).enumerate() {
            let own = own_conversations(n, &conversations);
            let watches = n < MEMBERS;
            let seat = Seat {
                token: token.clone(),
                stage: receiver.clone(),
                acks: Arc::clone(&acks),
                record: Arc::new(Mutex::new(Record::of(name, watches, &own))),
                settled: Arc::default(),
            };
            seats.push(seat.clone());
            if watches {
                tasks.spawn(Member::new(n, seat, edges.to_vec(), own).run());
            } else {
                tasks.spawn(Caller::new(seat, api, own)?.run());
            }
        }
        Ok(Self {
            conversations,
            seats,
            stage,
            acks,
            tasks,
        })
    }

    /// Everybody begins to send.
    pub(crate) fn send(&self) {
        self.stage.send_replace(Stage::Sending);
    }

    /// Waits until this many more commands were decided.
    pub(crate) async fn decided(&self, more: u64, within: Duration) -> Result<()> {
        let (start, wanted) = (Instant::now(), self.acks.decided() + more);
        while self.acks.decided() < wanted {
            if start.elapsed() > within {
                bail!("{more} more commands are not decided within {within:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Waits for the final answer to everything, and until everybody has seen
    /// all of it. What they found.
    pub(crate) async fn settle(mut self) -> Verdict {
        let stall = self.acks.longest();
        self.stage.send_replace(Stage::Settling);
        let start = Instant::now();
        let settled = |seat: &Seat| seat.settled.load(Ordering::Relaxed);
        while !self.seats.iter().all(settled) && start.elapsed() < DECIDED_WITHIN {
            sleep(Duration::from_millis(50)).await;
        }
        self.stage.send_replace(Stage::Closing);
        let ending = async {
            let mut panicked = Vec::new();
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    panicked.push(format!("the checker itself: {error}"));
                }
            }
            panicked
        };
        let mut found = match tokio::time::timeout(SEEN_WITHIN, ending).await {
            Ok(panicked) => panicked,
            Err(_) => vec![format!("not everybody sees all within {SEEN_WITHIN:?}")],
        };
        self.tasks.shutdown().await;
        let records: Vec<_> = self.seats.iter().map(Seat::record).collect();
        let records: Vec<&Record> = records.iter().map(|one| &**one).collect();
        found.extend(judge(&records, &self.conversations));
        let delivered = records.iter().flat_map(|record| {
            let decided = record.sent.iter();
            decided.filter_map(|(temp_id, sent)| {
                Some(Delivery {
                    conversation: sent.conversation.clone(),
                    sender: record.who.clone(),
                    temp_id: temp_id.clone(),
                    seq: sent.seq?,
                    text: sent.text.clone(),
                })
            })
        });
        Verdict {
            delivered: delivered.collect(),
            resent: records.iter().map(|one| one.resent).sum(),
            reconnects: records.iter().map(|one| one.reconnects).sum(),
            conversations: self.conversations.clone(),
            stall,
            found,
        }
    }
}

/// Each member is in two of the conversations, each caller in all.
fn own_conversations(n: usize, all: &[String]) -> Vec<String> {
    let is_in = |place: usize| {
        let first = n % CONVERSATIONS;
        n >= MEMBERS || place == first || place == (first + 1) % CONVERSATIONS
    };
    let own = all.iter().enumerate().filter(|(place, _)| is_in(*place));
    own.map(|(_, conversation)| conversation.clone()).collect()
}

async fn create(
    cell: &str,
    edge: SocketAddr,
    names: &[String],
    token: &str,
) -> Result<Vec<String>> {
    let mut client = SocketClient::connect(&format!("ws://{edge}"), token).await?;
    client.set_patience(Duration::from_secs(60));
    let mut conversations = Vec::new();
    let places: Vec<String> = (0..CONVERSATIONS).map(|place| place.to_string()).collect();
    for place in &places {
        // The first of all makes them, and is in each: as an owner who only
        // looks on in those that are not theirs.
        let members = names.iter().enumerate().skip(1);
        let members: Vec<_> = members
            .filter(|(n, _)| own_conversations(*n, &places).contains(place))
            .map(|(_, name)| name)
            .collect();
        let answer = client
            .command(
                &json!({"type": "create", "temp_id": format!("{cell}-{place}"),
                "kind": "group", "title": cell, "members": members}),
            )
            .await?;
        let id = answer["conversation_id"].as_str();
        let id = id.filter(|_| answer["type"] == "delivered");
        let id = id.with_context(|| format!("no conversation: {answer}"))?;
        conversations.push(id.to_owned());
    }
    client.close().await?;
    Ok(conversations)
}
