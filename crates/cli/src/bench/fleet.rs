//! Many users, each with a socket, and their conversations.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tidings_domain::UserId;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::socket::{self, PING, TEXT, encode};
use crate::client::{Answer, Dialer, parse_answer};

/// How many connections are opened at the same time.
const AT_ONCE: usize = 64;
/// How long a conversation may take to be made.
const PATIENCE: Duration = Duration::from_secs(30);

/// After how many conversations all of a group give a sign of life.
const BETWEEN_SIGNS: usize = 64;

/// A user's open socket.
pub(super) struct Line {
    pub(super) user: UserId,
    pub(super) stream: TcpStream,
    /// What was read of it, and is no whole frame yet.
    pub(super) read: Vec<u8>,
}

/// Users who talk to each other.
pub(super) struct Group {
    /// Their conversations; all of them are in each.
    pub(super) conversations: Vec<String>,
    /// How many they are.
    pub(super) size: usize,
}

/// Opens `count` sockets, of as many users.
pub(super) async fn open(dialer: &Dialer, run: &str, count: usize) -> Result<Vec<Line>> {
    let opening = stream::iter(0..count).map(|index| async move {
        let user = UserId::parse(&format!("bench-{run}-{index}"))
            .map_err(|error| anyhow::anyhow!(error.message))?;
        let token = dialer.token(&user)?;
        let stream = socket::connect(dialer.url(index), &token)
            .await
            .with_context(|| format!("opening connection {} of {count}", index + 1))?;
        let read = Vec::new();
        Ok::<_, anyhow::Error>(Line { user, stream, read })
    });
    opening
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .map_err(advise)
}

/// Says what to do about the one failure that is this machine's own.
fn advise(error: anyhow::Error) -> anyhow::Error {
    /// EMFILE: as many files are open as the process may have.
    const TOO_MANY_OPEN_FILES: i32 = 24;
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    if causes.any(|cause| cause.raw_os_error() == Some(TOO_MANY_OPEN_FILES)) {
        return error.context("raise the limit on open files first: ulimit -n 65536");
    }
    error
}

/// Makes groups of the users, `members` by `members`, and `each` conversations
/// in every group; the first of a group makes them.
pub(super) async fn converse(
    lines: &mut [Line],
    members: usize,
    each: usize,
) -> Result<Vec<Group>> {
    let groups = lines.chunks_mut(members).map(async |group| {
        let mut conversations = Vec::with_capacity(each);
        for number in 0..each {
            conversations.push(create(group, number).await?);
            if number % BETWEEN_SIGNS == BETWEEN_SIGNS - 1 {
                say_something(group).await?;
            }
        }
        let size = group.len();
        Ok(Group {
            conversations,
            size,
        })
    });
    stream::iter(groups).buffered(AT_ONCE).try_collect().await
}

/// The edge closes who is silent for fifty seconds, and only one of a group
/// makes its conversations.
async fn say_something(group: &mut [Line]) -> Result<()> {
    let mut ping = Vec::new();
    encode(PING, b"", &mut ping);
    for line in group {
        line.stream.write_all(&ping).await?;
    }
    Ok(())
}

async fn create(group: &mut [Line], number: usize) -> Result<String> {
    let Some((owner, others)) = group.split_first_mut() else {
        bail!("a group of nobody")
    };
    let others: Vec<&str> = others.iter().map(|line| line.user.as_str()).collect();
    let frame = json!({
        "type": "create", "temp_id": format!("create-{number}"), "kind": "group", "title": "bench",
        "members": others,
    });
    let mut bytes = Vec::new();
    encode(TEXT, frame.to_string().as_bytes(), &mut bytes);
    owner.stream.write_all(&bytes).await?;
    let id = timeout(PATIENCE, async {
        loop {
            let frame = socket::next(&mut owner.stream, &mut owner.read).await?;
            match parse_answer(&String::from_utf8_lossy(&frame)) {
                Some(Answer::Delivered {
                    conversation_id: Some(id),
                    ..
                }) => return Ok(id),
                Some(Answer::Rejected { code, .. }) => bail!("a conversation is refused: {code}"),
                Some(Answer::Bye(bye)) => return Err(bye.into()),
                _ => {}
            }
        }
    });
    id.await
        .context("no decision about a conversation: is there a sequencer?")?
}
