//! Poison in every topic: it is put aside with its cause, the rest goes on,
//! and once the cause is mended it is done, once.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tidings_domain::{
    CommandBody, Content, ConversationId, Decision, DeleteScope, Digest, Epoch, MessageId, OwnerId,
    Ownership, Partition, ReactionOp, Timestamp, Update,
};
use tidings_testkit::{eventually_async, redis_url, search_url};
use tidings_views::StoreError;
use tidings_views::cache::{CacheWriter, RedisCache};
use tidings_views::generation::{Builder, Generation, Generations, change};
use tidings_views::history::{HistoryReader, HistoryWriter, MongoHistory};
use tidings_views::search::{OpenSearch, SearchWriter};
use tidings_wire::{Codec, DeliveredBody, Record, Stored, Topic, names};
use uuid::Uuid;

use crate::place::{
    DEADLINE, PARTITIONS, Place, command, conversation, create, end, err, json, lines, partition,
    record, send,
};

/// The same value, in a version of its schema that has one more, nullable field.
fn in_schema(mut record: Record, id: u32) -> Record {
    let mut value = record.value.unwrap().to_vec();
    value[1..5].copy_from_slice(&id.to_be_bytes());
    value.push(0);
    record.value = Some(value.into());
    record
}

fn with_value(mut record: Record, change: impl FnOnce(&mut Vec<u8>)) -> Record {
    let mut value = record.value.unwrap().to_vec();
    change(&mut value);
    record.value = Some(Bytes::from(value));
    record
}

