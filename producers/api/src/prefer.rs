use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

/// `Prefer` (RFC 7240).
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What of it was done.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// No request waits longer for a decision than this.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long the client would wait for a decision: `wait` in whole seconds. As
/// the RFC wants, what is malformed or unknown is passed over, and of a
/// repeated preference the first counts.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers
        .get_all(PREFER)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut waits = preferences.filter_map(|preference| {
        // Parameters, behind a semicolon, are none of ours.
        let token = preference.split(';').next().unwrap_or_default();
        let (name, value) = token.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        value.trim().trim_matches('"').parse::<u64>().ok()
    });
    let wait = Duration::from_secs(waits.next()?).min(LONGEST_WAIT);
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_first_well_formed_wait_counts() {
        let cases: [(&[&str], Option<u64>); 10] = [
            (&[], None),
            (&["wait=5"], Some(5)),
            (&["Wait = \"5\"; x=y"], Some(5)),
            (&["respond-async, wait=5"], Some(5)),
            (&["respond-async", "wait=5", "wait=6"], Some(5)),
            (&["wait=100000"], Some(30)),
            (&["wait=0"], None),
            (&["wait=-1"], None),
            (&["wait"], None),
            (&["waiting=5"], None),
        ];
        for (values, seconds) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            assert_eq!(
                wait(&headers),
                seconds.map(Duration::from_secs),
                "{values:?}"
            );
        }
    }
}
