//! What the commands that speak the socket protocol share.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tidings_domain::{Tenant, UserId};
use tidings_service::auth::{Auth, Claims};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::secret::SecretArgs;
use crate::token;

/// How long an edge may take to welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client's token is good for. Each connection gets a new one.
const TOKEN_TTL: Duration = Duration::from_secs(3_600);

/// An open socket.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Which edges to speak to, and as whose users.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClientArgs {
    /// The server; several are taken in turn (repeat it, or separate with commas)
    #[arg(
        long = "url",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "ws://127.0.0.1:7700"
    )]
    pub(crate) urls: Vec<String>,
    /// The tenant whose users speak
    #[arg(long, value_name = "TENANT", default_value = "default", value_parser = parse_tenant)]
    pub(crate) tenant: Tenant,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
}

/// Reads a tenant of the command line.
pub(crate) fn parse_tenant(text: &str) -> Result<Tenant, String> {
    Tenant::parse(text).map_err(|error| error.message)
}

/// Reads a user of the command line.
pub(crate) fn parse_user(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|error| error.message)
}

/// Opens sockets, as whichever user.
#[derive(Clone)]
pub(crate) struct Dialer {
    inner: Arc<Inner>,
}

struct Inner {
    urls: Vec<String>,
    tenant: Tenant,
    auth: Auth,
    next: AtomicUsize,
}

impl Dialer {
    pub(crate) fn new(args: &ClientArgs) -> Result<Self> {
        let urls = args
            .urls
            .iter()
            .map(|url| socket_url(url))
            .collect::<Result<Vec<_>>>()?;
        let auth = Auth::hs256(&args.secret.find()?);
        let (tenant, next) = (args.tenant.clone(), AtomicUsize::new(0));
        Ok(Self {
            inner: Arc::new(Inner {
                urls,
                tenant,
                auth,
                next,
            }),
        })
    }

    /// The addresses that are dialled, for messages.
    pub(crate) fn shown(&self) -> String {
        self.inner.urls.join(", ")
    }

    /// The address of one of the edges, which are taken in turn.
    pub(crate) fn url(&self, turn: usize) -> &str {
        &self.inner.urls[turn % self.inner.urls.len()]
    }

    /// A token for a user, without a limit on their messages.
    pub(crate) fn token(&self, user: &UserId) -> Result<String> {
        self.inner.auth.issue(&Claims {
            user: user.clone(),
            tenant: self.inner.tenant.clone(),
            expires_at: token::after(TOKEN_TTL),
            rate: Some(0),
        })
    }

    /// Opens a socket to the next of the edges and says hello.
    pub(crate) async fn open(&self, user: &UserId) -> Result<Socket> {
        let turn = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let url = self.url(turn);
        timeout(WELCOME_TIMEOUT, self.greet(url, user))
            .await
            .with_context(|| format!("{url} does not answer"))?
    }

    async fn greet(&self, url: &str, user: &UserId) -> Result<Socket> {
        // Frames are small and somebody waits for each: no Nagle.
        let connected = connect_async_with_config(url, None, true).await;
        let (mut socket, _) = connected.with_context(|| format!("cannot connect to {url}"))?;
        let token = self.token(user)?;
        let hello = json!({"type": "hello", "token": token}).to_string();
        socket.send(Message::text(hello)).await?;
        loop {
            match socket
                .next()
                .await
                .context("the connection ended before the welcome")??
            {
                Message::Text(text) => match parse_answer(text.as_str()) {
                    Some(Answer::Welcome) => return Ok(socket),
                    Some(Answer::Bye(bye)) => return Err(bye.into()),
                    _ => {}
                },
                Message::Close(frame) => {
                    let code = frame.as_ref().map_or(1005, |frame| frame.code.into());
                    let message = frame.map(|frame| frame.reason.to_string());
                    return Err(Bye {
                        code,
                        message: message.unwrap_or_default(),
                    }
                    .into());
                }
                _ => {}
            }
        }
    }
}

/// The address of an edge's socket, given with or without its path.
fn socket_url(url: &str) -> Result<String> {
    let url = url.trim();
    let rest = url.strip_prefix("ws://");
    let Some(rest) = rest.or_else(|| url.strip_prefix("wss://")) else {
        bail!("--url {url:?} must begin with ws:// or wss://, such as ws://127.0.0.1:7700");
    };
    Ok(match rest.split_once('/') {
        Some((_, path)) if !path.is_empty() => url.to_owned(),
        _ => format!("{}/v1/socket", url.trim_end_matches('/')),
    })
}

/// Why an edge closes a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server closed the connection: {code} {message}")]
pub(crate) struct Bye {
    pub(crate) code: u16,
    pub(crate) message: String,
}

