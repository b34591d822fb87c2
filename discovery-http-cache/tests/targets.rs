//! The resource that a request is about: its URI, its `Host`, and redirects that were followed.

mod common;

use common::{Got, World};
use discovery_http_cache::{CacheStatus, HttpCacheLayer};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Uri, response};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

async fn send(world: &World, method: &str, uri: &str, hosts: &[&str]) -> Got {
    let mut request = Request::builder().method(method).uri(uri);
    for host in hosts {
        request = request.header("host", *host);
    }
    world
        .send(request.body(common::empty()).unwrap())
        .await
        .unwrap()
}

fn marked(
    configure: impl FnOnce(
        HttpCacheLayer<discovery_core::store::MapStore>,
    ) -> HttpCacheLayer<discovery_core::store::MapStore>,
) -> World {
    World::new(|layer| configure(layer).marker(CacheStatus::new("C").unwrap()))
}

/// RFC 9110 §4.2.3, RFC 3986 §6.2.
#[tokio::test]
async fn equivalent_uris_share_an_entry_and_its_end() {
    let forms = [
        "http://h/~a/b?q=%C3%A9",
        "http://H:80/%7ea/b?q=%c3%a9",
        "http://h:/x/../%7Ea/./b?q=%C3%A9",
    ];
    for first in forms {
        for change in forms {
            let world = World::strict();
            world.server.ok(&[FRESH], "one");
            assert!(send(&world, "GET", first, &[]).await.asked.is_some());
            for form in forms {
                assert!(
                    send(&world, "GET", form, &[]).await.asked.is_none(),
                    "{form}"
                );
            }
            world.server.answer(204, &[], "");
            send(&world, "POST", change, &[]).await;
            assert!(world.store.is_empty(), "{first} {change}");
        }
    }
}

/// RFC 9110 §9.2.1.
#[tokio::test]
async fn safe_methods_invalidate_nothing() {
    for (method, invalidates) in [
        ("QUERY", false),
        ("PROPFIND", false),
        ("REPORT", false),
        ("SEARCH", false),
        ("OPTIONS", false),
        ("POST", true),
        ("query", true),
    ] {
        let world = World::strict();
        world.server.ok(&[FRESH], "one");
        send(&world, "GET", "http://h/", &[]).await;
        world.server.ok(&[], "two");
        assert_eq!(send(&world, method, "http://h/", &[]).await.body, "two");
        assert_eq!(world.store.is_empty(), invalidates, "{method}");
    }
}

/// RFC 9110 §7.2: below the cache the server answers for the host in the field.
#[tokio::test]
async fn a_host_that_is_another_than_the_uri_s_bypasses_the_cache() {
    for presets in [false, true] {
        let world = marked(|layer| match presets {
            true => layer.kubectl().cacheable(|_: &http::request::Parts| true),
            false => layer,
        });
        world.server.ok(&[FRESH], "one");
        send(&world, "GET", "http://h/a", &["h"]).await;
        for hosts in [&[][..], &["h"], &["H:80"], &["h:"]] {
            let got = send(&world, "GET", "http://h/a", hosts).await;
            assert!(got.asked.is_none(), "{hosts:?}");
        }
        for hosts in [
            &["other"][..],
            &[""],
            &["h", "h"],
            &["h", "other"],
            &["h:81"],
            &["u@h"],
        ] {
            world.server.ok(&[FRESH], "of another");
            let got = send(&world, "GET", "http://h/a", hosts).await;
            assert_eq!(got.body, "of another", "{hosts:?}");
            let status = got.header("cache-status").unwrap();
            assert_eq!(status, "C; fwd=bypass; detail=\"host\"");
        }
        assert_eq!(world.store.len(), 1);
        assert_eq!(send(&world, "GET", "http://h/a", &[]).await.body, "one");
        // A change may be one of either.
        world.server.answer(204, &[], "");
        send(&world, "PUT", "http://other/a", &["h"]).await;
        assert!(world.store.is_empty());
    }
}

