//! `tidings token`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use tidings_domain::{Tenant, Timestamp, UserId};
use tidings_service::auth::{Auth, Claims};

use crate::client::{parse_tenant, parse_user};
use crate::output;
use crate::secret::SecretArgs;

/// Print a token that names a user and a tenant
///
/// The token alone goes to stdout. It is signed with TIDINGS_JWT_SECRET, or
/// with the secret that `tidings dev` keeps in its data folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings token --user alice
  tidings token --user bob --tenant acme --ttl 30d
  TOKEN=$(tidings token --user importer --rate 0)")]
pub(crate) struct TokenArgs {
    /// The user it speaks for
    #[arg(long, value_name = "USER", value_parser = parse_user)]
    user: UserId,
    /// The user's tenant
    #[arg(long, value_name = "TENANT", default_value = "default", value_parser = parse_tenant)]
    tenant: Tenant,
    /// How long it is valid: 90s, 15m, 1h, 30d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,
    /// Messages a minute it may send, 0 for no limit [default: the server's limit]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    #[command(flatten)]
    secret: SecretArgs,
}

pub(crate) fn run(args: &TokenArgs) -> Result<()> {
    let auth = Auth::hs256(&args.secret.find()?);
    let token = auth.issue(&Claims {
        user: args.user.clone(),
        tenant: args.tenant.clone(),
        expires_at: after(args.ttl),
        rate: args.rate,
    })?;
    output::line(&token)
}

/// The time from now on.
pub(crate) fn after(ttl: Duration) -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from((since_epoch + ttl).as_millis()).unwrap_or(i64::MAX))
}

/// Reads a length of time: a number and s, m, h or d; a bare number is seconds.
pub(crate) fn parse_ttl(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let seconds_each = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let number = text[..text.len() - unit.len()].parse::<u64>().ok();
    let seconds = number.and_then(|number| number.checked_mul(seconds_each));
    match seconds {
        // A century is beyond what anybody means.
        Some(seconds @ 1..=3_155_760_000) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected a time such as 90s, 15m, 1h or 30d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let cases = [
            ("90s", 90),
            ("90", 90),
            ("15m", 900),
            ("1h", 3_600),
            ("30d", 2_592_000),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "h",
            "1w",
            "-1h",
            "0",
            "1.5h",
            "99999999999d",
            "1 h",
            "é",
        ] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
    }
}
