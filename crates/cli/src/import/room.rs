//! Plays a script into one conversation.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tidings_domain::{MAX_GROUP_MEMBERS, UserId};
use tidings_irc::{Act, Kind, Script, Step, user_id};
use tidings_service::lifecycle::Backoff;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::report::Report;
use super::sockets::{Heard, Sockets, What};
use crate::client::{Answer, Bye, Dialer};

/// The user that makes the conversation and brings in who joins. No nick can
/// be this: a colon is none of the characters of IRC nicks.
const IMPORTER: &str = "irc:import";
/// The most commands of a conversation that wait for their decision at once.
const WINDOW: usize = 64;
/// After this long without any answer everything undecided is sent again.
const RESEND_AFTER: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How to import.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) dialer: Dialer,
    /// The most sockets of one conversation.
    pub(super) sockets: usize,
    /// Without an answer for this long the import stops.
    pub(super) give_up_after: Duration,
}

/// One conversation being imported.
///
/// The events must come in the order of the lines, though each nick has its
/// own socket, perhaps to another edge. A message is therefore sent once the
/// one before it is `pending`: it then stands behind it in the log, in the
/// same partition of the same topic, and is decided after it. A change of
/// membership goes through another topic, and so waits until all before it is
/// decided, and all after it waits for it.
pub(super) struct Room<'a> {
    settings: &'a Settings,
    sockets: Sockets,
    heard: mpsc::UnboundedReceiver<Heard>,
    importer: UserId,
    /// Put before the line's number in each `temp_id`.
    name_hash: String,
    conversation_id: Option<String>,
    /// Whether an earlier import made the conversation. Its messages may be
    /// older than what the sequencer remembers; `retry` has the edge look
    /// them up.
    again: bool,
    undecided: VecDeque<Undecided>,
    /// The messages made so far, by their lines.
    messages: HashMap<usize, String>,
    progress: Instant,
    backoff: Backoff,
    report: Report,
}

/// A command on its way.
struct Undecided {
    temp_id: String,
    user: UserId,
    line: Option<usize>,
    frame: Value,
    is_message: bool,
    is_pending: bool,
    attempts: usize,
}

/// Imports one log. What went wrong stands in the report.
pub(super) async fn import(
    settings: &Settings,
    name: &str,
    script: &Script,
    bar: &ProgressBar,
) -> Report {
    let mut room = match Room::new(settings, name, script) {
        Ok(room) => room,
        Err(error) => {
            let error = Some(format!("{error:#}"));
            return Report {
                file: name.to_owned(),
                error,
                ..Report::default()
            };
        }
    };
    let mut done = 0;
    let result = room.play(name, script, bar, &mut done).await;
    if let Err(error) = result {
        room.report.error = Some(format!("{error:#}"));
        let undecided = room.undecided.iter().filter(|waiting| waiting.is_message);
        let mut missing: Vec<usize> = undecided.filter_map(|waiting| waiting.line).collect();
        let not_sent = script.steps[done..].iter().filter(|step| step.says());
        missing.extend(not_sent.map(|step| step.line));
        missing.dedup();
        room.report.missing_lines = missing;
    }
    room.sockets.close().await;
    room.report
}

impl<'a> Room<'a> {
    fn new(settings: &'a Settings, name: &str, script: &Script) -> Result<Self> {
        let importer = UserId::parse(IMPORTER).map_err(|error| anyhow::anyhow!(error.message))?;
        let (sockets, heard) = Sockets::new(settings.dialer.clone(), settings.sockets);
        let name_hash = Uuid::new_v5(
            &tidings_domain::NAMESPACE,
            format!("irc log\n{name}").as_bytes(),
        );
        Ok(Self {
            settings,
            sockets,
            heard,
            importer,
            name_hash: name_hash.simple().to_string()[..16].to_owned(),
            conversation_id: None,
            again: false,
            undecided: VecDeque::new(),
            messages: HashMap::new(),
            progress: Instant::now(),
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            report: Report {
                file: name.to_owned(),
                lines: script.counts,
                present: script.present.len(),
                ..Report::default()
            },
        })
    }

    /// `done` counts the steps that were given to the server.
    async fn play(
        &mut self,
        name: &str,
        script: &Script,
        bar: &ProgressBar,
        done: &mut usize,
    ) -> Result<()> {
        self.create(name, script).await?;
        let mut lines_done = 0;
        for step in &script.steps {
            match &step.act {
                Act::Say { reply_to, .. } => {
                    if let Some(target) = *reply_to {
                        self.until(|room| !room.awaits_line(target)).await?;
                    }
                    self.until(|room| room.undecided.len() < WINDOW).await?;
                    let reply_to = reply_to.and_then(|target| self.messages.get(&target).cloned());
                    self.submit(self.message(step, reply_to)).await?;
                    *done += 1;
                    self.until(|room| room.undecided.back().is_none_or(|last| last.is_pending))
                        .await?;
                }
                Act::Enter | Act::Leave => {
                    self.until(|room| room.undecided.is_empty()).await?;
                    self.submit(self.membership(step)).await?;
                    *done += 1;
                    self.until(|room| room.undecided.is_empty()).await?;
                }
            }
            bar.inc((step.line + 1 - lines_done) as u64);
            lines_done = step.line + 1;
        }
        self.until(|room| room.undecided.is_empty()).await?;
        bar.inc((script.counts.lines - lines_done) as u64);
        Ok(())
    }

