//! Requests for the same key at the same time, and the inner service's readiness.

mod common;

use std::task::Poll;

use bytes::Bytes;
use common::{Gate, Piece, Pieces, TestBody, date, get, now, response};
use discovery_core::clock::ManualClock;
use discovery_core::store::MapStore;
use discovery_http_cache::{Body, HttpCache, HttpCacheLayer};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
use tower::util::Oneshot;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_test::mock::{self, Handle, Mock, SendResponse};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

type Req = Request<()>;
type Res = Response<TestBody>;
type Inner = Mock<Req, Res>;

struct World {
    layer: HttpCacheLayer<MapStore>,
    clock: ManualClock,
    service: HttpCache<Inner>,
    handle: Handle<Req, Res>,
}

impl World {
    fn new() -> Self {
        let (inner, handle) = mock::pair();
        let clock = ManualClock::new(now());
        let layer = HttpCacheLayer::new(MapStore::new()).clock(clock.clone());
        Self {
            service: layer.layer(inner),
            layer,
            clock,
            handle,
        }
    }

    fn ask(&self, headers: &[(&str, &str)]) -> Spawn<Oneshot<HttpCache<Inner>, Req>> {
        task::spawn(self.service.clone().oneshot(get(headers)))
    }

    /// So many requests, all of which have begun.
    fn crowd(&self, size: usize) -> Vec<Spawn<Oneshot<HttpCache<Inner>, Req>>> {
        let mut crowd: Vec<_> = (0..size).map(|_| self.ask(&[])).collect();
        for task in &mut crowd {
            assert_pending!(task.poll());
        }
        crowd
    }

    fn next(&mut self) -> Option<(Req, SendResponse<Res>)> {
        next(&mut self.handle)
    }
}

/// The next request that is with the server, if there is one.
fn next(handle: &mut Handle<Req, Res>) -> Option<(Req, SendResponse<Res>)> {
    match task::spawn(handle.next_request()).poll() {
        Poll::Ready(request) => request,
        Poll::Pending => None,
    }
}

fn boxed<B>(response: Response<B>) -> Res
where
    B: http_body::Body<Data = Bytes, Error: Into<common::Broken>> + Send + 'static,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

fn ok(headers: &[(&str, &str)], body: &'static str) -> Res {
    boxed(response(200, headers, Full::from(body)))
}

fn body(response: Result<Response<Body<TestBody>>, BoxError>) -> Bytes {
    let collected = assert_ready!(task::spawn(response.unwrap().collect()).poll());
    collected.unwrap().to_bytes()
}

#[test]
fn one_request_for_many() {
    let mut world = World::new();
    let mut crowd = world.crowd(100);
    let (_, send) = world.next().unwrap();
    assert!(world.next().is_none());
    send.send_response(ok(&[FRESH], "one"));
    for task in &mut crowd {
        assert_eq!(body(assert_ready!(task.poll())), "one");
    }
    assert!(world.next().is_none());
    let stats = world.layer.handle().stats();
    assert_eq!(
        (stats.misses, stats.hits, stats.coalesced, stats.stores),
        (1, 99, 99, 1)
    );
}

#[test]
fn one_revalidation_for_many() {
    // Fresh afterwards or not: who has waited for a validation needs none of his own.
    for cc in ["max-age=60", "public"] {
        let mut world = World::new();
        let mut first = world.crowd(1);
        let (_, send) = world.next().unwrap();
        send.send_response(ok(
            &[("cache-control", cc), ("etag", "\"1\""), ("date", &date(0))],
            "one",
        ));
        assert_eq!(body(assert_ready!(first[0].poll())), "one");
        world.clock.advance(std::time::Duration::from_secs(60));

        let mut crowd = world.crowd(10);
        let (request, send) = world.next().unwrap();
        assert_eq!(request.headers()["if-none-match"], "\"1\"");
        send.send_response(boxed(response(304, &[("date", &date(60))], Full::from(""))));
        for task in &mut crowd {
            assert_eq!(body(assert_ready!(task.poll())), "one");
        }
        assert!(world.next().is_none());
    }
}

#[test]
fn a_leader_that_goes_hands_the_lead_on() {
    let mut world = World::new();
    let mut crowd = world.crowd(4);
    let (_, first) = world.next().unwrap();
    drop(crowd.remove(0));
    drop(first);
    // And so does a follower that is next, before it has noticed.
    drop(crowd.remove(0));
    assert!(crowd[0].is_woken());
    assert_pending!(crowd[0].poll());
    assert_pending!(crowd[1].poll());
    let (_, second) = world.next().unwrap();
    assert!(world.next().is_none());
    second.send_response(ok(&[FRESH], "one"));
    for task in &mut crowd {
        assert_eq!(body(assert_ready!(task.poll())), "one");
    }
}

