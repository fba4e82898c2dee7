use std::collections::BTreeSet;

use tidings_domain::{
    Code, Command, CommandBody, Decision, Event, FirstOutcome, MessageId, Outcome, Update,
};
use tidings_log::{LogReader, read_range};
use tidings_wire::{
    Codec, DecodeError, Delivered, DeliveredBody, DeliveredStream, Input, Judged, Stored, Topic,
    TraceParent, delivered_header, format_time, names, partition_of,
};

use super::story::{CommandRecord, DeadLetter, DecisionRecord, State, Story};
use super::{ExplainError, ExplainOptions, Subject};
use crate::verify::shown_text;

/// After how many records somebody is told.
const TELL_EVERY: u64 = 10_000;

/// Finds all records about a subject. Blocks.
pub(super) fn find(
    log: &dyn LogReader,
    codec: &Codec,
    subject: &Subject,
    options: &ExplainOptions,
) -> Result<Story, ExplainError> {
    let mut search = Search {
        log,
        codec,
        options,
        story: Story::default(),
        read: 0,
        total: 0,
    };
    match subject {
        Subject::Event {
            conversation_id,
            seq,
        } => search.event(&conversation_id.to_string(), *seq)?,
        Subject::Command { .. } => search.command(subject)?,
    }
    search.story.records_read = search.read;
    search.finish()
}

struct Search<'a> {
    log: &'a dyn LogReader,
    codec: &'a Codec,
    options: &'a ExplainOptions,
    story: Story,
    read: u64,
    total: u64,
}

/// What is looked for in a record.
struct Needle {
    /// The record's key, where it is known.
    key: Option<String>,
    /// One of these texts stands in its value or is its `ce_id`; none: any.
    texts: Vec<String>,
}

impl Needle {
    fn may_be(&self, stored: &Stored) -> bool {
        let record = &stored.record;
        if let Some(key) = &self.key
            && record.key.as_deref() != Some(key.as_bytes())
        {
            return false;
        }
        if self.texts.is_empty() {
            return true;
        }
        let id = record.headers.text(names::CE_ID);
        let value = record.value.as_deref().unwrap_or_default();
        self.texts.iter().any(|text| {
            id == Some(text.as_str()) || memchr::memmem::find(value, text.as_bytes()).is_some()
        })
    }
}

