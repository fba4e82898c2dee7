use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

/// What the log says happened, by the reader's rule, told again here from
/// `tidings tail`'s output so that the code under test does not check itself.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The accepted decisions of each conversation, in log order.
    pub(crate) conversations: BTreeMap<String, Vec<Value>>,
    /// Decisions that do not count.
    pub(crate) void: usize,
    /// Claims that made their writer the owner.
    pub(crate) claims: usize,
}

impl History {
    /// Reads a log and checks what must hold in every log.
    pub(crate) fn read(records: &[Value]) -> Self {
        let mut history = Self::default();
        let mut owners: HashMap<i64, (u64, String)> = HashMap::new();
        let mut decided = HashSet::new();
        for record in records {
            let partition = record["partition"].as_i64().expect("partition");
            let headers = &record["headers"];
            let epoch = text(&headers["ce_epoch"])
                .parse()
                .expect("ce_epoch is a number");
            let by = (epoch, text(&headers["ce_owner"]).to_owned());
            let value = &record["value"];
            if value.is_null() {
                if owners
                    .get(&partition)
                    .is_none_or(|(current, _)| epoch > *current)
                {
                    owners.insert(partition, by);
                    history.claims += 1;
                }
                continue;
            }
            if owners.get(&partition) != Some(&by) {
                history.void += 1;
                continue;
            }
            history.take(value, headers, &mut decided);
        }
        history
    }

    fn take(
        &mut self,
        value: &Value,
        headers: &Value,
        decided: &mut HashSet<(String, String, String)>,
    ) {
        let outcome = text(&value["outcome"]);
        let conversation_id = text(&value["conversation_id"]).to_owned();
        let command = (
            conversation_id.clone(),
            text(&value["sender"]).to_owned(),
            text(&value["temp_id"]).to_owned(),
        );
        match outcome {
            "duplicate" => assert!(
                decided.contains(&command),
                "a duplicate of nothing: {value}"
            ),
            "accepted" | "rejected" => {
                assert!(decided.insert(command), "decided twice: {value}\n{headers}");
            }
            other => panic!("an outcome {other:?}: {value}"),
        }
        // What is the sender's own has no seq.
        if outcome != "accepted" || value["seq"].is_null() {
            return;
        }
        let events = self.conversations.entry(conversation_id).or_default();
        let seq = events.len() as u64 + 1;
        assert_eq!(
            value["seq"].as_u64(),
            Some(seq),
            "a gap or a repeat: {value}"
        );
        events.push(value.clone());
        let messages = events.iter().filter(|event| is_message(event)).count() as u64;
        if is_message(value) {
            assert_eq!(value["no"].as_u64(), Some(messages), "a gap in no: {value}");
        }
    }

    /// All messages there are.
    pub(crate) fn messages(&self) -> u64 {
        self.conversations
            .values()
            .flatten()
            .filter(|event| is_message(event))
            .count() as u64
    }
}

fn is_message(value: &Value) -> bool {
    value["event"]["kind"] == "message.sent"
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}