#[test]
fn after_an_answer_of_no_use_all_go_on_at_once() {
    let answers: [fn() -> Option<Res>; 6] = [
        || None,
        || Some(boxed(response(503, &[], Full::from("one")))),
        || Some(ok(&[("cache-control", "no-store")], "one")),
        // Storable, but each has to ask.
        || {
            Some(ok(
                &[("cache-control", "no-cache"), ("etag", "\"1\"")],
                "one",
            ))
        },
        || Some(ok(&[FRESH, ("vary", "Authorization")], "one")),
        // It may never end.
        || {
            let kind = ("content-type", "text/event-stream");
            let body = Pieces::new([Piece::Data("one"), Piece::Gate(Gate::default())]);
            Some(boxed(response(200, &[FRESH, kind], body)))
        },
    ];
    for answer in answers {
        let mut world = World::new();
        let mut crowd = world.crowd(5);
        let (_, send) = world.next().unwrap();
        match answer() {
            Some(answer) => send.send_response(answer),
            None => send.send_error(common::Broken("refused")),
        }
        assert_eq!(assert_ready!(crowd[0].poll()).is_ok(), answer().is_some());
        for task in &mut crowd[1..] {
            assert!(task.is_woken());
            assert_pending!(task.poll());
        }
        let mut asked = 0;
        while let Some((_, send)) = world.next() {
            send.send_response(ok(&[], "two"));
            asked += 1;
        }
        assert_eq!(asked, 4);
        for task in &mut crowd[1..] {
            assert_eq!(body(assert_ready!(task.poll())), "two");
        }
        assert_eq!(world.layer.handle().stats().coalesced, 0);
    }
}

#[test]
fn who_may_not_share_does_not_wait() {
    let mut world = World::new();
    let _leader = world.crowd(1);
    let (_, _first) = world.next().unwrap();
    let table: [&[(&str, &str)]; 6] = [
        &[("cache-control", "no-cache")],
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=5")],
        &[("cache-control", "min-fresh=5")],
        &[("range", "bytes=0-1")],
        &[("if-none-match", "\"1\"")],
    ];
    for headers in table {
        let mut task = world.ask(headers);
        assert_pending!(task.poll());
        let (_, send) = world.next().expect("it asks");
        send.send_response(ok(&[], "own"));
        assert_eq!(body(assert_ready!(task.poll())), "own");
    }
}

#[test]
fn followers_of_another_variant_ask_for_their_own() {
    let mut world = World::new();
    let mut a = world.ask(&[("accept", "a")]);
    assert_pending!(a.poll());
    let mut b = world.ask(&[("accept", "b")]);
    assert_pending!(b.poll());
    let (_, send) = world.next().unwrap();
    send.send_response(ok(&[FRESH, ("vary", "accept")], "for a"));
    assert_eq!(body(assert_ready!(a.poll())), "for a");
    assert_pending!(b.poll());
    let (request, send) = world.next().unwrap();
    assert_eq!(request.headers()["accept"], "b");
    send.send_response(ok(&[FRESH, ("vary", "accept")], "for b"));
    assert_eq!(body(assert_ready!(b.poll())), "for b");
}

/// Whether the length is known or not: the followers get their answers, and the leader's caller has
/// not read a byte.
#[test]
fn a_caller_who_never_reads_blocks_nobody() {
    for headers in [&[FRESH][..], &[FRESH, ("content-length", "6")]] {
        let mut world = World::new();
        let mut crowd = world.crowd(3);
        let (_, send) = world.next().unwrap();
        let gate = Gate::default();
        let pieces = [
            Piece::Data("abc"),
            Piece::Gate(gate.clone()),
            Piece::Data("def"),
        ];
        send.send_response(boxed(response(200, headers, Pieces::new(pieces))));
        // Others wait, so the body is read for them.
        for task in &mut crowd {
            assert_pending!(task.poll());
        }
        gate.open();
        assert!(crowd[0].is_woken());
        let unread = assert_ready!(crowd[0].poll());
        for task in &mut crowd[1..] {
            assert_eq!(body(assert_ready!(task.poll())), "abcdef");
        }
        // What has been read for the others is still there for the caller.
        assert_eq!(body(unread), "abcdef");
        assert!(world.next().is_none());
    }
}

