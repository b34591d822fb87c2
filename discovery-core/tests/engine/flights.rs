//! Callers that want the same thing at the same time.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use discovery_core::engine::{Engine, WantParsed};
use discovery_core::kube::plan::drive;
use discovery_core::{Accept, Format, Plan};
use http_body_util::Full;
use tokio_test::task;
use tower_service::Service;
use tower_test::mock::SendResponse;

use crate::tools::*;

fn callers(service: &TestService, path: &str, many: usize) -> Vec<Call> {
    (0..many).map(|_| call(service, get(path))).collect()
}

#[test]
fn one_fetch_of_the_groups_answers_all_callers() {
    let (engine, service, mut server) = world(Keep::default());
    let mut calls = callers(&service, "/apis", 5);
    // It serves all that want a part of the groups, in any format.
    calls.push(call(&service, get("/api")));
    calls.push(call(&service, get("/apis/a")));
    calls.push(call(&service, accepting("/apis", Accept::KUBECTL)));
    let (api, apis) = (server.expect("/api"), server.expect("/apis"));
    server.idle();
    api.send_response(json(Format::V2, CORE));
    calls.iter_mut().for_each(pending);
    apis.send_response(json(Format::V2, OTHERS));
    let responses: Vec<_> = calls.iter_mut().map(done).collect();
    server.idle();
    let first = &known(&responses[0]).snapshot;
    for response in &responses {
        assert_eq!(response.status(), 200);
        assert!(Arc::ptr_eq(&known(response).snapshot, first), "parsed once");
        assert!(!known(response).hit);
    }
    let statistics = engine.handle().stats();
    assert_eq!(
        (statistics.misses, statistics.coalesced, statistics.sent),
        (8, 7, 2)
    );
}

