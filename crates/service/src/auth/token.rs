use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};
use tidings_domain::{Tenant, Timestamp, UserId};

use super::key::{self, Algorithm, KeyError, Secret};

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user (`sub`).
    pub user: UserId,
    /// The tenant (`tenant`).
    pub tenant: Tenant,
    /// When it ends (`exp`).
    pub expires_at: Timestamp,
    /// Messages a minute (`rate`); 0: no limit; none: the server's own limit.
    pub rate: Option<u32>,
}

/// Why a token was refused. Never holds anything of the token's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It is not three base64url parts with JSON in them, or its algorithm is
    /// none or an unknown one.
    #[error("the token is not a signed JWT")]
    Malformed,
    /// It is signed with another algorithm than is configured.
    #[error("the token is not signed with {0}")]
    Algorithm(Algorithm),
    /// The signature is not that of the configured key.
    #[error("the token's signature does not match")]
    Signature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is yet to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A claim is not there, or not what it should be.
    #[error("the token's claim `{0}` is missing or malformed")]
    Claim(&'static str),
}

/// Checks tokens, and with a secret makes them.
pub struct Auth {
    algorithm: Algorithm,
    decoding: DecodingKey,
    /// Only with a secret.
    encoding: Option<EncodingKey>,
    validation: Validation,
}

impl Auth {
    /// Tokens signed with a shared secret.
    #[must_use]
    pub fn hs256(secret: &Secret) -> Self {
        let (decoding, encoding) = key::hs256(secret);
        Self::new(Algorithm::Hs256, decoding, Some(encoding))
    }

    /// Tokens signed with the private half of this key (PEM), with exactly
    /// this algorithm, or if none is given the key's.
    ///
    /// # Errors
    /// [`KeyError`] where it is no such key.
    pub fn public_key(pem: &[u8], algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let (decoding, algorithm) = key::public_key(pem, algorithm)?;
        Ok(Self::new(algorithm, decoding, None))
    }

    fn new(algorithm: Algorithm, decoding: DecodingKey, encoding: Option<EncodingKey>) -> Self {
        let mut validation = Validation::new(match algorithm {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        });
        // Expired is expired: clocks within a deployment are kept in step.
        validation.leeway = 0;
        validation.validate_nbf = true;
        // The protocol gives `aud` no meaning, so it is not looked at.
        validation.validate_aud = false;
        Self {
            algorithm,
            decoding,
            encoding,
            validation,
        }
    }

    /// Checks a token: its algorithm and signature, `exp`, `nbf` where there
    /// is one, and that `sub`, `tenant`, `exp` and where there are any `iat`
    /// and `rate` are well-formed. There is no leeway.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn verify(&self, token: &str) -> Result<Claims, AuthError> {
        let data =
            jsonwebtoken::decode::<Map<String, Value>>(token, &self.decoding, &self.validation)
                .map_err(|error| self.classify(error.kind()))?;
        let claims = &data.claims;
        let user = text(claims, "sub")?;
        let tenant = text(claims, "tenant")?;
        let expires_at = claims.get("exp").ok_or(AuthError::Claim("exp"))?;
        for name in ["nbf", "iat"] {
            let value = claims.get(name);
            if value.is_some_and(|value| value.as_f64().is_none()) {
                return Err(AuthError::Claim(name));
            }
        }
        let rate = match claims.get("rate") {
            None => None,
            Some(value) => {
                let rate = value.as_u64().and_then(|rate| u32::try_from(rate).ok());
                Some(rate.ok_or(AuthError::Claim("rate"))?)
            }
        };
        Ok(Claims {
            user: UserId::parse(user).map_err(|_| AuthError::Claim("sub"))?,
            tenant: Tenant::parse(tenant).map_err(|_| AuthError::Claim("tenant"))?,
            expires_at: seconds(expires_at).ok_or(AuthError::Claim("exp"))?,
            rate,
        })
    }

    fn classify(&self, kind: &ErrorKind) -> AuthError {
        match kind {
            ErrorKind::InvalidSignature => AuthError::Signature,
            ErrorKind::InvalidAlgorithm => AuthError::Algorithm(self.algorithm),
            ErrorKind::ExpiredSignature => AuthError::Expired,
            ErrorKind::ImmatureSignature => AuthError::NotYetValid,
            ErrorKind::InvalidClaimFormat(name) if name == "nbf" => AuthError::Claim("nbf"),
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
                AuthError::Claim("exp")
            }
            _ => AuthError::Malformed,
        }
    }

    /// Signs a token for these claims.
    ///
    /// # Errors
    /// Where only a public key is configured.
    pub fn issue(&self, claims: &Claims) -> anyhow::Result<String> {
        let key = self
            .encoding
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("tokens can only be made with an HS256 secret"))?;
        let mut content = serde_json::json!({
            "sub": claims.user.as_str(),
            "tenant": claims.tenant.as_str(),
            "exp": claims.expires_at.0.div_euclid(1000),
        });
        if let Some(rate) = claims.rate {
            content["rate"] = rate.into();
        }
        Ok(jsonwebtoken::encode(&Header::default(), &content, key)?)
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, AuthError> {
    let value = claims.get(name).ok_or(AuthError::Claim(name))?;
    value.as_str().ok_or(AuthError::Claim(name))
}

