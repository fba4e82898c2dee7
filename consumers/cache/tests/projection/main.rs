//! The projection between a real log and a real Redis, and readers who answer
//! from what it keeps.

mod failures;
mod following;
mod world;
