//! Layers and services, beside and over each other.

use bytes::Bytes;
use discovery_core::engine::{Body, ParsedAnswer, Refresh, WantParsed};
use discovery_core::{Accept, Format};
use discovery_memory::MemoryDiscoveryLayer;
use http::header::ACCEPT;
use http::{Method, Response};
use http_body_util::{BodyExt, Full};
use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;
use tower_test::mock;

use crate::tools::*;

#[test]
fn layers_clones_and_services_share_one_memory() {
    let layer = MemoryDiscoveryLayer::new();
    let (one, mut server) = world(&layer);
    let (two, mut other) = world(&layer.clone());
    let mut first = call(&one, get("/apis"));
    aggregated(&mut server);
    done(&mut first);
    done(&mut call(&two, get("/apis")));
    idle(&mut other);
    // And one that is made anew does not.
    let (three, mut third) = world(&MemoryDiscoveryLayer::default());
    let mut apart = call(&three, get("/apis"));
    aggregated(&mut third);
    done(&mut apart);
}

/// kubectl's order: a refresh for the outer one reaches the inner one, and once.
#[test]
fn a_refresh_of_the_outer_memory_reaches_the_inner_one_once() {
    let (outer, inner) = (MemoryDiscoveryLayer::new(), MemoryDiscoveryLayer::new());
    let (below, mut server) = world(&inner);
    // The outer one's mock is the inner one.
    let above = ServiceBuilder::new()
        .layer(&outer)
        .service(tower::util::MapResponse::new(
            below,
            |response: Response<Body<Full<Bytes>>>| {
                let (parts, body) = response.into_parts();
                Response::from_parts(
                    parts,
                    Full::from(tokio_test::block_on(body.collect()).unwrap().to_bytes()),
                )
            },
        ));
    for refresh in [None, Some(Refresh::next())] {
        let mut request = get("/apis");
        request
            .headers_mut()
            .insert(ACCEPT, Accept::KUBECTL.parse().unwrap());
        request.extensions_mut().insert(WantParsed);
        if let Some(refresh) = refresh {
            request.extensions_mut().insert(refresh);
        }
        let mut first = call(&above, request);
        aggregated(&mut server);
        let response = done(&mut first);
        let known = response.extensions().get::<ParsedAnswer>().unwrap();
        assert!(known.snapshot.is_complete() && known.snapshot.stale().len() == 1);
    }
    // A refresh by header alone is one for the inner one as well, not one for each half.
    let mut request = get("/apis");
    request
        .headers_mut()
        .insert(http::header::CACHE_CONTROL, "no-cache".parse().unwrap());
    let mut first = call(&above, request);
    aggregated(&mut server);
    assert_eq!(done(&mut first).status(), 200);
    idle(&mut server);
    assert_eq!(inner.handle().stats().sent, 6);
}

#[test]
fn a_base_path_and_a_limit_of_size_take_effect() {
    let layer = MemoryDiscoveryLayer::new()
        .base_path("/k8s/")
        .max_body_size(50);
    let (service, mut server) = world(&layer);
    let mut small = call(&service, get("/k8s/apis/a/v1"));
    answer(&mut server, "/k8s/apis/a/v1", list());
    assert_eq!(text(done(&mut small)).len(), 65);
    let mut again = call(&service, get("/k8s/apis/a/v1"));
    answer(
        &mut server,
        "/k8s/apis/a/v1",
        json(
            Format::Legacy,
            r#"{"kind":"APIResourceList","resources":[]}"#,
        ),
    );
    done(&mut again);
    done(&mut call(&service, get("/k8s/apis/a/v1")));
    idle(&mut server);
}

#[test]
fn clones_share_a_memory_until_a_setting_of_one_is_changed() {
    let layer = MemoryDiscoveryLayer::new();
    let clone = layer.clone();
    let (service, mut server) = world(&layer);
    let mut first = call(&service, get("/apis/a/v1"));
    answer(&mut server, "/apis/a/v1", list());
    done(&mut first);
    let (shares, mut its_server) = world(&clone);
    done(&mut call(&shares, get("/apis/a/v1")));
    idle(&mut its_server);
    assert_eq!(layer.handle().stats().hits, 1);

    let other = clone.base_path("/k8s");
    let (service, mut server) = world(&other);
    let mut own = call(&service, get("/k8s/apis/a/v1"));
    answer(&mut server, "/k8s/apis/a/v1", list());
    done(&mut own);
    assert_eq!(other.handle().stats().misses, 1);
    assert_eq!(
        layer.handle().stats().misses,
        1,
        "the first layer's is untouched"
    );
}

#[test]
fn one_request_at_a_time_is_enough() {
    let layer = MemoryDiscoveryLayer::new();
    let (inner, mut server) = mock::pair::<Req, Res>();
    let service = ServiceBuilder::new()
        .layer(&layer)
        .layer(ConcurrencyLimitLayer::new(1))
        .service(inner);
    let mut calls: Vec<_> = (0..4).map(|_| call(&service, get("/apis"))).collect();
    answer(&mut server, "/api", status(404));
    assert!(calls[0].poll().is_pending());
    answer(
        &mut server,
        "/apis",
        json(Format::Legacy, r#"{"kind":"APIGroupList","groups":[]}"#),
    );
    for call in &mut calls {
        assert_eq!(done(call).status(), 200);
    }
    let mut post = get("/apis");
    *post.method_mut() = Method::POST;
    let mut post = call(&service, post);
    answer(&mut server, "/apis", status(405));
    assert_eq!(done(&mut post).status(), 405);
}
