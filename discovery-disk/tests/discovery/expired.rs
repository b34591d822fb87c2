//! Expired files that are told: because the server is gone, or while it is asked.

use std::time::{Duration, SystemTime};

use discovery_core::Format;
use discovery_core::engine::ParsedAnswer;
use discovery_core::sync::clock::ManualClock;
use discovery_core::testing::{Gate, fixtures};
use discovery_disk::DiskDiscoveryLayer;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use crate::partial::discover;
use crate::tools::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Files that have expired.
fn expired() -> (tempfile::TempDir, DiskDiscoveryLayer, ManualClock) {
    let (outer, dir) = warm_directory();
    let clock = ManualClock::new(SystemTime::now() + 7 * HOUR);
    let layer = DiskDiscoveryLayer::new(&dir).clock(clock.clone());
    (outer, layer, clock)
}

/// How an answer is marked: in the extension, and in the header.
fn marks(answer: &Answer) -> (bool, bool, bool) {
    let parsed = answer.extensions().get::<ParsedAnswer>().unwrap();
    let status = answer.headers().get("cache-status");
    let is_told =
        status.is_some_and(|status| status.to_str().unwrap().starts_with("discovery-disk; hit;"));
    (parsed.stale, parsed.last_good, is_told)
}

fn unavailable() -> Response<Full<bytes::Bytes>> {
    fixtures::status(503)
}

#[test]
fn a_server_that_gives_no_answer_is_replaced_by_expired_files() {
    for invalidated in [false, true] {
        let (_outer, layer, _) = expired();
        let layer = layer.keep_last_good(true);
        let server = Server::default();
        server.go_away("connection refused");
        if invalidated {
            layer.handle().invalidate();
        }
        for (path, accept) in [
            ("/apis", "application/json"),
            ("/api", "application/json"),
            ("/apis", Format::V2.content_type()),
            ("/apis/a", "application/json"),
            ("/apis/a/v1", "application/json"),
            ("/api/v1", "application/json"),
        ] {
            let answer = server.ask_with(&layer, path, accept);
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(marks(&answer), (true, true, true), "{path}");
            let told = text(answer);
            assert!(
                told.contains(if path.contains("v1") { "verbs" } else { "v1" }),
                "{told}"
            );
        }
        let discovered = discover(&server, &layer);
        assert!(discovered.origin.unwrap().last_good);
        assert!(discovered.snapshot.is_complete());
        assert!(discovered.failed.is_empty());
    }
}

/// 429 and 5xx are outages; what the server says about the request or its user is not.
#[test]
fn an_answer_of_the_server_counts_more() {
    for (status, is_outage) in [
        (429, true),
        (500, true),
        (503, true),
        (401, false),
        (403, false),
        (404, false),
    ] {
        let (_outer, layer, _) = expired();
        let layer = layer.keep_last_good(true).single_lists(true);
        let server = Server::legacy();
        for path in ["/api", "/apis", "/apis/a/v1"] {
            server.set(path, fixtures::status(status));
        }
        for path in ["/apis", "/apis/a/v1"] {
            let answer = server.ask(&layer, path);
            if is_outage {
                assert_eq!(answer.status(), 200, "{status} {path}");
                assert_eq!(marks(&answer), (true, true, true), "{status} {path}");
            } else {
                assert_eq!(answer.status().as_u16(), status, "{path}");
            }
        }
    }
}

#[test]
fn without_the_option_expired_files_are_not_told() {
    let (_outer, layer, _) = expired();
    let server = Server::default();
    for path in ["/api", "/apis", "/apis/a/v1"] {
        server.set(path, unavailable());
    }
    for path in ["/apis", "/apis/a/v1"] {
        assert_eq!(server.ask(&layer, path).status(), 503);
    }
    // A server that works is asked, and its answers are not marked.
    let (_outer, layer, _) = expired();
    let layer = layer.keep_last_good(true);
    let server = Server::default();
    let answer = server.ask(&layer, "/apis");
    assert_eq!(marks(&answer), (false, false, false));
    assert_eq!(server.asked(), ["/api", "/apis"]);
}

fn get(path: &str) -> Request<Full<bytes::Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}

