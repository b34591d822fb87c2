//! When a stored response answers without the server.

mod common;

use std::time::Duration;

use common::{World, date, get};
use discovery_http_cache::{CacheStatus, HttpCacheLayer};
use http::{HeaderMap, Method, StatusCode, Uri, response};

/// One 200 with an ETag and `response`, then, after `elapsed` seconds, a request with `request`.
async fn is_hit(
    world: &World,
    response: &[(&str, &str)],
    elapsed: u64,
    request: &[(&str, &str)],
) -> bool {
    let mut headers = vec![("etag", "\"1\"")];
    headers.extend_from_slice(response);
    world.server.ok(&headers, "one");
    assert_eq!(world.get(&[]).await.body, "one");
    world.pass(elapsed);
    world.server.ok(&headers, "two");
    let got = world.get(request).await;
    assert_eq!(got.asked.is_none(), got.body == "one");
    got.asked.is_none()
}

#[tokio::test]
async fn lifetimes() {
    let (dated, ahead, expires) = (date(0), date(30), date(60));
    let utc = expires.replace("GMT", "UTC");
    let cc = |value| vec![("cache-control", value)];
    let table = [
        // (response, seconds later, strict, kubectl)
        (cc("max-age=60"), 59, true, true),
        (cc("max-age=60"), 60, false, false),
        (cc("max-age=60, must-revalidate"), 59, true, true),
        (cc("private, max-age=60"), 59, true, true),
        (cc("s-maxage=60"), 1, false, false),
        (cc("public"), 0, false, false),
        (cc("no-cache, max-age=60"), 0, false, false),
        (cc("max-age=60, no-cache=\"set-cookie\""), 59, true, true),
        (vec![("expires", &*expires)], 59, true, true),
        (vec![("expires", &*expires)], 60, false, false),
        (vec![("expires", &*utc)], 59, false, true),
        (vec![("expires", "0")], 0, false, false),
        (
            vec![("date", &*dated), ("expires", &*expires)],
            59,
            true,
            true,
        ),
        // An age that is too large to be counted is not small by the server's clock.
        (
            vec![
                ("date", &*ahead),
                ("age", "99999999999999999999999"),
                ("cache-control", "max-age=99999999999999999999999"),
            ],
            0,
            false,
            false,
        ),
        // A server's clock that is ahead makes no response live longer, nor one that is behind.
        (
            vec![("date", &*ahead), ("cache-control", "max-age=60")],
            59,
            true,
            true,
        ),
        (
            vec![("date", &*ahead), ("cache-control", "max-age=60")],
            60,
            false,
            false,
        ),
        (
            vec![
                ("date", "Fri, 31 Dec 9999 23:59:59 GMT"),
                ("cache-control", "max-age=60"),
            ],
            59,
            true,
            true,
        ),
        (
            vec![
                ("date", "Fri, 31 Dec 9999 23:59:59 GMT"),
                ("cache-control", "max-age=60"),
            ],
            60,
            false,
            false,
        ),
        (
            vec![
                ("age", "99999999999"),
                ("cache-control", "max-age=9999999999"),
            ],
            0,
            false,
            false,
        ),
        (
            vec![("expires", "SAT, 18 AUG 2050 02:01:18 gmt")],
            59,
            true,
            true,
        ),
        (
            vec![("expires", "Sat Aug 18 02:01:18 2050")],
            59,
            true,
            true,
        ),
        (
            vec![("date", &*ahead), ("cache-control", "public")],
            0,
            false,
            false,
        ),
        (
            vec![("age", "50"), ("cache-control", "max-age=60")],
            9,
            true,
            true,
        ),
        (
            vec![("age", "50"), ("cache-control", "max-age=60")],
            10,
            false,
            false,
        ),
        (
            vec![("cache-control", "max-age=99999999999999999999")],
            1_000_000_000,
            true,
            true,
        ),
    ];
    for (response, elapsed, strict, kubectl) in table {
        let hit = is_hit(&World::strict(), &response, elapsed, &[]).await;
        assert_eq!(hit, strict, "strict: {response:?} after {elapsed}");
        let hit = is_hit(&World::kubectl(), &response, elapsed, &[]).await;
        assert_eq!(hit, kubectl, "kubectl: {response:?} after {elapsed}");
    }
}

