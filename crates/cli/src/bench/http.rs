//! Reads over HTTP at a given rate, beside messages over sockets, and the same
//! rate of requests to a handler that does nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use reqwest::Client;
use serde::Serialize;
use serde_json::{Value, json};
use tidings_domain::UserId;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::load::{self, Load};
use super::report::{Latencies, LoadReport, Percentiles, table};
use crate::client::Dialer;

/// How long a request may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages in each conversation that is read: one page and some.
const MESSAGES: usize = 60;
/// Sockets of the users who send messages meanwhile.
const SENDERS: usize = 50;
/// The members of each of their conversations.
const MEMBERS: usize = 10;
/// The least that the pacer sleeps.
const TICK: Duration = Duration::from_micros(200);

/// What load to make.
#[derive(Clone, Debug)]
pub(super) struct HttpLoad {
    /// Base of the API.
    pub(super) api: String,
    /// Reads a second.
    pub(super) rate: f64,
    /// Messages a second meanwhile; 0: none.
    pub(super) messages: f64,
    pub(super) seconds: f64,
    pub(super) warmup_seconds: f64,
    /// Users who read, each with a conversation.
    pub(super) users: usize,
}

/// What the reads took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HttpReport {
    /// Reads a second that were due.
    pub(super) offered_rate: f64,
    /// How long each was measured, in seconds.
    pub(super) seconds: f64,
    /// All reads of the API.
    pub(super) api_ms: Percentiles,
    /// The same by route.
    pub(super) routes_ms: BTreeMap<&'static str, Percentiles>,
    /// A handler that answers with the same bytes as a page, in this process.
    pub(super) bare_ms: Percentiles,
    /// The API's p95 by that of the bare handler.
    pub(super) p95_ratio_to_bare: f64,
    /// Reads that failed, by what was answered instead.
    pub(super) errors: BTreeMap<String, u64>,
    /// What was sent meanwhile.
    pub(super) messages: Option<LoadReport>,
}

impl HttpReport {
    pub(super) fn describe(&self) -> String {
        let mut rows: Vec<(&str, Percentiles)> = vec![("all reads", self.api_ms)];
        rows.extend(self.routes_ms.iter().map(|(name, row)| (*name, *row)));
        rows.push(("bare handler", self.bare_ms));
        let mut lines = vec![format!(
            "{:.0} reads/s for {:.0} s: {} answered, {} failed",
            self.offered_rate,
            self.seconds,
            self.api_ms.count,
            self.failed()
        )];
        lines.extend(table(&rows));
        lines.push(format!(
            "p95 is {:.1} times that of the bare handler",
            self.p95_ratio_to_bare
        ));
        for (cause, count) in &self.errors {
            lines.push(format!("  {count} {cause}"));
        }
        if let Some(messages) = &self.messages {
            lines.push(format!("\nmeanwhile:\n{}", messages.describe()));
        }
        lines.join("\n")
    }

    fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Whether nothing went wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.failed() == 0 && self.messages.as_ref().is_none_or(LoadReport::is_clean)
    }
}

/// Makes the load and measures it. Blocks.
pub(super) fn run(dialer: &Dialer, load: &HttpLoad) -> Result<HttpReport> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let client = Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .pool_max_idle_per_host(usize::MAX)
        .build()?;
    let reads = runtime
        .block_on(prepare(dialer, load, &client))
        .context("cannot make conversations to read")?;
    let sending = (load.messages > 0.0)
        .then(|| send_meanwhile(dialer, load))
        .transpose()?;

    let handle = runtime.handle();
    let api = drive(handle, load, &client, &Arc::new(reads.requests));
    let bare = runtime.block_on(serve_bare(reads.page))?;
    let bare = drive(handle, load, &client, &Arc::new(vec![bare]));

    let messages = match sending {
        Some(sending) => {
            let sent = sending.join().map_err(|_| anyhow!("the sender panicked"))?;
            Some(sent?)
        }
        None => None,
    };
    let (api, bare) = (api?, bare?);
    let (api_ms, bare_ms) = (api.all.percentiles(), bare.all.percentiles());
    let mut errors = api.errors;
    for (cause, count) in bare.errors {
        *errors.entry(format!("bare handler: {cause}")).or_default() += count;
    }
    Ok(HttpReport {
        offered_rate: load.rate,
        seconds: load.seconds,
        api_ms,
        routes_ms: api
            .routes
            .iter()
            .map(|(name, latencies)| (*name, latencies.percentiles()))
            .collect(),
        bare_ms,
        p95_ratio_to_bare: api_ms.p95 / bare_ms.p95,
        errors,
        messages,
    })
}

