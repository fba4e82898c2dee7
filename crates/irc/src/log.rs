//! Reads a raw IRC log: bytes in, one [`Entry`] a line out. Pure.
//!
//! The format is that of the logs of "A Large-Scale Corpus for Conversation
//! Disentanglement" (Kummerfeld et al., ACL 2019), described in the README of
//! `tidings`.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// A log, line by line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// One for each line of the file, in order.
    pub entries: Vec<Entry>,
    /// How many lines held bytes that are no UTF-8, each replaced by U+FFFD.
    pub invalid_utf8: usize,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Somebody says or does something. The text may be empty.
    Said {
        /// Who.
        nick: String,
        /// What.
        text: String,
        /// How.
        kind: Kind,
        /// When, as `HH:MM`.
        time: Option<String>,
    },
    /// Somebody comes.
    Joined(String),
    /// Somebody goes.
    Left(String),
    /// Somebody goes on under another nick.
    Renamed {
        /// Which they had.
        old: String,
        /// Which they have now.
        new: String,
    },
    /// A server's notice.
    Notice,
    /// A line with a time and neither a nick nor an action.
    Unreadable,
}

/// How something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plainly.
    Message,
    /// As an action: `/me`.
    Action,
}

/// Reads a log.
#[must_use]
pub fn parse(bytes: &[u8]) -> Log {
    let mut log = Log::default();
    let mut lines: Vec<Cow<'_, str>> = Vec::new();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() {
        return log;
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        // Text that is valid is borrowed, text that had to be mended is not.
        log.invalid_utf8 += usize::from(matches!(text, Cow::Owned(_)));
        lines.push(text);
    }

    // Whether a line without a time is an action depends on the nicks of the
    // whole log: who acts first may speak only later.
    let mut nicks = Nicks::default();
    let plain: Vec<Option<Entry>> = lines.iter().map(|line| parse_plain(line)).collect();
    plain.iter().flatten().for_each(|entry| nicks.learn(entry));
    log.entries = plain
        .into_iter()
        .zip(&lines)
        .map(|(entry, line)| entry.unwrap_or_else(|| nicks.parse_action(line)))
        .collect();
    log
}

/// Reads a line that can be understood by itself; none: perhaps an action.
fn parse_plain(line: &str) -> Option<Entry> {
    if let Some((time, rest)) = split_time(line) {
        let Some(rest) = rest.strip_prefix(" <") else {
            return if rest.starts_with("  * ") {
                None
            } else {
                Some(Entry::Unreadable)
            };
        };
        let Some((nick, text)) = rest.split_once('>') else {
            return Some(Entry::Unreadable);
        };
        return Some(Entry::Said {
            nick: nick.to_owned(),
            text: text.strip_prefix(' ').unwrap_or(text).to_owned(),
            kind: Kind::Message,
            time: Some(time.to_owned()),
        });
    }
    let notice = line.strip_prefix("=== ").unwrap_or(line);
    if let Some(nick) = nick_before_host(notice, "has joined #") {
        return Some(Entry::Joined(nick.to_owned()));
    }
    if let Some(nick) =
        nick_before_host(notice, "has left #").or_else(|| nick_before_host(notice, "has quit"))
    {
        return Some(Entry::Left(nick.to_owned()));
    }
    match notice.split_once(" is now known as ") {
        Some((old, new)) if is_nick(old) && is_nick(new) => Some(Entry::Renamed {
            old: old.to_owned(),
            new: new.to_owned(),
        }),
        _ => None,
    }
}

/// `[HH:MM]` and what follows.
fn split_time(line: &str) -> Option<(&str, &str)> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    let (hours, minutes) = time.split_once(':')?;
    (digits(hours) && digits(minutes)).then_some((time, rest))
}

/// The nick of `nick [host]  has joined #channel`.
fn nick_before_host<'a>(notice: &'a str, what: &str) -> Option<&'a str> {
    let (before, _) = notice.split_once(what)?;
    let (nick, _host) = before.trim_end().strip_suffix(']')?.rsplit_once(" [")?;
    is_nick(nick).then_some(nick)
}

/// Nicks hold no spaces, but the corpus has one after many a `]` of a nick.
fn is_nick(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(' ') && text.replace("] ", "").find(' ').is_none()
}

/// The nicks of a log.
#[derive(Default)]
struct Nicks {
    all: BTreeSet<String>,
    /// Those that hold a space, which a line's first word cannot be.
    spaced: Vec<String>,
}

impl Nicks {
    fn learn(&mut self, entry: &Entry) {
        match entry {
            Entry::Said { nick, .. } | Entry::Joined(nick) | Entry::Left(nick) => self.add(nick),
            Entry::Renamed { old, new } => {
                self.add(old);
                self.add(new);
            }
            Entry::Notice | Entry::Unreadable => {}
        }
    }

    fn add(&mut self, nick: &str) {
        if self.all.insert(nick.to_owned()) && nick.contains(' ') {
            self.spaced.push(nick.to_owned());
        }
    }

    /// Reads `[HH:MM]  * nick text`, and `=== nick text` where the first word
    /// is a nick of the log's.
    fn parse_action(&self, line: &str) -> Entry {
        let Some((time, rest)) = split_time(line) else {
            let rest = line.strip_prefix("=== ").unwrap_or(line);
            let (nick, text) = rest.split_once(' ').unwrap_or((rest, ""));
            return if self.all.contains(nick) {
                action(nick, text, None)
            } else {
                Entry::Notice
            };
        };
        let rest = rest.strip_prefix("  * ").unwrap_or(rest);
        let spaced = self.spaced.iter().filter_map(|nick| {
            let text = rest.strip_prefix(nick.as_str())?;
            Some((nick.as_str(), text.strip_prefix(' ')?))
        });
        let (nick, text) = spaced
            .max_by_key(|(nick, _)| nick.len())
            .or_else(|| rest.split_once(' '))
            .unwrap_or((rest, ""));
        if nick.is_empty() {
            Entry::Unreadable
        } else {
            action(nick, text, Some(time))
        }
    }
}

