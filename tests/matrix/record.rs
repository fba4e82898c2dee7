use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// What stands at a seq, as somebody saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    /// Empty where it is no message.
    pub(crate) message_id: String,
    pub(crate) text: String,
}

/// A message that somebody sent, and what they were told about it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) conversation: String,
    pub(crate) text: String,
    /// The connection that it went over first, where that was the only time.
    pub(crate) only_on: Option<u64>,
    /// Told with `pending` or later.
    pub(crate) message_id: Option<String>,
    /// Told with `delivered`.
    pub(crate) seq: Option<u64>,
}

/// What one user sent, was told and saw: everything, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) who: String,
    /// Whether this user sees everything in their conversations.
    pub(crate) watches: bool,
    pub(crate) conversations: Vec<String>,
    pub(crate) sent: BTreeMap<String, Sent>,
    pub(crate) seen: HashMap<String, BTreeMap<u64, Seen>>,
    contiguous: HashMap<String, u64>,
    pub(crate) reconnects: u64,
    pub(crate) resent: u64,
    /// What must not be.
    pub(crate) found: Vec<String>,
}

impl Record {
    /// Somebody's, who is a member of these conversations.
    pub(crate) fn of(who: &str, watches: bool, conversations: &[String]) -> Self {
        Self {
            who: who.to_owned(),
            watches,
            conversations: conversations.to_vec(),
            ..Self::default()
        }
    }

    /// Up to which seq all of a conversation was seen.
    pub(crate) fn contiguous(&self, conversation: &str) -> u64 {
        self.contiguous.get(conversation).copied().unwrap_or(0)
    }

    /// Notes an event, live or by `sync`.
    pub(crate) fn see(&mut self, conversation: &str, seq: u64, seen: Seen) {
        let all = self.seen.entry(conversation.to_owned()).or_default();
        match all.get(&seq) {
            Some(before) if *before != seen => {
                let fault = format!("{conversation} {seq}: saw {before:?}, and later {seen:?}");
                self.found(&fault);
                return;
            }
            Some(_) => {}
            None => drop(all.insert(seq, seen)),
        }
        let contiguous = self.contiguous.entry(conversation.to_owned()).or_default();
        while all.contains_key(&(*contiguous + 1)) {
            *contiguous += 1;
        }
    }

    /// Notes an event in the protocol's form.
    pub(crate) fn see_event(&mut self, conversation: &str, event: &Value) {
        let Some(seq) = event["seq"].as_u64() else {
            self.found(&format!("{conversation}: an event without a seq: {event}"));
            return;
        };
        let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let seen = Seen {
            message_id: text_of(&event["event"]["message_id"]),
            text: text_of(&event["event"]["content"]["text"]),
        };
        self.see(conversation, seq, seen);
    }

    /// Notes what was told of a command: its message's id, and where it is
    /// decided its seq. Whether it was undecided until now.
    pub(crate) fn told(&mut self, temp_id: &str, answer: &Value) -> bool {
        let Some(sent) = self.sent.get_mut(temp_id) else {
            self.found(&format!("an answer to what was never sent: {answer}"));
            return false;
        };
        let message_id = answer["message_id"].as_str().map(str::to_owned);
        let (before, seq) = (sent.message_id.clone(), answer["seq"].as_u64());
        let (conversation, text) = (sent.conversation.clone(), sent.text.clone());
        let (first, decided) = (sent.seq.is_none() && seq.is_some(), sent.seq);
        if sent.message_id.is_none() {
            sent.message_id.clone_from(&message_id);
        }
        sent.seq = sent.seq.or(seq);
        if before.is_some() && message_id.is_some() && before != message_id {
            self.found(&format!("{temp_id} was {before:?}, and is now: {answer}"));
        }
        if decided.is_some() && seq.is_some() && decided != seq {
            self.found(&format!("{temp_id} had seq {decided:?}, and now: {answer}"));
        }
        if let (Some(seq), Some(message_id), true) = (seq, message_id, self.watches) {
            self.see(&conversation, seq, Seen { message_id, text });
        }
        first
    }

    /// Those without a final answer.
    pub(crate) fn undecided(&self) -> impl Iterator<Item = (&String, &Sent)> {
        self.sent.iter().filter(|(_, sent)| sent.seq.is_none())
    }

    /// Notes what must not be.
    pub(crate) fn found(&mut self, fault: &str) {
        self.found.push(format!("{}: {fault}", self.who));
    }
}