#[tokio::test]
async fn what_requests_ask_for() {
    let cc = |value| vec![("cache-control", value)];
    let table = [
        ("max-age=60", 30, cc("max-age=31"), true),
        ("max-age=60", 30, cc("max-age=30"), false),
        ("max-age=60", 0, cc("max-age=0"), false),
        ("max-age=60", 30, cc("min-fresh=30"), true),
        ("max-age=60", 30, cc("min-fresh=31"), false),
        ("max-age=60", 90, cc("max-stale"), true),
        ("max-age=60", 90, cc("max-stale=30"), true),
        ("max-age=60", 91, cc("max-stale=30"), false),
        ("max-age=60, must-revalidate", 61, cc("max-stale"), false),
        ("max-age=60, no-cache", 0, cc("max-stale"), false),
        ("max-age=60", 0, cc("no-cache"), false),
        ("max-age=60", 0, cc("no-store"), false),
        ("max-age=60", 0, vec![("pragma", "no-cache")], false),
        (
            "max-age=60",
            0,
            vec![("pragma", "no-cache"), ("cache-control", "x")],
            true,
        ),
        ("max-age=60", 30, cc("only-if-cached"), true),
        // RFC 8246 §2: a reload asks for what has changed, and this has not.
        ("max-age=60, immutable", 30, cc("max-age=0"), true),
        ("max-age=60, immutable", 60, cc("max-age=0"), false),
        ("max-age=60, immutable", 30, cc("no-cache"), false),
    ];
    for (response, elapsed, request, expected) in table {
        let world = World::strict();
        let hit = is_hit(&world, &[("cache-control", response)], elapsed, &request).await;
        assert_eq!(hit, expected, "{response}, {request:?} after {elapsed}");
    }
}

/// RFC 9111 §4.2.2.
#[tokio::test]
async fn heuristics() {
    let modified = date(-1000);
    let since = [("last-modified", &*modified)];
    for (world, lifetime) in [
        (World::strict(), 100),
        (
            World::new(|layer| layer.heuristic_limit(Duration::from_secs(50))),
            50,
        ),
        (World::new(|layer| layer.heuristic_limit(Duration::ZERO)), 0),
        (World::kubectl(), 0),
    ] {
        if lifetime > 0 {
            assert!(is_hit(&world, &since, lifetime - 1, &[]).await);
            world.pass(1);
        } else {
            world.server.ok(&since, "one");
            world.get(&[]).await;
        }
        world.server.ok(&[("cache-control", "no-store")], "two");
        assert_eq!(world.get(&[]).await.body, "two", "{lifetime}");
    }
}

/// RFC 9110 §6.6.1.
#[tokio::test]
async fn a_date_that_is_none_is_the_time_of_receipt() {
    let response = [("date", "yesterday"), ("cache-control", "max-age=60")];
    assert!(is_hit(&World::strict(), &response, 59, &[]).await);
    assert!(!is_hit(&World::strict(), &response, 60, &[]).await);
    assert!(!is_hit(&World::kubectl(), &response, 0, &[]).await);
}

