//! Revalidation, and what a 304 changes.

mod common;

use common::{Broken, URI, World, date, get};
use http::{Method, StatusCode};

const CC: (&str, &str) = ("cache-control", "no-cache, private");

#[tokio::test]
async fn asks_by_the_stored_validators() {
    let modified = date(-100);
    let both = [CC, ("etag", "\"1\""), ("last-modified", &*modified)];
    for (response, tag, since) in [
        (&both[..], Some("\"1\""), Some(&*modified)),
        (&both[..2], Some("\"1\""), None),
        (&[CC, both[2]][..], None, Some(&*modified)),
        (&[CC, ("etag", "W/\"1\"")][..], Some("W/\"1\""), None),
        // Verbatim, even if it is no date.
        (
            &[CC, ("last-modified", "yesterday")][..],
            None,
            Some("yesterday"),
        ),
    ] {
        let world = World::strict();
        world.server.ok(response, "one");
        let first = world.get(&[("accept", "a")]).await;
        assert_eq!(
            (
                first.asked("if-none-match"),
                first.asked("if-modified-since")
            ),
            (None, None)
        );
        world.server.answer(304, &[], "");
        let second = world.get(&[("accept", "a")]).await;
        assert_eq!(
            (
                second.asked("if-none-match"),
                second.asked("if-modified-since")
            ),
            (tag, since)
        );
        assert_eq!(second.asked("accept"), Some("a"));
        assert_eq!(
            (second.status, &second.body[..]),
            (StatusCode::OK, &b"one"[..])
        );
        assert_eq!(world.stats().revalidations, 1);
    }
}

#[tokio::test]
async fn a_304_updates_the_headers() {
    let world = World::kubectl();
    let stored = [
        CC,
        ("etag", "\"1\""),
        ("x-keep", "1"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("vary", "Accept"),
        ("vary", "Accept-Encoding"),
        ("content-type", "text/plain"),
        ("content-length", "3"),
    ];
    world.server.ok(&stored, "one");
    world
        .get(&[("accept", "a"), ("accept-language", "l")])
        .await;
    let update = [
        ("x-twice", "3"),
        ("x-new", "1"),
        ("vary", "Accept, Accept-Language"),
        // Not for the entry.
        ("connection", "x-hop, keep-alive"),
        ("x-hop", "1"),
        ("keep-alive", "1"),
        ("proxy-authenticate", "1"),
        ("te", "1"),
        ("upgrade", "1"),
        ("transfer-encoding", "chunked"),
        ("content-length", "0"),
        ("content-encoding", "gzip"),
    ];
    world.server.answer(304, &update, "");
    let got = world
        .get(&[("accept", "a"), ("accept-language", "l")])
        .await;
    assert_eq!(got.body, "one");
    let stored = world.stored(URI).await.unwrap();
    assert_eq!(
        stored,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nCache-Control: no-cache, private\r\nContent-Type: text/plain\r\n\
             Date: {}\r\nEtag: \"1\"\r\nVary: Accept, Accept-Language\r\nX-Keep: 1\r\nX-New: 1\r\nX-Twice: 3\r\n\
             X-Varied-Accept: a\r\nX-Varied-Accept-Language: l\r\n\r\none",
            date(0)
        )
    );
    assert_eq!(got.header("x-new"), Some("1"));
    assert_eq!(got.headers.get_all("x-twice").iter().count(), 1);
    for name in [
        "x-hop",
        "keep-alive",
        "connection",
        "te",
        "upgrade",
        "x-varied-accept",
    ] {
        assert_eq!(got.header(name), None, "{name}");
    }
    assert_eq!(got.header("x-from-cache"), Some("1"));
    assert_eq!(world.stats().stores, 2);
}

#[tokio::test]
async fn a_304_that_changes_nothing_writes_nothing() {
    let table = [
        // (stored, update, whether it is written)
        (CC.1, &[("audit-id", "2")][..], false),
        (
            CC.1,
            &[
                ("audit-id", "2"),
                ("etag", "\"1\""),
                ("cache-control", CC.1),
            ],
            false,
        ),
        (CC.1, &[("x-request-id", "9")], false),
        (CC.1, &[("x-other", "9")], true),
        (CC.1, &[("cache-control", "no-cache")], true),
        // Not older than it seemed to be, and older.
        (CC.1, &[("age", "100")], false),
        (CC.1, &[("age", "101")], true),
        ("public", &[], false),
        // Here the age counts from the date.
        ("max-age=60", &[], true),
        ("stale-if-error=60", &[], true),
    ];
    for (cc, update, written) in table {
        let world = World::kubectl();
        world.server.ok(
            &[
                ("cache-control", cc),
                ("etag", "\"1\""),
                ("audit-id", "1"),
                ("date", &date(0)),
            ],
            "one",
        );
        world.get(&[]).await;
        let before = world.stored(URI).await;
        world.pass(100);
        let now = date(100);
        let mut headers = vec![("date", &*now)];
        headers.extend_from_slice(update);
        world.server.answer(304, &headers, "");
        let got = world.get(&[]).await;
        // The caller gets the new headers in any case.
        assert_eq!(got.header("date"), Some(&*now));
        assert_eq!(
            world.stored(URI).await != before,
            written,
            "{cc} {update:?}"
        );
        assert_eq!(world.stats().stores, 1 + u64::from(written));
    }
}

