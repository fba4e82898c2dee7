//! The projection between real logs and real stores.

mod cluster;
mod failures;
mod faulty;
mod faulty_log;
mod following;
mod world;
