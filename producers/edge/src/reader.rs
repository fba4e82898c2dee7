//! The thread that follows `message.delivered`: every decision that concerns a
//! socket here goes through it, in the order of the log.

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{Change, ConversationId, Decision, Event, Outcome, Own};
use tidings_log::{Follower, LogError};
use tidings_service::health::Condition;
use tidings_service::lifecycle::Backoff;
use tidings_wire::frames::{EventJson, ServerFrame};
use tidings_wire::{
    DecodeError, DeliveredBody, DeliveredStream, Judged, Marked, Record, Stored, Topic, names,
};
use tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::commands::{self, Decided};
use crate::courtesies;
use crate::hub::Frames;
use crate::membership::{LoggedChange, MembershipChange};
use crate::shared::Shared;
use crate::socket::Socket;

/// How many records to take at once.
const BATCH: usize = 1_024;
/// How long to wait for one, before looking whether to stop.
const POLL: Duration = Duration::from_millis(250);
const MESSAGE_DELETED: &str = "tidings.message.deleted";
const CONVERSATION_UPDATED: &str = "tidings.conversation.updated";

pub(crate) struct Reader {
    shared: Arc<Shared>,
    ready: Condition,
    stream: DeliveredStream,
    /// None before the first turn, and after one that failed.
    follower: Option<Box<dyn Follower>>,
    batch: Vec<Stored>,
    /// The next offset of each partition.
    next: Vec<i64>,
    /// Up to where each partition went when the reader started.
    target: Vec<i64>,
    caught_up: bool,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, ready: Condition) -> Self {
        let (stream, next, target) = (DeliveredStream::default(), Vec::new(), Vec::new());
        Self {
            shared,
            ready,
            stream,
            follower: None,
            batch: Vec::with_capacity(BATCH),
            next,
            target,
            caught_up: false,
        }
    }

    /// Reads until the edge is stopped. A log that fails is tried again, for
    /// ever: meanwhile sockets stay, and commands are answered by what the log
    /// says to them.
    pub(crate) fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while !self.shared.stop.is_cancelled() {
            match self.turn() {
                Ok(_) => backoff.reset(),
                Err(error) => {
                    let wait = backoff.next_wait();
                    tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "cannot read the log");
                    std::thread::sleep(wait);
                }
            }
        }
    }

    /// Takes in what the log gives next, and tells how many records that were.
    /// After an error it follows anew from where it was.
    pub(crate) fn turn(&mut self) -> Result<usize, LogError> {
        let read = self.follow_on();
        if read.is_err() {
            self.follower = None;
            self.batch.clear();
            self.ready.set_ready(false);
        }
        read
    }

    fn follow_on(&mut self) -> Result<usize, LogError> {
        let mut follower = match self.follower.take() {
            Some(follower) => follower,
            None => self.follow()?,
        };
        follower.poll(BATCH, POLL, &mut self.batch)?;
        self.follower = Some(follower);
        Ok(self.take_in())
    }

    fn follow(&mut self) -> Result<Box<dyn Follower>, LogError> {
        if self.next.is_empty() {
            self.find_start()?;
        }
        let starts: Vec<_> = (0..self.shared.partitions)
            .zip(&self.next)
            .map(|(partition, offset)| (Topic::MessageDelivered, partition, *offset))
            .collect();
        let follower = self.shared.log.follow(&starts)?;
        self.note_ready();
        Ok(follower)
    }

    /// Begins each partition at its sequencer's mark, where the owner is known
    /// without reading all that was before.
    fn find_start(&mut self) -> Result<(), LogError> {
        let log = &self.shared.log;
        let (mut starts, mut target) = (Vec::new(), Vec::new());
        for partition in 0..self.shared.partitions {
            let (low, high) = log.watermarks(Topic::MessageDelivered, partition)?;
            target.push(high);
            starts.push(
                log.mark(partition)?
                    .map_or((low, None), |m| (m.offset, m.current)),
            );
        }
        for (partition, (offset, current)) in (0..).zip(starts) {
            self.stream.resume(partition, current);
            self.shared.ring.start(partition, offset);
            self.shared.progress.start(partition, offset);
            self.next.push(offset);
        }
        self.target = target;
        Ok(())
    }

    fn take_in(&mut self) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        let count = batch.len();
        for stored in batch.drain(..) {
            let (partition, offset) = (stored.partition as usize, stored.offset);
            // A follower that was made anew may begin a little earlier.
            if offset >= self.next[partition] {
                self.record(&stored);
                self.next[partition] = offset + 1;
                self.shared.progress.read(stored.partition, offset + 1);
            }
        }
        self.batch = batch;
        if count > 0 {
            self.shared.progress.batch();
            self.note_ready();
        }
        count
    }

    fn note_ready(&mut self) {
        if !self.caught_up {
            self.caught_up = self
                .next
                .iter()
                .zip(&self.target)
                .all(|(next, to)| next >= to);
            if self.caught_up {
                self.shared.progress.set_caught_up();
            }
        }
        if self.caught_up {
            self.ready.set_ready(true);
        }
    }

    fn record(&mut self, stored: &Stored) {
        match self.stream.judge(stored) {
            Ok(Judged::Valid(marked)) => {
                // First: whoever is told of it may ask at once for an answer
                // that reflects it.
                let about = conversation_of(&stored.record);
                let progress = &self.shared.progress;
                progress.decided(stored.partition, stored.offset, marked.input, about);
                self.decided(stored, marked, about);
            }
            Ok(Judged::Claim(_) | Judged::Void) => {}
            Err(error) => self.pass_over(stored, &error),
        }
    }

    /// A projection puts what it cannot read into its dead letters; an edge
    /// keeps nothing, so it only says so and goes on.
    fn pass_over(&self, stored: &Stored, error: &DecodeError) {
        self.shared.metrics.undecodable.increment(1);
        tracing::warn!(partition = stored.partition, offset = stored.offset, %error,
            "passing over a record that cannot be read");
    }

    fn decided(&self, stored: &Stored, marked: Marked, about: Option<ConversationId>) {
        let Some(id) = about else {
            return self.pass_over(stored, &DecodeError::Malformed("the key is no UUID".into()));
        };
        let concerns_us = self.shared.hub.concerns(id)
            || self.shared.inflight.concerns(id)
            // It may bring somebody in who is here.
            || is_conversation_updated(&stored.record)
            // Searches must not find it any more.
            || is_deletion(&stored.record);
        if !concerns_us {
            return;
        }
        match self.decode(&stored.record) {
            Ok(DeliveredBody::Decision(decision)) => self.decision(stored, &decision),
            Ok(DeliveredBody::Dead { .. }) => self.dead(stored, marked),
            Err(error) => self.pass_over(stored, &error),
        }
    }

    /// Waits for the registry if it must: events are not passed over because a
    /// schema cannot be fetched right now.
    fn decode(&self, record: &Record) -> Result<DeliveredBody, DecodeError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            match self.shared.codec.decode_delivered(record) {
                Err(error) if error.is_transient() && !self.shared.stop.is_cancelled() => {
                    tracing::warn!(%error, "waiting for the schema registry");
                    std::thread::sleep(backoff.next_wait());
                }
                decoded => return decoded,
            }
        }
    }

    fn decision(&self, stored: &Stored, decision: &Decision) {
        let shared = &self.shared;
        let key = decision.key();
        shared.recent.insert(key, decision);
        shared.searches.note(decision);
        let entry = shared.inflight.settle(key);
        match &decision.outcome {
            Outcome::Accepted { seq, event } => {
                let decided = Decided::Accepted {
                    seq: *seq,
                    no: event.no(),
                    at: decision.at,
                };
                self.accepted(stored, decision, (*seq, event), || {
                    if let Some(entry) = &entry {
                        commands::settle(shared, entry, decided);
                    }
                    entry.as_ref().and_then(|entry| entry.reply.socket())
                });
            }
            Outcome::Noted(own) => {
                if let Some(entry) = &entry {
                    commands::settle(shared, entry, Decided::Noted { at: decision.at });
                }
                let own_socket = entry.as_ref().and_then(|entry| entry.reply.socket());
                self.noted(stored.offset, decision, own, own_socket);
            }
            Outcome::Rejected(code) => {
                if let Some(entry) = entry {
                    commands::settle(shared, &entry, Decided::Rejected(*code));
                }
            }
            Outcome::Duplicate(first) => {
                if let Some(entry) = entry {
                    let mut first = *first;
                    // A create is known by its conversation, which does not
                    // tell when it was.
                    if first.at == tidings_domain::Timestamp::default() {
                        first.at = decision.at;
                    }
                    commands::settle(shared, &entry, Decided::Duplicate(first));
                }
            }
        }
    }

    /// `settle` answers the command's own socket, and names it.
    fn accepted<'a>(
        &self,
        stored: &Stored,
        decision: &Decision,
        (seq, event): (u64, &Event),
        settle: impl FnOnce() -> Option<&'a Arc<Socket>>,
    ) {
        let hub = &self.shared.hub;
        let (tenant, id, offset) = (&decision.tenant, decision.conversation_id, stored.offset);
        let change = MembershipChange::of(decision).map(Arc::new);
        if let Some(change) = &change {
            // First the ring: who is just loading looks there, or is in the hub.
            let (tenant, change) = (tenant.clone(), Arc::clone(change));
            let logged = LoggedChange {
                offset,
                tenant,
                conversation_id: id,
                change,
            };
            self.shared.ring.push(stored.partition, logged);
            self.shared.sizes.changed(id);
        }
        if let Event::ConversationUpdated(Change::Create { members, .. }) = event {
            self.shared.sizes.created(id, members.len());
        }
        if let Some(change) = &change {
            hub.add(tenant, id, offset, change);
        }
        let is_concerned = |change: &Arc<MembershipChange>| change.concerns(&decision.sender);
        if change.as_ref().and_then(is_concerned).is_none() {
            // Whoever was accepted is a member, should the view not say so.
            hub.seen_as_member(tenant, &decision.sender, id, offset);
        }
        let own_socket = settle();
        let frames = EventFrames {
            decision,
            seq,
            json: EventJson::of(event),
        };
        let sent = hub.publish(id, &decision.sender, own_socket, frames);
        self.shared.metrics.events_sent.increment(sent as u64);
        if let Some(change) = &change {
            hub.remove(tenant, id, offset, change);
        }
    }

    /// Tells the sender's other sockets, and of what was read the members.
    fn noted(&self, offset: i64, decision: &Decision, own: &Own, own_socket: Option<&Arc<Socket>>) {
        let hub = &self.shared.hub;
        let (tenant, sender, id) = (&decision.tenant, &decision.sender, decision.conversation_id);
        hub.seen_as_member(tenant, sender, id, offset);
        let frame = ServerFrame::own(id, own).to_json().into();
        hub.tell_user(tenant, sender, own_socket, &frame);
        if let Own::Read { up_to } = own {
            courtesies::read(&self.shared, decision, *up_to);
        }
    }

    /// The command could not be read by the sequencer; no matter how often it
    /// is sent.
    fn dead(&self, stored: &Stored, marked: Marked) {
        let input = marked.input;
        let place = (input.topic, stored.partition, input.offset);
        if let Some(entry) = self.shared.inflight.settle_at(place.0, place.1, place.2) {
            let code = tidings_domain::Code::Invalid;
            commands::settle(&self.shared, &entry, Decided::Rejected(code));
        }
    }
}

