use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jsonwebtoken::{DecodingKey, EncodingKey};

use super::Auth;

/// Why tokens cannot be checked with what was configured.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The HS256 secret is shorter than its hash, as RFC 7518 section 3.2
    /// forbids.
    #[error("the JWT secret is {0} bytes long; HS256 needs at least {min}", min = Secret::MIN_BYTES)]
    ShortSecret(usize),
    /// Neither a secret nor a public key.
    #[error(
        "no key to check tokens with: set TIDINGS_JWT_SECRET, TIDINGS_JWT_SECRET_FILE, \
         TIDINGS_JWT_PUBLIC_KEY or TIDINGS_JWT_PUBLIC_KEY_FILE"
    )]
    Missing,
    /// More than one.
    #[error("more than one key to check tokens with: set one of {0} and {1}")]
    Ambiguous(&'static str, &'static str),
    /// The file could not be read.
    #[error("{name}: cannot read {path}: {error}", path = path.display())]
    Unreadable {
        /// The variable that named it.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// The public key is no PEM of a key of that algorithm.
    #[error("TIDINGS_JWT_PUBLIC_KEY: not a PEM public key for {0}")]
    BadPublicKey(Algorithm),
    /// The public key is no PEM of any algorithm that is supported.
    #[error("TIDINGS_JWT_PUBLIC_KEY: not a PEM public key for EdDSA or RS256")]
    UnknownPublicKey,
    /// The algorithm does not go with the key.
    #[error("TIDINGS_JWT_ALGORITHM: {0} does not go with the key that was given")]
    WrongAlgorithm(Algorithm),
}

/// The secret that HS256 tokens are signed with: its UTF-8 bytes. Never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A shorter one is refused.
    pub const MIN_BYTES: usize = 32;

    /// Checks and keeps a secret.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`].
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        if text.len() < Self::MIN_BYTES {
            return Err(KeyError::ShortSecret(text.len()));
        }
        Ok(Self(text))
    }

    /// Reads a secret from a file, without the line feed at its end.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`], [`KeyError::ShortSecret`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        Self::new(read("TIDINGS_JWT_SECRET_FILE", path)?.trim_end_matches(['\n', '\r']))
    }

    /// The secret itself, to be written where it is kept.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A secret as an argument or a variable gave it, to be checked later: an
/// argument that is refused while it is parsed is shown in the error.
#[derive(Clone)]
pub struct GivenSecret(String);

impl GivenSecret {
    /// The secret, if one was given that is not empty.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`].
    pub fn check(&self) -> Result<Option<Secret>, KeyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        Secret::new(self.0.as_str()).map(Some)
    }
}

impl FromStr for GivenSecret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for GivenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenSecret(redacted)")
    }
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    #[value(name = "HS256")]
    Hs256,
    /// Ed25519.
    #[value(name = "EdDSA")]
    EdDsa,
    /// RSA PKCS#1 v1.5 with SHA-256.
    #[value(name = "RS256")]
    Rs256,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        })
    }
}

/// How tokens are checked: one of a secret and a public key.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AuthArgs {
    /// Secret that tokens are signed with (HS256), at least 32 bytes
    #[arg(
        long,
        env = "TIDINGS_JWT_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub jwt_secret: Option<GivenSecret>,
    /// File that holds the secret
    #[arg(long, env = "TIDINGS_JWT_SECRET_FILE", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Public key that tokens are checked with, as PEM (EdDSA or RS256)
    #[arg(
        long,
        env = "TIDINGS_JWT_PUBLIC_KEY",
        hide_env_values = true,
        value_name = "PEM"
    )]
    pub jwt_public_key: Option<String>,
    /// File that holds the public key
    #[arg(long, env = "TIDINGS_JWT_PUBLIC_KEY_FILE", value_name = "FILE")]
    pub jwt_public_key_file: Option<PathBuf>,
    /// The only algorithm that is accepted [default: the key's]
    #[arg(long, env = "TIDINGS_JWT_ALGORITHM", value_name = "ALGORITHM")]
    pub jwt_algorithm: Option<Algorithm>,
}

