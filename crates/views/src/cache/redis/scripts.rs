use std::collections::HashMap;
use std::sync::LazyLock;

use deadpool_redis::redis::{self, RedisError, Script};
use tidings_domain::{Epoch, OwnerId, Ownership};
use uuid::Uuid;

use super::ask;
use crate::cache::{Cursor, Cursors, Found, Ticket};
use crate::{Position, StoreError};

/// Arguments: session, a fresh mark, how long a record stays. Answers all
/// fields.
const OPEN: &str = "
if redis.call('HGET', KEYS[1], 's') ~= ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 's', ARGV[1], 'i', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HGETALL', KEYS[1])
";

/// Arguments: session, mark, value, how long a record stays, and of each
/// partition what the value is as of. Answers whether it was taken in.
const FILL: &str = "
local known = redis.call('HMGET', KEYS[1], 's', 'i')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then return 0 end
local as_of = {}
for i = 5, #ARGV, 2 do
  local p, offset = ARGV[i], tonumber(ARGV[i + 1])
  local at = redis.call('HMGET', KEYS[1], 'f' .. p, 'a' .. p)
  if at[1] and tonumber(at[1]) > offset then return 0 end
  if at[2] and tonumber(at[2]) > offset then return 0 end
  as_of[p] = offset
end
redis.call('HSET', KEYS[1], 'v', ARGV[3])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], 'a' .. ARGV[i], ARGV[i + 1]) end
local fields = redis.call('HKEYS', KEYS[1])
for i = 1, #fields do
  if string.sub(fields[i], 1, 1) == 'n' then
    local p, next = string.match(redis.call('HGET', KEYS[1], fields[i]), '^(%d+):(%d+)$')
    if as_of[p] and tonumber(next) <= as_of[p] then redis.call('HDEL', KEYS[1], fields[i]) end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
";

/// Arguments: partition, the offset after the change, how many parts may be
/// outdated, and which are by this change; none: all.
const NOTE: &str = "
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local p, next = ARGV[1], tonumber(ARGV[2])
local at = redis.call('HGET', KEYS[1], 'a' .. p)
if at and tonumber(at) >= next then return 1 end
for i = 4, #ARGV do
  local known = redis.call('HGET', KEYS[1], 'n' .. ARGV[i])
  if not known or tonumber(string.match(known, ':(%d+)$')) < next then
    redis.call('HSET', KEYS[1], 'n' .. ARGV[i], p .. ':' .. ARGV[2])
  end
end
local most = tonumber(ARGV[3])
if #ARGV > 3 and redis.call('HLEN', KEYS[1]) <= most then return 1 end
local parts, fields = {}, redis.call('HKEYS', KEYS[1])
for i = 1, #fields do
  if string.sub(fields[i], 1, 1) == 'n' then parts[#parts + 1] = fields[i] end
end
if #ARGV > 3 and #parts <= most then return 1 end
local function raise(p, next)
  local floor = redis.call('HGET', KEYS[1], 'f' .. p)
  if not floor or tonumber(floor) < tonumber(next) then
    redis.call('HSET', KEYS[1], 'f' .. p, next)
  end
end
raise(p, ARGV[2])
for i = 1, #parts do
  raise(string.match(redis.call('HGET', KEYS[1], parts[i]), '^(%d+):(%d+)$'))
  redis.call('HDEL', KEYS[1], parts[i])
end
redis.call('HDEL', KEYS[1], 'v')
return 1
";

/// Arguments: a fresh session, and of each partition the offset and the owner.
const BEGIN: &str = "
redis.call('HSETNX', KEYS[1], 's', ARGV[1])
for i = 2, #ARGV, 3 do
  if redis.call('HSETNX', KEYS[1], 'o' .. ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('HSET', KEYS[1], 'r' .. ARGV[i], ARGV[i + 1], 'w' .. ARGV[i], ARGV[i + 2])
  end
end
return 1
";

/// Arguments: of each partition, what it reaches for. Answers whether all are
/// kept.
const REACH: &str = "
for i = 1, #ARGV, 2 do
  local at = redis.call('HGET', KEYS[1], 'r' .. ARGV[i])
  if not at then return 0 end
  if tonumber(at) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], 'r' .. ARGV[i], ARGV[i + 1])
  end
end
return 1
";

