use std::ops::Range;

use crate::words::{ends_in_word, folded, words};

/// What somebody searches for.
///
/// Words are whole, compared without case, and all of them must be there;
/// `"…"` is a phrase; a trailing `*` makes a word a prefix; anything else is
/// taken literally, so that there is no such thing as wrong syntax.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    text: String,
    terms: Vec<Term>,
}

/// Words that must follow one another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// At least one.
    pub words: Vec<String>,
    /// Whether the last of them may go on.
    pub is_prefix: bool,
}

/// Why a query cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It is longer than [`Query::MAX_BYTES`], or of more than
    /// [`Query::MAX_TERMS`] terms.
    #[error("is longer than 1024 bytes or 64 words")]
    TooLong,
    /// There is nothing in it that could be found in a text.
    #[error("has no word in it")]
    NoWord,
}

impl Query {
    /// The longest query.
    pub const MAX_BYTES: usize = 1_024;
    /// Most words of a query, those of a phrase too.
    pub const MAX_TERMS: usize = 64;

    /// Reads a query.
    ///
    /// # Errors
    /// [`QueryError::Empty`] and [`QueryError::TooLong`]. A query without any
    /// word is one, as the beginning of a user's id may be `@`: see
    /// [`with_words`](Self::with_words).
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(QueryError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(QueryError::TooLong);
        }
        let mut terms = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            // A quote that is never closed is a character like others.
            let closing = rest.strip_prefix('"').and_then(|inside| inside.find('"'));
            let (term, after) = match closing {
                Some(length) => (Term::literal(&rest[1..=length]), &rest[length + 2..]),
                None => {
                    let end = rest
                        .char_indices()
                        .skip(1)
                        .find(|(_, c)| c.is_whitespace() || *c == '"')
                        .map_or(rest.len(), |(end, _)| end);
                    (Term::word(&rest[..end]), &rest[end..])
                }
            };
            terms.extend(term);
            rest = after.trim_start();
        }
        if terms.iter().map(|term| term.words.len()).sum::<usize>() > Self::MAX_TERMS {
            return Err(QueryError::TooLong);
        }
        Ok(Self {
            text: text.to_owned(),
            terms,
        })
    }

    /// The query, if there is a word in it.
    ///
    /// # Errors
    /// [`QueryError::NoWord`].
    pub fn with_words(self) -> Result<Self, QueryError> {
        if self.has_words() {
            Ok(self)
        } else {
            Err(QueryError::NoWord)
        }
    }

    /// Whether there is a word in it.
    #[must_use]
    pub fn has_words(&self) -> bool {
        !self.terms.is_empty()
    }

    /// The same query, whose last word may go on: what somebody has typed so
    /// far.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        if let Some(last) = self.terms.last_mut()
            && ends_in_word(&self.text)
        {
            last.is_prefix = true;
        }
        self
    }

    /// As it was asked, without space around it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The query as the beginning of a user's id, as it compares; none where
    /// no id begins so.
    #[must_use]
    pub fn id_prefix(&self) -> Option<String> {
        let prefix = self.text.trim_end_matches('*');
        let is_id = |c: char| c.is_ascii_alphanumeric() || "_.:@-".contains(c);
        let fits = (1..=64).contains(&prefix.len()) && prefix.chars().all(is_id);
        fits.then(|| folded(prefix))
    }

    /// What must be in a text, each of it.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Where a text has what is searched for: each word of each match, in
    /// order. None where a term is missing.
    #[must_use]
    pub fn marks(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let words: Vec<_> = words(text).collect();
        let mut marked = vec![false; words.len()];
        for term in &self.terms {
            let mut is_there = false;
            for (start, window) in words.windows(term.words.len()).enumerate() {
                let found = window.iter().map(|(_, word)| word.as_str());
                if term.matches(found) {
                    is_there = true;
                    marked[start..start + window.len()].fill(true);
                }
            }
            if !is_there {
                return None;
            }
        }
        let marked = words.into_iter().zip(marked).filter(|(_, marked)| *marked);
        Some(marked.map(|((range, _), _)| range).collect())
    }
}

impl Term {
    /// These words right after one another; none where there is no word.
    fn literal(text: &str) -> Option<Self> {
        let words: Vec<String> = words(text).map(|(_, word)| word).collect();
        (!words.is_empty()).then_some(Self {
            words,
            is_prefix: false,
        })
    }

    /// What stands between two spaces. Of `e-mail` both words must be there,
    /// side by side.
    fn word(text: &str) -> Option<Self> {
        let stem = text.trim_end_matches('*');
        let is_prefix = stem.len() < text.len() && ends_in_word(stem);
        Some(Self {
            is_prefix,
            ..Self::literal(text)?
        })
    }

