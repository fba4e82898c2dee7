/// The version of the tables. Another one's are dropped, and built anew.
pub(super) const VERSION: i64 = 2;

/// The stamp of the tables' version. Version 1 had none.
pub(super) const STAMP: &str =
    "CREATE TABLE IF NOT EXISTS history_schema (version INTEGER NOT NULL PRIMARY KEY) STRICT";

pub(super) const DROP: &str = "
DROP TABLE IF EXISTS history_events;
DROP TABLE IF EXISTS history_messages;
DROP TABLE IF EXISTS history_edits;
DROP TABLE IF EXISTS history_hidden;
DROP TABLE IF EXISTS history_conversations;
DROP TABLE IF EXISTS history_members;
DROP TABLE IF EXISTS history_outcomes;
DROP TABLE IF EXISTS history_positions;
DELETE FROM history_schema;
";

/// What is left of a generation that is deleted, one after the other: a long
/// statement would hold up what waits to be appended.
pub(super) const DELETE: [&str; 9] = [
    "DROP TABLE IF EXISTS history_positions",
    "DROP TABLE IF EXISTS history_events",
    "DROP TABLE IF EXISTS history_messages",
    "DROP TABLE IF EXISTS history_edits",
    "DROP TABLE IF EXISTS history_hidden",
    "DROP TABLE IF EXISTS history_conversations",
    "DROP TABLE IF EXISTS history_members",
    "DROP TABLE IF EXISTS history_outcomes",
    "DROP TABLE IF EXISTS history_schema",
];

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
    withheld INTEGER NOT NULL,
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
    content TEXT,
    reply_to BLOB,
    thread BLOB,
    forwarded_from TEXT,
    edited_at INTEGER,
    deleted TEXT,
    reactions TEXT,
    replies INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS history_messages_by_no
    ON history_messages (conversation_id, no);
CREATE INDEX IF NOT EXISTS history_messages_by_thread
    ON history_messages (thread, no) WHERE thread IS NOT NULL;

