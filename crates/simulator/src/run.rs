mod ask;
mod finish;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_domain::{Command, Tenant, Timestamp, UserId};
use tidings_log::SequencerEvent;
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerOptions};
use tidings_service::auth::Secret;
use tidings_service::health::Condition;
use tidings_wire::{Codec, Delivered, Topic, delivered_header};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

use crate::checker::Checker;
use crate::counts::Counts;
use crate::log::SimulatedLog;
use crate::member::{Member, difference};
use crate::plan::{CLIENTS, PARTITIONS, PROJECTIONS, Plan, SEQUENCERS, Step, Told};
use crate::reader::Reader;
use crate::side::Side;
use crate::sockets::{DEVICES, Person, SECRET, Sockets, Surroundings};
use crate::store::{Death, SimulatedStore};

/// When it begins, in milliseconds since the Unix epoch.
pub(crate) const START: i64 = 1_100_520_000_000;
/// After so many turns without faults everything must be decided.
const PATIENCE: usize = 400;

/// Plays plans.
#[derive(Clone)]
pub struct Simulator {
    codec: Codec,
    /// On which projections ask their store.
    runtime: Arc<Runtime>,
    /// What devices' tokens are signed with.
    secret: Secret,
}

/// Something is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Simulator {
    /// # Errors
    /// Where there is no thread to be had.
    pub fn new() -> io::Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        Ok(Self {
            codec: Codec::locked(),
            runtime: Arc::new(runtime.worker_threads(1).enable_time().build()?),
            secret: Secret::new(SECRET).map_err(io::Error::other)?,
        })
    }

    /// Plays a plan and checks what came of it. Each line of what happens is
    /// given to `trace`.
    ///
    /// # Errors
    /// What does not hold. A panic of the code under test is one, too.
    pub fn run(&self, plan: &Plan, trace: &mut dyn FnMut(String)) -> Result<Counts, Failure> {
        let played = catch_unwind(AssertUnwindSafe(|| {
            let mut scene = Scene::new(&self.codec, self.runtime.handle())?;
            if plan
                .steps
                .iter()
                .any(|step| matches!(step, Step::Socket(_)))
            {
                scene.open(&self.secret)?;
            }
            scene.play(plan, trace).map(|()| scene.counts)
        }));
        let result = played.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("a panic: {}", text.unwrap_or("without a text")))
        });
        result.map_err(|what| Failure { what })
    }
}

struct Scene<'a> {
    codec: &'a Codec,
    runtime: &'a Handle,
    log: SimulatedLog,
    store: SimulatedStore,
    projections: Vec<Member>,
    /// Which projection was given each partition last.
    projected: [Option<usize>; PARTITIONS as usize],
    now_ms: Arc<AtomicU64>,
    sequencers: Vec<(Sequencer, Side)>,
    /// Who was given each partition last.
    given: [Option<usize>; PARTITIONS as usize],
    /// What dead sequencers had produced and may yet be appended.
    orphans: Vec<Side>,
    clients: Vec<Client>,
    readers: Vec<Reader>,
    /// Where there are any.
    sockets: Option<Sockets>,
    counts: Counts,
    /// How much of each partition was told of.
    traced: [i64; PARTITIONS as usize],
}

struct Client {
    tenant: Tenant,
    user: UserId,
    /// What it sent, and whether it was told that it is durable.
    sent: Vec<(Command, bool)>,
}

fn parse<T, E: fmt::Display>(parsed: Result<T, E>) -> T {
    // Names that are written here are good ones.
    parsed.unwrap_or_else(|error| panic!("{error}"))
}

impl<'a> Scene<'a> {
    fn new(codec: &'a Codec, runtime: &'a Handle) -> Result<Self, String> {
        let client = |n: usize| Client {
            tenant: parse(Tenant::parse(if n + 1 == CLIENTS {
                "other"
            } else {
                "acme"
            })),
            user: parse(UserId::parse(&format!("u{n}"))),
            sent: Vec::new(),
        };
        let mut scene = Self {
            codec,
            runtime,
            log: SimulatedLog::default(),
            store: SimulatedStore::default(),
            projections: Vec::new(),
            projected: [None; PARTITIONS as usize],
            now_ms: Arc::default(),
            sequencers: Vec::new(),
            given: [None; PARTITIONS as usize],
            orphans: Vec::new(),
            clients: (0..CLIENTS).map(client).collect(),
            readers: (0..CLIENTS).map(|_| Reader::default()).collect(),
            sockets: None,
            counts: Counts::default(),
            traced: [0; PARTITIONS as usize],
        };
        scene.sequencers = (0..SEQUENCERS).map(|_| scene.sequencer()).collect();
        let projections = (0..PROJECTIONS).map(|_| scene.projection());
        scene.projections = projections.collect::<Result<_, _>>()?;
        Ok(scene)
    }

