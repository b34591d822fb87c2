//! The inner service is called when it has been made ready, and a reservation is given back.

use std::task::Poll;

use discovery_core::Format;
use discovery_core::engine::Engine;
use tokio_test::task;
use tower::limit::ConcurrencyLimit;
use tower_service::Service;
use tower_test::mock::Mock;

use crate::tools::*;

type Limited = discovery_core::engine::DiscoveryService<ConcurrencyLimit<Mock<Req, Res>>, Keep>;

fn limited(limit: usize) -> (Limited, Server) {
    let (inner, server) = Server::new();
    (
        Engine::new(Keep::default(), Options::new()).service(ConcurrencyLimit::new(inner, limit)),
        server,
    )
}

/// A service that calls a fresh clone instead of the one that was ready hangs here.
#[test]
fn a_limit_of_one_request_at_a_time_blocks_nothing() {
    let (service, mut server) = limited(1);
    let mut first = call(&service, get("/apis"));
    server.expect("/api").send_response(json(Format::V2, CORE));
    server.idle();
    pending(&mut first);
    server
        .expect("/apis")
        .send_response(json(Format::V2, OTHERS));
    assert_eq!(done(&mut first).status(), 200);
    let mut passing = call(&service, get("/version"));
    server.expect("/version").send_response(status(200));
    done(&mut passing);
    let mut single = call(&service, get("/apis/b/v1"));
    server.expect("/apis/b/v1").send_response(list("b/v1"));
    done(&mut single);
}

#[test]
fn errors_give_the_only_place_back() {
    let (service, mut server) = limited(1);
    for _ in 0..3 {
        let mut first = call(&service, get("/apis"));
        server
            .expect("/api")
            .send_response(json(Format::V2, "garbled"));
        pending(&mut first);
        server
            .expect("/apis")
            .send_response(json(Format::V2, "garbled"));
        // The caller's own request, because the caller does not take that form.
        pending(&mut first);
        server.expect("/apis").send_response(status(500));
        assert_eq!(done(&mut first).status(), 500);
        let mut single = call(&service, get("/apis/b/v1"));
        server.expect("/apis/b/v1").send_response(status(503));
        assert_eq!(done(&mut single).status(), 503);
    }
}

#[test]
fn a_hit_needs_no_ready_service() {
    let (mut service, mut server) = limited(1);
    let mut first = call(&service, get("/apis/a/v1"));
    server.expect("/apis/a/v1").send_response(list("a/v1"));
    done(&mut first);
    // The only place is taken for as long as the server does not answer.
    let mut busy = call(&service, get("/version"));
    let answer = server.expect("/version");
    let mut ready = task::spawn(());
    assert!(ready.enter(|cx, _| service.poll_ready(cx)).is_ready());
    let mut hit = call(&service, get("/apis/a/v1"));
    assert_eq!(done(&mut hit).status(), 200);
    // A request that passes waits for the place in its future.
    let mut passing = call(&service, get("/healthz"));
    pending(&mut passing);
    server.idle();
    answer.send_response(status(200));
    done(&mut busy);
    pending(&mut passing);
    server.expect("/healthz").send_response(status(200));
    done(&mut passing);
}

#[test]
fn followers_reserve_nothing() {
    let (service, mut server) = limited(2);
    let mut leader = call(&service, get("/apis/a/v1"));
    let answer = server.expect("/apis/a/v1");
    let mut followers: Vec<_> = (0..5).map(|_| call(&service, get("/apis/a/v1"))).collect();
    // The leader has one of two; the other is free.
    let mut passing = call(&service, get("/version"));
    server.expect("/version").send_response(status(200));
    done(&mut passing);
    answer.send_error(std::io::Error::other("gone"));
    assert!(result(&mut leader).is_err());
    // Released, they go on two at a time.
    followers.iter_mut().for_each(pending);
    for _ in 0..5 {
        server.expect("/apis/a/v1").send_response(status(503));
        let mut answered = 0;
        followers.retain_mut(|follower| match follower.poll() {
            Poll::Ready(answer) => {
                assert_eq!(answer.unwrap().status(), 503);
                answered += 1;
                false
            }
            Poll::Pending => true,
        });
        assert_eq!(answered, 1);
        followers.iter_mut().for_each(pending);
    }
    assert!(followers.is_empty());
}

/// One that takes over the lead waits for readiness of its own.
#[test]
fn a_follower_that_leads_waits_until_the_service_is_ready() {
    let (service, mut server) = limited(1);
    // It holds the only permit for as long as the server does not answer.
    let leader = call(&service, get("/apis/a/v1"));
    let _unanswered = server.expect("/apis/a/v1");
    let mut next = call(&service, get("/apis/a/v1"));
    pending(&mut next);
    drop(leader);
    pending(&mut next);
    server.expect("/apis/a/v1").send_response(list("a/v1"));
    assert_eq!(done(&mut next).status(), 200);
}

#[test]
fn an_error_of_readiness_comes_out_of_the_call() {
    for path in ["/version", "/apis/a/v1"] {
        let (_, service, mut server) = world(Keep::default());
        server.fail(std::fmt::Error);
        let mut call = call(&service, get(path));
        let error = result(&mut call).unwrap_err();
        assert!(
            error.is::<std::fmt::Error>() || error.source().is_some(),
            "{error:?}"
        );
    }
}
