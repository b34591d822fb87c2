//! Stored responses, their keys, and Vary.

mod common;

use common::{Piece, Pieces, URI, World, date, request, response};
use discovery_core::http::dump::Uncompressed;
use discovery_core::store::{Store, Value};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version, request as req};
use http_body_util::Full;
use tower::ServiceExt;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test]
async fn what_is_stored() {
    let tag = ("etag", "\"1\"");
    let table = [
        // (status, response, strict, kubectl)
        (200, vec![FRESH], true, true),
        (
            200,
            vec![("cache-control", "no-cache, private"), tag],
            true,
            true,
        ),
        // Nothing can be done with these, but kubectl has them.
        (
            200,
            vec![("cache-control", "no-cache, private")],
            false,
            true,
        ),
        (200, vec![], false, true),
        (200, vec![("last-modified", "x")], true, true),
        (
            200,
            vec![("cache-control", "no-store, max-age=60")],
            false,
            false,
        ),
        (
            200,
            vec![FRESH, ("cache-control", "no-store")],
            false,
            false,
        ),
        (
            200,
            vec![("cache-control", "no-store, max-age=60, must-understand")],
            true,
            true,
        ),
        (200, vec![FRESH, ("vary", "Accept")], true, true),
        (200, vec![FRESH, ("vary", "*")], false, false),
        (
            200,
            vec![FRESH, ("vary", "Accept"), ("vary", "x, authorization")],
            false,
            false,
        ),
        (200, vec![FRESH, ("vary", "Cookie")], false, false),
        (200, vec![FRESH, ("vary", "Impersonate-User")], false, false),
        (
            200,
            // It means nothing here (RFC 9110 §14.4).
            vec![FRESH, ("content-range", "bytes 0-2/9")],
            true,
            true,
        ),
        (200, vec![FRESH, ("content-length", "4")], false, false),
        (
            200,
            vec![FRESH, ("content-length", "3"), ("content-length", "4")],
            false,
            false,
        ),
        (200, vec![FRESH, ("content-length", "+3")], false, false),
        (206, vec![FRESH], false, false),
        (304, vec![FRESH], false, false),
        // RFC 9111 §3: any final status, if it says for how long it is fresh. kubectl's preset
        // keeps what discovery can use.
        (203, vec![FRESH], true, false),
        (301, vec![FRESH], true, false),
        (404, vec![FRESH], true, false),
        (500, vec![FRESH], true, false),
        (503, vec![FRESH], true, false),
        (504, vec![FRESH], true, false),
        (599, vec![FRESH], true, false),
        (404, vec![("cache-control", "no-cache"), tag], false, false),
        // RFC 9111 §5.2.2.3.
        (
            599,
            vec![("cache-control", "max-age=60, must-understand")],
            false,
            false,
        ),
        (
            404,
            vec![("cache-control", "max-age=60, must-understand, no-store")],
            true,
            false,
        ),
    ];
    for (status, headers, strict, kubectl) in table {
        for (world, expected) in [(World::strict(), strict), (World::kubectl(), kubectl)] {
            world.server.answer(status, &headers, "one");
            let got = world
                .get(&[("authorization", "secret"), ("cookie", "secret")])
                .await;
            assert_eq!((got.status.as_u16(), &got.body[..]), (status, &b"one"[..]));
            assert_eq!(
                world.store.len(),
                usize::from(expected),
                "{status} {headers:?}"
            );
            assert_eq!(world.stats().stores, u64::from(expected));
            if let Some(stored) = world.stored(URI).await {
                assert!(!stored.contains("secret"));
            }
        }
    }
}