#[tokio::test]
async fn a_304_makes_fresh_again() {
    for world in [World::strict(), World::kubectl()] {
        world.server.ok(
            &[
                ("cache-control", "max-age=60"),
                ("etag", "\"1\""),
                ("date", &date(-5)),
                ("age", "9"),
            ],
            "one",
        );
        world.get(&[]).await;
        world.pass(70);
        world
            .server
            .answer(304, &[("cache-control", "max-age=50")], "");
        assert_eq!(world.get(&[]).await.body, "one");
        world.pass(49);
        assert!(world.get(&[]).await.asked.is_none());
        world.pass(1);
        world.server.answer(304, &[], "");
        assert!(world.get(&[]).await.asked.is_some());
    }
}

#[tokio::test]
async fn a_304_can_end_an_entry() {
    for update in [
        ("vary", "Authorization"),
        ("cache-control", "no-store"),
        ("vary", "*"),
    ] {
        let world = World::strict();
        world.server.ok(&[CC, ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        world.server.answer(304, &[update], "");
        assert_eq!(world.get(&[("authorization", "secret")]).await.body, "one");
        assert!(world.store.is_empty(), "{update:?}");
    }
}

/// RFC 9111 §4.3.4: the server says that this body will do, and that it now has another. The next request
/// must not validate the old one for ever.
#[tokio::test]
async fn after_a_304_about_another_representation_the_next_request_fetches_anew() {
    let world = World::strict();
    world.server.ok(&[CC, ("etag", "\"1\"")], "one");
    world.get(&[]).await;
    world
        .server
        .answer(304, &[("etag", "\"2\""), ("x-new", "1")], "");
    let got = world.get(&[]).await;
    assert_eq!((&got.body[..], got.header("x-new")), (&b"one"[..], None));
    assert!(world.store.is_empty());
    world.server.ok(&[CC, ("etag", "\"2\"")], "two");
    let got = world.get(&[]).await;
    assert_eq!(
        (&got.body[..], got.asked("if-none-match")),
        (&b"two"[..], None)
    );

    // Nobody asked for this one.
    let world = World::strict();
    world.server.answer(304, &[("etag", "\"2\"")], "");
    assert_eq!(world.get(&[]).await.status, StatusCode::NOT_MODIFIED);
    assert!(world.store.is_empty());
}

/// RFC 9110 §8.8.2.2, §8.8.3.2, RFC 9111 §4.3.4. nginx with gzip answers so.
#[tokio::test]
async fn a_304_with_another_form_of_the_etag_refreshes_the_entry() {
    const MINUTE: (&str, &str) = ("cache-control", "max-age=60");
    for (stored, confirmed) in [
        ("W/\"x\"", "\"x\""),
        ("\"x\"", "W/\"x\""),
        ("\"x\"", "\"x\""),
        ("W/\"x\"", "W/\"x\""),
    ] {
        for modified in [None, Some(date(-100))] {
            let fields = |tag| {
                let modified = modified.as_deref().map(|date| ("last-modified", date));
                [Some(MINUTE), Some(("etag", tag)), modified]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
            };
            let world = World::strict();
            world.server.ok(&fields(stored), "one");
            world.get(&[]).await;
            for round in 1..4 {
                world.pass(61);
                let date = date(61 * round);
                let mut fields = fields(confirmed);
                fields.push(("date", &date));
                world.server.answer(304, &fields, "");
                let got = world.get(&[]).await;
                assert!(
                    got.asked("if-none-match")
                        .is_some_and(|tag| tag.contains("\"x\""))
                );
                assert_eq!(got.body, "one");
                for _ in 0..3 {
                    let hit = world.get(&[]).await;
                    assert!(hit.asked.is_none(), "{stored} {confirmed} {modified:?}");
                    // It never says that it is the same, byte for byte, as something that it may not be.
                    let weak = hit.header("etag").unwrap().starts_with("W/");
                    assert_eq!(weak, stored.len() > 3 || confirmed.len() > 3);
                }
            }
        }
    }
}

/// RFC 9111 §4.3.5.
#[tokio::test]
async fn a_head_with_another_form_of_the_etag_keeps_the_answer_to_get() {
    const MINUTE: (&str, &str) = ("cache-control", "max-age=60");
    for (stored, head) in [("W/\"x\"", "\"x\""), ("\"x\"", "W/\"x\"")] {
        for length in ["3", "999"] {
            let world = World::strict();
            world.server.ok(&[MINUTE, ("etag", stored)], "one");
            world.get(&[]).await;
            world.pass(61);
            let date = date(61);
            let fields = [
                MINUTE,
                ("etag", head),
                ("content-length", length),
                ("date", &date),
            ];
            world.server.answer(200, &fields, "");
            let request = common::request(Method::HEAD, &[]);
            let got = world.send(request).await.unwrap();
            assert!(got.asked.is_some());
            assert_eq!(world.store.len(), 1, "{stored} {head}");
            if length == "3" {
                let got = world.get(&[]).await;
                assert_eq!((got.asked.is_none(), &got.body[..]), (true, &b"one"[..]));
            }
        }
    }
}

#[tokio::test]
async fn other_answers_replace_or_remove_the_entry() {
    for status in [200, 203, 204, 301, 404, 410, 500, 503] {
        let world = World::strict();
        world.server.ok(&[CC, ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        world.server.answer(status, &[CC, ("etag", "\"2\"")], "two");
        let got = world.get(&[]).await;
        assert_eq!((got.status.as_u16(), &got.body[..]), (status, &b"two"[..]));
        assert_eq!(world.store.len(), usize::from(status == 200), "{status}");
    }
    // If there is no answer, nothing is known that is newer; kubectl deletes the entry.
    for (world, kept) in [(World::strict(), true), (World::kubectl(), false)] {
        world.server.ok(&[CC, ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        world.server.fail();
        assert_eq!(world.send(get(&[])).await.unwrap_err(), Broken("refused"));
        assert_eq!(world.store.len(), usize::from(kept));
    }
}

/// RFC 9111 §4.3.3.
#[tokio::test]
async fn an_entry_can_outlive_a_failed_validation() {
    for status in [None, Some(500), Some(503), Some(404)] {
        let world = World::new(|layer| layer.keep_on_error(true));
        world.server.ok(&[CC, ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        match status {
            Some(status) => world.server.answer(status, &[], "error"),
            None => world.server.fail(),
        }
        drop(world.send(get(&[])).await);
        assert_eq!(
            world.store.len(),
            usize::from(status != Some(404)),
            "{status:?}"
        );
    }
}

#[tokio::test]
async fn stale_if_error() {
    let table = [
        // (response, request, seconds later, status or failure, whether it is served stale)
        ("max-age=10, stale-if-error=60", "", 70, Some(503), true),
        ("max-age=10, stale-if-error=60", "", 71, Some(503), false),
        ("max-age=10, stale-if-error=60", "", 70, Some(500), true),
        ("max-age=10, stale-if-error=60", "", 70, Some(501), false),
        ("max-age=10, stale-if-error=60", "", 70, Some(404), false),
        ("max-age=10, stale-if-error=60", "", 70, None, true),
        (
            "max-age=10, stale-if-error=60, must-revalidate",
            "",
            70,
            None,
            false,
        ),
        (
            "max-age=10, stale-if-error=60, no-cache",
            "",
            70,
            None,
            false,
        ),
        ("max-age=10, stale-if-error", "", 11, None, false),
        ("max-age=10", "stale-if-error=60", 70, Some(502), true),
        ("max-age=10", "", 11, Some(503), false),
    ];
    for (response, request, elapsed, status, stale) in table {
        let world = World::strict();
        world
            .server
            .ok(&[("cache-control", response), ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        world.pass(elapsed);
        match status {
            Some(status) => world.server.answer(status, &[], "error"),
            None => world.server.fail(),
        }
        let headers = [("cache-control", request)];
        let got = world
            .send(get(if request.is_empty() { &[] } else { &headers }))
            .await;
        let served = got.as_ref().is_ok_and(|got| got.body == "one");
        assert_eq!(served, stale, "{response} {request} {elapsed} {status:?}");
        // An answer removes what it has outdated. No answer outdates nothing.
        assert_eq!(world.store.len(), usize::from(stale || status.is_none()));
        assert_eq!(world.stats().hits, u64::from(stale));
    }
}

#[tokio::test]
async fn kubectls_bare_entry_says_close_after_a_304() {
    let world = World::kubectl();
    let entry = "HTTP/2.0 200 OK\r\nCache-Control: public\r\nEtag: \"1\"\r\n\r\nbody";
    let value = discovery_core::store::Value::new("", entry);
    discovery_core::store::Store::put(&world.store, URI, value)
        .await
        .unwrap();
    world
        .server
        .answer(304, &[("date", &date(0)), ("x-new", "1")], "");
    assert_eq!(world.get(&[]).await.body, "body");
    assert_eq!(
        world.stored(URI).await.unwrap(),
        format!(
            "HTTP/2.0 200 OK\r\nConnection: close\r\nCache-Control: public\r\nDate: {}\r\nEtag: \"1\"\r\nX-New: 1\r\n\r\nbody",
            date(0)
        ),
    );
}
