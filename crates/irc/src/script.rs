//! From a log's lines to what is to be asked of a server, in order. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::{Entry, Kind, Log};

/// What is to be done, in the order of the log's lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The nicks that were there when the log began: whatever is first heard
    /// of them is not that they come.
    pub present: BTreeSet<String>,
    /// The steps.
    pub steps: Vec<Step>,
    /// What the log's lines are.
    pub counts: Counts,
}

/// One step, made from one line. A rename makes two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line it was made from, counted from 0.
    pub line: usize,
    /// Who.
    pub nick: String,
    /// Does what.
    pub act: Act,
}

impl Step {
    /// Whether it makes a message.
    #[must_use]
    pub fn says(&self) -> bool {
        matches!(self.act, Act::Say { .. })
    }
}

/// What somebody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Becomes a member.
    Enter,
    /// Is a member no more.
    Leave,
    /// Says something.
    Say {
        /// What; never empty.
        text: String,
        /// How.
        kind: Kind,
        /// When, as `HH:MM`.
        time: Option<String>,
        /// The line it answers.
        reply_to: Option<usize>,
    },
}

/// How many lines of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// All lines.
    pub lines: usize,
    /// Messages with a text.
    pub messages: usize,
    /// Actions with a text.
    pub actions: usize,
    /// Joins.
    pub joins: usize,
    /// Leaves.
    pub leaves: usize,
    /// Renames.
    pub renames: usize,
    /// Server notices: skipped.
    pub skipped_notices: usize,
    /// Messages and actions without a text: skipped, as a message must have
    /// one.
    pub skipped_empty: usize,
    /// Lines that are none of these: skipped.
    pub skipped_unreadable: usize,
    /// Lines with bytes that are no UTF-8.
    pub invalid_utf8: usize,
}

impl Counts {
    /// Adds another log's.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.messages += other.messages;
        self.actions += other.actions;
        self.joins += other.joins;
        self.leaves += other.leaves;
        self.renames += other.renames;
        self.skipped_notices += other.skipped_notices;
        self.skipped_empty += other.skipped_empty;
        self.skipped_unreadable += other.skipped_unreadable;
        self.invalid_utf8 += other.invalid_utf8;
    }
}

/// Makes the script of a log. `replies` tells of a line which earlier line it
/// answers.
#[must_use]
pub fn script(log: &Log, replies: &BTreeMap<usize, usize>) -> Script {
    let mut script = Script {
        present: present_at_start(log),
        ..Script::default()
    };
    let counts = &mut script.counts;
    counts.lines = log.entries.len();
    counts.invalid_utf8 = log.invalid_utf8;
    let mut members = script.present.clone();
    for (line, entry) in log.entries.iter().enumerate() {
        let mut step = |nick: &str, act| {
            script.steps.push(Step {
                line,
                nick: nick.to_owned(),
                act,
            });
        };
        match entry {
            Entry::Notice => counts.skipped_notices += 1,
            Entry::Unreadable => counts.skipped_unreadable += 1,
            Entry::Said { text, .. } if text.is_empty() => counts.skipped_empty += 1,
            Entry::Said {
                nick,
                text,
                kind,
                time,
            } => {
                match kind {
                    Kind::Message => counts.messages += 1,
                    Kind::Action => counts.actions += 1,
                }
                // Logs miss joins: who speaks is there.
                if members.insert(nick.clone()) {
                    step(nick, Act::Enter);
                }
                let (text, kind, time) = (text.clone(), *kind, time.clone());
                let reply_to = replies.get(&line).copied();
                step(
                    nick,
                    Act::Say {
                        text,
                        kind,
                        time,
                        reply_to,
                    },
                );
            }
            // Logs miss quits, too: who comes may be there already.
            Entry::Joined(nick) => {
                counts.joins += 1;
                if members.insert(nick.clone()) {
                    step(nick, Act::Enter);
                }
            }
            Entry::Left(nick) => {
                counts.leaves += 1;
                if members.remove(nick) {
                    step(nick, Act::Leave);
                }
            }
            Entry::Renamed { old, new } => {
                counts.renames += 1;
                if members.insert(new.clone()) {
                    step(new, Act::Enter);
                }
                if old != new && members.remove(old) {
                    step(old, Act::Leave);
                }
            }
        }
    }
    script
}