#[test]
fn one_fetch_of_a_list_answers_all_callers() {
    let (engine, service, mut server) = world(Keep::default());
    let mut calls = callers(&service, "/apis/a/v1", 5);
    server.expect("/apis/a/v1").send_response(list("a/v1"));
    for call in &mut calls {
        let body = text(done(call));
        assert!(body.contains(r#""name":"xs""#), "{body}");
    }
    server.idle();
    assert_eq!(engine.handle().stats().coalesced, 4);
    // Refusals are shared as well.
    let mut calls = callers(&service, "/apis/b/v1", 3);
    server.expect("/apis/b/v1").send_response(status(403));
    for call in &mut calls {
        let response = done(call);
        assert_eq!(
            (response.status().as_u16(), text(response).as_str()),
            (403, "no")
        );
    }
    server.idle();
}

#[test]
fn when_the_leader_goes_away_another_leads() {
    for path in ["/apis", "/apis/a/v1"] {
        let (_, service, mut server) = world(Keep::default());
        let mut calls = callers(&service, path, 4);
        let abandoned: Vec<_> = std::iter::from_fn(|| server.poll()).collect();
        // One that waits goes first, then the leader, then the one that has the lead but has not
        // found out.
        drop(calls.remove(2));
        drop(calls.remove(0));
        server.idle();
        drop(calls.remove(0));
        let mut last = calls.remove(0);
        pending(&mut last);
        if path == "/apis" {
            server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
        } else {
            server.expect(path).send_response(list("a/v1"));
        }
        assert_eq!(done(&mut last).status(), 200);
        drop(abandoned);
        server.idle();
    }
}

#[test]
fn an_error_is_for_all_that_have_the_same_credentials() {
    let (engine, service, mut server) = world(Keep::default());
    let mut calls = callers(&service, "/apis", 4);
    let mut other = get("/apis");
    let token = "Bearer other".parse().unwrap();
    other.headers_mut().insert("authorization", token);
    let mut other = call(&service, other);
    let (_api, apis) = (server.expect("/api"), server.expect("/apis"));
    let (_others_api, others) = (server.expect("/api"), server.expect("/apis"));
    // The other half has no answer yet; that holds up nobody.
    apis.send_response(status(403));
    for call in &mut calls {
        assert_eq!(done(call).status(), 403);
    }
    pending(&mut other);
    others.send_response(status(404));
    assert_eq!(done(&mut other).status(), 404);
    assert_eq!(engine.handle().stats().sent, 4);

    let mut calls = callers(&service, "/apis/a/v1", 3);
    server.expect("/apis/a/v1").send_response(status(503));
    for call in &mut calls {
        assert_eq!(done(call).status(), 503);
    }
    server.idle();
}

/// The inner service's error can't be cloned. Those that read bytes go on alone, all at once.
#[test]
fn without_an_answer_each_goes_on_alone() {
    let (_, service, mut server) = world(Keep::default());
    let mut calls = callers(&service, "/apis/a/v1", 3);
    server
        .expect("/apis/a/v1")
        .send_error(io::Error::other("gone"));
    assert!(result(&mut calls[0]).unwrap_err().is::<io::Error>());
    calls[1..].iter_mut().for_each(pending);
    for call in &mut calls[1..] {
        server.expect("/apis/a/v1").send_response(list("a/v1"));
        assert_eq!(done(call).status(), 200);
    }
}

/// A walk through two caches: each of its requests is sent once, however it fails.
#[test]
fn a_walk_that_fails_is_one_request_each() {
    let refuses = |code| move |answer: SendResponse<Res>| answer.send_response(status(code));
    type Fails = Box<dyn Fn(SendResponse<Res>)>;
    let failures: [(&str, Fails); 6] = [
        ("401", Box::new(refuses(401))),
        ("403", Box::new(refuses(403))),
        ("404", Box::new(refuses(404))),
        ("503", Box::new(refuses(503))),
        (
            "HTML",
            Box::new(|answer| answer.send_response(json(Format::Legacy, "<html>"))),
        ),
        (
            "gone",
            Box::new(|answer| answer.send_error(io::Error::other("gone"))),
        ),
    ];
    for (what, fails) in failures {
        for fails_first in [true, false] {
            let (below, service, mut server) = world(Keep::default());
            let above = Engine::new(Keep::default(), Options::new());
            let above = above.service(tower::util::MapResponse::new(
                service,
                |response: http::Response<_>| response.map(http_body_util::BodyExt::boxed),
            ));
            let mut plan = Plan::everything();
            let dress = |request: http::Request<()>| {
                let mut request = request.map(|()| Full::<Bytes>::default());
                request.extensions_mut().insert(WantParsed);
                request
            };
            {
                let mut walk = task::spawn(drive(&mut plan, &above, dress, 1 << 20, |_| ()));
                assert!(walk.poll().is_pending());
                let (api, apis) = (server.expect("/api"), server.expect("/apis"));
                if fails_first {
                    fails(apis);
                    assert!(walk.poll().is_pending(), "{what}");
                    api.send_response(json(Format::V2, CORE));
                } else {
                    api.send_response(json(Format::V2, CORE));
                    assert!(walk.poll().is_pending(), "{what}");
                    fails(apis);
                }
                assert!(walk.poll().is_ready(), "{what}");
            }
            server.idle();
            assert_eq!(below.handle().stats().sent, 2, "{what}");
            let error = plan.finish().unwrap_err();
            assert_eq!(
                error.code().is_some(),
                what.parse::<u16>().is_ok(),
                "{what}"
            );
            assert_eq!(error.is_transport(), what == "gone", "{what}");
            assert_eq!(error.url(), Some("/apis"), "{what}");
        }
    }
}

/// Of many callers, one has the error itself, and the others an answer that stands for it.
#[test]
fn a_failure_without_an_answer_reaches_all_typed_callers() {
    let (_, service, mut server) = world(Keep::default());
    let walk = || {
        let service =
            tower::util::MapResponse::new(service.clone(), |response: http::Response<_>| {
                response.map(http_body_util::BodyExt::boxed)
            });
        async move {
            let mut plan = Plan::everything();
            let dress = |request: http::Request<()>| {
                let mut request = request.map(|()| Full::<Bytes>::default());
                request.extensions_mut().insert(WantParsed);
                request
            };
            drive(&mut plan, &service, dress, 1 << 20, |_| ()).await;
            plan.finish()
        }
    };
    let mut walks: Vec<_> = (0..5).map(|_| task::spawn(Box::pin(walk()))).collect();
    for walk in &mut walks {
        assert!(walk.poll().is_pending());
    }
    server
        .expect("/api")
        .send_error(io::Error::other("no /api"));
    server
        .expect("/apis")
        .send_error(io::Error::other("no /apis"));
    for walk in &mut walks {
        let Poll::Ready(result) = walk.poll() else {
            panic!("all have been told")
        };
        let error = result.unwrap_err();
        assert!(error.is_transport());
        assert_eq!(error.url(), Some("/api"));
    }
    server.idle();
}

#[test]
fn a_server_in_trouble_is_asked_once() {
    let (engine, service, mut server) = world(Keep::default());
    let mut api = call(&service, get("/api"));
    let mut apis = callers(&service, "/apis", 3);
    let (first, second) = (server.expect("/api"), server.expect("/apis"));
    first.send_response(json(Format::Legacy, V1));
    second.send_response(status(503));
    assert_eq!(done(&mut api).status(), 200);
    for call in &mut apis {
        assert_eq!(done(call).status(), 503);
    }
    server.idle();
    assert_eq!(engine.handle().stats().sent, 2);
    // It is no memory: the next caller asks.
    let mut later = call(&service, get("/apis"));
    server.groups(json(Format::Legacy, V1), json(Format::Legacy, A));
    assert_eq!(done(&mut later).status(), 200);
}

/// An error of one flight is no answer for the followers of the next.
#[test]
fn an_old_error_is_not_told_again() {
    let (_, service, mut server) = world(Keep::default());
    let mut first = call(&service, get("/apis"));
    server.groups(status(503), status(503));
    assert_eq!(done(&mut first).status(), 503);
    let mut calls = callers(&service, "/apis", 2);
    let (api, apis) = (server.expect("/api"), server.expect("/apis"));
    api.send_error(io::Error::other("reset"));
    apis.send_error(io::Error::other("reset"));
    assert!(result(&mut calls[0]).is_err());
    pending(&mut calls[1]);
    server
        .expect("/apis")
        .send_response(json(Format::Legacy, A));
    assert_eq!(done(&mut calls[1]).status(), 200);
}

/// Both looked into the empty cache before either fetched.
#[test]
fn one_that_is_slow_to_start_finds_what_came_meanwhile() {
    for (path, requests) in [("/apis", 2), ("/apis/a/v1", 1)] {
        let (engine, mut service, mut server) = world(Keep::default());
        let ready = |service: &mut TestService| {
            assert!(
                task::spawn(poll_fn(|cx| service.poll_ready(cx)))
                    .poll()
                    .is_ready()
            );
        };
        ready(&mut service);
        let mut first = task::spawn(service.call(get(path)));
        ready(&mut service);
        let mut second = task::spawn(service.call(get(path)));
        assert!(first.poll().is_pending());
        if requests == 2 {
            server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
        } else {
            server.expect(path).send_response(list("a/v1"));
        }
        for call in [&mut first, &mut second] {
            let Poll::Ready(answer) = call.poll() else {
                panic!("there is nothing to wait for");
            };
            assert_eq!(answer.unwrap().status(), 200);
        }
        let statistics = engine.handle().stats();
        assert_eq!((statistics.sent, statistics.coalesced), (requests, 1));
        // Nobody is left leading.
        engine.handle().invalidate();
        let _next = call(&service, get(path));
        server.next();
    }
}

#[test]
fn another_key_is_not_delayed() {
    let (_, service, mut server) = world(Keep::default());
    let mut a = call(&service, get("/apis/a/v1"));
    let (request, a_answer) = server.next();
    assert_eq!(request.uri(), "/apis/a/v1");
    let mut b = call(&service, get("/apis/b/v1"));
    server.expect("/apis/b/v1").send_response(list("b/v1"));
    assert_eq!(done(&mut b).status(), 200);
    let mut groups = call(&service, get("/apis"));
    server.groups(json(Format::Legacy, V1), json(Format::Legacy, A));
    assert_eq!(done(&mut groups).status(), 200);
    pending(&mut a);
    a_answer.send_response(list("a/v1"));
    assert_eq!(done(&mut a).status(), 200);
}

/// The documents of another key's fetch are not taken for one's own.
#[test]
fn followers_get_what_they_wait_for() {
    let (_, service, mut server) = world(Keep::default());
    let mut groups = callers(&service, "/apis", 2);
    let mut lists = callers(&service, "/apis/b/v1", 2);
    server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
    server.expect("/apis/b/v1").send_response(list("b/v1"));
    // Both have landed before a follower looks.
    let leaders = [done(&mut groups[0]), done(&mut lists[0])];
    assert!(text(done(&mut groups[1])).contains("APIGroupList"));
    assert!(text(done(&mut lists[1])).contains("b/v1"));
    server.idle();
    drop(leaders);
}

/// The leader's answer is gone, and with it the last trace of the fetch but for what was kept.
#[test]
fn followers_that_look_late_are_answered_as_well() {
    for slow in [false, true] {
        let (_, service, mut server) = world(Keep {
            slow,
            ..Keep::default()
        });
        let mut calls = callers(&service, "/apis", 2);
        calls.iter_mut().for_each(pending);
        calls.iter_mut().for_each(pending);
        server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
        drop(done(&mut calls[0]));
        assert_eq!(done(&mut calls[1]).status(), 200);
        server.idle();
    }
}

#[test]
fn a_follower_that_the_result_does_not_help_asks_itself() {
    let (_, service, mut server) = world(Keep::default());
    let mut plain = call(&service, get("/apis"));
    let aggregated = || call(&service, accepting("/apis", Format::V2.content_type()));
    let mut aggregated = [aggregated(), aggregated(), aggregated()];
    server.groups(json(Format::Legacy, V1), json(Format::Legacy, A));
    assert_eq!(done(&mut plain).status(), 200);
    aggregated.iter_mut().for_each(pending);
    // One for all of them.
    server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
    server.idle();
    for call in &mut aggregated {
        assert_eq!(done(call).status(), 200);
    }
}
