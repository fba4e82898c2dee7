use std::sync::Arc;

use tidings_domain::{Decision, Event, Outcome};
use tidings_log::LogReader;
use tidings_operate::explain::{ExplainOptions, State, Story, Subject, explain};
use tidings_operate::verify::AuditedView;
use tidings_views::audit::Audit;
use tidings_views::history::SqliteHistory;

use crate::world::{Running, World, reaches};

async fn tell(world: &World, subject: &Subject, views: &[AuditedView]) -> Story {
    let log: Arc<dyn LogReader> = Arc::new(world.log.clone());
    let options = ExplainOptions::default();
    explain(log, world.codec.clone(), subject, views, &options)
        .await
        .expect("tells")
}

fn command(decision: &Decision) -> Subject {
    Subject::Command {
        temp_id: Some(decision.temp_id.clone()),
        message_id: None,
        conversation_id: Some(decision.conversation_id),
        sender: Some(decision.sender.clone()),
        tenant: Some(decision.tenant.clone()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_found_by_its_place_and_by_its_ids() {
    let world = World::new(41, 0).await;
    let appended = world.append(150).await;
    let store = SqliteHistory::new(world.database.clone());
    let projection =
        tidings_history::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
    let running = Running::start(projection);
    reaches(&world.ends(), async || {
        Audit::positions(&store).await.expect("reads")
    })
    .await;
    running.stop().await;
    let views = [AuditedView::History(Arc::new(store))];
    let (mut accepted, mut rejected, mut void) = (0, 0, 0);
    for (partition, offset, decision) in &appended {
        let story = tell(&world, &command(decision), &views).await;
        let found = story
            .decisions
            .iter()
            .find(|it| (it.partition, it.offset) == (*partition, *offset));
        let found = found.expect("is found");
        assert!(found.valid && found.epoch == 2);
        assert!(
            found
                .trace_id
                .as_deref()
                .is_some_and(|id| id.ends_with('7'))
        );
        void += story.decisions.iter().filter(|it| !it.valid).count();
        assert!(story.views[0].is_past == Some(true), "{story:#?}");
        match &decision.outcome {
            Outcome::Accepted { seq, event } => {
                accepted += 1;
                assert_eq!(found.seq, Some(*seq));
                let by_place = Subject::Event {
                    conversation_id: decision.conversation_id,
                    seq: *seq,
                };
                let by_place = tell(&world, &by_place, &views).await;
                assert!(by_place.decisions.contains(found));
                assert_eq!(by_place.state, State::Delivered);
                let events = by_place.views[0].documents.iter();
                assert!(
                    events.clone().any(|it| it.kind == "events"),
                    "{by_place:#?}"
                );
                if let Event::MessageSent {
                    message_id,
                    content,
                    ..
                } = event
                {
                    let by_message = Subject::Command {
                        temp_id: None,
                        message_id: Some(*message_id),
                        conversation_id: None,
                        sender: None,
                        tenant: None,
                    };
                    let story = tell(&world, &by_message, &views).await;
                    assert!(story.decisions.contains(found));
                    assert_eq!(story.message_id, Some(message_id.to_string()));
                    let shown = format!("{story:?}");
                    assert!(!shown.contains(&content.text), "{shown}");
                    assert!(
                        story.views[0]
                            .documents
                            .iter()
                            .any(|it| it.kind == "messages")
                    );
                }
            }
            Outcome::Rejected(code) => {
                rejected += 1;
                assert_eq!(found.code.as_deref(), Some(code.as_str()));
            }
            Outcome::Noted(_) | Outcome::Duplicate(_) => {}
        }
    }
    assert!(
        accepted > 50 && rejected > 10 && void > 5,
        "{accepted} {rejected} {void}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_sent_is_unknown() {
    let world = World::new(42, 50).await;
    let subject = Subject::Command {
        temp_id: tidings_domain::TempId::parse("never").ok(),
        message_id: None,
        conversation_id: None,
        sender: None,
        tenant: None,
    };
    let story = tell(&world, &subject, &[]).await;
    assert_eq!(story.state, State::Unknown);
    assert!(story.decisions.is_empty() && story.commands.is_empty());
    assert!(story.records_read >= 50);
}
