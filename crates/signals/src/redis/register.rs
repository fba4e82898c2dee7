//! Who is where, in two keys a tenant: a hash from each user to the edges they
//! are on, and a sorted set of the edges by when they last gave a sign of life.
//!
//! Each script is atomic and publishes what it changed itself, so that signals
//! about a user are heard in the order in which they came and went.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use deadpool_redis::redis::{self, AsyncCommands, Script};
use deadpool_redis::{Connection, Pool, PoolError};
use tidings_domain::{ConversationId, Tenant, UserId};
use uuid::Uuid;

use super::message::Message;
use super::names::Names;
use crate::EdgeId;

/// How many users are registered in one round trip.
const CHUNK: usize = 256;
/// How many users are looked at in one step through a tenant's.
const SCAN: usize = 512;

const CLOCK: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
";

/// Keys: users, edges. Arguments: edge, user, channel, message, how long keys
/// live, whether to say so in any case. Answers whether the edge was known, and
/// whether the user was nowhere.
const JOIN: &str = "
local known = redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local edges = redis.call('HGET', KEYS[1], ARGV[2]) or ''
if not string.find(edges, ARGV[1], 1, true) then
  redis.call('HSET', KEYS[1], ARGV[2], edges .. ARGV[1] .. ' ')
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
if edges == '' or ARGV[6] == '1' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return {known and 1 or 0, edges == '' and 1 or 0}
";

/// Keys: users, edges. Arguments: edge, user, channel, message, and, of an edge
/// that is thought dead, after how much silence it is. Answers whether the user
/// is nowhere any more.
const LEAVE: &str = "
local expiry = tonumber(ARGV[5])
local edges = redis.call('HGET', KEYS[1], ARGV[2]) or ''
local from, to = string.find(edges, ARGV[1] .. ' ', 1, true)
if expiry > 0 then
  local seen = redis.call('ZSCORE', KEYS[2], ARGV[1])
  if not from or (seen and now - tonumber(seen) < expiry) then return 0 end
end
if from then edges = string.sub(edges, 1, from - 1) .. string.sub(edges, to + 1) end
if edges ~= '' then
  redis.call('HSET', KEYS[1], ARGV[2], edges)
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
";

/// Keys: users, edges. Arguments: edge, after how much silence one is dead, how
/// long keys live. Answers whether the edge was known, and who is dead.
const BEAT: &str = "
local known = redis.call('ZSCORE', KEYS[2], ARGV[1])
if known then redis.call('ZADD', KEYS[2], now, ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local dead = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2], 'LIMIT', 0, 16)
return {known and '1' or '0', unpack(dead)}
";

/// Keys: edges. Arguments: edge, after how much silence it is dead.
const FORGET: &str = "
local seen = redis.call('ZSCORE', KEYS[1], ARGV[1])
if seen and now - tonumber(seen) >= tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
";

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let script = |body: &str| Script::new(&format!("{CLOCK}{body}"));
    Scripts {
        join: script(JOIN),
        leave: script(LEAVE),
        beat: script(BEAT),
        forget: script(FORGET),
    }
});

struct Scripts {
    join: Script,
    leave: Script,
    beat: Script,
    forget: Script,
}

/// A command did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// What became of a user who joined.
pub(super) struct Joined {
    /// Whether Redis still knew the edge.
    pub(super) edge_was_known: bool,
    /// Whether the user was nowhere before.
    pub(super) is_first: bool,
}

/// What a sign of life is answered.
pub(super) struct Beat {
    /// Whether Redis still knew the edge.
    pub(super) edge_was_known: bool,
    /// Edges that gave none for too long.
    pub(super) dead: Vec<EdgeId>,
}

/// One edge's hand in the register.
pub(super) struct Register {
    pub(super) edge: EdgeId,
    edge_text: String,
    pool: Pool,
    names: Names,
    expiry: Duration,
}

pub(super) type Users = Vec<(UserId, Arc<[ConversationId]>)>;

impl Register {
    pub(super) fn new(edge: EdgeId, pool: Pool, names: Names, expiry: Duration) -> Self {
        let edge_text = edge.0.simple().to_string();
        Self {
            edge,
            edge_text,
            pool,
            names,
            expiry,
        }
    }

    pub(super) async fn connection(&self) -> Result<Connection, Failed> {
        Ok(self.pool.get().await?)
    }

    /// How long keys outlive the last sign of life of anybody.
    fn keep(&self) -> u64 {
        millis(self.expiry) * 20
    }

    fn keys(&self, tenant: &Tenant) -> [String; 2] {
        [self.names.users(tenant), self.names.edges(tenant)]
    }

