//! Replays to stdout, a file and another topic, cut off and gone on with.

use std::process::{Command as Process, Stdio};

use tidings_domain::{Epoch, OwnerId, Ownership, Timestamp};
use tidings_log::embedded::EmbeddedLog;
use tidings_log::{LogReader, notes};
use tidings_sqlite::Database;
use tidings_wire::{Codec, Topic};
use uuid::Uuid;

use crate::place::{Place, command, conversation, create, err, lines, partition, record, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_on_where_it_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let log = EmbeddedLog::open(database, 2).unwrap();
    let codec = Codec::locked();
    for n in 0..200 {
        let id = conversation(n % 2, 1);
        let body = send(&format!("text {n}"));
        let record = record(&codec, &command(id, &format!("t{n}"), body));
        notes::append_and_wait(&log, Topic::MessageSent, n % 2, record).unwrap();
    }
    assert_eq!(log.watermarks(Topic::MessageSent, 1), Ok((0, 100)));
    drop(log);
    let run = |args: &[&str]| {
        Process::new(env!("CARGO_BIN_EXE_tidings"))
            .env_remove("KAFKA_BROKERS")
            .args(["replay", "--topic", "message.sent"])
            .args(args)
            .arg("--data")
            .arg(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let told = lines(&run(&["--from", "90"]));
    assert_eq!(told.len(), 20);
    let id = conversation(1, 1).to_string();
    let told = lines(&run(&["--conversation", &id, "--to", "3"]));
    assert_eq!(told.len(), 3);
    assert!(
        told.iter()
            .all(|line| line["key"] == id && line["partition"] == 1)
    );

    for format in ["json", "records"] {
        let path = folder.path().join(format!("out.{format}"));
        let output = path.to_str().unwrap();
        let args = ["--output", output, "--format", format];
        let done = run(&args);
        assert_eq!(done.status.code(), Some(0), "{}", err(&done));
        let whole = std::fs::read(&path).unwrap();
        let refused = run(&args);
        assert_eq!(refused.status.code(), Some(1));
        assert!(err(&refused).contains("--resume"), "{}", err(&refused));
        let spans = r#"[{"partition":0,"from":0,"to":100},{"partition":1,"from":0,"to":100}]"#;
        for cut in [0, 7, whole.len() / 3, whole.len() / 2 + 1, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let plan = format!(
                r#"{{"topic":"message.sent","spans":{spans},"conversation":null,"valid_only":false,"format":"{format}"}}"#
            );
            std::fs::write(format!("{output}.plan"), plan).unwrap();
            let again = run(&[&args[..], &["--resume"]].concat());
            assert_eq!(again.status.code(), Some(0), "{}", err(&again));
            assert!(
                std::fs::read(&path).unwrap() == whole,
                "{format} cut at {cut}"
            );
        }
        let again = run(&[&args[..], &["--resume"]].concat());
        assert_eq!(again.status.code(), Some(0), "{}", err(&again));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_topic_gets_what_counts_once() {
    let place = Place::fresh().await;
    let owner = |n: u64| Ownership {
        epoch: Epoch(n),
        owner: OwnerId(Uuid::from_u128(n.into())),
    };
    let id = conversation(0, 1);
    assert_eq!(partition(id), 0);
    let mut state = tidings_domain::Partition::new();
    let mut decide = |temp_id: &str, body, by| {
        let command = command(id, temp_id, body);
        let decision = state.decide(&command, command.at);
        state.apply(&decision);
        let stored = tidings_wire::Stored {
            topic: Topic::MessageSent,
            partition: 0,
            offset: 0,
            record: record(&place.codec, &command),
        };
        let digest = tidings_domain::Digest::default();
        let record = place
            .codec
            .encode_decision(&decision, &stored, by, digest)
            .unwrap();
        place.append(Topic::MessageDelivered, 0, record);
    };
    let claim = |n| {
        let claim = Codec::claim(owner(n), Timestamp(0));
        place.append(Topic::MessageDelivered, 0, claim);
    };
    claim(1);
    decide("c", create(), owner(1));
    claim(2);
    decide("void", send("void"), owner(1));
    decide("one", send("one"), owner(2));
    decide("two", send("two"), owner(2));

    // Into a topic of the test's own: one with another prefix.
    let theirs = Place::fresh().await;
    let own = format!("{}message.sent", place.prefix);
    let refused = place.tidings(&["replay", "--to-topic", &own]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("system's own"), "{}", err(&refused));
    let target = format!("{}message.sent", theirs.prefix);
    let args = [
        "replay",
        "--valid-only",
        "--from",
        "3",
        "--to-topic",
        &target,
        "--id",
        "x",
    ];
    let first = place.tidings(&[&args[..], &["--to", "5"]].concat());
    assert_eq!(first.status.code(), Some(0), "{}", err(&first));
    assert_eq!(theirs.all(Topic::MessageSent, 0).len(), 1);
    let rest = place.tidings(&[&args[..], &["--resume"]].concat());
    assert_eq!(rest.status.code(), Some(0), "{}", err(&rest));
    let all = theirs.all(Topic::MessageSent, 0);
    let offsets: Vec<_> = all
        .iter()
        .map(|stored| stored.record.headers.text("replay_offset").unwrap())
        .collect();
    assert_eq!(offsets, ["4", "5"]);
    assert_eq!(
        all[0].record.key.as_deref(),
        Some(id.to_string().as_bytes())
    );
    assert!(all[0].record.headers.get("ce_input").is_some());
}
