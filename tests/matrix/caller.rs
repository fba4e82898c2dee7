use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::crowd::{Seat, Stage};
use crate::record::Sent;

const BETWEEN_MESSAGES: Duration = Duration::from_millis(300);
const BEFORE_AGAIN: Duration = Duration::from_millis(700);
/// Longer than an answer may be waited for (`Prefer`).
const TIMEOUT: Duration = Duration::from_secs(12);

/// A user of the HTTP API: posts one message after another, each again and
/// again under its key until it is decided.
pub(crate) struct Caller {
    seat: Seat,
    client: Client,
    url: String,
    conversations: Vec<String>,
}

impl Caller {
    pub(crate) fn new(seat: Seat, api: SocketAddr, conversations: Vec<String>) -> Result<Self> {
        Ok(Self {
            seat,
            client: Client::builder().timeout(TIMEOUT).build()?,
            url: format!("http://{api}/v1/messages"),
            conversations,
        })
    }

    pub(crate) async fn run(mut self) {
        let waited = self.seat.stage.wait_for(|stage| *stage != Stage::Quiet);
        if waited.await.is_err() {
            return;
        }
        let mut count = 0;
        while self.seat.stage() == Stage::Sending {
            count += 1;
            self.post(count).await;
            sleep(BETWEEN_MESSAGES).await;
        }
        self.seat.settle();
    }

    /// Ends once it is decided, or it is too late.
    async fn post(&self, count: usize) {
        let conversation = &self.conversations[count % self.conversations.len()];
        let (key, text) = (format!("p{count:06}"), format!("posted {count}"));
        let sent = Sent {
            conversation: conversation.clone(),
            text: text.clone(),
            only_on: None,
            message_id: None,
            seq: None,
        };
        self.seat.record().sent.insert(key.clone(), sent);
        let body = json!({"conversation_id": conversation, "content": {"text": text}});
        while self.seat.stage() != Stage::Closing {
            match self.try_post(&key, &body).await {
                Ok((status, answer)) if status.is_success() => {
                    if self.seat.record().told(&key, &answer) {
                        self.seat.acks.note();
                    }
                    if answer["seq"].is_u64() {
                        return;
                    }
                }
                Ok((status, answer)) => {
                    // What may succeed later says so; and a proxy of ours knows
                    // nobody who would answer while the API is away.
                    if answer["retry"] != true && status != StatusCode::TOO_MANY_REQUESTS {
                        self.seat
                            .record()
                            .found(&format!("{key}: {status} {answer}"));
                        return;
                    }
                }
                Err(_) => self.seat.record().reconnects += 1,
            }
            self.seat.record().resent += 1;
            sleep(BEFORE_AGAIN).await;
        }
    }

    async fn try_post(&self, key: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(&self.seat.token)
            .header("Idempotency-Key", key)
            .header("Prefer", "wait=10")
            .json(body);
        let response = request.send().await?;
        let status = response.status();
        let answer = response.json().await.context("no JSON")?;
        Ok((status, answer))
    }
}
