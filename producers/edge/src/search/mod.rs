//! Searches: who may ask how often, what was answered lately, and the search
//! view kept at arm's length.
//!
//! Whose conversations are searched is decided by the history view when the
//! question is asked, so somebody who was removed finds nothing any more,
//! whatever the search view or the cache hold. What was deleted lately is
//! taken out of every answer, as those two may still have it.

mod cursor;
mod gone;
mod store;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use tidings_domain::{Code, ConversationId, Decision, Tenant, UserId};
use tidings_views::search::{
    Asker, ConversationHit, Filters, MessageHit, Page, Query, SearchReader, snippet,
};
use tidings_wire::frames::{HitItem, Results, Search, SearchIn, ServerFrame};

use self::cursor::Cursor;
use self::gone::Gone;
use self::store::Store;
use crate::answer::Refusal;
use crate::limits::Limits;
use crate::peer::Peer;
use crate::questions;
use crate::shared::Shared;

/// How long an answer is given again.
const KEPT: Duration = Duration::from_secs(60);
/// How much all answers that are kept may take, in bytes.
const KEPT_BYTES: u64 = 32 * 1024 * 1024;
/// How many searches of a user are remembered.
const RECENT: usize = 10;
/// Of how many users.
const RECENT_USERS: u64 = 10_000;
/// How many suggestions are given of each sort.
const SUGGESTIONS: usize = 5;
/// How many suggestions a user may ask for while typing, for each search.
const SUGGESTIONS_PER_SEARCH: u32 = 10;

/// A page of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPage {
    /// The hits of this page, in order.
    pub hits: Vec<SearchHit>,
    /// How many there are on all pages.
    pub total: u64,
    /// Where the next page goes on; none at the end.
    pub next_cursor: Option<String>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchHit {
    /// A message.
    Message {
        /// The message.
        message: MessageHit,
        /// HTML: what was found between `<em>` and `</em>`.
        snippet: String,
    },
    /// A conversation.
    Conversation {
        /// The conversation.
        conversation: ConversationHit,
        /// The title as HTML, with what was found marked; none where there is
        /// no title.
        snippet: Option<String>,
    },
    /// A user.
    User(UserId),
}

/// How what somebody is typing may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// As they searched before.
    Recent(String),
    /// A conversation of theirs, by its title.
    Conversation {
        /// Its id.
        conversation_id: ConversationId,
        /// Its title.
        title: String,
    },
    /// A user.
    User(UserId),
}

/// What is searched, as seen by one who asks: the key of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: Tenant,
    user: UserId,
    search: Search,
    /// Of the conversations that are searched.
    conversations: u64,
}

/// The edge's searching.
pub(crate) struct Searches {
    store: Store,
    limits: Limits,
    suggestion_limits: Limits,
    per_minute: u32,
    kept: Cache<Key, Arc<SearchPage>>,
    recent: Cache<(Tenant, UserId), Arc<Mutex<Vec<String>>>>,
    gone: Gone,
}

impl Searches {
    /// Without a store every search is answered by `unavailable`.
    pub(crate) fn new(
        store: Option<Arc<dyn SearchReader>>,
        per_minute: u32,
        timeout: Duration,
    ) -> Self {
        Self {
            store: Store::new(store, timeout),
            limits: Limits::default(),
            suggestion_limits: Limits::default(),
            per_minute,
            kept: Cache::builder()
                .time_to_live(KEPT)
                .max_capacity(KEPT_BYTES)
                .weigher(|key, page: &Arc<SearchPage>| weight(key, page))
                .build(),
            recent: Cache::new(RECENT_USERS),
            gone: Gone::default(),
        }
    }

    /// Takes note of a decision: what it deletes is found no more.
    pub(crate) fn note(&self, decision: &Decision) {
        self.gone.note(decision);
    }
}

/// Answers a search.
pub(crate) async fn find(
    shared: &Shared,
    peer: &Peer,
    search: &Search,
) -> Result<SearchPage, Refusal> {
    let searches = &shared.searches;
    let limiter = searches
        .limits
        .of(&peer.tenant, &peer.user, searches.per_minute);
    if let Some(limiter) = limiter {
        limiter.take().map_err(Refusal::rate_limited)?;
    }
    let query = query_of(search)?;
    let after = match &search.cursor {
        Some(cursor) => Some(Cursor::parse(cursor, search.within).ok_or_else(bad_cursor)?),
        None => None,
    };
    let asker = asker(shared, peer, search.conversation_id).await?;
    let key = Key {
        tenant: peer.tenant.clone(),
        user: peer.user.clone(),
        search: search.clone(),
        conversations: fingerprint(&asker.conversations),
    };
    let page = match searches.kept.get(&key) {
        Some(page) => page,
        None => {
            let page = Arc::new(ask(&searches.store, &asker, &query, search, after).await?);
            searches.kept.insert(key, Arc::clone(&page));
            page
        }
    };
    if search.cursor.is_none() {
        remember(searches, peer, query.text());
    }
    Ok(searches.gone.without(&page, &peer.user))
}

