//! The events of the cache at every level. This is the only test in its process: whether a place
//! records events at all is decided once for all threads.

mod common;

use std::io;

use common::World;
use discovery_core::store::{Store, Value};
use discovery_core::testing::{Events, ScriptedStore, StoreOp};
use discovery_http_cache::HttpCacheLayer;
use http::Request;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Fails with errors that tell the key.
fn failing() -> ScriptedStore {
    let store = ScriptedStore::new();
    for op in StoreOp::ALL {
        store.fail_with(op, |key| io::Error::other(format!("no such host\n: {key}")));
    }
    store
}

#[test]
fn no_event_has_a_credential_a_query_or_a_line_break_and_each_warning_is_given_once() {
    const URI: &str = "https://user:p%40ss@h/a?token=SECRET&b=1";
    const VARY: (&str, &str) = ("vary", "accept");

    let events = Events::new("discovery_http_cache");
    events.capture(|| {
        tokio_test::block_on(async {
            let world = World::strict();
            for uri in ["/a?token=SECRET", "/b"] {
                world.server.ok(&[FRESH], "one");
                let get = Request::get(uri).body(common::empty()).unwrap();
                world.send(get).await.unwrap();
                world.server.ok(&[], "");
                let post = Request::post(uri).body(common::empty()).unwrap();
                world.send(post).await.unwrap();
            }
            for _ in 0..3 {
                let garbage = Value::new("", "garbage");
                world.store.put(URI, garbage).await.unwrap();
                world.server.ok(&[FRESH], "one");
                let get = Request::get(URI).body(common::empty()).unwrap();
                world.send(get).await.unwrap();
            }
            // Variants, whose keys have line breaks and request headers.
            let request = |value: &str| {
                let request = Request::get(URI).header("accept", value);
                request.body(common::empty()).unwrap()
            };
            world.store.remove(URI).await.unwrap();
            for value in ["SECRET", "SECRET2", "SECRET", "SECRET2"] {
                world.server.ok(&[FRESH, VARY], "one");
                world.send(request(value)).await.unwrap();
            }
            let keys = world.store.all_keys();
            assert!(keys.iter().any(|key| key.contains('\n')), "{keys:?}");
            world.server.ok(&[], "");
            let options = Request::options(URI).body(common::empty()).unwrap();
            world.send(options).await.unwrap();
            world.server.ok(&[], "");
            let post = Request::post(URI).body(common::empty()).unwrap();
            world.send(post).await.unwrap();

            let server = world.server.clone();
            let service = HttpCacheLayer::new(failing()).layer(server);
            for _ in 0..2 {
                world.server.ok(&[FRESH], "one");
                let response = service.clone().oneshot(request("SECRET")).await.unwrap();
                response.into_body().collect().await.unwrap();
            }
        });
    });
    events.assert_without(&["user", "p%40ss", "SECRET", "token="]);
    let events = events.take();
    assert!(events.len() > 30, "{}", events.len());
    let warnings: Vec<_> = events.iter().filter(|event| event.is_warning()).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    // Each decision has its key and its reason.
    assert!(events.iter().any(|event| {
        let text = event.to_string();
        text.contains("key=https://h/a ")
            && text.contains("decision=miss")
            && text.contains("reason=to be stored")
    }));
}
