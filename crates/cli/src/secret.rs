//! Where the secret that tokens are signed with comes from.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tidings_service::auth::{GivenSecret, Secret};

/// The file in a data folder that keeps the secret `tidings dev` made.
const FILE: &str = "jwt-secret";

/// The data folder and the secret.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SecretArgs {
    /// Data folder of `tidings dev`
    #[arg(
        long,
        env = "TIDINGS_DATA",
        value_name = "DIR",
        default_value = "./tidings-data"
    )]
    pub(crate) data: PathBuf,
    /// Secret that tokens are signed with, at least 32 bytes [default: the data folder's]
    #[arg(
        long,
        env = "TIDINGS_JWT_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    jwt_secret: Option<GivenSecret>,
    /// File that holds the secret
    #[arg(
        long,
        env = "TIDINGS_JWT_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "jwt_secret"
    )]
    jwt_secret_file: Option<PathBuf>,
}

impl SecretArgs {
    /// The secret that is given, or else the data folder's.
    pub(crate) fn find(&self) -> Result<Secret> {
        if let Some(secret) = self.given()? {
            return Ok(secret);
        }
        match read(&self.data)? {
            Some(secret) => Ok(secret),
            None => bail!(
                "no secret to sign tokens with: set TIDINGS_JWT_SECRET to the server's, or give \
                 --data the folder of a `tidings dev` that has run ({} holds none)",
                self.data.display()
            ),
        }
    }

    /// As [`find`](Self::find), but makes the data folder's where there is
    /// none yet.
    pub(crate) fn find_or_make(&self) -> Result<Secret> {
        if let Some(secret) = self.given()? {
            return Ok(secret);
        }
        match read(&self.data)? {
            Some(secret) => Ok(secret),
            None => make(&self.data),
        }
    }

    fn given(&self) -> Result<Option<Secret>> {
        let given = match &self.jwt_secret {
            Some(given) => given.check().context("TIDINGS_JWT_SECRET")?,
            None => None,
        };
        match (given, &self.jwt_secret_file) {
            (None, Some(file)) => Ok(Some(Secret::from_file(file)?)),
            (given, _) => Ok(given),
        }
    }
}

fn read(data: &Path) -> Result<Option<Secret>> {
    let path = data.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let secret = Secret::new(text.trim_end_matches(['\n', '\r']));
    Ok(Some(secret.with_context(|| path.display().to_string())?))
}

fn make(data: &Path) -> Result<Secret> {
    // 244 bits of the system's randomness.
    let simple = || uuid::Uuid::new_v4().simple();
    let text = format!("{}{}", simple(), simple());
    let path = data.join(FILE);
    // Under another name first, so that no crash leaves half a secret.
    let partial = data.join(format!("{FILE}.new"));
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&partial, &path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Secret::new(text)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn args(data: &Path) -> SecretArgs {
        SecretArgs {
            data: data.to_owned(),
            jwt_secret: None,
            jwt_secret_file: None,
        }
    }

    #[test]
    fn a_secret_is_made_once_and_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let args = args(dir.path());
        let error = args.find().unwrap_err().to_string();
        assert!(
            error.contains("TIDINGS_JWT_SECRET") && error.contains("--data"),
            "{error}"
        );
        let made = args.find_or_make().unwrap();
        assert_eq!(made.expose().len(), 64);
        assert_eq!(args.find_or_make().unwrap().expose(), made.expose());
        assert_eq!(args.find().unwrap().expose(), made.expose());
        let mode = fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_given_wins_over_the_data_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut args = args(dir.path());
        args.find_or_make().unwrap();
        args.jwt_secret = "x".repeat(32).parse().ok();
        assert_eq!(args.find().unwrap().expose(), "x".repeat(32));
        args.jwt_secret = "short".parse().ok();
        let error = format!("{:#} {args:?}", args.find().unwrap_err());
        assert!(
            error.contains("TIDINGS_JWT_SECRET") && !error.contains("short\""),
            "{error}"
        );
    }
}