/// A NumericDate of RFC 7519: seconds since the Unix epoch, maybe a fraction.
fn seconds(value: &Value) -> Option<Timestamp> {
    let ms = value.as_f64()? * 1000.0;
    // Past 2^53 the milliseconds would not be exact; that is the year 287,396.
    (ms.is_finite() && (0.0..9.0e15).contains(&ms)).then_some(Timestamp(ms as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const FUTURE: i64 = 4_000_000_000;

    fn auth() -> Auth {
        Auth::hs256(&Secret::new(SECRET).unwrap())
    }

    fn signed_as(algorithm: jsonwebtoken::Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn signed(claims: &Value) -> String {
        signed_as(jsonwebtoken::Algorithm::HS256, SECRET, claims)
    }

    #[test]
    fn what_was_issued_is_verified() {
        let claims = Claims {
            user: UserId::parse("alice").unwrap(),
            tenant: Tenant::parse("acme").unwrap(),
            expires_at: Timestamp(FUTURE * 1000),
            rate: Some(0),
        };
        assert_eq!(auth().verify(&auth().issue(&claims).unwrap()), Ok(claims));
    }

    #[test]
    fn claims_are_checked_one_by_one() {
        let good = json!({"sub": "alice", "tenant": "acme", "exp": FUTURE});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let without = |name: &str| {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            claims
        };
        let accepted = [
            good.clone(),
            with("rate", json!(120)),
            with("nbf", json!(1_000_000_000)),
            with("iat", json!(1_000_000_000.5)),
            with("exp", json!(4_000_000_000.25)),
            with("aud", json!("somebody else")),
            with("sub", json!("a".repeat(64))),
        ];
        for claims in accepted {
            assert!(auth().verify(&signed(&claims)).is_ok(), "{claims}");
        }
        let refused = [
            (without("sub"), AuthError::Claim("sub")),
            (without("tenant"), AuthError::Claim("tenant")),
            (without("exp"), AuthError::Claim("exp")),
            (with("sub", json!(7)), AuthError::Claim("sub")),
            (with("sub", json!("")), AuthError::Claim("sub")),
            (with("sub", json!("al ice")), AuthError::Claim("sub")),
            (with("sub", json!("a".repeat(65))), AuthError::Claim("sub")),
            (with("tenant", json!("ac/me")), AuthError::Claim("tenant")),
            (with("tenant", json!("ärger")), AuthError::Claim("tenant")),
            (with("tenant", json!(null)), AuthError::Claim("tenant")),
            (with("exp", json!("tomorrow")), AuthError::Claim("exp")),
            (with("exp", json!(1_000_000_000)), AuthError::Expired),
            (with("nbf", json!(FUTURE)), AuthError::NotYetValid),
            (with("nbf", json!("now")), AuthError::Claim("nbf")),
            (with("iat", json!("now")), AuthError::Claim("iat")),
            (with("rate", json!(-1)), AuthError::Claim("rate")),
            (with("rate", json!("fast")), AuthError::Claim("rate")),
            (
                with("rate", json!(4_294_967_296_u64)),
                AuthError::Claim("rate"),
            ),
        ];
        for (claims, why) in refused {
            assert_eq!(auth().verify(&signed(&claims)), Err(why), "{claims}");
        }
    }

    #[test]
    fn only_the_configured_algorithm_and_key_count() {
        let claims = json!({"sub": "alice", "tenant": "acme", "exp": FUTURE});
        let other_key = "another-secret-of-at-least-32-bytes";
        let forged = signed_as(jsonwebtoken::Algorithm::HS256, other_key, &claims);
        assert_eq!(auth().verify(&forged), Err(AuthError::Signature));
        let stronger = signed_as(jsonwebtoken::Algorithm::HS512, SECRET, &claims);
        assert_eq!(
            auth().verify(&stronger),
            Err(AuthError::Algorithm(Algorithm::Hs256))
        );

        // {"alg":"none","typ":"JWT"}, with and without the old signature.
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        let token = signed(&claims);
        let parts: Vec<&str> = token.split('.').collect();
        for unsigned in [
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{none}.{}", parts[1]),
            String::new(),
            "not a token".to_owned(),
            format!("{token}.more"),
        ] {
            assert_eq!(
                auth().verify(&unsigned),
                Err(AuthError::Malformed),
                "{unsigned}"
            );
        }
        let other_claims = signed(&json!({"sub": "mallory", "tenant": "acme", "exp": FUTURE}));
        let swapped = other_claims.split('.').nth(1).unwrap();
        let patched = format!("{}.{swapped}.{}", parts[0], parts[2]);
        assert_eq!(auth().verify(&patched), Err(AuthError::Signature));
    }

    /// Whatever a token says of where its key is, the configured one counts.
    #[test]
    fn a_token_does_not_bring_its_key() {
        let keys = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        keys.set_nonblocking(true).unwrap();
        let url = format!("http://{}/keys.json", keys.local_addr().unwrap());
        let header = Header {
            kid: Some("../../dev/null".to_owned()),
            jku: Some(url.clone()),
            x5u: Some(url),
            ..Header::default()
        };
        let claims = json!({"sub": "alice", "tenant": "acme", "exp": FUTURE});
        let sign = |secret: &str| {
            let key = EncodingKey::from_secret(secret.as_bytes());
            auth().verify(&jsonwebtoken::encode(&header, &claims, &key).unwrap())
        };
        assert!(sign(SECRET).is_ok());
        let others = sign("another-secret-of-at-least-32-bytes");
        assert_eq!(others, Err(AuthError::Signature));
        let asked = keys.accept().map(drop).map_err(|error| error.kind());
        assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock));
    }

    /// The key pair of RFC 8410 section 10, as PEM.
    const ED_PRIVATE: &[u8] = b"-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
    const ED_PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    #[test]
    fn a_public_key_checks_and_cannot_sign() {
        let auth = Auth::public_key(ED_PUBLIC, None).unwrap();
        let claims = json!({"sub": "alice", "tenant": "acme", "exp": FUTURE});
        let header = Header::new(jsonwebtoken::Algorithm::EdDSA);
        let key = EncodingKey::from_ed_pem(ED_PRIVATE).unwrap();
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        let verified = auth.verify(&token).unwrap();
        assert_eq!(verified.user.as_str(), "alice");
        assert!(auth.issue(&verified).is_err());

        // The public key used as an HS256 secret: the classic confusion.
        let confused = signed_as(
            jsonwebtoken::Algorithm::HS256,
            std::str::from_utf8(ED_PUBLIC).unwrap(),
            &claims,
        );
        assert_eq!(
            auth.verify(&confused),
            Err(AuthError::Algorithm(Algorithm::EdDsa))
        );
        assert!(matches!(
            Auth::public_key(ED_PUBLIC, Some(Algorithm::Rs256)),
            Err(KeyError::BadPublicKey(Algorithm::Rs256))
        ));
    }
}
