use crate::Query;

/// How much of a text is shown before the first mark, in characters.
const BEFORE: usize = 60;
/// How much is shown in all.
const LENGTH: usize = 200;
/// How far to look for a space to cut at.
const SLACK: usize = 20;

/// The part of a text where the query is found: what is searched for between
/// `<em>` and `</em>`, all else escaped for HTML.
#[must_use]
pub fn snippet(query: &Query, text: &str) -> String {
    let marks = query.marks(text).unwrap_or_default();
    let first = marks.first().map_or(0, |mark| mark.start);
    let (start, end) = window(text, first);
    let mut shown = String::with_capacity(LENGTH + 64);
    if start > 0 {
        shown.push_str("\u{2026} ");
    }
    let mut at = start;
    for mark in marks {
        if mark.start < at || mark.end > end {
            continue;
        }
        escape(&text[at..mark.start], &mut shown);
        shown.push_str("<em>");
        escape(&text[mark.clone()], &mut shown);
        shown.push_str("</em>");
        at = mark.end;
    }
    escape(&text[at..end], &mut shown);
    if end < text.len() {
        shown.push_str(" \u{2026}");
    }
    shown
}

/// What to show of a text around the byte `mark`, cut between words where a
/// space is near.
fn window(text: &str, mark: usize) -> (usize, usize) {
    let before = text[..mark].char_indices().rev().nth(BEFORE - 1);
    let mut start = before.map_or(0, |(start, _)| start);
    if start > 0 {
        let mut near = text[start..mark].char_indices().take(SLACK);
        let space = near.find(|(_, c)| c.is_whitespace());
        start += space.map_or(0, |(index, c)| index + c.len_utf8());
    }
    let mut end = text[start..]
        .char_indices()
        .nth(LENGTH)
        .map_or(text.len(), |(index, _)| start + index);
    if end < text.len() {
        let mut near = text[mark.min(end)..end].char_indices().rev().take(SLACK);
        let space = near.find(|(_, c)| c.is_whitespace());
        end = space.map_or(end, |(index, _)| mark.min(end) + index);
    }
    (start, end)
}

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LENGTH, Query, snippet};

    fn of(query: &str, text: &str) -> String {
        snippet(&Query::parse(query).expect("a query"), text)
    }

    #[test]
    fn short_texts_are_shown_whole_with_marks_and_escapes() {
        assert_eq!(
            of("\"kernel panic\"", "a <b>Kernel panic</b> & 'more'"),
            "a &lt;b&gt;<em>Kernel</em> <em>panic</em>&lt;/b&gt; &amp; &#39;more&#39;"
        );
        assert_eq!(
            of("em", "<em>em</em>"),
            "&lt;<em>em</em>&gt;<em>em</em>&lt;/<em>em</em>&gt;"
        );
        assert_eq!(of("kern*", "kernels\u{e9}"), "<em>kernels\u{e9}</em>");
        assert_eq!(of("missing", "x < y"), "x &lt; y");
    }

    #[test]
    fn long_texts_are_cut_around_the_first_mark() {
        let text = format!("{}needle {}", "h\u{e9}y ".repeat(500), "after ".repeat(500));
        let shown = of("needle", &text);
        assert!(shown.starts_with("\u{2026} h\u{e9}y"), "{shown}");
        assert!(shown.contains(" <em>needle</em> after"), "{shown}");
        assert!(shown.ends_with("after \u{2026}"), "{shown}");
        assert!(shown.chars().count() <= LENGTH + 16, "{shown}");
    }

    #[test]
    fn a_word_longer_than_the_window_does_not_break_it() {
        let text = format!("{} {}", "x".repeat(1_000), "\u{1f600}".repeat(1_000));
        assert!(of("x*", &text).chars().count() <= LENGTH + 16);
        let text = format!(
            "{}needle{}",
            "\u{1f600}".repeat(1_000),
            "\u{1f600}".repeat(1_000)
        );
        assert!(of("needle", &text).contains("<em>needle</em>"));
    }
}
