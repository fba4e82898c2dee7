use crate::plan::{Ask, CONVERSATIONS, ask};
use crate::random::Random;

/// How many edges.
pub(crate) const EDGES: usize = 2;
/// How many devices: two are of the first user, one of each other one.
pub(crate) const DEVICES: usize = 5;

/// What becomes of a command that an edge could not append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// It is in the log all the same.
    Appended,
    /// It is not.
    Lost,
    /// It comes into the log later.
    Late,
    /// The log takes no more right now.
    Saturated,
}

/// How the history view answers an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answering {
    /// At once.
    #[default]
    Up,
    /// Not.
    Down,
    /// After a while.
    Slow,
}

/// One thing that happens to edges and their clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketStep {
    /// A device connects, and gives up the connection that it has.
    Dial {
        /// Which.
        device: usize,
        /// To which edge.
        edge: usize,
    },
    /// A device sends a new command.
    Say {
        /// Which.
        device: usize,
        /// To which of the conversations.
        conversation: usize,
        /// Whether to one of the other tenant.
        foreign: bool,
        /// What.
        what: Ask,
    },
    /// A device sends one of its commands again.
    SayAgain {
        /// Which.
        device: usize,
        /// Which of its commands, counted round.
        which: usize,
        /// Whether it says that it sent it before.
        retry: bool,
    },
    /// Frames get through.
    Carry {
        /// Whose.
        device: usize,
        /// So many to the edge.
        up: usize,
        /// So many to the device.
        down: usize,
    },
    /// A connection breaks. What is on its way is lost.
    Cut {
        /// Whose.
        device: usize,
        /// Whether the edge sees it at once.
        noticed: bool,
    },
    /// Edges see which connections are broken.
    Notice,
    /// An edge reads on.
    Read {
        /// Which.
        edge: usize,
        /// How many turns.
        times: usize,
    },
    /// Some of what an edge sent to the log is appended and acknowledged.
    Append {
        /// Which.
        edge: usize,
        /// How many commands.
        most: usize,
    },
    /// An append fails.
    FailAppend {
        /// Of which edge.
        edge: usize,
        /// How.
        how: Append,
    },
    /// What failed, or was sent by edges that died, comes into the log.
    LandAppends,
    /// An edge dies, and is started again.
    Kill {
        /// Which.
        edge: usize,
        /// So many commands get into the log that it had sent.
        land: usize,
    },
    /// The history view answers an edge otherwise.
    View {
        /// Which.
        edge: usize,
        /// How.
        answering: Answering,
    },
    /// An edge works undisturbed, and its connections do.
    Flow {
        /// Which.
        edge: usize,
        /// For how long.
        rounds: usize,
    },
}

/// What happens to edges and devices.
pub(crate) fn socket_step(random: &mut Random) -> SocketStep {
    let (edge, device) = (random.below(EDGES), random.below(DEVICES));
    match random.below(100) {
        0..=7 => SocketStep::Dial { device, edge },
        8..=33 => SocketStep::Say {
            device,
            conversation: random.below(CONVERSATIONS),
            foreign: random.below(16) == 0,
            what: ask(random),
        },
        34..=38 => SocketStep::SayAgain {
            device,
            which: random.below(64),
            retry: random.coin(),
        },
        39..=54 => SocketStep::Carry {
            device,
            up: random.below(4),
            down: random.below(6),
        },
        55..=58 => SocketStep::Cut {
            device,
            noticed: random.coin(),
        },
        59 => SocketStep::Notice,
        60..=65 => SocketStep::Read {
            edge,
            times: 1 + random.below(3),
        },
        66..=71 => SocketStep::Append {
            edge,
            most: 1 + random.below(3),
        },
        72..=79 => SocketStep::FailAppend {
            edge,
            how: match random.below(4) {
                0 => Append::Appended,
                1 => Append::Lost,
                2 => Append::Late,
                _ => Append::Saturated,
            },
        },
        80 => SocketStep::LandAppends,
        81..=82 => SocketStep::Kill {
            edge,
            land: random.below(3),
        },
        83..=86 => SocketStep::View {
            edge,
            answering: match random.below(4) {
                0 => Answering::Down,
                1 => Answering::Slow,
                _ => Answering::Up,
            },
        },
        _ => SocketStep::Flow {
            edge,
            rounds: 1 + random.below(3),
        },
    }
}
