use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tidings_testkit::SocketClient;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::crowd::{Seat, Stage};
use crate::record::Sent;

/// Between two messages of a user; each user has their own beat beside it.
const BEAT: Duration = Duration::from_millis(310);
const BEAT_OF_OWN: Duration = Duration::from_millis(7);
/// Before a member reconnects, at least; each has their own time beside it.
const BEFORE_AGAIN: Duration = Duration::from_millis(150);
/// Silence after which a member reconnects. They ping, so an edge is not silent.
const SILENCE: Duration = Duration::from_secs(8);
/// How often what is undecided, or not answered, is asked for again.
const ASKS: Duration = Duration::from_secs(5);
/// At most so many commands in one `outcome`.
const ASKED_AT_ONCE: usize = 50;

/// A user with a socket, who reconnects to either edge whenever it ends, and
/// resumes as PROTOCOL.md's section "Resuming" says.
pub(crate) struct Member {
    seat: Seat,
    edges: Vec<SocketAddr>,
    conversations: Vec<String>,
    number: usize,
    connections: u64,
    commands: usize,
}

/// What belongs to one connection.
struct Session {
    client: SocketClient,
    heard: Instant,
    asked: Instant,
    /// The last seq of each conversation that came live.
    live: HashMap<String, u64>,
    syncing: HashSet<String>,
    /// Rejected for now: to be sent again.
    again: Vec<String>,
    /// When each undecided command went over this connection.
    sent_at: HashMap<String, Instant>,
    /// What `sync` said was all, asked when closing.
    complete: HashSet<String>,
}

impl Member {
    pub(crate) fn new(
        number: usize,
        seat: Seat,
        edges: Vec<SocketAddr>,
        conversations: Vec<String>,
    ) -> Self {
        Self {
            seat,
            edges,
            conversations,
            number,
            connections: 0,
            commands: 0,
        }
    }

    /// Until the crowd closes and all was seen.
    pub(crate) async fn run(mut self) {
        loop {
            let edge = (self.number + self.connections as usize) % self.edges.len();
            let url = format!("ws://{}", self.edges[edge]);
            self.connections += 1;
            if let Ok(client) = SocketClient::connect(&url, &self.seat.token).await
                && self.session(client).await.is_ok()
            {
                return;
            }
            self.seat.record().reconnects += 1;
            let own = 37 * (self.number as u32 + self.connections as u32 % 10);
            sleep(BEFORE_AGAIN + Duration::from_millis(own.into())).await;
        }
    }

