//! Projects `message.delivered` into the history view.
//!
//! [`projection`] folds each batch of valid decisions into the rows of the
//! view, and writes them together with the positions after them. What does not
//! follow on what the view has goes to `dead.history`.

mod config;
mod connect;
mod fold;
mod view;

pub use config::Config;
pub use connect::connect;
pub use fold::{Folded, fold};
pub use view::projection;
