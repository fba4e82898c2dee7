use tidings_domain::{Change, Decision, Event, Outcome, Rows};
use tidings_projection::{Entry, Refused};

/// What decisions change, and which of them cannot be applied.
#[derive(Debug)]
pub struct Folded {
    /// The rows to write.
    pub rows: Rows,
    /// Those for the dead letters.
    pub refused: Vec<Refused>,
}

/// Folds decisions, in order, into the rows that were loaded for them.
#[must_use]
pub fn fold(batch: &[Entry<'_>], loaded: Rows) -> Folded {
    let mut folded = Folded {
        rows: loaded,
        refused: Vec::new(),
    };
    for (index, Entry { offset, decision }) in batch.iter().enumerate() {
        match check(&folded.rows, decision) {
            Ok(()) => folded.rows.apply(decision, *offset),
            Err(cause) => folded.refused.push(Refused { index, cause }),
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
        Role, Rows, TempId, Tenant, Timestamp, UserId, Wanted,
    };
    use uuid::Uuid;

    use super::{Entry, fold};

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

    fn batch(decisions: &[Decision]) -> Vec<Entry<'_>> {
        let entry = |(decision, offset)| Entry { offset, decision };
        decisions.iter().zip(0..).map(entry).collect()
    }

    /// Folds decisions into an empty view; returns the causes of refusal.
    fn causes(decisions: Vec<Decision>) -> Vec<(usize, String)> {
        let refused = fold(&batch(&decisions), Rows::default()).refused;
        refused
            .into_iter()
            .map(|refused| (refused.index, refused.cause))
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
        let decisions = [rejected];
        let batch = batch(&decisions);
        let wanted = Wanted::of(&decisions);
        assert_eq!(wanted, Wanted::default());
        let folded = fold(&batch, Rows::default());
        assert_eq!(folded.rows.outcomes.len(), 1);
        assert_eq!(folded.refused, []);
    }
}
