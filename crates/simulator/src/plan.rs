use crate::random::Random;
use crate::sockets::{DEVICES, EDGES, SocketStep, socket_step};

/// How many partitions there are.
pub(crate) const PARTITIONS: i32 = 2;
/// How many sequencers.
pub(crate) const SEQUENCERS: usize = 3;
/// How many projections of the history view.
pub(crate) const PROJECTIONS: usize = 2;
/// How many clients: the last is of another tenant than the others.
pub(crate) const CLIENTS: usize = 4;
/// How many conversations of each tenant can be made.
pub(crate) const CONVERSATIONS: usize = 3;

/// In one of so many seeds there are edges with clients.
const SOCKETS_IN: u64 = 4;

/// What happens, in order. Afterwards all faults end, and everybody finishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// What happens.
    pub steps: Vec<Step>,
}

/// What becomes of a client's command on its way to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is appended, and the client told.
    Acknowledged,
    /// It is appended, and the client is not told.
    AcknowledgementLost,
    /// It does not arrive.
    Lost,
    /// It is appended twice.
    Repeated,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To make a conversation.
    Create,
    /// To post a message.
    Send,
    /// To replace a message's text.
    Edit,
    /// To delete a message for all.
    Delete,
    /// To delete a message, and its text for good.
    Purge,
    /// To delete a message for oneself.
    Hide,
    /// To react to a message.
    React,
    /// To add the next client of the tenant.
    Add,
    /// To put out the next client of the tenant.
    Remove,
    /// To close it.
    Close,
    /// To open it again.
    Reopen,
    /// To move the read marker.
    Read,
}

/// What a sequencer is told when its partition goes to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// To finish and hand over.
    Revoked,
    /// That it is gone.
    Lost,
    /// Nothing: it goes on as the owner it was.
    Nothing,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client sends a new command.
    Ask {
        /// Who.
        client: usize,
        /// To which of the conversations.
        conversation: usize,
        /// Whether to one of the other tenant.
        foreign: bool,
        /// What.
        what: Ask,
        /// What becomes of it.
        fate: Fate,
    },
    /// A client sends one of its commands again.
    Resend {
        /// Who.
        client: usize,
        /// Which of its commands, counted round.
        which: usize,
        /// What becomes of it.
        fate: Fate,
    },
    /// A client reads on.
    Read {
        /// Who.
        client: usize,
        /// At most so many records of each partition.
        most: usize,
    },
    /// A client loses its connection, and reads on from a sequencer's mark.
    Reconnect {
        /// Who.
        client: usize,
    },
    /// A sequencer makes turns of its loop.
    Turn {
        /// Which.
        sequencer: usize,
        /// How many.
        times: usize,
    },
    /// A sequencer works undisturbed: turns, and all it produces is appended.
    Work {
        /// Which.
        sequencer: usize,
        /// How many turns.
        times: usize,
    },
    /// Some of what a sequencer produced is appended and acknowledged.
    Flush {
        /// Which.
        sequencer: usize,
        /// How many records.
        most: usize,
    },
    /// A produce fails, and all behind it of the same partition.
    FailProduce {
        /// Which.
        sequencer: usize,
        /// Whether it was appended all the same.
        appended: bool,
    },
    /// The next reads of the log fail.
    FailReads {
        /// How many.
        count: usize,
    },
    /// A partition goes to a sequencer.
    Rebalance {
        /// Which partition.
        partition: i32,
        /// To whom.
        to: usize,
        /// What those are told who had it.
        told: Told,
    },
    /// A sequencer dies; some of what it produced still gets through.
    Crash {
        /// Which.
        sequencer: usize,
        /// How many records.
        land: usize,
    },
    /// The log gives a sequencer commands again that it had.
    Redeliver {
        /// Which.
        sequencer: usize,
        /// How many of each topic.
        back: i64,
    },
    /// An old snapshot is written once more, as by a sequencer that was paused.
    StaleSnapshot {
        /// Of which partition.
        partition: i32,
        /// Which, counted round.
        which: usize,
    },
    /// A projection makes turns of its loop.
    Project {
        /// Which.
        projection: usize,
        /// How many.
        times: usize,
    },
    /// A partition of `message.delivered` goes to a projection.
    Move {
        /// Which partition.
        partition: i32,
        /// To whom.
        to: usize,
        /// Whether who had it is told.
        told: bool,
    },
    /// A projection dies in its next write.
    Die {
        /// Which.
        projection: usize,
        /// So many rows arrive before.
        after: usize,
        /// Whether the others arrive later.
        lands: bool,
    },
    /// What projections had sent that died arrives.
    Land,
    /// The store of the view does not answer the next questions.
    FailStore {
        /// How many.
        count: usize,
    },
    /// The log does not answer a projection's next questions.
    FailPolls {
        /// Which.
        projection: usize,
        /// How many.
        count: usize,
    },
    /// The log gives a projection records again that it had, or leaves out
    /// some.
    Jump {
        /// Which.
        projection: usize,
        /// How many records back; less than 0: how many are left out.
        back: i64,
    },
    /// The store is copied.
    Save,
    /// The store is put back to its last copy.
    Restore,
    /// Time passes.
    Pass {
        /// Milliseconds.
        ms: u64,
    },
    /// Something happens to edges and their clients.
    Socket(SocketStep),
}

