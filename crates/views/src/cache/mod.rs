//! The cache view: what is read most, close at hand. It holds copies of the
//! history view's answers, never the only one, and everything in it may be
//! gone at any time.
//!
//! # Why no answer is ever older than the cache says
//!
//! Of each partition of `message.delivered` the cache keeps a *cursor*: every
//! change below its `offset` has been taken into account, and no change from
//! its `reaching` on. The projection moves `reaching` first, then notes every
//! change in the *record* of what it changes (if there is one), then moves
//! `offset`; all three on one connection, so that a store that is started anew
//! cannot take the last step without the others.
//!
//! A record is opened by whoever looks for a value and does not find one, and
//! from then on knows its *floor*: the offset after the last change noted in
//! it. A value is read from the history view at the positions that were asked
//! before, and is taken in only if
//!
//! * those positions are not below `reaching`, as read after the record was
//!   opened: so every change noted before the record was there is in it;
//! * they are not below the record's floor: so is every change noted since;
//! * and the record is still the same one, which its random mark tells: where
//!   it was evicted, nobody knows what was noted meanwhile.
//!
//! A change drops the value unless the value was read later than the change.
//! So a value that is there reflects at least all below the cursor's offset.
//! A store that was emptied has no cursors, hence no answers. New ones make a
//! new *session*, and records of other sessions count for nothing.

pub(crate) mod audited;
mod changes;
mod guard;
mod history;
mod key;
mod local;
mod redis;
mod refresh;
mod store;
mod value;

pub use changes::changed_by;
pub use history::{CACHE_TIMEOUT, CachedHistory};
pub use key::Key;
pub use local::MokaCache;
pub use redis::{BadUrl, RedisCache};
pub use store::{
    CacheReader, CacheWriter, Change, Cursor, Cursors, Fill, Found, LookUp, Moved, TTL, Ticket,
};
