//! What users have deleted for themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tidings_domain::{
    Change, Content, ConversationId, Decision, Event, Kind, Member, MessageId, Outcome, Own, Role,
    TempId, Tenant, Timestamp, UserId,
};
use tidings_testkit::{OwnRedis, eventually_async};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{PATIENCE, World};
use crate::StoreError;
use crate::cache::{CacheReader, Fill, Key, LookUp, MokaCache, RedisCache};
use crate::conformance::{Forgetful, Random};
use crate::history::HistoryReader;

const USERS: [&str; 3] = ["ann", "ben", "cid"];
const ID: ConversationId = ConversationId(Uuid::from_u128(1));

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// Decisions of one conversation of three, made one after the other.
#[derive(Default)]
struct Script {
    decisions: Vec<Decision>,
    seq: u64,
    no: u64,
}

impl Script {
    /// A group of the three.
    fn new() -> Self {
        let mut script = Self::default();
        let members = USERS.map(|name| Member {
            user_id: user(name),
            role: Role::Owner,
        });
        script.accepted(Event::ConversationUpdated(Change::Create {
            kind: Kind::Group,
            title: None,
            members: members.into(),
        }));
        script
    }

    fn accepted(&mut self, event: Event) {
        self.seq += 1;
        let seq = self.seq;
        self.decided("ann", Outcome::Accepted { seq, event });
    }

    fn decided(&mut self, sender: &str, outcome: Outcome) {
        let n = self.decisions.len();
        self.decisions.push(Decision {
            tenant: tenant(),
            conversation_id: ID,
            sender: user(sender),
            temp_id: TempId::parse(&format!("t{n}")).unwrap(),
            message_id: None,
            at: Timestamp(n as i64),
            outcome,
        });
    }

    fn send(&mut self) {
        self.no += 1;
        self.accepted(Event::MessageSent {
            message_id: message(self.no),
            no: self.no,
            content: Content::text("hello"),
            reply_to: None,
            thread: None,
            forwarded_from: None,
        });
    }

    fn hide(&mut self, name: &str, no: u64) {
        self.decided(name, Outcome::Noted(Own::Hide(message(no))));
    }
}

fn message(no: u64) -> MessageId {
    MessageId(Uuid::from_u128(no.into()))
}

/// Way to a cache that can be shut for those who read values anew: they wait
/// once they have looked, and before they fill in what they have read.
#[derive(Clone)]
struct Gate<C> {
    cache: C,
    is_open: watch::Sender<bool>,
    held: Arc<AtomicUsize>,
}

impl<C> Gate<C> {
    fn before(cache: C) -> Self {
        Self {
            cache,
            is_open: watch::Sender::new(true),
            held: Arc::default(),
        }
    }

    fn set_open(&self, open: bool) {
        self.is_open.send_replace(open);
    }

    async fn pass(&self) {
        let mut is_open = self.is_open.subscribe();
        self.held.fetch_add(1, Ordering::SeqCst);
        is_open.wait_for(|open| *open).await.unwrap();
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl<C: CacheReader> CacheReader for Gate<C> {
    async fn look_up(&self, keys: &[Key]) -> Result<LookUp, StoreError> {
        let looked = self.cache.look_up(keys).await?;
        if looked.found.iter().any(|found| found.value.is_none()) {
            self.pass().await;
        }
        Ok(looked)
    }

    async fn fill(&self, fills: &[Fill]) -> Result<usize, StoreError> {
        self.pass().await;
        self.cache.fill(fills).await
    }
}

impl World<'_> {
    /// The page that this user gets, wherever from.
    async fn page_of(&self, name: &str) -> Vec<u64> {
        let (tenant, user) = (tenant(), user(name));
        let page = self.cached.page(&tenant, ID, &user, None, None, 50);
        page.await.unwrap().iter().map(|row| row.no).collect()
    }

    /// Whether all that this user's page is made of is in the cache.
    async fn is_kept(&self, name: &str) -> bool {
        let keys = [
            Key::Recent(tenant(), ID),
            Key::Hidden(tenant(), ID, user(name)),
        ];
        let looked = self.cache.look_up(&keys).await.unwrap();
        let mut found = looked.found.iter();
        looked.found.len() == keys.len() && found.all(|found| found.value.is_some())
    }

    /// Asks until the page of everybody comes from the cache; whatever comes
    /// meanwhile must be as the history view has it.
    async fn fill_pages(&self) {
        HistoryReader::positions(&*self.cached).await.unwrap();
        eventually_async(PATIENCE, async || {
            let mut all = true;
            for name in USERS {
                all &= self.is_kept(name).await;
                let (tenant, user) = (tenant(), user(name));
                let page = self.history.page(&tenant, ID, &user, None, None, 50);
                let expected: Vec<_> = page.await.unwrap().iter().map(|row| row.no).collect();
                assert_eq!(self.page_of(name).await, expected, "{name}");
                self.settle().await;
            }
            all
        })
        .await;
    }
}

async fn world<'a, C: Forgetful + Clone + 'static>(
    cache: &'a C,
    gate: &Gate<C>,
    script: Script,
) -> World<'a> {
    // What is held at the gate must not count as a failure of the cache.
    let reader = Arc::new(gate.clone());
    World::with(cache, reader, 10 * PATIENCE, script.decisions).await
}

