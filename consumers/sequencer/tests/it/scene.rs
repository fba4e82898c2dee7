//! What the tests share: a log, the time, instances, commands, and the check
//! of all that must hold of `message.delivered`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidings_domain::{
    Command, CommandBody, CommandKey, Content, ConversationId, Decision, Epoch, Event, Kind,
    Outcome, OwnerId, Ownership, Partition, ReaderRule, TempId, Tenant, Timestamp, UserId, Verdict,
};
use tidings_log::SequencerEvent;
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerOptions};
use tidings_service::health::Condition;
use tidings_wire::{
    Codec, Delivered, DeliveredBody, Input, Record, Stored, Topic, TraceParent, delivered_header,
    partition_of,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::log_double::{Side, World};

pub(crate) const START: i64 = 1_100_520_000_000;

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

/// A log, and the time.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) codec: Codec,
    pub(crate) options: SequencerOptions,
    now_ms: Arc<AtomicI64>,
}

/// A sequencer and the test's hand on its log.
pub(crate) struct Instance {
    pub(crate) sequencer: Sequencer,
    pub(crate) side: Side,
    pub(crate) stop: CancellationToken,
    pub(crate) ready: Condition,
}

impl Instance {
    pub(crate) fn turn(&mut self) -> bool {
        self.sequencer.turn().unwrap()
    }

    /// Turns and appends until nothing moves any more; says whether it ended.
    pub(crate) fn settle(&mut self) -> bool {
        let mut quiet = 0;
        while quiet < 32 {
            if !self.turn() {
                return true;
            }
            quiet = if self.side.waiting() == 0 {
                quiet + 1
            } else {
                0
            };
            self.side.flush_all();
        }
        false
    }
}

