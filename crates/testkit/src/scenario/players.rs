use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Tokens;
use super::transcript::Transcript;
use crate::SocketClient;

/// How long anything may take before the scenario has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions about what is not there yet.
const PAUSE: Duration = Duration::from_millis(50);

/// The sockets of a scenario, by name: the user, and after a slash which of
/// the user's sockets it is.
pub(super) struct Players<'a> {
    edges: [&'a str; 2],
    tokens: Tokens<'a>,
    tenant: &'a str,
    sockets: BTreeMap<&'static str, SocketClient>,
    /// What a socket's user knows without it: up to which seq of which
    /// conversation. The events up to there it may or may not get.
    known: BTreeMap<&'static str, (Value, u64)>,
    pub(super) transcript: Transcript,
}

impl<'a> Players<'a> {
    pub(super) fn new(edges: [&'a str; 2], tokens: Tokens<'a>, tenant: &'a str) -> Self {
        Self {
            edges,
            tokens,
            tenant,
            sockets: BTreeMap::new(),
            known: BTreeMap::new(),
            transcript: Transcript::default(),
        }
    }

    /// Connects a socket to one of the edges.
    pub(super) async fn connect(&mut self, name: &'static str, edge: usize) -> Result<()> {
        let client = self.open(user_of(name), edge).await?;
        self.sockets.insert(name, client);
        Ok(())
    }

    /// Says that a socket's user has a conversation up to a seq, from `sync`.
    pub(super) fn knows(&mut self, name: &'static str, conversation: &Value, seq: u64) {
        self.known.insert(name, (conversation.clone(), seq));
    }

    async fn open(&self, user: &str, edge: usize) -> Result<SocketClient> {
        let token = (self.tokens)(user, self.tenant);
        let mut client = SocketClient::connect(self.edges[edge], &token).await?;
        client.set_patience(PATIENCE);
        Ok(client)
    }

    pub(super) async fn leave(&mut self, name: &'static str) -> Result<()> {
        let client = self.sockets.remove(name).context("there is none")?;
        client.close().await
    }

    /// Sends a command and notes what everybody hears: `counts` says how many
    /// frames each socket gets. Gives the frames of whoever sent it.
    pub(super) async fn step(
        &mut self,
        who: &'static str,
        command: &Value,
        counts: &[(&'static str, usize)],
    ) -> Result<Vec<Value>> {
        let named = self.transcript.named(command);
        self.transcript.step(&format!("{who} sends {named}"));
        self.socket(who)?.send(command).await?;
        let mut heard = Vec::new();
        for (name, count) in counts {
            let mut frames = Vec::new();
            for already in 0..*count {
                let context = || format!("{name} after {already} of {count} frames of {command}");
                let frame = self.next(name).await.with_context(context)?;
                frames.push(frame);
            }
            heard.push((*name, frames));
        }
        let own = heard.iter().find(|(name, _)| *name == who);
        let own = own.map(|(_, frames)| frames.clone()).unwrap_or_default();
        // The sender's frames name what others hear of.
        name_ids(&mut self.transcript, command, &own);
        for (name, mut frames) in heard {
            // What concerns several conversations or commands comes in any
            // order.
            let key = |frame: &Value| self.transcript.named(&place(frame)).to_string();
            frames.sort_by_cached_key(key);
            for frame in &frames {
                self.transcript.heard(name, frame);
            }
        }
        self.nothing_more().await?;
        Ok(own)
    }

    /// Everybody's socket is alive and has nothing else to say.
    async fn nothing_more(&mut self) -> Result<()> {
        let names: Vec<_> = self.sockets.keys().copied().collect();
        for name in names {
            self.socket(name)?.send(&json!({"type": "ping"})).await?;
            let frame = self.next(name).await?;
            ensure!(frame["type"] == "pong", "{name} also got {frame}");
        }
        Ok(())
    }

    /// Asks a question of both edges, until both give the same answer and
    /// `is_it`, and notes it.
    pub(super) async fn ask(
        &mut self,
        user: &'static str,
        question: &Value,
        is_it: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let named = self.transcript.named(question);
        self.transcript.step(&format!("{user} asks {named}"));
        let mut clients = [self.open(user, 0).await?, self.open(user, 1).await?];
        let start = Instant::now();
        let answer = loop {
            let mut answers = Vec::new();
            for client in &mut clients {
                answers.push(client.ask(question).await?);
            }
            if answers[0] == answers[1] && is_it(&answers[0]) {
                break answers.swap_remove(0);
            }
            if start.elapsed() > PATIENCE {
                bail!(
                    "{question}: the edges say {} and {}",
                    answers[0],
                    answers[1]
                );
            }
            tokio::time::sleep(PAUSE).await;
        };
        for client in clients {
            client.close().await?;
        }
        let noted = self.in_order(&answer);
        self.transcript.heard("both edges", &noted);
        Ok(answer)
    }

    /// An answer whose order is the same in every run: a forward's targets are
    /// decided in any order, and so is which of them is the latest in a list.
    fn in_order(&self, answer: &Value) -> Value {
        let mut answer = answer.clone();
        if let Some(Value::Array(listed)) = answer.get_mut("conversations") {
            let name = |listed: &Value| self.transcript.named(&listed["conversation_id"]);
            listed.sort_by_cached_key(|listed| name(listed).to_string());
        }
        answer
    }

    /// The next frame of the protocol's deterministic part.
    async fn next(&mut self, name: &str) -> Result<Value> {
        let known = self.known.get(name).cloned();
        let is_known = |frame: &Value| {
            let seq = frame["seq"].as_u64();
            frame["type"] == "event"
                && known.as_ref().is_some_and(|(conversation, last)| {
                    frame["conversation_id"] == *conversation && seq <= Some(*last)
                })
        };
        self.socket(name)?
            .wait_for(|frame| {
                frame["type"] != "presence" && frame["type"] != "typing" && !is_known(frame)
            })
            .await
    }

    fn socket(&mut self, name: &str) -> Result<&mut SocketClient> {
        let socket = self.sockets.get_mut(name);
        socket.with_context(|| format!("{name} has no socket"))
    }
}

/// The user whose socket this is.
fn user_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(user, _)| user)
}

/// Where a frame stands among those of one step: by conversation and command.
/// Frames alike in these keep their order.
fn place(frame: &Value) -> Value {
    json!([frame["conversation_id"], frame["temp_id"]])
}

/// Names what a command has made: by its `temp_id`, which no other has.
fn name_ids(transcript: &mut Transcript, command: &Value, frames: &[Value]) {
    for frame in frames {
        let temp_id = frame["temp_id"].as_str().unwrap_or_default();
        match command["type"].as_str() {
            Some("create") => transcript.name(&frame["conversation_id"], temp_id),
            Some("send" | "forward") => transcript.name(&frame["message_id"], temp_id),
            _ => {}
        }
    }
}