    /// Whether words, of which there are as many as in the term, are it.
    fn matches<'a>(&self, found: impl Iterator<Item = &'a str>) -> bool {
        let last = self.words.len() - 1;
        found
            .zip(&self.words)
            .enumerate()
            .all(|(index, (found, wanted))| {
                if self.is_prefix && index == last {
                    found.starts_with(wanted.as_str())
                } else {
                    found == wanted
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{Query, QueryError, Term};

    fn term(words: &[&str], is_prefix: bool) -> Term {
        Term {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            is_prefix,
        }
    }

    #[test]
    fn words_phrases_and_prefixes_are_read_and_all_else_is_literal() {
        let table: [(&str, Vec<Term>); 17] = [
            ("Kernel", vec![term(&["kernel"], false)]),
            (
                "kernel  panic",
                vec![term(&["kernel"], false), term(&["panic"], false)],
            ),
            ("\"kernel panic\"", vec![term(&["kernel", "panic"], false)]),
            ("kern*", vec![term(&["kern"], true)]),
            ("kern**", vec![term(&["kern"], true)]),
            ("k*n", vec![term(&["k", "n"], false)]),
            ("*kern", vec![term(&["kern"], false)]),
            ("kern-*", vec![term(&["kern"], false)]),
            ("e-ma*", vec![term(&["e", "ma"], true)]),
            ("\"kern*\"", vec![term(&["kern"], false)]),
            (
                "\"kernel panic",
                vec![term(&["kernel"], false), term(&["panic"], false)],
            ),
            (
                "say\"a b\"now",
                vec![
                    term(&["say"], false),
                    term(&["a", "b"], false),
                    term(&["now"], false),
                ],
            ),
            ("\"\" \"\"", vec![]),
            ("* - :", vec![]),
            (
                "a AND (b OR NOT c)",
                ["a", "and", "b", "or", "not", "c"]
                    .map(|word| term(&[word], false))
                    .to_vec(),
            ),
            ("text:x^2~", vec![term(&["text", "x", "2"], false)]),
            ("\u{e9}*", vec![term(&["\u{e9}"], true)]),
        ];
        for (text, expected) in table {
            let query = Query::parse(text).expect("a query");
            assert_eq!(query.terms(), expected, "{text:?}");
            assert_eq!(query.with_words().is_ok(), !expected.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn nothing_and_too_much_cannot_be_asked() {
        assert_eq!(Query::parse(" \n"), Err(QueryError::Empty));
        assert_eq!(Query::parse(&"x".repeat(1_025)), Err(QueryError::TooLong));
        assert_eq!(Query::parse(&"x ".repeat(65)), Err(QueryError::TooLong));
        assert!(Query::parse(&"x".repeat(1_024)).is_ok());
    }

    #[test]
    fn every_odd_piece_of_text_is_a_query() {
        let pieces = [
            "\"",
            "*",
            "a",
            " ",
            "\u{1f600}",
            "\\",
            "(",
            "\u{301}",
            "AND",
        ];
        for one in pieces {
            for two in pieces {
                for three in pieces {
                    let text = format!("{one}{two}{three}x\"");
                    assert!(Query::parse(&text).is_ok(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn all_terms_must_be_in_a_text() {
        let text = "The kernel panics: kernel panic at boot_time";
        let table = [
            ("kernel", Some(2)),
            ("kernel boot_time", Some(3)),
            ("\"kernel panic\"", Some(2)),
            ("\"panic kernel\"", None),
            ("kernel pan*", Some(4)),
            ("\"kernel panic\" the", Some(3)),
            ("boot", None),
            ("boot*", Some(1)),
            ("kernel missing", None),
        ];
        for (query, marks) in table {
            let query = Query::parse(query).expect("a query");
            assert_eq!(
                query.marks(text).map(|found| found.len()),
                marks,
                "{query:?}"
            );
        }
    }

    #[test]
    fn a_query_may_be_the_beginning_of_an_id() {
        let prefix = |text: &str| Query::parse(text).expect("a query").id_prefix();
        assert_eq!(prefix("Al").as_deref(), Some("al"));
        assert_eq!(prefix("dave@*").as_deref(), Some("dave@"));
        assert_eq!(prefix("a b"), None);
        assert_eq!(prefix("*"), None);
        assert_eq!(prefix("\u{e9}"), None);
    }

    #[test]
    fn the_last_word_of_an_unfinished_query_may_go_on() {
        let unfinished = |text: &str| Query::parse(text).expect("a query").unfinished();
        assert_eq!(
            unfinished("kernel pa").terms(),
            [term(&["kernel"], false), term(&["pa"], true)]
        );
        assert_eq!(unfinished("\"a b\"").terms(), [term(&["a", "b"], false)]);
    }
}
