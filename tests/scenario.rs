//! Three users on two edges touch every command, on real servers: the same
//! frames and answers as in one process (`producers/edge/tests`), but for ids
//! and times.

mod support;

use std::collections::HashMap;
use std::sync::Mutex;

use support::cluster::Cluster;
use tidings_testkit::scenario;

#[tokio::test(flavor = "multi_thread")]
async fn three_users_on_two_edges_touch_every_command() {
    let cluster = Cluster::up(&[]);
    let urls = cluster.edge_urls();
    let (one, two) = urls.split_once(',').expect("two edges");
    let issued = Mutex::new(HashMap::new());
    let tokens = |user: &str, tenant: &str| {
        let who = (user.to_owned(), tenant.to_owned());
        let mut issued = issued.lock().expect("no test has panicked");
        let token = issued
            .entry(who)
            .or_insert_with(|| cluster.token_of(user, tenant));
        token.clone()
    };
    let transcript = scenario::run([one, two], &tokens).await;
    let transcript = transcript.expect("the scenario goes to its end");
    scenario::compare(&transcript).expect("the same as in one process");
}
