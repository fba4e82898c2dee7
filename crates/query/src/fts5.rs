//! A query, and what is to be found, as SQLite's FTS5 has them.

use crate::{Query, Term};

/// The arguments of a table of words that holds no text of its own. Words are
/// split before they come there (see [`indexed`](crate::words::indexed)), so
/// the tokenizer has only the spaces between them to find: to `ascii` whatever
/// is not ASCII is part of a word, and `_` is made so.
pub const TABLE: &str = "words, content='', tokenize=\"ascii tokenchars '_'\"";

/// What stands behind `MATCH`; none where there is no word in the query. Every
/// word is quoted, and holds no quote.
#[must_use]
pub fn expression(query: &Query) -> Option<String> {
    let term = |term: &Term| {
        let star = if term.is_prefix { " *" } else { "" };
        format!("\"{}\"{star}", term.words.join(" "))
    };
    let terms: Vec<String> = query.terms().iter().map(term).collect();
    (!terms.is_empty()).then(|| terms.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::expression;
    use crate::Query;

    #[test]
    fn words_are_quoted_and_all_of_them_wanted() {
        let of = |text: &str| expression(&Query::parse(text).expect("a query"));
        let spelled = of("kernel \"at boot\" pan*");
        assert_eq!(
            spelled.as_deref(),
            Some("\"kernel\" AND \"at boot\" AND \"pan\" *")
        );
        assert_eq!(of("*").as_deref(), None);
    }
}
