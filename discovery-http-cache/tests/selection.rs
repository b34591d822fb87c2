//! Conditions, ranges and HEAD, answered from what a GET got.

mod common;

use common::{World, date, get, request};
use http::{Method, StatusCode};

type Fields = &'static [(&'static str, &'static str)];

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const TAG: (&str, &str) = ("etag", "\"1\"");

/// RFC 9111 §4.3.2.
#[tokio::test]
async fn a_fresh_entry_answers_conditions() {
    let modified = date(-100);
    let world = World::strict();
    let stored = [FRESH, TAG, ("last-modified", &*modified), ("x-other", "1")];
    world.server.ok(&stored, "one");
    world.get(&[]).await;
    world.pass(5);
    for condition in [
        ("if-none-match", "\"0\", W/\"1\""),
        ("if-modified-since", &*modified),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let got = world.send(request(method, &[condition])).await.unwrap();
            assert!(got.asked.is_none(), "{condition:?}");
            assert_eq!((got.status, got.body.len()), (StatusCode::NOT_MODIFIED, 0));
            // RFC 9110 §15.4.5.
            assert_eq!(
                (got.header("etag"), got.header("age")),
                (Some("\"1\""), Some("5"))
            );
            assert_eq!(got.header("x-other"), None);
        }
    }
    for condition in [
        ("if-none-match", "\"2\""),
        ("if-modified-since", &*date(-101)),
    ] {
        let got = world.get(&[condition]).await;
        assert_eq!((got.asked.is_none(), &got.body[..]), (true, &b"one"[..]));
    }
    assert_eq!(world.stats().hits, 6);
}

/// RFC 9111 §4.3.3: the client's condition is evaluated on the entry that the server has confirmed.
#[tokio::test]
async fn a_stale_entry_is_validated_for_a_conditional_request() {
    let world = World::strict();
    world.server.ok(&[FRESH, TAG], "one");
    world.get(&[]).await;
    for (condition, status) in [("\"1\"", 304), ("\"0\"", 200)] {
        world.pass(60);
        world.server.answer(304, &[FRESH, TAG], "");
        let got = world.get(&[("if-none-match", condition)]).await;
        assert_eq!(got.asked("if-none-match"), Some("\"1\""));
        assert_eq!(got.status, status, "{condition}");
    }
    // A condition that only the client knows goes through, and so does what is said about it.
    let world = World::strict();
    world.server.ok(&[FRESH], "one");
    world.get(&[]).await;
    world.pass(60);
    world.server.answer(304, &[("etag", "\"9\"")], "");
    let got = world.get(&[("if-none-match", "\"9\"")]).await;
    assert_eq!(
        (got.asked("if-none-match"), got.status.as_u16()),
        (Some("\"9\""), 304)
    );
    assert_eq!(
        world.store.len(),
        1,
        "a 304 about the client's copy says nothing of ours"
    );
}

/// RFC 9110 §14.2, §15.3.7, §15.5.17.
#[tokio::test]
async fn ranges_of_a_complete_entry() {
    let world = World::strict();
    let stored = [
        FRESH,
        TAG,
        ("content-length", "10"),
        ("content-type", "text/plain"),
    ];
    world.server.ok(&stored, "0123456789");
    world.get(&[]).await;
    type Row = (Fields, u16, &'static str, Option<&'static str>);
    let table: &[Row] = &[
        (&[("range", "bytes=2-4")], 206, "234", Some("bytes 2-4/10")),
        (&[("range", "bytes=8-")], 206, "89", Some("bytes 8-9/10")),
        (&[("range", "bytes=-1")], 206, "9", Some("bytes 9-9/10")),
        (&[("range", "bytes=10-")], 416, "", Some("bytes */10")),
        (&[("range", "bytes=0-1,4-5")], 200, "0123456789", None),
        (
            &[("range", "bytes=2-4"), ("if-range", "\"1\"")],
            206,
            "234",
            Some("bytes 2-4/10"),
        ),
        (
            &[("range", "bytes=2-4"), ("if-range", "\"2\"")],
            200,
            "0123456789",
            None,
        ),
        (
            &[("range", "bytes=2-4"), ("if-none-match", "\"1\"")],
            304,
            "",
            None,
        ),
    ];
    for (headers, status, body, range) in table {
        let got = world.get(headers).await;
        assert!(got.asked.is_none(), "{headers:?}");
        assert_eq!(
            (got.status.as_u16(), &got.body[..]),
            (*status, body.as_bytes()),
            "{headers:?}"
        );
        assert_eq!(got.header("content-range"), *range);
        let length = got
            .header("content-length")
            .map(|length| length.parse().unwrap());
        assert_eq!(
            length,
            (*status != 304).then_some(body.len()),
            "{headers:?}"
        );
        assert_eq!(
            got.header("content-type").is_some(),
            matches!(status, 200 | 206)
        );
    }
}

/// RFC 9111 §3.3: parts are passed on; what is stored stays as it is.
#[tokio::test]
async fn ranges_that_the_server_answers() {
    let range = ("range", "bytes=0-1");
    let world = World::strict();
    world
        .server
        .answer(206, &[FRESH, ("content-range", "bytes 0-1/3")], "on");
    let got = world.get(&[range]).await;
    assert_eq!(
        (got.status.as_u16(), got.asked("range")),
        (206, Some("bytes=0-1"))
    );
    assert!(world.store.is_empty());
    // A server need not know ranges; then the answer is whole.
    world.server.ok(&[FRESH], "one");
    world.get(&[range]).await;
    assert_eq!(world.get(&[]).await.body, "one");

    // Stale, without validators: the server's answer about a part is no news.
    world.pass(60);
    world
        .server
        .answer(206, &[FRESH, ("content-range", "bytes 0-1/3")], "on");
    world.get(&[range]).await;
    assert_eq!(world.store.len(), 1);

    // With a validator, a 304 makes the part fresh, and a 206 says that the entry is not.
    let world = World::strict();
    world.server.ok(&[FRESH, TAG], "one");
    world.get(&[]).await;
    world.pass(60);
    world.server.answer(304, &[FRESH, TAG], "");
    assert_eq!(world.get(&[range]).await.body, "on");
    world.pass(60);
    world.server.answer(206, &[FRESH, ("etag", "\"2\"")], "tw");
    assert_eq!(world.get(&[range]).await.body, "tw");
    assert!(world.store.is_empty());
}

