//! Responses that are not stored, or not as a whole.

mod common;

use common::{URI, World, date, response};
use discovery_core::store::{Store, Value};
use http::{HeaderMap, HeaderValue};
use http_body_util::Full;
use tower::ServiceExt;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test]
async fn absurd_headers_are_passed_on_and_not_stored() {
    let long = "x".repeat(200_000);
    let names: Vec<String> = (0..10_000).map(|n| format!("x-{n}")).collect();
    let vary: Vec<_> = names.iter().map(|name| ("vary", name.as_str())).collect();
    for extra in [vec![("x-long", long.as_str())], vary] {
        let world = World::strict();
        let mut headers = vec![FRESH];
        headers.extend(extra);
        world.server.ok(&headers, "one");
        assert_eq!(world.get(&[]).await.headers.len(), headers.len());
        assert!(world.store.is_empty());
    }
}

#[tokio::test]
async fn sensitive_values_are_not_written() {
    let world = World::strict();
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    for (value, stored) in [(secret, 0), (HeaderValue::from_static("plain"), 1)] {
        world.server.ok(&[FRESH, ("vary", "x-token")], "one");
        let mut request = common::get(&[]);
        request.headers_mut().insert("x-token", value);
        world.send(request).await.unwrap();
        assert_eq!(world.store.len(), stored);
    }
}

/// A value that would be too long to be read again is not written.
#[tokio::test]
async fn long_values_of_a_request() {
    let world = World::strict();
    let long = "x".repeat(200_000);
    for _ in 0..2 {
        world.server.ok(&[FRESH, ("vary", "x-long")], "one");
        assert!(world.get(&[("x-long", &long)]).await.asked.is_some());
    }
    assert!(world.store.is_empty());
    assert_eq!(world.stats().errors, 0);
}

/// As many headers as a map takes: nothing panics where one more would be put in.
#[tokio::test]
async fn as_many_headers_as_there_can_be() {
    let full = |mut map: HeaderMap| {
        let mut n = 0;
        while map
            .try_append(
                format!("x-{n}").parse::<http::HeaderName>().unwrap(),
                HeaderValue::from_static(""),
            )
            .is_ok()
        {
            n += 1;
        }
        map
    };
    for world in [World::strict(), World::kubectl()] {
        let service = tower::Layer::layer(
            &world
                .layer
                .clone()
                .marker(discovery_http_cache::CacheStatus::new("x").unwrap()),
            world.server.clone(),
        );
        world.server.ok(&[FRESH, ("etag", "\"1\"")], "one");
        service.clone().oneshot(common::get(&[])).await.unwrap();
        world.pass(60);
        for status in [304, 200] {
            let mut answer = response(status, &[FRESH], Full::from(""));
            *answer.headers_mut() = full(std::mem::take(answer.headers_mut()));
            world.server.respond(answer);
            service.clone().oneshot(common::get(&[])).await.unwrap();
            assert!(world.store.is_empty());
        }
    }
    // And what somebody else has stored.
    let headers = full(HeaderMap::new());
    let names: Vec<_> = headers.keys().take(10_000).collect();
    let lines = |prefix| {
        let line = |name: &&http::HeaderName| format!("{prefix}{name}:\r\n");
        names.iter().map(line).collect::<String>()
    };
    // Those that users never see count, too, and those that `Connection` names.
    let connection = format!("Connection: {}\r\n", vec!["x-1"; 10_000].join(","));
    for names in [lines(""), lines("x-varied-"), connection + &lines("")] {
        let world = World::strict();
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nDate: {}\r\n{names}\r\none",
            date(0)
        );
        world.store.put(URI, Value::new("", head)).await.unwrap();
        world.server.ok(&[], "two");
        assert_eq!(world.get(&[]).await.body, "two");
    }
}

/// RFC 9111 §3.1, RFC 9110 §7.6.1.
#[tokio::test]
async fn what_connection_names() {
    for (connection, stored) in [
        ("x-hop", true),
        ("x-hop, etag", true),
        ("x-hop, Cache-Control", false),
        ("vary", false),
        ("Date", false),
        ("expires", false),
        ("age", false),
    ] {
        let headers = [
            FRESH,
            ("connection", connection),
            ("x-hop", "1"),
            ("etag", "\"1\""),
        ];
        let world = World::strict();
        world.server.ok(&headers, "one");
        world.get(&[]).await;
        assert_eq!(world.store.len(), usize::from(stored), "{connection}");
        if let Some(text) = world.stored(URI).await {
            assert!(
                !text.contains("X-Hop") && !text.contains("Connection: x"),
                "{text}"
            );
        }

        let world = World::strict();
        world.server.ok(&[FRESH, ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        world.pass(60);
        world.server.answer(304, &headers[..3], "");
        assert_eq!(world.get(&[]).await.body, "one");
        assert_eq!(world.store.len(), usize::from(stored), "304: {connection}");
    }
}
