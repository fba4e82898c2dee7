//! The projection between a real log and a real store.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;
use tidings_domain::{
    Command, CommandBody, Content, Decision, Digest, Epoch, OwnerId, Ownership, Timestamp,
};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, Log, LogError, LogReader, read_range};
use tidings_search::projection;
use tidings_sqlite::Database;
use tidings_testkit::{eventually_async, fresh_name, search_url};
use tidings_views::conformance::search::{Chat, Searchable};
use tidings_views::search::{
    Asker, Filters, Fold, OpenSearch, Page, Query, SearchWriter, SqliteSearch, Wanted,
};
use tidings_wire::{Codec, Record, Stored, Topic, TraceParent};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(30);

/// A log of one partition with decisions in it.
struct World {
    _folder: TempDir,
    database: Database,
    log: Arc<EmbeddedLog>,
    codec: Codec,
    inputs: i64,
    /// What was decided, with the offsets.
    decided: Vec<(i64, Decision)>,
}

fn owner() -> Ownership {
    Ownership {
        epoch: Epoch(1),
        owner: OwnerId(Uuid::from_u128(1)),
    }
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("makes a folder");
        let database = Database::open(folder.path()).expect("opens");
        let log = Arc::new(EmbeddedLog::open(database.clone(), 1).expect("opens a log"));
        let world = Self {
            _folder: folder,
            database,
            log,
            codec: Codec::locked(),
            inputs: 0,
            decided: Vec::new(),
        };
        world.append(Codec::claim(owner(), Timestamp(0)));
        world
    }

    fn append(&self, record: Record) -> i64 {
        let (done, durable) = channel();
        let done = move |result| done.send(result).expect("the test waits");
        self.log
            .append(Topic::MessageDelivered, 0, record, Box::new(done));
        durable.recv().expect("an answer").expect("is appended")
    }

    fn decide(&mut self, decision: Decision) -> i64 {
        self.inputs += 1;
        let command = Command {
            tenant: decision.tenant.clone(),
            conversation_id: decision.conversation_id,
            sender: decision.sender.clone(),
            temp_id: decision.temp_id.clone(),
            at: decision.at,
            body: CommandBody::Send {
                content: Content::text("what was asked for"),
                reply_to: None,
                thread: None,
                forwarded_from: None,
            },
        };
        let trace = TraceParent::new(1, 1, false).expect("not zero");
        let input = Stored {
            topic: Topic::MessageSent,
            partition: 0,
            offset: self.inputs,
            record: self.codec.encode_command(&command, trace).expect("encodes"),
        };
        let record = self
            .codec
            .encode_decision(&decision, &input, owner(), Digest::default())
            .expect("encodes");
        let offset = self.append(record);
        self.decided.push((offset, decision));
        offset
    }

    fn decide_all(&mut self, chat: &mut Chat, count: usize) {
        for (_, decision) in chat.take(count) {
            self.decide(decision);
        }
    }

    fn end(&self) -> i64 {
        let watermarks = self.log.watermarks(Topic::MessageDelivered, 0);
        watermarks.expect("has watermarks").1
    }

    async fn caught_up(&self, store: &dyn SearchWriter) {
        eventually_async(DEADLINE, async || {
            let positions = store.positions().await.unwrap_or_default();
            positions
                .iter()
                .any(|position| position.offset == self.end())
        })
        .await;
    }

    /// That the store has the documents that the fold makes, and finds them.
    async fn assert_found_in(&self, store: &dyn Searchable) {
        let mut fold = Fold::default();
        for (offset, decision) in &self.decided {
            fold.apply(decision, *offset);
        }
        let expected = fold.into_changed();
        let wanted = Wanted {
            messages: expected.messages.keys().copied().collect(),
            conversations: expected.conversations.keys().copied().collect(),
        };
        let loaded = store.load(&wanted).await.expect("loads");
        assert_eq!(loaded.messages, expected.messages);
        assert_eq!(loaded.conversations, expected.conversations);
        store.settle().await;
        let query = Query::parse("kernel*").expect("a query");
        for (tenant, user_id) in &expected.users {
            let asker = Asker {
                tenant: tenant.clone(),
                user_id: user_id.clone(),
                conversations: expected.conversations.keys().copied().collect(),
            };
            let page = Page {
                after: None,
                limit: 1,
            };
            let found = store
                .messages(&asker, &query, &Filters::default(), page)
                .await
                .expect("finds");
            let count = expected.messages.values().filter(|message| {
                let words = message.text.as_deref().unwrap_or_default().to_lowercase();
                message.tenant == *tenant
                    && words.contains("kernel")
                    && !message.hidden_for.contains(user_id)
            });
            assert_eq!(found.total, count.count() as u64, "{user_id}");
        }
    }

    fn dead_letters(&self) -> Vec<Stored> {
        let end = self.log.watermarks(Topic::DeadSearch, 0);
        let mut letters = Vec::new();
        read_range::<LogError>(
            self.log.as_ref(),
            Topic::DeadSearch,
            0,
            0,
            end.expect("has watermarks").1,
            |stored| {
                letters.push(stored);
                Ok(())
            },
        )
        .expect("reads");
        letters
    }

    /// Runs the projection until the store has all of the log.
    async fn project(&self, store: Arc<dyn SearchWriter>) {
        let stop = CancellationToken::new();
        let log: Arc<dyn Log> = self.log.clone();
        let running = projection(log, self.codec.clone(), Arc::clone(&store))
            .batch(16)
            .gather(Duration::from_millis(20));
        let running = tokio::spawn(running.run(stop.clone()));
        self.caught_up(store.as_ref()).await;
        stop.cancel();
        running.await.expect("does not panic").expect("stops");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_view_is_what_the_fold_makes_of_the_log() {
    let mut world = World::new();
    let mut chat = Chat::new(1);
    let store = SqliteSearch::new(world.database.clone());
    for _ in 0..3 {
        world.decide_all(&mut chat, 120);
        world.project(Arc::new(store.clone())).await;
        world.assert_found_in(&store).await;
    }
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opensearch_is_filled_and_filled_again_when_it_lost_its_indexes() {
    let url = tokio::task::spawn_blocking(search_url)
        .await
        .expect("a server");
    let mut world = World::new();
    let mut chat = Chat::new(2);
    world.decide_all(&mut chat, 150);
    let name = fresh_name();
    let store = OpenSearch::new(url, &format!("{name}-a-")).expect("an address");
    world.project(Arc::new(store.clone())).await;
    world.assert_found_in(&store).await;
    world.decide_all(&mut chat, 150);
    world.project(Arc::new(store.clone())).await;
    world.assert_found_in(&store).await;

    // An empty one is filled from the beginning.
    let rebuilt = OpenSearch::new(url, &format!("{name}-b-")).expect("an address");
    world.project(Arc::new(rebuilt.clone())).await;
    world.assert_found_in(&rebuilt).await;
    assert!(world.dead_letters().is_empty());
}
