//! The memory discovery layer: what it keeps, for how long, and what it answers unasked.
#![allow(missing_docs)]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::clock::ManualClock;
use discovery_core::engine::{Body, Known, Refresh, Typed};
use discovery_core::{Accept, Failure, Form};
use discovery_memory::{MemoryDiscovery, MemoryDiscoveryLayer};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio_test::task::{self, Spawn};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder};
use tower_test::mock::{self, Handle, Mock};

type Req = Request<Full<Bytes>>;
type Res = Response<Full<Bytes>>;
type Answer = Result<Response<Body<Full<Bytes>>>, tower::BoxError>;
type Call = Spawn<Pin<Box<dyn Future<Output = Answer> + Send>>>;

fn world(layer: &MemoryDiscoveryLayer) -> (MemoryDiscovery<Mock<Req, Res>>, Handle<Req, Res>) {
    let (inner, server) = mock::pair();
    (layer.layer(inner), server)
}

fn call<S>(service: &S, request: Req) -> Call
where
    S: Service<Req, Response = Response<Body<Full<Bytes>>>, Error = tower::BoxError>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let mut service = service.clone();
    let mut call: Call = task::spawn(Box::pin(async move {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    }));
    match call.poll() {
        Poll::Ready(answer) => task::spawn(Box::pin(std::future::ready(answer))),
        Poll::Pending => call,
    }
}

#[track_caller]
fn done(call: &mut Call) -> Response<Body<Full<Bytes>>> {
    match call.poll() {
        Poll::Ready(answer) => answer.unwrap(),
        Poll::Pending => panic!("no answer yet"),
    }
}

fn get(path: &str) -> Req {
    let request = Request::get(path).header(ACCEPT, "application/json");
    request.body(Full::default()).unwrap()
}

fn text(response: Response<Body<Full<Bytes>>>) -> String {
    let body = tokio_test::block_on(response.into_body().collect()).unwrap();
    String::from_utf8(body.to_bytes().into()).unwrap()
}

#[track_caller]
fn idle(server: &mut Handle<Req, Res>) {
    assert!(server.poll_request().is_pending(), "a request");
}

/// Answers the request that has come, which is for this path.
#[track_caller]
fn answer(server: &mut Handle<Req, Res>, path: &str, response: Res) {
    let Poll::Ready(Some((request, answer))) = server.poll_request() else {
        panic!("no request for {path}");
    };
    assert_eq!(request.uri().path(), path);
    answer.send_response(response);
}

fn json(form: Form, body: &str) -> Res {
    let response = Response::builder().header(CONTENT_TYPE, form.content_type());
    response.body(body.to_owned().into()).unwrap()
}

fn status(code: u16) -> Res {
    Response::builder().status(code).body("no".into()).unwrap()
}

fn list() -> Res {
    json(
        Form::Legacy,
        r#"{"kind":"APIResourceList","resources":[{"name":"xs","kind":"X"}]}"#,
    )
}

fn legacy(server: &mut Handle<Req, Res>) {
    answer(
        server,
        "/api",
        json(Form::Legacy, r#"{"kind":"APIVersions","versions":["v1"]}"#),
    );
    let groups = r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[{"groupVersion":"a/v1","version":"v1"},{"groupVersion":"a/v2","version":"v2"}]}]}"#;
    answer(server, "/apis", json(Form::Legacy, groups));
}

