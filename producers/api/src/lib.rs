//! The HTTP API: the commands and questions of the socket protocol, over REST.
//!
//! [`router`] serves them on an [`Edge`](tidings_edge::Edge), whose callers
//! without a socket take every command and question: there is one way into the
//! log, and one set of rules. What is here is only HTTP.
//!
//! * `routes`: the handlers; `types`: what stands in bodies; `document`: the
//!   OpenAPI document that both make up.
//! * `request`: what handlers take from a request; `write`: commands, from a
//!   request to an answer; `problem`: what is no success.
//! * `prefer`, `conditional`: headers with rules of their own; `address`:
//!   where things are.
//! * `server`: the router; `observe`: what is done around every handler.

mod address;
mod conditional;
mod document;
mod observe;
mod prefer;
mod problem;
mod request;
mod routes;
mod server;
mod types;
mod write;

pub use document::document;
pub use server::router;
