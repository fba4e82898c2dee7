//! What operators do, on real servers: `lag`, `pause`, `dead`, `replay`.

mod dead;
mod embedded;
mod place;
mod registry;
mod replay;
