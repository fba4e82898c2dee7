//! Generations: versions of one view that a store holds side by side.
//!
//! Each has collections, tables, indexes or keys of its own, with positions of
//! its own, so each is a whole view; [`Generation::FIRST`] has the names that
//! have nothing in them of generations. A [`Register`] in the same store says
//! which there are and which one *serves*: the one that is read. It changes by
//! compare-and-set, so switching to another is one atomic write.
//!
//! A store that holds no register has one generation, the first, and it serves.

mod register;
mod serving;
mod store;

pub use register::{Build, Builder, Held, Lost, NotSwitched, Register, Standing, State};
pub use serving::Serving;
pub use store::{Generations, change, serving};

/// The number of a generation, from 1. A number is used once.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u32);

impl Generation {
    /// The one that is there when nobody has made another.
    pub const FIRST: Self = Self(1);

    /// A name of this generation's own: of the first, `name` itself.
    #[must_use]
    pub fn name(self, name: &str) -> String {
        match self {
            Self::FIRST => name.to_owned(),
            Self(number) => format!("{name}-g{number}"),
        }
    }

    /// The name that this generation's projection has as a consumer of the
    /// log: of the first, `name` itself.
    #[must_use]
    pub fn consumer(self, name: &str) -> String {
        match self {
            Self::FIRST => name.to_owned(),
            Self(number) => format!("{name}.g{number}"),
        }
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