/// How what somebody is typing may go on: as they searched before, or as the
/// title of a conversation or the id of a user.
pub(crate) async fn suggest(
    shared: &Shared,
    peer: &Peer,
    text: &str,
) -> Result<Vec<Suggestion>, Refusal> {
    let searches = &shared.searches;
    let per_minute = searches.per_minute.saturating_mul(SUGGESTIONS_PER_SEARCH);
    let limits = &searches.suggestion_limits;
    if let Some(limiter) = limits.of(&peer.tenant, &peer.user, per_minute) {
        limiter.take().map_err(Refusal::rate_limited)?;
    }
    let query = Query::parse(text).map_err(bad_query)?.unfinished();
    let asker = asker(shared, peer, None).await?;
    let typed = query.text().to_lowercase();
    let recent = recent(shared, peer)
        .into_iter()
        .filter(|search| search.to_lowercase().starts_with(&typed))
        .take(SUGGESTIONS)
        .map(Suggestion::Recent);
    let mut suggestions: Vec<Suggestion> = recent.collect();
    let store = &searches.store;
    let conversations = store.conversations(&asker, &query, first(SUGGESTIONS));
    let users = store.users(&asker, &query, first(SUGGESTIONS));
    let (conversations, users) = tokio::try_join!(conversations, users)?;
    suggestions.extend(conversations.hits.into_iter().filter_map(|hit| {
        let (conversation_id, title) = (hit.conversation_id, hit.title?);
        Some(Suggestion::Conversation {
            conversation_id,
            title,
        })
    }));
    suggestions.extend(users.hits.into_iter().map(Suggestion::User));
    Ok(suggestions)
}

/// What a user searched for last here, the last first.
pub(crate) fn recent(shared: &Shared, peer: &Peer) -> Vec<String> {
    let key = (peer.tenant.clone(), peer.user.clone());
    let recent = shared.searches.recent.get(&key);
    recent.map_or_else(Vec::new, |recent| recent.lock().clone())
}

/// The frame that answers a search.
pub(crate) fn frame(id: &str, page: &SearchPage) -> String {
    let hits = page.hits.iter().map(|hit| match hit {
        SearchHit::Message { message, snippet } => HitItem::Message {
            message_id: message.message_id,
            conversation_id: message.conversation_id,
            no: message.no,
            by: &message.by,
            at: message.at,
            snippet,
        },
        SearchHit::Conversation {
            conversation,
            snippet,
        } => HitItem::Conversation {
            conversation_id: conversation.conversation_id,
            kind: conversation.kind.as_str(),
            title: conversation.title.as_deref(),
            snippet: snippet.as_deref(),
        },
        SearchHit::User(user_id) => HitItem::User { user_id },
    });
    let results = Results {
        id,
        hits: hits.collect(),
        total: page.total,
        next_cursor: page.next_cursor.as_deref(),
    };
    ServerFrame::Results(results).to_json()
}

fn query_of(search: &Search) -> Result<Query, Refusal> {
    let query = Query::parse(&search.query).map_err(bad_query)?;
    match search.within {
        SearchIn::Messages => query.with_words().map_err(bad_query),
        // The beginning of an id need not have a word in it.
        SearchIn::Conversations | SearchIn::Users | SearchIn::All => Ok(query),
    }
}

fn bad_query(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Invalid, format!("query: {error}"))
}

fn bad_cursor() -> Refusal {
    Refusal::new(Code::Invalid, "cursor: is none that a page gave")
}

/// The user, with the conversations they are in right now, or the one that is
/// asked about.
async fn asker(
    shared: &Shared,
    peer: &Peer,
    only: Option<ConversationId>,
) -> Result<Asker, Refusal> {
    let (tenant, user, view) = (&peer.tenant, &peer.user, &shared.view);
    let conversations = match only {
        Some(id) => {
            questions::member_of(shared, peer, id).await?;
            vec![id]
        }
        None => {
            questions::fresh_everywhere(shared).await?;
            let mut all = view.ask(|view| view.memberships(tenant, user)).await?;
            all.sort();
            all
        }
    };
    Ok(Asker {
        tenant: tenant.clone(),
        user_id: user.clone(),
        conversations,
    })
}