/// A read, to be made again and again.
struct Read {
    name: &'static str,
    request: reqwest::Request,
}

struct Reads {
    /// In the order in which they are made, over and over.
    requests: Vec<Read>,
    /// What a page looks like.
    page: Vec<u8>,
}

/// Makes users with a conversation each, and the requests that read them: of
/// ten, four are for a page of messages, two for a message, two for the list,
/// and one each for what is unread and for the members.
async fn prepare(dialer: &Dialer, load: &HttpLoad, client: &Client) -> Result<Reads> {
    let api = load.api.trim_end_matches('/');
    let run = &uuid::Uuid::new_v4().simple().to_string()[..8];
    let mut by_user = Vec::with_capacity(load.users);
    let mut page = Vec::new();
    for index in 0..load.users {
        let user = UserId::parse(&format!("bench-http-{run}-{index}"))
            .map_err(|error| anyhow!(error.message))?;
        let token = dialer.token(&user)?;
        let list_url = format!("{api}/v1/conversations");
        let group = json!({"kind": "group", "title": "bench", "members": ["bench-http-other"]});
        let made = post(client, &token, &list_url, group).await?;
        let id = text(&made, "conversation_id")?;
        let mut message = String::new();
        for number in 0..MESSAGES {
            let body = json!({
                "conversation_id": id,
                "content": {"text": format!("message {number} of many that are read again")},
            });
            let sent = post(client, &token, &format!("{api}/v1/messages"), body).await?;
            message = text(&sent, "message_id")?;
        }
        let at = format!("{api}/v1/conversations/{id}");
        let read = |name, url: String| {
            let request = client.get(url).bearer_auth(&token).build()?;
            Ok::<_, reqwest::Error>(Read { name, request })
        };
        let page_url = format!("{at}/messages");
        let message_url = format!("{api}/v1/messages/{message}");
        by_user.push([
            read("page", page_url.clone())?,
            read("message", message_url.clone())?,
            read("page", page_url.clone())?,
            read("list", list_url.clone())?,
            read("page", page_url.clone())?,
            read("unread", format!("{api}/v1/unread"))?,
            read("page", page_url.clone())?,
            read("message", message_url)?,
            read("list", list_url)?,
            read("members", format!("{at}/members"))?,
        ]);
        if page.is_empty() {
            let response = client.get(page_url).bearer_auth(&token).send().await?;
            page = response.error_for_status()?.bytes().await?.to_vec();
        }
    }
    // User by user, so that those due one after another are of many users.
    let mut turns: Vec<_> = by_user.into_iter().map(IntoIterator::into_iter).collect();
    let mut requests = Vec::new();
    while let Some(turn) = turns
        .iter_mut()
        .map(Iterator::next)
        .collect::<Option<Vec<_>>>()
        .filter(|turn| !turn.is_empty())
    {
        requests.extend(turn);
    }
    Ok(Reads { requests, page })
}

/// A write that waits for its decision.
async fn post(client: &Client, token: &str, url: &str, body: Value) -> Result<Value> {
    let request = client.post(url).bearer_auth(token).json(&body);
    let response = request.header("prefer", "wait=10").send().await?;
    let status = response.status();
    let body: Value = response.json().await?;
    if !status.is_success() {
        bail!("{url}: {status}: {}", body["detail"]);
    }
    Ok(body)
}

fn text(body: &Value, field: &str) -> Result<String> {
    let text = body[field].as_str();
    Ok(text.with_context(|| format!("no {field}"))?.to_owned())
}

