use std::collections::HashMap;
use std::sync::LazyLock;

use deadpool_redis::redis::{self, RedisError, Script};
use tidings_domain::{Epoch, OwnerId, Ownership};
use uuid::Uuid;

use super::ask;
use crate::cache::{Cursor, Cursors};
use crate::{Position, StoreError};

/// Arguments: session, a fresh mark, how long a record stays. Answers the mark
/// and the value.
const OPEN: &str = "
local known = redis.call('HMGET', KEYS[1], 's', 'i', 'v')
if known[1] == ARGV[1] then return {known[2], known[3]} end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 's', ARGV[1], 'i', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {ARGV[2], false}
";

/// Arguments: session, mark, value, how long a record stays, and of each
/// partition what the value is as of. Answers whether it was taken in.
const FILL: &str = "
local known = redis.call('HMGET', KEYS[1], 's', 'i')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then return 0 end
local has_value = redis.call('HEXISTS', KEYS[1], 'v') == 1
for i = 5, #ARGV, 2 do
  local p, offset = ARGV[i], tonumber(ARGV[i + 1])
  local at = redis.call('HMGET', KEYS[1], 'f' .. p, 'a' .. p)
  if at[1] and tonumber(at[1]) > offset then return 0 end
  if has_value and at[2] and tonumber(at[2]) > offset then return 0 end
end
redis.call('HSET', KEYS[1], 'v', ARGV[3])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], 'a' .. ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
";

/// Arguments: partition, the offset after the change.
const NOTE: &str = "
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local f, a = 'f' .. ARGV[1], 'a' .. ARGV[1]
local at = redis.call('HMGET', KEYS[1], f, a)
local next = tonumber(ARGV[2])
if not at[1] or tonumber(at[1]) < next then redis.call('HSET', KEYS[1], f, ARGV[2]) end
if not at[2] or tonumber(at[2]) < next then redis.call('HDEL', KEYS[1], 'v') end
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