#[tokio::test]
async fn what_an_entry_looks_like() {
    let headers = [
        ("etag", "\"1\""),
        ("date", &*date(0)),
        ("cache-control", "public"),
        ("vary", "Accept, X-None"),
        ("vary", "X-Two"),
        ("audit-id", "a"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("x-varied-accept", "forged"),
        ("x-from-cache", "1"),
    ];
    let rest = format!(
        "Audit-Id: a\r\nCache-Control: public\r\nDate: {}\r\nEtag: \"1\"\r\nVary: Accept, X-None\r\nVary: X-Two\r\n\
         X-Varied-Accept: application/json\r\nX-Varied-X-Two: 1, 2\r\n\r\n",
        date(0)
    );
    let request = [
        ("accept", "application/json"),
        ("x-two", "1"),
        ("x-two", " 2"),
    ];
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let line = if version == Version::HTTP_2 {
            "HTTP/2.0"
        } else {
            "HTTP/1.1"
        };
        for (framing, first, body) in [
            ("length", "Content-Length: 3\r\n", "abc"),
            ("exact", "Content-Length: 3\r\n", "abc"),
            ("bare", "", "abc"),
            ("unknown", "Connection: close\r\n", "abc"),
            (
                "chunked",
                "Transfer-Encoding: chunked\r\n",
                "3\r\nabc\r\n0\r\n\r\n",
            ),
        ] {
            if framing == "chunked" && version == Version::HTTP_2 {
                continue;
            }
            let world = World::kubectl();
            let mut answer = response(200, &headers, Full::from("abc"));
            *answer.version_mut() = version;
            match framing {
                "length" => drop(answer.headers_mut().insert("content-length", 3.into())),
                "chunked" => drop(
                    answer
                        .headers_mut()
                        .insert("transfer-encoding", "chunked".parse().unwrap()),
                ),
                "bare" => drop(answer.extensions_mut().insert(Uncompressed)),
                _ => {}
            }
            if framing == "unknown" {
                world
                    .server
                    .respond(answer.map(|_| Pieces::new([Piece::Data("abc")])));
            } else {
                world.server.respond(answer);
            }
            let got = world.get(&request).await;
            // Not touched on the way to the caller.
            assert_eq!(got.header("x-hop"), Some("1"));
            let stored = world.stored(URI).await.unwrap();
            assert_eq!(
                stored,
                format!("{line} 200 OK\r\n{first}{rest}{body}"),
                "{framing}"
            );

            // And it is found again.
            world.server.answer(304, &[], "");
            let again = world.get(&request).await;
            assert_eq!(
                (again.asked("if-none-match"), &again.body[..]),
                (Some("\"1\""), &b"abc"[..])
            );
            assert_eq!(again.header("x-hop"), None);
        }
    }
}

/// Transfer-Encoding overrides Content-Length, which must not be forwarded then (RFC 9112 §6.3).
#[tokio::test]
async fn a_length_beside_a_transfer_encoding_is_none() {
    for length in ["1", "3", "300", "odd"] {
        for world in [World::strict(), World::kubectl()] {
            let headers = [
                ("cache-control", "max-age=100"),
                ("date", &date(0)),
                ("content-length", length),
                ("transfer-encoding", "chunked"),
            ];
            let body = Pieces::new([Piece::Data("a"), Piece::Data("bc")]);
            world.server.respond(response(200, &headers, body));
            let got = world.get(&[]).await;
            assert_eq!(
                (&got.body[..], got.header("content-length")),
                (&b"abc"[..], None)
            );
            let again = world.get(&[]).await;
            assert_eq!(
                (&again.body[..], again.asked.is_some()),
                (&b"abc"[..], false),
                "{length}"
            );
        }
    }
}

