//! Forgetting: once for each refresh, with the later one winning.

use discovery_core::Format;
use discovery_core::engine::Refresh;
use http::HeaderValue;
use http::header::CACHE_CONTROL;

use crate::tools::*;

fn with(mut request: Req, refresh: Refresh) -> Req {
    request.extensions_mut().insert(refresh);
    request
}

fn no_cache(path: &str, value: &'static str) -> Req {
    let mut request = get(path);
    request
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(value));
    request
}

#[track_caller]
fn is_hit(service: &TestService, request: Req) {
    let response = done(&mut call(service, request));
    assert!(known(&response).hit);
}

#[test]
fn a_refresh_is_obeyed_once() {
    let (_, service, mut server) = world(Keep::default());
    warm(&service, &mut server);
    let refresh = Refresh::next();
    let mut first = call(&service, with(get("/apis"), refresh));
    let (api, apis) = (server.expect("/api"), server.expect("/apis"));
    // Others that carry it join, and so do those that carry none or an older one.
    let mut joined = [
        call(&service, with(get("/api"), refresh)),
        call(&service, get("/apis")),
    ];
    server.idle();
    api.send_response(json(Format::V2, CORE));
    apis.send_response(json(Format::V2, OTHERS));
    done(&mut first);
    joined.iter_mut().for_each(|call| drop(done(call)));
    is_hit(&service, with(get("/apis"), refresh));
    is_hit(&service, with(get("/apis/a/v1"), refresh));
    is_hit(&service, get("/api"));
    server.idle();
}

#[test]
fn the_requests_carry_it_on() {
    let (_, service, mut server) = world(Keep::default());
    let refresh = Refresh::next();
    let mut first = call(&service, with(get("/apis"), refresh));
    for _ in 0..2 {
        assert_eq!(server.next().0.extensions().get(), Some(&refresh));
    }
    assert!(result_is_error(&mut first));
    let mut single = call(&service, with(get("/apis/a/v1"), refresh));
    assert_eq!(server.next().0.extensions().get(), Some(&refresh));
    assert!(result_is_error(&mut single));
}

/// The requests were dropped unanswered.
fn result_is_error(call: &mut Call) -> bool {
    result(call).is_err()
}

#[test]
fn an_older_refresh_is_obeyed_no_more() {
    let (_, service, mut server) = world(Keep::default());
    let (older, newer) = (Refresh::next(), Refresh::next());
    let mut first = call(&service, with(get("/apis"), newer));
    server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
    done(&mut first);
    is_hit(&service, with(get("/apis"), older));
    server.idle();
}

#[test]
fn a_refresh_reaches_requests_for_lists_and_groups() {
    for path in ["/api", "/apis", "/apis/a", "/apis/a/v1", "/api/v1"] {
        let (_, service, mut server) = world(Keep::default());
        warm(&service, &mut server);
        let mut anew = call(&service, with(get(path), Refresh::next()));
        let requests: Vec<_> = std::iter::from_fn(|| server.poll()).collect();
        assert_eq!(
            requests.len(),
            if path.ends_with("v1") { 1 } else { 2 },
            "{path}"
        );
        drop(requests);
        assert!(result_is_error(&mut anew));
        // Documents from before are forgotten for good.
        let _again = call(&service, get("/api/v1"));
        server.expect("/api/v1");
    }
}

