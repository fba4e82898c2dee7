use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use tidings_irc::Counts;

/// What became of one file.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    /// The file's name, which is the conversation's title.
    pub(super) file: String,
    /// The conversation.
    pub(super) conversation_id: Option<String>,
    /// What the file's lines are.
    #[serde(flatten)]
    pub(super) lines: Counts,
    /// Messages and actions given to the server.
    pub(super) sent: usize,
    /// Of these: delivered now.
    pub(super) delivered: usize,
    /// Of these: delivered by an earlier import.
    pub(super) duplicates: usize,
    /// Users that were members from the start.
    pub(super) present: usize,
    /// Changes of membership delivered now, or by an earlier import.
    pub(super) membership_changes: usize,
    /// Messages that point to the message they answer.
    pub(super) replies: usize,
    /// Commands that were refused, by code.
    pub(super) rejected: BTreeMap<String, usize>,
    /// Commands that were sent more than once, as a connection was lost.
    pub(super) resent: usize,
    /// Lines of which it is not known what became of them, counted from 0.
    pub(super) missing_lines: Vec<usize>,
    /// Why the import of this file stopped, if it did.
    pub(super) error: Option<String>,
}

/// What became of all.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    /// File by file.
    pub(super) files: Vec<Report>,
    /// The sum of them.
    pub(super) total: Report,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
}

impl Report {
    /// Whether every line that says something is in the log.
    pub(super) fn is_complete(&self) -> bool {
        self.error.is_none() && self.missing_lines.is_empty() && self.rejected.is_empty()
    }

    fn add(&mut self, other: &Self) {
        self.lines.add(&other.lines);
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.present += other.present;
        self.membership_changes += other.membership_changes;
        self.replies += other.replies;
        self.resent += other.resent;
        for (code, count) in &other.rejected {
            *self.rejected.entry(code.clone()).or_default() += count;
        }
    }

    fn describe(&self, text: &mut String) {
        let Counts {
            lines,
            messages,
            actions,
            joins,
            leaves,
            renames,
            ..
        } = self.lines;
        let Counts {
            skipped_notices,
            skipped_empty,
            skipped_unreadable,
            ..
        } = self.lines;
        let rejected: usize = self.rejected.values().sum();
        let mut row = |name: &str, value: String| {
            // Writing to a String cannot fail.
            writeln!(text, "  {name:<12}{value}").ok();
        };
        row(
            "lines",
            format!(
                "{lines}: {messages} messages, {actions} actions, {joins} joins, {leaves} leaves, {renames} renames"
            ),
        );
        row(
            "skipped",
            format!(
                "{skipped_notices} notices, {skipped_empty} without a text, {skipped_unreadable} unreadable"
            ),
        );
        if self.lines.invalid_utf8 > 0 {
            row(
                "mended",
                format!("{} lines were not valid UTF-8", self.lines.invalid_utf8),
            );
        }
        row(
            "sent",
            format!(
                "{} messages: {} delivered, {} were there already",
                self.sent, self.delivered, self.duplicates
            ),
        );
        row("replies", self.replies.to_string());
        row(
            "membership",
            format!(
                "{} present at the start, {} changes",
                self.present, self.membership_changes
            ),
        );
        row(
            "rejected",
            match rejected {
                0 => "0".to_owned(),
                _ => {
                    let codes = self
                        .rejected
                        .iter()
                        .map(|(code, count)| format!("{count} {code}"));
                    format!("{rejected}: {}", codes.collect::<Vec<_>>().join(", "))
                }
            },
        );
        if self.resent > 0 {
            row(
                "resent",
                format!("{} commands, after lost connections", self.resent),
            );
        }
        if !self.missing_lines.is_empty() {
            row("missing", missing(&self.missing_lines));
        }
        if let Some(error) = &self.error {
            row("stopped", error.clone());
        }
    }
}

fn missing(lines: &[usize]) -> String {
    const SHOWN: usize = 10;
    let numbers = lines.iter().take(SHOWN).map(|line| (line + 1).to_string());
    let numbers = numbers.collect::<Vec<_>>().join(", ");
    let more = if lines.len() > SHOWN { ", …" } else { "" };
    format!("{} lines: {numbers}{more}", lines.len())
}

impl Summary {
    pub(super) fn new(files: Vec<Report>, seconds: f64) -> Self {
        let mut total = Report {
            file: "total".to_owned(),
            ..Report::default()
        };
        for report in &files {
            total.add(report);
            total.missing_lines.extend(&report.missing_lines);
        }
        Self {
            files,
            total,
            seconds,
        }
    }

    /// For a person.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for report in &self.files {
            let id = report
                .conversation_id
                .as_deref()
                .map(|id| format!("  {id}"))
                .unwrap_or_default();
            writeln!(text, "{}{id}", report.file).ok();
            report.describe(&mut text);
        }
        if self.files.len() > 1 {
            writeln!(text, "total of {} files", self.files.len()).ok();
            self.total.describe(&mut text);
        }
        let rate = self.total.sent as f64 / self.seconds.max(f64::EPSILON);
        write!(text, "{:.1} s, {rate:.0} messages/s", self.seconds).ok();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_and_names_what_went_wrong() {
        let counts = Counts {
            lines: 10,
            messages: 4,
            skipped_notices: 1,
            ..Counts::default()
        };
        let report = |file: &str, rejected: &[(&str, usize)]| Report {
            file: file.to_owned(),
            lines: counts,
            sent: 4,
            delivered: 3,
            rejected: rejected
                .iter()
                .map(|(code, n)| ((*code).to_owned(), *n))
                .collect(),
            ..Report::default()
        };
        let mut other = report("b", &[("closed", 1), ("too_many", 2)]);
        other.missing_lines = vec![3, 7];
        let summary = Summary::new(vec![report("a", &[("closed", 1)]), other], 2.0);
        assert_eq!(summary.total.lines.lines, 20);
        assert_eq!(summary.total.rejected["closed"], 2);
        let text = summary.describe();
        assert!(
            text.contains("rejected    4: 2 closed, 2 too_many"),
            "{text}"
        );
        assert!(text.contains("missing     2 lines: 4, 8"), "{text}");
        assert!(text.ends_with("2.0 s, 4 messages/s"), "{text}");
        assert!(!summary.files[0].is_complete());
    }
}
