use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};
use tidings_domain::{ConversationId, Tenant, UserId};
use uuid::Uuid;

use crate::plan::Ask;
use crate::sockets::heard::{Heard, What};
use crate::sockets::line::DeviceEnd;

/// How many events it asks for at once: few, so that there is more.
const AT_ONCE: usize = 3;

/// A client as the protocol wants it: keeps what it sent until it is decided,
/// sends it again by the same `temp_id`, and after each connect asks what it
/// missed. What it hears it writes down for the checker.
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) tenant: Tenant,
    pub(crate) user: UserId,
    token: String,
    pub(crate) link: Option<Link>,
    pub(crate) said: Vec<Said>,
    /// What it heard, connection by connection.
    pub(crate) heard: Vec<Vec<Heard>>,
    /// The events it has, by their seq.
    pub(crate) known: BTreeMap<ConversationId, BTreeSet<u64>>,
    /// Messages that it knows of.
    messages: BTreeMap<ConversationId, Vec<String>>,
    todo: VecDeque<Todo>,
    asked: Option<Asked>,
    /// Its last question was refused: it waits before it asks the next.
    rests: bool,
    questions: usize,
    trace: Vec<String>,
}

pub(crate) struct Link {
    pub(crate) edge: usize,
    pub(crate) end: DeviceEnd,
    welcomed: bool,
}

/// A command of its own.
pub(crate) struct Said {
    pub(crate) conversation_id: ConversationId,
    pub(crate) temp_id: String,
    frame: Value,
    /// It has been told the last of it.
    pub(crate) settled: bool,
    /// On which connection an answer may come.
    waits_on: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Todo {
    List,
    Sync(ConversationId),
    Outcome,
}

/// A question that is not answered yet, and when it was asked.
struct Asked {
    id: String,
    moment: u64,
    /// How much was heard on this connection before.
    heard: usize,
    todo: Todo,
    after: u64,
}

impl Device {
    pub(crate) fn new(number: usize, tenant: Tenant, user: UserId, token: String) -> Self {
        Self {
            name: format!("d{number}"),
            tenant,
            user,
            token,
            link: None,
            said: Vec::new(),
            heard: Vec::new(),
            known: BTreeMap::new(),
            messages: BTreeMap::new(),
            todo: VecDeque::new(),
            asked: None,
            rests: false,
            questions: 0,
            trace: Vec::new(),
        }
    }

    /// What happened to it since the last time.
    pub(crate) fn trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    /// Begins on a new connection.
    pub(crate) fn connect(&mut self, edge: usize, end: DeviceEnd) {
        end.send(json!({"type": "hello", "token": self.token}).to_string());
        self.link = Some(Link {
            edge,
            end,
            welcomed: false,
        });
        self.heard.push(Vec::new());
        self.todo.clear();
        (self.asked, self.rests) = (None, false);
    }

    /// The connection is gone, as far as the device knows.
    pub(crate) fn disconnect(&mut self) -> Option<Link> {
        self.asked = None;
        self.link.take()
    }

    pub(crate) fn is_welcomed(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.welcomed)
    }

    /// Whether it wants nothing: all it sent is decided, and it has asked all.
    pub(crate) fn is_content(&self) -> bool {
        self.is_welcomed()
            && self.asked.is_none()
            && self.todo.is_empty()
            && self.said.iter().all(|said| said.settled)
    }

    /// Sends a new command. `next` is who is added or put out.
    pub(crate) fn say(&mut self, id: ConversationId, what: Ask, next: &UserId) {
        let number = self.said.len();
        let frame = self.frame(id, what, number, next);
        self.push(id, format!("{}.{number}", self.name), frame);
    }

    /// Makes the conversation that its `temp_id` names; again, if it did.
    pub(crate) fn create(&mut self, id: ConversationId, temp_id: &str, members: &[UserId]) {
        let before = self.said.iter().position(|said| said.temp_id == temp_id);
        if let Some(which) = before {
            return self.send(which, true);
        }
        let members: Vec<_> = members.iter().map(UserId::as_str).collect();
        let frame = json!({"type": "create", "kind": "group", "members": members});
        self.push(id, temp_id.to_owned(), frame);
    }

    fn push(&mut self, conversation_id: ConversationId, temp_id: String, mut frame: Value) {
        frame["temp_id"] = json!(temp_id);
        self.said.push(Said {
            conversation_id,
            temp_id,
            frame,
            settled: false,
            waits_on: None,
        });
        self.send(self.said.len() - 1, false);
    }