#[test]
fn what_was_fetched_before_an_invalidation_is_not_kept() {
    let (engine, service, mut server) = world(Keep::default());
    let mut old = [call(&service, get("/apis")), call(&service, get("/apis"))];
    let (api, apis) = (server.expect("/api"), server.expect("/apis"));
    let mut old_list = call(&service, get("/apis/a/v1"));
    let old_list_answer = server.expect("/apis/a/v1");
    engine.handle().invalidate();
    // From now on nobody joins what began before.
    let mut new = [call(&service, get("/apis")), call(&service, get("/apis"))];
    let (new_api, new_apis) = (server.expect("/api"), server.expect("/apis"));
    server.idle();

    old_list_answer.send_response(list("a/v1"));
    assert_eq!(
        done(&mut old_list).status(),
        200,
        "an answer to those who asked before"
    );
    new_api.send_response(json(Format::V2, CORE));
    new_apis.send_response(json(Format::V2, OTHERS));
    let new_answer = done(&mut new[0]);
    api.send_response(json(Format::Legacy, V1));
    apis.send_response(json(Format::Legacy, A));
    let old_answer = done(&mut old[0]);
    // Each follower gets what its own leader found, although the old fetch ended last.
    for (call, leader) in [(&mut new[1], &new_answer), (&mut old[1], &old_answer)] {
        let format = known(&done(call)).snapshot.format();
        assert_eq!(format, known(leader).snapshot.format());
    }
    let kept = engine.cache().known.lock().unwrap().clone();
    assert_eq!(kept.format(), Some(Format::V2));
    assert_eq!(kept.lists().len(), 2);
    server.idle();
}

#[test]
fn a_list_from_before_an_invalidation_is_not_kept() {
    let (engine, service, mut server) = world(Keep::default());
    let mut old = call(&service, get("/apis/a/v1"));
    let answer = server.expect("/apis/a/v1");
    engine.handle().invalidate();
    answer.send_response(list("a/v1"));
    done(&mut old);
    let mut new = call(&service, get("/apis/a/v1"));
    server.expect("/apis/a/v1").send_response(list("a/v1"));
    done(&mut new);
    is_hit(&service, get("/apis/a/v1"));
}

#[test]
fn no_cache_means_refresh_for_groups() {
    for value in ["no-cache", "max-age=0, No-Cache", " no-cache ,x"] {
        let (_, service, mut server) = world(Keep::default());
        warm(&service, &mut server);
        let mut anew = call(&service, no_cache("/apis", value));
        let (api, apis) = (server.next(), server.next());
        // For the caches below it is one refresh, not two.
        let refresh = api.0.extensions().get::<Refresh>().copied();
        assert!(refresh.is_some());
        assert_eq!(apis.0.extensions().get(), refresh.as_ref());
        assert!(apis.0.headers().contains_key(CACHE_CONTROL));
        api.1.send_response(json(Format::Legacy, V1));
        apis.1.send_response(json(Format::Legacy, A));
        done(&mut anew);
        // The lists went with it.
        let _list = call(&service, get("/apis/a/v1"));
        server.expect("/apis/a/v1");
        is_hit(&service, get("/apis"));
    }
    let (_, service, mut server) = world(Keep::default());
    warm(&service, &mut server);
    for value in ["max-age=0", "no-store", "x=no-cache"] {
        is_hit(&service, no_cache("/apis", value));
    }
    server.idle();
}

#[test]
fn no_cache_for_a_list_fetches_that_list_anew() {
    let (_, service, mut server) = world(Keep::default());
    warm(&service, &mut server);
    let mut anew = call(&service, no_cache("/apis/a/v1", "no-cache"));
    let (request, answer) = server.next();
    assert!(request.extensions().get::<Refresh>().is_none());
    let newer = r#"{"kind":"APIResourceList","groupVersion":"a/v1","resources":[{"name":"new","kind":"N"}]}"#;
    answer.send_response(json(Format::Legacy, newer));
    assert!(text(done(&mut anew)).contains("new"));
    // Nothing else is forgotten, and the new list is what is known.
    is_hit(&service, get("/apis"));
    is_hit(&service, get("/api/v1"));
    assert!(text(done(&mut call(&service, get("/apis/a/v1")))).contains("new"));
    server.idle();
}

#[test]
fn handles_and_clones_share_one_state() {
    let (engine, service, mut server) = world(Keep::default());
    let (inner, mut other_server) = Server::new();
    let other = engine.clone().service(inner);
    warm(&service, &mut server);
    is_hit(&other, get("/apis"));
    let handle = engine.handle();
    assert!(handle.fresh());
    handle.clone().invalidate();
    let mut anew = call(&other, get("/apis"));
    other_server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
    done(&mut anew);
    is_hit(&service, get("/apis"));
    assert_eq!(handle.stats(), engine.handle().stats());
    assert_eq!(handle.stats().sent, 4);
    server.idle();
}