    /// One connection, until the end of all; an error is that it ended before.
    async fn session(&mut self, mut client: SocketClient) -> Result<()> {
        client.set_patience(SILENCE);
        let mut session = Session {
            client,
            heard: Instant::now(),
            asked: Instant::now(),
            live: HashMap::new(),
            syncing: HashSet::new(),
            again: Vec::new(),
            sent_at: HashMap::new(),
            complete: HashSet::new(),
        };
        for conversation in self.conversations.clone() {
            self.ask_sync(&mut session, &conversation).await?;
        }
        self.ask_outcomes(&mut session).await?;
        let mut beat = interval(BEAT + BEAT_OF_OWN * self.number as u32);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                frame = session.client.recv() => {
                    session.heard = Instant::now();
                    self.hear(&mut session, &frame?).await?;
                }
                _ = beat.tick() => {
                    if self.beat(&mut session).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// What is due now and then. Whether all is done.
    async fn beat(&mut self, session: &mut Session) -> Result<bool> {
        if session.heard.elapsed() > SILENCE {
            bail!("the edge is silent");
        }
        for temp_id in std::mem::take(&mut session.again) {
            self.send_again(session, &temp_id, false).await?;
        }
        let stage = self.seat.stage();
        if session.asked.elapsed() > ASKS {
            session.asked = Instant::now();
            session.client.send(&json!({"type": "ping"})).await?;
            self.ask_outcomes(session).await?;
            for conversation in session.syncing.clone() {
                self.ask_sync(session, &conversation).await?;
            }
        }
        match stage {
            Stage::Quiet => {}
            Stage::Sending => self.send_new(session).await?,
            Stage::Settling => {
                let undecided = self.seat.record().undecided().next().is_some();
                if !undecided {
                    self.seat.settle();
                }
            }
            Stage::Closing => {
                for conversation in self.conversations.clone() {
                    let known = session.complete.contains(&conversation);
                    if !known && !session.syncing.contains(&conversation) {
                        self.ask_sync(session, &conversation).await?;
                    }
                }
                return Ok(session.complete.len() == self.conversations.len());
            }
        }
        Ok(false)
    }

    async fn send_new(&mut self, session: &mut Session) -> Result<()> {
        self.commands += 1;
        let count = self.commands;
        let conversation = &self.conversations[count % self.conversations.len()];
        let (temp_id, text) = (format!("m{count:06}"), format!("said {count}"));
        let sent = Sent {
            conversation: conversation.clone(),
            text: text.clone(),
            only_on: Some(self.connections),
            message_id: None,
            seq: None,
        };
        // Before it goes out: nobody may know more of it than the record.
        self.seat.record().sent.insert(temp_id.clone(), sent);
        session.sent_at.insert(temp_id.clone(), Instant::now());
        let frame = json!({"type": "send", "temp_id": temp_id, "conversation_id": conversation,
            "content": {"text": text}});
        session.client.send(&frame).await
    }

    async fn send_again(
        &mut self,
        session: &mut Session,
        temp_id: &str,
        retry: bool,
    ) -> Result<()> {
        let mut frame = {
            let mut record = self.seat.record();
            record.resent += 1;
            let Some(sent) = record.sent.get_mut(temp_id) else {
                return Ok(());
            };
            sent.only_on = None;
            json!({"type": "send", "temp_id": temp_id, "conversation_id": sent.conversation,
                "content": {"text": sent.text}})
        };
        if retry {
            frame["retry"] = true.into();
        }
        session.sent_at.insert(temp_id.to_owned(), Instant::now());
        session.client.send(&frame).await
    }

    async fn ask_sync(&self, session: &mut Session, conversation: &str) -> Result<()> {
        session.syncing.insert(conversation.to_owned());
        let after = self.seat.record().contiguous(conversation);
        let closing = self.seat.stage() == Stage::Closing;
        let question = json!({"type": "sync", "id": if closing { "last" } else { "sync" },
            "conversation_id": conversation, "after": after, "limit": 500});
        session.client.send(&question).await
    }

    /// Of all that is undecided, but what went over this connection just now.
    async fn ask_outcomes(&self, session: &mut Session) -> Result<()> {
        let due: Vec<Value> = {
            let record = self.seat.record();
            let due = record.undecided().filter(|(temp_id, _)| {
                let sent_at = session.sent_at.get(*temp_id);
                sent_at.is_none_or(|sent_at| sent_at.elapsed() > ASKS)
            });
            due.map(
                |(temp_id, sent)| json!({"conversation_id": sent.conversation, "temp_id": temp_id}),
            )
            .collect()
        };
        for chunk in due.chunks(ASKED_AT_ONCE) {
            let question = json!({"type": "outcome", "id": "outcome", "temp_ids": chunk});
            session.client.send(&question).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, session: &mut Session, frame: &Value) -> Result<()> {
        let conversation = frame["conversation_id"].as_str().unwrap_or_default();
        let temp_id = frame["temp_id"].as_str().unwrap_or_default();
        match frame["type"].as_str().unwrap_or_default() {
            "pending" => drop(self.seat.record().told(temp_id, frame)),
            "delivered" => {
                session.sent_at.remove(temp_id);
                if self.seat.record().told(temp_id, frame) {
                    self.seat.acks.note();
                }
                if frame["duplicate"] != true {
                    self.came_live(session, conversation, &frame["seq"]).await?;
                }
            }
            "rejected" if frame["retry"] == true => session.again.push(temp_id.to_owned()),
            "rejected" => self.found(frame),
            "event" if self.conversations.iter().any(|own| own == conversation) => {
                self.seat.record().see_event(conversation, frame);
                self.came_live(session, conversation, &frame["seq"]).await?;
            }
            "changes" => self.take_changes(session, conversation, frame).await?,
            "outcomes" => self.take_outcomes(session, frame).await?,
            "error" if frame["retry"] == true => {}
            "error" => self.found(frame),
            "bye" => bail!("{frame}"),
            _ => {}
        }
        Ok(())
    }

    /// On one socket a conversation comes in seq order; what is missing is
    /// asked for.
    async fn came_live(
        &mut self,
        session: &mut Session,
        conversation: &str,
        seq: &Value,
    ) -> Result<()> {
        let seq = seq.as_u64().unwrap_or_default();
        let before = session.live.insert(conversation.to_owned(), seq);
        if let Some(before) = before.filter(|before| *before >= seq) {
            let fault = format!("{conversation}: {seq} came after {before} on one socket");
            self.seat.record().found(&fault);
        }
        let missing = self.seat.record().contiguous(conversation) < seq;
        if missing && !session.syncing.contains(conversation) {
            self.ask_sync(session, conversation).await?;
        }
        Ok(())
    }

    async fn take_changes(
        &mut self,
        session: &mut Session,
        conversation: &str,
        frame: &Value,
    ) -> Result<()> {
        session.syncing.remove(conversation);
        let (before, contiguous) = {
            let mut record = self.seat.record();
            let before = record.contiguous(conversation);
            for event in frame["events"].as_array().into_iter().flatten() {
                record.see_event(conversation, event);
            }
            (before, record.contiguous(conversation))
        };
        let all = frame["last_seq"].as_u64().unwrap_or_default() <= contiguous;
        if !all && contiguous > before {
            return self.ask_sync(session, conversation).await;
        }
        if !all {
            // The view is behind: asked again at the next beat for asking.
            session.syncing.insert(conversation.to_owned());
            return Ok(());
        }
        if frame["id"] == "last" {
            session.complete.insert(conversation.to_owned());
        }
        Ok(())
    }

    async fn take_outcomes(&mut self, session: &mut Session, frame: &Value) -> Result<()> {
        for outcome in frame["outcomes"].as_array().into_iter().flatten() {
            let temp_id = outcome["temp_id"].as_str().unwrap_or_default();
            match outcome["state"].as_str().unwrap_or_default() {
                "delivered" => {
                    if self.seat.record().told(temp_id, outcome) {
                        self.seat.acks.note();
                    }
                }
                "pending" => {}
                "unknown" => {
                    let was_pending = {
                        let record = self.seat.record();
                        let sent = record.sent.get(temp_id);
                        sent.is_some_and(|sent| sent.message_id.is_some())
                    };
                    if was_pending {
                        self.found(&json!({"of a pending command": outcome}));
                    }
                    self.send_again(session, temp_id, true).await?;
                }
                _ => self.found(outcome),
            }
        }
        Ok(())
    }

    fn found(&self, what: &Value) {
        self.seat.record().found(&what.to_string());
    }
}
