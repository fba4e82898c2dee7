use std::collections::{BTreeMap, BTreeSet};

use tidings_domain::{
    Change, Command, CommandKey, ConversationId, Decision, Event, FirstOutcome, Model, Outcome,
    Ownership, Partition, Tenant, UserId,
};
use tidings_wire::{
    Codec, Delivered, DeliveredBody, Input, Marked, Stored, Topic, delivered_header,
};

use crate::log::SimulatedLog;
use crate::plan::PARTITIONS;
use crate::reader::Reader;

/// Reads the log when all is done, by rules of its own, and says what is not as
/// it must be.
pub(crate) struct Checker<'a> {
    log: &'a SimulatedLog,
    codec: &'a Codec,
    truth: Truth,
    conversations: BTreeMap<ConversationId, Known>,
    /// What the history view must be.
    view: Model,
    verdicts: BTreeMap<(i32, i64), bool>,
    void: usize,
    duplicates: usize,
}

/// Which command: tenant, conversation, sender and `temp_id`.
pub(crate) type Key = (Tenant, ConversationId, UserId, String);

/// What the log says.
#[derive(Default)]
pub(crate) struct Truth {
    /// The first decision of each command, and when it came into the log.
    pub(crate) first: BTreeMap<Key, (Decision, u64)>,
    /// When each command came into the log.
    pub(crate) durable: BTreeMap<Key, u64>,
    /// The events of each conversation, in order.
    pub(crate) events: BTreeMap<ConversationId, Vec<Happened>>,
}

/// An event.
pub(crate) struct Happened {
    /// When it came into the log.
    pub(crate) moment: u64,
    pub(crate) decision: Decision,
    /// Who is a member after it.
    pub(crate) members: BTreeSet<UserId>,
}

/// What was seen to happen in a conversation.
struct Known {
    tenant: Tenant,
    members: BTreeSet<UserId>,
    closed: bool,
    seq: u64,
    no: u64,
}

/// What there was to check.
pub(crate) struct Checked {
    /// Decisions that do not count: of sequencers that were not the owner.
    pub(crate) void: usize,
    /// Commands that were known already.
    pub(crate) duplicates: usize,
    /// Commands decided for the first time.
    pub(crate) decided: usize,
    /// What the history view must be.
    pub(crate) view: Model,
    /// What clients must have been told.
    pub(crate) truth: Truth,
}

pub(crate) type Check = Result<(), String>;

pub(crate) fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn name(key: &Decision) -> Key {
    (
        key.tenant.clone(),
        key.conversation_id,
        key.sender.clone(),
        key.temp_id.as_str().to_owned(),
    )
}

impl<'a> Checker<'a> {
    pub(crate) fn new(log: &'a SimulatedLog, codec: &'a Codec) -> Self {
        Self {
            log,
            codec,
            truth: Truth::default(),
            conversations: BTreeMap::new(),
            view: Model::default(),
            verdicts: BTreeMap::new(),
            void: 0,
            duplicates: 0,
        }
    }