/// RFC 9211 §2.
#[tokio::test]
async fn cache_status() {
    let world = World::new(|layer| layer.marker(CacheStatus::new("Example").unwrap()));
    let status = |got: &common::Got| {
        let lines = got.headers.get_all("cache-status").iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
        lines.join(", ")
    };
    let response = [
        ("cache-control", "max-age=60, stale-if-error=60"),
        ("etag", "\"1\""),
        ("cache-status", "Origin; hit"),
    ];
    world.server.ok(&response, "one");
    let first = world.get(&[]).await;
    assert_eq!(status(&first), "Origin; hit, Example; fwd=uri-miss; stored");
    let hit = world.get(&[]).await;
    assert_eq!(status(&hit), "Origin; hit, Example; hit; ttl=60");
    world.server.answer(304, &response[..1], "");
    let forced = world.get(&[("cache-control", "no-cache")]).await;
    let expected = "Origin; hit, Example; fwd=request; fwd-status=304; ttl=60";
    assert_eq!(status(&forced), expected);

    world.pass(90);
    let stale = world.get(&[("cache-control", "max-stale")]).await;
    assert_eq!(status(&stale), "Origin; hit, Example; hit; ttl=-30");
    world.server.answer(503, &[], "");
    let error = world.get(&[]).await;
    let expected = "Origin; hit, Example; fwd=stale; fwd-status=503; ttl=-30";
    assert_eq!(status(&error), expected);
    world.server.fail();
    let unreachable = world.get(&[]).await;
    let expected = "Origin; hit, Example; fwd=stale; ttl=-30; detail=\"unreachable\"";
    assert_eq!(status(&unreachable), expected);
    world.server.answer(304, &response[..1], "");
    let validated = world.get(&[]).await;
    let expected = "Origin; hit, Example; fwd=stale; fwd-status=304; ttl=60";
    assert_eq!(status(&validated), expected);

    world.pass(60);
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(
        status(&world.get(&only).await),
        "Example; detail=\"only-if-cached\""
    );
    world.server.ok(&[("cache-control", "no-store")], "two");
    assert_eq!(status(&world.get(&[]).await), "Example; fwd=stale");
    world.server.answer(201, &[], "");
    let post = world
        .send(common::request(Method::POST, &[]))
        .await
        .unwrap();
    assert_eq!(status(&post), "Example; fwd=method");
    world.server.ok(&[], "two");
    let bypass = world.get(&[("if-match", "\"1\"")]).await;
    let detail = "conditional-request";
    assert_eq!(
        status(&bypass),
        format!("Example; fwd=bypass; detail=\"{detail}\"")
    );

    let vary = [("cache-control", "max-age=60"), ("vary", "accept")];
    for (accept, expected) in [("a", "uri-miss"), ("b", "vary-miss")] {
        world.server.ok(&vary, "two");
        let got = world.get(&[("accept", accept)]).await;
        assert_eq!(status(&got), format!("Example; fwd={expected}; stored"));
    }
    for name in ["", "1", "a b", "a,b", "\u{e9}"] {
        assert!(CacheStatus::new(name).is_none(), "{name}");
    }

    let marker = CacheStatus::new("Example").unwrap().show_key(true);
    let key = |_: &Method, _: &Uri, _: &HeaderMap| Some("a \"b\" \\".to_owned());
    let world = World::new(|layer| layer.marker(marker).key(key));
    world.server.ok(&[], "one");
    let got = world.get(&[]).await;
    assert_eq!(status(&got), r#"Example; fwd=uri-miss; key="a \"b\" \\""#);
}

/// The policy says how long, and nothing else.
#[tokio::test]
async fn lifetimes_by_policy() {
    let policy = |key: &str, stored: &response::Parts, said: Duration| {
        assert_eq!((key, stored.status.as_u16()), (common::URI, 200));
        said.max(Duration::from_secs(100))
    };
    for (cc, elapsed, expected) in [
        ("public", 99, true),
        ("public", 100, false),
        ("max-age=10", 99, true),
        ("max-age=200", 199, true),
        ("no-cache", 0, false),
        ("max-age=10, must-revalidate", 99, true),
        ("no-store", 0, false),
    ] {
        for world in [
            World::new(|layer| layer.lifetime(policy)),
            World::new(|layer| layer.lifetime(policy).kubectl()),
        ] {
            // Without a validator, it is the lifetime that makes it worth storing.
            world.server.ok(&[("cache-control", cc)], "one");
            world.get(&[]).await;
            world.pass(elapsed);
            world.server.ok(&[("cache-control", cc)], "two");
            let hit = world.get(&[]).await.asked.is_none();
            assert_eq!(hit, expected, "{cc} after {elapsed}");
        }
    }
}

/// RFC 9111 §1.2.2: what is sent can be read by everybody.
#[tokio::test]
async fn ages_that_are_too_large() {
    let world = World::strict();
    let response = [
        ("cache-control", "max-age=99999999999"),
        ("age", "9999999999"),
    ];
    world.server.ok(&response, "one");
    world.get(&[]).await;
    let hit = world.get(&[]).await;
    assert_eq!(
        (hit.asked.is_none(), hit.header("age")),
        (true, Some("2147483648"))
    );
}

#[tokio::test]
async fn only_if_cached_never_asks() {
    let world = World::kubectl();
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(world.get(&only).await.status, StatusCode::GATEWAY_TIMEOUT);
    world.server.ok(&[("cache-control", "max-age=60")], "one");
    world.get(&[]).await;
    assert_eq!(world.get(&only).await.body, "one");
    world.pass(60);
    assert_eq!(world.get(&only).await.status, StatusCode::GATEWAY_TIMEOUT);
    // And the answer that the cache made up is not stored.
    assert_eq!(
        world.get(&[("cache-control", "max-stale")]).await.body,
        "one"
    );
}

#[tokio::test]
async fn ages_and_marks() {
    let response = [("cache-control", "max-age=60"), ("age", "7")];
    let world = World::strict();
    world.server.ok(&response, "one");
    assert_eq!(world.get(&[]).await.header("age"), Some("7"));
    world.pass(5);
    let hit = world.get(&[]).await;
    assert_eq!(hit.header("age"), Some("12"));
    assert_eq!(hit.header("x-from-cache"), None);
    assert_eq!(
        hit.header("date"),
        Some(&*date(0)),
        "a missing Date is the time of receipt"
    );

    let world = World::kubectl();
    world.server.ok(&response[..1], "one");
    assert_eq!(world.get(&[]).await.header("x-from-cache"), None);
    world.pass(5);
    let hit = world.get(&[]).await;
    assert_eq!(
        (hit.header("age"), hit.header("x-from-cache")),
        (None, Some("1"))
    );
}

#[tokio::test]
async fn fields_that_need_validation_are_left_out() {
    let world = World::strict();
    let cc = ("cache-control", "max-age=60, no-cache=\"Set-Cookie\"");
    world
        .server
        .ok(&[cc, ("set-cookie", "a=b"), ("etag", "\"1\"")], "one");
    assert_eq!(world.get(&[]).await.header("set-cookie"), Some("a=b"));
    assert_eq!(world.get(&[]).await.header("set-cookie"), None);
    world.server.answer(304, &[], "");
    let validated = world.get(&[("cache-control", "no-cache")]).await;
    assert_eq!(validated.header("set-cookie"), Some("a=b"));
}

#[tokio::test]
async fn the_options_of_a_layer_are_its_own() {
    let expires = date(60).replace("GMT", "EST");
    let strict = World::strict();
    let lenient = strict.layer.clone().lenient_dates(true);
    strict
        .server
        .ok(&[("expires", &expires), ("etag", "\"1\"")], "one");
    strict.get(&[]).await;

    let service = tower::Layer::layer(&lenient, strict.server.clone());
    let hit = tower::ServiceExt::oneshot(service, get(&[])).await.unwrap();
    assert_eq!(hit.status(), 200);
    assert_eq!(strict.stats().hits, 1, "the handle is shared");
    strict.server.ok(&[], "two");
    assert_eq!(strict.get(&[]).await.body, "two");
    let _: HttpCacheLayer<_> = lenient;
}
