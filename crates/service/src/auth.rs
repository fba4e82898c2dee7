//! Tokens: JWTs that name a user and a tenant.

mod key;
mod token;

pub use key::{Algorithm, AuthArgs, GivenSecret, KeyError, Secret};
pub use token::{Auth, AuthError, Claims};