    async fn create(&mut self, name: &str, script: &Script) -> Result<()> {
        let members: Vec<String> = script
            .present
            .iter()
            .map(|nick| user_id(nick).to_string())
            .collect();
        if members.len() >= MAX_GROUP_MEMBERS {
            bail!(
                "{} nicks are there at the start, and a group has at most {MAX_GROUP_MEMBERS} \
                 members; split the file",
                members.len()
            );
        }
        let temp_id = format!("irc-{}", self.name_hash);
        let frame = json!({
            "type": "create", "temp_id": temp_id, "kind": "group", "title": name,
            "members": members,
        });
        let user = self.importer.clone();
        self.submit(Undecided::new(temp_id, user, None, frame))
            .await?;
        self.until(|room| room.undecided.is_empty()).await?;
        if let Some(code) = self.report.rejected.keys().next() {
            bail!("the conversation could not be made: {code}");
        }
        let known = self.conversation_id.as_ref().map(|_| ());
        known.context("the server named no conversation")
    }

    fn message(&self, step: &Step, reply_to: Option<String>) -> Undecided {
        let Act::Say {
            text, kind, time, ..
        } = &step.act
        else {
            return self.membership(step);
        };
        let user = user_id(&step.nick);
        let mut irc = json!({"line": step.line});
        if let Some(time) = time {
            irc["time"] = time.as_str().into();
        }
        if *kind == Kind::Action {
            irc["kind"] = "action".into();
        }
        if user.as_str() != step.nick {
            irc["nick"] = step.nick.as_str().into();
        }
        let temp_id = format!("{}-{}", self.name_hash, step.line);
        let mut frame = json!({
            "type": "send", "temp_id": temp_id, "conversation_id": self.conversation_id,
            "content": {"text": text, "meta": {"irc": irc}},
        });
        if let Some(target) = reply_to {
            frame["reply_to"] = target.into();
        }
        Undecided {
            is_message: true,
            ..Undecided::new(temp_id, user, Some(step.line), frame)
        }
    }

    /// The importer brings in who enters; who leaves does so by themselves.
    fn membership(&self, step: &Step) -> Undecided {
        let user = user_id(&step.nick);
        let conversation_id = &self.conversation_id;
        if step.act == Act::Leave {
            let temp_id = format!("{}-{}-leave", self.name_hash, step.line);
            let frame = json!({
                "type": "update", "temp_id": temp_id, "conversation_id": conversation_id,
                "op": "leave",
            });
            return Undecided::new(temp_id, user, Some(step.line), frame);
        }
        let temp_id = format!("{}-{}-enter", self.name_hash, step.line);
        let frame = json!({
            "type": "update", "temp_id": temp_id, "conversation_id": conversation_id,
            "op": "add_members", "members": [user.as_str()],
        });
        Undecided::new(temp_id, self.importer.clone(), Some(step.line), frame)
    }

    async fn submit(&mut self, mut command: Undecided) -> Result<()> {
        if self.again {
            command.frame["retry"] = true.into();
        }
        self.report.sent += usize::from(command.is_message);
        // Waiting for an answer begins now, not when the last one came.
        if self.undecided.is_empty() {
            self.progress = Instant::now();
        }
        let user = command.user.clone();
        let frame = command.frame.to_string();
        self.undecided.push_back(command);
        if self.send(&user, &[frame]).await.is_err() {
            self.resend(&user).await?;
        }
        Ok(())
    }