/// What one user has deleted for themselves, another's page still shows, and
/// both pages come from the cache.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_stays_hidden_and_only_from_its_user() {
    let cache = MokaCache::new(1 << 24);
    let mut script = Script::new();
    for _ in 0..3 {
        script.send();
    }
    script.hide("ann", 3);
    let mut world = world(&cache, &Gate::before(cache.clone()), script).await;
    world.advance_history(4).await;
    world.advance_cache(4).await;
    world.fill_pages().await;
    for name in USERS {
        assert_eq!(world.page_of(name).await, [3, 2, 1]);
    }
    world.advance_history(1).await;
    world.advance_cache(1).await;
    world.fill_pages().await;
    assert_eq!(world.page_of("ann").await, [2, 1]);
    assert_eq!(world.page_of("ben").await, [3, 2, 1]);
}

/// A message comes, and is hidden, between the look for what a user has hidden
/// and its reading anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_while_the_hidden_are_read_is_among_them() {
    let cache = MokaCache::new(1 << 24);
    let gate = Gate::before(cache.clone());
    let mut script = Script::new();
    for _ in 0..4 {
        script.send();
    }
    script.hide("ann", 4);
    let mut world = world(&cache, &gate, script).await;
    world.advance_history(4).await;
    world.advance_cache(4).await;
    world.page_of("ben").await;
    world.settle().await;

    // The newest are there, and what of them is hidden is about to be read.
    gate.set_open(false);
    let reading = read(&world, "ann");
    let is_held = async || gate.held.load(Ordering::SeqCst) == 1;
    eventually_async(PATIENCE, is_held).await;
    world.advance_history(2).await;
    world.advance_cache(2).await;
    gate.set_open(true);
    reading.await.unwrap();
    world.settle().await;

    world.fill_pages().await;
    assert_eq!(world.page_of("ann").await, [3, 2, 1]);
    assert_eq!(world.page_of("ben").await, [4, 3, 2, 1]);
}

/// Whatever the order in which the two projections go on, values are read,
/// filled in, evicted and lost: what a user has hidden is in no answer to them
/// that must reflect it, and in everybody else's. Returns how many values came
/// from the cache, and of how many only parts had to be read.
async fn stays_hidden<C: Forgetful + Clone + 'static>(cache: &C, seed: u64) -> (usize, usize) {
    let mut random = Random::new(seed);
    let mut script = Script::new();
    while script.no < 40 {
        match random.below(3) {
            0 if script.no > 0 => {
                let lately = script.no - random.below(4).min(script.no as usize - 1) as u64;
                script.hide(USERS[random.below(2)], lately);
            }
            _ => script.send(),
        }
    }
    let gate = Gate::before(cache.clone());
    let mut world = world(cache, &gate, script).await;
    // What must be reflected: as far as the view has said that it is.
    let (mut claimed, mut is_open, mut reads) = (0, true, Vec::new());
    let end = world.decisions.len();
    let mut left = 60;
    while world.in_history < end || world.in_cache < end || left > 0 {
        if world.in_history == end && world.in_cache == end {
            left -= 1;
        }
        let name = USERS[random.below(3)];
        match random.below(24) {
            0..4 => world.advance_history(1 + random.below(3)).await,
            4..8 => world.advance_cache(1 + random.below(3)).await,
            8 => {
                let level = world.in_history.saturating_sub(world.in_cache);
                world.advance_cache(level).await;
            }
            9 => {
                let keys = [
                    Key::Recent(tenant(), ID),
                    Key::Hidden(tenant(), ID, user(name)),
                    Key::Places(tenant(), user(name)),
                    Key::Head(tenant(), ID),
                ];
                cache.evict(&keys[random.below(keys.len())]).await;
            }
            10 if random.below(4) == 0 => cache.flush().await,
            11..13 => {
                is_open = !is_open;
                gate.set_open(is_open);
            }
            13 if is_open => world.settle().await,
            14..17 => {
                HistoryReader::positions(&*world.cached).await.unwrap();
                claimed = world.in_history;
            }
            _ => reads.push((name, claimed, read(&world, name))),
        }
        if is_open {
            for (name, claimed, read) in reads.drain(..) {
                check(&world, name, claimed, read.await.unwrap());
            }
        }
    }
    gate.set_open(true);
    for (name, claimed, read) in reads {
        check(&world, name, claimed, read.await.unwrap());
    }
    world.settle().await;
    world.advance_cache(0).await;
    world.fill_pages().await;
    for name in USERS {
        let answers = read(&world, name).await.unwrap();
        check(&world, name, end, answers);
    }
    world.tally()
}

