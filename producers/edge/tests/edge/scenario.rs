use tidings_testkit::scenario;

use crate::support::{System, token_of};

#[tokio::test(flavor = "multi_thread")]
async fn three_users_on_two_edges_touch_every_command() {
    let system = System::start().await;
    let other = system.another_edge().await;
    let tokens = |user: &str, tenant: &str| token_of(user, tenant, None);
    let transcript = scenario::run([&system.url, &other], &tokens).await.unwrap();
    if std::env::var_os("TIDINGS_WRITE_TRANSCRIPT").is_some() {
        let root = env!("CARGO_MANIFEST_DIR");
        let path = format!("{root}/../../crates/testkit/src/scenario/transcript.txt");
        std::fs::write(path, transcript).unwrap();
        return;
    }
    scenario::compare(&transcript).unwrap();
}
