use crate::{Code, InputError};

/// The longest text of a message, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 16_384;
/// The most attachments a message may carry.
pub const MAX_ATTACHMENTS: usize = 10;
/// The longest `meta` of a message, in bytes of JSON.
pub const MAX_META_BYTES: usize = 4_096;
/// The longest reaction, in bytes of UTF-8.
pub const MAX_EMOJI_BYTES: usize = 32;

/// Checks a reaction: 1 to [`MAX_EMOJI_BYTES`] bytes.
///
/// # Errors
/// `invalid` or `too_large`, naming the field `emoji`.
pub fn check_emoji(emoji: &str) -> Result<(), InputError> {
    if emoji.is_empty() {
        return Err(InputError::invalid("emoji", "must not be empty"));
    }
    if emoji.len() > MAX_EMOJI_BYTES {
        return Err(InputError::new(
            Code::TooLarge,
            "emoji",
            format!("is {} bytes, at most {MAX_EMOJI_BYTES}", emoji.len()),
        ));
    }
    Ok(())
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The text: non-empty, at most [`MAX_TEXT_BYTES`]. Empty only where it is
    /// [withheld](crate::EventRow::withheld).
    pub text: String,
    /// References to files; at most [`MAX_ATTACHMENTS`].
    pub attachments: Vec<Attachment>,
    /// The client's own JSON object, kept as its text; at most
    /// [`MAX_META_BYTES`].
    pub meta: Option<String>,
}

/// A reference to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The file's id where it is stored.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// The media type.
    pub mime: String,
    /// Its size in bytes.
    pub size: i64,
}

impl Content {
    /// Content that is only a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            attachments: Vec::new(),
            meta: None,
        }
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// `invalid` for an empty text or a negative size, `too_large` for a text,
    /// meta or attachment field that is too long, `too_many` for too many
    /// attachments.
    pub fn check(&self) -> Result<(), InputError> {
        if self.text.is_empty() {
            return Err(InputError::invalid("content.text", "must not be empty"));
        }
        if self.text.len() > MAX_TEXT_BYTES {
            return Err(InputError::new(
                Code::TooLarge,
                "content.text",
                format!("is {} bytes, at most {MAX_TEXT_BYTES}", self.text.len()),
            ));
        }
        if self.attachments.len() > MAX_ATTACHMENTS {
            return Err(InputError::new(
                Code::TooMany,
                "content.attachments",
                format!(
                    "holds {}, at most {MAX_ATTACHMENTS}",
                    self.attachments.len()
                ),
            ));
        }
        for attachment in &self.attachments {
            attachment.check()?;
        }
        match &self.meta {
            Some(meta) if meta.len() > MAX_META_BYTES => Err(InputError::new(
                Code::TooLarge,
                "content.meta",
                format!("is {} bytes, at most {MAX_META_BYTES}", meta.len()),
            )),
            _ => Ok(()),
        }
    }
}

impl Attachment {
    fn check(&self) -> Result<(), InputError> {
        const MAX_FIELD_BYTES: usize = 256;
        if self.id.is_empty() {
            return Err(InputError::invalid(
                "content.attachments.id",
                "must not be empty",
            ));
        }
        if self.size < 0 {
            return Err(InputError::invalid(
                "content.attachments.size",
                "must not be negative",
            ));
        }
        let fields = [
            ("content.attachments.id", &self.id),
            ("content.attachments.name", &self.name),
            ("content.attachments.mime", &self.mime),
        ];
        for (field, value) in fields {
            if value.len() > MAX_FIELD_BYTES {
                return Err(InputError::new(
                    Code::TooLarge,
                    field,
                    format!("is {} bytes, at most {MAX_FIELD_BYTES}", value.len()),
                ));
            }
        }
        Ok(())
    }
}
