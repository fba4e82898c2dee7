//! The decisions of a cluster are backed up, added to, and restored under
//! another prefix, where everything goes on.

mod support;

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::traffic::Traffic;
use tempfile::TempDir;
use tidings_domain::{ConversationId, Outcome};
use tidings_log::LogReader;
use tidings_operate::backup::{
    BackupError, Content, LogContent, LogReport, Manifest, Phase, Progress, RestoreReport,
    RestoreTarget, Schemas, back_up_log, restore_log,
};
use tidings_wire::{DeliveredBody, Stored, Topic, names};

const PARTITIONS: i32 = 3;

/// Traffic, and a folder for its backup.
struct Scene {
    traffic: Traffic,
    folder: TempDir,
    asked: usize,
}

impl Scene {
    async fn fresh() -> Self {
        Self {
            traffic: Traffic::fresh(PARTITIONS).await,
            folder: TempDir::new().expect("a folder"),
            asked: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    /// Conversations with some messages each, all decided.
    async fn chat(&mut self, names: &[&str]) -> Vec<ConversationId> {
        let sequencer = self.traffic.sequencer();
        let mut ids = Vec::new();
        for name in names {
            let id = self.traffic.create(name);
            // Nobody but an edge keeps the order across topics.
            self.traffic.decided(self.asked + 1);
            for n in 0..5 {
                self.traffic.send(id, "alice", &format!("m{n}"));
            }
            // One that is rejected takes its place in the log, too.
            self.traffic.send(id, "mallory", "x");
            self.asked += 7;
            ids.push(id);
        }
        self.traffic.decided(self.asked);
        sequencer.stop().await;
        ids
    }

    fn all(&self) -> Vec<Vec<Stored>> {
        all(&self.traffic)
    }

    async fn back_up(&self) -> Result<LogReport, BackupError> {
        back_up_log(&*self.traffic.log, &schemas(), &self.path(), false, &|_| ()).await
    }
}

fn all(traffic: &Traffic) -> Vec<Vec<Stored>> {
    let partitions = 0..traffic.log.partitions();
    partitions
        .map(|partition| traffic.delivered(partition))
        .collect()
}

fn count(all: &[Vec<Stored>]) -> u64 {
    all.iter().map(|records| records.len() as u64).sum()
}

fn schemas() -> Schemas {
    Schemas::new(tidings_testkit::registry_url()).expect("a client")
}

async fn restore(folder: &Path, target: &Traffic) -> Result<RestoreReport, BackupError> {
    restore_as(folder, target, false, false).await
}

async fn restore_as(
    folder: &Path,
    target: &Traffic,
    allow_incomplete: bool,
    dry_run: bool,
) -> Result<RestoreReport, BackupError> {
    let target = RestoreTarget {
        log: &target.log,
        schemas: &schemas(),
        allow_incomplete,
        dry_run,
    };
    restore_log(folder, target, &|_| ()).await
}

fn log_content(folder: &Path) -> LogContent {
    match Manifest::read(folder).expect("a manifest").content {
        Content::Log(content) => content,
        Content::Folder(_) => panic!("not of a folder"),
    }
}

/// Runs something that its own progress is to end: as if the process died there.
async fn interrupted_at(
    phase: Phase,
    run: impl AsyncFnOnce(&(dyn Fn(Progress) + Sync)) + Send + 'static,
) {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let die = move |progress: Progress| {
            if progress.phase == phase {
                std::panic::resume_unwind(Box::new("interrupted"));
            }
        };
        runtime.block_on(run(&die));
    });
    let ended = tokio::task::spawn_blocking(|| thread.join()).await;
    let ended = ended.expect("the thread is waited for");
    assert!(ended.is_err(), "it was not interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_log_is_the_same_and_goes_on() {
    let mut scene = Scene::fresh().await;
    let ids = scene.chat(&["c1", "c2", "c3", "c4"]).await;
    // Durable and not decided when the backup is made.
    let undecided = scene.traffic.send(ids[0], "bob", "undecided");

    let report = scene.back_up().await.expect("backed up");
    let before = scene.all();
    assert_eq!((report.held, report.added), (0, count(&before)));

    let target = Traffic::fresh(PARTITIONS).await;
    let looked = restore_as(&scene.path(), &target, false, true).await;
    let looked = looked.expect("it can be restored");
    assert_eq!((looked.written, looked.dry_run), (count(&before), true));
    assert_eq!(count(&all(&target)), 0);

    let restored = restore(&scene.path(), &target).await.expect("restored");
    assert_eq!((restored.held, restored.written), (0, count(&before)));
    assert_eq!(all(&target), before, "record by record");
    for topic in Topic::COMMANDS {
        for partition in 0..PARTITIONS {
            let end = scene
                .traffic
                .log
                .watermarks(topic, partition)
                .expect("its end")
                .1;
            let found = target.log.watermarks(topic, partition).expect("its end");
            assert_eq!(found, (end, end), "{topic} {partition}");
        }
    }
    // Again, there is nothing left to do.
    let again = restore(&scene.path(), &target).await.expect("restored");
    assert_eq!((again.written, again.filled), (0, 0));

    // New commands stand behind the old ones, and continue their conversations.
    let sequencer = target.sequencer();
    for id in &ids {
        let sent = target.send(*id, "bob", "after");
        assert!(sent.offset >= 1, "{}", sent.offset);
        target.send(*id, "alice", "m4");
    }
    let again = target.send(ids[0], "bob", "undecided");
    assert!(again.offset > undecided.offset);
    target.decided(scene.asked + 2 * ids.len() + 1);

    // While a sequencer runs, and after it, nothing is restored.
    let refused = restore(&scene.path(), &target).await;
    assert_refused(refused, "a sequencer is running");
    sequencer.stop().await;
    let refused = restore(&scene.path(), &target).await;
    assert_refused(refused, "is not empty");

    let valid = target.valid();
    let event_ids: HashSet<_> = valid
        .iter()
        .map(|(_, stored)| stored.record.headers.text(names::CE_ID).expect("an id"))
        .collect();
    assert_eq!(event_ids.len(), valid.len(), "no ce_id comes twice");
    let outcome = |id: ConversationId, temp_id: &str| {
        let found = valid.iter().rev().find_map(|(_, stored)| {
            let body = target.codec.decode_delivered(&stored.record).expect("read");
            let DeliveredBody::Decision(decision) = body else {
                return None;
            };
            let is_it = decision.conversation_id == id && decision.temp_id.as_str() == temp_id;
            is_it.then_some(decision.outcome)
        });
        found.expect("it was decided")
    };
    for id in &ids {
        // 1 was the create, 2 to 6 the messages.
        let after = outcome(*id, "after");
        assert!(
            matches!(after, Outcome::Accepted { seq: 7, .. }),
            "{after:?}"
        );
        assert!(matches!(outcome(*id, "m4"), Outcome::Duplicate(_)));
    }
    let Outcome::Accepted { seq, .. } = outcome(ids[0], "undecided") else {
        panic!("it was lost with the command, so it is decided now");
    };
    assert_eq!(seq, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_added_to_and_goes_on_where_it_was_interrupted() {
    let mut scene = Scene::fresh().await;
    scene.chat(&["c1", "c2", "c3", "c4"]).await;
    let path = scene.path();

    // The first run dies with the first partition written, and not noted.
    let (log, folder) = (Arc::clone(&scene.traffic.log), path.clone());
    interrupted_at(Phase::BackingUp, async move |die| {
        let dead = back_up_log(&*log, &schemas(), &folder, false, die).await;
        panic!("{dead:?}");
    })
    .await;
    assert_refused(restore(&path, &scene.traffic).await, "is no backup");
    let first = scene.back_up().await.expect("backed up");
    assert_eq!((first.held, first.added), (0, count(&scene.all())));
    let manifest = fs::read(path.join("backup.json")).expect("a manifest");

    // The second adds what is new; it dies when that is written, and its
    // manifest is not.
    scene.chat(&["c5", "c6"]).await;
    let second = scene.back_up().await.expect("backed up");
    assert_eq!(second.held, first.added);
    assert_eq!(second.held + second.added, count(&scene.all()));
    let whole = log_content(&path);
    fs::write(path.join("backup.json"), manifest).expect("written");
    let again = scene.back_up().await.expect("backed up");
    assert_eq!((again.held, again.added), (second.held, second.added));
    assert_eq!(log_content(&path), whole);
    let nothing = scene.back_up().await.expect("backed up");
    assert_eq!(nothing.added, 0);

    // A restore dies with the command topics filled, and with some records
    // written.
    let target = Traffic::fresh(PARTITIONS).await;
    let (log, folder) = (Arc::clone(&target.log), path.clone());
    interrupted_at(Phase::Filling, async move |die| {
        let target = RestoreTarget {
            log: &log,
            schemas: &schemas(),
            allow_incomplete: false,
            dry_run: false,
        };
        let dead = restore_log(&folder, target, die).await;
        panic!("{dead:?}");
    })
    .await;
    assert_eq!(count(&all(&target)), 0);
    let mut refill = target.log.refill().expect("a producer");
    let source = scene.all();
    let (partition, records) = (0..)
        .zip(&source)
        .find(|(_, records)| records.len() > 3)
        .expect("a partition with records");
    for stored in &records[..3] {
        refill
            .put(
                Topic::MessageDelivered,
                partition,
                &stored.record,
                stored.offset,
            )
            .expect("taken");
    }
    refill.finish().expect("written");
    let restored = restore(&path, &target).await.expect("restored");
    assert_eq!((restored.held, restored.written), (3, count(&source) - 3));
    assert_eq!(restored.filled, 0, "they were filled before");
    assert_eq!(all(&target), source);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sound_is_refused() {
    let mut scene = Scene::fresh().await;
    scene.chat(&["c1", "c2", "c3", "c4"]).await;
    let path = scene.path();
    scene.back_up().await.expect("backed up");

    // Another log's decisions cannot be added.
    let mut other = Scene::fresh().await;
    other.chat(&["c1", "c2", "c3", "c4", "c5"]).await;
    let mixed = back_up_log(&*other.traffic.log, &schemas(), &path, false, &|_| ()).await;
    assert_refused(mixed, "another log");
    // Nor can it be put where something else stands.
    let refused = restore(&path, &other.traffic).await;
    assert_refused(refused, "is not empty");
    let elsewhere = other.folder.path();
    fs::write(elsewhere.join("notes.txt"), "mine").expect("written");
    let log = &*other.traffic.log;
    let refused = back_up_log(log, &schemas(), elsewhere, false, &|_| ()).await;
    assert_refused(refused, "holds other things");
    let target = Traffic::fresh(PARTITIONS + 1).await;
    assert_refused(restore(&path, &target).await, "partitions");

    let target = Traffic::fresh(PARTITIONS).await;
    let content = log_content(&path);
    let segment = content
        .partitions
        .iter()
        .find_map(|entry| entry.segments.first());
    let segment = path.join(&segment.expect("a segment").file);
    let sound = fs::read(&segment).expect("a segment");
    // A byte in the middle, in a length, in the last; and one too few.
    for at in [sound.len() / 2, 3, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(&segment, damaged).expect("written");
        assert_damaged(restore(&path, &target).await);
    }
    let file = OpenOptions::new()
        .write(true)
        .open(&segment)
        .expect("it is there");
    file.set_len(sound.len() as u64 - 1).expect("cut");
    assert_damaged(restore(&path, &target).await);
    fs::remove_file(&segment).expect("removed");
    restore(&path, &target)
        .await
        .expect_err("a file is missing");
    fs::write(&segment, &sound).expect("written");

    // A registry that has another schema by an id.
    let text = fs::read_to_string(path.join("backup.json")).expect("a manifest");
    let other = text
        .replace("DecisionX", "Decision")
        .replace("Decision", "DecisionX");
    assert_ne!(other, text);
    fs::write(path.join("backup.json"), &other).expect("written");
    assert_refused(restore(&path, &target).await, "is another schema");

    // One that was interrupted only if that is wanted.
    let interrupted = text.replace("\"complete\": true", "\"complete\": false");
    assert_ne!(interrupted, text);
    fs::write(path.join("backup.json"), interrupted).expect("written");
    assert_refused(restore(&path, &target).await, "was interrupted");
    assert_eq!(count(&all(&target)), 0, "nothing was written until here");
    for topic in Topic::COMMANDS {
        for partition in 0..PARTITIONS {
            let ends = target.log.watermarks(topic, partition).expect("its end");
            assert_eq!(ends, (0, 0));
        }
    }
    let restored = restore_as(&path, &target, true, false).await;
    restored.expect("restored");
    assert_eq!(all(&target), scene.all());
}

/// Why a restore fills the command topics: a sequencer goes on behind the last
/// command that was decided, and would otherwise take new ones for decided.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_without_the_offsets_of_their_commands_stop_a_sequencer() {
    let mut scene = Scene::fresh().await;
    let ids = scene.chat(&["c1"]).await;
    let target = Traffic::fresh(PARTITIONS).await;
    let mut refill = target.log.refill().expect("a producer");
    for stored in scene.all().into_iter().flatten() {
        let (partition, offset) = (stored.partition, stored.offset);
        refill
            .put(Topic::MessageDelivered, partition, &stored.record, offset)
            .expect("taken");
    }
    refill.finish().expect("written");
    let sequencer = target.sequencer();
    target.send(ids[0], "bob", "after");
    let why = sequencer.ended().await.expect_err("it cannot go on");
    assert!(why.to_string().contains("has lost records"), "{why}");
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, BackupError>, why: &str) {
    match result {
        Err(BackupError::Refused(message)) if message.contains(why) => {}
        other => panic!("not refused as {why:?}: {other:?}"),
    }
}

#[track_caller]
fn assert_damaged<T: std::fmt::Debug>(result: Result<T, BackupError>) {
    match result {
        Err(BackupError::Damaged { .. }) => {}
        other => panic!("not found to be damaged: {other:?}"),
    }
}
