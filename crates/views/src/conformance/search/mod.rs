//! What every store of the search view must do, checked against a plain scan
//! of the documents.
//!
//! Each check takes a store that is prepared and empty, and panics where the
//! store is wrong.

mod chat;
mod irc;
mod scan;

use std::collections::BTreeSet;

use async_trait::async_trait;
use tidings_domain::{
    Content, ConversationId, Decision, Epoch, MessageId, Model, OwnerId, Ownership, Tenant,
    Timestamp, UserId,
};
use uuid::Uuid;

pub use chat::Chat;
pub use irc::irc;

use self::scan::Scan;
use super::{Decisions, Random};
use crate::Position;
use crate::search::{
    Asker, Documents, Filters, Fold, Found, OpenSearch, Page, Query, SearchReader, SearchWriter,
    SqliteSearch, Wanted,
};

/// A store that can be told to make what was written visible to searches.
#[async_trait]
pub trait Searchable: SearchWriter + SearchReader {
    /// Makes it visible.
    async fn settle(&self);
}

#[async_trait]
impl Searchable for SqliteSearch {
    async fn settle(&self) {}
}

#[async_trait]
impl Searchable for OpenSearch {
    async fn settle(&self) {
        self.refresh().await.expect("refreshes");
    }
}

/// Applies decisions as a projection does, so many at a time.
pub async fn index(store: &dyn Searchable, decisions: &[(i64, Decision)], batch: usize) {
    for batch in decisions.chunks(batch) {
        let wanted = Wanted::of(batch.iter().map(|(_, decision)| decision));
        let loaded = store.load(&wanted).await.expect("loads");
        let mut fold = Fold::new(loaded);
        for (offset, decision) in batch {
            fold.apply(decision, *offset);
        }
        let changed = fold.into_changed();
        store.write(&changed, &[]).await.expect("writes");
    }
    store.settle().await;
}

/// Whatever is asked, the store finds what a scan of the documents finds: on
/// every page, for everybody, after decisions in batches of any size, some of
/// which came twice.
pub async fn answers_like_a_scan(store: &dyn Searchable) {
    let mut chat = Chat::new(1);
    let mut decisions = Vec::new();
    for batch in [1, 7, 64, 200, 3, 150] {
        let more = chat.take(batch * 2);
        index(store, &more, batch).await;
        if batch % 2 == 1 {
            index(store, &more, batch + 1).await;
        }
        decisions.extend(more);
    }
    let scan = Scan::of(&decisions);
    let messages = || scan.documents.messages.values();
    assert!(messages().any(|message| message.text.is_none()));
    assert!(messages().any(|message| !message.hidden_for.is_empty()));
    let mut random = Random::new(2);
    compare(store, &scan, &mut random).await;

    // All of it once more changes nothing.
    index(store, &decisions, 100).await;
    compare(store, &scan, &mut random).await;
}

async fn compare(store: &dyn Searchable, scan: &Scan, random: &mut Random) {
    let mut found = 0;
    for _ in 0..60 {
        let asker = scan.asker(random);
        let query = Query::parse(&chat::query(random)).expect("a query");
        let filters = scan.filters(random);
        let limit = 1 + random.below(9);
        if query.has_words() {
            let expected = scan.messages(&asker, &query, &filters);
            let ask = async |after| {
                let page = Page { after, limit };
                let found = store.messages(&asker, &query, &filters, page).await;
                found.expect("finds")
            };
            let hits = walk(expected.len(), |hit| (hit.at, hit.message_id), ask).await;
            assert_eq!(hits, expected, "{query:?} {filters:?}");
            found += hits.len();
        }
        let ids = Query::parse(&chat::id_query(random)).expect("a query");
        for query in [&query, &ids] {
            let expected = scan.conversations(&asker, query);
            let ask = async |after| {
                let page = Page { after, limit };
                let found = store.conversations(&asker, query, page).await;
                found.expect("finds")
            };
            let key = |hit: &crate::search::ConversationHit| (hit.created_at, hit.conversation_id);
            let hits = walk(expected.len(), key, ask).await;
            assert_eq!(hits, expected, "{query:?}");

            let expected = scan.users(&asker, query);
            let ask = async |after| {
                let page = Page { after, limit };
                store.users(&asker, query, page).await.expect("finds")
            };
            let hits = walk(expected.len(), Clone::clone, ask).await;
            assert_eq!(hits, expected, "{query:?}");
        }
    }
    assert!(found > 60, "the questions find too little: {found}");
}

/// The hits of all pages, of which each must know how many there are.
async fn walk<T, K>(
    total: usize,
    key: impl Fn(&T) -> K,
    ask: impl AsyncFn(Option<K>) -> Found<T>,
) -> Vec<T> {
    let mut hits = Vec::new();
    loop {
        let found = ask(hits.last().map(&key)).await;
        assert_eq!(found.total, total as u64);
        let more = found.more;
        hits.extend(found.hits);
        if !more || hits.len() > total {
            return hits;
        }
    }
}