#[tokio::test]
async fn entries_are_named_by_the_uri_or_as_kubectl_or_the_user_does() {
    let uri = "HTTPS://u:p@H:6443/a/b/./c/?z=1&a=2";
    for (world, expected) in [
        (World::strict(), "https://u:p@h:6443/a/b/c/?z=1&a=2"),
        (
            World::new(|layer| layer.kubectl().cacheable(|_: &req::Parts| true)),
            "https://u:p@H:6443/a/b/c/?a=2&z=1",
        ),
        (
            World::new(|layer| {
                layer.key(|_: &Method, uri: &Uri, _: &HeaderMap| Some(uri.path().to_owned()))
            }),
            "/a/b/./c/",
        ),
    ] {
        world.server.ok(&[FRESH], "one");
        let request = Request::get(uri).body(common::empty()).unwrap();
        world.send(request).await.unwrap();
        assert_eq!(world.store.all_keys(), [expected]);
    }
}

#[tokio::test]
async fn heads_have_entries_of_their_own() {
    let world = World::kubectl();
    world
        .server
        .answer(200, &[FRESH, ("content-length", "5")], "");
    world.send(request(Method::HEAD, &[])).await.unwrap();
    assert_eq!(world.store.all_keys(), [format!("HEAD {URI}")]);
    let hit = world.send(request(Method::HEAD, &[])).await.unwrap();
    assert!(hit.asked.is_none());
    assert_eq!(
        (hit.header("content-length"), &hit.body[..]),
        (Some("5"), &b""[..])
    );

    world.server.ok(&[FRESH], "abcde");
    assert!(world.get(&[]).await.asked.is_some());
    assert_eq!(world.store.len(), 2);
}

#[tokio::test]
async fn vary() {
    let table = [
        ("Accept", vec![("accept", "a")], vec![("accept", "a")], true),
        (
            "Accept",
            vec![("accept", "a")],
            vec![("accept", "b")],
            false,
        ),
        ("Accept", vec![("accept", "a")], vec![], false),
        ("Accept", vec![], vec![("accept", "a")], false),
        ("Accept", vec![], vec![], true),
        (
            "Accept, Accept-Encoding",
            vec![("accept", "a")],
            vec![("accept", "a")],
            true,
        ),
        (
            "Accept",
            vec![("accept", "a, b")],
            vec![("accept", "a"), ("accept", "b")],
            true,
        ),
        (
            "Accept",
            vec![("accept", "a"), ("accept", "b")],
            vec![("accept", "a")],
            false,
        ),
        ("X", vec![("accept", "a")], vec![("accept", "b")], true),
    ];
    for (vary, first, second, hit) in table {
        let world = World::kubectl();
        world
            .server
            .ok(&[FRESH, ("vary", vary), ("etag", "\"1\"")], "one");
        world.get(&first).await;
        world.server.ok(&[FRESH, ("vary", vary)], "two");
        let got = world.get(&second).await;
        assert_eq!(got.asked.is_none(), hit, "{vary} {first:?} {second:?}");
        if !hit {
            // The entry of another variant is no reason to ask on a condition.
            assert_eq!(got.asked("if-none-match"), None);
            // The newer variant has taken its place.
            assert_eq!(world.get(&second).await.body, "two");
        }
    }
}

#[tokio::test]
async fn an_error_for_one_variant_leaves_the_other() {
    let world = World::strict();
    world.server.ok(&[FRESH, ("vary", "Accept")], "one");
    world.get(&[("accept", "a")]).await;
    world.server.answer(406, &[], "");
    world.get(&[("accept", "b")]).await;
    assert!(world.get(&[("accept", "a")]).await.asked.is_none());
}

