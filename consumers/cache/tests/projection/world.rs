//! A log with decisions in it, a history view, a Redis of the test's own, a
//! projection into it, and a reader of both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;
use tidings_cache::projection;
use tidings_domain::{
    Command, CommandBody, Content, ConversationId, Decision, Digest, Epoch, OwnerId, Ownership,
    Rows, Tenant, Timestamp, UserId, Wanted,
};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{Appender, LogError, LogReader, read_range};
use tidings_projection::ProjectionError;
use tidings_sqlite::Database;
use tidings_testkit::{OwnRedis, eventually_async};
use tidings_views::Position;
use tidings_views::cache::{CacheReader, CacheWriter, CachedHistory, Cursors, Key, RedisCache};
use tidings_views::history::{HistoryReader, HistoryWriter, SqliteHistory};
use tidings_wire::{Codec, Record, Stored, Topic, TraceParent, partition_of};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// How long the projection and the readers wait for Redis.
const TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) struct World {
    _folder: TempDir,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) codec: Codec,
    pub(crate) redis: OwnRedis,
    pub(crate) cache: RedisCache,
    history: SqliteHistory,
    reader: CachedHistory,
    inputs: i64,
    /// What was decided, and where it stands.
    decided: Vec<(i32, i64, Decision)>,
    /// How much of that the history view has.
    in_history: usize,
}

/// A projection at work.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ProjectionError>>,
}

impl Running {
    /// Tells it to stop and waits for its end.
    pub(crate) async fn stop(self) -> Result<(), ProjectionError> {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("ends in time").expect("does not panic")
    }
}

/// The `n`th owner of every partition.
pub(crate) fn owner(n: u64) -> Ownership {
    Ownership {
        epoch: Epoch(n),
        owner: OwnerId(Uuid::from_u128(n.into())),
    }
}

impl World {
    /// An empty log, in which owner 1 has claimed every partition, an empty
    /// view and an empty Redis.
    pub(crate) async fn new() -> Self {
        let redis = tokio::task::spawn_blocking(OwnRedis::start).await;
        let redis = redis.expect("starts").expect("a Redis");
        let folder = tempfile::tempdir().expect("makes a folder");
        let database = Database::open(folder.path()).expect("opens");
        let log = Arc::new(EmbeddedLog::open(database.clone(), PARTITIONS).expect("opens a log"));
        let history = SqliteHistory::new(database);
        history.prepare().await.expect("prepares");
        let cache = || RedisCache::new(&redis.url(), "", TIMEOUT).expect("an address");
        let view = Arc::new(history.clone());
        let reader = CachedHistory::new(view, Arc::new(cache()), PARTITIONS, TIMEOUT);
        let world = Self {
            _folder: folder,
            log,
            codec: Codec::locked(),
            cache: cache(),
            redis,
            history,
            reader,
            inputs: 0,
            decided: Vec::new(),
            in_history: 0,
        };
        world.claim(1);
        world
    }

    /// Owner `n` claims every partition.
    pub(crate) fn claim(&self, n: u64) {
        for partition in 0..PARTITIONS {
            self.append(partition, Codec::claim(owner(n), Timestamp(0)));
        }
    }

    /// Appends a record to `message.delivered`; returns its offset.
    pub(crate) fn append(&self, partition: i32, record: Record) -> i64 {
        let (done, durable) = channel();
        let done = move |result| done.send(result).expect("the test waits");
        self.log
            .append(Topic::MessageDelivered, partition, record, Box::new(done));
        durable.recv().expect("an answer").expect("is appended")
    }

