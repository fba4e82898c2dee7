use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::InputError;

/// The UUIDv5 namespace of every id that tidings derives.
///
/// Ids are the same for ever for the same input: a resend names the same
/// message, and both ends of a direct conversation name the same one.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x8a1f_6b5c_22d4_5e0f_9b3e_7469_6469_6e67);

/// Tenant and user ids: `[A-Za-z0-9_.:@-]{1,64}`.
fn check_name(field: &'static str, text: &str) -> Result<(), InputError> {
    if text.is_empty() || text.len() > 64 {
        return Err(InputError::invalid(field, "must be 1 to 64 characters"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.:@-".contains(&b);
    if !text.bytes().all(allowed) {
        return Err(InputError::invalid(
            field,
            "may only hold A-Z a-z 0-9 _ . : @ -",
        ));
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_id! {
    /// A tenant: conversations, users and messages of two tenants never meet.
    Tenant
}
text_id! {
    /// A user, unique within the tenant.
    UserId
}
text_id! {
    /// The client's own id of a command, unique per sender and conversation.
    TempId
}

impl Tenant {
    /// Checks and keeps a tenant id.
    ///
    /// # Errors
    /// Code `invalid` where the text is not `[A-Za-z0-9_.:@-]{1,64}`.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        check_name("tenant", text)?;
        Ok(Self(text.into()))
    }
}

impl UserId {
    /// Checks and keeps a user id.
    ///
    /// # Errors
    /// Code `invalid` where the text is not `[A-Za-z0-9_.:@-]{1,64}`.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        check_name("user_id", text)?;
        Ok(Self(text.into()))
    }
}

impl TempId {
    /// The most bytes a client may choose.
    pub const MAX_BYTES: usize = 64;
    /// Room for the `/50` that a forward's commands add to the client's id.
    const MAX_DERIVED_BYTES: usize = Self::MAX_BYTES + 3;

    /// Checks and keeps a `temp_id` as a client may choose it.
    ///
    /// # Errors
    /// Code `invalid` where the text is not 1 to 64 printable ASCII characters.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        Self::checked(text, Self::MAX_BYTES)
    }

    /// Keeps a `temp_id` read back from the log, where those of a forward's
    /// commands (`f1/1`) are up to three bytes longer than a client's.
    ///
    /// # Errors
    /// Code `invalid` where it is not 1 to 67 printable ASCII characters.
    pub fn parse_stored(text: &str) -> Result<Self, InputError> {
        Self::checked(text, Self::MAX_DERIVED_BYTES)
    }

    fn checked(text: &str, max: usize) -> Result<Self, InputError> {
        if text.is_empty() || text.len() > max {
            return Err(InputError::invalid(
                "temp_id",
                format!("must be 1 to {max} characters"),
            ));
        }
        if !text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
            return Err(InputError::invalid(
                "temp_id",
                "may only hold printable ASCII",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// Joins parts that cannot hold a line feed, so that no two lists collide.
fn derive(parts: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, parts.join("\n").as_bytes())
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_id! {
    /// A conversation. Also the key of every record about it.
    ConversationId
}
uuid_id! {
    /// A message.
    MessageId
}
uuid_id! {
    /// What makes a command the same command: UUIDv5 of tenant, conversation,
    /// sender and `temp_id`. Of a send it is the message's id.
    CommandKey
}

impl ConversationId {
    /// Reads an id of a client's frame.
    ///
    /// # Errors
    /// Code `invalid`, naming `field`, where the text is no UUID.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, InputError> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InputError::invalid(field, "is not a UUID"))
    }

    /// The id of a group or channel: UUIDv5 of tenant, creator and `temp_id`.
    #[must_use]
    pub fn of_created(tenant: &Tenant, creator: &UserId, temp_id: &TempId) -> Self {
        Self(derive(&[
            "conversation",
            tenant.as_str(),
            creator.as_str(),
            temp_id.as_str(),
        ]))
    }

    /// The id of the direct conversation of two users, the same whoever asks.
    #[must_use]
    pub fn of_direct(tenant: &Tenant, one: &UserId, other: &UserId) -> Self {
        let (first, second) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        Self(derive(&[
            "direct",
            tenant.as_str(),
            first.as_str(),
            second.as_str(),
        ]))
    }
}

impl MessageId {
    /// Reads an id of a client's frame.
    ///
    /// # Errors
    /// Code `invalid`, naming `field`, where the text is no UUID.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, InputError> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InputError::invalid(field, "is not a UUID"))
    }
}

impl CommandKey {
    /// Derives the key of a command.
    #[must_use]
    pub fn of(
        tenant: &Tenant,
        conversation_id: ConversationId,
        sender: &UserId,
        temp_id: &TempId,
    ) -> Self {
        let mut buffer = Uuid::encode_buffer();
        let conversation = conversation_id.0.hyphenated().encode_lower(&mut buffer);
        Self(derive(&[
            "message",
            tenant.as_str(),
            conversation,
            sender.as_str(),
            temp_id.as_str(),
        ]))
    }

    /// The id of the message this command sends, if it is a send.
    #[must_use]
    pub fn message_id(self) -> MessageId {
        MessageId(self.0)
    }
}