impl Plan {
    /// What a seed stands for.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = 60 + random.below(120);
        let mut steps: Vec<Step> = (0..PARTITIONS)
            .map(|partition| Step::Rebalance {
                partition,
                to: random.below(SEQUENCERS),
                told: Told::Nothing,
            })
            .collect();
        steps.extend((0..PARTITIONS).map(|partition| Step::Move {
            partition,
            to: random.below(PROJECTIONS),
            told: false,
        }));
        // Else most of what is asked is about nothing.
        let made = random.below(CONVERSATIONS + 1);
        steps.extend((0..made).flat_map(|conversation| {
            [0, CLIENTS - 1].map(|client| Step::Ask {
                client,
                conversation,
                foreign: false,
                what: Ask::Create,
                fate: Fate::Acknowledged,
            })
        }));
        steps.extend((0..count).map(|_| step(&mut random)));
        if seed.is_multiple_of(SOCKETS_IN) {
            steps = with_sockets(steps, seed);
        }
        Self { seed, steps }
    }
}

/// The same, with what happens to edges and devices in between.
fn with_sockets(steps: Vec<Step>, seed: u64) -> Vec<Step> {
    // Of its own, so that the other steps are those they would be without.
    let mut random = Random::new(!seed);
    let dial = |device| SocketStep::Dial {
        device,
        edge: device % EDGES,
    };
    let mut all: Vec<Step> = (0..DEVICES).map(dial).map(Step::Socket).collect();
    for step in steps {
        all.push(step);
        all.push(Step::Socket(socket_step(&mut random)));
    }
    all
}

fn fate(random: &mut Random) -> Fate {
    match random.below(10) {
        0 => Fate::AcknowledgementLost,
        1 => Fate::Lost,
        2 => Fate::Repeated,
        _ => Fate::Acknowledged,
    }
}

pub(crate) fn ask(random: &mut Random) -> Ask {
    match random.below(24) {
        0..=3 => Ask::Create,
        4 => Ask::Add,
        5 => Ask::Remove,
        6 => Ask::Close,
        7 => Ask::Reopen,
        8 => Ask::Read,
        9..=10 => Ask::Edit,
        11 => Ask::Delete,
        12..=14 => Ask::Purge,
        15 => Ask::Hide,
        16 => Ask::React,
        _ => Ask::Send,
    }
}

/// What happens to the history view.
fn of_the_view(random: &mut Random) -> Step {
    let projection = random.below(PROJECTIONS);
    match random.below(40) {
        0..=23 => Step::Project {
            projection,
            times: 1 + random.below(12),
        },
        24..=26 => Step::Move {
            partition: random.below(PARTITIONS as usize) as i32,
            to: projection,
            told: random.coin(),
        },
        27..=31 => Step::Die {
            projection,
            after: random.below(16),
            lands: random.coin(),
        },
        32..=33 => Step::Land,
        34 => Step::FailStore {
            count: 1 + random.below(2),
        },
        35 => Step::FailPolls {
            projection,
            count: 1,
        },
        36..=37 => Step::Jump {
            projection,
            back: random.below(10) as i64 - 3,
        },
        38 => Step::Save,
        _ => Step::Restore,
    }
}

fn step(random: &mut Random) -> Step {
    if random.below(3) == 0 {
        return of_the_view(random);
    }
    let sequencer = random.below(SEQUENCERS);
    let client = random.below(CLIENTS);
    let partition = random.below(PARTITIONS as usize) as i32;
    match random.below(100) {
        0..=23 => Step::Ask {
            client,
            conversation: random.below(CONVERSATIONS),
            foreign: random.below(12) == 0,
            what: ask(random),
            fate: fate(random),
        },
        24..=29 => Step::Resend {
            client,
            which: random.below(64),
            fate: fate(random),
        },
        30..=35 => Step::Read {
            client,
            most: 1 + random.below(8),
        },
        36..=37 => Step::Reconnect { client },
        38..=53 => Step::Turn {
            sequencer,
            times: 1 + random.below(6),
        },
        54..=67 => Step::Work {
            sequencer,
            times: 2 + random.below(8),
        },
        68..=79 => Step::Flush {
            sequencer,
            most: 1 + random.below(8),
        },
        80..=82 => Step::FailProduce {
            sequencer,
            appended: random.coin(),
        },
        83 => Step::FailReads {
            count: 1 + random.below(3),
        },
        84..=87 => Step::Rebalance {
            partition,
            to: sequencer,
            told: match random.below(4) {
                0 => Told::Revoked,
                1 => Told::Lost,
                _ => Told::Nothing,
            },
        },
        88..=89 => Step::Crash {
            sequencer,
            land: random.below(6),
        },
        90..=91 => Step::Redeliver {
            sequencer,
            back: 1 + random.below(6) as i64,
        },
        92 => Step::StaleSnapshot {
            partition,
            which: random.below(64),
        },
        _ => Step::Pass {
            ms: 1 + random.below(600) as u64,
        },
    }
}