/// What was deleted stays away, whatever old write comes late.
pub async fn late_writes_bring_nothing_back(store: &dyn Searchable) {
    let mut chat = Chat::new(3);
    let mut decisions = chat.take(20);
    let (said, purged) = chat.said_and_purged("unmistakable");
    decisions.push(said.clone());
    index(store, &decisions, 8).await;
    // Apart: what is purged in the batch that says it is never written.
    index(store, std::slice::from_ref(&purged), 8).await;
    decisions.push(purged);
    let scan = Scan::of(&decisions);
    let asker = scan.everything(&said.1.tenant);
    let query = Query::parse("unmistakable").expect("a query");
    assert!(hits(store, &asker, &query).await.is_empty());

    // A projection that was paused writes what it had folded.
    let mut fold = Fold::new(Documents::default());
    fold.apply(&said.1, said.0);
    let late = fold.into_changed();
    store.write(&late, &[]).await.expect("writes");
    store.settle().await;
    assert!(hits(store, &asker, &query).await.is_empty());

    // Somebody sends it once more, long after.
    let again = chat.again(&said.1);
    index(store, &[again], 8).await;
    assert!(hits(store, &asker, &query).await.is_empty());
}

/// Whatever the sequencer decides of commands of every sort, and however it is
/// cut into batches, some of which come twice: the documents say what the model
/// of the history view says.
pub async fn agrees_with_the_model(store: &dyn Searchable, seed: u64) {
    let made = Decisions::new(seed).take(400);
    let decisions: Vec<(i64, Decision)> = (0..).zip(made).collect();
    let mut model = Model::default();
    for (offset, decision) in &decisions {
        model.apply(decision, *offset);
    }
    let (mut random, mut done) = (Random::new(!seed), 0);
    while done < decisions.len() {
        let end = (done + 1 + random.below(80)).min(decisions.len());
        index(store, &decisions[done..end], 1 + random.below(40)).await;
        if random.below(3) == 0 {
            let older = random.below(done + 1);
            index(store, &decisions[older..end], 1 + random.below(40)).await;
        }
        done = end;
    }

    let wanted = Wanted {
        messages: model.messages.keys().copied().collect(),
        conversations: model.conversations.keys().copied().collect(),
    };
    let loaded = store.load(&wanted).await.expect("loads");
    assert_eq!(loaded.messages.len(), model.messages.len());
    assert_eq!(loaded.conversations.len(), model.conversations.len());
    let (mut deleted, mut hidden) = (0, 0);
    for (id, row) in &model.messages {
        let document = &loaded.messages[id];
        let shown = row.clone().shown();
        let content = shown.content.as_ref();
        assert_eq!(
            document.text.as_ref(),
            content.map(|it| &it.text),
            "{row:?}"
        );
        let has_attachment = content.is_some_and(|it| !it.attachments.is_empty());
        assert_eq!(document.has_attachment, has_attachment, "{row:?}");
        assert_eq!(
            (document.conversation_id, &document.tenant, document.no),
            (row.conversation_id, &row.tenant, row.no)
        );
        assert_eq!((&document.by, document.at), (&row.by, row.at));
        // Nobody finds what is deleted for all.
        if content.is_some() {
            let of_message = model.hidden.values().filter(|it| it.message_id == *id);
            let users: BTreeSet<_> = of_message.map(|it| it.user_id.clone()).collect();
            hidden += users.len();
            assert_eq!(document.hidden_for, users, "{row:?}");
        } else {
            deleted += 1;
        }
    }
    assert!(
        deleted > 0 && hidden > 0,
        "{deleted} deleted, {hidden} hidden"
    );
    for (id, row) in &model.conversations {
        let document = &loaded.conversations[id];
        assert_eq!(
            (&document.tenant, document.kind, &document.title),
            (&row.tenant, row.kind, &row.title)
        );
        assert_eq!(document.created_at, row.created_at);
    }

    // Where somebody is now is where others find them.
    let query = Query::parse("alice").expect("a query");
    for tenant in ["acme", "other"].map(Tenant::parse) {
        let tenant = tenant.expect("a valid tenant");
        let all = model.conversations.values();
        let asker = Asker {
            tenant: tenant.clone(),
            user_id: UserId::parse("nosy").expect("a valid user"),
            conversations: all.map(|row| row.conversation_id).collect(),
        };
        let page = Page {
            after: None,
            limit: 1_000,
        };
        let found = store.conversations(&asker, &query, page).await;
        let found = found.expect("finds").hits.into_iter();
        let found: BTreeSet<_> = found.map(|hit| hit.conversation_id).collect();
        let members = model.members.values();
        let present = members.filter(|row| {
            row.tenant == tenant && row.user_id.as_str() == "alice" && row.role.is_some()
        });
        let expected: BTreeSet<_> = present.map(|row| row.conversation_id).collect();
        assert!(!expected.is_empty());
        assert_eq!(found, expected);
    }
}

