use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidings_domain::{ConversationId, Decision, Event, Outcome};
use tidings_wire::format_time;
use tidings_wire::frames::EventJson;

use crate::checker::{Check, Happened, Key, Truth, must};
use crate::sockets::device::{Device, Said};
use crate::sockets::heard::{Heard, What};

/// Compares what a device was told, and what it has in the end, with the log.
pub(crate) struct Checker<'a> {
    truth: &'a Truth,
    device: &'a Device,
    /// How much was heard on this connection so far.
    heard: usize,
    /// The last event of each conversation that came by itself on it.
    live: BTreeMap<ConversationId, u64>,
    /// All that did, and how much was heard before.
    came: Vec<(ConversationId, u64, usize)>,
    /// Up to where `sync` gave events on this connection.
    synced: BTreeMap<ConversationId, u64>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(truth: &'a Truth, device: &'a Device) -> Self {
        Self {
            truth,
            device,
            heard: 0,
            live: BTreeMap::new(),
            came: Vec::new(),
            synced: BTreeMap::new(),
        }
    }

    pub(crate) fn check(mut self) -> Check {
        for (number, connection) in self.device.heard.iter().enumerate() {
            self.live.clear();
            self.came.clear();
            self.synced.clear();
            for (before, heard) in connection.iter().enumerate() {
                self.heard = before;
                self.heard(heard)
                    .map_err(|what| format!("{}, connection {number}: {what}", self.device.name))?;
            }
        }
        self.complete()
            .map_err(|what| format!("{}: {what}", self.device.name))
    }

    fn heard(&mut self, Heard { moment, what }: &Heard) -> Check {
        match what {
            What::Welcome | What::Bye => Ok(()),
            What::Event(frame) => self.event(*moment, frame),
            What::Pending { which } => {
                let said = &self.device.said[*which];
                let durable = self.truth.durable.get(&self.key(said));
                must(durable.is_some_and(|at| at <= moment), || {
                    format!("{} is pending and not in the log", said.temp_id)
                })
            }
            What::Delivered { which, frame } => self.delivered(*moment, *which, frame),
            What::Rejected { which, frame } => self.rejected(*moment, *which, frame),
            What::Changes {
                id,
                after,
                heard,
                frame,
            } => self.changes(*moment, *id, *after, *heard, frame),
            What::Outcome { which, asked, item } => self.outcome(*moment, *which, *asked, item),
        }
    }

    fn key(&self, said: &Said) -> Key {
        let (tenant, user) = (self.device.tenant.clone(), self.device.user.clone());
        (tenant, said.conversation_id, user, said.temp_id.clone())
    }

    /// The first decision of a command, if it was in the log at a moment.
    fn first(&self, said: &Said, moment: u64) -> Option<&'a Decision> {
        let first = self.truth.first.get(&self.key(said));
        first
            .filter(|(_, at)| *at <= moment)
            .map(|(decision, _)| decision)
    }

    fn events(&self, id: ConversationId) -> &'a [Happened] {
        self.truth.events.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The events of a conversation that were in the log at a moment.
    fn events_at(&self, id: ConversationId, moment: u64) -> &'a [Happened] {
        let events = self.events(id);
        let count = events.partition_point(|happened| happened.moment <= moment);
        &events[..count]
    }

    /// Whether the user is a member after an event.
    fn is_in(&self, id: ConversationId, seq: u64) -> bool {
        let at = (seq as usize).checked_sub(1);
        let happened = at.and_then(|at| self.events(id).get(at));
        happened.is_some_and(|happened| {
            let (tenant, user) = (&self.device.tenant, &self.device.user);
            happened.decision.tenant == *tenant && happened.members.contains(user)
        })
    }

    fn happened(&self, moment: u64, id: ConversationId, seq: u64) -> Result<&'a Happened, String> {
        let at = (seq as usize).checked_sub(1);
        let happened = at.and_then(|at| self.events_at(id, moment).get(at));
        happened.ok_or_else(|| format!("event {seq} of {id} is not in the log"))
    }

    fn event(&mut self, moment: u64, frame: &Value) -> Check {
        let (id, seq) = (place(frame)?, frame["seq"].as_u64().unwrap_or_default());
        let happened = self.happened(moment, id, seq)?;
        must(self.is_in(id, seq) || self.is_in(id, seq - 1), || {
            format!("event {seq} of {id} came to who is no member")
        })?;
        must(same(happened, frame, false), || {
            format!("event {seq} of {id} is told otherwise than it was: {frame}")
        })?;
        let decision = &happened.decision;
        let is_own = decision.sender == self.device.user;
        let temp_id = is_own.then(|| decision.temp_id.as_str());
        must(frame["temp_id"].as_str() == temp_id, || {
            format!("event {seq} of {id} has another `temp_id`: {frame}")
        })?;
        self.comes(id, seq)
    }

    /// An event comes by itself, or as the answer to the command.
    fn comes(&mut self, id: ConversationId, seq: u64) -> Check {
        let next_in = |from: u64| (from..).find(|seq| self.is_in(id, *seq));
        let last = self.live.get(&id).copied();
        let expected = match (last, self.synced.get(&id)) {
            (Some(last), _) if self.is_in(id, last) => Some(last + 1),
            // Out: the next is what brings them in again.
            (Some(last), _) if self.events(id).len() as u64 > last => next_in(last + 1),
            (None, Some(synced)) if seq > *synced && self.is_in(id, *synced) => Some(synced + 1),
            _ => None,
        };
        must(expected.is_none_or(|expected| seq == expected), || {
            format!("event {seq} of {id} came, where {expected:?} was to come")
        })?;
        must(last.is_none_or(|last| seq > last), || {
            format!("event {seq} of {id} came after {last:?}")
        })?;
        self.live.insert(id, seq);
        self.came.push((id, seq, self.heard));
        Ok(())
    }

    fn delivered(&mut self, moment: u64, which: usize, frame: &Value) -> Check {
        let said = &self.device.said[which];
        let first = self.first(said, moment);
        let first = first.ok_or_else(|| format!("no decision stands for {frame}"))?;
        let is_new = frame["duplicate"] != true;
        must(accepts(first, frame), || {
            format!("{frame} is not what was decided: {:?}", first.outcome)
        })?;
        must(!is_new || frame["at"] == format_time(first.at), || {
            format!("{frame} is not of when it was decided")
        })?;
        match frame["seq"].as_u64() {
            Some(seq) if is_new => self.comes(said.conversation_id, seq),
            _ => Ok(()),
        }
    }

    fn rejected(&self, moment: u64, which: usize, frame: &Value) -> Check {
        let said = &self.device.said[which];
        let decided = self.first(said, moment);
        let is_decided = decided.is_some_and(|first| rejects(first, &frame["code"]));
        let is_refused = !self.truth.first.contains_key(&self.key(said));
        must(frame["retry"] == true || is_decided || is_refused, || {
            format!("{frame} is not what was decided: {decided:?}")
        })
    }

    fn outcome(&self, moment: u64, which: usize, asked: u64, item: &Value) -> Check {
        let said = &self.device.said[which];
        let durable = self.truth.durable.get(&self.key(said));
        let first = self.first(said, moment);
        let holds = match item["state"].as_str() {
            Some("delivered") => first.is_some_and(|first| accepts(first, item)),
            Some("rejected") => first.is_some_and(|first| rejects(first, &item["code"])),
            Some("pending") => durable.is_some_and(|at| *at <= moment),
            Some("unknown") => durable.is_none_or(|at| *at > asked),
            _ => false,
        };
        must(holds, || {
            format!("{item} at {moment}, asked at {asked}; in the log at {durable:?}: {first:?}")
        })
    }

    fn changes(
        &mut self,
        moment: u64,
        id: ConversationId,
        after: u64,
        heard: usize,
        frame: &Value,
    ) -> Check {
        let rows = frame["events"].as_array().map_or(&[][..], Vec::as_slice);
        for (seq, row) in (after + 1..).zip(rows) {
            must(row["seq"] == seq, || {
                format!("a gap at {seq} in the changes of {id}: {frame}")
            })?;
            let happened = self.happened(moment, id, seq)?;
            let is_deleted = is_deleted(self.events_at(id, moment), &happened.decision);
            must(same(happened, row, is_deleted), || {
                format!("event {seq} of {id} is told otherwise than it was: {row}")
            })?;
        }
        let reached = after + rows.len() as u64;
        let head = self.events_at(id, moment).len() as u64;
        let last_seq = frame["last_seq"].as_u64().unwrap_or_default();
        must(last_seq >= reached && last_seq <= head.max(after), || {
            format!("the changes of {id} end at {last_seq}, the log at {head}")
        })?;
        must(frame["more"] == (reached < last_seq), || {
            format!("there are more changes of {id}, or not: {frame}")
        })?;
        let mut was_in = (reached.max(1)..=head).map(|seq| self.is_in(id, seq));
        must(rows.is_empty() || was_in.any(|is_in| is_in), || {
            format!("changes of {id} up to {reached} for who is no member")
        })?;
        let known = self.came.iter();
        let known = known.filter(|(of, _, before)| *of == id && *before < heard);
        let newest = known.map(|(_, seq, _)| *seq).max().unwrap_or_default();
        must(last_seq >= newest, || {
            format!("the changes of {id} end at {last_seq}; {newest} was told before")
        })?;
        if frame["more"] == false {
            let synced = self.synced.entry(id).or_default();
            *synced = reached.max(*synced);
        }
        Ok(())
    }

    /// In the end it has all events of the conversations it belongs to, and an
    /// answer to all that it sent.
    fn complete(&self) -> Check {
        for (id, events) in &self.truth.events {
            let head = events.len() as u64;
            let has = self.device.contiguous(*id);
            must(has == head || !self.is_in(*id, head), || {
                format!("it has {id} up to {has}, and there are {head} events")
            })?;
        }
        let open = self.device.said.iter().find(|said| !said.settled);
        must(open.is_none(), || {
            let temp_id = open.map(|said| &said.temp_id);
            format!("it was never told what became of {temp_id:?}")
        })
    }
}

