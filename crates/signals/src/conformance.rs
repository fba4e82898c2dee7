//! What every exchange must do. Each check takes a fresh exchange, and panics
//! where it is wrong.

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{ConversationId, Tenant, UserId};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{Exchange, Heard, Presence, Signal, Signals, Typing};

/// How long anything may take before a check has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).expect("a valid tenant")
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a valid user id")
}

fn conversations(n: u128) -> Arc<[ConversationId]> {
    [ConversationId(Uuid::from_u128(n))].into()
}

/// An edge on the exchange, as an edge uses it.
struct Edge {
    signals: Arc<dyn Signals>,
    heard: Heard,
}

impl Edge {
    fn attach(exchange: &dyn Exchange) -> Self {
        let (signals, heard) = exchange.attach();
        Self { signals, heard }
    }

    async fn came(&self, of: &str, who: &str) {
        let here = conversations(7);
        self.signals.came(&tenant(of), &user(who), here).await;
    }

    async fn gone(&self, of: &str, who: &str) {
        let here = conversations(7);
        self.signals.gone(&tenant(of), &user(who), here).await;
    }

    /// The next signal that is for sockets.
    async fn hear(&mut self) -> Signal {
        loop {
            let signal = timeout(PATIENCE, self.heard.recv())
                .await
                .expect("a signal in time")
                .expect("the exchange goes on");
            match signal {
                Signal::Orphan(orphan) => self.signals.bury(&orphan, conversations(7)).await,
                signal => return signal,
            }
        }
    }

    /// Reads until this user's typing, or presence, is what is given.
    async fn wait_for(&mut self, wanted: &Signal) {
        while self.hear().await != *wanted {}
    }
}

fn presence(of: &str, who: &str, online: bool) -> Signal {
    Signal::Presence(Presence {
        tenant: tenant(of),
        user_id: user(who),
        online,
        conversations: conversations(7),
    })
}

fn typing(of: &str, who: &str, on: bool) -> Typing {
    Typing {
        tenant: tenant(of),
        conversation_id: ConversationId(Uuid::from_u128(7)),
        by: user(who),
        on,
    }
}

/// Two edges that hear each other: whoever types is heard on the other.
async fn pair(exchange: &dyn Exchange) -> (Edge, Edge) {
    let (mut first, mut second) = (Edge::attach(exchange), Edge::attach(exchange));
    first.came("acme", "ann").await;
    second.came("acme", "ben").await;
    hears(&first, &mut second).await;
    hears(&second, &mut first).await;
    (first, second)
}

/// Types until it is heard: joining takes its time.
async fn hears(from: &Edge, to: &mut Edge) {
    let wanted = Signal::Typing(typing("acme", "probe", true));
    let hearing = async {
        loop {
            from.signals.typing(typing("acme", "probe", true));
            let heard = timeout(Duration::from_millis(50), to.wait_for(&wanted)).await;
            if heard.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, hearing).await.expect("edges that meet");
}

/// Typing reaches the other edges and not the own one.
pub async fn passes_typing_on(exchange: &dyn Exchange) {
    let (first, mut second) = pair(exchange).await;
    for on in [true, false] {
        first.signals.typing(typing("acme", "ann", on));
        second
            .wait_for(&Signal::Typing(typing("acme", "ann", on)))
            .await;
    }
    // The own edge hears what comes after, and never heard its own.
    let mut first = first;
    second.signals.typing(typing("acme", "ben", true));
    loop {
        match first.hear().await {
            Signal::Typing(heard) if heard.by == user("ann") => panic!("an echo: {heard:?}"),
            heard if heard == Signal::Typing(typing("acme", "ben", true)) => return,
            _ => {}
        }
    }
}

/// A user is online from their first socket anywhere to their last, and every
/// edge hears of each of the two once, in that order.
pub async fn knows_the_first_and_the_last(exchange: &dyn Exchange) {
    let (mut first, mut second) = pair(exchange).await;
    for _ in 0..3 {
        first.came("acme", "eve").await;
        second.came("acme", "eve").await;
        first.gone("acme", "eve").await;
        second.gone("acme", "eve").await;
    }
    for edge in [&mut first, &mut second] {
        let mut heard = Vec::new();
        while heard.len() < 6 {
            match edge.hear().await {
                Signal::Presence(presence) if presence.user_id == user("eve") => {
                    heard.push(presence.online);
                }
                _ => {}
            }
        }
        assert_eq!(heard, [true, false, true, false, true, false]);
    }
}

/// Nothing of one tenant is heard by an edge that has users of others only,
/// and users of the same name are two.
pub async fn keeps_tenants_apart(exchange: &dyn Exchange) {
    let (mut first, second) = pair(exchange).await;
    let mut stranger = Edge::attach(exchange);
    stranger.came("other", "eve").await;
    stranger.wait_for(&presence("other", "eve", true)).await;
    second.came("acme", "eve").await;
    first.wait_for(&presence("acme", "eve", true)).await;
    second.gone("acme", "eve").await;
    first.wait_for(&presence("acme", "eve", false)).await;
    second.signals.typing(typing("acme", "ben", true));
    first
        .wait_for(&Signal::Typing(typing("acme", "ben", true)))
        .await;
    stranger.gone("other", "eve").await;
    stranger.came("other", "dan").await;
    loop {
        let (of, is_last) = match stranger.hear().await {
            Signal::Typing(typing) => (typing.tenant, false),
            Signal::Presence(heard) => (heard.tenant, heard.user_id == user("dan")),
            Signal::Orphan(orphan) => (orphan.tenant, false),
        };
        assert_eq!(of, tenant("other"));
        if is_last {
            return;
        }
    }
}

/// The users of an edge that dies without a word go offline, but for those who
/// are elsewhere too.
pub async fn misses_the_dead(exchange: &dyn Exchange) {
    let (mut first, second) = pair(exchange).await;
    second.came("acme", "eve").await;
    second.came("acme", "dan").await;
    first.came("acme", "dan").await;
    first.wait_for(&presence("acme", "dan", true)).await;
    drop(second);
    let mut gone = Vec::new();
    while gone.len() < 2 {
        if let Signal::Presence(heard) = first.hear().await {
            assert!(!heard.online, "{heard:?}");
            gone.push(heard.user_id.to_string());
        }
    }
    gone.sort_unstable();
    assert_eq!(gone, ["ben", "eve"]);
    first.gone("acme", "dan").await;
}

/// An edge that ends takes its users with it at once.
pub async fn signs_off(exchange: &dyn Exchange) {
    let (mut first, second) = pair(exchange).await;
    second.signals.close().await;
    first.wait_for(&presence("acme", "ben", false)).await;
}
