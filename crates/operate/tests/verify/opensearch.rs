use std::sync::Arc;

use serde_json::{Value, json};
use tidings_operate::verify::AuditedView;
use tidings_testkit::{fresh_name, search_url};
use tidings_views::audit::Audit;
use tidings_views::search::OpenSearch;

use crate::world::{Running, World, assert_clean, found, reaches};

/// Asks the server, as somebody might by hand.
struct Server {
    url: &'static str,
    prefix: String,
    http: reqwest::Client,
}

impl Server {
    async fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let url = format!("{}/tidings-{}{path}", self.url, self.prefix);
        let request = self.http.request(method, url).json(&body);
        let answer = request.send().await.expect("answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(reqwest::Method::POST, path, body).await
    }

    /// The ids of some documents.
    async fn ids(&self, kind: &str, query: Value) -> Vec<String> {
        self.post(&format!("{kind}/_refresh"), json!({})).await;
        let found = self
            .post(
                &format!("{kind}/_search"),
                json!({"size": 10, "query": query}),
            )
            .await;
        let hits = found["hits"]["hits"].as_array().expect("hits").iter();
        hits.map(|hit| hit["_id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_every_index_are_found_and_mended() {
    let world = World::new(21, 400).await;
    let url = tokio::task::spawn_blocking(search_url)
        .await
        .expect("a server");
    let prefix = format!("{}-", fresh_name());
    let store = OpenSearch::new(url, &prefix).expect("an address");
    let project = async || {
        let projection =
            tidings_search::projection(world.log(), world.codec.clone(), Arc::new(store.clone()));
        let running = Running::start(projection.batch(100));
        reaches(&world.ends(), async || {
            Audit::positions(&store).await.unwrap_or_default()
        })
        .await;
        running.stop().await;
    };
    project().await;
    let view = AuditedView::Search(Arc::new(store.clone()));
    assert_clean(&world.verify(&view).await);

    let server = Server {
        url,
        prefix,
        http: reqwest::Client::new(),
    };
    let with_text = json!({"exists": {"field": "words"}});
    let messages = server.ids("messages", with_text).await;
    let path = |id: &str, what: &str| format!("messages/{what}/{id}");
    server
        .ask(
            reqwest::Method::DELETE,
            &path(&messages[0], "_doc"),
            json!({}),
        )
        .await;
    // By hand: without a version of ours, so the server counts one up.
    let forged = json!({"doc": {"text": "forged", "words": "forged"}});
    server.post(&path(&messages[1], "_update"), forged).await;
    // One whose version keeps out all that is to come.
    let source = server
        .ask(
            reqwest::Method::GET,
            &path(&messages[2], "_source"),
            json!({}),
        )
        .await;
    let ahead = format!(
        "{}?version=9000000&version_type=external",
        path(&messages[2], "_doc")
    );
    server.ask(reqwest::Method::PUT, &ahead, source).await;
    let planted = json!({"message_id": "00000000-0000-0000-0000-000000000000", "tenant": "acme"});
    server.post("messages/_doc/planted", planted).await;
    let users = server.ids("users", json!({"match_all": {}})).await;
    let user = users[0].replace('/', "%2F");
    server
        .ask(
            reqwest::Method::DELETE,
            &format!("users/_doc/{user}"),
            json!({}),
        )
        .await;
    let members = server.ids("members", json!({"match_all": {}})).await;
    let member = members[0].replace('/', "%2F");
    let other = json!({"script": "ctx._source.is_present = !ctx._source.is_present"});
    // No scripts where their module is not installed.
    let is_scripted = server
        .http
        .post(format!(
            "{url}/tidings-{}members/_update/{member}",
            server.prefix
        ))
        .json(&other)
        .send()
        .await
        .expect("answers")
        .status()
        .is_success();
    let conversations = server.ids("conversations", json!({"match_all": {}})).await;
    let renamed = json!({"doc": {"title": "x"}});
    server
        .post(
            &format!("conversations/_update/{}", conversations[0]),
            renamed,
        )
        .await;
    server
        .ask(reqwest::Method::DELETE, "messages-v1/_alias/*", json!({}))
        .await;

    let report = world.verify(&view).await;
    let mut expected = vec![
        ("conversations", 0, 0, 1),
        ("messages", 1, 1, 2),
        ("users", 1, 0, 0),
    ];
    if is_scripted {
        expected.insert(1, ("members", 0, 0, 1));
    }
    assert_eq!(found(&report), expected, "{report:#?}");
    assert_eq!(report.flaws.len(), 1, "{report:#?}");
    assert!(!format!("{report:?}").contains("forged"));

    let report = world.repair(&view).await;
    assert!(report.is_right_now(), "{report:#?}");
    assert_clean(&world.verify(&view).await);
    // What comes is taken in again.
    world.append(200).await;
    project().await;
    assert_clean(&world.verify(&view).await);
}
