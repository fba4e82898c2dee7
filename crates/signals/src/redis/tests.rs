use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{ConversationId, Tenant, UserId};
use tidings_testkit::{OwnRedis, eventually_async, fresh_prefix, redis_url};
use tokio::time::timeout;
use uuid::Uuid;

use super::{RedisExchange, RedisTiming};
use crate::{Exchange, Heard, Presence, Signal, Typing, conformance};

const PATIENCE: Duration = Duration::from_secs(20);

fn timing() -> RedisTiming {
    RedisTiming {
        heartbeat: Duration::from_millis(100),
        expiry: Duration::from_millis(1_500),
        timeout: Duration::from_millis(300),
    }
}

fn fresh() -> RedisExchange {
    RedisExchange::new(redis_url(), &fresh_prefix(), timing()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_typing_on() {
    conformance::passes_typing_on(&fresh()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knows_the_first_and_the_last() {
    conformance::knows_the_first_and_the_last(&fresh()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_tenants_apart() {
    conformance::keeps_tenants_apart(&fresh()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn misses_the_dead() {
    conformance::misses_the_dead(&fresh()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_off() {
    conformance::signs_off(&fresh()).await;
}

#[test]
fn an_address_that_is_none_is_refused() {
    let refused = RedisExchange::new("localhost:1", "", timing());
    assert!(refused.is_err_and(|error| error.to_string().starts_with("REDIS_URL")));
}

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn nowhere() -> Arc<[ConversationId]> {
    Arc::default()
}

fn presence(name: &str, online: bool) -> Signal {
    Signal::Presence(Presence {
        tenant: tenant(),
        user_id: user(name),
        online,
        conversations: nowhere(),
    })
}

/// Waits until an edge follows the tenant's channel: it begins to after its
/// first user has come, and nobody repeats for it what was said before.
async fn is_listened_to(exchange: &RedisExchange) {
    eventually_async(PATIENCE, async || {
        let Ok(mut connection) = exchange.pool.get().await else {
            return false;
        };
        let followers: Result<(String, usize), _> = deadpool_redis::redis::cmd("PUBSUB")
            .arg("NUMSUB")
            .arg(exchange.names.channel(&tenant()))
            .query_async(&mut connection)
            .await;
        followers.is_ok_and(|(_, count)| count > 0)
    })
    .await;
}

async fn wait_for(heard: &mut Heard, wanted: &Signal) {
    let waiting = async { while heard.recv().await.expect("it goes on") != *wanted {} };
    let waited = timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("never heard {wanted:?}"));
}

/// Down, or silent: an edge tells its own sockets; and when Redis is back,
/// empty or as it was, edges hear each other again.
#[tokio::test(flavor = "multi_thread")]
async fn outages_are_survived_alone() {
    let mut redis = OwnRedis::start().unwrap();
    let exchange = RedisExchange::new(&redis.url(), "", timing()).unwrap();
    let (ann, mut on_first) = exchange.attach();
    let (ben, mut on_second) = exchange.attach();
    ann.came(&tenant(), &user("ann"), nowhere()).await;
    is_listened_to(&exchange).await;
    ben.came(&tenant(), &user("ben"), nowhere()).await;
    wait_for(&mut on_first, &presence("ben", true)).await;

    for outage in ["killed", "silent"] {
        match outage {
            "killed" => redis.kill().unwrap(),
            _ => redis.pause().unwrap(),
        }
        // Within the edge it goes on, and nobody waits for Redis for long.
        let alone = async {
            ann.came(&tenant(), &user(outage), nowhere()).await;
            ann.typing(Typing {
                tenant: tenant(),
                conversation_id: ConversationId(Uuid::nil()),
                by: user("ann"),
                on: true,
            });
        };
        timeout(Duration::from_secs(2), alone)
            .await
            .expect("no wait");
        wait_for(&mut on_first, &presence(outage, true)).await;
        match outage {
            "killed" => redis.start_again().unwrap(),
            _ => redis.resume().unwrap(),
        }
        // The other edge learns what it missed.
        wait_for(&mut on_second, &presence(outage, true)).await;
        let gone = async {
            ann.gone(&tenant(), &user(outage), nowhere()).await;
            wait_for(&mut on_second, &presence(outage, false)).await;
        };
        gone.await;
    }
}

/// An edge that was only asleep, and counted as dead, comes back with its
/// users.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_wakes_up_registers_again() {
    let exchange = fresh();
    let (ann, mut on_first) = exchange.attach();
    let (ben, _on_second) = exchange.attach();
    ann.came(&tenant(), &user("ann"), nowhere()).await;
    is_listened_to(&exchange).await;
    ben.came(&tenant(), &user("ben"), nowhere()).await;
    wait_for(&mut on_first, &presence("ben", true)).await;
    // As if the other edge had been paused: everything of it is forgotten.
    let mut connection = exchange.pool.get().await.unwrap();
    let keys = [
        exchange.names.users(&tenant()),
        exchange.names.edges(&tenant()),
    ];
    let () = deadpool_redis::redis::cmd("DEL")
        .arg(&keys)
        .query_async(&mut connection)
        .await
        .unwrap();
    wait_for(&mut on_first, &presence("ben", true)).await;
    ben.gone(&tenant(), &user("ben"), nowhere()).await;
    wait_for(&mut on_first, &presence("ben", false)).await;
}