/// One command for each topic.
fn one_of_each() -> Vec<(Topic, CommandBody)> {
    let message_id = MessageId(Uuid::from_u128(7));
    vec![
        (Topic::MessageSent, send("text")),
        (
            Topic::MessageEdited,
            CommandBody::Edit {
                message_id,
                content: Content::text("other"),
                author: None,
                posted_at: None,
            },
        ),
        (
            Topic::MessageDeleted,
            CommandBody::Delete {
                message_id,
                scope: DeleteScope::Everyone,
                author: None,
            },
        ),
        (
            Topic::MessageReacted,
            CommandBody::React {
                message_id,
                emoji: "👍".to_owned(),
                op: ReactionOp::Add,
            },
        ),
        (Topic::MessageRead, CommandBody::Read { up_to: 1 }),
        (
            Topic::ConversationUpdated,
            CommandBody::Update(Update::Archive),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_that_nobody_can_read_wait_for_the_cause_to_be_mended() {
    let place = Place::fresh().await;
    let subject = format!("{}message.sent-value", place.prefix);
    let lost = place.registry.add_version(&subject).await;
    place.registry.lose(lost);
    let id = conversation(0, 1);
    let mut made = 0;
    let mut next = || {
        made += 1;
        format!("t{made}")
    };
    place.append(
        Topic::ConversationUpdated,
        0,
        record(&place.codec, &command(id, &next(), create())),
    );
    for (topic, body) in one_of_each() {
        let valid = |temp_id: String| record(&place.codec, &command(id, &temp_id, body.clone()));
        place.append(topic, 0, with_value(valid(next()), |value| value[0] = 1));
        let unknown = |value: &mut Vec<u8>| value[1..5].copy_from_slice(&[0x7f; 4]);
        place.append(topic, 0, with_value(valid(next()), unknown));
        let cut = |value: &mut Vec<u8>| value.truncate(value.len() - 3);
        place.append(topic, 0, with_value(valid(next()), cut));
        let mut foreign = valid(next());
        foreign.key = Some(conversation(0, 2).to_string().into());
        place.append(topic, 0, foreign);
    }
    // What will be readable later, twice, and between them what is now.
    let first = record(&place.codec, &command(id, "lost-1", send("lost 1")));
    place.append(Topic::MessageSent, 0, in_schema(first, lost));
    let other = conversation(0, 3);
    place.append(
        Topic::ConversationUpdated,
        0,
        record(&place.codec, &command(other, "other", create())),
    );
    let second = record(&place.codec, &command(id, "lost-2", send("lost 2")));
    place.append(Topic::MessageSent, 0, in_schema(second, lost));

    let sequencer = place.sequencer().await;
    let commands: usize = 1 + 6 * 4 + 3;
    let decided = |place: &Place| {
        let records = place.all(Topic::MessageDelivered, 0);
        records
            .into_iter()
            .filter(|stored| stored.record.value.is_some())
            .count()
    };
    eventually_async(DEADLINE, async || decided(&place) == commands).await;

    let listed = lines(&place.tidings(&["dead", "ls", "--json"]));
    assert_eq!(listed.len(), 26, "{listed:?}");
    for topic in Topic::COMMANDS {
        for cause in [
            "the first byte is not 0",
            "schema id 2139062143 is not known",
            "",
            "the key is not the conversation's id",
        ] {
            let found = listed.iter().any(|line| {
                let origin = line["origin"].as_str().unwrap();
                origin.starts_with(topic.name()) && line["cause"].as_str().unwrap().contains(cause)
            });
            assert!(found, "{topic}: {cause:?} in {listed:#?}");
        }
    }
    let conditions = [
        "--filter",
        "topic=message.read",
        "--filter",
        "cause=first byte",
    ];
    let filtered = place.tidings(&[&["dead", "ls", "--json", "--fail"], &conditions[..]].concat());
    assert_eq!(filtered.status.code(), Some(1));
    assert_eq!(lines(&filtered).len(), 1);

    // Nothing of it can be done yet; it says at which it stopped.
    let lost_cause = format!("cause=schema id {lost} ");
    let of_lost = ["--filter", lost_cause.as_str(), "--json"];
    let refused = place.tidings(&[&["dead", "redrive"], &of_lost[..]].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", err(&refused));
    assert!(
        err(&refused).contains("cannot be read yet"),
        "{}",
        err(&refused)
    );
    assert_eq!(decided(&place), commands);

    // What cannot be mended is dropped, and is not asked for again.
    let magic = ["dead", "drop", "--filter", "cause=first byte", "--json"];
    assert_eq!(lines(&place.tidings(&magic)).len(), 6);
    assert_eq!(lines(&place.tidings(&magic)).len(), 0);
    for cause in ["cause=2139062143", "cause=the key", "topic=message.edited"] {
        let dropped = place.tidings(&["dead", "drop", "--filter", cause, "--json"]);
        assert_eq!(dropped.status.code(), Some(0), "{}", err(&dropped));
    }
    // The cut ones of the same conversation would come first, and fail.
    let left = lines(&place.tidings(&["dead", "ls", "--json"]));
    for line in &left {
        if !line["cause"].as_str().unwrap().contains("not known") {
            let letter = format!("letter={}", line["letter"].as_str().unwrap());
            place.tidings(&["dead", "drop", "--filter", &letter]);
        }
    }

    place.registry.find_again();
    let dry = place.tidings(&[&["dead", "redrive", "--dry-run"], &of_lost[..]].concat());
    assert_eq!(dry.status.code(), Some(0), "{}", err(&dry));
    assert_eq!(lines(&dry).last().unwrap()["redriven"], 2);
    assert_eq!(end(&*place.log, Topic::MessageSent), 6);

    // One was begun by somebody who was killed after the append.
    let first = lines(&dry)[0]["letter"].as_str().unwrap().to_owned();
    let begun = serde_json::json!({"state": {"begun": {"from": 6}}, "at_ms": 0, "by": null});
    let note = tidings_log::notes::note(format!("letter/{first}"), Some(&begun)).unwrap();
    place.append(Topic::OperatorNotes, 0, note);
    let mut again = in_schema(
        record(&place.codec, &command(id, "lost-1", send("lost 1"))),
        lost,
    );
    again.headers.push(names::REDRIVEN_FROM, first.clone());
    place.append(Topic::MessageSent, 0, again);

    let done = place.tidings(&[&["dead", "redrive"], &of_lost[..]].concat());
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    assert_eq!(lines(&done).last().unwrap()["redriven"], 2);
    assert_eq!(
        lines(&done)[0]["offset"],
        6,
        "found, and not appended again"
    );
    assert_eq!(end(&*place.log, Topic::MessageSent), 8);
    let again = place.tidings(&[&["dead", "redrive"], &of_lost[..]].concat());
    let summary = lines(&again).pop().unwrap();
    assert_eq!(
        (&summary["redriven"], &summary["done_before"]),
        (&0.into(), &2.into())
    );
    eventually_async(DEADLINE, async || decided(&place) == commands + 2).await;
    assert_eq!(end(&*place.log, Topic::MessageSent), 8);

    let codec = place.new_codec().await;
    let records = place.all(Topic::MessageDelivered, 0);
    let decisions = tokio::task::spawn_blocking(move || {
        let bodies = records
            .iter()
            .filter(|stored| stored.record.value.is_some());
        let bodies = bodies.map(|stored| codec.decode_delivered(&stored.record).unwrap());
        bodies.collect::<Vec<_>>()
    });
    let accepted: Vec<String> = decisions
        .await
        .unwrap()
        .into_iter()
        .filter_map(|body| match body {
            DeliveredBody::Decision(decision) => Some(decision.temp_id.as_str().to_owned()),
            DeliveredBody::Dead { .. } => None,
        })
        .collect();
    assert_eq!(accepted, ["t1", "other", "lost-1", "lost-2"]);
    let listed = lines(&place.tidings(&["dead", "ls", "--all", "--json"]));
    assert_eq!(listed.len(), 26);
    assert!(listed.iter().all(|line| line["by"] == "olga"), "{listed:?}");
    let shown = json(&place.tidings(&["dead", "show", &first, "--json"]));
    assert_eq!(
        (&shown["state"], &shown["value"]["sender"]),
        (&"redriven".into(), &"alice".into())
    );
    assert!(!shown.to_string().contains("lost 1"), "{shown}");
    let shown = json(&place.tidings(&["dead", "show", &first, "--content", "--json"]));
    assert_eq!(shown["value"]["content"]["text"], "lost 1");
    sequencer.stop().await;
}

/// Owner 1 of every partition.
fn owner() -> Ownership {
    Ownership {
        epoch: Epoch(1),
        owner: OwnerId(Uuid::from_u128(1)),
    }
}

/// Decides as the sequencer would.
struct Decider<'a> {
    codec: &'a Codec,
    state: Partition,
    made: i64,
}

impl Decider<'_> {
    fn decide(&mut self, id: ConversationId, body: CommandBody) -> (Decision, Record) {
        self.made += 1;
        let command = command(id, &format!("t{}", self.made), body);
        let decision = self.state.decide(&command, command.at);
        self.state.apply(&decision);
        let record = self.record(&decision, &record(self.codec, &command));
        (decision, record)
    }

    fn record(&self, decision: &Decision, command: &Record) -> Record {
        let stored = Stored {
            topic: Topic::MessageSent,
            partition: partition(decision.conversation_id),
            offset: self.made,
            record: command.clone(),
        };
        self.codec
            .encode_decision(decision, &stored, owner(), Digest::default())
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn decisions_that_a_view_cannot_take_are_applied_once_they_can_be() {
    let place = Place::fresh().await;
    let subject = format!("{}message.delivered-value", place.prefix);
    let lost = place.registry.add_version(&subject).await;
    place.registry.lose(lost);
    for partition in 0..PARTITIONS {
        let claim = Codec::claim(owner(), Timestamp(0));
        place.append(Topic::MessageDelivered, partition, claim);
    }
    let mut decider = Decider {
        codec: &place.codec,
        state: Partition::new(),
        made: 0,
    };
    let (broken, whole) = (conversation(0, 1), conversation(0, 2));
    let deliver = |record: Record| place.append(Topic::MessageDelivered, 0, record);
    deliver(decider.decide(broken, create()).1);
    deliver(decider.decide(whole, create()).1);
    // Event 2 cannot be read; 3 and 4 follow on what the history does not have.
    deliver(in_schema(decider.decide(broken, send("two")).1, lost));
    deliver(decider.decide(broken, send("three")).1);
    // Poison of each kind, as the owner would write it.
    let (_, valid) = decider.decide(whole, send("two"));
    deliver(with_value(valid.clone(), |value| value[0] = 1));
    deliver(with_value(valid.clone(), |value| value[1..5].fill(0x7f)));
    deliver(with_value(valid.clone(), |value| {
        value.truncate(value.len() - 3);
    }));
    let mut headless = valid.clone();
    headless.headers = tidings_wire::Headers::default();
    deliver(headless);
    deliver(valid);
    deliver(decider.decide(broken, send("four")).1);

    let mongo = MongoHistory::connect(&place.mongodb_uri, "test")
        .await
        .unwrap();
    let open_search = OpenSearch::new(search_url(), &place.prefix).unwrap();
    let redis = RedisCache::new(redis_url(), &place.prefix, DEADLINE).unwrap();
    let log = || Arc::clone(&place.log);
    let codec = place.new_codec().await;
    // Where the cache begins; it would begin near the end by itself.
    let beginning: Vec<_> = (0..PARTITIONS)
        .map(|partition| tidings_views::Position {
            partition,
            offset: 0,
            current: None,
        })
        .collect();
    redis.begin(&beginning).await.unwrap();
    let running = [
        tidings_history::projection(log(), codec.clone(), Arc::new(mongo.clone())),
        tidings_search::projection(log(), codec.clone(), Arc::new(open_search.clone())),
        tidings_cache::projection(log(), codec.clone(), Arc::new(redis.clone())),
    ]
    .map(|projection| place.project(projection));
    let end = place.log.watermarks(Topic::MessageDelivered, 0).unwrap().1;
    let at = |positions: Vec<tidings_views::Position>| {
        positions
            .iter()
            .any(|at| at.partition == 0 && at.offset == end)
    };
    eventually_async(DEADLINE, async || {
        HistoryWriter::positions(&mongo).await.is_ok_and(at)
            && SearchWriter::positions(&open_search).await.is_ok_and(at)
            && redis
                .cursors()
                .await
                .is_ok_and(|cursors| at(cursors.positions()))
    })
    .await;
    let seqs = async |id| -> Vec<u64> {
        let tenant = tidings_domain::Tenant::parse("acme").unwrap();
        let events = mongo.events(&tenant, id, 0, 100).await.unwrap();
        events.iter().map(|event| event.seq).collect()
    };
    assert_eq!(seqs(whole).await, [1, 2], "the partition goes on");
    assert_eq!(seqs(broken).await, [1]);

    let of = |consumer: &str| -> Vec<Value> {
        let consumer = format!("consumer={consumer}");
        lines(&place.tidings(&["dead", "ls", "--json", "--filter", &consumer]))
    };
    let causes = |letters: &[Value]| -> Vec<String> {
        let cause = |letter: &Value| letter["cause"].as_str().unwrap().to_owned();
        letters.iter().map(cause).collect()
    };
    let history = causes(&of("history"));
    assert_eq!(history.len(), 7, "{history:#?}");
    for (cause, count) in [
        (format!("schema id {lost} is not known"), 1),
        ("comes after event 1".to_owned(), 2),
        ("the first byte is not 0".to_owned(), 1),
        ("schema id 2139062143".to_owned(), 1),
        ("header ce_epoch".to_owned(), 1),
    ] {
        let found = history
            .iter()
            .filter(|found| found.contains(&cause))
            .count();
        assert_eq!(found, count, "{cause} in {history:#?}");
    }
    for consumer in ["search", "cache"] {
        let causes = causes(&of(consumer));
        assert_eq!(causes.len(), 5, "{consumer}: {causes:#?}");
    }

    // Asked for the last of the conversation: the first comes first, and stops it.
    let last = of("history").last().unwrap()["letter"]
        .as_str()
        .unwrap()
        .to_owned();
    let filter = format!("letter={last}");
    let of_last = ["dead", "redrive", "--json", "--filter", filter.as_str()];
    let refused = place.tidings(&of_last);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        err(&refused).contains("cannot be read yet"),
        "{}",
        err(&refused)
    );
    assert_eq!(seqs(broken).await, [1]);

    place.registry.find_again();
    let done = place.tidings(&of_last);
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    let told = lines(&done);
    let follows: Vec<_> = told.iter().map(|line| line["follows"].clone()).collect();
    assert_eq!(
        follows[..3],
        [Value::Bool(true), Value::Bool(true), Value::Bool(false)]
    );
    assert_eq!(told[3]["redriven"], 3);
    assert_eq!(seqs(broken).await, [1, 2, 3, 4]);
    let again = lines(&place.tidings(&of_last));
    assert_eq!(
        (&again[0]["redriven"], &again[0]["done_before"]),
        (&0.into(), &1.into())
    );

    let lost_cause = format!("cause=schema id {lost} ");
    for consumer in ["consumer=search", "consumer=cache"] {
        let done = place.tidings(&[
            "dead",
            "redrive",
            "--json",
            "--filter",
            consumer,
            "--filter",
            &lost_cause,
        ]);
        assert_eq!(done.status.code(), Some(0), "{consumer}: {}", err(&done));
        assert_eq!(lines(&done).last().unwrap()["redriven"], 1, "{consumer}");
    }
    // What is nobody's decision can only be dropped, with what cannot be mended.
    let all = place.tidings(&["dead", "redrive", "--json"]);
    assert_eq!(all.status.code(), Some(1));
    assert!(
        err(&all).contains("stopped at dead.history/0/"),
        "{}",
        err(&all)
    );
    let dropped = place.tidings(&["dead", "drop", "--all", "--json"]);
    assert_eq!(lines(&dropped).len(), 3 * 4, "{}", err(&dropped));
    let all = place.tidings(&["dead", "redrive", "--json"]);
    assert_eq!(all.status.code(), Some(0), "{}", err(&all));
    assert_eq!(
        place.tidings(&["dead", "ls", "--fail"]).status.code(),
        Some(0)
    );
    // Positions are where they were.
    assert!(at(HistoryWriter::positions(&mongo).await.unwrap()));
    for running in running {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_redrive_mends_every_generation_that_is_kept() {
    let place = Place::fresh().await;
    let subject = format!("{}message.delivered-value", place.prefix);
    let lost = place.registry.add_version(&subject).await;
    place.registry.lose(lost);
    let claim = Codec::claim(owner(), Timestamp(0));
    place.append(Topic::MessageDelivered, 0, claim);
    let mut decider = Decider {
        codec: &place.codec,
        state: Partition::new(),
        made: 0,
    };
    let id = conversation(0, 1);
    let deliver = |record: Record| place.append(Topic::MessageDelivered, 0, record);
    deliver(decider.decide(id, create()).1);
    deliver(in_schema(decider.decide(id, send("two")).1, lost));
    deliver(decider.decide(id, send("three")).1);

    let first = MongoHistory::connect(&place.mongodb_uri, "test")
        .await
        .unwrap();
    // Another was built, is read, and the first is kept.
    let builder = Builder {
        by: "a test".to_owned(),
        token: "test".to_owned(),
    };
    change(&first, |register| {
        let at = Timestamp(1);
        let second = register.begin(&builder, None, at).unwrap();
        register.built(second, &builder, at).unwrap();
        register.switch(second, at).unwrap();
        Ok::<_, StoreError>(())
    })
    .await
    .unwrap();
    let second = first.of(Generation(2));
    let codec = place.new_codec().await;
    let mut running = Vec::new();
    for (store, generation) in [(&first, Generation::FIRST), (&second, Generation(2))] {
        let log = Arc::clone(&place.log);
        let projection = tidings_history::projection(log, codec.clone(), Arc::new(store.clone()));
        running.push(place.project(projection.generation(generation)));
    }
    let end = place.log.watermarks(Topic::MessageDelivered, 0).unwrap().1;
    for store in [&first, &second] {
        eventually_async(DEADLINE, async || {
            let positions = HistoryWriter::positions(store).await.unwrap_or_default();
            let at_end = |at: &tidings_views::Position| at.partition == 0 && at.offset == end;
            positions.iter().any(at_end)
        })
        .await;
    }
    let seqs = async |store: &MongoHistory| -> Vec<u64> {
        let tenant = tidings_domain::Tenant::parse("acme").unwrap();
        let events = store.events(&tenant, id, 0, 100).await.unwrap();
        events.iter().map(|event| event.seq).collect()
    };
    assert_eq!(
        (seqs(&first).await, seqs(&second).await),
        (vec![1], vec![1])
    );
    let of_history = ["dead", "redrive", "--json", "--filter", "consumer=history"];
    let refused = place.tidings(&of_history);
    assert_eq!(refused.status.code(), Some(1), "{}", err(&refused));

    place.registry.find_again();
    let done = place.tidings(&of_history);
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    // Each generation has put aside both records.
    assert_eq!(lines(&done).last().unwrap()["redriven"], 4);
    assert_eq!(seqs(&first).await, [1, 2, 3], "the one that is kept");
    assert_eq!(seqs(&second).await, [1, 2, 3], "the one that is read");
    let again = lines(&place.tidings(&of_history));
    assert_eq!(
        (&again[0]["redriven"], &again[0]["done_before"]),
        (&0.into(), &4.into())
    );
    for running in running {
        running.stop().await;
    }
}
