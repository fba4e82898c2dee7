//! The reader's rule, and the claim protocol it makes safe: several owners
//! compete for one partition, are paused, crash and come back, and their
//! appends land late; every reader sees one and the same valid stream, with
//! exactly one decision for each command.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::{HashMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_domain::{
    Command, CommandBody, Decision, Epoch, Kind, Outcome, OwnerId, Ownership, Partition,
    ReaderRule, Timestamp, Verdict,
};
use uuid::Uuid;
use world::{START, command, places, send, user};

/// How many instances compete.
const OWNERS: usize = 3;
/// How many command topics there are.
const TOPICS: usize = 2;

/// A record of the partition.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are decisions")]
enum Record {
    Claim(Ownership),
    Decided {
        by: Ownership,
        input: (usize, usize),
        decision: Decision,
    },
}

/// Judges a record by the rule.
fn judge(rule: &mut ReaderRule, record: &Record) -> Verdict {
    match record {
        Record::Claim(by) => rule.claim(*by),
        Record::Decided { by, .. } => rule.decision(*by),
    }
}

/// The offsets of the decisions that a reader takes for valid, starting at
/// `from` with what was known there.
fn valid(log: &[Record], from: usize, mut rule: ReaderRule) -> Vec<usize> {
    let judged = log.iter().enumerate().skip(from);
    judged
        .filter(|(_, record)| judge(&mut rule, record) == Verdict::Valid)
        .map(|(offset, _)| offset)
        .collect()
}

/// What an instance is doing.
#[derive(Debug)]
enum State {
    /// About to claim.
    Idle,
    /// Its claim is on its way, or in the log, but not yet read back.
    Claimed(Ownership),
    /// The owner, as far as it knows.
    Owner(Box<Owning>),
}

#[derive(Debug)]
struct Owning {
    by: Ownership,
    partition: Partition,
    /// The next command of each topic.
    next: [usize; TOPICS],
    /// Below which offset it has seen the partition.
    seen: usize,
    rule: ReaderRule,
}

/// The world outside: the log, the commands, and what is on its way.
struct Simulation {
    log: Vec<Record>,
    commands: [Vec<Command>; TOPICS],
    states: [State; OWNERS],
    /// Appends sent and not yet landed, in order, of each instance's producer.
    sent: [VecDeque<Record>; OWNERS],
    /// Those of producers whose instance is gone: each may land late or never.
    orphans: Vec<VecDeque<Record>>,
    claims: u128,
    now: Timestamp,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An instance does the next thing it has to do.
    Act(usize),
    /// An owner decides without having looked at what others wrote.
    Blind(usize),
    /// The first append on an instance's way lands.
    Land(usize),
    /// The first append of a gone producer lands.
    LandOrphan(usize),
    /// The appends of a gone producer are lost.
    LoseOrphan(usize),
    /// An instance crashes, or gives up after a failed produce: it forgets all,
    /// and what it sent may still land.
    Crash(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..OWNERS).prop_map(Step::Act),
        10 => (0..OWNERS).prop_map(Step::Blind),
        30 => (0..OWNERS).prop_map(Step::Land),
        6 => (0..8_usize).prop_map(Step::LandOrphan),
        1 => (0..8_usize).prop_map(Step::LoseOrphan),
        2 => (0..OWNERS).prop_map(Step::Crash),
    ]
}

impl Simulation {
    fn new(commands: [Vec<Command>; TOPICS]) -> Self {
        Self {
            log: Vec::new(),
            commands,
            states: std::array::from_fn(|_| State::Idle),
            sent: Default::default(),
            orphans: Vec::new(),
            claims: 0,
            now: START,
        }
    }

    fn step(&mut self, step: Step) {
        self.now = Timestamp(self.now.0 + 1);
        match step {
            Step::Act(who) => self.act(who),
            Step::Blind(who) => {
                let state = std::mem::replace(&mut self.states[who], State::Idle);
                self.states[who] = match state {
                    State::Owner(mut owning) => {
                        self.decide_blindly(who, &mut owning);
                        State::Owner(owning)
                    }
                    other => other,
                };
            }
            Step::Land(who) => {
                if let Some(record) = self.sent[who].pop_front() {
                    self.log.push(record);
                }
            }
            Step::LandOrphan(n) => {
                if n < self.orphans.len()
                    && let Some(record) = self.orphans[n].pop_front()
                {
                    self.log.push(record);
                }
            }
            Step::LoseOrphan(n) => {
                if n < self.orphans.len() {
                    self.orphans.remove(n);
                }
            }
            Step::Crash(who) => {
                self.orphans.push(std::mem::take(&mut self.sent[who]));
                self.states[who] = State::Idle;
            }
        }
    }