#[tokio::test]
async fn stale_files_are_told_while_one_fetch_renews_them() {
    let (_outer, layer, clock) = expired();
    let layer = layer.stale_while_revalidate(2 * HOUR);
    let server = Server::default();
    let gate = Gate::new();
    server.hold(&gate);
    let service = layer.layer(server.service());
    for path in ["/apis", "/api/v1", "/apis"] {
        let answer = service.clone().oneshot(get(path)).await.unwrap();
        assert_eq!(marks(&answer), (true, false, true), "{path}");
        // The fetch runs as far as the gate.
        tokio::task::yield_now().await;
    }
    assert_eq!(server.asked(), ["/api", "/apis"], "one fetch for all");
    assert_eq!(layer.handle().stats().hits, 3);
    gate.open();
    // The files are renewed by the clock, and count again.
    loop {
        let answer = service.clone().oneshot(get("/apis")).await.unwrap();
        if marks(&answer) == (false, false, false) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(server.asked(), [""; 0]);

    // Beyond its time, the caller waits.
    clock.advance(6 * HOUR + 2 * HOUR + Duration::from_secs(1));
    let answer = service.clone().oneshot(get("/apis")).await.unwrap();
    assert_eq!(marks(&answer), (false, false, false));
    assert_eq!(server.asked(), ["/api", "/apis"]);
}

/// A fetch that fails is tried again by the next caller; one who asks for a fetch gets it.
#[tokio::test]
async fn a_fetch_behind_an_answer_may_fail() {
    let (_outer, layer, _) = expired();
    let layer = layer.stale_while_revalidate(2 * HOUR);
    let server = Server::default();
    server.go_away("connection refused");
    let service = layer.layer(server.service());
    for _ in 0..3 {
        let answer = service.clone().oneshot(get("/apis")).await.unwrap();
        assert_eq!(marks(&answer), (true, false, true));
        while server.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    let mut request = get("/apis");
    request
        .headers_mut()
        .insert("cache-control", "no-cache".parse().unwrap());
    assert!(service.clone().oneshot(request).await.is_err());
}

/// There is nothing to run the fetch on.
#[test]
fn without_a_runtime_the_caller_waits() {
    let (_outer, layer, _) = expired();
    let layer = layer.stale_while_revalidate(2 * HOUR);
    let server = Server::default();
    let service = layer.layer(server.service());
    let mut asking = tokio_test::task::spawn(service.oneshot(get("/apis")));
    let std::task::Poll::Ready(answer) = asking.poll() else {
        panic!("nothing has to be waited for");
    };
    let answer = answer.unwrap();
    assert_eq!(marks(&answer), (false, false, false));
}

/// The page of a proxy that wants a password, for example.
#[test]
fn an_answer_that_is_no_document_is_no_answer() {
    for body in [
        "<html>",
        "",
        r#"{"kind":"APIGroupLi"#,
        r#"{"kind":"Status"}"#,
    ] {
        for (path, list) in [("/apis", false), ("/apis/a/v1", true)] {
            for keep in [false, true] {
                let (_outer, layer, _) = expired();
                let layer = layer.keep_last_good(keep).single_lists(list);
                let server = Server::legacy();
                server.set(path, json(Format::Legacy, body));
                let answer = server.ask(&layer, path);
                assert_eq!(answer.status(), 200);
                if keep {
                    assert_eq!(marks(&answer), (true, true, true), "{path} {body}");
                    assert!(text(answer).contains("a/v1"), "{path} {body}");
                } else {
                    assert_eq!(text(answer), body, "{path}");
                }
            }
        }
    }
    // That there is nothing is an answer.
    let (_outer, layer, _) = expired();
    let server = Server::legacy();
    let empty =
        r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"a/v1","resources":[]}"#;
    server.set("/apis/a/v1", json(Format::Legacy, empty));
    let layer = layer.keep_last_good(true).single_lists(true);
    let answer = server.ask(&layer, "/apis/a/v1");
    assert!(!answer.headers().contains_key("cache-status"));
    assert_eq!(text(answer).trim_end(), empty);
}

/// Where nothing can be written, as in a container whose disk is read-only.
#[test]
fn documents_in_memory_are_kept_as_files_are() {
    for keep in [false, true] {
        let (outer, dir) = directory();
        std::fs::write(outer.path().join("cache"), "no directory").unwrap();
        let layer = DiskDiscoveryLayer::new(&dir).keep_last_good(keep);
        let server = Server::default();
        server.ask_all(&layer);
        for _ in 0..2 {
            layer.handle().invalidate();
            server.set("/api", unavailable());
            server.set("/apis", unavailable());
            for path in ["/apis", "/apis/a/v1"] {
                let answer = server.ask(&layer, path);
                if keep {
                    assert_eq!(answer.status(), 200, "{path}");
                    assert_eq!(marks(&answer), (true, true, true), "{path}");
                } else {
                    assert!(!answer.headers().contains_key("cache-status"), "{path}");
                }
            }
        }
    }
}

/// A program that runs long would fill its log.
#[test]
fn each_outage_is_one_warning() {
    use discovery_core::testing::{EventLevel, Events};
    let events = Events::new("").level(EventLevel::Warn);
    events.capture(|| {
        let (_outer, layer, _) = expired();
        let layer = layer.keep_last_good(true);
        for _ in 0..2 {
            let server = Server::default();
            server.set("/apis", unavailable());
            for path in ["/apis", "/apis/a/v1", "/api", "/apis"] {
                assert_eq!(server.ask(&layer, path).status(), 200);
            }
            let told = events.take();
            assert_eq!(told.len(), 1, "{told:?}");
            // It is over, and then there is another one.
            Server::default().ask(&layer, "/apis");
            assert!(events.take().is_empty());
            layer.handle().invalidate();
        }
    });
}
