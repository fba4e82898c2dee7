//! Paths of what can be asked for.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidings_domain::{ConversationId, MessageId, TempId};

/// All but RFC 3986's unreserved characters: what is left stands for itself in
/// any segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(crate) fn conversation(id: ConversationId) -> String {
    format!("/v1/conversations/{id}")
}

pub(crate) fn message(id: MessageId) -> String {
    format!("/v1/messages/{id}")
}

/// Any text, as it stands in a path or a query.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Where a command's outcome is.
pub(crate) fn outcome(conversation_id: ConversationId, temp_id: &TempId) -> String {
    // As a segment of its own, a dot or two would be taken for a step.
    let temp_id = match temp_id.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        other => segment(other),
    };
    format!("/v1/conversations/{conversation_id}/outcomes/{temp_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_temp_id_stands_in_a_path() {
        let id = ConversationId::parse("id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8").unwrap();
        for (temp_id, segment) in [
            ("m1", "m1"),
            ("f1/2", "f1%2F2"),
            ("a b?c#d%e", "a%20b%3Fc%23d%25e"),
            ("..", "%2E%2E"),
        ] {
            let path = outcome(id, &TempId::parse(temp_id).unwrap());
            assert_eq!(path, format!("/v1/conversations/{id}/outcomes/{segment}"));
        }
    }
}