-- A row without a content is what a purge leaves, so that a projection that has
-- not seen the purge yet cannot put the text back; or it tells of an event that
-- posted the message again.
CREATE TABLE IF NOT EXISTS history_edits (
    message_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    conversation_id BLOB NOT NULL,
    tenant TEXT NOT NULL,
    at INTEGER NOT NULL,
    content TEXT,
    PRIMARY KEY (message_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS history_hidden (
    tenant TEXT NOT NULL,
    user_id TEXT NOT NULL,
    message_id BLOB NOT NULL,
    conversation_id BLOB NOT NULL,
    PRIMARY KEY (tenant, user_id, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS history_hidden_by_conversation
    ON history_hidden (tenant, user_id, conversation_id);

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
    archived INTEGER NOT NULL,
    muted INTEGER NOT NULL,
    muted_until INTEGER,
    settings_rev INTEGER NOT NULL,
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
        "conversation_id, seq, tenant, at, sender, temp_id, event, withheld"
    };
    (messages) => {
        "message_id, conversation_id, tenant, no, seq, rev, sender, at, content, reply_to, \
         thread, forwarded_from, edited_at, deleted, reactions, replies"
    };
    (conversations) => {
        "c.conversation_id, c.tenant, c.kind, c.title, c.closed, c.created_at, c.last_at, \
         c.last_seq, c.last_no, c.last_message_id"
    };
    (members) => {
        "m.conversation_id, m.user_id, m.tenant, m.role, m.read_no, m.rev, m.archived, m.muted, \
         m.muted_until, m.settings_rev"
    };
    (edits) => {
        "message_id, seq, conversation_id, tenant, at, content"
    };
}

pub(super) const INSERT_EVENT: &str = "INSERT INTO history_events \
    (conversation_id, seq, tenant, at, sender, temp_id, no, event, withheld) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (conversation_id, seq) DO NOTHING";

pub(super) const UPSERT_MESSAGE: &str = concat!(
    "INSERT INTO history_messages (",
    columns!(messages),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
     ON CONFLICT (message_id) DO UPDATE SET rev = excluded.rev, content = excluded.content, \
     edited_at = excluded.edited_at, deleted = excluded.deleted, \
     reactions = excluded.reactions, replies = excluded.replies \
     WHERE excluded.rev > rev"
);

pub(super) const INSERT_EDIT: &str = concat!(
    "INSERT INTO history_edits (",
    columns!(edits),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (message_id, seq) DO NOTHING"
);

/// Of a message's events: the one that posted it, and those that edited it.
pub(super) const WITHHOLD_EVENTS: &str = "UPDATE history_events SET withheld = 1 \
    WHERE conversation_id = ?1 AND seq IN \
    (SELECT ?2 UNION ALL SELECT seq FROM history_edits WHERE message_id = ?3)";

pub(super) const PURGE_EVENTS: &str = "UPDATE history_events \
    SET withheld = 1, event = json_set(event, '$.content', NULL) \
    WHERE conversation_id = ?1 AND seq IN \
    (SELECT ?2 UNION ALL SELECT seq FROM history_edits WHERE message_id = ?3)";

pub(super) const PURGE_EDITS: &str =
    "UPDATE history_edits SET content = NULL WHERE message_id = ?1";

pub(super) const INSERT_HIDDEN: &str = "INSERT INTO history_hidden \
    (tenant, user_id, message_id, conversation_id) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (tenant, user_id, message_id) DO NOTHING";

/// The first outcome stays, except that an own change (neither seq nor code) is
/// noted over anything else.
pub(super) const INSERT_OUTCOME: &str = "INSERT INTO history_outcomes \
    (conversation_id, sender, temp_id, tenant, at, seq, no, code, message_id) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
    ON CONFLICT (conversation_id, tenant, sender, temp_id) DO UPDATE SET at = excluded.at, \
    seq = NULL, no = NULL, code = NULL, message_id = excluded.message_id \
    WHERE coalesce(seq, code) IS NOT NULL AND coalesce(excluded.seq, excluded.code) IS NULL";

/// Three parts that change apart from each other: by events, by own settings,
/// and the read marker, which only grows.
pub(super) const UPSERT_MEMBER: &str = "INSERT INTO history_members \
    (conversation_id, user_id, tenant, role, read_no, rev, archived, muted, muted_until, \
    settings_rev) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
    ON CONFLICT (conversation_id, user_id) DO UPDATE SET \
    role = iif(excluded.rev > rev, excluded.role, role), rev = max(rev, excluded.rev), \
    read_no = max(read_no, excluded.read_no), \
    archived = iif(excluded.settings_rev > settings_rev, excluded.archived, archived), \
    muted = iif(excluded.settings_rev > settings_rev, excluded.muted, muted), \
    muted_until = iif(excluded.settings_rev > settings_rev, excluded.muted_until, muted_until), \
    settings_rev = max(settings_rev, excluded.settings_rev) \
    WHERE excluded.rev > rev OR excluded.settings_rev > settings_rev \
    OR excluded.read_no > read_no";

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

pub(super) const LOAD_MESSAGE: &str = concat!(
    "SELECT ",
    columns!(messages),
    " FROM history_messages WHERE message_id = ?1"
);

/// `?5` is who asks, and does not see what they have deleted for themselves.
pub(super) const PAGE: &str = concat!(
    "SELECT ",
    columns!(messages),
    " FROM history_messages m WHERE m.conversation_id = ?1 AND m.no < ?2 AND m.tenant = ?3 \
     AND NOT EXISTS (SELECT 1 FROM history_hidden h WHERE h.tenant = ?3 AND h.user_id = ?5 \
     AND h.message_id = m.message_id) ORDER BY m.no DESC LIMIT ?4"
);

pub(super) const THREAD_PAGE: &str = concat!(
    "SELECT ",
    columns!(messages),
    " FROM history_messages m WHERE m.thread = ?6 AND m.no < ?2 AND m.conversation_id = ?1 \
     AND m.tenant = ?3 \
     AND NOT EXISTS (SELECT 1 FROM history_hidden h WHERE h.tenant = ?3 AND h.user_id = ?5 \
     AND h.message_id = m.message_id) ORDER BY m.no DESC LIMIT ?4"
);

pub(super) const EDITS: &str = "SELECT e.message_id, e.seq, e.conversation_id, e.tenant, e.at, \
    e.content FROM history_messages m JOIN history_edits e ON e.message_id = m.message_id \
    WHERE m.message_id = ?1 AND m.tenant = ?2 AND m.deleted IS NULL \
    AND e.content IS NOT NULL ORDER BY e.seq";

pub(super) const IS_HIDDEN: &str = "SELECT 1 FROM history_hidden \
    WHERE tenant = ?1 AND user_id = ?2 AND message_id = ?3";

pub(super) const HIDDEN_IN: &str = "SELECT message_id FROM history_hidden \
    WHERE tenant = ?1 AND user_id = ?2 AND conversation_id = ?3 LIMIT ?4";

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

pub(super) const MEMBERS: &str = concat!(
    "SELECT ",
    columns!(members),
    " FROM history_members m WHERE m.conversation_id = ?1 AND m.user_id > ?2 AND m.tenant = ?3 \
     AND m.role IS NOT NULL ORDER BY m.user_id LIMIT ?4"
);

pub(super) const UNREAD: &str = "SELECT m.conversation_id, c.last_no - m.read_no \
    FROM history_members m \
    CROSS JOIN history_conversations c ON c.conversation_id = m.conversation_id \
    WHERE m.tenant = ?1 AND m.user_id = ?2 AND m.role IS NOT NULL AND c.tenant = ?1 \
    AND c.last_no > m.read_no ORDER BY m.conversation_id";

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
     AND (?6 IS NULL OR c.kind = ?6) \
     AND (?3 IS NULL OR c.last_at < ?3 OR (c.last_at = ?3 AND c.conversation_id > ?4)) \
     ORDER BY c.last_at DESC, c.conversation_id LIMIT ?5"
);

pub(super) const OUTCOME: &str = "SELECT at, seq, no, code, message_id FROM history_outcomes \
    WHERE conversation_id = ?1 AND sender = ?2 AND temp_id = ?3 AND tenant = ?4";

/// Every statement that must be a search of an index.
#[cfg(test)]
pub(super) const SEARCHES: &[&str] = &[
    EVENTS,
    EVENT_OF_COMMAND,
    MESSAGE,
    LOAD_MESSAGE,
    PAGE,
    THREAD_PAGE,
    EDITS,
    IS_HIDDEN,
    HIDDEN_IN,
    LOAD_CONVERSATION,
    CONVERSATION,
    LOAD_MEMBER,
    MEMBER,
    MEMBERS,
    MEMBERSHIPS,
    UNREAD,
    LIST,
    OUTCOME,
    UPSERT_MESSAGE,
    UPSERT_MEMBER,
    UPSERT_CONVERSATION,
    UPSERT_POSITION,
    INSERT_OUTCOME,
    WITHHOLD_EVENTS,
    PURGE_EVENTS,
    PURGE_EDITS,
];
