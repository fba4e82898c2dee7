//! Tokens, as edge and API verify them.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tidings_domain::{Tenant, UserId};
use tidings_service::auth::{Auth, AuthError, Claims, Secret};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ANOTHER: &str = "fedcba9876543210fedcba9876543210";
/// The public key of RFC 8410, section 10.3.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"sub":"alice","tenant":"acme","exp":4000000000}"#;

static SHARED: LazyLock<Auth> =
    LazyLock::new(|| Auth::hs256(&Secret::new(SECRET).expect("long enough")));
static PUBLIC: LazyLock<Auth> =
    LazyLock::new(|| Auth::public_key(PUBLIC_KEY.as_bytes(), None).expect("a key"));

/// The first byte says what the rest is: 0 a token, 1 the claims of one that
/// is signed, 2 its header.
///
/// No token is accepted that is not signed with the secret by HS256, as this
/// function itself computes it; of those that are, only such with good claims
/// that have not ended, and they are told as they are.
///
/// # Panics
/// Where that does not hold.
pub fn check(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    match kind {
        0 => {
            if let Ok(token) = std::str::from_utf8(rest) {
                verified(token);
            }
        }
        1 => signed(HEADER.as_bytes(), rest),
        _ => signed(rest, CLAIMS.as_bytes()),
    }
}

/// A token with this header and these claims, signed in each way there is.
fn signed(header: &[u8], claims: &[u8]) {
    let content = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let token = |key: &[u8]| format!("{content}.{}", signature(key, &content));
    verified(&token(SECRET.as_bytes()));

    let mut flipped = token(SECRET.as_bytes());
    let last = if flipped.ends_with('A') { 'B' } else { 'A' };
    // Six bits before the last character, which has four.
    let at = flipped.len() - 2;
    flipped.replace_range(
        at..=at,
        if flipped[at..].starts_with(last) {
            "C"
        } else {
            "D"
        },
    );
    let refused = [
        token(ANOTHER.as_bytes()),
        token(PUBLIC_KEY.as_bytes()),
        token(b""),
        format!("{content}."),
        content.clone(),
        flipped,
    ];
    for token in refused {
        if is_signed(&token) {
            continue;
        }
        assert!(SHARED.verify(&token).is_err(), "{token}");
        assert!(PUBLIC.verify(&token).is_err(), "{token}");
    }
}

fn verified(token: &str) {
    // Nobody has the private key here.
    assert!(PUBLIC.verify(token).is_err(), "{token}");
    match SHARED.verify(token) {
        Ok(claims) => {
            assert!(is_signed(token), "{token}");
            said(token, &claims);
            issued_anew(claims);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty());
            if let AuthError::Claim(_) | AuthError::Expired | AuthError::NotYetValid = error {
                assert!(is_signed(token), "claims of a forged token were looked at");
            }
        }
    }
}

/// Whether the token is three parts, the last of which is the HMAC of the
/// others, and its header names HS256.
fn is_signed(token: &str) -> bool {
    let Some((content, given)) = token.rsplit_once('.') else {
        return false;
    };
    let Some((header, claims)) = content.split_once('.') else {
        return false;
    };
    if claims.contains('.') || signature(SECRET.as_bytes(), content) != given {
        return false;
    }
    let header = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
    header["alg"] == "HS256"
}

fn signature(key: &[u8], content: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(content.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// What was made of the claims is what they say.
fn said(token: &str, claims: &Claims) {
    let body = token.split('.').nth(1).expect("three parts");
    let body = URL_SAFE_NO_PAD.decode(body).expect("base64url");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["sub"], claims.user.as_str());
    assert_eq!(body["tenant"], claims.tenant.as_str());
    assert!(UserId::parse(claims.user.as_str()).is_ok());
    assert!(Tenant::parse(claims.tenant.as_str()).is_ok());
    let seconds = body["exp"].as_f64().expect("a number");
    assert!((claims.expires_at.0 as f64 / 1000.0 - seconds).abs() < 1.0);
    assert!(claims.expires_at.0 > 1_700_000_000_000, "it has ended");
    assert_eq!(
        body.get("rate").and_then(Value::as_u64),
        claims.rate.map(u64::from)
    );
}

fn issued_anew(claims: Claims) {
    let token = SHARED.issue(&claims).expect("with a secret");
    let again = SHARED.verify(&token).expect("it was just made");
    let second = claims.expires_at.0.div_euclid(1_000) * 1_000;
    let expires_at = tidings_domain::Timestamp(second);
    assert_eq!(
        again,
        Claims {
            expires_at,
            ..claims
        }
    );
}
