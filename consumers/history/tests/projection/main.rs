//! The projection between real logs and real stores.

mod cluster;
mod failures;
mod faulty;
mod following;
mod world;
