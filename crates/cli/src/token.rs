//! `tidings token`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use tidings_domain::{Tenant, Timestamp, UserId};
use tidings_service::auth::{Auth, Claims};
use tidings_service::config::parse_duration;

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
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
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
