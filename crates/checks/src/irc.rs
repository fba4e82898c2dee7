//! IRC logs, as `tidings import irc` reads them.

use std::collections::BTreeSet;

use tidings_domain::UserId;
use tidings_irc::{Act, Entry, Kind, Log, Script, parse, parse_annotations, script, user_id};

/// A log, and behind a byte 0 its annotations. Each line becomes one entry;
/// the script names nobody who is not there, and its counts are those of the
/// lines; what was said is read the same when it is written anew.
///
/// # Panics
/// Where that does not hold.
pub fn check(data: &[u8]) {
    let (log, annotations) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let lines = match log.strip_suffix(b"\n").unwrap_or(log) {
        [] => 0,
        log => log.split(|byte| *byte == b'\n').count(),
    };
    let log = parse(log);
    assert_eq!(log.entries.len(), lines);
    assert!(log.invalid_utf8 <= lines);
    written_anew(&log);

    let replies = parse_annotations(&String::from_utf8_lossy(annotations), &log);
    let says = |line: &usize| {
        let entry = log.entries.get(*line);
        matches!(entry, Some(Entry::Said { text, .. }) if !text.is_empty())
    };
    for (later, earlier) in &replies {
        assert!(earlier < later && says(earlier) && says(later));
    }
    let script = script(&log, &replies);
    is_in_step(&script, lines);
    script.present.iter().for_each(|nick| names_a_user(nick));
}

/// Whoever speaks is there, nobody comes or goes twice, and lines keep their
/// order.
fn is_in_step(script: &Script, lines: usize) {
    let mut there: BTreeSet<&str> = script.present.iter().map(String::as_str).collect();
    let (mut said, mut at) = (0, 0);
    for step in &script.steps {
        let nick = step.nick.as_str();
        names_a_user(nick);
        assert!(at <= step.line && step.line < lines);
        at = step.line;
        match &step.act {
            Act::Enter => assert!(there.insert(nick), "{nick:?} comes twice"),
            Act::Leave => assert!(there.remove(nick), "{nick:?} goes twice"),
            Act::Say { text, reply_to, .. } => {
                assert!(there.contains(nick), "{nick:?} is not there");
                assert!(!text.is_empty() && !text.contains('\n'));
                assert!(reply_to.is_none_or(|earlier| earlier < step.line));
                said += 1;
            }
        }
    }
    let counts = &script.counts;
    assert_eq!(said, counts.messages + counts.actions);
    let all = [
        counts.messages,
        counts.actions,
        counts.joins,
        counts.leaves,
        counts.renames,
        counts.skipped_notices,
        counts.skipped_empty,
        counts.skipped_unreadable,
    ];
    assert_eq!(all.iter().sum::<usize>(), counts.lines);
    assert_eq!(counts.lines, lines);
}

/// What is said plainly, in the format of the logs.
fn written_anew(log: &Log) {
    let plain: Vec<&Entry> = log
        .entries
        .iter()
        .filter(|entry| {
            matches!(
                entry,
                Entry::Said {
                    kind: Kind::Message,
                    ..
                }
            )
        })
        .collect();
    let mut text = String::new();
    for entry in &plain {
        let Entry::Said {
            nick,
            text: said,
            time,
            ..
        } = entry
        else {
            unreachable!("only what is said")
        };
        let time = time.as_deref().expect("what is said plainly has a time");
        // A line's end may have a carriage return, which would be taken off.
        text.push_str(&format!("[{time}] <{nick}> {said}\r\n"));
    }
    assert!(parse(text.as_bytes()).entries.iter().eq(plain));
}

fn names_a_user(nick: &str) {
    let user = user_id(nick);
    assert_eq!(UserId::parse(user.as_str()).as_ref(), Ok(&user));
    assert_eq!(user_id(user.as_str()), user, "an id stays as it is");
}