/// RFC 9110 §15.5.17: what is said about a range is not the resource.
#[tokio::test]
async fn the_refusal_of_a_range_is_not_stored() {
    for status in [416, 404, 204, 206] {
        let world = World::strict();
        world
            .server
            .answer(status, &[FRESH, ("content-range", "bytes */3")], "");
        let got = world.get(&[("range", "bytes=9-")]).await;
        assert_eq!(got.status, status);
        assert!(world.store.is_empty(), "{status}");
        world.server.ok(&[FRESH], "one");
        assert_eq!(world.get(&[]).await.body, "one");
    }
}

/// RFC 9110 §9.3.2.
#[tokio::test]
async fn head_is_answered_from_get() {
    let world = World::strict();
    world
        .server
        .ok(&[FRESH, ("content-length", "3"), ("x-a", "1")], "one");
    world.get(&[]).await;
    let got = world.send(request(Method::HEAD, &[])).await.unwrap();
    assert!(got.asked.is_none());
    assert_eq!(
        (got.header("content-length"), got.body.len()),
        (Some("3"), 0)
    );
    assert_eq!(got.header("x-a"), Some("1"));

    // And has an entry of its own only without one.
    let world = World::strict();
    world.server.ok(&[FRESH, ("content-length", "3")], "");
    world.send(request(Method::HEAD, &[])).await.unwrap();
    assert!(
        world
            .send(request(Method::HEAD, &[]))
            .await
            .unwrap()
            .asked
            .is_none()
    );
    world.server.ok(&[FRESH], "one");
    assert!(
        world.get(&[]).await.asked.is_some(),
        "GET is not answered from it"
    );
}

/// RFC 9111 §4.3.5.
#[tokio::test]
async fn head_updates_or_removes_a_stored_get() {
    let table: &[(Fields, Fields, bool)] = &[
        (&[], &[], true),
        (&[], &[("content-length", "3")], true),
        (&[], &[("content-length", "4")], false),
        (&[TAG], &[TAG], true),
        (&[TAG], &[("etag", "\"2\"")], false),
        (&[], &[TAG], false),
        (&[("last-modified", "x")], &[("last-modified", "y")], false),
    ];
    for (stored, answer, updated) in table {
        let world = World::strict();
        let with = |fields: Fields, more| [fields, &[FRESH, more]].concat();
        world.server.ok(&with(stored, ("x-a", "1")), "one");
        world.get(&[]).await;
        world.pass(60);
        world.server.ok(&with(answer, ("x-a", "2")), "");
        let got = world.send(request(Method::HEAD, &[])).await.unwrap();
        assert_eq!(got.header("x-a"), Some("2"));
        assert_eq!(
            world.store.len(),
            usize::from(*updated),
            "{stored:?} {answer:?}"
        );
        if *updated {
            let got = world.get(&[]).await;
            assert!(got.asked.is_none());
            assert_eq!((got.header("x-a"), &got.body[..]), (Some("2"), &b"one"[..]));
        }
    }
}

#[tokio::test]
async fn kubectls_preset_leaves_them_alone() {
    for header in [
        ("range", "bytes=0-1"),
        ("if-none-match", "\"1\""),
        ("if-modified-since", "x"),
    ] {
        let world = World::kubectl();
        world.server.ok(&[FRESH, TAG], "one");
        world.get(&[]).await;
        world.server.ok(&[], "two");
        assert_eq!(world.send(get(&[header])).await.unwrap().body, "two");
    }
    let world = World::kubectl();
    world.server.ok(&[FRESH], "one");
    world.get(&[]).await;
    world.server.ok(&[], "");
    assert!(
        world
            .send(request(Method::HEAD, &[]))
            .await
            .unwrap()
            .asked
            .is_some()
    );
}

/// RFC 9110 §9.3.3.
#[tokio::test]
async fn posts_that_answer_gets() {
    const HERE: (&str, &str) = ("content-location", "/apis?timeout=32s");
    let table: &[(Fields, bool)] = &[
        (&[FRESH, HERE], true),
        (
            &[
                FRESH,
                ("content-location", "https://h:6443/apis?timeout=32s"),
            ],
            true,
        ),
        (&[FRESH, ("content-location", "/other")], false),
        (&[FRESH], false),
        (&[HERE], false),
        (&[HERE, FRESH, ("cache-control", "no-store")], false),
        (&[HERE, FRESH, ("vary", "accept")], false),
    ];
    for (headers, stored) in table {
        for on in [true, false] {
            let world = World::new(|layer| layer.cache_posts(on));
            world.server.ok(&[FRESH], "old");
            world.get(&[]).await;
            world.server.ok(headers, "new");
            let got = world.send(request(Method::POST, &[])).await.unwrap();
            assert_eq!(got.body, "new");
            let expected = *stored && on;
            assert_eq!(world.store.len(), usize::from(expected), "{headers:?}");
            if expected {
                assert_eq!(world.get(&[]).await.body, "new");
            }
        }
    }
}
