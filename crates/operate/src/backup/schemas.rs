use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{BackupError, SchemaText};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The schemas of a registry with Confluent's API, by their ids.
#[derive(Clone, Debug)]
pub struct Schemas {
    url: String,
    http: reqwest::Client,
}

impl Schemas {
    /// A registry by the base of its API. Nothing is asked yet.
    ///
    /// # Errors
    /// [`BackupError::Registry`] where no client can be made.
    pub fn new(url: &str) -> Result<Self, BackupError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| BackupError::Registry(error.to_string()))?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            http,
        })
    }

    /// The schema of an id; none where the registry has none.
    async fn get(&self, id: u32) -> Result<Option<String>, BackupError> {
        #[derive(Deserialize)]
        struct Answer {
            schema: String,
        }
        // The URL may hold a password.
        let failed = |error: reqwest::Error| BackupError::Registry(error.without_url().to_string());
        let url = format!("{}/schemas/ids/{id}", self.url);
        let answer = self.http.get(url).send().await.map_err(failed)?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.error_for_status().map_err(failed)?;
        let Answer { schema } = answer.json().await.map_err(failed)?;
        Ok(Some(schema))
    }

    /// Fills in those that are not there yet.
    pub(super) async fn fill_in(&self, schemas: &mut [SchemaText]) -> Result<(), BackupError> {
        for entry in schemas.iter_mut().filter(|entry| entry.schema.is_none()) {
            let schema = self.get(entry.id).await?;
            entry.schema = Some(schema.ok_or_else(|| {
                BackupError::refused(format!(
                    "the registry has no schema {}, which records name: without it they cannot be \
                     read",
                    entry.id
                ))
            })?);
        }
        Ok(())
    }

    /// Sees that the registry gives these schemas by these ids.
    pub(super) async fn check(&self, schemas: &[SchemaText]) -> Result<(), BackupError> {
        let mut faults = Vec::new();
        for SchemaText { id, schema } in schemas {
            match self.get(*id).await? {
                // Of a backup that was interrupted only the id may be known.
                Some(found) if schema.as_ref().is_none_or(|it| is_same(&found, it)) => {}
                Some(_) => faults.push(format!("{id} is another schema")),
                None => faults.push(format!("{id} is missing")),
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(BackupError::refused(format!(
            "the registry does not have the schemas that the records name ({}): bring its own \
             backup back, or import the schemas of backup.json under their ids",
            faults.join(", ")
        )))
    }
}

/// Registries lay schemas out as they like.
fn is_same(one: &str, other: &str) -> bool {
    let parse = |text| serde_json::from_str::<Value>(text).ok();
    one == other || (parse(one).is_some() && parse(one) == parse(other))
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn layout_makes_no_other_schema() {
        let schema = r#"{"type": "record", "name": "A", "fields": []}"#;
        assert!(is_same(
            schema,
            r#"{"name":"A","type":"record","fields":[]}"#
        ));
        assert!(!is_same(
            schema,
            r#"{"name":"B","type":"record","fields":[]}"#
        ));
        assert!(!is_same("no JSON", "no JSON either"));
    }
}
