//! `tidings dev`.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tidings_domain::{Tenant, UserId};
use tidings_edge::{Edge, EdgeConfig, LimitArgs, Views};
use tidings_log::Log;
use tidings_log::embedded::EmbeddedLog;
use tidings_projection::{Keeper, Projection, ProjectionError};
use tidings_sequencer::{Clock, Parts, Sequencer, SequencerOptions};
use tidings_service::auth::{Auth, Claims};
use tidings_service::config::{LogArgs, parse_listen};
use tidings_service::health::Health;
use tidings_service::lifecycle::shutdown_signal;
use tidings_service::tls::TlsArgs;
use tidings_service::traces::TraceArgs;
use tidings_service::{http, telemetry, traces};
use tidings_sqlite::Database;
use tidings_views::cache::{CACHE_TIMEOUT, CachedHistory, MokaCache};
use tidings_views::generation::{Generations, Serving};
use tidings_views::history::SqliteHistory;
use tidings_views::search::SqliteSearch;
use tidings_wire::Codec;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::output;
use crate::secret::SecretArgs;
use crate::token;

/// As many as the topics of a cluster have, so that a conversation is in the
/// same partition in both.
pub(crate) const PARTITIONS: i32 = 12;
/// Records in one write to the view. It shares the file's writer with the log,
/// and a long write would hold up what waits to be acknowledged.
const VIEW_BATCH: usize = 64;
/// What the cache may take.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Whose token is printed, and for how long it is good.
const USER: &str = "alice";
const TENANT: &str = "default";
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Run everything in one process, on one data folder
///
/// Edge, sequencer, history and search views, with the log in a SQLite file: no other
/// server. When it is ready, the address and a token go to stdout; logs go to
/// stderr. Ctrl-C or SIGTERM finishes what was begun and ends it; kill -9
/// loses nothing that was acknowledged.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings dev
  tidings dev --data /srv/tidings --listen 0.0.0.0:7700
  TIDINGS_LOG=debug tidings dev")]
pub(crate) struct DevArgs {
    /// Address of the sockets and of /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "TIDINGS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7700",
        value_parser = parse_listen
    )]
    listen: SocketAddr,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    secret: SecretArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    traces: TraceArgs,
}

/// The argument of [`LimitArgs`] that has another default here: nobody needs
/// to be protected from themselves on their own machine.
pub(crate) const MESSAGES_PER_MINUTE: (&str, &str) = ("messages_per_minute", "0");