/// Sends messages over sockets for as long as both phases take.
fn send_meanwhile(
    dialer: &Dialer,
    load: &HttpLoad,
) -> Result<thread::JoinHandle<Result<LoadReport>>> {
    let messages = Load {
        connections: SENDERS,
        rate: load.messages,
        // A little longer, as it begins a little later.
        seconds: (load.warmup_seconds + load.seconds) * 2.0 + 1.0 - load.warmup_seconds,
        warmup_seconds: load.warmup_seconds,
        members: MEMBERS,
        conversations: 1,
        bytes: 200,
        window: 0,
    };
    let dialer = dialer.clone();
    thread::Builder::new()
        .name("messages".to_owned())
        .spawn(move || load::run(&dialer, messages))
        .context("cannot start a thread")
}

/// Serves the bytes of a page from a bare axum handler, and gives the request
/// for it.
async fn serve_bare(page: Vec<u8>) -> Result<Read> {
    let page = axum::body::Bytes::from(page);
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let handler = get(async move || (kind, page.clone()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}/", listener.local_addr()?);
    // It ends with the runtime.
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", handler)).await });
    let request = Client::new().get(url).build()?;
    Ok(Read {
        name: "bare",
        request,
    })
}

/// What was measured of a phase.
struct Measured {
    all: Latencies,
    routes: BTreeMap<&'static str, Latencies>,
    errors: BTreeMap<String, u64>,
}

/// How one request ended.
struct Ended {
    name: &'static str,
    /// From when it was due, in nanoseconds; none in the warm-up.
    nanos: Option<u64>,
    failure: Option<String>,
}

/// Makes each request when it is due, whatever became of those before.
fn drive(
    runtime: &Handle,
    load: &HttpLoad,
    client: &Client,
    reads: &Arc<Vec<Read>>,
) -> Result<Measured> {
    let total = ((load.warmup_seconds + load.seconds) * load.rate) as usize;
    let warmup = Duration::from_secs_f64(load.warmup_seconds);
    // Room for all: a request that has ended never waits.
    let (tell, mut ended) = mpsc::channel(total.max(1));
    let begun = Instant::now();
    for number in 0..total {
        let due = Duration::from_secs_f64(number as f64 / load.rate);
        if let Some(early) = due.checked_sub(begun.elapsed()) {
            thread::sleep(early.max(TICK));
        }
        let (reads, client, tell) = (Arc::clone(reads), client.clone(), tell.clone());
        runtime.spawn(async move {
            let read = &reads[number % reads.len()];
            let failure = perform(&client, read).await.err();
            let nanos = (begun.elapsed() - due).as_nanos();
            let ended = Ended {
                name: read.name,
                nanos: (due >= warmup).then_some(u64::try_from(nanos).unwrap_or(u64::MAX)),
                failure,
            };
            // There is room, and the receiver outlives all senders.
            tell.try_send(ended).ok();
        });
    }
    drop(tell);
    let mut measured = Measured {
        all: Latencies::new(),
        routes: BTreeMap::new(),
        errors: BTreeMap::new(),
    };
    while let Some(ended) = ended.blocking_recv() {
        if let Some(cause) = ended.failure {
            *measured.errors.entry(cause).or_default() += 1;
        } else if let Some(nanos) = ended.nanos {
            measured.all.record_nanos(nanos);
            let route = measured.routes.entry(ended.name);
            route.or_insert_with(Latencies::new).record_nanos(nanos);
        }
    }
    if measured.all.percentiles().count == 0 && measured.errors.is_empty() {
        bail!("nothing was measured: give it a longer --seconds or a higher --rate");
    }
    Ok(measured)
}

/// Makes a request and reads its answer to the end.
async fn perform(client: &Client, read: &Read) -> Result<(), String> {
    let request = read
        .request
        .try_clone()
        .expect("a request without a body can be made again");
    let response = client.execute(request).await;
    let response = response.map_err(|error| cause(&error))?;
    let status = response.status();
    response.bytes().await.map_err(|error| cause(&error))?;
    if status.is_success() {
        Ok(())
    } else {
        Err(status.to_string())
    }
}

/// The same for all failures of a kind.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        format!("no answer within {} s", PATIENCE.as_secs())
    } else if error.is_connect() {
        "cannot connect".to_owned()
    } else {
        "the connection broke".to_owned()
    }
}
