//! Entries that are versions of one thing.

use std::convert::Infallible;

use bytes::Bytes;
use discovery_core::store::{Store, Value};
use discovery_core::testing::{ScriptedStore, StoreOp};
use discovery_http_cache::{HttpCacheLayer, MapStore};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt};

fn name(key: &str) -> Option<String> {
    key.split_once("?hash=").map(|(name, _)| name.to_owned())
}

/// A cache over a store, as a process has it.
async fn get<St: Store + Clone>(store: &St, path: &str) -> String {
    let server = tower::service_fn(|request: Request<Empty<Bytes>>| async move {
        let response = Response::builder().header("cache-control", "max-age=60");
        let body = Full::new(Bytes::from(request.uri().to_string()));
        Ok::<_, Infallible>(response.body(body).unwrap())
    });
    let layer = HttpCacheLayer::new(store.clone()).keep_latest_of(name);
    let request = Request::get(format!("http://h{path}"))
        .body(Empty::new())
        .unwrap();
    let response = layer.layer(server).oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn stored(store: &impl Store) -> Vec<String> {
    let mut keys = store.keys("http://").await.unwrap();
    keys.sort();
    keys
}

#[tokio::test]
async fn only_the_latest_is_kept() {
    let store = MapStore::new();
    for path in [
        "/a?hash=1",
        "/b?hash=1",
        "/c",
        "/a?hash=1",
        "/a?hash=2",
        "/c?x=1",
    ] {
        assert_eq!(get(&store, path).await, format!("http://h{path}"));
    }
    let keys = stored(&store).await;
    assert_eq!(
        keys,
        [
            "http://h/a?hash=2",
            "http://h/b?hash=1",
            "http://h/c",
            "http://h/c?x=1"
        ]
    );
    // Back to the first, as a server may go.
    get(&store, "/a?hash=1").await;
    assert_eq!(stored(&store).await[0], "http://h/a?hash=1");
    assert_eq!(stored(&store).await.len(), 4);
}

/// A note that names something else removes nothing.
#[tokio::test]
async fn a_damaged_note_removes_nothing() {
    let store = MapStore::new();
    get(&store, "/c").await;
    get(&store, "/b?hash=1").await;
    for wrong in [&b"http://h/c"[..], b"http://h/b?hash=1", b"\xff", b""] {
        store
            .put("latest of http://h/a", Value::new("", wrong.to_vec()))
            .await
            .unwrap();
        get(&store, "/a?hash=1").await;
        store.remove("http://h/a?hash=1").await.unwrap();
        assert_eq!(stored(&store).await, ["http://h/b?hash=1", "http://h/c"]);
    }
}

/// A store that fails costs the removal, and not the answer.
#[tokio::test]
async fn a_failing_store_fails_no_request() {
    for op in [StoreOp::Get, StoreOp::Put, StoreOp::Remove] {
        let store = std::sync::Arc::new(ScriptedStore::around(MapStore::new()));
        get(&store, "/a?hash=1").await;
        store.fail(op);
        assert_eq!(get(&store, "/a?hash=2").await, "http://h/a?hash=2");
    }
}