/// The conversation a record is about, by its key.
pub(crate) fn conversation_of(record: &Record) -> Option<ConversationId> {
    Uuid::try_parse_ascii(record.key.as_ref()?)
        .ok()
        .map(ConversationId)
}

/// Whether a record of `message.delivered` may change who belongs to its
/// conversation.
pub(crate) fn is_conversation_updated(record: &Record) -> bool {
    record.headers.text(names::CE_TYPE) == Some(CONVERSATION_UPDATED)
}

fn is_deletion(record: &Record) -> bool {
    record.headers.text(names::CE_TYPE) == Some(MESSAGE_DELETED)
}

struct EventFrames<'a> {
    decision: &'a Decision,
    seq: u64,
    json: EventJson,
}

impl EventFrames<'_> {
    fn frame(&self, with_temp_id: bool) -> Utf8Bytes {
        let frame = ServerFrame::Event {
            conversation_id: self.decision.conversation_id,
            seq: self.seq,
            at: self.decision.at,
            by: &self.decision.sender,
            temp_id: with_temp_id.then_some(&self.decision.temp_id),
            event: &self.json,
        };
        frame.to_json().into()
    }
}

impl Frames for EventFrames<'_> {
    fn own(&self) -> Utf8Bytes {
        self.frame(true)
    }

    fn others(&self) -> Utf8Bytes {
        self.frame(false)
    }
}