    /// Listens until `reached`.
    async fn until(&mut self, reached: impl Fn(&Self) -> bool) -> Result<()> {
        while !reached(self) {
            let quiet_for = self.progress.elapsed();
            let left = self.settings.give_up_after.saturating_sub(quiet_for);
            let wait = left.min(RESEND_AFTER).max(Duration::from_millis(1));
            match timeout(wait, self.heard.recv()).await {
                Ok(Some(heard)) => self.hear(heard).await?,
                Ok(None) => bail!("every reader has ended"),
                Err(_) => {
                    self.check_patience(None)?;
                    let mut users: Vec<UserId> = self
                        .undecided
                        .iter()
                        .map(|waiting| waiting.user.clone())
                        .collect();
                    users.sort();
                    users.dedup();
                    for user in users {
                        self.resend(&user).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn hear(&mut self, heard: Heard) -> Result<()> {
        if let Some(bye) = heard.final_bye() {
            return Err(bye.clone().into());
        }
        match heard.what {
            What::Answer(Answer::Pending {
                temp_id,
                conversation_id,
                message_id,
            }) => {
                if let Some(waiting) = self.undecided.iter_mut().find(|w| w.temp_id == temp_id) {
                    waiting.is_pending = true;
                    let line = waiting.line;
                    self.note(line, conversation_id, message_id);
                }
            }
            What::Answer(Answer::Delivered {
                temp_id,
                conversation_id,
                message_id,
                duplicate,
            }) => {
                if let Some(waiting) = self.take(&temp_id) {
                    self.note(waiting.line, conversation_id, message_id);
                    self.delivered(&waiting, duplicate);
                }
            }
            What::Answer(Answer::Rejected {
                temp_id,
                code,
                retry,
                retry_after,
            }) => {
                let user = self.undecided.iter().find(|w| w.temp_id == temp_id);
                let user = user.map(|waiting| waiting.user.clone());
                match user {
                    Some(user) if retry => {
                        self.check_patience(Some(&code))?;
                        sleep(retry_after.unwrap_or_else(|| self.backoff.next_wait())).await;
                        self.resend(&user).await?;
                    }
                    Some(_) => {
                        self.take(&temp_id);
                        *self.report.rejected.entry(code).or_default() += 1;
                    }
                    None => {}
                }
            }
            What::Answer(Answer::Bye(_) | Answer::Welcome) => {}
            What::Closed => {
                let was_current = self.sockets.forget(&heard.user, heard.socket);
                if was_current && self.undecided.iter().any(|w| w.user == heard.user) {
                    self.resend(&heard.user).await?;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, line: Option<usize>, conversation: Option<String>, message: Option<String>) {
        self.made_progress();
        match line {
            None => {
                if conversation.is_some() {
                    self.conversation_id.clone_from(&conversation);
                    self.report.conversation_id = conversation;
                }
            }
            Some(line) => {
                if let Some(message) = message {
                    self.messages.insert(line, message);
                }
            }
        }
    }

    fn made_progress(&mut self) {
        self.progress = Instant::now();
        self.backoff.reset();
    }

    fn take(&mut self, temp_id: &str) -> Option<Undecided> {
        let at = self
            .undecided
            .iter()
            .position(|waiting| waiting.temp_id == temp_id)?;
        self.made_progress();
        self.undecided.remove(at)
    }

    fn delivered(&mut self, command: &Undecided, duplicate: bool) {
        // An answer to a resend may be a duplicate of what this import sent.
        let earlier = duplicate && command.attempts == 1;
        if command.line.is_none() {
            self.again = earlier;
        } else if !command.is_message {
            self.report.membership_changes += 1;
        } else {
            self.report.replies += usize::from(command.frame.get("reply_to").is_some());
            if earlier {
                self.report.duplicates += 1;
            } else {
                self.report.delivered += 1;
            }
        }
    }

    fn awaits_line(&self, line: usize) -> bool {
        self.undecided
            .iter()
            .any(|waiting| waiting.is_message && waiting.line == Some(line))
    }

    async fn send(&mut self, user: &UserId, frames: &[String]) -> Result<()> {
        let undecided = &self.undecided;
        let busy = |user: &UserId| undecided.iter().any(|waiting| waiting.user == *user);
        let sent = self.sockets.send(user, frames, busy).await;
        if sent.is_err() {
            self.sockets.drop_socket(user);
        }
        sent
    }

    /// Sends all that is undecided of a user again, in order, until it gets
    /// through. A `temp_id` is decided once, however often it comes.
    async fn resend(&mut self, user: &UserId) -> Result<()> {
        let mut frames = Vec::new();
        for waiting in self
            .undecided
            .iter_mut()
            .filter(|waiting| waiting.user == *user)
        {
            waiting.frame["retry"] = true.into();
            waiting.attempts += 1;
            frames.push(waiting.frame.to_string());
        }
        self.report.resent += frames.len();
        while let Err(error) = self.send(user, &frames).await {
            if let Some(bye) = error.downcast_ref::<Bye>().filter(|bye| bye.is_final()) {
                return Err(bye.clone().into());
            }
            self.check_patience(Some(&format!("{error:#}")))?;
            sleep(self.backoff.next_wait()).await;
        }
        Ok(())
    }

    fn check_patience(&self, last: Option<&str>) -> Result<()> {
        if self.progress.elapsed() < self.settings.give_up_after {
            return Ok(());
        }
        let last = last.map(|last| format!(" ({last})")).unwrap_or_default();
        bail!(
            "no answer for {} s{last}; import the file again when the server is back, nothing \
             will be doubled",
            self.settings.give_up_after.as_secs()
        );
    }
}

impl Undecided {
    fn new(temp_id: String, user: UserId, line: Option<usize>, frame: Value) -> Self {
        Self {
            temp_id,
            user,
            line,
            frame,
            is_message: false,
            is_pending: false,
            attempts: 1,
        }
    }
}