    /// Starts edges, and brings in devices: one of each client's user, and one
    /// more of the first.
    fn open(&mut self, secret: &Secret) -> Result<(), String> {
        let around = Surroundings {
            log: self.log.clone(),
            store: self.store.clone(),
            codec: self.codec.clone(),
            now_ms: Arc::clone(&self.now_ms),
            secret: secret.clone(),
        };
        let person = |device: usize| {
            let of = device % CLIENTS;
            let Client { tenant, user, .. } = &self.clients[of];
            Person {
                tenant: tenant.clone(),
                user: user.clone(),
                next: self.clients[(of + 1) % (CLIENTS - 1)].user.clone(),
            }
        };
        let persons = (0..DEVICES).map(person).collect();
        self.sockets = Some(Sockets::new(around, persons)?);
        Ok(())
    }

    fn projection(&self) -> Result<Member, String> {
        Member::new(&self.log, self.codec, &self.store, self.runtime)
    }

    fn sequencer(&self) -> (Sequencer, Side) {
        let side = Side::new(&self.log);
        let (day, since) = (Arc::clone(&self.now_ms), Arc::clone(&self.now_ms));
        let sequencer = Sequencer::new(Parts {
            log: Box::new(side.clone()),
            reader: Arc::new(self.log.clone()),
            codec: self.codec.clone(),
            clock: Clock::new(
                move || Timestamp(START + day.load(Ordering::Relaxed) as i64),
                move || Duration::from_millis(since.load(Ordering::Relaxed)),
            ),
            options: SequencerOptions {
                // Saved often, so that much happens between pieces and checkpoint.
                checkpoint_interval: Duration::from_millis(300),
                max_in_flight: 8,
                // The jitter is not of the seed's making. Of one millisecond
                // nothing is left by the time the clock shows the next.
                first_wait: Duration::from_millis(1),
                longest_wait: Duration::from_millis(1),
                ..SequencerOptions::default()
            },
            ready: Condition::new("partitions"),
            stop: CancellationToken::new(),
        });
        (sequencer, side)
    }

    fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn play(&mut self, plan: &Plan, trace: &mut dyn FnMut(String)) -> Result<(), String> {
        for (number, step) in plan.steps.iter().enumerate() {
            let ms = self.now_ms.load(Ordering::Relaxed);
            trace(format!("{number:>3} {ms:>6} ms  {step:?}"));
            self.step(*step)?;
            self.tell_appended(trace)?;
            self.tell_devices(trace);
        }
        trace("    no more faults".to_owned());
        let finished = self.finish();
        self.tell_appended(trace)?;
        self.tell_devices(trace);
        finished?;
        let clients = self.clients.iter();
        let sent = clients.flat_map(|client| client.sent.iter().map(|(command, _)| command));
        let checked = Checker::new(&self.log, self.codec).check(sent, &self.readers)?;
        self.counts.zombie_decisions += checked.void;
        self.counts.duplicates += checked.duplicates;
        self.counts.decided += checked.decided;
        if let Some(sockets) = &self.sockets {
            sockets.check(&checked.truth)?;
        }
        self.project_all()?;
        match difference(&checked.view, &self.store.model()) {
            Some(difference) => Err(difference),
            None => Ok(()),
        }
    }

    fn tell_devices(&mut self, trace: &mut dyn FnMut(String)) {
        for line in self.sockets.iter_mut().flat_map(Sockets::trace) {
            trace(format!("{:>15}{line}", ""));
        }
    }

