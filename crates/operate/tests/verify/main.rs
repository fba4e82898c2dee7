//! Views with planted errors, on real stores: each is found, and no other, and
//! is put right.

mod cache;
mod explain;
mod mongodb;
mod opensearch;
mod rebuild;
mod reset;
mod rewrite;
mod sqlite;
mod world;
