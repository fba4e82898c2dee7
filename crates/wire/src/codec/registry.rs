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
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{DecodeError, RegistryConfig, RegistryError, lock};
use crate::Topic;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a decoding thread waits for a schema.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Every reader can read what every writer wrote, whichever is older.
pub(crate) const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// A registry in use.
pub(crate) struct Registry {
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
    pub(crate) fn new(config: &RegistryConfig) -> Result<Self, RegistryError> {
        let url = config.url.trim_end_matches('/').to_owned();
        let unusable = |message: String| RegistryError::Unavailable {
            url: without_password(&url),
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
    pub(crate) fn subject(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, lock::subject(topic))
    }

    /// Registers our schema of a topic, if it is not there yet; its id.
    pub(crate) async fn register(&self, topic: Topic) -> Result<u32, RegistryError> {
        let text = lock::schema(topic).ok_or_else(|| RegistryError::Refused {
            subject: self.subject(topic),
            message: "the topic has no schema".to_owned(),
        })?;
        self.register_text(topic, text).await
    }

    /// Registers a version of a topic's schema, if it is not there yet; its id.
    pub(crate) async fn register_text(
        &self,
        topic: Topic,
        text: &str,
    ) -> Result<u32, RegistryError> {
        let subject = self.subject(topic);
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
    pub(crate) async fn set_compatibility(&self, topic: Topic) -> Result<bool, RegistryError> {
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
            .map_err(|error| self.unanswered(error))?;
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
    pub(crate) async fn check_compatibility(&self, topic: Topic) -> Result<(), RegistryError> {
        let found = self.compatibility(topic).await?;
        if found.as_deref() == Some(COMPATIBILITY) {
            return Ok(());
        }
        let found = found.as_deref().unwrap_or("not set");
        Err(RegistryError::Refused {
            subject: self.subject(topic),
            message: format!(
                "its compatibility is {found} and must be {COMPATIBILITY}; \
                 `tidings topics apply` registers the schemas and sets it"
            ),
        })
    }

    /// The compatibility of a topic's subject, its own or else the registry's;
    /// none where neither is set.
    pub(crate) async fn compatibility(
        &self,
        topic: Topic,
    ) -> Result<Option<String>, RegistryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Setting {
            compatibility_level: String,
        }

        let subject = self.subject(topic);
        let path = format!("config/{subject}?defaultToGlobal=true");
        let setting: Option<Setting> = self.get(&path).await?;
        Ok(setting.map(|setting| setting.compatibility_level))
    }

    /// Every version of a topic's schema that the registry has, oldest first:
    /// its number, its id and its text. None where there is no such subject.
    pub(crate) async fn versions(
        &self,
        topic: Topic,
    ) -> Result<Vec<(u32, u32, String)>, RegistryError> {
        #[derive(Deserialize)]
        struct Version {
            id: u32,
            schema: String,
        }

        let path = format!("subjects/{}/versions", self.subject(topic));
        let mut numbers: Vec<u32> = self.get(&path).await?.unwrap_or_default();
        numbers.sort_unstable();
        let mut versions = Vec::with_capacity(numbers.len());
        for number in numbers {
            // One that was deleted meanwhile is not there.
            let version: Option<Version> = self.get(&format!("{path}/{number}")).await?;
            versions.extend(version.map(|it| (number, it.id, it.schema)));
        }
        Ok(versions)
    }

    /// What the registry has against a schema as the next version of a topic's;
    /// none: nothing.
    pub(crate) async fn objection(
        &self,
        topic: Topic,
        text: &str,
    ) -> Result<Option<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            is_compatible: bool,
            #[serde(default)]
            messages: Vec<String>,
        }

        let subject = self.subject(topic);
        let answer = self
            .http
            .post(format!(
                "{}/compatibility/subjects/{subject}/versions?verbose=true",
                self.url
            ))
            .json(&serde_json::json!({"schema": text, "schemaType": "AVRO"}))
            .send()
            .await
            .map_err(|error| self.unanswered(error))?;
        match answer.status() {
            // No such subject: nothing that it could not be compatible with.
            reqwest::StatusCode::NOT_FOUND => Ok(None),
            status if status.is_client_error() => {
                let why = answer
                    .text()
                    .await
                    .map_err(|error| self.unanswered(error))?;
                Ok(Some(format!("HTTP status {status}: {why}")))
            }
            status if status.is_success() => {
                let answer: Answer = answer
                    .json()
                    .await
                    .map_err(|error| self.unanswered(error))?;
                Ok(
                    (!answer.is_compatible).then(|| match answer.messages.as_slice() {
                        [] => "it is not compatible with what is there".to_owned(),
                        messages => messages.join("; "),
                    }),
                )
            }
            status => Err(self.unavailable(format!("HTTP status {status}"))),
        }
    }

    /// Asks for JSON; none: there is no such thing.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, RegistryError> {
        let answer = self.http.get(format!("{}/{path}", self.url)).send().await;
        let answer = answer.map_err(|error| self.unanswered(error))?;
        match answer.status() {
            reqwest::StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let value = answer.json().await;
                Ok(Some(value.map_err(|error| self.unanswered(error))?))
            }
            // Asking again does not help: who asks, or how, is not welcome.
            status if status.is_client_error() && !is_passing(status) => {
                Err(RegistryError::Refused {
                    subject: path.to_owned(),
                    message: format!("HTTP status {status}"),
                })
            }
            status => Err(self.unavailable(format!("HTTP status {status}"))),
        }
    }

    /// The text of the schema with this id. Blocks the calling thread.
    pub(crate) fn schema(&self, id: u32) -> Result<String, DecodeError> {
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
            url: without_password(&self.url),
            message,
        }
    }

    /// What kept a request from being answered. Its own text names the URL.
    fn unanswered(&self, error: reqwest::Error) -> RegistryError {
        let error = error.without_url();
        self.unavailable(match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
    }
}

/// Whether what was refused may be granted by and by.
fn is_passing(status: reqwest::StatusCode) -> bool {
    matches!(
        status,
        reqwest::StatusCode::REQUEST_TIMEOUT | reqwest::StatusCode::TOO_MANY_REQUESTS
    )
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // It fails for URLs that can have none.
            parsed.set_password(Some("…")).ok();
            parsed.to_string()
        }
        _ => url.to_owned(),
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
