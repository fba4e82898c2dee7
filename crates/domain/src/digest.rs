use std::fmt;

/// An order-independent digest of a set of items: the wrapping sum of a hash
/// of each, so that an item is added or taken out in constant time.
///
/// It guards against accidents (a stale snapshot, a bug), not against an
/// attacker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Reads back what [`fmt::Display`] wrote: 16 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // A number may have a sign, too, and a digest has none.
        let is_written_so = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_written_so
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
    }

    pub(crate) fn add(&mut self, item: ItemHash) {
        self.0 = self.0.wrapping_add(item.0);
    }

    pub(crate) fn take_out(&mut self, item: ItemHash) {
        self.0 = self.0.wrapping_sub(item.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The hash of one item of the set.
#[derive(Clone, Copy)]
pub(crate) struct ItemHash(u64);

impl ItemHash {
    /// Hashes fields with their lengths, so that no two lists collide by
    /// moving a byte from one field to the next.
    pub(crate) fn of(fields: &[&[u8]]) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        for field in fields {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        Self(hasher.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let text = "00000000000000ff";
        assert_eq!(Digest::parse(text), Some(Digest(255)));
        assert_eq!(Digest(255).to_string(), text);
        for wrong in ["", "ff", "+0000000000000ff", "000000000000000ff"] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
    }
}