fn present_at_start(log: &Log) -> BTreeSet<String> {
    let (mut heard_of, mut present) = (BTreeSet::new(), BTreeSet::new());
    for entry in &log.entries {
        let (there, comes) = match entry {
            Entry::Said { nick, text, .. } if !text.is_empty() => (Some(nick), None),
            Entry::Left(nick) => (Some(nick), None),
            Entry::Joined(nick) => (None, Some(nick)),
            Entry::Renamed { old, new } => (Some(old), Some(new)),
            Entry::Said { .. } | Entry::Notice | Entry::Unreadable => (None, None),
        };
        if let Some(nick) = there
            && heard_of.insert(nick)
        {
            present.insert(nick.clone());
        }
        heard_of.extend(comes);
    }
    present
}

/// Reads annotations: lines `A B -`, line B answers line A. Kept are those
/// that point back to a line that says something from one that does; of
/// several, the closest.
#[must_use]
pub fn parse_annotations(text: &str, log: &Log) -> BTreeMap<usize, usize> {
    let says = |line: usize| matches!(log.entries.get(line), Some(Entry::Said { text, .. }) if !text.is_empty());
    let mut replies: BTreeMap<usize, usize> = BTreeMap::new();
    for annotation in text.lines() {
        let mut words = annotation.split_ascii_whitespace().map(str::parse::<usize>);
        let (Some(Ok(earlier)), Some(Ok(later))) = (words.next(), words.next()) else {
            continue;
        };
        if earlier < later && says(earlier) && says(later) {
            let closest = replies.entry(later).or_insert(earlier);
            *closest = earlier.max(*closest);
        }
    }
    replies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::parse;

    const LOG: &str = "\
[10:00] <ann> hi
=== bob [~b@h]  has joined #ubuntu
[10:01] <bob> hello
=== mode/#ubuntu [+o bob] by ChanServ
=== bob [~b@h]  has joined #ubuntu
=== bob is now known as rob
[10:02]  * rob waves
[10:02] <ann>
=== cid [~c@h]  has left #ubuntu []
=== rob [~b@h]  has left #ubuntu []
[10:03] <rob> back
";

    fn nicks(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn acts(script: &Script) -> Vec<String> {
        let told = |step: &Step| match &step.act {
            Act::Enter => format!("{} {} enters", step.line, step.nick),
            Act::Leave => format!("{} {} leaves", step.line, step.nick),
            Act::Say {
                text,
                kind,
                reply_to,
                ..
            } => {
                let reply = reply_to
                    .map(|line| format!(" -> {line}"))
                    .unwrap_or_default();
                format!("{} {} {kind:?} {text}{reply}", step.line, step.nick)
            }
        };
        script.steps.iter().map(told).collect()
    }

    #[test]
    fn joins_leaves_and_renames_become_membership() {
        let script = script(&parse(LOG.as_bytes()), &BTreeMap::from([(2, 0)]));
        assert_eq!(script.present, nicks(&["ann", "cid"]));
        let expected = [
            "0 ann Message hi",
            "1 bob enters",
            "2 bob Message hello -> 0",
            "5 rob enters",
            "5 bob leaves",
            "6 rob Action waves",
            "8 cid leaves",
            "9 rob leaves",
            "10 rob enters",
            "10 rob Message back",
        ];
        assert_eq!(acts(&script), expected);
        let counts = Counts {
            lines: 11,
            messages: 3,
            actions: 1,
            joins: 2,
            leaves: 2,
            renames: 1,
            skipped_notices: 1,
            skipped_empty: 1,
            skipped_unreadable: 0,
            invalid_utf8: 0,
        };
        assert_eq!(script.counts, counts);
    }

    #[test]
    fn annotations_point_back_to_the_closest_message() {
        let log = parse(LOG.as_bytes());
        // To itself, from a notice, to an empty line, forward, past the end.
        let text = "0 0 - \n0 3 - \n7 10 - \n6 2 - \n2 99 - \nno line\n0 6 - \n2 6 -\n0 2 -";
        assert_eq!(
            parse_annotations(text, &log),
            BTreeMap::from([(2, 0), (6, 2)])
        );
    }
}