#[test]
fn nobody_waits_for_a_body_that_others_do_not() {
    let mut world = World::new();
    let mut leader = world.ask(&[]);
    assert_pending!(leader.poll());
    let (_, send) = world.next().unwrap();
    let pieces = [Piece::Data("abc"), Piece::Gate(Gate::default())];
    send.send_response(boxed(response(200, &[FRESH], Pieces::new(pieces))));
    let _unread = assert_ready_ok!(leader.poll());
    // It may never be read: the next one leads.
    let mut next = world.ask(&[]);
    assert_pending!(next.poll());
    let (_, send) = world.next().unwrap();
    send.send_response(ok(&[FRESH], "two"));
    assert_eq!(body(assert_ready!(next.poll())), "two");
}

#[test]
fn a_body_too_large_to_hold_for_others_lets_them_go() {
    let mut world = World::new();
    let mut crowd = world.crowd(2);
    let (_, send) = world.next().unwrap();
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let pieces = (0..6).map(|_| Piece::Bytes(piece.clone()));
    send.send_response(boxed(response(200, &[FRESH], Pieces::new(pieces))));
    let unread = assert_ready!(crowd[0].poll());
    assert!(crowd[1].is_woken());
    assert_pending!(crowd[1].poll());
    let (_, send) = world.next().unwrap();
    send.send_response(ok(&[FRESH], "two"));
    assert_eq!(body(assert_ready!(crowd[1].poll())), "two");
    assert_eq!(body(unread).len(), 6 << 20);
}

#[test]
fn a_leader_that_goes_while_it_reads_hands_the_lead_on() {
    let mut world = World::new();
    let mut crowd = world.crowd(2);
    let (_, send) = world.next().unwrap();
    let pieces = [Piece::Data("abc"), Piece::Gate(Gate::default())];
    send.send_response(boxed(response(200, &[FRESH], Pieces::new(pieces))));
    assert_pending!(crowd[0].poll());
    drop(crowd.remove(0));
    assert_pending!(crowd[0].poll());
    let (_, send) = world.next().unwrap();
    send.send_response(ok(&[FRESH], "two"));
    assert_eq!(body(assert_ready!(crowd[0].poll())), "two");
}

#[test]
fn the_service_that_was_made_ready_is_called() {
    let (inner, mut handle) = mock::pair::<Req, Res>();
    let layer = HttpCacheLayer::new(MapStore::new());
    let mut service = layer.layer(ConcurrencyLimit::new(inner, 1));
    for round in ["miss", "hit", "pass"] {
        {
            let mut ready = task::spawn(ServiceExt::<Req>::ready(&mut service));
            assert!(assert_ready!(ready.poll()).is_ok());
        }
        let headers: &[_] = if round == "pass" {
            &[("cache-control", "no-store")]
        } else {
            &[]
        };
        let mut call = task::spawn(service.call(get(headers)));
        if round != "hit" {
            assert_pending!(call.poll());
            let (_, send) = next(&mut handle).unwrap();
            send.send_response(ok(&[FRESH], "one"));
        }
        assert_eq!(body(assert_ready!(call.poll())), "one");

        // The service is still there; what it had reserved is free again.
        let mut other = service.clone();
        let mut ready = task::spawn(ServiceExt::<Req>::ready(&mut other));
        assert!(assert_ready!(ready.poll()).is_ok(), "{round}");
    }
}

#[test]
fn followers_reserve_nothing() {
    let (inner, mut handle) = mock::pair::<Req, Res>();
    let layer = HttpCacheLayer::new(MapStore::new());
    let service = layer.layer(ConcurrencyLimitLayer::new(2).layer(inner));
    let ask = |uri: &str| task::spawn(service.clone().oneshot(Request::get(uri).body(()).unwrap()));
    let mut same: Vec<_> = (0..5).map(|_| ask("http://h/a")).collect();
    for task in &mut same {
        assert_pending!(task.poll());
    }
    let (_, first) = next(&mut handle).unwrap();
    // Another key, or nobody could ask for it until the first is answered.
    let mut other = ask("http://h/b");
    assert_pending!(other.poll());
    let (request, send) = next(&mut handle).expect("the other key is not delayed");
    assert_eq!(request.uri(), "http://h/b");
    send.send_response(ok(&[FRESH], "b"));
    assert_eq!(body(assert_ready!(other.poll())), "b");

    // After an error each asks for himself, as far as the limit allows.
    first.send_error(common::Broken("refused"));
    assert!(assert_ready!(same.remove(0).poll()).is_err());
    while !same.is_empty() {
        same.retain_mut(|task| match task.poll() {
            Poll::Ready(answer) => {
                assert_eq!(body(answer), "a");
                false
            }
            Poll::Pending => true,
        });
        let mut asked = 0;
        while let Some((_, send)) = next(&mut handle) {
            send.send_response(ok(&[], "a"));
            asked += 1;
        }
        assert!(asked <= 2);
    }
}
