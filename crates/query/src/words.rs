//! What a word is. The one rule: text is split by it before a store indexes
//! it, queries are split by it, and so are the texts that hits are marked in.
//! No store's own analysis takes part, so every store finds the same.

use std::ops::Range;

/// Whether a character is part of a word: Unicode letters and digits, the
/// underscore (as in `grep -w`), and accents written as characters of their
/// own.
fn is_in_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c)
}

/// The words of a text: where each stands, and how it compares.
pub fn words(text: &str) -> impl Iterator<Item = (Range<usize>, String)> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, _) = rest.by_ref().find(|(_, c)| is_in_word(*c))?;
        while rest.next_if(|(_, c)| is_in_word(*c)).is_some() {}
        let end = rest.peek().map_or(text.len(), |(end, _)| *end);
        Some((start..end, folded(&text[start..end])))
    })
}

/// Without upper and lower case, one character at a time: the same in any
/// place and any language.
#[must_use]
pub fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// The words of a text as stores index them: with a space between any two.
#[must_use]
pub fn indexed(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for (_, word) in words(text) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(&word);
    }
    joined
}

/// Whether a text ends inside of a word.
#[must_use]
pub fn ends_in_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_in_word)
}

#[cfg(test)]
mod tests {
    use super::{indexed, words};

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        let table = [
            ("", ""),
            ("?!", ""),
            ("one", "one"),
            ("Kernel-panic, again!", "kernel panic again"),
            ("snake_case 2.6.9", "snake_case 2 6 9"),
            ("l'\u{c9}T\u{c9} \u{1f600}\u{df}", "l \u{e9}t\u{e9} \u{df}"),
            ("e\u{301}te\u{301}", "e\u{301}te\u{301}"),
            (
                "\u{39f}\u{394}\u{39f}\u{3a3}",
                "\u{3bf}\u{3b4}\u{3bf}\u{3c3}",
            ),
            ("\u{0}a\u{0}b", "a b"),
        ];
        for (text, expected) in table {
            assert_eq!(indexed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn words_stand_where_they_were_found() {
        let text = "<\u{c9}t\u{e9}> at";
        let found: Vec<_> = words(text)
            .map(|(range, word)| (&text[range], word))
            .collect();
        assert_eq!(
            found,
            [
                ("\u{c9}t\u{e9}", "\u{e9}t\u{e9}".to_owned()),
                ("at", "at".to_owned())
            ]
        );
    }
}
