//! ETags and the conditions on them (RFC 9110, sections 8.8.3 and 13.1). The
//! ETag of a message is its revision: the `seq` of the last event that changed
//! it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// The ETag of a revision.
pub(crate) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits in quotes")
}

/// Whether `If-Match` lets a change of this revision through. Comparison is
/// strong: a weak tag matches nothing.
pub(crate) fn may_change(headers: &HeaderMap, revision: u64) -> bool {
    match Tags::of(headers, &header::IF_MATCH) {
        None => true,
        Some(tags) => tags.any || tags.strong.contains(&revision),
    }
}

/// Whether there is an `If-Match` at all.
pub(crate) fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH)
}

/// Whether `If-None-Match` says that the client has this revision. Comparison
/// is weak.
pub(crate) fn is_known(headers: &HeaderMap, revision: u64) -> bool {
    Tags::of(headers, &header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.any || tags.strong.contains(&revision) || tags.weak.contains(&revision)
    })
}

#[derive(Debug, Default)]
struct Tags {
    any: bool,
    strong: Vec<u64>,
    weak: Vec<u64>,
}

impl Tags {
    /// The tags of a header, of which those that are no revision of ours match
    /// nothing; none where there is no such header.
    fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut tags = None;
        for value in headers.get_all(name) {
            let tags: &mut Self = tags.get_or_insert_default();
            // Our tags hold no comma, so that one that does is not ours.
            for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                if tag == "*" {
                    tags.any = true;
                } else if let Some(revision) = tag.strip_prefix("W/").and_then(revision) {
                    tags.weak.push(revision);
                } else if let Some(revision) = revision(tag) {
                    tags.strong.push(revision);
                }
            }
        }
        tags
    }
}

fn revision(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn if_match_compares_strongly() {
        let cases: [(&[&str], bool); 8] = [
            (&[], true),
            (&["*"], true),
            (&["\"7\""], true),
            (&["\"6\", \"7\""], true),
            (&["\"6\"", "\"7\""], true),
            (&["\"6\""], false),
            (&["W/\"7\""], false),
            (&["7"], false),
        ];
        for (values, expected) in cases {
            let headers = headers(&header::IF_MATCH, values);
            assert_eq!(may_change(&headers, 7), expected, "{values:?}");
            assert_eq!(is_conditional(&headers), !values.is_empty());
        }
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let cases: [(&[&str], bool); 6] = [
            (&[], false),
            (&["*"], true),
            (&["\"7\""], true),
            (&["W/\"7\""], true),
            (&["\"+7\""], false),
            (&["\"other\", \"6\""], false),
        ];
        for (values, expected) in cases {
            let headers = headers(&header::IF_NONE_MATCH, values);
            assert_eq!(is_known(&headers, 7), expected, "{values:?}");
        }
        assert_eq!(etag(7), "\"7\"");
    }
}
