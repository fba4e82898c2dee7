//! Projects `message.delivered` into the cache view.
//!
//! [`projection`] notes in the cache what each decision changes, so that what
//! was read before is read anew. It writes no values: readers do, and only
//! they know what is asked for.

mod config;
mod connect;
mod view;

pub use config::Config;
pub use connect::connect;
pub use view::projection;