pub(crate) async fn run(args: DevArgs) -> Result<ExitCode> {
    let metrics = telemetry::init(args.log.log_format, &args.log.log_filter)?;
    let _exporter = traces::start(&args.traces)?;
    let stop = shutdown_signal().context("cannot catch signals")?;
    let data = &args.secret.data;
    let database = Database::open(data)?;
    let auth = Auth::hs256(&args.secret.find_or_make()?);
    let token = auth.issue(&claims()?)?;
    let certificate = args.tls.load()?;
    let scheme = if certificate.is_some() { "wss" } else { "ws" };
    let listener = http::listen(args.listen).await?;
    let listener = listener.certificate(certificate);
    let listener = listener.bounds(args.limits.bounds());
    let address = listener.local_addr()?;

    let health = Health::new(metrics);
    let log = EmbeddedLog::open(database.clone(), PARTITIONS)?;
    let codec = Codec::locked();
    let history = SqliteHistory::new(database.clone());
    let search = SqliteSearch::new(database);
    // Each is stopped in its turn, not by the signal itself.
    let (stop_http, stop_deciding) = (CancellationToken::new(), CancellationToken::new());
    let sequencer = Sequencer::spawn(Parts {
        log: log.sequencer()?,
        reader: Arc::new(log.clone()),
        codec: codec.clone(),
        clock: Clock::system(),
        options: SequencerOptions::default(),
        ready: health.condition("sequencer"),
        stop: stop_deciding.clone(),
    })?;
    let log: Arc<dyn Log> = Arc::new(log);
    let cache = Arc::new(MokaCache::new(CACHE_BYTES));
    let mut views = JoinSet::new();
    let stopping = || stop_deciding.clone();
    let source = (Arc::clone(&log), codec.clone());
    let keeper = keeper(&history, move |store| {
        let (log, codec) = source.clone();
        tidings_history::projection(log, codec, Arc::new(store))
    });
    let keeper = keeper.readiness(health.condition("history view"));
    views.spawn(view("history view", keeper.run(stopping()), stopping()));
    let source = (Arc::clone(&log), codec.clone());
    let keeper = self::keeper(&search, move |store| {
        let (log, codec) = source.clone();
        tidings_search::projection(log, codec, Arc::new(store))
    });
    let keeper = keeper.readiness(health.condition("search view"));
    views.spawn(view("search view", keeper.run(stopping()), stopping()));
    // Chat is ready without it.
    let projection = tidings_cache::projection(Arc::clone(&log), codec.clone(), cache.clone());
    views.spawn(view("cache view", projection.run(stopping()), stopping()));
    let history = Arc::new(Serving::new(history));
    let history = CachedHistory::new(history, cache, PARTITIONS, CACHE_TIMEOUT);
    let answering = Views::new(Arc::new(history)).search(Arc::new(Serving::new(search)));
    let config = EdgeConfig {
        limits: args.limits,
        ..EdgeConfig::default()
    };
    let edge = Edge::start(config, log, codec, answering, auth, health.clone());
    let edge = Arc::new(edge);
    let server = tokio::spawn(http::serve(
        listener,
        health.clone(),
        edge.router().merge(tidings_api::router(Arc::clone(&edge))),
        stop_http.clone(),
    ));

    let mut deciding = pin!(async {
        let (sequencer, views) = tokio::join!(
            ending(&stop_deciding, async { Ok(sequencer.wait().await?) }),
            ending(&stop_deciding, all(views)),
        );
        sequencer.context("the sequencer has stopped").and(views)
    });
    let served = async {
        tokio::select! {
            () = stop.cancelled() => return,
            () = ready(&health) => {}
        }
        // Whoever started it may have read enough, or nothing: it runs all the
        // same.
        if let Err(error) = output::line(&greeting(scheme, address, data, &token)) {
            tracing::warn!(%error, "cannot print the address and a token");
        }
        stop.cancelled().await;
    };
    let result = tokio::select! {
        result = &mut deciding => {
            edge.drain().await;
            stop_http.cancel();
            result
        }
        () = served => {
            edge.drain().await;
            stop_http.cancel();
            stop_deciding.cancel();
            deciding.await
        }
    };
    server.await.context("the HTTP server panicked")??;
    tracing::info!("stopped");
    result.map(|()| ExitCode::SUCCESS)
}

/// Keeps all generations of a view in step.
fn keeper<S: Generations + Clone + 'static>(
    store: &S,
    projection: impl Fn(S) -> Projection + Send + Sync + 'static,
) -> Keeper {
    let first = store.clone();
    Keeper::new(Arc::new(store.clone()), move |generation| {
        projection(first.of(generation)).batch(VIEW_BATCH)
    })
}

/// Runs a view's part to its end, and all the others with it.
async fn view(
    name: &str,
    part: impl Future<Output = Result<(), ProjectionError>>,
    stop: CancellationToken,
) -> Result<()> {
    let result = part.await;
    stop.cancel();
    result.with_context(|| format!("the {name} has stopped"))
}

/// Waits for all of them; gives the first failure.
async fn all(mut views: JoinSet<Result<()>>) -> Result<()> {
    let mut result = Ok(());
    while let Some(ended) = views.join_next().await {
        result = result.and(ended.context("a view has panicked").flatten());
    }
    result
}

/// Runs a part to its end, and ends the other with it.
async fn ending(stop: &CancellationToken, part: impl Future<Output = Result<()>>) -> Result<()> {
    let result = part.await;
    stop.cancel();
    result
}

async fn ready(health: &Health) {
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    while !health.missing().is_empty() {
        look.tick().await;
    }
}

fn claims() -> Result<Claims> {
    let invalid = |error: tidings_domain::InputError| anyhow::anyhow!(error.message);
    Ok(Claims {
        user: UserId::parse(USER).map_err(invalid)?,
        tenant: Tenant::parse(TENANT).map_err(invalid)?,
        expires_at: token::after(TOKEN_TTL),
        rate: None,
    })
}

fn greeting(scheme: &str, address: SocketAddr, data: &std::path::Path, token: &str) -> String {
    let data = data.display();
    format!(
        "tidings is ready.\n\n\
         url    {scheme}://{}/v1/socket\n\
         data   {data}\n\
         user   {USER}, tenant {TENANT}, for 24 hours\n\
         token  {token}\n\n\
         For another user: tidings token --user bob --data {data}",
        reachable(address)
    )
}

/// Where this machine reaches what listens on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_no_address_to_connect_to() {
        let cases = [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ];
        for (address, expected) in cases {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), expected);
        }
    }
}
