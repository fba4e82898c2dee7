//! Projects `message.delivered` into the search view.
//!
//! [`projection`] folds each batch of valid decisions into the documents that
//! they change, and writes them together with the positions after them.

mod config;
mod connect;
mod view;

pub use config::Config;
pub use connect::connect;
pub use view::projection;