    /// Tells what was appended to `message.delivered` since the last time.
    fn tell_appended(&mut self, trace: &mut dyn FnMut(String)) -> Result<(), String> {
        for (partition, traced) in (0..).zip(&mut self.traced) {
            for stored in self
                .log
                .from(Topic::MessageDelivered, partition, *traced, usize::MAX)
            {
                let text = match delivered_header(&stored.record).map_err(|e| e.to_string())? {
                    Delivered::Claim(by) => format!("claim of epoch {}", by.epoch),
                    Delivered::Decided(marked) => {
                        format!("epoch {} decides {}", marked.by.epoch, marked.input)
                    }
                };
                trace(format!(
                    "{:>15}delivered/{partition}@{}: {text}",
                    "", stored.offset
                ));
                *traced = stored.offset + 1;
            }
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Ask {
                client,
                conversation,
                foreign,
                what,
                fate,
            } => {
                self.ask(client, conversation, foreign, what, fate)?;
            }
            Step::Resend {
                client,
                which,
                fate,
            } => {
                let count = self.clients[client].sent.len();
                if count > 0 {
                    self.counts.resends += 1;
                    self.send(client, which % count, fate)?;
                }
            }
            Step::Read { client, most } => {
                self.readers[client].read(&self.log, most)?;
            }
            Step::Reconnect { client } => {
                self.counts.reconnects += 1;
                self.readers[client].reconnect(&self.log)?;
            }
            Step::Turn { sequencer, times } => {
                for _ in 0..times {
                    self.turn(sequencer)?;
                }
            }
            Step::Work { sequencer, times } => {
                for _ in 0..times {
                    self.pass(1);
                    self.turn(sequencer)?;
                    self.flush(sequencer, usize::MAX);
                }
            }
            Step::Flush { sequencer, most } => self.flush(sequencer, most),
            Step::FailProduce {
                sequencer,
                appended,
            } => {
                let failed = self.sequencers[sequencer].1.fail(appended);
                self.counts.failed_produces += usize::from(failed);
            }
            Step::FailReads { count } => self.log.fail_reads(count),
            Step::Rebalance {
                partition,
                to,
                told,
            } => self.rebalance(partition, to, told),
            Step::Crash { sequencer, land } => self.crash(sequencer, land),
            Step::Redeliver { sequencer, back } => {
                let again = self.sequencers[sequencer].1.redeliver(back);
                self.counts.redelivered += again as usize;
            }
            Step::StaleSnapshot { partition, which } => self.stale_snapshot(partition, which),
            Step::Project { projection, times } => {
                for _ in 0..times {
                    self.project(projection)?;
                }
            }
            Step::Move {
                partition,
                to,
                told,
            } => self.move_to(partition, to, told),
            Step::Die {
                projection,
                after,
                lands,
            } => self.projections[projection].die(Death { after, lands }),
            Step::Land => self.counts.landed += self.store.land(),
            Step::FailStore { count } => self.store.fail(count),
            Step::FailPolls { projection, count } => {
                self.projections[projection].fail_polls(count);
            }
            Step::Jump { projection, back } => {
                self.counts.jumped += self.projections[projection].jump(back);
            }
            Step::Save => self.store.save(),
            Step::Restore => {
                self.counts.restores += 1;
                // Not while an edge is answering: that its view goes back then
                // it cannot see, for what it knows of the positions holds for a
                // second.
                self.sockets.iter_mut().for_each(Sockets::read_all);
                self.wait(1_001);
                self.store.restore();
                self.wait(1_001);
            }
            Step::Pass { ms } => {
                self.pass(ms);
                self.wait(ms);
            }
            Step::Socket(step) => self.socket(step)?,
        }
        Ok(())
    }

    /// Time passes at the edges.
    fn wait(&self, ms: u64) {
        self.sockets.iter().for_each(|sockets| sockets.wait(ms));
    }

    /// A turn of a projection. One that dies is followed by another, and the
    /// group gives what it had to the next.
    fn project(&mut self, projection: usize) -> Result<(), String> {
        if self.projections[projection].turn()? {
            return Ok(());
        }
        self.counts.deaths += 1;
        self.projections[projection] = self.projection()?;
        for partition in 0..PARTITIONS {
            if self.projected[partition as usize] == Some(projection) {
                self.move_to(partition, (projection + 1) % PROJECTIONS, false);
            }
        }
        Ok(())
    }

    fn move_to(&mut self, partition: i32, to: usize, told: bool) {
        let before = self.projected[partition as usize].replace(to);
        if let Some(before) = before.filter(|before| *before != to) {
            self.counts.moves += 1;
            if told {
                self.projections[before].revoke(partition);
            }
        }
        self.projections[to].assign(vec![partition]);
    }

    fn turn(&mut self, sequencer: usize) -> Result<(), String> {
        match self.sequencers[sequencer].0.turn() {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("sequencer {sequencer} ended: {error}")),
        }
    }

    fn flush(&mut self, sequencer: usize, most: usize) {
        self.counts.amid_faults += self.sequencers[sequencer].1.flush(most);
    }

    fn rebalance(&mut self, partition: i32, to: usize, told: Told) {
        let before = self.given[partition as usize].replace(to);
        if let Some(before) = before.filter(|before| *before != to) {
            self.counts.rebalances += 1;
            let side = &self.sequencers[before].1;
            match told {
                Told::Revoked => side.tell(SequencerEvent::Revoked(vec![partition])),
                Told::Lost => side.tell(SequencerEvent::Lost(vec![partition])),
                Told::Nothing => {}
            }
        }
        let event = SequencerEvent::Assigned(vec![partition]);
        self.sequencers[to].1.tell(event);
    }

    fn crash(&mut self, sequencer: usize, land: usize) {
        self.counts.crashes += 1;
        self.flush(sequencer, land);
        let fresh = self.sequencer();
        let (_, side) = std::mem::replace(&mut self.sequencers[sequencer], fresh);
        self.orphans.push(side);
        // The group gives what it had to another.
        for partition in 0..PARTITIONS {
            if self.given[partition as usize] == Some(sequencer) {
                self.rebalance(partition, (sequencer + 1) % SEQUENCERS, Told::Nothing);
            }
        }
    }

    fn stale_snapshot(&self, partition: i32, which: usize) {
        let saved = self.log.all(Topic::ConversationState, partition);
        if saved.is_empty() {
            return;
        }
        let record = saved[which % saved.len()].record.clone();
        // Each part of the window has its own key, which nobody else writes.
        if !record
            .key
            .as_deref()
            .unwrap_or_default()
            .starts_with(b"window/")
        {
            self.log.append(Topic::ConversationState, partition, record);
        }
    }
}