fn place(frame: &Value) -> Result<ConversationId, String> {
    let id = frame["conversation_id"].as_str().unwrap_or_default();
    let id = id.parse().map_err(|e| format!("{e}: {frame}"))?;
    Ok(ConversationId(id))
}

/// Whether an answer says that a command was accepted as it was.
fn accepts(first: &Decision, answer: &Value) -> bool {
    let (seq, no) = match &first.outcome {
        Outcome::Accepted { seq, event } => (Some(*seq), event.no()),
        Outcome::Noted(_) => (None, None),
        Outcome::Rejected(_) | Outcome::Duplicate(_) => return false,
    };
    let told = &answer["message_id"];
    let message_id = first.message_id.map(|id| id.0.to_string());
    answer["seq"].as_u64() == seq
        && answer["no"].as_u64() == no
        && told.as_str() == message_id.as_deref()
}

fn rejects(first: &Decision, code: &Value) -> bool {
    matches!(&first.outcome, Outcome::Rejected(decided) if *code == decided.as_str())
}

/// Whether the text of what a decision posted or edited is out of reach.
fn is_deleted(events: &[Happened], of: &Decision) -> bool {
    events.iter().any(|happened| {
        let Outcome::Accepted { event, .. } = &happened.decision.outcome else {
            return false;
        };
        matches!(event, Event::MessageDeleted { message_id, .. } if Some(*message_id) == of.message_id)
    })
}

/// Whether a frame tells of an event as it was; its text may be missing.
fn same(happened: &Happened, frame: &Value, is_deleted: bool) -> bool {
    let Decision {
        sender,
        at,
        outcome: Outcome::Accepted { event, .. },
        ..
    } = &happened.decision
    else {
        return false;
    };
    let mut expected: Value =
        serde_json::from_str(EventJson::of(event).as_str()).unwrap_or_default();
    if is_deleted && frame["event"]["content"].is_null() && !expected["content"].is_null() {
        expected["content"] = json!(null);
    }
    frame["by"] == sender.as_str() && frame["at"] == format_time(*at) && frame["event"] == expected
}