    /// Checks all of it. `sent` is what clients have been told is durable, in
    /// the end.
    pub(crate) fn check<'c>(
        mut self,
        sent: impl Iterator<Item = &'c Command>,
        readers: &[Reader],
    ) -> Result<Checked, String> {
        for partition in 0..PARTITIONS {
            self.partition(partition)?;
        }
        for command in sent {
            let key = (
                command.tenant.clone(),
                command.conversation_id,
                command.sender.clone(),
                command.temp_id.as_str().to_owned(),
            );
            must(self.truth.first.contains_key(&key), || {
                format!("{key:?} was acknowledged and has no decision")
            })?;
        }
        for (number, reader) in readers.iter().enumerate() {
            must(reader.contradiction.is_none(), || {
                let place = reader.contradiction;
                format!("reader {number} judged {place:?} otherwise the second time")
            })?;
            must(reader.judged == self.verdicts, || {
                let other = reader
                    .judged
                    .iter()
                    .find(|(place, judged)| self.verdicts.get(place) != Some(judged));
                format!("reader {number} sees another stream, from {other:?} on")
            })?;
        }
        Ok(Checked {
            void: self.void,
            duplicates: self.duplicates,
            decided: self.truth.first.len(),
            view: self.view,
            truth: self.truth,
        })
    }

    fn partition(&mut self, partition: i32) -> Check {
        let mut owner: Option<Ownership> = None;
        let mut owners = vec![None];
        let mut fold = Partition::new();
        let mut inputs = BTreeSet::new();
        for stored in self.log.all(Topic::MessageDelivered, partition) {
            let place = (partition, stored.offset);
            let header = delivered_header(&stored.record).map_err(|e| e.to_string())?;
            let counts = match header {
                Delivered::Claim(by) => {
                    if owner.is_none_or(|owner| by.epoch.0 > owner.epoch.0) {
                        owner = Some(by);
                    }
                    false
                }
                Delivered::Decided(marked) if owner == Some(marked.by) => {
                    must(inputs.insert(marked.input), || {
                        format!(
                            "{} in partition {partition} was decided twice",
                            marked.input
                        )
                    })?;
                    self.valid(partition, &stored, marked, &mut fold)?;
                    true
                }
                Delivered::Decided(_) => {
                    self.void += 1;
                    false
                }
            };
            self.verdicts.insert(place, counts);
            owners.push(owner);
        }
        for topic in Topic::COMMANDS {
            for Stored { offset, .. } in self.log.all(topic, partition) {
                let input = Input { topic, offset };
                must(inputs.contains(&input), || {
                    format!("{input} in partition {partition} was never decided")
                })?;
            }
        }
        for mark in self.log.marks(partition) {
            let known = owners.get(mark.offset as usize);
            must(known == Some(&mark.current), || {
                format!(
                    "the mark at {} of partition {partition} is wrong",
                    mark.offset
                )
            })?;
        }
        Ok(())
    }

    fn valid(
        &mut self,
        partition: i32,
        stored: &Stored,
        marked: Marked,
        fold: &mut Partition,
    ) -> Check {
        let place = format!("delivered/{partition}@{}", stored.offset);
        let body = self.codec.decode_delivered(&stored.record);
        let DeliveredBody::Decision(decision) = body.map_err(|e| format!("{place}: {e}"))? else {
            return Err(format!("{place}: a good command is among the dead letters"));
        };
        let input = marked.input;
        let asked = self.log.from(input.topic, partition, input.offset, 1);
        let asked = asked
            .first()
            .ok_or_else(|| format!("{place} decides nothing"))?;
        let command = self.codec.decode_command(input.topic, &asked.record);
        let command = command.map_err(|e| format!("{place}: {e}"))?;
        let same: [CommandKey; 2] = [command.key(), decision.key()];
        must(
            same[0] == same[1] && command.tenant == decision.tenant,
            || format!("{place} is about another command than {input}"),
        )?;
        fold.apply(&decision);
        must(fold.digest() == marked.digest, || {
            format!("{place} was decided on another state")
        })?;
        self.view.apply(&decision, stored.offset);
        let appended = self.log.appended_at(input.topic, partition, input.offset);
        let appended = appended.unwrap_or_default();
        let durable = self.truth.durable.entry(name(&decision));
        let earliest = durable.or_insert(appended);
        *earliest = appended.min(*earliest);
        let moment = self.log.appended_at(stored.topic, partition, stored.offset);
        self.decision(&place, moment.unwrap_or_default(), decision)
    }

    fn decision(&mut self, place: &str, moment: u64, decision: Decision) -> Check {
        let key = name(&decision);
        if let Outcome::Duplicate(of) = &decision.outcome {
            self.duplicates += 1;
            let first = self.truth.first.get(&key).map(|(first, _)| &first.outcome);
            let agrees = match (first, of.outcome) {
                (Some(Outcome::Accepted { seq, event }), FirstOutcome::Accepted { seq: s, no }) => {
                    (*seq, event.no()) == (s, no)
                }
                (Some(Outcome::Rejected(code)), FirstOutcome::Rejected(c)) => *code == c,
                (Some(Outcome::Noted(_)), FirstOutcome::Noted) => true,
                _ => false,
            };
            return must(agrees, || format!("{place} is not what was decided first"));
        }
        if let Outcome::Accepted { seq, event } = &decision.outcome {
            self.event(place, &decision, *seq, event)?;
            let id = decision.conversation_id;
            let members = self
                .conversations
                .get(&id)
                .map(|known| known.members.clone());
            self.truth.events.entry(id).or_default().push(Happened {
                moment,
                decision: decision.clone(),
                members: members.unwrap_or_default(),
            });
        }
        if let Outcome::Noted(_) = &decision.outcome {
            self.member(place, &decision)?;
        }
        let before = self.truth.first.insert(key, (decision, moment));
        must(before.is_none(), || {
            format!("{place} decides a command a second time")
        })
    }

    fn member(&mut self, place: &str, decision: &Decision) -> Result<&mut Known, String> {
        let id = decision.conversation_id;
        let known = self.conversations.get_mut(&id);
        let known = known.ok_or_else(|| format!("{place}: there is no conversation yet"))?;
        must(known.tenant == decision.tenant, || {
            format!("{place}: one tenant in a conversation of another")
        })?;
        must(known.members.contains(&decision.sender), || {
            format!("{place}: the sender is no member")
        })?;
        Ok(known)
    }

    fn event(&mut self, place: &str, decision: &Decision, seq: u64, event: &Event) -> Check {
        if let Event::ConversationUpdated(Change::Create { members, .. }) = event {
            let known = Known {
                tenant: decision.tenant.clone(),
                members: members.iter().map(|m| m.user_id.clone()).collect(),
                closed: false,
                seq: 1,
                no: 0,
            };
            let before = self.conversations.insert(decision.conversation_id, known);
            return must(seq == 1 && before.is_none(), || {
                format!("{place}: a conversation is made again, or by event {seq}")
            });
        }
        let known = self.member(place, decision)?;
        must(seq == known.seq + 1, || {
            format!("{place}: event {seq} comes after event {}", known.seq)
        })?;
        known.seq = seq;
        match event {
            Event::MessageSent { no, .. } => {
                must(!known.closed, || {
                    format!("{place}: a post in what is closed")
                })?;
                must(*no == known.no + 1, || {
                    format!("{place}: message {no} comes after message {}", known.no)
                })?;
                known.no = *no;
            }
            Event::ConversationUpdated(change) => match change {
                Change::AddMembers(who) => known.members.extend(who.iter().cloned()),
                Change::RemoveMembers(who) => known.members.retain(|member| !who.contains(member)),
                Change::Leave => {
                    known.members.remove(&decision.sender);
                }
                Change::Close => known.closed = true,
                Change::Reopen => known.closed = false,
                Change::Create { .. } | Change::Rename(_) | Change::SetRole { .. } => {}
            },
            _ => {}
        }
        Ok(())
    }
}