/// Positions only go forwards.
pub async fn keeps_positions(store: &dyn Searchable) {
    let at = |partition, offset, epoch: u64| Position {
        partition,
        offset,
        current: (epoch > 0).then_some(Ownership {
            epoch: Epoch(epoch),
            owner: OwnerId(Uuid::from_u128(epoch.into())),
        }),
    };
    let none = Documents::default();
    assert_eq!(store.positions().await, Ok(vec![]));
    for written in [
        vec![at(0, 5, 1), at(11, 0, 0)],
        vec![at(0, 4, 1), at(11, 9, 2)],
        vec![at(0, 5, 1)],
    ] {
        store.write(&none, &written).await.expect("writes");
    }
    let mut positions = store.positions().await.expect("reads");
    positions.sort_by_key(|position| position.partition);
    assert_eq!(positions, [at(0, 5, 1), at(11, 9, 2)]);
}

/// Of each word, the lines are found that `grep -iw` finds. `words` are ASCII.
pub async fn finds_the_lines_that_grep_finds(
    store: &dyn Searchable,
    lines: &[String],
    words: &[String],
) {
    let mut chat = Chat::new(4);
    let (decisions, conversation_id) = chat.of_lines(lines);
    index(store, &decisions, 100).await;
    let asker = Asker {
        tenant: decisions[0].1.tenant.clone(),
        user_id: decisions[0].1.sender.clone(),
        conversations: vec![conversation_id],
    };
    for word in words {
        let query = Query::parse(word).expect("a query");
        let found = hits(store, &asker, &query).await;
        let found: BTreeSet<u64> = found.iter().map(|(_, no, _)| *no).collect();
        let expected: BTreeSet<u64> = (1..)
            .zip(lines)
            .filter(|(_, line)| has_word(line, word))
            .map(|(no, _)| no)
            .collect();
        assert!(!expected.is_empty(), "{word:?} is in no line");
        assert_eq!(found, expected, "{word:?}");
    }
}

/// Whether `grep -iw` finds an ASCII word in a line: it stands there, and on
/// neither side of it a letter, a digit or an underscore.
fn has_word(line: &str, word: &str) -> bool {
    let (line, word) = (line.to_ascii_lowercase(), word.to_ascii_lowercase());
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    line.match_indices(&word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// All hits among the messages: id, `no` and text.
async fn hits(
    store: &dyn Searchable,
    asker: &Asker,
    query: &Query,
) -> Vec<(MessageId, u64, String)> {
    let mut after: Option<(Timestamp, MessageId)> = None;
    let mut hits = Vec::new();
    loop {
        let page = Page { after, limit: 100 };
        let found = store
            .messages(asker, query, &Filters::default(), page)
            .await
            .expect("finds");
        after = found.hits.last().map(|hit| (hit.at, hit.message_id));
        let more = found.more;
        let found = found.hits.into_iter();
        hits.extend(found.map(|hit| (hit.message_id, hit.no, hit.text)));
        if !more {
            return hits;
        }
    }
}

/// A text as long as a message may be, of one word, is found by that word and
/// by its beginning, and by nothing shorter.
pub async fn finds_words_of_any_length(store: &dyn Searchable) {
    let long = "\u{e9}".repeat(tidings_domain::MAX_TEXT_BYTES / 2);
    assert!(Content::text(&*long).check().is_ok());
    let lines = [long, "\u{e9}\u{e9}".to_owned()];
    let mut chat = Chat::new(5);
    let (decisions, conversation_id) = chat.of_lines(&lines);
    index(store, &decisions, 100).await;
    let asker = asker_of(&decisions[0].1, conversation_id);
    let count = async |query: &str| {
        let query = Query::parse(query).expect("a query");
        hits(store, &asker, &query).await.len()
    };
    assert_eq!(count("\u{c9}\u{e9}").await, 1);
    assert_eq!(count("\u{e9}\u{e9}*").await, 2);
    assert_eq!(count(&format!("{}*", "\u{e9}".repeat(500))).await, 1);
    assert_eq!(count(&"\u{e9}".repeat(500)).await, 0);
}

fn asker_of(decision: &Decision, conversation_id: ConversationId) -> Asker {
    Asker {
        tenant: decision.tenant.clone(),
        user_id: decision.sender.clone(),
        conversations: vec![conversation_id],
    }
}
