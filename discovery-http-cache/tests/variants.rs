//! Several variants of a resource under `Vary` (RFC 9111 §4.1).

mod common;

use common::{URI, World, get, request};
use discovery_core::Accept;
use discovery_core::store::Store;
use discovery_http_cache::HttpCacheLayer;
use http::Method;
use tower::{Layer, ServiceExt};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const VARY: (&str, &str) = ("vary", "accept");

async fn fill(world: &World) {
    for (accept, body) in [("a", "one"), ("b", "two"), ("c", "three")] {
        world.server.ok(&[FRESH, VARY, ("etag", "\"1\"")], body);
        let got = world.get(&[("accept", accept)]).await;
        assert_eq!(
            got.asked("if-none-match"),
            None,
            "another variant's ETag says nothing"
        );
    }
}

#[tokio::test]
async fn each_variant_has_an_entry() {
    let world = World::strict();
    fill(&world).await;
    // And one is the list of the others.
    assert_eq!(world.store.len(), 4);
    for (accept, body) in [("a", "one"), ("b", "two"), ("c", "three"), (" c ", "three")] {
        let got = world.get(&[("accept", accept)]).await;
        assert_eq!(
            (got.asked.is_none(), &got.body[..]),
            (true, body.as_bytes())
        );
        assert!(
            got.headers
                .keys()
                .all(|name| !name.as_str().starts_with("x-varied"))
        );
        let head = world
            .send(request(Method::HEAD, &[("accept", accept)]))
            .await
            .unwrap();
        assert!(head.asked.is_none());
    }
    // The first is where one without variants would be.
    assert!(world.stored(URI).await.unwrap().ends_with("one"));

    // kubectl has room for one.
    let world = World::kubectl();
    fill(&world).await;
    assert_eq!(world.store.all_keys(), [URI]);
    assert!(!world.stored(URI).await.unwrap().contains('*'));
}

/// The keys of other variants are made of what requests say.
#[tokio::test]
async fn a_sensitive_value_is_in_no_key() {
    let world = World::strict();
    world.server.ok(&[FRESH, ("vary", "x-token")], "one");
    assert_eq!(world.get(&[]).await.body, "one");
    // This answer no longer says that it varies by it.
    world.server.ok(&[FRESH, ("vary", "accept")], "two");
    let mut secret = get(&[]);
    let mut token = http::HeaderValue::from_static("s3cret");
    token.set_sensitive(true);
    secret.headers_mut().insert("x-token", token);
    assert_eq!(world.send(secret).await.unwrap().body, "two");
    for key in world.store.all_keys() {
        assert!(!key.contains("s3cret"), "{key}");
        assert!(!world.stored(&key).await.unwrap().contains("s3cret"));
    }
}

#[tokio::test]
async fn each_is_validated_for_itself() {
    let world = World::strict();
    fill(&world).await;
    world.pass(60);
    for (accept, body) in [("a", "one"), ("b", "two")] {
        world.server.answer(304, &[FRESH], "");
        let got = world.get(&[("accept", accept)]).await;
        assert_eq!(
            (got.asked("if-none-match"), &got.body[..]),
            (Some("\"1\""), body.as_bytes())
        );
        assert!(world.get(&[("accept", accept)]).await.asked.is_none());
    }
    // An error removes the one that it is about.
    world.server.answer(500, &[], "");
    world.get(&[("accept", "c")]).await;
    assert_eq!(world.store.len(), 3);
    assert!(world.get(&[("accept", "b")]).await.asked.is_none());
}

#[tokio::test]
async fn an_invalidation_removes_all_variants_and_the_loss_of_the_first_removes_no_other() {
    let world = World::strict();
    fill(&world).await;
    world.server.answer(204, &[], "");
    world.send(request(Method::PUT, &[])).await.unwrap();
    assert!(world.store.is_empty(), "{:?}", world.store.all_keys());
    for (accept, body) in [("a", "new a"), ("b", "new b")] {
        world.server.ok(&[FRESH, VARY], body);
        let got = world.get(&[("accept", accept)]).await;
        assert!(got.asked.is_some());
        assert_eq!(got.body, body);
    }
    assert_eq!(world.get(&[("accept", "b")]).await.body, "new b");

    world.store.remove(URI).await.unwrap();
    assert_eq!(world.get(&[("accept", "b")]).await.body, "new b");
    // A response for all requests takes the place of all variants.
    world.server.ok(&[FRESH], "one for all");
    assert_eq!(world.get(&[("accept", "c")]).await.body, "one for all");
    assert_eq!(world.get(&[("accept", "a")]).await.body, "one for all");
}

#[tokio::test]
async fn what_varies_no_longer_takes_the_place_of_all() {
    let world = World::strict();
    fill(&world).await;
    world.server.ok(&[FRESH], "one for all");
    world.get(&[("accept", "d")]).await;
    for accept in ["a", "b", "d"] {
        let got = world.get(&[("accept", accept)]).await;
        assert_eq!(
            (got.asked.is_none(), &got.body[..]),
            (true, &b"one for all"[..]),
            "{accept}"
        );
    }
}

/// Another `Vary` on one of the variants never makes it answer what it should not.
#[tokio::test]
async fn variants_that_vary_by_something_else() {
    let world = World::strict();
    fill(&world).await;
    let both = |accept, language| [("accept", accept), ("accept-language", language)];
    world
        .server
        .ok(&[FRESH, ("vary", "accept, accept-language")], "de");
    world.get(&both("d", "de")).await;
    assert!(world.get(&both("d", "de")).await.asked.is_none());
    world
        .server
        .ok(&[FRESH, ("vary", "accept, accept-language")], "en");
    assert_eq!(world.send(get(&both("d", "en"))).await.unwrap().body, "en");
    assert_eq!(world.get(&both("a", "en")).await.body, "one");
}

