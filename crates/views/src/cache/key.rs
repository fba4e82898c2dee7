use std::fmt;

use tidings_domain::{ConversationId, Tenant, UserId};
use uuid::Uuid;

/// What a value is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A conversation and its last message.
    Head(Tenant, ConversationId),
    /// Its newest messages.
    Recent(Tenant, ConversationId),
    /// Its members.
    Members(Tenant, ConversationId),
    /// What a user has deleted for themselves of its messages.
    Hidden(Tenant, ConversationId, UserId),
    /// A user's places in conversations.
    Places(Tenant, UserId),
}

impl Key {
    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        match self {
            Self::Head(tenant, _)
            | Self::Recent(tenant, _)
            | Self::Members(tenant, _)
            | Self::Hidden(tenant, ..)
            | Self::Places(tenant, _) => tenant,
        }
    }

    /// Whether it is of one conversation, of which several read at once.
    pub(super) fn is_of_a_conversation(&self) -> bool {
        !matches!(self, Self::Places(..))
    }

    /// Reads back what is written; none: it is no key.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (place, rest) = text.strip_prefix('{')?.split_once("}:")?;
        let (tenant, owner) = place.split_once('/')?;
        let tenant = Tenant::parse(tenant).ok()?;
        let id = || Uuid::try_parse(owner).ok().map(ConversationId);
        match rest.split_once(':') {
            Some(("hidden", user)) => {
                let user = UserId::parse(user).ok()?;
                Some(Self::Hidden(tenant, id()?, user))
            }
            Some(_) => None,
            None => match rest {
                "head" => Some(Self::Head(tenant, id()?)),
                "recent" => Some(Self::Recent(tenant, id()?)),
                "members" => Some(Self::Members(tenant, id()?)),
                "places" => Some(Self::Places(tenant, UserId::parse(owner).ok()?)),
                _ => None,
            },
        }
    }

    /// The kind, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Head(..) => "head",
            Self::Recent(..) => "recent",
            Self::Members(..) => "members",
            Self::Hidden(..) => "hidden",
            Self::Places(..) => "places",
        }
    }
}

/// As it stands in a store. Tenant and owner stand in braces, which neither
/// holds: keys cannot be mistaken for each other, and in a Redis cluster those
/// of a conversation share a slot.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Head(tenant, id) | Self::Recent(tenant, id) | Self::Members(tenant, id) => {
                write!(f, "{{{tenant}/{id}}}:{kind}")
            }
            Self::Hidden(tenant, id, user) => write!(f, "{{{tenant}/{id}}}:{kind}:{user}"),
            Self::Places(tenant, user) => write!(f, "{{{tenant}/{user}}}:{kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_keys_are_written_alike() {
        let tenants = ["a", "a:b", "b"].map(|tenant| Tenant::parse(tenant).unwrap());
        let users = ["a", "b:head", "b"].map(|user| UserId::parse(user).unwrap());
        let id = ConversationId(Uuid::from_u128(7));
        let mut written = BTreeSet::new();
        let mut keys = 0;
        for tenant in &tenants {
            let tenant = || tenant.clone();
            let mut of_tenant = vec![
                Key::Head(tenant(), id),
                Key::Recent(tenant(), id),
                Key::Members(tenant(), id),
            ];
            for user in &users {
                of_tenant.push(Key::Hidden(tenant(), id, user.clone()));
                of_tenant.push(Key::Places(tenant(), user.clone()));
            }
            keys += of_tenant.len();
            for key in &of_tenant {
                assert_eq!(Key::parse(&key.to_string()).as_ref(), Some(key));
            }
            written.extend(of_tenant.iter().map(Key::to_string));
        }
        assert_eq!(written.len(), keys);
        let key = Key::Hidden(tenants[0].clone(), id, users[0].clone());
        assert_eq!(key.to_string(), format!("{{a/{id}}}:hidden:a"));
    }
}