    fn frame(&self, id: ConversationId, what: Ask, number: usize, next: &UserId) -> Value {
        let content = json!({"text": format!("{} says {number}", self.name)});
        let known = self.messages.get(&id).map_or(&[][..], Vec::as_slice);
        let about = (!known.is_empty()).then(|| &known[number % known.len()]);
        let mut frame = match (what, about) {
            (Ask::Edit, Some(message)) => {
                json!({"type": "edit", "message_id": message, "content": content})
            }
            (Ask::Delete | Ask::Purge | Ask::Hide, Some(message)) => {
                let scope = match what {
                    Ask::Delete => "everyone",
                    Ask::Purge => "purge",
                    _ => "me",
                };
                json!({"type": "delete", "message_id": message, "scope": scope})
            }
            (Ask::React, Some(message)) => {
                json!({"type": "react", "message_id": message, "emoji": "+1", "op": "add"})
            }
            (Ask::Add, _) => json!({"type": "update", "op": "add_members",
                "members": [next.as_str()]}),
            (Ask::Remove, _) => json!({"type": "update", "op": "remove_members",
                "members": [next.as_str()]}),
            (Ask::Close, _) => json!({"type": "update", "op": "close"}),
            (Ask::Reopen, _) => json!({"type": "update", "op": "reopen"}),
            (Ask::Read, _) => json!({"type": "read", "up_to": 1}),
            (_, Some(message)) if number.is_multiple_of(3) => {
                json!({"type": "send", "content": content, "reply_to": message})
            }
            _ => json!({"type": "send", "content": content}),
        };
        frame["conversation_id"] = json!(id.0.to_string());
        frame
    }

    /// Sends a command, for the first time or again. It does not get anywhere
    /// where there is no connection.
    pub(crate) fn send(&mut self, which: usize, retry: bool) {
        let number = self.heard.len();
        let Some(link) = self.link.as_ref().filter(|link| link.welcomed) else {
            return;
        };
        let said = &mut self.said[which];
        let mut frame = said.frame.clone();
        if retry {
            frame["retry"] = json!(true);
        }
        link.end.send(frame.to_string());
        if !said.settled {
            said.waits_on = Some(number);
        }
        self.trace.push(format!(
            "{} sends {}, retry: {retry}",
            self.name, said.temp_id
        ));
    }

    /// Goes on with what it has to ask. `again`: also where it was refused.
    pub(crate) fn work(&mut self, moment: u64, again: bool) {
        self.rests &= !again;
        if self.asked.is_some() || self.rests {
            return;
        }
        let is_open = |said: &Said| !said.settled && said.waits_on != Some(self.heard.len());
        if again && self.todo.is_empty() && self.said.iter().any(is_open) {
            self.todo.push_back(Todo::Outcome);
        }
        let Some(link) = self.link.as_ref().filter(|link| link.welcomed) else {
            return;
        };
        let Some(todo) = self.todo.pop_front() else {
            return;
        };
        self.questions += 1;
        let id = format!("q{}", self.questions);
        let mut after = 0;
        let mut question = match todo {
            Todo::List => json!({"type": "list"}),
            Todo::Sync(conversation) => {
                after = self.contiguous(conversation);
                json!({"type": "sync", "conversation_id": conversation.0.to_string(),
                    "after": after, "limit": AT_ONCE})
            }
            Todo::Outcome => {
                let open = self.said.iter().filter(|said| is_open(said));
                let asked = open.map(|said| {
                    json!({"conversation_id": said.conversation_id.0.to_string(),
                        "temp_id": said.temp_id})
                });
                let asked: Vec<_> = asked.collect();
                if asked.is_empty() {
                    return;
                }
                json!({"type": "outcome", "temp_ids": asked})
            }
        };
        question["id"] = json!(id);
        link.end.send(question.to_string());
        self.trace.push(format!("{} asks {question}", self.name));
        self.asked = Some(Asked {
            id,
            moment,
            heard: self.heard.last().map_or(0, Vec::len),
            todo,
            after,
        });
    }

    /// Up to where it has all events.
    pub(crate) fn contiguous(&self, id: ConversationId) -> u64 {
        let known = self.known.get(&id).into_iter().flatten();
        let run = (1..).zip(known).take_while(|(seq, known)| seq == *known);
        run.count() as u64
    }

    fn has_gap(&self, id: ConversationId) -> bool {
        let last = self.known.get(&id).and_then(BTreeSet::last).copied();
        last.unwrap_or_default() > self.contiguous(id)
    }

