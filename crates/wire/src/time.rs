use std::fmt::Write as _;

use tidings_domain::Timestamp;

/// RFC 3339 in UTC with milliseconds: `2004-11-15T12:18:00.000Z`.
#[must_use]
pub fn format_time(at: Timestamp) -> String {
    let mut text = String::with_capacity("2004-11-15T12:18:00.000Z".len());
    write_time(&mut text, at);
    text
}

/// Writes it behind a text.
pub(crate) fn write_time(text: &mut String, at: Timestamp) {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    write!(text, "{time:.3}").expect("a String takes any text");
}

/// Reads RFC 3339; what is finer than a millisecond is cut off.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(|time| Timestamp(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::{format_time, parse_time};
    use tidings_domain::Timestamp;

    #[test]
    fn times_have_milliseconds_and_are_utc() {
        let at = Timestamp(1_100_520_000_000);
        assert_eq!(format_time(at), "2004-11-15T12:00:00.000Z");
        assert_eq!(parse_time("2004-11-15T13:00:00.0009+01:00"), Some(at));
        assert_eq!(parse_time("yesterday"), None);
    }
}
