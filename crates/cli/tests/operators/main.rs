//! What operators do, on real servers: `lag`, `pause`, `dead`.

mod dead;
mod embedded;
mod place;
mod registry;
