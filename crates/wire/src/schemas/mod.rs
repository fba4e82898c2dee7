//! The schemas as such, for who changes or registers them: whether every
//! version reads what every other wrote, what is different between two, and
//! what a registry has of them.
//!
//! | module | what it is |
//! |---|---|
//! | `set` | every version of every schema: those compiled in, or a folder's |
//! | `compatibility` | what breaks Avro's rules of resolution between two |
//! | `golden` | values as they once were written |
//! | `check` | all of a set, and a registry, against each other |
//! | `sameness` | whether two texts are one schema |
//! | `difference` | what is different between two |
//! | `registration` | into a registry, in order |

mod check;
mod compatibility;
mod difference;
mod golden;
mod registration;
mod sameness;
mod set;
mod shape;

pub use check::{Finding, Report, SubjectReport, check, check_registered};
pub use compatibility::{Break, Rule, Side, breaks};
pub use difference::{Difference, Facts, FieldChange, Kind, difference};
pub use golden::Golden;
pub use registration::{
    Outcome, Registered, RegisteredSubject, RegisteredVersion, Registration, register, registered,
};
pub use sameness::{Sameness, sameness};
pub use set::{Label, SchemaSet, SchemaSetError, Subject, Version};