#[tokio::test]
async fn in_front_of_a_server_each_host_has_its_entries() {
    let world = marked(|layer| layer.authority_from_host(Scheme::HTTP));
    for host in ["one", "two"] {
        world.server.ok(&[FRESH], host);
        assert!(send(&world, "GET", "/a", &[host]).await.asked.is_some());
    }
    for (host, body) in [("one", "one"), ("TWO:80", "two"), ("one:", "one")] {
        let got = send(&world, "GET", "/a", &[host]).await;
        assert_eq!(
            (got.asked.is_none(), &got.body[..]),
            (true, body.as_bytes())
        );
    }
    for hosts in [&[][..], &[""], &["one", "one"], &["one/two"]] {
        world.server.ok(&[FRESH], "bad request");
        let got = send(&world, "GET", "/a", hosts).await;
        let status = got.header("cache-status").unwrap();
        assert_eq!(status, "C; fwd=bypass; detail=\"host\"", "{hosts:?}");
    }
    world.server.answer(204, &[], "");
    send(&world, "DELETE", "/a", &["one"]).await;
    assert_eq!(world.store.all_keys(), ["http://two/a"]);
}

#[tokio::test]
async fn relative_uris_bypass_the_cache_and_say_so() {
    let world = marked(|layer| layer);
    world.server.ok(&[FRESH], "one");
    let got = send(&world, "GET", "/a", &["h"]).await;
    let status = got.header("cache-status").unwrap();
    assert_eq!(status, "C; fwd=bypass; detail=\"relative-uri\"");

    // The page of one host is not that of another.
    let authority = Authority::from_static("h");
    let world = marked(|layer| layer.authority(Scheme::HTTP, authority));
    for (hosts, body, hit) in [
        (&["h"][..], "one", false),
        (&["other"], "other", false),
        (&[], "one", true),
    ] {
        if !hit {
            world.server.ok(&[FRESH], body);
        }
        let got = send(&world, "GET", "/a", hosts).await;
        assert_eq!((got.asked.is_none(), &got.body[..]), (hit, body.as_bytes()));
    }
}

/// The extension that a layer leaves which follows redirects.
#[derive(Clone)]
struct RequestUri(Uri);

fn follower(world: &World, status: u16, fields: &[(&str, &str)], body: &'static str, uri: &str) {
    let mut response = common::response(status, fields, http_body_util::Full::from(body));
    let uri = RequestUri(uri.parse().unwrap());
    response.extensions_mut().insert(uri);
    world.server.respond(response);
}

#[tokio::test]
async fn the_end_of_a_redirect_is_no_answer_to_its_beginning() {
    let world = World::new(|layer| {
        layer.response_uri(|response: &response::Parts| {
            Some(response.extensions.get::<RequestUri>()?.0.clone())
        })
    });
    let get = || send(&world, "GET", "http://h/a", &[]);
    for target in ["http://h/b", "/b", "http://other/a"] {
        follower(&world, 200, &[FRESH], "elsewhere", target);
        assert_eq!(get().await.body, "elsewhere");
        assert!(world.store.is_empty(), "{target}");
    }
    follower(
        &world,
        200,
        &[FRESH, ("etag", "\"1\"")],
        "here",
        "http://H:80/a",
    );
    assert_eq!(get().await.body, "here");
    assert_eq!(get().await.body, "here");

    // Neither does it take the entry's place, nor does it confirm it for later requests.
    world.pass(61);
    follower(&world, 200, &[FRESH], "elsewhere", "/b");
    assert_eq!(get().await.body, "elsewhere");
    assert_eq!(world.store.len(), 1);
    follower(&world, 304, &[FRESH, ("etag", "\"1\"")], "", "/b");
    assert_eq!(get().await.body, "here");
    world.server.ok(&[FRESH], "new");
    let got = get().await;
    assert_eq!(
        (&got.body[..], got.asked("if-none-match")),
        (&b"new"[..], None)
    );
    let head = send(&world, Method::HEAD.as_str(), "http://h/a", &[]).await;
    assert!(head.asked.is_none());
}
