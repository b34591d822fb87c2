//! Answers that are kept, and answers that cost no request.

use std::sync::Arc;
use std::task::Poll;

use discovery_core::Error;
use discovery_core::engine::ParsedAnswer;
use discovery_memory::MemoryDiscoveryLayer;
use http::Response;

use crate::tools::*;

#[test]
fn everything_from_one_aggregated_answer() {
    let layer = MemoryDiscoveryLayer::new();
    let (service, mut server) = world(&layer);
    let mut first = call(&service, get("/api"));
    aggregated(&mut server);
    let first = done(&mut first);
    let found = Arc::clone(&first.extensions().get::<ParsedAnswer>().unwrap().snapshot);
    for path in ["/apis", "/apis/a", "/apis/a/v1"] {
        let response = done(&mut call(&service, get(path)));
        assert_eq!(response.status(), 200);
        let known = response.extensions().get::<ParsedAnswer>().unwrap();
        assert!(
            known.hit && Arc::ptr_eq(&known.snapshot, &found),
            "a pointer"
        );
        assert_eq!(known.cache, "memory");
    }
    idle(&mut server);
    assert_eq!(
        found.stale(),
        ["a/v2".parse().unwrap()],
        "it tells that, as client-go's does"
    );
    assert!(layer.handle().fresh());
    let statistics = layer.handle().stats();
    assert_eq!(
        (statistics.hits, statistics.misses, statistics.sent),
        (3, 1, 2)
    );
}

#[test]
fn what_the_groups_do_not_list_is_not_found_unasked() {
    let layer = MemoryDiscoveryLayer::new();
    let (service, mut server) = world(&layer);
    // While the groups are not known, the server is asked.
    let mut first = call(&service, get("/apis/b/v1"));
    answer(&mut server, "/apis/b/v1", status(503));
    assert_eq!(done(&mut first).status(), 503);
    let mut groups = call(&service, get("/apis"));
    legacy(&mut server);
    done(&mut groups);
    for path in ["/apis/b/v1", "/apis/b", "/apis/a/v3", "/api/v2"] {
        let response = done(&mut call(&service, get(path)));
        assert_eq!(response.status(), 404, "{path}");
        let body = text(response);
        let answer = Response::builder()
            .status(404)
            .body(body.clone().into())
            .unwrap();
        let failure = Error::status(path, &answer);
        assert!(failure.is_not_found(), "{body}");
        assert_eq!(
            failure.to_string(),
            "the server could not find the requested resource"
        );
    }
    idle(&mut server);
    let mut listed = call(&service, get("/apis/a/v2"));
    answer(&mut server, "/apis/a/v2", list());
    done(&mut listed);
}

#[test]
fn failures_that_may_pass_are_asked_again_at_each_use() {
    let (service, mut server) = world(&MemoryDiscoveryLayer::new());
    let mut groups = call(&service, get("/apis"));
    legacy(&mut server);
    done(&mut groups);
    for code in [429, 500, 502, 503, 504] {
        let mut call = call(&service, get("/apis/a/v1"));
        answer(&mut server, "/apis/a/v1", status(code));
        assert_eq!(done(&mut call).status().as_u16(), code);
    }
    let mut call = call(&service, get("/apis/a/v1"));
    let Poll::Ready(Some((_, lost))) = server.poll_request() else {
        panic!("no request")
    };
    lost.send_error(std::io::Error::other("connection reset"));
    assert!(matches!(call.poll(), Poll::Ready(Err(_))));
    let mut call = self::call(&service, get("/apis/a/v1"));
    answer(&mut server, "/apis/a/v1", list());
    assert_eq!(done(&mut call).status(), 200);
    assert_eq!(
        done(&mut self::call(&service, get("/apis/a/v1"))).status(),
        200
    );
    idle(&mut server);
}

#[test]
fn others_are_remembered_until_they_are_invalidated() {
    for (code, with_groups) in [(403, true), (404, true), (403, false), (410, false)] {
        let layer = MemoryDiscoveryLayer::new();
        let (service, mut server) = world(&layer);
        for turn in 0..2 {
            if with_groups {
                let mut groups = call(&service, get("/apis"));
                legacy(&mut server);
                done(&mut groups);
            }
            let mut first = call(&service, get("/apis/a/v1"));
            answer(&mut server, "/apis/a/v1", status(code));
            done(&mut first);
            // Another list does not take it away.
            let mut other = call(&service, get("/apis/a/v2"));
            answer(&mut server, "/apis/a/v2", list());
            done(&mut other);
            for _ in 0..2 {
                let response = done(&mut call(&service, get("/apis/a/v1")));
                assert_eq!(
                    (response.status().as_u16(), text(response).as_str()),
                    (code, "no")
                );
            }
            idle(&mut server);
            if turn == 0 {
                layer.handle().invalidate();
            }
        }
    }
}