impl AuthArgs {
    /// Reads the files and checks the key.
    ///
    /// # Errors
    /// [`KeyError`], naming the variable to change.
    pub fn load(&self) -> Result<Auth, KeyError> {
        let given = match &self.jwt_secret {
            Some(given) => given.check()?,
            None => None,
        };
        let secret = match (given, &self.jwt_secret_file) {
            (Some(_), Some(_)) => {
                return Err(KeyError::Ambiguous(
                    "TIDINGS_JWT_SECRET",
                    "TIDINGS_JWT_SECRET_FILE",
                ));
            }
            (Some(secret), None) => Some(secret),
            (None, Some(path)) => Some(Secret::from_file(path)?),
            (None, None) => None,
        };
        let public_key = match (&self.jwt_public_key, &self.jwt_public_key_file) {
            (Some(_), Some(_)) => {
                return Err(KeyError::Ambiguous(
                    "TIDINGS_JWT_PUBLIC_KEY",
                    "TIDINGS_JWT_PUBLIC_KEY_FILE",
                ));
            }
            (Some(pem), None) => Some(pem.clone()),
            (None, Some(path)) => Some(read("TIDINGS_JWT_PUBLIC_KEY_FILE", path)?),
            (None, None) => None,
        };
        match (secret, public_key) {
            (Some(_), Some(_)) => Err(KeyError::Ambiguous(
                "TIDINGS_JWT_SECRET",
                "TIDINGS_JWT_PUBLIC_KEY",
            )),
            (None, None) => Err(KeyError::Missing),
            (Some(secret), None) => match self.jwt_algorithm {
                None | Some(Algorithm::Hs256) => Ok(Auth::hs256(&secret)),
                Some(other) => Err(KeyError::WrongAlgorithm(other)),
            },
            (None, Some(pem)) => Auth::public_key(pem.as_bytes(), self.jwt_algorithm),
        }
    }
}

fn read(name: &'static str, path: &Path) -> Result<String, KeyError> {
    std::fs::read_to_string(path).map_err(|error| KeyError::Unreadable {
        name,
        path: path.to_owned(),
        error,
    })
}

/// The two halves of an HS256 secret.
pub(super) fn hs256(secret: &Secret) -> (DecodingKey, EncodingKey) {
    let bytes = secret.expose().as_bytes();
    (
        DecodingKey::from_secret(bytes),
        EncodingKey::from_secret(bytes),
    )
}

/// A public key; its algorithm is the one given, or found by trying.
pub(super) fn public_key(
    pem: &[u8],
    algorithm: Option<Algorithm>,
) -> Result<(DecodingKey, Algorithm), KeyError> {
    let read = |algorithm| match algorithm {
        Algorithm::EdDsa => DecodingKey::from_ed_pem(pem).ok(),
        Algorithm::Rs256 => DecodingKey::from_rsa_pem(pem).ok(),
        Algorithm::Hs256 => None,
    };
    match algorithm {
        Some(Algorithm::Hs256) => Err(KeyError::WrongAlgorithm(Algorithm::Hs256)),
        Some(algorithm) => Ok((
            read(algorithm).ok_or(KeyError::BadPublicKey(algorithm))?,
            algorithm,
        )),
        None => [Algorithm::EdDsa, Algorithm::Rs256]
            .into_iter()
            .find_map(|algorithm| Some((read(algorithm)?, algorithm)))
            .ok_or(KeyError::UnknownPublicKey),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        let error = Secret::new("s".repeat(31)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the JWT secret is 31 bytes long; HS256 needs at least 32"
        );
        // Bytes count, not characters.
        let secret = Secret::new("é".repeat(16)).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
    }

    #[test]
    fn exactly_one_key_must_be_given() {
        let given = |text: &str| Some(text.parse::<GivenSecret>().unwrap());
        let secret = given("0123456789abcdef0123456789abcdef");
        let short = AuthArgs {
            jwt_secret: given("a short one"),
            ..AuthArgs::default()
        };
        let error = short.load().err().unwrap();
        assert!(matches!(error, KeyError::ShortSecret(11)));
        assert!(!format!("{error} {short:?}").contains("a short one"));
        assert!(matches!(AuthArgs::default().load(), Err(KeyError::Missing)));
        let both = AuthArgs {
            jwt_secret: secret.clone(),
            jwt_public_key: Some("pem".into()),
            ..AuthArgs::default()
        };
        assert!(matches!(both.load(), Err(KeyError::Ambiguous(..))));
        let crossed = AuthArgs {
            jwt_secret: secret,
            jwt_algorithm: Some(Algorithm::Rs256),
            ..AuthArgs::default()
        };
        assert!(matches!(
            crossed.load(),
            Err(KeyError::WrongAlgorithm(Algorithm::Rs256))
        ));
        let no_pem = AuthArgs {
            jwt_public_key: Some("pem".into()),
            ..AuthArgs::default()
        };
        assert!(matches!(no_pem.load(), Err(KeyError::UnknownPublicKey)));
    }
}
