//! `reset` and a part of a view rebuilt, on a cluster.

use std::sync::Arc;

use tidings_testkit::eventually_async;
use tidings_views::audit::{Audit, Part, Replacement, StoredDocument};
use tidings_views::history::{HistoryWriter, MongoHistory};
use tidings_wire::Topic;

use crate::place::{DEADLINE, Place, command, conversation, create, end, err, json, record, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_projection_of_a_cluster_is_reset_while_nobody_is_at_it() {
    let place = Place::fresh().await;
    let id = conversation(0, 1);
    let created = record(&place.codec, &command(id, "c", create()));
    place.append(Topic::ConversationUpdated, 0, created);
    let sequencer = place.sequencer().await;
    eventually_async(DEADLINE, async || {
        end(&*place.log, Topic::MessageDelivered) >= 3
    })
    .await;
    for n in 0..5 {
        let sent = record(&place.codec, &command(id, &format!("m{n}"), send("hello")));
        place.append(Topic::MessageSent, 0, sent);
    }
    // A claim of each partition, and a decision of each command.
    eventually_async(DEADLINE, async || {
        end(&*place.log, Topic::MessageDelivered) >= 8
    })
    .await;
    sequencer.stop().await;
    let store = Arc::new(
        MongoHistory::connect(&place.mongodb_uri, "tidings-test")
            .await
            .unwrap(),
    );
    let project = async || {
        let log = Arc::clone(&place.log);
        let projection = tidings_history::projection(log, place.codec.clone(), store.clone());
        let running = place.project(projection);
        eventually_async(DEADLINE, async || {
            let reached = HistoryWriter::positions(&*store).await.unwrap_or_default();
            let applied: i64 = reached.iter().map(|at| at.offset).sum();
            applied == end(&*place.log, Topic::MessageDelivered)
        })
        .await;
        running
    };
    let running = project().await;
    let to_beginning = ["reset", "history", "--to", "beginning", "--json"];
    let refused = place.tidings(&to_beginning);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        err(&refused).contains("stop them first"),
        "{}",
        err(&refused)
    );

    // A part is written beside a projection that runs.
    let mut all = Vec::new();
    let mut each = |documents: Vec<StoredDocument>| {
        all.extend(documents);
        Ok(())
    };
    store
        .scan("messages", &Part::default(), &mut each)
        .await
        .unwrap();
    let gone: Vec<_> = all
        .into_iter()
        .map(|it| Replacement {
            seen: Some(it),
            new: None,
        })
        .collect();
    assert_eq!(store.replace(&gone).await.unwrap(), 5);
    let id = id.to_string();
    let rebuilt = place.tidings(&["rebuild", "history", "--conversation", &id, "--json"]);
    assert_eq!(rebuilt.status.code(), Some(0), "{}", err(&rebuilt));
    let rebuilt = json(&rebuilt);
    assert_eq!(
        (&rebuilt["rewritten"], &rebuilt["verified"]),
        (&5.into(), &true.into())
    );

    running.stop().await;
    eventually_async(DEADLINE, async || {
        place.log.consumer("history").unwrap().members == 0
    })
    .await;
    let lag = || {
        json(&place.tidings(&["lag", "--consumer", "history", "--json"]))["consumers"][0].clone()
    };
    assert_eq!(lag()["records"], 0);
    let reset = place.tidings(&to_beginning);
    assert_eq!(reset.status.code(), Some(0), "{}", err(&reset));
    let reset = json(&reset);
    assert_eq!(reset["again"], end(&*place.log, Topic::MessageDelivered));
    assert_eq!(lag()["records"], reset["again"]);
    // The command that it prints.
    let undo = reset["undo"].as_str().unwrap();
    assert!(
        undo.starts_with("tidings reset history --undo --brokers "),
        "{undo}"
    );
    let words: Vec<&str> = undo.split(' ').skip(1).collect();
    let undone = place.tidings(&words);
    assert_eq!(undone.status.code(), Some(0), "{}", err(&undone));
    assert_eq!(lag()["records"], 0);
    let nothing = place.tidings(&words);
    assert!(
        err(&nothing).contains("no reset to undo"),
        "{}",
        err(&nothing)
    );

    // From the beginning once more: nothing is twice, nothing is dead.
    assert_eq!(place.tidings(&to_beginning).status.code(), Some(0));
    project().await.stop().await;
    let verified = json(&place.tidings(&["verify", "history", "--json"]));
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(end(&*place.log, Topic::DeadHistory), 0);
}