    pub(super) async fn join(
        &self,
        tenant: &Tenant,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> Result<Joined, Failed> {
        let mut connection = self.connection().await?;
        let message = Message::presence(self.edge, user, true, conversations).to_json();
        let (known, first): (u8, u8) = SCRIPTS
            .join
            .key(&self.keys(tenant)[..])
            .arg(&self.edge_text)
            .arg(user.as_str())
            .arg(self.names.channel(tenant))
            .arg(message)
            .arg(self.keep())
            .arg(0)
            .invoke_async(&mut connection)
            .await?;
        Ok(Joined {
            edge_was_known: known == 1,
            is_first: first == 1,
        })
    }

    /// Registers many, some at a time, and says of all that they are online.
    pub(super) async fn join_all(&self, tenant: &Tenant, users: &Users) -> Result<(), Failed> {
        let keys = self.keys(tenant);
        for chunk in users.chunks(CHUNK) {
            let mut pipe = redis::pipe();
            pipe.load_script(&SCRIPTS.join).ignore();
            for (user, conversations) in chunk {
                let message = Message::presence(self.edge, user, true, conversations).to_json();
                let mut call = SCRIPTS.join.key(&keys[..]);
                call.arg(&self.edge_text)
                    .arg(user.as_str())
                    .arg(self.names.channel(tenant))
                    .arg(message)
                    .arg(self.keep())
                    .arg(1);
                pipe.invoke_script(&call).ignore();
            }
            let () = pipe.query_async(&mut self.connection().await?).await?;
        }
        Ok(())
    }

    /// Takes a user of this edge out. Answers whether they are nowhere.
    pub(super) async fn leave(
        &self,
        tenant: &Tenant,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> Result<bool, Failed> {
        let edge = &self.edge_text;
        self.take_out(tenant, user, edge, conversations, 0).await
    }

    /// Takes a user of a dead edge out.
    pub(super) async fn bury(
        &self,
        tenant: &Tenant,
        user: &UserId,
        edge: EdgeId,
        conversations: &[ConversationId],
    ) -> Result<bool, Failed> {
        let (edge, expiry) = (edge.0.simple().to_string(), millis(self.expiry));
        self.take_out(tenant, user, &edge, conversations, expiry)
            .await
    }

    async fn take_out(
        &self,
        tenant: &Tenant,
        user: &UserId,
        edge: &str,
        conversations: &[ConversationId],
        expiry: u64,
    ) -> Result<bool, Failed> {
        let mut connection = self.connection().await?;
        let message = Message::presence(self.edge, user, false, conversations).to_json();
        let nowhere: u8 = SCRIPTS
            .leave
            .key(&self.keys(tenant)[..])
            .arg(edge)
            .arg(user.as_str())
            .arg(self.names.channel(tenant))
            .arg(message)
            .arg(expiry)
            .invoke_async(&mut connection)
            .await?;
        Ok(nowhere == 1)
    }

    pub(super) async fn beat(&self, tenant: &Tenant) -> Result<Beat, Failed> {
        let mut connection = self.connection().await?;
        let answer: Vec<String> = SCRIPTS
            .beat
            .key(&self.keys(tenant)[..])
            .arg(&self.edge_text)
            .arg(millis(self.expiry))
            .arg(self.keep())
            .invoke_async(&mut connection)
            .await?;
        let own = self.edge.0;
        let dead = answer.iter().skip(1);
        Ok(Beat {
            edge_was_known: answer.first().is_some_and(|known| known == "1"),
            dead: dead
                .filter_map(|edge| Uuid::try_parse(edge).ok())
                .filter(|edge| *edge != own)
                .map(EdgeId)
                .collect(),
        })
    }

    /// Whether this edge is the one to clear up after a dead one.
    pub(super) async fn may_sweep(&self, tenant: &Tenant, dead: EdgeId) -> Result<bool, Failed> {
        let mut connection = self.connection().await?;
        let key = self.names.sweep(tenant, &dead.0.simple().to_string());
        let set: Option<String> = redis::cmd("SET")
            .arg(key)
            .arg(&self.edge_text)
            .arg("NX")
            .arg("PX")
            .arg(millis(self.expiry))
            .query_async(&mut connection)
            .await?;
        Ok(set.is_some())
    }

    /// Some users of an edge, from a cursor (0 at first) to the next (0 at the
    /// end).
    pub(super) async fn users_of(
        &self,
        tenant: &Tenant,
        edge: EdgeId,
        cursor: u64,
    ) -> Result<(u64, Vec<UserId>), Failed> {
        let mut connection = self.connection().await?;
        let edge = edge.0.simple().to_string();
        let (next, pairs): (u64, Vec<(String, String)>) = redis::cmd("HSCAN")
            .arg(self.names.users(tenant))
            .arg(cursor)
            .arg("COUNT")
            .arg(SCAN)
            .query_async(&mut connection)
            .await?;
        let on_edge = pairs.into_iter().filter(|(_, edges)| edges.contains(&edge));
        let users = on_edge.filter_map(|(user, _)| UserId::parse(&user).ok());
        Ok((next, users.collect()))
    }

    /// A dead edge has no users any more.
    pub(super) async fn forget(&self, tenant: &Tenant, edge: EdgeId) -> Result<(), Failed> {
        let mut connection = self.connection().await?;
        let () = SCRIPTS
            .forget
            .key(self.names.edges(tenant))
            .arg(edge.0.simple().to_string())
            .arg(millis(self.expiry))
            .invoke_async(&mut connection)
            .await?;
        Ok(())
    }

    /// This edge has no users of the tenant any more.
    pub(super) async fn sign_off(&self, tenant: &Tenant) -> Result<(), Failed> {
        let mut connection = self.connection().await?;
        let () = connection
            .zrem(self.names.edges(tenant), &self.edge_text)
            .await?;
        Ok(())
    }

    pub(super) async fn publish(&self, tenant: &Tenant, message: &Message) -> Result<(), Failed> {
        let mut connection = self.connection().await?;
        let () = connection
            .publish(self.names.channel(tenant), message.to_json())
            .await?;
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
