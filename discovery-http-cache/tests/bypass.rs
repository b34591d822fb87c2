//! Requests that bypass the cache, and the entries that unsafe requests remove.

mod common;

use common::{Broken, URI, World, get, request};
use discovery_core::store::{MapStore, NoStore, Store, Value};
use discovery_http_cache::{CacheDecision, HttpCacheLayer};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use tower::{Layer, ServiceExt};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test]
async fn requests_that_are_not_for_a_cache() {
    let table: &[(Method, &[(&str, &str)])] = &[
        (Method::OPTIONS, &[]),
        (
            Method::GET,
            &[("upgrade", "websocket"), ("connection", "Upgrade")],
        ),
        (Method::GET, &[("connection", "keep-alive, upgrade")]),
        (Method::GET, &[("content-length", "5")]),
        (Method::GET, &[("transfer-encoding", "chunked")]),
        (Method::GET, &[("if-match", "\"x\"")]),
        (Method::GET, &[("if-unmodified-since", "x")]),
        (Method::GET, &[("cache-control", "no-store")]),
    ];
    for (method, headers) in table {
        let world = World::strict();
        world.server.ok(&[FRESH, ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        world.server.ok(&[FRESH, ("etag", "\"2\"")], "two");
        let got = world.send(request(method.clone(), headers)).await.unwrap();
        assert_eq!(got.body, "two", "{method} {headers:?}");
        // Untouched, on the way there and back.
        let asked = got.asked.unwrap();
        assert_eq!(
            (asked.method, asked.headers.len()),
            (method.clone(), headers.len())
        );
        assert_eq!(got.headers.len(), 2);
        assert_eq!(world.stats().bypassed, 1);
        // And the entry is still there.
        assert!(world.get(&[]).await.asked.is_none());
    }
}

#[tokio::test]
async fn a_policy_can_leave_requests_alone() {
    let world = World::new(|layer| {
        layer.cacheable(|request: &http::request::Parts| request.uri.path() == "/apis")
    });
    for _ in 0..2 {
        world.server.ok(&[FRESH], "secret");
        let secret = Request::get("https://h/api/v1/secrets")
            .body(common::empty())
            .unwrap();
        assert!(world.send(secret).await.unwrap().asked.is_some());
    }
    assert!(world.store.is_empty());
    world.server.ok(&[FRESH], "one");
    world.get(&[]).await;
    assert_eq!(world.store.len(), 1);
}

type Policy = fn(HttpCacheLayer<MapStore>) -> HttpCacheLayer<MapStore>;

/// kubectl's preset knows what may not be written to a disk, and Kubernetes' streams.
#[tokio::test]
async fn what_kubectls_preset_leaves_alone() {
    let presets: [(Policy, bool); 3] = [
        (HttpCacheLayer::kubectl, false),
        // A policy of one's own, said before or after, replaces the list; streams stay streams.
        (
            |layer| layer.cacheable(|_: &http::request::Parts| true).kubectl(),
            true,
        ),
        (
            |layer| layer.kubectl().cacheable(|_: &http::request::Parts| true),
            true,
        ),
    ];
    for (preset, everything) in presets {
        for (target, discovery, stream) in [
            ("/api/v1/namespaces/a/secrets/b", false, false),
            ("/api/v1/pods?watch=1", false, true),
            ("/api/v1/pods?a=b&watch", false, true),
            ("/api/v1/pods/a/log?follow=true", false, true),
            ("/api/v1/watch/pods", false, true),
            ("/apis/apps/v1/watch/namespaces/a/deployments", false, true),
            ("/api/v1/pods?watch=false", false, false),
            ("/api/v1/pods?watched=1", false, false),
            ("/api", true, false),
            ("/apis?timeout=32s", true, false),
            ("/apis/apps/v1?watch=0", true, false),
            ("/apis/apps/v1?watch=1", true, true),
            ("/openapi/v2", true, false),
            ("/openapi/v3/apis/apps/v1?hash=1", true, false),
            ("/version", true, false),
        ] {
            let world = World::new(preset);
            world.server.ok(&[FRESH], "one");
            let request = Request::get(format!("https://h{target}"))
                .body(common::empty())
                .unwrap();
            world.send(request).await.unwrap();
            let expected = (discovery || everything) && !stream;
            assert_eq!(world.store.len(), usize::from(expected), "{target}");
        }
    }
}

#[tokio::test]
async fn what_a_layer_has_been_told_counts_more_than_the_preset() {
    let mark = |decision: &CacheDecision<'_>, headers: &mut http::HeaderMap| {
        let value = if decision.outcome.is_from_cache() {
            "hit"
        } else {
            "miss"
        };
        headers.insert("x-cache", value.parse().unwrap());
    };
    for order in [true, false] {
        let world = World::new(|layer| {
            let layer = if order { layer.kubectl() } else { layer };
            let layer = layer
                .key(|_: &Method, uri: &http::Uri, _: &http::HeaderMap| Some(uri.path().into()))
                .marker(mark)
                .lenient_dates(false)
                .keep_on_error(true);
            if order { layer } else { layer.kubectl() }
        });
        let utc = common::date(60).replace("GMT", "UTC");
        world
            .server
            .ok(&[("expires", &utc), ("etag", "\"1\"")], "one");
        assert_eq!(world.get(&[]).await.header("x-cache"), Some("miss"));
        assert_eq!(world.store.all_keys(), ["/apis"]);
        // Not fresh, because the date is none.
        world.server.answer(503, &[], "");
        assert_eq!(world.get(&[]).await.status, 503);
        assert_eq!(world.store.len(), 1, "kept on error");
        world.server.answer(304, &[], "");
        let got = world.get(&[]).await;
        assert_eq!(
            (got.header("x-cache"), got.header("age")),
            (Some("hit"), None)
        );
    }
}

/// The policy decides about the request itself, and not about this.
#[tokio::test]
async fn unsafe_requests_invalidate_whatever_they_are_to_the_cache() {
    let world = World::new(|layer| {
        layer.cacheable(|request: &http::request::Parts| request.method == Method::GET)
    });
    let keyed = World::new(|layer| {
        layer.key(|method: &Method, uri: &http::Uri, _: &http::HeaderMap| {
            (*method == Method::GET).then(|| uri.to_string())
        })
    });
    // The removals are for GET and for HEAD, as far as those have keys.
    for (world, removals) in [(world, 2), (keyed, 1)] {
        world.server.ok(&[FRESH], "one");
        world.get(&[]).await;
        world.server.answer(204, &[], "");
        world.send(request(Method::PUT, &[])).await.unwrap();
        assert!(world.store.is_empty());
        assert_eq!(world.stats().removals, removals);
    }
}

/// RFC 9111 §5.2.1.5.
#[tokio::test]
async fn the_answer_to_a_post_with_no_store_is_not_stored() {
    for (headers, stored) in [
        (&[][..], true),
        (&[("cache-control", "no-store")], false),
        (&[("cache-control", "max-age=0, no-store")], false),
    ] {
        let world = World::new(|layer| layer.cache_posts(true));
        world.server.ok(&[FRESH, ("content-location", URI)], "one");
        world.send(request(Method::POST, headers)).await.unwrap();
        assert_eq!(world.store.len(), usize::from(stored), "{headers:?}");
    }
}

#[tokio::test]
async fn unsafe_requests_invalidate() {
    let table = [
        (Method::POST, 200, true),
        (Method::PUT, 201, true),
        (Method::DELETE, 204, true),
        (Method::PATCH, 303, true),
        (Method::POST, 404, false),
        (Method::POST, 500, false),
        (Method::OPTIONS, 200, false),
        (Method::from_bytes(b"UNKNOWN").unwrap(), 200, true),
    ];
    for (method, status, removed) in table {
        let world = World::strict();
        world.server.ok(&[FRESH], "");
        world.send(request(Method::HEAD, &[])).await.unwrap();
        world.server.ok(&[FRESH], "one");
        world.get(&[]).await;
        world.server.answer(status, &[], "");
        world.send(request(method.clone(), &[])).await.unwrap();
        assert_eq!(
            world.store.len(),
            if removed { 0 } else { 2 },
            "{method} {status}"
        );
    }
    let world = World::strict();
    let location = Request::get("https://h:6443/new?x")
        .body(common::empty())
        .unwrap();
    world.server.ok(&[FRESH], "one");
    world.send(location).await.unwrap();
    world.server.answer(201, &[("location", "/new?x")], "");
    world.send(request(Method::POST, &[])).await.unwrap();
    assert!(world.store.is_empty());
}

#[tokio::test]
async fn kubectl_removes_the_entry_of_the_requests_own_key() {
    type Row = (
        Method,
        &'static [(&'static str, &'static str)],
        &'static str,
        bool,
    );
    let table: &[Row] = &[
        (Method::GET, &[("range", "bytes=0-1")], "", true),
        (Method::GET, &[("cache-control", "no-store")], "", true),
        (Method::HEAD, &[("range", "bytes=0-1")], "HEAD ", true),
        (Method::POST, &[], "POST ", true),
        (Method::OPTIONS, &[], "OPTIONS ", true),
        (Method::OPTIONS, &[], "", false),
        (Method::GET, &[("range", "bytes=0-1")], "HEAD ", false),
    ];
    for (method, headers, prefix, removed) in table {
        let world = World::kubectl();
        let key = format!("{prefix}{URI}");
        world.store.put(&key, Value::new("", "x")).await.unwrap();
        world.server.answer(206, &[], "");
        world.send(request(method.clone(), headers)).await.unwrap();
        assert_eq!(world.store.is_empty(), *removed, "{method} {prefix}");
    }
}

#[tokio::test]
async fn a_request_to_an_invalid_port_bypasses_the_cache() {
    // The user's own key function, which need not know about ports, is not asked either.
    let chosen = |_: &Method, uri: &Uri, _: &HeaderMap| Some(uri.host()?.to_owned());
    let invalid = Authority::from_static("h:99999");
    for world in [
        World::strict(),
        World::kubectl(),
        World::new(|layer| layer.key(chosen)),
        World::new(|layer| layer.authority(Scheme::HTTPS, invalid)),
    ] {
        for uri in ["https://h:6443x/apis", "http://u:p@h:-1/apis", "/apis"] {
            let request = || Request::get(uri).body(common::empty()).unwrap();
            for _ in 0..2 {
                world.server.ok(&[FRESH], "one");
                assert!(world.send(request()).await.unwrap().asked.is_some());
            }
        }
        assert!(world.store.is_empty());
        assert_eq!(world.stats().bypassed, 6);
    }
}

#[tokio::test]
async fn relative_uris() {
    let relative = || {
        Request::get("/apis?timeout=32s")
            .body(common::empty())
            .unwrap()
    };
    let world = World::strict();
    for _ in 0..2 {
        world.server.ok(&[FRESH], "one");
        assert!(world.send(relative()).await.unwrap().asked.is_some());
    }
    assert!(world.store.is_empty());
    assert_eq!(world.stats().bypassed, 2);

    let authority = Authority::from_static("h:6443");
    let world = World::new(|layer| layer.kubectl().authority(Scheme::HTTPS, authority));
    world.server.ok(&[FRESH], "one");
    let first = world.send(relative()).await.unwrap();
    assert_eq!(first.asked.unwrap().uri, "/apis?timeout=32s");
    assert_eq!(world.store.all_keys(), [URI]);
    assert!(world.send(relative()).await.unwrap().asked.is_none());
    // And it is the same entry as that of the absolute URI.
    assert!(world.get(&[]).await.asked.is_none());
}

#[tokio::test]
async fn errors_keep_their_type() {
    let world = World::strict();
    world.server.fail();
    assert_eq!(world.send(get(&[])).await.unwrap_err(), Broken("refused"));
    world.server.fail();
    assert_eq!(
        world.send(request(Method::POST, &[])).await.unwrap_err(),
        Broken("refused")
    );
    assert_eq!(world.stats().misses, 1);
}

#[tokio::test]
async fn a_broken_store_is_no_store() {
    let world = World::strict();
    let store = discovery_core::testing::ScriptedStore::new();
    for op in discovery_core::testing::StoreOp::ALL {
        store.fail(op);
    }
    let broken = HttpCacheLayer::new(store).kubectl();
    let service = broken.layer(world.server.clone());
    for method in [Method::GET, Method::POST, Method::GET] {
        world.server.ok(&[FRESH], "one");
        let response = service.clone().oneshot(request(method, &[])).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
        assert_eq!(body.to_bytes(), "one");
    }
    assert!(broken.handle().stats().errors >= 4);

    let service = HttpCacheLayer::new(NoStore).layer(world.server.clone());
    for _ in 0..2 {
        world.server.ok(&[FRESH], "one");
        service.clone().oneshot(get(&[])).await.unwrap();
    }
}

#[tokio::test]
async fn services_of_a_layer_share_everything() {
    let world = World::strict();
    world.server.ok(&[FRESH], "one");
    world.get(&[]).await;
    for layer in [world.layer.clone(), world.layer.clone().max_body_size(1)] {
        let hit = layer
            .layer(world.server.clone())
            .oneshot(get(&[]))
            .await
            .unwrap();
        assert_eq!(hit.status(), 200);
    }
    assert_eq!(world.stats().hits, 2);
    assert_eq!(world.layer.store().len(), 1);
    let _: &MapStore = world.layer.store();
}

/// The answer may depend on the content, which is no part of the key (RFC 9110 §9.3.1). Clients add the fields that tell
/// of it below the cache.
#[tokio::test]
async fn two_requests_with_different_content_never_share_an_answer() {
    use http_body_util::Full;

    for method in [Method::GET, Method::HEAD] {
        let world = World::strict();
        let send = |content: &'static str| {
            let mut request =
                request(method.clone(), &[]).map(|_| Full::<bytes::Bytes>::from(content));
            *request.method_mut() = method.clone();
            world.send(request)
        };
        world.server.ok(&[FRESH], "one");
        assert_eq!(send("a").await.unwrap().body, "one");
        world.server.ok(&[FRESH], "two");
        assert_eq!(send("b").await.unwrap().body, "two");
        assert!(world.store.is_empty());
        // Without content it is a request like any other.
        world.server.ok(&[FRESH], "three");
        assert_eq!(send("").await.unwrap().status, 200);
        assert!(send("").await.unwrap().asked.is_none());
    }
}