#[tokio::test]
async fn kubectls_entries_answer() {
    let dated = date(-10);
    let utc = date(365 * 86400).replace("GMT", "UTC");
    let head = format!(
        "HTTP/2.0 200 OK\r\nContent-Length: 4\r\nCache-Control: public, immutable\r\nDate: {dated}\r\n\
         Etag: \"1\"\r\nExpires: {utc}\r\nVary: Accept\r\nX-From-Cache: 1\r\nX-Varied-Accept: application/json\r\n\r\nbody"
    );
    let value = Value::new("", head.clone());
    let world = World::kubectl();
    world.store.put(URI, value).await.unwrap();
    let hit = world.get(&[("accept", "application/json")]).await;
    assert!(hit.asked.is_none());
    assert_eq!((hit.status, &hit.body[..]), (StatusCode::OK, &b"body"[..]));
    assert_eq!(hit.header("x-varied-accept"), None);
    assert_eq!(hit.header("x-from-cache"), Some("1"));

    // Strictly read, the date is none, and the response has expired.
    let world = World::strict();
    world.store.put(URI, Value::new("", head)).await.unwrap();
    world.server.answer(304, &[], "");
    let validated = world.get(&[("accept", "application/json")]).await;
    assert_eq!(
        (validated.asked("if-none-match"), &validated.body[..]),
        (Some("\"1\""), &b"body"[..])
    );
    assert_eq!(validated.header("x-from-cache"), None);
}

#[tokio::test]
async fn garbage_under_a_key_is_a_miss() {
    let garbage = [
        "",
        "garbage",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nCache-Control: max-age=60\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        // kubectl stores errors; they are never served.
        "HTTP/2.0 404 Not Found\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n\r\n",
    ];
    for entry in garbage {
        let world = World::kubectl();
        world.store.put(URI, Value::new("", entry)).await.unwrap();
        world.server.ok(&[FRESH], "one");
        let got = world.get(&[]).await;
        assert!(got.asked.is_some(), "{entry}");
        assert_eq!(world.get(&[]).await.body, "one", "and it is replaced");
        assert_eq!(world.stats().errors, u64::from(!entry.contains("404")));
    }
}

#[tokio::test]
async fn another_process_may_replace_an_entry_at_any_time() {
    let world = World::kubectl();
    world.server.ok(&[FRESH], "one");
    world.get(&[]).await;
    let one = world.store.get(URI).await.unwrap().unwrap();
    for (from, to) in [
        ("one", "two"),
        ("max-age=60", "max-age=61"),
        ("max-age=60", "max-age=00"),
    ] {
        assert_eq!(world.get(&[]).await.body, "one");
        let text = String::from_utf8(one.clone().into_bytes().to_vec()).unwrap();
        world
            .store
            .put(URI, Value::new("", text.replace(from, to)))
            .await
            .unwrap();
        match to {
            "two" => assert_eq!(world.get(&[]).await.body, "two"),
            "max-age=61" => assert!(world.get(&[]).await.asked.is_none()),
            _ => {
                world.server.fail();
                assert!(world.send(request(Method::GET, &[])).await.is_err());
            }
        }
        world.store.put(URI, one.clone()).await.unwrap();
    }
}

/// A response on another version of HTTP, or one that claims to be, is served with a version that everybody knows.
#[tokio::test]
async fn versions() {
    for (version, expected) in [
        (Version::HTTP_10, Version::HTTP_10),
        (Version::HTTP_2, Version::HTTP_2),
        (Version::HTTP_3, Version::HTTP_11),
        (Version::HTTP_09, Version::HTTP_11),
    ] {
        let world = World::strict();
        let mut answer = response(200, &[FRESH], Full::from("one"));
        *answer.version_mut() = version;
        world.server.respond(answer);
        world.get(&[]).await;
        let hit = world
            .service
            .clone()
            .oneshot(common::get(&[]))
            .await
            .unwrap();
        assert_eq!(hit.version(), expected);
        let line = format!("{expected:?} ");
        assert!(world.stored(URI).await.unwrap().starts_with(&line[..6]));
    }
    let world = World::strict();
    let head = format!(
        "HTTP/3.0 200 OK\r\nCache-Control: max-age=60\r\nDate: {}\r\nContent-Length: 3\r\n\r\none",
        date(0)
    );
    world.store.put(URI, Value::new("", head)).await.unwrap();
    let hit = world
        .service
        .clone()
        .oneshot(common::get(&[]))
        .await
        .unwrap();
    assert_eq!(hit.version(), Version::HTTP_11);
}