    fn act(&mut self, who: usize) {
        let state = std::mem::replace(&mut self.states[who], State::Idle);
        self.states[who] = match state {
            State::Idle => {
                let mut rule = ReaderRule::default();
                for record in &self.log {
                    judge(&mut rule, record);
                }
                self.claims += 1;
                let owner = OwnerId(Uuid::from_u128(self.claims));
                let by = Ownership {
                    epoch: rule.next_epoch(),
                    owner,
                };
                self.sent[who].push_back(Record::Claim(by));
                State::Claimed(by)
            }
            State::Claimed(by) => self.recover(by),
            State::Owner(owning) => self.decide(who, owning),
        };
    }

    /// Reads the partition up to its own claim, and folds what is valid.
    fn recover(&self, by: Ownership) -> State {
        let mut rule = ReaderRule::default();
        let mut partition = Partition::new();
        let mut next = [0; TOPICS];
        for (offset, record) in self.log.iter().enumerate() {
            let verdict = judge(&mut rule, record);
            match record {
                Record::Claim(claim) if *claim == by => {
                    if verdict != Verdict::Claimed {
                        return State::Idle;
                    }
                    let seen = offset + 1;
                    return State::Owner(Box::new(Owning {
                        by,
                        partition,
                        next,
                        seen,
                        rule,
                    }));
                }
                Record::Decided {
                    input: (topic, offset),
                    decision,
                    ..
                } if verdict == Verdict::Valid => {
                    partition.apply(decision);
                    next[*topic] = next[*topic].max(offset + 1);
                }
                _ => {}
            }
        }
        // Not landed yet.
        State::Claimed(by)
    }

    /// Looks at what landed, stops if it is not the owner any more, and else
    /// decides one command, whichever topic is least far.
    fn decide(&mut self, who: usize, mut owning: Box<Owning>) -> State {
        for record in &self.log[owning.seen..] {
            judge(&mut owning.rule, record);
        }
        owning.seen = self.log.len();
        if owning.rule.current() != Some(owning.by) {
            self.orphans.push(std::mem::take(&mut self.sent[who]));
            return State::Idle;
        }
        self.decide_blindly(who, &mut owning);
        State::Owner(owning)
    }

    fn decide_blindly(&mut self, who: usize, owning: &mut Owning) {
        let waiting = |topic: &usize| owning.next[*topic] < self.commands[*topic].len();
        let Some(topic) = (0..TOPICS)
            .filter(waiting)
            .min_by_key(|topic| owning.next[*topic])
        else {
            return;
        };
        let offset = owning.next[topic];
        owning.next[topic] += 1;
        let decision = owning
            .partition
            .decide(&self.commands[topic][offset], self.now);
        owning.partition.apply(&decision);
        let record = Record::Decided {
            by: owning.by,
            input: (topic, offset),
            decision,
        };
        self.sent[who].push_back(record);
    }

    /// Lets one instance finish undisturbed.
    fn finish(&mut self) {
        for who in 1..OWNERS {
            self.step(Step::Crash(who));
        }
        let all: usize = self.commands.iter().map(Vec::len).sum();
        // A few rounds to find out that it lost, to claim and to recover; and
        // whatever is left of the gone lands in between.
        for round in 0..2 * all + 20 {
            self.step(Step::Act(0));
            self.step(Step::Land(0));
            self.step(Step::LandOrphan(round % 8));
        }
    }
}

/// Sends, repeated sends and updates in two topics of one partition.
fn any_inputs() -> impl Strategy<Value = [Vec<Command>; TOPICS]> {
    let place = places().next().unwrap();
    let create = CommandBody::Create {
        kind: Kind::Group,
        title: None,
        members: vec![user("bob")],
    };
    let create = command("acme", place, "alice", "c1", create);
    let sender = || prop::sample::select(vec!["alice", "bob", "carol"]);
    let sends = (sender(), 0..12_u8).prop_map(move |(sender, temp)| {
        command("acme", place, sender, &format!("m{temp}"), send("hello"))
    });
    let update = prop::sample::select(vec!["rename", "add", "leave"]);
    let updates = (sender(), 0..12_u8, update).prop_map(move |(sender, temp, update)| {
        let update = match update {
            "rename" => tidings_domain::Update::Rename(format!("title {temp}")),
            "add" => tidings_domain::Update::AddMembers(vec![user("carol")]),
            _ => tidings_domain::Update::Leave,
        };
        command(
            "acme",
            place,
            sender,
            &format!("u{temp}"),
            CommandBody::Update(update),
        )
    });
    (vec(sends, 0..25), vec(updates, 0..10)).prop_map(move |(sends, updates)| {
        [
            sends,
            std::iter::once(create.clone()).chain(updates).collect(),
        ]
    })
}