impl Search<'_> {
    /// The event at a place of a conversation, and what is about its message.
    fn event(&mut self, key: &str, seq: u64) -> Result<(), ExplainError> {
        let partition = partition_of(key.as_bytes(), self.log.partitions());
        let needle = Needle {
            key: Some(key.to_owned()),
            texts: Vec::new(),
        };
        let is_it = |decision: &Decision| decision.seq() == Some(seq);
        self.delivered(partition, &needle, is_it)?;
        self.story.conversation_id = Some(key.to_owned());
        self.story.partition = Some(partition);
        let valid = self.story.decisions.iter().find(|it| it.valid);
        let Some(message_id) = valid.and_then(|it| it.message_id.clone()) else {
            return self.commands_of_decisions();
        };
        self.about_message(partition, key, &message_id)
    }

    /// A command by its client's id, or a message by its own.
    fn command(&mut self, subject: &Subject) -> Result<(), ExplainError> {
        let Subject::Command {
            temp_id,
            message_id,
            conversation_id,
            sender,
            tenant,
        } = subject
        else {
            return Ok(());
        };
        let key = conversation_id.map(|id| id.to_string());
        let partitions = match &key {
            Some(key) => {
                let partition = partition_of(key.as_bytes(), self.log.partitions());
                partition..partition + 1
            }
            None => 0..self.log.partitions(),
        };
        let texts = temp_id.iter().map(ToString::to_string);
        let needle = Needle {
            key,
            texts: texts.chain(message_id.map(|id| id.to_string())).collect(),
        };
        let of_whom = |of_sender: &_, of_tenant: &_| {
            sender.as_ref().is_none_or(|sender| sender == of_sender)
                && tenant.as_ref().is_none_or(|tenant| tenant == of_tenant)
        };
        let is_id = |id: &tidings_domain::TempId, message: Option<MessageId>| {
            temp_id.as_ref() == Some(id) || (message.is_some() && *message_id == message)
        };
        for partition in partitions {
            self.delivered(partition, &needle, |decision| {
                of_whom(&decision.sender, &decision.tenant)
                    && is_id(&decision.temp_id, decision.message_id)
            })?;
            for topic in Topic::COMMANDS {
                self.commands(topic, partition, &needle, |command| {
                    of_whom(&command.sender, &command.tenant)
                        && is_id(&command.temp_id, command.message_id())
                })?;
            }
        }
        // One client's id may be another's too: then each is told of. What is
        // about the message that was made is told of as well.
        let messages: BTreeSet<_> = self
            .story
            .decisions
            .iter()
            .filter_map(|it| it.message_id.clone())
            .chain(
                self.story
                    .commands
                    .iter()
                    .filter_map(|it| it.message_id.clone()),
            )
            .collect();
        let mut messages = messages.into_iter();
        if let (Some(message), None) = (messages.next(), messages.next())
            && let (Some(partition), Some(key)) =
                (self.story.partition, &self.story.conversation_id)
        {
            let key = key.clone();
            self.about_message(partition, &key, &message)?;
        } else {
            self.commands_of_decisions()?;
        }
        Ok(())
    }

    /// All decisions and commands about a message.
    fn about_message(
        &mut self,
        partition: i32,
        key: &str,
        message_id: &str,
    ) -> Result<(), ExplainError> {
        self.story.message_id = Some(message_id.to_owned());
        let needle = Needle {
            key: Some(key.to_owned()),
            texts: vec![message_id.to_owned()],
        };
        let is_it = |id: Option<MessageId>| id.is_some_and(|id| id.to_string() == message_id);
        self.delivered(partition, &needle, |decision| is_it(decision.message_id))?;
        for topic in Topic::COMMANDS {
            self.commands(topic, partition, &needle, |command| {
                is_it(command.message_id())
            })?;
        }
        self.commands_of_decisions()
    }

    /// Where to begin in a partition: by the time that is given.
    fn start(&self, topic: Topic, partition: i32) -> Result<i64, ExplainError> {
        match self.options.since {
            Some(since) => Ok(self.log.offset_at(topic, partition, since.0)?),
            None => Ok(0),
        }
    }

    fn each(
        &mut self,
        topic: Topic,
        partition: i32,
        from: i64,
        mut each: impl FnMut(&mut Self, Stored) -> Result<(), ExplainError>,
    ) -> Result<(), ExplainError> {
        let (low, high) = self.log.watermarks(topic, partition)?;
        self.total += u64::try_from(high - low.max(from)).unwrap_or(0);
        let log = self.log;
        read_range(log, topic, partition, from, i64::MAX, |stored| {
            self.read += 1;
            if self.read.is_multiple_of(TELL_EVERY)
                && let Some(progress) = &self.options.progress
            {
                progress(self.read, self.total);
            }
            each(self, stored)
        })
    }

    /// Adds the decisions that are meant. Each is judged by the reader's rule.
    fn delivered(
        &mut self,
        partition: i32,
        needle: &Needle,
        is_it: impl Fn(&Decision) -> bool,
    ) -> Result<(), ExplainError> {
        let (topic, mut stream) = (Topic::MessageDelivered, DeliveredStream::default());
        let mut from = self.start(topic, partition)?;
        // A place before it at which the owner is known, or the beginning.
        match self.log.mark(partition)? {
            Some(mark) if mark.offset <= from => {
                stream.resume(partition, mark.current);
                from = mark.offset;
            }
            _ => from = 0,
        }
        self.each(topic, partition, from, |search, stored| {
            let Ok(judged) = stream.judge(&stored) else {
                return Ok(());
            };
            let valid = match judged {
                Judged::Claim(_) => return Ok(()),
                Judged::Valid(_) => true,
                Judged::Void => false,
            };
            if !needle.may_be(&stored) {
                return Ok(());
            }
            let decision = match search.codec.decode_delivered(&stored.record) {
                Ok(DeliveredBody::Decision(decision)) => decision,
                Ok(DeliveredBody::Dead { .. }) => return Ok(()),
                Err(error) => return search.undecodable(error),
            };
            if is_it(&decision) {
                search.add_decision(&stored, valid, &decision);
            }
            Ok(())
        })
    }

    fn commands(
        &mut self,
        topic: Topic,
        partition: i32,
        needle: &Needle,
        is_it: impl Fn(&Command) -> bool,
    ) -> Result<(), ExplainError> {
        let from = self.start(topic, partition)?;
        self.each(topic, partition, from, |search, stored| {
            if !needle.may_be(&stored) {
                return Ok(());
            }
            match search.codec.decode_command(topic, &stored.record) {
                Ok(command) if is_it(&command) => search.add_command(&stored, Ok(&command)),
                Ok(_) => {}
                Err(error) if error.is_transient() => return search.undecodable(error),
                // Its key is the conversation's, and an id of ours is in it.
                Err(error) if !needle.texts.is_empty() => {
                    search.add_command(&stored, Err(&error));
                }
                Err(_) => {}
            }
            Ok(())
        })
    }

    /// One that cannot be read is nobody's, unless it is only the registry.
    fn undecodable(&self, error: DecodeError) -> Result<(), ExplainError> {
        match error.is_transient() {
            true => Err(ExplainError::Decode(error.to_string())),
            false => Ok(()),
        }
    }

    /// The commands that decisions name, and that were not found yet.
    fn commands_of_decisions(&mut self) -> Result<(), ExplainError> {
        let inputs = self.story.decisions.iter();
        let inputs: Vec<_> = inputs
            .filter_map(|it| Some((it.partition, it.input.parse::<Input>().ok()?)))
            .collect();
        for (partition, input) in inputs {
            let name = input.topic.name();
            let is_known = |it: &CommandRecord| it.topic == name && it.offset == input.offset;
            if self.story.commands.iter().any(is_known) {
                continue;
            }
            let (log, topic, at) = (self.log, input.topic, input.offset);
            let mut found = None;
            // It may be gone by now: commands are kept for a week.
            read_range(log, topic, partition, at, at + 1, |stored| {
                found = Some(stored);
                Ok::<_, ExplainError>(())
            })?;
            let Some(stored) = found.filter(|stored| stored.offset == at) else {
                continue;
            };
            match self.codec.decode_command(topic, &stored.record) {
                Ok(command) => self.add_command(&stored, Ok(&command)),
                Err(error) => self.add_command(&stored, Err(&error)),
            }
        }
        Ok(())
    }

    fn add_command(&mut self, stored: &Stored, command: Result<&Command, &DecodeError>) {
        let topic = stored.topic.name();
        let is_known = self.story.commands.iter().any(|it| {
            it.topic == topic && it.partition == stored.partition && it.offset == stored.offset
        });
        if is_known {
            return;
        }
        let key = stored.record.key.as_deref();
        let key = key.map(|key| String::from_utf8_lossy(key).into_owned());
        self.story.conversation_id = self.story.conversation_id.take().or(key);
        self.story.partition.get_or_insert(stored.partition);
        let of = command.ok();
        if let Some(command) = of {
            let tenant = &mut self.story.tenant;
            tenant.get_or_insert_with(|| command.tenant.to_string());
        }
        let shows = self.options.show_texts;
        self.story.commands.push(CommandRecord {
            topic,
            partition: stored.partition,
            offset: stored.offset,
            time: format_time(stored.record.timestamp),
            trace_id: trace_of(stored),
            kind: of.map_or_else(|| "unreadable".to_owned(), |it| kind_of(&it.body)),
            sender: of.map(|it| it.sender.to_string()),
            temp_id: of.map(|it| it.temp_id.to_string()),
            message_id: of.and_then(|it| it.message_id()).map(|id| id.to_string()),
            text: of
                .and_then(|it| text_of(&it.body))
                .map(|text| shown_text(text, shows)),
            error: command.err().map(ToString::to_string),
        });
    }

    fn add_decision(&mut self, stored: &Stored, valid: bool, decision: &Decision) {
        let is_known = self
            .story
            .decisions
            .iter()
            .any(|it| it.partition == stored.partition && it.offset == stored.offset);
        let Ok(Delivered::Decided(marked)) = delivered_header(&stored.record) else {
            return;
        };
        if is_known {
            return;
        }
        let id = decision.conversation_id.to_string();
        self.story.conversation_id.get_or_insert(id);
        self.story
            .tenant
            .get_or_insert_with(|| decision.tenant.to_string());
        self.story.partition.get_or_insert(stored.partition);
        let told = Told::of(&decision.outcome);
        let shows = self.options.show_texts;
        self.story.decisions.push(DecisionRecord {
            partition: stored.partition,
            offset: stored.offset,
            time: format_time(decision.at),
            trace_id: trace_of(stored),
            epoch: marked.by.epoch.0,
            owner: marked.by.owner.to_string(),
            valid,
            input: marked.input.to_string(),
            outcome: told.outcome,
            code: told.code.map(|code| code.as_str().to_owned()),
            kind: told.kind,
            seq: told.seq,
            no: told.no,
            sender: Some(decision.sender.to_string()),
            temp_id: Some(decision.temp_id.to_string()),
            message_id: decision.message_id.map(|id| id.to_string()),
            text: told.text.map(|text| shown_text(text, shows)),
            error: None,
        });
    }

    /// Adds the dead letters, and says what became of it all.
    fn finish(mut self) -> Result<Story, ExplainError> {
        self.dead_letters()?;
        let mut story = self.story;
        story.decisions.sort_by_key(|it| (it.partition, it.offset));
        story.commands.sort_by(|one, other| {
            (&one.time, one.topic, one.offset).cmp(&(&other.time, other.topic, other.offset))
        });
        let first = story.decisions.iter().find(|it| it.valid);
        let is_dead = story
            .dead_letters
            .iter()
            .any(|it| it.topic == Topic::DeadSequencer.name());
        story.state = match first.map(|it| (it.outcome, it.code.is_some())) {
            Some(("rejected", _) | ("duplicate", true)) => State::Rejected,
            Some(_) => State::Delivered,
            None if is_dead => State::Dead,
            None if story.commands.is_empty() => State::Unknown,
            None => State::Pending,
        };
        Ok(story)
    }

    fn dead_letters(&mut self) -> Result<(), ExplainError> {
        let commands = self.story.commands.iter();
        let commands = commands.map(|it| (it.topic.to_owned(), it.partition, it.offset));
        let decisions = self.story.decisions.iter();
        let delivered = Topic::MessageDelivered.name().to_owned();
        let decisions = decisions.map(|it| (delivered.clone(), it.partition, it.offset));
        let of: BTreeSet<(String, i32, i64)> = commands.chain(decisions).collect();
        if of.is_empty() {
            return Ok(());
        }
        for topic in [
            Topic::DeadSequencer,
            Topic::DeadHistory,
            Topic::DeadSearch,
            Topic::DeadCache,
        ] {
            for partition in 0..self.log.partitions() {
                let from = self.start(topic, partition)?;
                self.each(topic, partition, from, |search, stored| {
                    let headers = &stored.record.headers;
                    let number = |name| headers.text(name).and_then(|it| it.parse::<i64>().ok());
                    let (Some(topic_of), Some(at_partition), Some(at)) = (
                        headers.text(names::DEAD_TOPIC),
                        number(names::DEAD_PARTITION),
                        number(names::DEAD_OFFSET),
                    ) else {
                        return Ok(());
                    };
                    let at_partition = i32::try_from(at_partition).unwrap_or(-1);
                    if of.contains(&(topic_of.to_owned(), at_partition, at)) {
                        search.story.dead_letters.push(DeadLetter {
                            topic: topic.name(),
                            partition,
                            offset: stored.offset,
                            time: format_time(stored.record.timestamp),
                            of: format!("{topic_of}@{at}"),
                            cause: headers.text(names::DEAD_ERROR).unwrap_or("").to_owned(),
                        });
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

fn trace_of(stored: &Stored) -> Option<String> {
    let parent = TraceParent::parse(stored.record.headers.text(names::TRACEPARENT)?)?;
    Some(format!("{:032x}", parent.ids().0))
}

fn kind_of(body: &CommandBody) -> String {
    match body {
        CommandBody::Create { .. } => "create".to_owned(),
        CommandBody::Send { forwarded_from, .. } => match forwarded_from {
            Some(_) => "forward".to_owned(),
            None => "send".to_owned(),
        },
        CommandBody::Edit { .. } => "edit".to_owned(),
        CommandBody::Delete { scope, .. } => format!("delete for {}", scope.as_str()),
        CommandBody::React { op, .. } => format!("react, {}", op.as_str()),
        CommandBody::Read { up_to } => format!("read up to {up_to}"),
        CommandBody::Update(update) => format!("update, {}", update.op()),
    }
}

fn text_of(body: &CommandBody) -> Option<&str> {
    match body {
        CommandBody::Send { content, .. } | CommandBody::Edit { content, .. } => {
            Some(&content.text)
        }
        CommandBody::Create { title, .. } => title.as_deref(),
        CommandBody::Update(Update::Rename(title)) => Some(title),
        CommandBody::React { emoji, .. } => Some(emoji),
        _ => None,
    }
}

/// What an outcome says.
#[derive(Default)]
struct Told<'a> {
    outcome: &'static str,
    code: Option<Code>,
    kind: Option<String>,
    seq: Option<u64>,
    no: Option<u64>,
    text: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Accepted { seq, event } => Self {
                outcome: "accepted",
                kind: Some(match event {
                    Event::ConversationUpdated(change) => {
                        format!("{}, {}", event.kind(), change.op())
                    }
                    Event::MessageDeleted { scope, .. } => {
                        format!("{} for {}", event.kind(), scope.as_str())
                    }
                    _ => event.kind().to_owned(),
                }),
                seq: Some(*seq),
                no: event.no(),
                text: match event {
                    Event::MessageSent { content, .. } | Event::MessageEdited { content, .. } => {
                        Some(&content.text)
                    }
                    _ => None,
                },
                ..Self::default()
            },
            Outcome::Noted(own) => Self {
                outcome: "noted",
                kind: Some(format!("{}, {}", own.kind(), own.op())),
                ..Self::default()
            },
            Outcome::Rejected(code) => Self {
                outcome: "rejected",
                code: Some(*code),
                ..Self::default()
            },
            Outcome::Duplicate(first) => {
                let (seq, no, code) = match first.outcome {
                    FirstOutcome::Accepted { seq, no } => (Some(seq), no, None),
                    FirstOutcome::Noted => (None, None, None),
                    FirstOutcome::Rejected(code) => (None, None, Some(code)),
                };
                Self {
                    outcome: "duplicate",
                    code,
                    seq,
                    no,
                    ..Self::default()
                }
            }
        }
    }
}
