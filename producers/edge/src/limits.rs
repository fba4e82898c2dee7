use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::{DefaultDirectRateLimiter, NotUntil, Quota, RateLimiter};
use parking_lot::Mutex;
use tidings_domain::{Tenant, UserId};

/// How many messages a user may send: a bucket of one minute's worth that
/// fills up evenly.
pub(crate) struct Limiter {
    bucket: DefaultDirectRateLimiter<StateInformationMiddleware>,
    per_minute: NonZeroU32,
    /// What was left in the bucket when it was last asked.
    remaining: AtomicU32,
}

/// How many messages a user may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// In a minute.
    pub per_minute: u32,
    /// Right after the last message; the bucket fills up evenly since.
    pub remaining: u32,
}

impl Limiter {
    fn new(per_minute: NonZeroU32) -> Self {
        Self {
            bucket: RateLimiter::direct(Quota::per_minute(per_minute))
                .with_middleware::<StateInformationMiddleware>(),
            per_minute,
            remaining: AtomicU32::new(per_minute.get()),
        }
    }

    /// Takes one message out of the bucket.
    ///
    /// # Errors
    /// The milliseconds after which one will be in it.
    pub(crate) fn take(&self) -> Result<(), u64> {
        let taken = self.bucket.check();
        self.note(taken.as_ref().ok());
        taken.map(drop).map_err(|until| wait_ms(&until))
    }

    /// Takes so many messages out of the bucket, or none.
    ///
    /// # Errors
    /// When they will be in it, if ever.
    pub(crate) fn take_many(&self, messages: NonZeroU32) -> Result<(), Limited> {
        let taken = self.bucket.check_n(messages).map_err(|_| Limited::Always)?;
        self.note(taken.as_ref().ok());
        taken
            .map(drop)
            .map_err(|until| Limited::For(wait_ms(&until)))
    }

    fn note(&self, taken: Option<&StateSnapshot>) {
        if let Some(left) = taken {
            let remaining = left.remaining_burst_capacity();
            self.remaining.store(remaining, Ordering::Relaxed);
        }
    }

    /// What the user may send.
    pub(crate) fn allowance(&self) -> Allowance {
        Allowance {
            per_minute: self.per_minute.get(),
            remaining: self.remaining.load(Ordering::Relaxed),
        }
    }

    fn is_full(&self) -> bool {
        matches!(self.bucket.check_n(self.per_minute), Ok(Ok(_)))
    }
}

/// When so many messages will be in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    /// After so many milliseconds.
    For(u64),
    /// Never: it does not hold as many.
    Always,
}

fn wait_ms(until: &NotUntil<QuantaInstant>) -> u64 {
    let wait = until.wait_time_from(DefaultClock::default().now());
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The buckets of all users, shared by the sockets of a user. They outlive the
/// sockets, so that coming back does not fill them.
#[derive(Default)]
pub(crate) struct Limits {
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    by_user: HashMap<(Tenant, UserId, NonZeroU32), Arc<Limiter>>,
    /// At how many to look for buckets that nobody needs.
    sweep_at: usize,
}

impl Limits {
    /// The bucket of a user; none where there is no limit.
    pub(crate) fn of(
        &self,
        tenant: &Tenant,
        user: &UserId,
        per_minute: u32,
    ) -> Option<Arc<Limiter>> {
        let per_minute = NonZeroU32::new(per_minute)?;
        let mut buckets = self.buckets.lock();
        if buckets.by_user.len() >= buckets.sweep_at {
            buckets.sweep();
        }
        let key = (tenant.clone(), user.clone(), per_minute);
        let limiter = buckets
            .by_user
            .entry(key)
            .or_insert_with(|| Arc::new(Limiter::new(per_minute)));
        Some(Arc::clone(limiter))
    }
}

impl Buckets {
    /// Forgets the full buckets of users who are gone: new ones are full too.
    fn sweep(&mut self) {
        const LEAST: usize = 1_024;
        self.by_user
            .retain(|_, limiter| Arc::strong_count(limiter) > 1 || !limiter.is_full());
        self.sweep_at = (self.by_user.len() * 2).max(LEAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_sockets_share_a_bucket_that_outlives_them() {
        let (tenant, user) = (Tenant::parse("t").unwrap(), UserId::parse("u").unwrap());
        let limits = Limits::default();
        assert!(limits.of(&tenant, &user, 0).is_none());
        for _ in 0..2 {
            assert_eq!(limits.of(&tenant, &user, 2).unwrap().take(), Ok(()));
        }
        limits.buckets.lock().sweep();
        let wait = limits.of(&tenant, &user, 2).unwrap().take().unwrap_err();
        assert!((1..=30_000).contains(&wait), "{wait}");
        let limiter = limits.of(&tenant, &user, 10).unwrap();
        let many = |messages| limiter.take_many(NonZeroU32::new(messages).unwrap());
        assert_eq!((many(4), limiter.allowance().remaining), (Ok(()), 6));
        assert!(matches!(many(7), Err(Limited::For(_))));
        assert_eq!(many(11), Err(Limited::Always));
        let other = UserId::parse("v").unwrap();
        assert_eq!(limits.of(&tenant, &other, 2).unwrap().take(), Ok(()));
        assert_eq!(
            limits.of(&tenant, &user, 3).unwrap().take(),
            Ok(()),
            "another token's rate"
        );
    }
}