#[tokio::test]
async fn the_number_of_variants_is_bounded_and_none_is_left_behind() {
    let world = World::new(|layer| layer.max_variants(3));
    for accept in ["a", "b", "c", "d", "e", "f"] {
        world.server.ok(&[FRESH, VARY], accept_body(accept));
        world.get(&[("accept", accept)]).await;
    }
    // The first, the two newest of the others, and their list.
    assert_eq!(world.store.len(), 4);
    for accept in ["a", "e", "f"] {
        let got = world.get(&[("accept", accept)]).await;
        assert!(got.asked.is_none(), "{accept}");
        assert_eq!(got.body, accept_body(accept));
    }
    world.server.answer(204, &[], "");
    world.send(request(Method::PUT, &[])).await.unwrap();
    assert!(world.store.is_empty(), "{:?}", world.store.all_keys());
}

fn accept_body(accept: &str) -> &'static str {
    match accept {
        "a" => "for a",
        "e" => "for e",
        "f" => "for f",
        _ => "for another",
    }
}

/// Two processes with one store: each has its own list in memory, so that one can overwrite what the other has added.
#[tokio::test]
async fn a_variant_that_another_layer_has_lost_from_the_list_is_not_served_after_an_invalidation() {
    for after in [["e", "a"], ["a", "e"]] {
        let world = World::strict();
        let other = HttpCacheLayer::new(world.store.clone()).clock(world.clock.clone());
        let other = other.layer(world.server.clone());
        let ask = async |accept: &str| {
            let request = get(&[("accept", accept)]);
            drop(other.clone().oneshot(request).await.unwrap());
        };
        fill(&world).await;
        world.server.ok(&[FRESH, VARY], "before");
        ask("d").await;
        world.server.ok(&[FRESH, VARY], "before");
        assert_eq!(world.get(&[("accept", "e")]).await.body, "before");
        world.server.ok(&[FRESH, VARY], "before");
        ask("f").await;

        world.server.answer(204, &[], "");
        let put = other.clone().oneshot(request(Method::PUT, &[]));
        drop(put.await.unwrap());
        for accept in after {
            world.server.ok(&[FRESH, VARY], "after");
            let got = world.get(&[("accept", accept)]).await;
            assert_eq!(got.body, "after", "{accept} of {after:?}");
        }
    }
}

/// A strict cache may have used the store before.
#[tokio::test]
async fn kubectls_preset_has_one_variant_also_where_a_family_is_stored() {
    let world = World::strict();
    fill(&world).await;
    let kubectl = HttpCacheLayer::new(world.store.clone()).clock(world.clock.clone());
    let kubectl = kubectl.kubectl().layer(world.server.clone());
    let keys = world.store.all_keys().len();
    world.server.ok(&[FRESH, VARY], "one place");
    let response = kubectl.oneshot(get(&[("accept", "x")])).await.unwrap();
    drop(response);
    assert_eq!(world.store.all_keys().len(), keys);
    assert!(world.stored(URI).await.unwrap().ends_with("one place"));
}

/// kubectl 1.37 asks for v2 or legacy, kubectl 1.30 to 1.36 for v2beta1 as well. There is room for one variant.
#[tokio::test]
async fn two_versions_of_kubectl_share_an_entry() {
    const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    const V2BETA1: &str =
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let asks = |accept: &'static str| [("accept", accept)];
    let (new, old) = (Accept::KUBECTL, Accept::WITH_V2BETA1);
    let answer = |content_type: &'static str| {
        let control = ("cache-control", "no-cache, private");
        [
            VARY,
            control,
            ("etag", "\"1\""),
            ("content-type", content_type),
        ]
    };
    for (first, second) in [(old, new), (new, old)] {
        for content_type in [V2, "application/json"] {
            let world = World::kubectl();
            world.server.ok(&answer(content_type), "one");
            world.get(&asks(first)).await;
            let before = world.stored(URI).await;
            // In the words of the entry, which stays as it is.
            world.server.answer(304, &[("etag", "\"1\"")], "");
            let got = world.get(&asks(second)).await;
            assert_eq!(got.asked("if-none-match"), Some("\"1\""));
            assert_eq!(got.asked("accept"), Some(first));
            assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"one"[..]));
            assert_eq!(world.stored(URI).await, before);
            // So it does when there is something new.
            world.server.ok(&answer(content_type), "two");
            assert_eq!(&world.get(&asks(second)).await.body[..], b"two");
            let stored = world.stored(URI).await.unwrap();
            assert!(
                stored.contains(&format!("X-Varied-Accept: {first}\r\n")),
                "{stored}"
            );
        }
    }
    // A form that the second does not take is not for it, nor is an entry of other words.
    for (first, second, content_type) in [
        (old, new, V2BETA1),
        (old, "application/json", V2),
        ("application/json", new, "application/json"),
    ] {
        let world = World::kubectl();
        world.server.ok(&answer(content_type), "one");
        world.get(&asks(first)).await;
        world.server.ok(&answer(V2), "two");
        let got = world.get(&asks(second)).await;
        assert_eq!(got.asked("if-none-match"), None);
        assert_eq!(got.asked("accept"), Some(second));
    }
    // Nor in the strict preset, where there is room for both.
    let world = World::strict();
    world.server.ok(&answer(V2), "one");
    world.get(&asks(old)).await;
    world.server.ok(&answer(V2), "two");
    assert_eq!(world.get(&asks(new)).await.asked("if-none-match"), None);
}