/// Arguments: of each partition, where it must stand, where it goes, and the
/// owner there. Answers whether all stood where they must.
const ADVANCE: &str = "
for i = 1, #ARGV, 4 do
  if redis.call('HGET', KEYS[1], 'o' .. ARGV[i]) ~= ARGV[i + 1] then return 0 end
end
for i = 1, #ARGV, 4 do
  local p, to = ARGV[i], ARGV[i + 2]
  redis.call('HSET', KEYS[1], 'o' .. p, to, 'w' .. p, ARGV[i + 3])
  if tonumber(redis.call('HGET', KEYS[1], 'r' .. p)) < tonumber(to) then
    redis.call('HSET', KEYS[1], 'r' .. p, to)
  end
end
return 1
";

/// Arguments: revision, register. Answers whether it follows on what is there.
const REGISTER: &str = "
local known = redis.call('HGET', KEYS[1], 'revision')
if tonumber(known or '0') + 1 ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'register', ARGV[2])
return 1
";

pub(super) struct Scripts {
    pub(super) open: Script,
    pub(super) fill: Script,
    pub(super) note: Script,
    pub(super) begin: Script,
    pub(super) reach: Script,
    pub(super) advance: Script,
    pub(super) register: Script,
}

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    open: Script::new(OPEN),
    fill: Script::new(FILL),
    note: Script::new(NOTE),
    begin: Script::new(BEGIN),
    reach: Script::new(REACH),
    advance: Script::new(ADVANCE),
    register: Script::new(REGISTER),
});

/// A record from the fields of its hash, and its session.
pub(super) fn read_record(answer: &redis::Value) -> Result<(Option<String>, Found), StoreError> {
    let fields: HashMap<String, Vec<u8>> =
        ask(redis::from_redis_value_ref(answer).map_err(RedisError::from))?;
    let (mut session, mut mark, mut value) = (None, String::new(), None);
    let (mut parts, mut as_of) = (Vec::new(), Vec::new());
    for (field, content) in fields {
        let text = || String::from_utf8_lossy(&content);
        match field.split_at_checked(1) {
            Some(("s", "")) => session = Some(text().into_owned()),
            Some(("i", "")) => mark = text().into_owned(),
            Some(("v", "")) => value = Some(content),
            Some(("n", part)) => parts.push(part.to_owned()),
            Some(("a", partition)) => {
                as_of.extend(partition.parse().ok().zip(text().parse().ok()));
            }
            _ => {}
        }
    }
    let ticket = Ticket {
        session: session.clone().unwrap_or_default(),
        mark,
    };
    Ok((session, Found::new(value, parts, as_of, ticket)))
}

/// An owner as a field's text; empty: none.
pub(super) fn owner_text(owner: Option<Ownership>) -> String {
    owner.map_or_else(String::new, |owner| {
        format!("{}:{}", owner.epoch.0, owner.owner.0.simple())
    })
}

fn read_owner(text: &str) -> Option<Ownership> {
    let (epoch, owner) = text.split_once(':')?;
    Some(Ownership {
        epoch: Epoch(epoch.parse().ok()?),
        owner: OwnerId(Uuid::try_parse(owner).ok()?),
    })
}

/// The cursors from the fields of their hash. What makes no sense is not there.
pub(super) fn read_cursors(answer: &redis::Value) -> Result<Cursors, StoreError> {
    let fields: HashMap<String, String> =
        ask(redis::from_redis_value_ref(answer).map_err(RedisError::from))?;
    let mut cursors = Cursors {
        session: fields.get("s").cloned(),
        ..Cursors::default()
    };
    for (field, value) in &fields {
        let Some(partition) = field.strip_prefix('o') else {
            continue;
        };
        let reaching = fields.get(&format!("r{partition}"));
        let owner = fields.get(&format!("w{partition}"));
        let (Ok(number), Ok(offset), Some(Ok(reaching))) = (
            partition.parse(),
            value.parse(),
            reaching.map(|reaching| reaching.parse()),
        ) else {
            continue;
        };
        let position = Position {
            partition: number,
            offset,
            current: owner.and_then(|owner| read_owner(owner)),
        };
        cursors
            .partitions
            .insert(number, Cursor { position, reaching });
    }
    Ok(cursors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_back() {
        let owner = Ownership {
            epoch: Epoch(u64::MAX),
            owner: OwnerId(Uuid::from_u128(7)),
        };
        assert_eq!(read_owner(&owner_text(Some(owner))), Some(owner));
        assert_eq!(read_owner(&owner_text(None)), None);
    }
}