async fn ask(
    store: &Store,
    asker: &Asker,
    query: &Query,
    search: &Search,
    after: Option<Cursor>,
) -> Result<SearchPage, Refusal> {
    let limit = search.limit;
    match (search.within, after) {
        (SearchIn::Messages, None) => messages(store, asker, query, search, None, limit).await,
        (SearchIn::Messages | SearchIn::All, Some(Cursor::Message(at, id))) => {
            messages(store, asker, query, search, Some((at, id)), limit).await
        }
        (SearchIn::Conversations, after) => {
            let after = after.and_then(Cursor::conversation);
            conversations(store, asker, query, Page { after, limit }).await
        }
        (SearchIn::Users, after) => {
            let after = after.and_then(Cursor::user);
            users(store, asker, query, Page { after, limit }).await
        }
        (SearchIn::All, None) => everything(store, asker, query, search).await,
        (SearchIn::Messages | SearchIn::All, Some(_)) => Err(bad_cursor()),
    }
}

async fn messages(
    store: &Store,
    asker: &Asker,
    query: &Query,
    search: &Search,
    after: Option<(tidings_domain::Timestamp, tidings_domain::MessageId)>,
    limit: usize,
) -> Result<SearchPage, Refusal> {
    let filters = Filters {
        by: search.by.clone(),
        from: search.from,
        to: search.to,
        has_attachment: search.has_attachment,
    };
    let page = Page { after, limit };
    let found = store.messages(asker, query, &filters, page).await?;
    let next_cursor = found
        .hits
        .last()
        .filter(|_| found.more)
        .map(|hit| Cursor::Message(hit.at, hit.message_id).to_string());
    let hits = found.hits.into_iter().map(|message| SearchHit::Message {
        snippet: snippet(query, &message.text),
        message,
    });
    Ok(SearchPage {
        hits: hits.collect(),
        total: found.total,
        next_cursor,
    })
}

async fn conversations(
    store: &Store,
    asker: &Asker,
    query: &Query,
    page: Page<(tidings_domain::Timestamp, ConversationId)>,
) -> Result<SearchPage, Refusal> {
    let found = store.conversations(asker, query, page).await?;
    let next_cursor = found
        .hits
        .last()
        .filter(|_| found.more)
        .map(|hit| Cursor::Conversation(hit.created_at, hit.conversation_id).to_string());
    let hits = found
        .hits
        .into_iter()
        .map(|conversation| SearchHit::Conversation {
            snippet: conversation
                .title
                .as_deref()
                .map(|title| snippet(query, title)),
            conversation,
        });
    Ok(SearchPage {
        hits: hits.collect(),
        total: found.total,
        next_cursor,
    })
}

async fn users(
    store: &Store,
    asker: &Asker,
    query: &Query,
    page: Page<UserId>,
) -> Result<SearchPage, Refusal> {
    let found = store.users(asker, query, page).await?;
    let last = found.hits.last().filter(|_| found.more);
    let next_cursor = last.map(|user| Cursor::User(user.clone()).to_string());
    Ok(SearchPage {
        hits: found.hits.into_iter().map(SearchHit::User).collect(),
        total: found.total,
        next_cursor,
    })
}

/// The first page of everything: of conversations and of users up to a quarter
/// of the page each, and messages. Later pages are of messages alone.
async fn everything(
    store: &Store,
    asker: &Asker,
    query: &Query,
    search: &Search,
) -> Result<SearchPage, Refusal> {
    let share = search.limit / 4;
    let conversations = conversations(store, asker, query, first(share));
    let users = users(store, asker, query, first(share));
    let (mut found, users) = tokio::try_join!(conversations, users)?;
    found.hits.extend(users.hits);
    found.total += users.total;
    found.next_cursor = None;
    if query.has_words() {
        let left = search.limit - found.hits.len();
        let messages = messages(store, asker, query, search, None, left).await?;
        found.hits.extend(messages.hits);
        found.total += messages.total;
        found.next_cursor = messages.next_cursor;
    }
    Ok(found)
}

fn first<T>(limit: usize) -> Page<T> {
    Page { after: None, limit }
}

fn remember(searches: &Searches, peer: &Peer, text: &str) {
    let key = (peer.tenant.clone(), peer.user.clone());
    let recent = searches.recent.get_with(key, Arc::default);
    let mut recent = recent.lock();
    recent.retain(|known| known != text);
    recent.insert(0, text.to_owned());
    recent.truncate(RECENT);
}

fn fingerprint(conversations: &[ConversationId]) -> u64 {
    let mut hasher = DefaultHasher::new();
    conversations.hash(&mut hasher);
    hasher.finish()
}

/// About how many bytes an answer takes.
fn weight(key: &Key, page: &SearchPage) -> u32 {
    const BASE: usize = 512;
    const HIT: usize = 160;
    let hits = page.hits.iter().map(|hit| match hit {
        SearchHit::Message { message, snippet } => HIT + message.text.len() + snippet.len(),
        SearchHit::Conversation { snippet, .. } => {
            HIT + 2 * snippet.as_ref().map_or(0, String::len)
        }
        SearchHit::User(_) => HIT,
    });
    let bytes = BASE + key.search.query.len() + hits.sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
