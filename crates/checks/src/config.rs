//! What is read from files and arguments: the topics' declarations, further
//! properties of the Kafka client, addresses, lengths of time, secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use tidings_log::KafkaProperties;
use tidings_log::topics::{Action, Actual, ActualConfig, ActualTopic, Declared, plan};
use tidings_service::auth::{Algorithm, Auth, GivenSecret, KeyError, Secret};
use tidings_service::config::{ServerUrl, parse_duration, parse_listen};
use tidings_wire::Topic;

/// Between two files of a folder.
const BETWEEN: char = '\u{0}';

/// The first byte says what the rest is: 0 the files of a folder of topics,
/// with a byte 0 between any two; 1 a file of properties; 2 an address; 3 a
/// length of time; 4 a secret or a key.
///
/// What is declared is complete and can be planned; what is refused says where
/// the fault is, and shows no secret.
///
/// # Panics
/// Where that does not hold.
pub fn check(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match kind {
        0 => topics(text),
        1 => properties(text),
        2 => address(text),
        3 => duration(text),
        _ => key(text),
    }
}

fn topics(text: &str) {
    let texts: Vec<&str> = text.split(BETWEEN).collect();
    let names: Vec<String> = (0..texts.len()).map(|at| format!("{at}.toml")).collect();
    let files = names.iter().map(String::as_str).zip(texts);
    let declared = match Declared::parse(files) {
        Ok(declared) => declared,
        Err(error) => {
            let error = error.to_string();
            let place = error.split(':').next().unwrap_or_default();
            assert!(
                place == "the topics' declarations" || names.iter().any(|name| name == place),
                "{error}"
            );
            return;
        }
    };
    let all: Vec<_> = declared.iter().collect();
    assert!(
        Topic::ALL
            .iter()
            .all(|it| all.iter().any(|(topic, ..)| topic == it))
    );
    let partitions = all[0].2.partitions;
    for (_, _, topic) in &all {
        assert!(topic.partitions == partitions && partitions > 0 && topic.replication_factor > 0);
    }

    // What is made as planned leaves nothing to do.
    let mut cluster = Actual {
        brokers: usize::try_from(i32::MAX).expect("fits"),
        topics: BTreeMap::new(),
    };
    let first = plan(&declared, &cluster);
    assert!(first.unchanged.is_empty());
    for action in first.actions {
        let Action::CreateTopic {
            topic,
            partitions,
            replication_factor,
            configs,
        } = action
        else {
            panic!("there is no topic to be changed: {action:?}")
        };
        let own = |value| ActualConfig { value, own: true };
        let configs = configs.into_iter();
        let made = ActualTopic {
            partitions,
            replication_factor,
            configs: configs.map(|(name, value)| (name, own(value))).collect(),
        };
        assert!(cluster.topics.insert(topic, made).is_none());
    }
    let second = plan(&declared, &cluster);
    assert!(second.actions.is_empty(), "{:?}", second.actions);
    assert_eq!(second.refusals, first.refusals);
    assert_eq!(second.unchanged.len(), Topic::ALL.len());
}

/// No value is shown: what is said of properties, and of what is none, is told
/// in full by their names and lines.
fn properties(text: &str) {
    const REFUSED: &str = " cannot be set here, only how brokers are reached: security.protocol, ";
    let path = Path::new("kafka.properties");
    match KafkaProperties::parse(path, text) {
        Ok(properties) => {
            let mut again = String::new();
            let mut names = BTreeSet::new();
            for (name, value) in properties.iter() {
                assert!(is_name(name) && !value.contains('\n'));
                again.push_str(&format!("{name}={value}\n"));
                names.insert(name);
            }
            assert_eq!(format!("{properties:?}"), format!("{names:?}"));
            assert!(!names.iter().any(|name| ["acks", "group.id"].contains(name)));
            let again = KafkaProperties::parse(path, &again).expect("it is read back");
            assert!(again == properties);
        }
        Err(error) => {
            let error = error.to_string();
            let said = error
                .strip_prefix("kafka.properties, line ")
                .and_then(|rest| rest.split_once(": "));
            let (line, said) = said.expect("the error says which line");
            let line: usize = line.parse().expect("the number of a line");
            let property = text.lines().nth(line - 1).expect("there is such a line");
            let name = property.split_once('=').map(|(name, _)| name.trim());
            match name.filter(|name| is_name(name)) {
                Some(name) => {
                    let why = said.strip_prefix(name).expect("the error says which name");
                    assert!(why.starts_with(REFUSED) && why.len() < 400, "{why}");
                }
                None => assert!(said.starts_with("a property is NAME=VALUE, its name of a-z")),
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_in_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
    !text.is_empty() && text.len() < 64 && text.chars().all(is_in_names)
}

/// An address is shown without the name and password in it.
fn address(text: &str) {
    let url: ServerUrl = text.parse().expect("any text is one");
    assert_eq!(url.expose(), text);
    let shown = url.to_string();
    assert_eq!(format!("{url:?}"), format!("{shown:?}"));
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let expected = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}***@{host}{path}"),
        None => text.to_owned(),
    };
    assert_eq!(shown, expected);
    match parse_listen(text) {
        Ok(address) => assert_eq!(parse_listen(&address.to_string()), Ok(address)),
        Err(error) => assert!(error.contains("127.0.0.1:7700")),
    }
}

fn duration(text: &str) {
    match parse_duration(text) {
        Ok(duration) => {
            let longest = Duration::from_secs(3_155_760_000);
            assert!(Duration::from_secs(1) <= duration && duration <= longest);
            let again = format!("{}s", duration.as_secs());
            assert_eq!(parse_duration(&again), Ok(duration));
            assert!(
                text.chars()
                    .all(|c| c.is_ascii_digit() || "smhd".contains(c))
            );
        }
        Err(error) => assert!(error.contains("15m")),
    }
}

/// Secrets that are too short are refused, and none is shown.
fn key(text: &str) {
    let given: GivenSecret = text.parse().expect("any text is one");
    let is_long = text.len() >= Secret::MIN_BYTES;
    match given.check() {
        Ok(None) => assert!(text.is_empty()),
        Ok(Some(secret)) => {
            assert!(is_long && secret.expose() == text);
            assert_eq!(
                format!("{secret:?} {given:?}"),
                "Secret(redacted) GivenSecret(redacted)"
            );
        }
        Err(error) => {
            assert!(
                !is_long && matches!(error, KeyError::ShortSecret(length) if length == text.len())
            );
        }
    }
    let by_algorithm = [Algorithm::EdDsa, Algorithm::Rs256]
        .map(|algorithm| Auth::public_key(text.as_bytes(), Some(algorithm)).is_ok());
    let by_itself = Auth::public_key(text.as_bytes(), None).is_ok();
    assert_eq!(by_itself, by_algorithm.contains(&true));
    let confused = Auth::public_key(text.as_bytes(), Some(Algorithm::Hs256));
    assert!(matches!(confused, Err(KeyError::WrongAlgorithm(_))));
}
