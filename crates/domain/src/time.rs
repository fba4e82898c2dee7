/// A point in time: milliseconds since the Unix epoch, UTC.
///
/// The domain only compares and subtracts times; writing them as RFC 3339 is
/// the wire's business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time, `ms` milliseconds earlier.
    #[must_use]
    pub fn minus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}