/// What a user was answered.
struct Answers {
    /// The messages of the page.
    page: BTreeSet<u64>,
    /// The last message in the list.
    last: Option<u64>,
}

/// Somebody asks, and may be held up.
fn read(world: &World<'_>, name: &'static str) -> JoinHandle<Answers> {
    let cached = Arc::clone(&world.cached);
    tokio::spawn(async move {
        let (tenant, user) = (tenant(), user(name));
        let page = cached.page(&tenant, ID, &user, None, None, 50).await;
        let list = cached.list(&tenant, &user, None, None, 10).await;
        let listed = list.unwrap().conversations.pop();
        let last = listed.and_then(|listed| listed.last_message);
        Answers {
            page: page.unwrap().iter().map(|row| row.no).collect(),
            last: last.map(|row| row.no),
        }
    })
}

/// Of the first decisions, what was sent; and what this user has hidden.
fn seen(decisions: &[Decision], name: &str) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut sent, mut hidden) = (BTreeSet::new(), BTreeSet::new());
    for decision in decisions {
        match &decision.outcome {
            Outcome::Accepted {
                event: Event::MessageSent { no, .. },
                ..
            } => {
                sent.insert(*no);
            }
            Outcome::Noted(Own::Hide(id)) if decision.sender == user(name) => {
                hidden.insert(id.0.as_u128() as u64);
            }
            _ => {}
        }
    }
    (sent, hidden)
}

/// What must be reflected is what was claimed before they asked.
fn check(world: &World<'_>, name: &str, claimed: usize, answers: Answers) {
    let Answers { page, last } = answers;
    let (sent, hidden) = seen(&world.decisions[..claimed], name);
    let (_, hidden_by_now) = seen(&world.decisions[..world.in_history], name);
    assert!(
        page.is_disjoint(&hidden),
        "{name} hid {hidden:?} and sees {page:?}"
    );
    let missing: Vec<_> = sent
        .difference(&hidden_by_now)
        .filter(|no| !page.contains(no))
        .collect();
    assert!(missing.is_empty(), "{name} does not see {missing:?}");
    let hides_last = last.is_some_and(|no| hidden.contains(&no));
    assert!(!hides_last, "{name} hid {last:?}; it is last in the list");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_moka_what_is_hidden_stays_hidden() {
    let mut sum = (0, 0);
    for seed in 0..40 {
        let (hits, amended) = stays_hidden(&MokaCache::new(1 << 24), seed).await;
        sum = (sum.0 + hits, sum.1 + amended);
    }
    // Hundreds; fewer where values are read anew late, on a busy machine.
    assert!(sum.0 > 40 && sum.1 > 40, "hits, amended: {sum:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_what_is_hidden_stays_hidden() {
    let redis = OwnRedis::start().unwrap();
    let mut sum = (0, 0);
    for seed in 100..108 {
        let prefix = format!("{seed}.");
        let cache = RedisCache::new(&redis.url(), &prefix, PATIENCE).unwrap();
        let (hits, amended) = stays_hidden(&cache, seed).await;
        sum = (sum.0 + hits, sum.1 + amended);
    }
    assert!(sum.0 > 4 && sum.1 > 4, "hits, amended: {sum:?}");
}