    /// The record of a decision by owner `n`.
    pub(crate) fn record(&mut self, decision: &Decision, n: u64) -> Record {
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
            partition: partition(decision.conversation_id),
            offset: self.inputs,
            record: self.codec.encode_command(&command, trace).expect("encodes"),
        };
        self.codec
            .encode_decision(decision, &input, owner(n), Digest::default())
            .expect("encodes")
    }

    /// Appends decisions of owner `n`, which are valid.
    pub(crate) fn decide_all(&mut self, decisions: &[Decision], n: u64) {
        for decision in decisions {
            let partition = partition(decision.conversation_id);
            let record = self.record(decision, n);
            let offset = self.append(partition, record);
            self.decided.push((partition, offset, decision.clone()));
        }
    }

    /// Applies to the history view so much of what was decided.
    pub(crate) async fn advance_history(&mut self, more: usize) {
        let end = (self.in_history + more).min(self.decided.len());
        for (partition, offset, decision) in &self.decided[self.in_history..end] {
            let mut rows: Rows = self
                .history
                .load(&Wanted::of([decision]))
                .await
                .expect("loads");
            rows.apply(decision, *offset);
            let after = Position {
                partition: *partition,
                offset: offset + 1,
                current: None,
            };
            self.history.write(&rows, &[after]).await.expect("writes");
        }
        self.in_history = end;
    }

    /// Brings the history view to the end of the log.
    pub(crate) async fn complete_history(&mut self) {
        self.advance_history(usize::MAX / 2).await;
        let ends: Vec<Position> = (0..PARTITIONS).map(|p| self.end_of(p)).collect();
        let none = Rows::default();
        self.history.write(&none, &ends).await.expect("writes");
    }

    fn end_of(&self, partition: i32) -> Position {
        let watermarks = self.log.watermarks(Topic::MessageDelivered, partition);
        Position {
            partition,
            offset: watermarks.expect("has watermarks").1,
            current: None,
        }
    }

    /// Starts a projection, in small batches.
    pub(crate) fn project(&self) -> Running {
        let log = Arc::clone(&self.log) as _;
        let store = Arc::new(self.cache.clone());
        let projection = projection(log, self.codec.clone(), store).batch(16);
        let stop = CancellationToken::new();
        let task = tokio::spawn(projection.run(stop.clone()));
        Running { stop, task }
    }

    pub(crate) async fn cursors(&self) -> Cursors {
        self.cache.cursors().await.unwrap_or_default()
    }

    /// Whether the cache has taken all of the log into account.
    pub(crate) async fn is_caught_up(&self) -> bool {
        let cursors = self.cursors().await;
        (0..PARTITIONS).all(|p| cursors.offset(p) == Some(self.end_of(p).offset))
    }

    pub(crate) async fn caught_up(&self) {
        eventually_async(DEADLINE, async || self.is_caught_up().await).await;
    }

    /// All dead letters.
    pub(crate) fn dead_letters(&self) -> Vec<Stored> {
        let mut letters = Vec::new();
        for partition in 0..PARTITIONS {
            let end = self.log.watermarks(Topic::DeadCache, partition);
            let end = end.expect("has watermarks").1;
            let log = self.log.as_ref();
            read_range::<LogError>(log, Topic::DeadCache, partition, 0, end, |stored| {
                letters.push(stored);
                Ok(())
            })
            .expect("reads");
        }
        letters
    }

    fn users(&self) -> BTreeSet<(Tenant, UserId)> {
        let decided = self.decided.iter();
        decided
            .map(|(_, _, it)| (it.tenant.clone(), it.sender.clone()))
            .collect()
    }

    fn conversations(&self) -> BTreeSet<(Tenant, ConversationId)> {
        let decided = self.decided.iter();
        decided
            .map(|(_, _, it)| (it.tenant.clone(), it.conversation_id))
            .collect()
    }

    /// Everything that is kept in a cache, asked of the reader, is as the
    /// history view has it now, wherever the answer comes from.
    pub(crate) async fn assert_answers(&self) {
        let (reader, history) = (&self.reader, &self.history);
        HistoryReader::positions(reader).await.expect("positions");
        for (tenant, user) in &self.users() {
            let list = reader.list(tenant, user, None, None, 50).await;
            let expected = history.list(tenant, user, None, None, 50).await;
            assert_eq!(list, expected, "the list of {user}");
            let unread = reader.unread(tenant, user).await;
            assert_eq!(unread, history.unread(tenant, user).await);
        }
        for (tenant, id) in &self.conversations() {
            let members = reader.members(tenant, *id, None, 50).await;
            assert_eq!(members, history.members(tenant, *id, None, 50).await);
            let users = self.users();
            for (_, user) in users.iter().filter(|(of, _)| of == tenant) {
                let page = reader.page(tenant, *id, user, None, None, 50).await;
                let expected = history.page(tenant, *id, user, None, None, 50).await;
                assert_eq!(page, expected, "the page of {user}");
            }
        }
    }

    /// How many values are in the cache.
    pub(crate) async fn kept(&self) -> usize {
        let mut keys = Vec::new();
        for (tenant, id) in self.conversations() {
            keys.push(Key::Head(tenant.clone(), id));
            keys.push(Key::Recent(tenant.clone(), id));
            keys.push(Key::Members(tenant, id));
        }
        for (tenant, user) in self.users() {
            keys.push(Key::Places(tenant, user));
        }
        let looked = self.cache.look_up(&keys).await.unwrap_or_default();
        let found = looked.found.iter();
        found.filter(|found| found.value.is_some()).count()
    }

    /// Asks, and compares, until most of what can be is in the cache. The
    /// history view must be at the end of the log.
    pub(crate) async fn fills(&self) {
        eventually_async(DEADLINE, async || {
            self.assert_answers().await;
            // Of those that are full or gone, nothing is kept.
            self.kept().await >= self.conversations().len()
        })
        .await;
        self.assert_answers().await;
    }
}

/// The partition of a conversation.
pub(crate) fn partition(id: ConversationId) -> i32 {
    partition_of(id.to_string().as_bytes(), PARTITIONS)
}