fn aggregated(server: &mut Handle<Req, Res>) {
    let list = |items: &str| format!(r#"{{"kind":"APIGroupDiscoveryList","items":[{items}]}}"#);
    answer(server, "/api", json(Form::V2, &list("")));
    let versions = r#"{"version":"v1","resources":[{"resource":"xs","responseKind":{"kind":"X"},"verbs":["get"]}]},{"version":"v2","freshness":"Stale"}"#;
    let item = format!(r#"{{"metadata":{{"name":"a"}},"versions":[{versions}]}}"#);
    answer(server, "/apis", json(Form::V2, &list(&item)));
}

#[test]
fn everything_from_one_aggregated_answer() {
    let layer = MemoryDiscoveryLayer::new();
    let (service, mut server) = world(&layer);
    let mut first = call(&service, get("/api"));
    aggregated(&mut server);
    let first = done(&mut first);
    let found = Arc::clone(&first.extensions().get::<Known>().unwrap().snapshot);
    for path in ["/apis", "/apis/a", "/apis/a/v1"] {
        let response = done(&mut call(&service, get(path)));
        assert_eq!(response.status(), 200);
        let known = response.extensions().get::<Known>().unwrap();
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
    let statistics = layer.handle().statistics();
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
        let failure = Failure::status(path, &answer);
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

#[test]
fn for_ever_unless_a_time_is_set() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
    for ttl in [None, Some(60)] {
        let clock = ManualClock::new(start);
        let layer = MemoryDiscoveryLayer::new().clock(clock.clone());
        let layer = match ttl {
            Some(ttl) => layer.ttl(Duration::from_secs(ttl)),
            None => layer,
        };
        let (service, mut server) = world(&layer);
        let mut first = call(&service, get("/apis"));
        aggregated(&mut server);
        done(&mut first);
        // Not even a clock that is set back is a reason.
        clock.set(start - Duration::from_secs(1000));
        done(&mut call(&service, get("/apis")));
        clock.set(start + Duration::from_secs(60));
        done(&mut call(&service, get("/apis")));
        idle(&mut server);
        clock.advance(Duration::from_nanos(1));
        let mut late = call(&service, get("/apis"));
        if ttl.is_some() {
            aggregated(&mut server);
        }
        assert_eq!(done(&mut late).status(), 200);
        // It starts anew from there.
        clock.advance(Duration::from_secs(60));
        done(&mut call(&service, get("/apis/a/v1")));
        idle(&mut server);
    }
}

#[test]
fn the_oldest_part_counts() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    let layer = MemoryDiscoveryLayer::new()
        .ttl(Duration::from_secs(60))
        .clock(clock.clone());
    let (service, mut server) = world(&layer);
    let mut groups = call(&service, get("/apis"));
    legacy(&mut server);
    done(&mut groups);
    clock.advance(Duration::from_secs(40));
    let mut single = call(&service, get("/apis/a/v1"));
    answer(&mut server, "/apis/a/v1", list());
    done(&mut single);
    clock.advance(Duration::from_secs(40));
    // The groups are too old, and all goes.
    let mut single = call(&service, get("/apis/a/v1"));
    answer(&mut server, "/apis/a/v1", list());
    done(&mut single);
    let mut groups = call(&service, get("/apis"));
    legacy(&mut server);
    done(&mut groups);
    // What comes whole is as old as it is, whatever was there before it.
    clock.advance(Duration::from_secs(40));
    let mut whole = call(&service, {
        let mut request = get("/apis");
        request
            .headers_mut()
            .insert(ACCEPT, Form::V2.content_type().parse().unwrap());
        request
    });
    aggregated(&mut server);
    done(&mut whole);
    clock.advance(Duration::from_secs(60));
    done(&mut call(&service, get("/apis/a/v1")));
    idle(&mut server);
}

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
fn one_memory_over_another() {
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
        request.extensions_mut().insert(Typed);
        if let Some(refresh) = refresh {
            request.extensions_mut().insert(refresh);
        }
        let mut first = call(&above, request);
        aggregated(&mut server);
        let response = done(&mut first);
        let known = response.extensions().get::<Known>().unwrap();
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
    assert_eq!(inner.handle().statistics().sent, 6);
}

#[test]
fn settings() {
    let layer = MemoryDiscoveryLayer::new()
        .base_path("/k8s/")
        .max_answer(50);
    let (service, mut server) = world(&layer);
    let mut small = call(&service, get("/k8s/apis/a/v1"));
    answer(&mut server, "/k8s/apis/a/v1", list());
    assert_eq!(text(done(&mut small)).len(), 65);
    let mut again = call(&service, get("/k8s/apis/a/v1"));
    answer(
        &mut server,
        "/k8s/apis/a/v1",
        json(Form::Legacy, r#"{"kind":"APIResourceList","resources":[]}"#),
    );
    done(&mut again);
    done(&mut call(&service, get("/k8s/apis/a/v1")));
    idle(&mut server);
    // Too late: it is shared.
    let clone = layer.clone();
    assert!(format!("{:?}", clone.base_path("/x")).contains("memory"));
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
        json(Form::Legacy, r#"{"kind":"APIGroupList","groups":[]}"#),
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
