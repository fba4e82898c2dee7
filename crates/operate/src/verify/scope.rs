use tidings_domain::{ConversationId, Tenant};
use tidings_views::audit::{Part, StoredDocument};
use tidings_wire::{Stored, names};
use uuid::Uuid;

/// Which part of a view is verified. One that names nothing means all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// Only this conversation.
    pub conversation_id: Option<ConversationId>,
    /// Only this tenant's.
    pub tenant: Option<Tenant>,
    /// Only so many of a hundred conversations: always the same ones.
    pub sample: Option<f64>,
}

/// Whether a document belongs to what is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    Yes,
    No,
    /// It does not say. It is compared where the log knows it, and not missed
    /// there where it does not.
    Unknown,
}

impl Scope {
    /// What a store is asked for.
    pub(super) fn part(&self) -> Part {
        Part {
            conversation_id: self.conversation_id,
            tenant: self.tenant.clone(),
        }
    }

    /// Whether a record may change what is verified. By its key and headers
    /// alone.
    pub(super) fn wants(&self, stored: &Stored) -> bool {
        let key = stored.record.key.as_deref();
        let key = key.and_then(|key| std::str::from_utf8(key).ok());
        let id = key.and_then(|key| Uuid::try_parse(key).ok());
        let of_tenant = |tenant: &Tenant| {
            let header = stored.record.headers.text(names::TENANT);
            header == Some(tenant.as_str())
        };
        self.conversation_id.is_none_or(|of| id == Some(of.0))
            && self.tenant.as_ref().is_none_or(of_tenant)
            && id.is_none_or(|id| self.is_in_sample(ConversationId(id)))
    }

    fn is_in_sample(&self, id: ConversationId) -> bool {
        const PARTS: u64 = 1_000_000;
        self.sample.is_none_or(|percent| {
            let place = xxhash_rust::xxh3::xxh3_64(id.0.as_bytes()) % PARTS;
            #[expect(clippy::cast_precision_loss, reason = "below a million")]
            let place = place as f64;
            #[expect(clippy::cast_precision_loss, reason = "a million")]
            let parts = PARTS as f64;
            place < percent / 100.0 * parts
        })
    }

    pub(super) fn belongs(&self, document: &StoredDocument) -> Belongs {
        if *self == Self::default() {
            return Belongs::Yes;
        }
        let conversation = document.conversation_id();
        let tenant = document.tenant();
        let of_conversation = match (self.conversation_id, conversation) {
            (Some(of), Some(id)) if of != id => Belongs::No,
            (Some(_), None) => Belongs::Unknown,
            _ => Belongs::Yes,
        };
        let of_sample = match (self.sample, conversation) {
            (Some(_), Some(id)) if !self.is_in_sample(id) => Belongs::No,
            (Some(_), None) => Belongs::Unknown,
            _ => Belongs::Yes,
        };
        let of_tenant = match (&self.tenant, tenant) {
            (Some(of), Some(tenant)) if *of != tenant => Belongs::No,
            (Some(_), None) => Belongs::Unknown,
            _ => Belongs::Yes,
        };
        let all = [of_conversation, of_sample, of_tenant];
        if all.contains(&Belongs::No) {
            Belongs::No
        } else if all.contains(&Belongs::Unknown) {
            Belongs::Unknown
        } else {
            Belongs::Yes
        }
    }
}
