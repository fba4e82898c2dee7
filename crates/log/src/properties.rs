use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(feature = "kafka")]
use rdkafka::config::ClientConfig;

/// The properties of librdkafka that may be given, by name or by how the name
/// begins: how brokers are reached, how both sides prove who they are. All else
/// is part of what is promised (`acks`, `group.id`, …) and ours.
const ALLOWED: [&str; 11] = [
    "security.protocol",
    "sasl.",
    "ssl.",
    "enable.ssl.certificate.verification",
    "https.ca.",
    "broker.address.family",
    "broker.address.ttl",
    "client.rack",
    "connections.max.idle.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
];

/// A longer name is none of librdkafka's, but perhaps a secret.
const MAX_NAME_BYTES: usize = 63;

/// Further properties of the Kafka client, with the names of librdkafka's
/// [CONFIGURATION.md]: TLS, SASL. Their values may be secrets and are never
/// shown.
///
/// [CONFIGURATION.md]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaProperties(BTreeMap<String, String>);

/// Why a file of properties cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PropertiesError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line is no property.
    #[error(
        "{}, line {line}: a property is NAME=VALUE, its name of a-z, 0-9, dots and underscores",
        .path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// A property is not among those that may be given.
    #[error(
        "{}, line {line}: {name} cannot be set here, only how brokers are reached: {}",
        .path.display(), ALLOWED.map(|it| if it.ends_with('.') { format!("{it}*") } else { it.to_owned() }).join(", ")
    )]
    Refused {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The property.
        name: String,
    },
    /// The client does not take them.
    #[cfg(feature = "kafka")]
    #[error("{}: {error}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rdkafka::error::KafkaError,
    },
}

impl KafkaProperties {
    /// Reads a file of `name=value` lines; empty ones and those that begin with
    /// `#` say nothing.
    ///
    /// # Errors
    /// [`PropertiesError`], with the file and the line.
    #[cfg(feature = "kafka")]
    pub fn read(path: &Path) -> Result<Self, PropertiesError> {
        let text = std::fs::read_to_string(path).map_err(|error| PropertiesError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let properties = Self::parse(path, &text)?;
        // The client says of each by itself what is wrong with it.
        let mut config = ClientConfig::new();
        properties.set(&mut config);
        config
            .create_native_config()
            .map_err(|error| PropertiesError::Invalid {
                path: path.to_owned(),
                error,
            })?;
        Ok(properties)
    }

    /// Reads the text of a file, whose path is told in errors. Whether the
    /// client takes the properties is not asked.
    ///
    /// # Errors
    /// [`PropertiesError`], with the file and the line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PropertiesError> {
        let mut properties = BTreeMap::new();
        for (line, property) in (1..).zip(text.lines()) {
            let property = property.trim();
            if property.is_empty() || property.starts_with('#') {
                continue;
            }
            let path = path.to_owned();
            let Some((name, value)) = property.split_once('=') else {
                return Err(PropertiesError::Malformed { path, line });
            };
            let name = name.trim();
            // What is no name, such as a line of a key that ends with `=`, is
            // not shown.
            if !is_name(name) {
                return Err(PropertiesError::Malformed { path, line });
            }
            let is_allowed = ALLOWED.iter().any(|allowed| match allowed.ends_with('.') {
                true => name.starts_with(allowed),
                false => name == *allowed,
            });
            if !is_allowed {
                let name = name.to_owned();
                return Err(PropertiesError::Refused { path, line, name });
            }
            properties.insert(name.to_owned(), value.trim().to_owned());
        }
        Ok(Self(properties))
    }

    /// Each property, by name. Its value may be a secret.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = |(name, value)| (String::as_str(name), String::as_str(value));
        self.0.iter().map(texts)
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn set(&self, config: &mut ClientConfig) {
        for (name, value) in &self.0 {
            config.set(name, value);
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_in_names = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b);
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_in_names)
}

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KafkaProperties, String> {
        KafkaProperties::parse(Path::new("k.properties"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_a_property_a_line() {
        let text = "# who we are\n\nsecurity.protocol=SASL_SSL\n sasl.password = a=b \n";
        let properties = parse(text).unwrap();
        let expected = [("sasl.password", "a=b"), ("security.protocol", "SASL_SSL")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(properties.0, BTreeMap::from(expected));
        let shown = format!("{properties:?}");
        assert!(shown.contains("sasl.password"), "{shown}");
        assert!(!shown.contains("a=b"), "{shown}");
    }

    #[test]
    fn what_is_promised_cannot_be_changed() {
        for (text, expected) in [
            ("acks=1", "k.properties, line 1: acks cannot be set here"),
            ("\nsslx=1", "line 2: sslx cannot"),
            ("#\n#\nnothing", "line 3: a property is NAME=VALUE"),
            ("=x", "line 1: a property is NAME=VALUE"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_key_in_the_place_of_a_file_of_properties_is_not_shown() {
        let key = "MC4CAQAwBQYDK2VwBCIEIDFhMmIzYzRkNWU2ZjdnOGg5aTBqMWsybDNtNG41bzY=";
        let error = parse(key).unwrap_err();
        assert!(
            error.contains("line 1: a property is NAME=VALUE"),
            "{error}"
        );
        assert!(!error.contains("MC4"), "{error}");
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn the_client_is_asked_whether_it_knows_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "ssl.no.such.thing=1\n").unwrap();
        let error = KafkaProperties::read(file.path()).unwrap_err().to_string();
        assert!(error.contains("ssl.no.such.thing"), "{error}");
        let error = KafkaProperties::read(Path::new("/nowhere/k")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/k"), "{error}");
    }
}