impl Bye {
    /// Whether coming back may help. Too many connections may pass.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.code, 4400 | 4401 | 4408)
    }
}

/// What an edge answers, as far as these commands care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Welcome,
    Pending {
        temp_id: String,
        conversation_id: Option<String>,
        message_id: Option<String>,
    },
    Delivered {
        temp_id: String,
        conversation_id: Option<String>,
        message_id: Option<String>,
        duplicate: bool,
    },
    Rejected {
        temp_id: String,
        code: String,
        retry: bool,
        retry_after: Option<Duration>,
    },
    Bye(Bye),
}

/// Reads a frame; none for one that is no answer to a command, as an event.
pub(crate) fn parse_answer(frame: &str) -> Option<Answer> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
        temp_id: Option<String>,
        conversation_id: Option<String>,
        message_id: Option<String>,
        #[serde(default)]
        duplicate: bool,
        code: Option<serde_json::Value>,
        #[serde(borrow)]
        message: Option<Cow<'a, str>>,
        #[serde(default)]
        retry: bool,
        retry_after_ms: Option<u64>,
    }
    // Most frames are events, and none of these looks into one.
    if frame.starts_with(r#"{"type":"event""#) {
        return None;
    }
    let fields: Fields<'_> = serde_json::from_str(frame).ok()?;
    let Fields {
        conversation_id,
        message_id,
        duplicate,
        retry,
        ..
    } = fields;
    Some(match &*fields.kind {
        "welcome" => Answer::Welcome,
        "pending" => Answer::Pending {
            temp_id: fields.temp_id?,
            conversation_id,
            message_id,
        },
        "delivered" => Answer::Delivered {
            temp_id: fields.temp_id?,
            conversation_id,
            message_id,
            duplicate,
        },
        "rejected" => Answer::Rejected {
            temp_id: fields.temp_id?,
            code: fields.code?.as_str()?.to_owned(),
            retry,
            retry_after: fields.retry_after_ms.map(Duration::from_millis),
        },
        "bye" => Answer::Bye(Bye {
            code: fields
                .code
                .and_then(|code| u16::try_from(code.as_u64()?).ok())
                .unwrap_or(1005),
            message: fields.message.unwrap_or_default().into_owned(),
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_may_be_left_out() {
        assert_eq!(socket_url("ws://h:1").unwrap(), "ws://h:1/v1/socket");
        assert_eq!(socket_url("ws://h:1/").unwrap(), "ws://h:1/v1/socket");
        assert_eq!(
            socket_url(" ws://h:1/v1/socket").unwrap(),
            "ws://h:1/v1/socket"
        );
        assert!(
            socket_url("http://h:1")
                .unwrap_err()
                .to_string()
                .contains("ws://")
        );
    }

    #[test]
    fn answers_are_told_from_other_frames() {
        let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let temp_id = "m1".to_owned();
        let cases = [
            (
                r#"{"type":"welcome","session_id":"x"}"#.to_owned(),
                Some(Answer::Welcome),
            ),
            (
                r#"{"type":"event","seq":1,"event":{"temp_id":"m1"}}"#.to_owned(),
                None,
            ),
            (r#"{"seq":1,"type":"event"}"#.to_owned(), None),
            (r#"{"type":"pong"}"#.to_owned(), None),
            ("no json".to_owned(), None),
            (
                format!(r#"{{"type":"pending","temp_id":"m1","conversation_id":"{id}","at":"t"}}"#),
                Some(Answer::Pending {
                    temp_id: temp_id.clone(),
                    conversation_id: Some(id.to_owned()),
                    message_id: None,
                }),
            ),
            (
                format!(
                    r#"{{"type":"delivered","temp_id":"m1","message_id":"{id}","duplicate":true}}"#
                ),
                Some(Answer::Delivered {
                    temp_id: temp_id.clone(),
                    conversation_id: None,
                    message_id: Some(id.to_owned()),
                    duplicate: true,
                }),
            ),
            (
                r#"{"type":"rejected","temp_id":"m1","code":"rate_limited","retry":true,
                    "retry_after_ms":250,"message":"a \"b\""}"#
                    .to_owned(),
                Some(Answer::Rejected {
                    temp_id,
                    code: "rate_limited".to_owned(),
                    retry: true,
                    retry_after: Some(Duration::from_millis(250)),
                }),
            ),
            (
                r#"{"type":"bye","code":4012,"reconnect":true,"message":"draining"}"#.to_owned(),
                Some(Answer::Bye(Bye {
                    code: 4012,
                    message: "draining".to_owned(),
                })),
            ),
        ];
        for (frame, expected) in cases {
            assert_eq!(parse_answer(&frame), expected, "{frame}");
        }
    }
}
