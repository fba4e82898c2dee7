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
//!
//! # What has changed in part
//!
//! Most changes concern a part of a value: one message of a page, one place of
//! a user's. Such a change leaves the value and notes the *part*, by its id. A
//! value with outdated parts answers nothing by itself: whoever finds it reads
//! these parts from the history view, by id, and puts them in. The rest of it
//! is as it was up to the cursor's offset, since all changes below are noted.
//! So the amended value reflects all below the cursor, or below the positions
//! of the view that were asked before the parts were read, whichever is less;
//! and it may be filled in as any other value: it is refused if more was noted
//! meanwhile. The projection writes no rows here either. Only the history view
//! knows them: a message that is posted may be one that was sent again.

pub(crate) mod audited;
mod changes;
mod flight;
mod guard;
mod history;
mod key;
mod local;
mod patience;
mod reading;
mod redis;
mod shared;
mod store;
mod value;

pub use changes::{Changed, changed_by};
pub use history::{CACHE_TIMEOUT, CachedHistory};
pub use key::Key;
pub use local::MokaCache;
pub use redis::{BadUrl, RedisCache};
pub use store::{
    CacheReader, CacheWriter, Change, Cursor, Cursors, Fill, Found, LookUp, Moved, OUTDATED_PARTS,
    Outdated, TTL, Ticket,
};
