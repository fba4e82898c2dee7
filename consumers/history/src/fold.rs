use std::collections::BTreeSet;

use tidings_domain::{Change, ConversationId, Decision, Event, Outcome, Rows, UserId};

use crate::step::{Effect, Step};

/// The rows that must be loaded before steps can be folded.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) conversations: Vec<ConversationId>,
    pub(crate) members: Vec<(ConversationId, UserId)>,
}

/// What the steps change, and which of them cannot be applied.
#[derive(Debug)]
pub(crate) struct Folded {
    /// The rows to write.
    pub(crate) rows: Rows,
    /// Steps for the dead letters, by their index, with the reason.
    pub(crate) refused: Vec<Refused>,
}

/// A step that cannot be applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its index among the steps.
    pub(crate) step: usize,
    /// Why. Holds no message text.
    pub(crate) cause: String,
}

/// The rows that these steps change.
pub(crate) fn wanted(steps: &[Step]) -> Wanted {
    let (mut conversations, mut members) = (BTreeSet::new(), BTreeSet::new());
    for decision in steps.iter().filter_map(Step::decision) {
        if decision.seq().is_some() {
            conversations.insert(decision.conversation_id);
        }
        let users = Rows::wanted(decision).into_iter();
        members.extend(users.map(|user| (decision.conversation_id, user)));
    }
    Wanted {
        conversations: conversations.into_iter().collect(),
        members: members.into_iter().collect(),
    }
}

/// Folds the steps, in order, into the rows that were loaded for them.
pub(crate) fn fold(steps: &[Step], loaded: Rows) -> Folded {
    let mut folded = Folded {
        rows: loaded,
        refused: Vec::new(),
    };
    for (index, step) in steps.iter().enumerate() {
        let result = match &step.effect {
            Effect::Nothing => Ok(()),
            Effect::Broken(cause) => Err(cause.clone()),
            Effect::Decision(decision) => {
                let checked = check(&folded.rows, decision);
                if checked.is_ok() {
                    folded.rows.apply(decision);
                }
                checked
            }
        };
        if let Err(cause) = result {
            folded.refused.push(Refused { step: index, cause });
        }
    }
    folded
}

/// Whether an event follows on what the view has, or is in it already. One
/// that does neither would leave a gap for good.
fn check(rows: &Rows, decision: &Decision) -> Result<(), String> {
    let Outcome::Accepted { seq, event } = &decision.outcome else {
        return Ok(());
    };
    let seq = *seq;
    let Some(row) = rows.conversations.get(&decision.conversation_id) else {
        let is_create = matches!(event, Event::ConversationUpdated(Change::Create { .. }));
        return match (is_create, seq) {
            (true, 1) => Ok(()),
            (true, _) => Err(format!("a conversation is made by event {seq}, not 1")),
            (false, _) => Err(format!("event {seq} of a conversation that does not exist")),
        };
    };
    if row.tenant != decision.tenant {
        return Err("an event of one tenant in a conversation of another".to_owned());
    }
    if seq <= row.last_seq {
        return Ok(());
    }
    if seq != row.last_seq + 1 {
        return Err(format!("event {seq} comes after event {}", row.last_seq));
    }
    match event.no() {
        Some(no) if no != row.last_no + 1 => Err(format!(
            "message number {no} comes after number {}",
            row.last_no
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tidings_domain::{
        Change, Code, Content, ConversationId, Decision, Event, Kind, Member, MessageId, Outcome,
        Role, Rows, TempId, Tenant, Timestamp, UserId,
    };
    use tidings_wire::{Headers, Record, Stored, Topic};
    use uuid::Uuid;

    use super::{Effect, Step, fold, wanted};

    fn decision(seq: u64, event: Event) -> Decision {
        Decision {
            tenant: Tenant::parse("acme").expect("a valid tenant"),
            conversation_id: ConversationId(Uuid::from_u128(1)),
            sender: UserId::parse("alice").expect("a valid user"),
            temp_id: TempId::parse(&format!("t{seq}")).expect("a valid temp_id"),
            message_id: None,
            at: Timestamp(seq.cast_signed()),
            outcome: Outcome::Accepted { seq, event },
        }
    }

    fn create(seq: u64) -> Decision {
        let owner = Member {
            user_id: UserId::parse("alice").expect("a valid user"),
            role: Role::Owner,
        };
        let change = Change::Create {
            kind: Kind::Group,
            title: None,
            members: vec![owner],
        };
        decision(seq, Event::ConversationUpdated(change))
    }

    fn message(seq: u64, no: u64) -> Decision {
        decision(
            seq,
            Event::MessageSent {
                message_id: MessageId(Uuid::from_u128(seq.into())),
                no,
                content: Content::text("hello"),
                reply_to: None,
                thread: None,
                forwarded_from: None,
            },
        )
    }

    fn steps(effects: Vec<Effect>) -> Vec<Step> {
        effects
            .into_iter()
            .zip(0..)
            .map(|(effect, offset)| Step {
                stored: Stored {
                    topic: Topic::MessageDelivered,
                    partition: 0,
                    offset,
                    record: Record {
                        key: None,
                        value: None,
                        headers: Headers::default(),
                        timestamp: Timestamp(0),
                    },
                },
                current: None,
                effect,
            })
            .collect()
    }

    /// Folds decisions into an empty view; returns the causes of refusal.
    fn causes(decisions: Vec<Decision>) -> Vec<(usize, String)> {
        let steps = steps(decisions.into_iter().map(Effect::Decision).collect());
        let refused = fold(&steps, Rows::default()).refused;
        refused
            .into_iter()
            .map(|refused| (refused.step, refused.cause))
            .collect()
    }

    #[test]
    fn what_follows_or_repeats_is_folded() {
        assert_eq!(
            causes(vec![
                create(1),
                message(2, 1),
                create(1),
                message(2, 1),
                message(3, 2)
            ]),
            []
        );
    }

    #[test]
    fn what_would_leave_a_gap_is_refused() {
        let table = [
            (
                vec![message(2, 1)],
                "event 2 of a conversation that does not exist",
            ),
            (vec![create(2)], "a conversation is made by event 2, not 1"),
            (
                vec![create(1), message(3, 1)],
                "event 3 comes after event 1",
            ),
            (
                vec![create(1), message(2, 2)],
                "message number 2 comes after number 0",
            ),
        ];
        for (decisions, cause) in table {
            let last = decisions.len() - 1;
            assert_eq!(causes(decisions), [(last, cause.to_owned())]);
        }
        let mut foreign = message(2, 1);
        foreign.tenant = Tenant::parse("other").expect("a valid tenant");
        assert_eq!(causes(vec![create(1), foreign]).len(), 1);
    }

    #[test]
    fn what_makes_no_event_needs_no_conversation() {
        let mut rejected = message(2, 1);
        rejected.outcome = Outcome::Rejected(Code::NotFound);
        let steps = steps(vec![
            Effect::Nothing,
            Effect::Decision(rejected),
            Effect::Broken("bad magic byte".to_owned()),
        ]);
        let wanted = wanted(&steps);
        assert!(wanted.conversations.is_empty() && wanted.members.is_empty());
        let folded = fold(&steps, Rows::default());
        assert_eq!(folded.rows.outcomes.len(), 1);
        let refused: Vec<_> = folded.refused.iter().map(|refused| refused.step).collect();
        assert_eq!(refused, [2]);
    }
}