fn action(nick: &str, text: &str, time: Option<&str>) -> Entry {
    Entry::Said {
        nick: nick.to_owned(),
        text: text.to_owned(),
        kind: Kind::Action,
        time: time.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(nick: &str, text: &str, kind: Kind, time: Option<&str>) -> Entry {
        let (nick, text) = (nick.to_owned(), text.to_owned());
        Entry::Said {
            nick,
            text,
            kind,
            time: time.map(str::to_owned),
        }
    }

    /// Lines of the corpus, after one in which `DAC1138` speaks.
    #[test]
    fn each_kind_of_line() {
        let message = |nick, text, time| said(nick, text, Kind::Message, Some(time));
        let cases = [
            (
                "[12:18] <|trey|> usual  :)",
                message("|trey|", "usual  :)", "12:18"),
            ),
            ("[12:15] <opteron>", message("opteron", "", "12:15")),
            ("[09:05] <a>  b > c ", message("a", " b > c ", "09:05")),
            (
                "[12:20] <brad[] > Hi, having",
                message("brad[] ", "Hi, having", "12:20"),
            ),
            (
                "[08:01] <oO[NOVA] Oo> rikva: ok",
                message("oO[NOVA] Oo", "rikva: ok", "08:01"),
            ),
            (
                "[07:16] <k> * T has quit (\"x\")",
                message("k", "* T has quit (\"x\")", "07:16"),
            ),
            (
                "[10:00]  * bob waves",
                said("bob", "waves", Kind::Action, Some("10:00")),
            ),
            (
                "[10:00]  * bob",
                said("bob", "", Kind::Action, Some("10:00")),
            ),
            (
                "=== DAC1138 grins",
                said("DAC1138", "grins", Kind::Action, None),
            ),
            (
                "DAC1138 grins",
                said("DAC1138", "grins", Kind::Action, None),
            ),
            ("=== DAC1138 says who is now known as x y", {
                said(
                    "DAC1138",
                    "says who is now known as x y",
                    Kind::Action,
                    None,
                )
            }),
            ("=== nobody grins", Entry::Notice),
            ("=== mode/#ubuntu [+o bob] by ChanServ", Entry::Notice),
            ("", Entry::Notice),
            (
                "=== tuxx [~tuxx@0x50a5a424.dk]  has joined #ubuntu",
                Entry::Joined("tuxx".into()),
            ),
            (
                "=== Striss [~S@blk]  has joined #Ubuntu",
                Entry::Joined("Striss".into()),
            ),
            (
                "=== topyli [~juha@host.fi]  has left #ubuntu []",
                Entry::Left("topyli".into()),
            ),
            (
                "=== a[b] [n=x@y]  has left #UBUNTU [\"Buy.]",
                Entry::Left("a[b]".into()),
            ),
            (
                "=== bob [~bob@host]  has quit [timeout]",
                Entry::Left("bob".into()),
            ),
            ("=== Sekreta1 is now known as Sekreta", {
                Entry::Renamed {
                    old: "Sekreta1".into(),
                    new: "Sekreta".into(),
                }
            }),
            ("=== [bM] Neg is now known as neg", {
                Entry::Renamed {
                    old: "[bM] Neg".into(),
                    new: "neg".into(),
                }
            }),
            ("=== server_ is now known as Bart] ", {
                Entry::Renamed {
                    old: "server_".into(),
                    new: "Bart] ".into(),
                }
            }),
            ("[10:00] hello", Entry::Unreadable),
            ("[10:00] <unclosed", Entry::Unreadable),
        ];
        for (line, expected) in cases {
            let log = parse(format!("[00:00] <DAC1138> hi\n{line}\n").as_bytes());
            assert_eq!(log.entries[1], expected, "{line:?}");
        }
    }

    #[test]
    fn an_action_may_stand_before_the_first_word() {
        let log = parse(b"=== bob waves\n[10:00] <bob> hi");
        assert_eq!(log.entries[0], said("bob", "waves", Kind::Action, None));
    }

    #[test]
    fn a_nick_with_a_space_acts() {
        let log = parse(b"[10:00] <Asl[a] n> hi\n[10:01]  * Asl[a] n waves\n=== Asl[a] n bows");
        assert_eq!(
            log.entries[1],
            said("Asl[a] n", "waves", Kind::Action, Some("10:01"))
        );
        // Without a time, only a first word that is a nick tells an action
        // from a server's notice.
        assert_eq!(log.entries[2], Entry::Notice);
    }

    #[test]
    fn invalid_utf8_is_replaced_and_counted() {
        let log = parse(b"[10:00] <a> gr\xfcn\r\n[10:00] <a> gr\xc3\xbcn\r\n");
        assert_eq!(log.invalid_utf8, 1);
        assert_eq!(
            log.entries[0],
            said("a", "gr\u{fffd}n", Kind::Message, Some("10:00"))
        );
        assert_eq!(
            log.entries[1],
            said("a", "gr\u{fc}n", Kind::Message, Some("10:00"))
        );
    }

    #[test]
    fn an_empty_file_has_no_line() {
        assert_eq!(parse(b"").entries.len(), 0);
        assert_eq!(parse(b"\n").entries.len(), 0);
        assert_eq!(parse(b"\n\n").entries.len(), 2);
    }
}
