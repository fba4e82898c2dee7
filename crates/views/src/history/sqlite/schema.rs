/// The tables, beside those of the log. Events and messages come in log order
/// and are wide, so they are row-id tables that only grow at their end; the
/// rest is narrow and found by its key alone.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS history_events (
    conversation_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    at INTEGER NOT NULL,
    sender TEXT NOT NULL,
    temp_id TEXT NOT NULL,
    no INTEGER,
    event TEXT NOT NULL,
    UNIQUE (conversation_id, seq)
) STRICT;
-- A message is found by its command's key, which is its id; see `messages`.
CREATE INDEX IF NOT EXISTS history_events_by_command
    ON history_events (conversation_id, sender, temp_id) WHERE no IS NULL;

CREATE TABLE IF NOT EXISTS history_messages (
    message_id BLOB NOT NULL UNIQUE,
    conversation_id BLOB NOT NULL,
    tenant TEXT NOT NULL,
    no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    sender TEXT NOT NULL,
    at INTEGER NOT NULL,
    content TEXT NOT NULL,
    reply_to BLOB,
    thread BLOB,
    forwarded_from TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS history_conversations (
    conversation_id BLOB NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT,
    closed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_no INTEGER NOT NULL,
    last_message_id BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS history_members (
    conversation_id BLOB NOT NULL,
    user_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    role TEXT,
    read_no INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS history_members_by_user
    ON history_members (tenant, user_id) WHERE role IS NOT NULL;

CREATE TABLE IF NOT EXISTS history_outcomes (
    conversation_id BLOB NOT NULL,
    sender TEXT NOT NULL,
    temp_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    at INTEGER NOT NULL,
    seq INTEGER,
    no INTEGER,
    code TEXT,
    message_id BLOB,
    PRIMARY KEY (conversation_id, tenant, sender, temp_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS history_positions (
    partition INTEGER NOT NULL PRIMARY KEY,
    next_offset INTEGER NOT NULL,
    epoch INTEGER,
    owner BLOB
) STRICT;
";

macro_rules! columns {
    (events) => {
        "conversation_id, seq, tenant, at, sender, temp_id, event"
    };
    (messages) => {
        "message_id, conversation_id, tenant, no, seq, rev, sender, at, content, reply_to, \
         thread, forwarded_from"
    };
    (conversations) => {
        "c.conversation_id, c.tenant, c.kind, c.title, c.closed, c.created_at, c.last_at, \
         c.last_seq, c.last_no, c.last_message_id"
    };
    (members) => {
        "m.conversation_id, m.user_id, m.tenant, m.role, m.read_no, m.rev"
    };
}

pub(super) const INSERT_EVENT: &str = "INSERT INTO history_events \
    (conversation_id, seq, tenant, at, sender, temp_id, no, event) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (conversation_id, seq) DO NOTHING";

pub(super) const INSERT_MESSAGE: &str = concat!(
    "INSERT INTO history_messages (",
    columns!(messages),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
     ON CONFLICT (message_id) DO NOTHING"
);

pub(super) const INSERT_OUTCOME: &str = "INSERT INTO history_outcomes \
    (conversation_id, sender, temp_id, tenant, at, seq, no, code, message_id) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
    ON CONFLICT (conversation_id, tenant, sender, temp_id) DO NOTHING";

pub(super) const UPSERT_MEMBER: &str = "INSERT INTO history_members \
    (conversation_id, user_id, tenant, role, read_no, rev) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
    ON CONFLICT (conversation_id, user_id) DO UPDATE \
    SET role = excluded.role, read_no = excluded.read_no, rev = excluded.rev \
    WHERE excluded.rev > rev";

pub(super) const UPSERT_CONVERSATION: &str = "INSERT INTO history_conversations \
    (conversation_id, tenant, kind, title, closed, created_at, last_at, last_seq, last_no, \
    last_message_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
    ON CONFLICT (conversation_id) DO UPDATE SET title = excluded.title, \
    closed = excluded.closed, last_at = excluded.last_at, last_seq = excluded.last_seq, \
    last_no = excluded.last_no, last_message_id = excluded.last_message_id \
    WHERE excluded.last_seq > last_seq";

pub(super) const UPSERT_POSITION: &str = "INSERT INTO history_positions \
    (partition, next_offset, epoch, owner) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset, \
    epoch = excluded.epoch, owner = excluded.owner \
    WHERE excluded.next_offset > next_offset";

/// All positions: one row a partition.
pub(super) const POSITIONS: &str =
    "SELECT partition, next_offset, epoch, owner FROM history_positions";

pub(super) const EVENTS: &str = concat!(
    "SELECT ",
    columns!(events),
    " FROM history_events WHERE conversation_id = ?1 AND seq > ?2 AND tenant = ?3 \
     ORDER BY seq LIMIT ?4"
);

pub(super) const EVENT_OF_COMMAND: &str = concat!(
    "SELECT ",
    columns!(events),
    " FROM history_events WHERE conversation_id = ?1 AND sender = ?2 AND temp_id = ?3 \
     AND no IS NULL AND tenant = ?4 ORDER BY seq LIMIT 1"
);

pub(super) const MESSAGE: &str = concat!(
    "SELECT ",
    columns!(messages),
    " FROM history_messages WHERE message_id = ?1 AND tenant = ?2"
);

pub(super) const LOAD_CONVERSATION: &str = concat!(
    "SELECT ",
    columns!(conversations),
    " FROM history_conversations c WHERE c.conversation_id = ?1"
);

pub(super) const CONVERSATION: &str = concat!(
    "SELECT ",
    columns!(conversations),
    " FROM history_conversations c WHERE c.conversation_id = ?1 AND c.tenant = ?2"
);

pub(super) const LOAD_MEMBER: &str = concat!(
    "SELECT ",
    columns!(members),
    " FROM history_members m WHERE m.conversation_id = ?1 AND m.user_id = ?2"
);

pub(super) const MEMBER: &str = concat!(
    "SELECT ",
    columns!(members),
    " FROM history_members m WHERE m.conversation_id = ?1 AND m.user_id = ?2 AND m.tenant = ?3"
);

pub(super) const MEMBERSHIPS: &str = "SELECT m.conversation_id FROM history_members m \
    WHERE m.tenant = ?1 AND m.user_id = ?2 AND m.role IS NOT NULL ORDER BY m.conversation_id";

/// The cursor is given twice over as null for the first page. `CROSS JOIN`
/// keeps the order of the join: from the user's own few rows to their
/// conversations.
pub(super) const LIST: &str = concat!(
    "SELECT ",
    columns!(conversations),
    ", ",
    columns!(members),
    " FROM history_members m \
     CROSS JOIN history_conversations c ON c.conversation_id = m.conversation_id \
     WHERE m.tenant = ?1 AND m.user_id = ?2 AND m.role IS NOT NULL AND c.tenant = ?1 \
     AND (?3 IS NULL OR c.last_at < ?3 OR (c.last_at = ?3 AND c.conversation_id > ?4)) \
     ORDER BY c.last_at DESC, c.conversation_id LIMIT ?5"
);

pub(super) const OUTCOME: &str = "SELECT at, seq, no, code, message_id FROM history_outcomes \
    WHERE conversation_id = ?1 AND sender = ?2 AND temp_id = ?3 AND tenant = ?4";

/// Every query that must be a search of an index.
#[cfg(test)]
pub(super) const SEARCHES: [&str; 11] = [
    EVENTS,
    EVENT_OF_COMMAND,
    MESSAGE,
    LOAD_CONVERSATION,
    CONVERSATION,
    LOAD_MEMBER,
    MEMBER,
    MEMBERSHIPS,
    LIST,
    OUTCOME,
    UPSERT_POSITION,
];