    fn want(&mut self, todo: Todo) {
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.todo == todo);
        if !is_asked && !self.todo.contains(&todo) {
            self.todo.push_back(todo);
        }
    }

    /// Takes a frame that was written at a moment.
    pub(crate) fn hear(&mut self, moment: u64, text: &str) -> Result<(), String> {
        let frame: Value = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
        let kind = frame["type"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "welcome" => {
                self.trace.push(format!("{} is welcomed", self.name));
                self.link.iter_mut().for_each(|link| link.welcomed = true);
                self.todo = VecDeque::from([Todo::List]);
                self.note(moment, What::Welcome);
                return Ok(());
            }
            _ => self.trace.push(format!("{} hears {text}", self.name)),
        }
        match kind.as_str() {
            "pending" => {
                let which = self.which(&frame)?;
                self.note(moment, What::Pending { which });
            }
            "delivered" => {
                let which = self.which(&frame)?;
                self.said[which].settled = true;
                let id = self.said[which].conversation_id;
                if let Some(seq) = frame["seq"].as_u64()
                    && frame["duplicate"] != true
                {
                    self.has(id, seq, frame["no"].is_u64().then_some(&frame));
                }
                self.note(moment, What::Delivered { which, frame });
            }
            "rejected" => {
                let which = self.which(&frame)?;
                let retry = frame["retry"] == true;
                self.said[which].waits_on = None;
                self.said[which].settled |= !retry;
                self.note(moment, What::Rejected { which, frame });
            }
            "event" => {
                let id = conversation(&frame)?;
                let seq = frame["seq"].as_u64().ok_or("an event without a seq")?;
                self.has(id, seq, Some(&frame["event"]));
                self.note(moment, What::Event(frame));
            }
            "changes" | "conversations" | "outcomes" | "error" => {
                self.answered(moment, &kind, frame)?;
            }
            "bye" => self.note(moment, What::Bye),
            // Courtesies, which are not promised.
            "own" | "read" | "presence" => {}
            _ => return Err(format!("{} does not know what this is: {text}", self.name)),
        }
        Ok(())
    }

    /// Takes note of an event.
    fn has(&mut self, id: ConversationId, seq: u64, event: Option<&Value>) {
        self.known.entry(id).or_default().insert(seq);
        let message = event.filter(|event| event["no"].is_u64());
        if let Some(message) = message.and_then(|event| event["message_id"].as_str()) {
            let known = self.messages.entry(id).or_default();
            if !known.iter().any(|known| known == message) {
                known.push(message.to_owned());
            }
        }
        if self.has_gap(id) {
            self.want(Todo::Sync(id));
        }
    }

    fn answered(&mut self, moment: u64, kind: &str, frame: Value) -> Result<(), String> {
        let asked = self.asked.take().filter(|asked| frame["id"] == asked.id);
        let asked = asked.ok_or_else(|| format!("an answer to no question: {frame}"))?;
        match (kind, asked.todo) {
            ("conversations", Todo::List) => {
                for listed in frame["conversations"].as_array().into_iter().flatten() {
                    let id = conversation(listed)?;
                    if listed["last_seq"].as_u64() > Some(self.contiguous(id)) {
                        self.want(Todo::Sync(id));
                    }
                }
                self.want(Todo::Outcome);
            }
            ("changes", Todo::Sync(id)) => {
                for row in frame["events"].as_array().into_iter().flatten() {
                    let seq = row["seq"].as_u64().ok_or("an event without a seq")?;
                    self.has(id, seq, Some(&row["event"]));
                }
                if frame["more"] == true || self.has_gap(id) {
                    self.rests |= self.contiguous(id) == asked.after;
                    self.want(Todo::Sync(id));
                }
                let (after, heard) = (asked.after, asked.heard);
                self.note(
                    moment,
                    What::Changes {
                        id,
                        after,
                        heard,
                        frame,
                    },
                );
            }
            ("outcomes", Todo::Outcome) => self.outcomes(moment, asked.moment, &frame)?,
            ("error", todo) => {
                let retry = frame["retry"] == true;
                let is_out = frame["code"] == "not_a_member" && matches!(todo, Todo::Sync(_));
                if !retry && !is_out {
                    return Err(format!("{} is refused an answer: {frame}", self.name));
                }
                if retry {
                    self.rests = true;
                    self.todo.push_front(todo);
                }
            }
            _ => return Err(format!("the answer to another question: {frame}")),
        }
        Ok(())
    }

    fn outcomes(&mut self, moment: u64, asked: u64, frame: &Value) -> Result<(), String> {
        for item in frame["outcomes"].as_array().into_iter().flatten() {
            let which = self.which(item)?;
            match item["state"].as_str() {
                Some("delivered" | "rejected") => self.said[which].settled = true,
                Some("unknown") => self.send(which, true),
                Some("pending") => {}
                _ => return Err(format!("no such outcome: {item}")),
            }
            let item = item.clone();
            self.note(moment, What::Outcome { which, asked, item });
        }
        Ok(())
    }

    fn note(&mut self, moment: u64, what: What) {
        if let Some(heard) = self.heard.last_mut() {
            heard.push(Heard { moment, what });
        }
    }

    /// Which of its commands a frame is about.
    fn which(&self, frame: &Value) -> Result<usize, String> {
        let mut said = self.said.iter();
        said.position(|said| frame["temp_id"] == said.temp_id)
            .ok_or_else(|| format!("{} never sent what this is about: {frame}", self.name))
    }
}

fn conversation(frame: &Value) -> Result<ConversationId, String> {
    let id = frame["conversation_id"].as_str().unwrap_or_default();
    let id = Uuid::parse_str(id).map_err(|e| format!("{e}: {frame}"))?;
    Ok(ConversationId(id))
}
