//! The projection between a real log and a real store.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;
use tidings_domain::{
    Command, CommandBody, Content, Decision, Digest, Epoch, Event, Outcome, OwnerId, Ownership,
    Timestamp,
};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, Log, LogError, LogReader, read_range};
use tidings_search::projection;
use tidings_sqlite::Database;
use tidings_testkit::{eventually_async, fresh_name, search_url};
use tidings_views::conformance::search::{Chat, Searchable};
use tidings_views::search::{
    Asker, Documents, Filters, Fold, OpenSearch, Page, Query, SearchWriter, SqliteSearch, Wanted,
};
use tidings_views::{Position, StoreError};
use tidings_wire::{Codec, Record, Stored, Topic, TraceParent, names};
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
        self.project_into(Arc::clone(&store), store.as_ref()).await;
    }

    /// Runs the projection into a store, until the one behind it has all of
    /// the log.
    async fn project_into(&self, store: Arc<dyn SearchWriter>, behind: &dyn SearchWriter) {
        let stop = CancellationToken::new();
        let log: Arc<dyn Log> = self.log.clone();
        let running = projection(log, self.codec.clone(), store)
            .batch(16)
            .gather(Duration::from_millis(20));
        let running = tokio::spawn(running.run(stop.clone()));
        self.caught_up(behind).await;
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

/// A real store that fails on demand.
struct Faulty {
    store: SqliteSearch,
    /// Every seventh operation of the projection fails, some of them after the
    /// write was made. Only the projection may ask it: who looks how far it has
    /// come would shift what fails, and an attempt takes three operations.
    count: Mutex<usize>,
    /// Refused as data.
    poison: Option<&'static str>,
}

impl Faulty {
    fn check(&self) -> Result<(), StoreError> {
        let mut count = self.count.lock();
        *count += 1;
        match *count % 14 {
            0 => Err(StoreError::Transient("now and then".to_owned())),
            7 => Err(StoreError::Saturated("slow down".to_owned())),
            _ => Ok(()),
        }
    }

    /// How many operations have failed so far.
    fn failed(&self) -> usize {
        *self.count.lock() / 7
    }
}

#[async_trait]
impl SearchWriter for Faulty {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.check()?;
        self.store.prepare().await
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.check()?;
        self.store.positions().await
    }

    async fn load(&self, wanted: &Wanted) -> Result<Documents, StoreError> {
        self.check()?;
        self.store.load(wanted).await
    }

    async fn write(&self, documents: &Documents, positions: &[Position]) -> Result<(), StoreError> {
        let refused = documents
            .messages
            .values()
            .any(|message| message.text.is_some() && message.text.as_deref() == self.poison);
        if refused {
            return Err(StoreError::Data("will not take this text".to_owned()));
        }
        self.store.write(documents, positions).await?;
        // It was written, but the answer is lost.
        self.check()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_loses_nothing_and_what_it_refuses_is_a_dead_letter() {
    const POISON: &str = "the store chokes on this";
    let mut world = World::new();
    let mut chat = Chat::new(3);
    world.decide_all(&mut chat, 100);
    let ((_, mut poisoned), _) = chat.said_and_purged("anything");
    if let Outcome::Accepted {
        event: Event::MessageSent { content, .. },
        ..
    } = &mut poisoned.outcome
    {
        *content = Content::text(POISON);
    }
    let offset = world.decide(poisoned);
    world.decided.pop();
    world.decide_all(&mut chat, 60);

    let store = SqliteSearch::new(world.database.clone());
    let faulty = Arc::new(Faulty {
        store: store.clone(),
        count: Mutex::new(0),
        poison: Some(POISON),
    });
    world.project_into(Arc::clone(&faulty) as _, &store).await;
    assert!(faulty.failed() >= 4, "{} failures", faulty.failed());
    world.assert_found_in(&store).await;
    let letters = world.dead_letters();
    assert_eq!(letters.len(), 1);
    let headers = &letters[0].record.headers;
    assert_eq!(
        headers.text(names::DEAD_OFFSET),
        Some(offset.to_string().as_str())
    );
    assert_eq!(headers.text(names::DEAD_CONSUMER), Some("search"));
}