/// All that is promised of a log.
fn check(log: &[Record], commands: &[Vec<Command>; TOPICS]) -> Result<(), TestCaseError> {
    let decided = valid(log, 0, ReaderRule::default());

    // Exactly one decision for each command, each topic's in order.
    let mut next = [0; TOPICS];
    let mut last_seq: HashMap<_, u64> = HashMap::new();
    let mut straight = Partition::new();
    for offset in &decided {
        let Record::Decided {
            input: (topic, input),
            decision,
            ..
        } = &log[*offset]
        else {
            panic!("a claim is no decision");
        };
        prop_assert_eq!(*input, next[*topic], "decided twice, or skipped");
        next[*topic] += 1;
        // It is what this history leads to, so the state was never wrong.
        let command = &commands[*topic][*input];
        prop_assert_eq!(&straight.decide(command, decision.at), decision);
        straight.apply(decision);
        if let Outcome::Accepted { seq, .. } = decision.outcome {
            let last = last_seq.entry(decision.conversation_id).or_default();
            prop_assert_eq!(seq, *last + 1);
            *last = seq;
        }
    }
    Ok(())
}

/// Whoever resumes at any point with what was known there sees the rest alike.
fn check_resuming(log: &[Record]) -> Result<(), TestCaseError> {
    let all = valid(log, 0, ReaderRule::default());
    let mut rule = ReaderRule::default();
    for from in 0..=log.len() {
        let resumed = valid(log, from, ReaderRule::resume(rule.current()));
        let rest = all.iter().copied().filter(|offset| *offset >= from);
        prop_assert_eq!(resumed, rest.collect::<Vec<_>>());
        if let Some(record) = log.get(from) {
            judge(&mut rule, record);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn competing_owners_decide_each_command_once(
        commands in any_inputs(),
        steps in vec(any_step(), 0..400),
    ) {
        let mut simulation = Simulation::new(commands);
        for step in steps {
            simulation.step(step);
        }
        // What there is so far is as good as it will be at the end.
        check(&simulation.log, &simulation.commands)?;
        simulation.finish();
        check(&simulation.log, &simulation.commands)?;
        check_resuming(&simulation.log)?;
        let decided = valid(&simulation.log, 0, ReaderRule::default()).len();
        let all: usize = simulation.commands.iter().map(Vec::len).sum();
        prop_assert_eq!(decided, all, "every command is decided in the end");
    }

    /// Any records at all, in any order: equal epochs, late claims, strangers.
    #[test]
    fn every_reader_sees_the_same(
        records in vec((any::<bool>(), 0..6_u64, 0..4_u128), 0..80),
    ) {
        let place = places().next().unwrap();
        let command = command("acme", place, "alice", "m1", send("hello"));
        let decision = Partition::new().decide(&command, START);
        let record = |(is_claim, epoch, owner)| {
            let by = Ownership { epoch: Epoch(epoch), owner: OwnerId(Uuid::from_u128(owner)) };
            let decision = decision.clone();
            if is_claim {
                Record::Claim(by)
            } else {
                Record::Decided { by, input: (0, 0), decision }
            }
        };
        let log: Vec<Record> = records.into_iter().map(record).collect();
        check_resuming(&log)?;

        // The rule told as DESIGN tells it: the owner at a point is the first
        // of the highest epoch claimed before it.
        for (offset, record) in log.iter().enumerate() {
            let Record::Decided { by, .. } = record else { continue };
            let claims = log[..offset].iter().filter_map(|record| match record {
                Record::Claim(by) => Some(*by),
                Record::Decided { .. } => None,
            });
            let highest = claims.clone().map(|claim| claim.epoch).max();
            let owner = claims.clone().find(|claim| Some(claim.epoch) == highest);
            let is_valid = valid(&log, 0, ReaderRule::default()).contains(&offset);
            prop_assert_eq!(is_valid, owner == Some(*by));
        }
    }
}

#[test]
fn the_first_claim_of_an_epoch_wins_and_a_lower_one_never_does() {
    let by = |epoch, owner| Ownership {
        epoch: Epoch(epoch),
        owner: OwnerId(Uuid::from_u128(owner)),
    };
    let mut rule = ReaderRule::default();
    assert_eq!(rule.decision(by(1, 1)), Verdict::Void, "nobody has claimed");
    assert_eq!(rule.next_epoch(), Epoch(1));
    assert_eq!(rule.claim(by(1, 1)), Verdict::Claimed);
    assert_eq!(rule.claim(by(1, 2)), Verdict::ClaimLost);
    assert_eq!(rule.decision(by(1, 2)), Verdict::Void);
    assert_eq!(rule.decision(by(1, 1)), Verdict::Valid);
    assert_eq!(rule.next_epoch(), Epoch(2));
    assert_eq!(rule.claim(by(5, 3)), Verdict::Claimed);
    assert_eq!(rule.claim(by(4, 4)), Verdict::ClaimLost);
    assert_eq!(rule.decision(by(1, 1)), Verdict::Void, "a zombie");
    assert_eq!(rule.decision(by(5, 3)), Verdict::Valid);
    assert_eq!(rule.current(), Some(by(5, 3)));
}