impl Scene {
    pub(crate) fn new(partitions: i32) -> Self {
        Self {
            world: World::new(partitions),
            codec: Codec::locked(),
            options: SequencerOptions::default(),
            now_ms: Arc::new(AtomicI64::new(0)),
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.now_ms
            .fetch_add(time.as_millis() as i64, Ordering::Relaxed);
    }

    /// Everybody's clock is set back.
    pub(crate) fn go_back(&self, time: Duration) {
        self.now_ms
            .fetch_sub(time.as_millis() as i64, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(START + self.now_ms.load(Ordering::Relaxed))
    }

    /// An instance that was given nothing yet.
    pub(crate) fn instance(&self) -> Instance {
        let side = Side::new(&self.world);
        let (stop, ready) = (CancellationToken::new(), Condition::new("partitions"));
        let (day, since) = (self.now_ms.clone(), self.now_ms.clone());
        let sequencer = Sequencer::new(Parts {
            log: Box::new(side.clone()),
            reader: Arc::new(self.world.clone()),
            codec: self.codec.clone(),
            clock: Clock::new(
                move || Timestamp(START + day.load(Ordering::Relaxed)),
                move || Duration::from_millis(since.load(Ordering::Relaxed) as u64),
            ),
            options: self.options,
            ready: ready.clone(),
            stop: stop.clone(),
        });
        Instance {
            sequencer,
            side,
            stop,
            ready,
        }
    }

    /// An instance that owns all partitions.
    pub(crate) fn owner(&self) -> Instance {
        let mut instance = self.instance();
        self.assign(&mut instance);
        instance
    }

    pub(crate) fn assign(&self, instance: &mut Instance) {
        let all = (0..tidings_log::LogReader::partitions(&self.world)).collect();
        instance.side.tell(SequencerEvent::Assigned(all));
        instance.settle();
    }

    pub(crate) fn partition(&self, id: ConversationId) -> i32 {
        let count = tidings_log::LogReader::partitions(&self.world);
        partition_of(id.to_string().as_bytes(), count)
    }

    /// Appends a command as an edge would; gives where it stands.
    pub(crate) fn ask(
        &self,
        id: ConversationId,
        from: &str,
        temp_id: &str,
        body: CommandBody,
    ) -> Input {
        let command = Command {
            tenant: tenant(),
            conversation_id: id,
            sender: user(from),
            temp_id: TempId::parse(temp_id).unwrap(),
            at: self.now(),
            body,
        };
        let trace = TraceParent::new(1, 1, false).unwrap();
        let record = self.codec.encode_command(&command, trace).unwrap();
        let topic = Topic::of_command(&command);
        Input {
            topic,
            offset: self.world.append(topic, self.partition(id), record),
        }
    }

    /// Asks for a group of alice's with bob in it.
    pub(crate) fn create(&self, temp_id: &str) -> ConversationId {
        let id = group(temp_id);
        let body = CommandBody::Create {
            kind: Kind::Group,
            title: Some(temp_id.to_owned()),
            members: vec![user("bob")],
        };
        self.ask(id, "alice", temp_id, body);
        id
    }

    pub(crate) fn send(&self, id: ConversationId, from: &str, temp_id: &str) -> Input {
        let body = CommandBody::Send {
            content: Content::text(format!("text of {temp_id}")),
            reply_to: None,
            thread: None,
            forwarded_from: None,
        };
        self.ask(id, from, temp_id, body)
    }

    /// Appends a record that is no command.
    pub(crate) fn poison(&self, id: ConversationId) -> Input {
        let record = Record {
            key: Some(id.to_string().into()),
            value: Some(b"\x00no avro"[..].into()),
            headers: Default::default(),
            timestamp: self.now(),
        };
        let offset = self
            .world
            .append(Topic::MessageSent, self.partition(id), record);
        Input {
            topic: Topic::MessageSent,
            offset,
        }
    }

    /// Claims a partition as somebody else, `above` the highest epoch.
    pub(crate) fn foreign_claim(&self, partition: i32, above: u64) -> Ownership {
        let mut rule = ReaderRule::default();
        for stored in self.world.all(Topic::MessageDelivered, partition) {
            if let Ok(Delivered::Claim(by)) = delivered_header(&stored.record) {
                rule.claim(by);
            }
        }
        let epoch = Epoch(rule.current().map_or(0, |current| current.epoch.0) + above);
        let by = Ownership {
            epoch,
            owner: OwnerId(Uuid::new_v4()),
        };
        let record = Codec::claim(by, self.now());
        self.world
            .append(Topic::MessageDelivered, partition, record);
        by
    }

    /// Reads a partition by the rule, and checks what must always hold of it.
    pub(crate) fn read(&self, partition: i32) -> Reading {
        let (reading, owners) = Reading::of(
            &self.codec,
            &self.world.all(Topic::MessageDelivered, partition),
        );
        for mark in self.world.marks(partition) {
            let owner = owners[mark.offset as usize];
            assert_eq!(mark.current, owner, "mark at {}", mark.offset);
        }
        reading
    }

    /// Reads all partitions, and checks that every command was decided once.
    pub(crate) fn check_all(&self) -> Vec<Reading> {
        let count = tidings_log::LogReader::partitions(&self.world);
        let check = |partition| {
            let reading = self.read(partition);
            let decided: HashSet<Input> = reading.inputs.keys().copied().collect();
            let asked: HashSet<Input> = Topic::COMMANDS
                .into_iter()
                .flat_map(|topic| self.world.all(topic, partition))
                .map(|stored| Input {
                    topic: stored.topic,
                    offset: stored.offset,
                })
                .collect();
            assert_eq!(decided, asked, "commands decided in partition {partition}");
            let buried: HashSet<Input> = self
                .world
                .all(Topic::DeadSequencer, partition)
                .iter()
                .map(|letter| {
                    let text = |name| letter.record.headers.text(name).unwrap();
                    Input {
                        topic: Topic::parse(text(tidings_wire::names::DEAD_TOPIC)).unwrap(),
                        offset: text(tidings_wire::names::DEAD_OFFSET).parse().unwrap(),
                    }
                })
                .collect();
            for (input, decision) in &reading.inputs {
                assert!(
                    decision.is_some() || buried.contains(input),
                    "{input} has no letter"
                );
            }
            reading
        };
        (0..count).map(check).collect()
    }
}

pub(crate) fn group(temp_id: &str) -> ConversationId {
    ConversationId::of_created(&tenant(), &user("alice"), &TempId::parse(temp_id).unwrap())
}

/// What stands in a partition, by the rule.
#[derive(Default)]
pub(crate) struct Reading {
    /// Each command's valid decision; none: a marker.
    pub(crate) inputs: BTreeMap<Input, Option<Decision>>,
    /// How many decisions were void.
    pub(crate) void: usize,
    pub(crate) owner: Option<Ownership>,
    last: HashMap<ConversationId, (u64, u64)>,
    first: HashMap<CommandKey, Input>,
}

impl Reading {
    /// Reads a whole partition by the rule, and checks what must always hold;
    /// gives also the owner before each offset.
    pub(crate) fn of(codec: &Codec, records: &[Stored]) -> (Self, Vec<Option<Ownership>>) {
        let mut reading = Self::default();
        let mut rule = ReaderRule::default();
        let mut state = Partition::new();
        let mut owners = vec![None];
        for stored in records {
            match delivered_header(&stored.record).unwrap() {
                Delivered::Claim(by) => {
                    rule.claim(by);
                }
                Delivered::Decided(marked) if rule.decision(marked.by) == Verdict::Valid => {
                    // Who cannot read it passes it over; then its command is
                    // to have another.
                    if let Ok(body) = codec.decode_delivered(&stored.record) {
                        if let DeliveredBody::Decision(decision) = &body {
                            state.apply(decision);
                        }
                        reading.take_in(marked.input, body);
                        assert_eq!(marked.digest, state.digest(), "digest at {}", stored.offset);
                    }
                }
                Delivered::Decided(_) => reading.void += 1,
            }
            owners.push(rule.current());
        }
        reading.owner = rule.current();
        (reading, owners)
    }

    fn take_in(&mut self, input: Input, body: DeliveredBody) {
        let decision = match body {
            DeliveredBody::Dead { .. } => None,
            DeliveredBody::Decision(decision) => Some(decision),
        };
        if let Some(decision) = &decision {
            self.check(input, decision);
        }
        let before = self.inputs.insert(input, decision);
        assert!(before.is_none(), "{input} was decided twice");
    }

    fn check(&mut self, input: Input, decision: &Decision) {
        let known = self.first.get(&decision.key());
        if let Outcome::Duplicate(_) = decision.outcome {
            // A create of what is there is a duplicate whoever sent the first.
            let is_create = input.topic == Topic::ConversationUpdated;
            assert!(known.is_some() || is_create, "{input} repeats nothing");
            return;
        }
        assert_eq!(known, None, "{input} was decided before");
        self.first.insert(decision.key(), input);
        if let Outcome::Accepted { seq, event } = &decision.outcome {
            let (last_seq, last_no) = self.last.entry(decision.conversation_id).or_default();
            assert_eq!(*seq, *last_seq + 1, "seq of {input}");
            *last_seq = *seq;
            if let Event::MessageSent { no, .. } = event {
                assert_eq!(*no, *last_no + 1, "no of {input}");
                *last_no = *no;
            }
        }
    }

    /// The last seq of a conversation.
    pub(crate) fn last_seq(&self, id: ConversationId) -> u64 {
        self.last.get(&id).map_or(0, |(seq, _)| *seq)
    }
}
