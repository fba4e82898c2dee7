//! A schema registry with Confluent's API.

use std::sync::mpsc;
use std::time::Duration;

use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredSchema, SchemaType, SuppliedSchema,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{DecodeError, RegistryConfig, RegistryError, lock};
use crate::Topic;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a decoding thread waits for a schema.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Every reader can read what every writer wrote, whichever is older.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// A registry in use.
pub(super) struct Registry {
    url: String,
    prefix: String,
    /// For schemas.
    settings: SrSettings,
    /// For settings of subjects, which the converter has no call for.
    http: reqwest::Client,
    runtime: Handle,
}

impl Registry {
    /// Must be called in a tokio runtime, which later serves the lookups.
    pub(super) fn new(config: &RegistryConfig) -> Result<Self, RegistryError> {
        let url = config.url.trim_end_matches('/').to_owned();
        let unusable = |message: String| RegistryError::Unavailable {
            url: url.clone(),
            message,
        };
        let settings = SrSettings::new_builder(url.clone())
            .set_timeout(TIMEOUT)
            .build()
            .map_err(|error| unusable(message(&error)))?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let runtime = Handle::current();
        Ok(Self {
            url,
            prefix: config.topic_prefix.clone(),
            settings,
            http,
            runtime,
        })
    }

    /// The subject of a topic's values.
    pub(super) fn subject(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, lock::subject(topic))
    }

    /// Registers our schema of a topic, if it is not there yet; its id.
    pub(super) async fn register(&self, topic: Topic) -> Result<u32, RegistryError> {
        let subject = self.subject(topic);
        let text = lock::schema(topic).ok_or_else(|| RegistryError::Refused {
            subject: subject.clone(),
            message: "the topic has no schema".to_owned(),
        })?;
        let schema = SuppliedSchema::new(None, SchemaType::Avro, text.to_owned());
        match post_schema(&self.settings, subject.clone(), schema).await {
            Ok(registered) => Ok(registered.id),
            Err(error) => Err(match status(&error) {
                Some(400..=499) => RegistryError::Refused {
                    subject,
                    message: message(&error),
                },
                _ => self.unavailable(message(&error)),
            }),
        }
    }

    /// Sets a topic's subject to full transitive compatibility. False: there
    /// is no such subject yet, and this registry wants one first.
    pub(super) async fn set_compatibility(&self, topic: Topic) -> Result<bool, RegistryError> {
        #[derive(Serialize)]
        struct Setting {
            compatibility: &'static str,
        }

        let subject = self.subject(topic);
        let response = self
            .http
            .put(format!("{}/config/{subject}", self.url))
            .json(&Setting {
                compatibility: COMPATIBILITY,
            })
            .send()
            .await
            .map_err(|error| self.unavailable(error.to_string()))?;
        match response.status() {
            status if status.is_success() => Ok(true),
            reqwest::StatusCode::NOT_FOUND => Ok(false),
            status if status.is_client_error() => Err(RegistryError::Refused {
                subject,
                message: format!("cannot set its compatibility: HTTP status {status}"),
            }),
            status => Err(self.unavailable(format!("HTTP status {status}"))),
        }
    }

    /// Checks that a topic's subject has full transitive compatibility.
    pub(super) async fn check_compatibility(&self, topic: Topic) -> Result<(), RegistryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Setting {
            compatibility_level: String,
        }

        let subject = self.subject(topic);
        let response = self
            .http
            .get(format!(
                "{}/config/{subject}?defaultToGlobal=true",
                self.url
            ))
            .send()
            .await
            .map_err(|error| self.unavailable(error.to_string()))?;
        let found = match response.status() {
            status if status.is_success() => {
                let setting: Setting = response
                    .json()
                    .await
                    .map_err(|error| self.unavailable(error.to_string()))?;
                setting.compatibility_level
            }
            reqwest::StatusCode::NOT_FOUND => "not set".to_owned(),
            status => return Err(self.unavailable(format!("HTTP status {status}"))),
        };
        if found == COMPATIBILITY {
            return Ok(());
        }
        Err(RegistryError::Refused {
            subject,
            message: format!(
                "its compatibility is {found} and must be {COMPATIBILITY}; \
                 `tidings topics apply` registers the schemas and sets it"
            ),
        })
    }

    /// The text of the schema with this id. Blocks the calling thread.
    pub(super) fn schema(&self, id: u32) -> Result<String, DecodeError> {
        let settings = self.settings.clone();
        let (answer, answered) = mpsc::sync_channel(1);
        // Not `block_on`: that panics on a thread that drives a runtime.
        self.runtime.spawn(async move {
            let found = get_schema_by_id(id, &settings).await;
            if answer.send(found).is_err() {
                tracing::debug!(id, "a schema came after its reader had given up");
            }
        });
        match answered.recv_timeout(LOOKUP_TIMEOUT) {
            Ok(Ok(RegisteredSchema {
                schema_type: SchemaType::Avro,
                schema,
                ..
            })) => Ok(schema),
            Ok(Ok(_)) => Err(DecodeError::Malformed(format!(
                "schema id {id} is not Avro"
            ))),
            Ok(Err(error)) if status(&error) == Some(404) => Err(DecodeError::UnknownSchema(id)),
            Ok(Err(error)) => Err(DecodeError::Registry(message(&error))),
            Err(_) => Err(DecodeError::Registry("no answer in time".to_owned())),
        }
    }

    fn unavailable(&self, message: String) -> RegistryError {
        RegistryError::Unavailable {
            url: self.url.clone(),
            message,
        }
    }
}

/// The HTTP status that a registry answered with. Its own codes, such as
/// 40403, begin with it; some answers have no body to hold one.
fn status(error: &SRCError) -> Option<u32> {
    let raw: &RawError = std::error::Error::source(error)?.downcast_ref()?;
    match raw.error_code {
        0 => {
            let (_, status) = error.error.split_once("status ")?;
            status.get(..3)?.parse().ok()
        }
        code @ ..1_000 => Some(code),
        code => Some(code / 100),
    }
}

fn message(error: &SRCError) -> String {
    match &error.cause {
        Some(cause) => format!("{}: {cause}", error.error),
        None => error.error.clone(),
    }
}