/// Compares what all of them sent, were told and saw, at the end. What must
/// not be.
pub(crate) fn judge(records: &[&Record], conversations: &[String]) -> Vec<String> {
    let mut found: Vec<_> = records.iter().flat_map(|one| one.found.clone()).collect();
    for conversation in conversations {
        let members = || {
            let watching = records.iter().filter(|one| one.watches);
            watching.filter(|one| one.conversations.contains(conversation))
        };
        let nothing = BTreeMap::new();
        let seen_by = |one: &Record| one.seen.get(conversation).unwrap_or(&nothing).clone();
        let Some(reference) = members().map(|one| seen_by(one)).max_by_key(BTreeMap::len) else {
            continue;
        };
        for member in members() {
            let seen = seen_by(member);
            let who = &member.who;
            if seen.len() as u64 != member.contiguous(conversation) {
                found.push(format!("{who}: {conversation} has a gap"));
            }
            for (seq, expected) in &reference {
                match seen.get(seq) {
                    Some(seen) if seen == expected => {}
                    other => found.push(format!(
                        "{who}: {conversation} {seq} is {other:?}, to others {expected:?}"
                    )),
                }
            }
        }
        found.extend(judge_messages(records, conversation, &reference));
    }
    found
}

/// Every message that was delivered is there once, and no other.
fn judge_messages(
    records: &[&Record],
    conversation: &str,
    reference: &BTreeMap<u64, Seen>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut places: HashMap<&str, Vec<u64>> = HashMap::new();
    for (seq, seen) in reference {
        if !seen.message_id.is_empty() {
            places.entry(&seen.message_id).or_default().push(*seq);
        }
    }
    for record in records {
        let mut last_on: HashMap<u64, (u64, &str)> = HashMap::new();
        for (temp_id, sent) in &record.sent {
            if sent.conversation != conversation {
                continue;
            }
            let what = format!("{} {temp_id} in {conversation}", record.who);
            let Some(seq) = sent.seq else {
                let so_far = match sent.message_id {
                    Some(_) => "pending, and nothing more",
                    None => "no answer",
                };
                found.push(format!("{what}: {so_far}"));
                continue;
            };
            let message_id = sent.message_id.as_deref().unwrap_or_default();
            match places.remove(message_id).as_deref() {
                Some([place]) if *place == seq => {}
                other => found.push(format!("{what}: delivered at {seq}, seen at {other:?}")),
            }
            if reference
                .get(&seq)
                .is_some_and(|seen| seen.text != sent.text)
            {
                found.push(format!("{what}: has another text"));
            }
            // Sent once, over one connection: then the order is the sender's.
            if let Some(connection) = sent.only_on
                && let Some((before, earlier)) = last_on.insert(connection, (seq, temp_id))
                && before > seq
            {
                found.push(format!("{what}: before {earlier}, which was sent earlier"));
            }
        }
    }
    for (message_id, seqs) in places {
        found.push(format!(
            "{conversation}: {message_id} at {seqs:?}, of which nobody was told it is delivered"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONVERSATION: &str = "c";

    /// Two members, and one message of the first that both have.
    fn pair() -> [Record; 2] {
        let conversations = [CONVERSATION.to_owned()];
        let mut pair = ["a", "b"].map(|who| Record::of(who, true, &conversations));
        let sent = Sent {
            conversation: CONVERSATION.to_owned(),
            text: "hello".to_owned(),
            only_on: Some(1),
            message_id: None,
            seq: None,
        };
        pair[0].sent.insert("m1".to_owned(), sent);
        pair[0].told("m1", &json!({"message_id": "i"}));
        assert!(pair[0].told("m1", &json!({"message_id": "i", "seq": 1})));
        pair[1].see_event(CONVERSATION, &event(1, "i", "hello"));
        pair
    }

    fn event(seq: u64, message_id: &str, text: &str) -> Value {
        json!({"seq": seq, "event": {"kind": "message.sent", "message_id": message_id,
            "content": {"text": text}}})
    }

    fn found(pair: &[Record; 2]) -> Vec<String> {
        judge(&[&pair[0], &pair[1]], &[CONVERSATION.to_owned()])
    }

    #[test]
    fn what_all_agree_on_is_right() {
        assert_eq!(found(&pair()), Vec::<String>::new());
    }

    /// Each breaks one promise, and is found.
    #[test]
    fn a_broken_promise_is_found() {
        type Break = fn(&mut [Record; 2]);
        let breaks: [(&str, Break); 7] = [
            ("lost after delivered", |pair| {
                pair.iter_mut().for_each(|one| one.seen.clear());
            }),
            ("missed by one member", |pair| pair[1].seen.clear()),
            ("doubled", |pair| {
                for one in pair {
                    one.see_event(CONVERSATION, &event(2, "i", "hello"));
                }
            }),
            ("a gap", |pair| {
                for one in pair {
                    one.see_event(CONVERSATION, &event(3, "j", "hi"));
                }
            }),
            ("another text later", |pair| {
                pair[1].see_event(CONVERSATION, &event(1, "i", "bye"));
            }),
            ("another seq later", |pair| {
                pair[0].told("m1", &json!({"message_id": "i", "seq": 2}));
            }),
            ("never decided", |pair| {
                if let Some(sent) = pair[0].sent.get_mut("m1") {
                    sent.seq = None;
                }
            }),
        ];
        for (what, break_it) in breaks {
            let mut pair = pair();
            break_it(&mut pair);
            assert!(!found(&pair).is_empty(), "{what}");
        }
    }
}
