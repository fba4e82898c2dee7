use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::LogError;
use crate::pauses::{Pause, Pauses};

/// The folder, in the data folder, that has a file for each paused consumer.
const FOLDER: &str = "paused";
const EXTENSION: &str = "json";

/// What is paused, in files beside the log: one who pauses need not be the
/// process that holds the data folder.
pub(super) struct FolderPauses {
    folder: PathBuf,
    known: BTreeMap<String, Pause>,
}

impl FolderPauses {
    pub(super) fn new(data: &Path) -> Self {
        Self {
            folder: data.join(FOLDER),
            known: BTreeMap::new(),
        }
    }

    fn file(&self, consumer: &str) -> Result<PathBuf, LogError> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.';
        if consumer.is_empty() || consumer.starts_with('.') || !consumer.chars().all(is_plain) {
            return Err(LogError::Fatal(format!("no consumer's name: {consumer:?}")));
        }
        Ok(self.folder.join(format!("{consumer}.{EXTENSION}")))
    }

    fn read(&self) -> io::Result<BTreeMap<String, Pause>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        let mut known = BTreeMap::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|ending| ending != EXTENSION) {
                continue;
            }
            let Some(consumer) = path.file_stem().and_then(|stem| stem.to_str()) else {
                continue;
            };
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                // Resumed at this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // Somebody wanted it paused, whatever the file says.
            let pause = serde_json::from_slice(&bytes).unwrap_or_else(|error| Pause {
                reason: format!("{} cannot be read: {error}", path.display()),
                by: None,
                since_ms: 0,
            });
            known.insert(consumer.to_owned(), pause);
        }
        Ok(known)
    }

    /// Writes a file beside its place, and moves it there when it is durable.
    fn write(&self, path: &Path, pause: &Pause) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let unfinished = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(pause)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

impl Pauses for FolderPauses {
    fn look(&mut self) -> Result<&BTreeMap<String, Pause>, LogError> {
        self.known = self
            .read()
            .map_err(|error| unavailable(&self.folder, &error))?;
        Ok(&self.known)
    }

    fn pause(&mut self, consumer: &str, pause: &Pause) -> Result<(), LogError> {
        let path = self.file(consumer)?;
        self.write(&path, pause)
            .map_err(|error| unavailable(&path, &error))
    }

    fn resume(&mut self, consumer: &str) -> Result<(), LogError> {
        let path = self.file(consumer)?;
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&self.folder).and_then(|folder| folder.sync_all()),
        };
        removed.map_err(|error| unavailable(&path, &error))
    }
}

fn unavailable(path: &Path, error: &io::Error) -> LogError {
    LogError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_is_seen_by_others_and_stays() {
        let data = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (
            FolderPauses::new(data.path()),
            FolderPauses::new(data.path()),
        );
        assert!(one.look().unwrap().is_empty());
        one.resume("history").unwrap();
        let pause = Pause::now("a new disk".to_owned(), Some("alice".to_owned()));
        one.pause("history", &pause).unwrap();
        one.pause("search.g2", &pause).unwrap();
        let seen = other.look().unwrap();
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["history", "search.g2"]);
        assert_eq!(seen["history"], pause);
        other.resume("history").unwrap();
        assert!(!one.look().unwrap().contains_key("history"));
        for name in ["", "../x", ".json", "History"] {
            assert!(one.pause(name, &pause).is_err(), "{name}");
        }
        fs::write(data.path().join(FOLDER).join("cache.json"), "{").unwrap();
        assert!(
            one.look().unwrap()["cache"]
                .reason
                .contains("cannot be read")
        );
    }
}
