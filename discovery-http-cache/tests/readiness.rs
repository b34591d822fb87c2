//! The readiness of the inner service, and errors of it.

mod common;

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use common::get;
use common::mocked::{Req, Res, body, next, ok};
use discovery_core::store::MapStore;
use discovery_http_cache::HttpCacheLayer;
use http::Request;
use tokio_test::{assert_pending, assert_ready, task};
use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
use tower::{Layer, Service, ServiceExt};
use tower_test::mock;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

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
    let ask = |uri: &str| {
        task::spawn(
            service
                .clone()
                .oneshot(Request::get(uri).body(common::empty()).unwrap()),
        )
    };
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

/// A service that will never be ready again.
#[derive(Clone)]
struct Closed(mock::Mock<Req, Res>, Arc<Mutex<bool>>);

impl Service<Req> for Closed {
    type Response = Res;
    type Error = tower::BoxError;
    type Future = <mock::Mock<Req, Res> as Service<Req>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if *self.1.lock().unwrap() {
            return Poll::Ready(Err("closed".into()));
        }
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}

#[test]
fn a_service_that_is_not_ready_has_failed_for_all() {
    for (cc, stale) in [
        ("max-age=10, stale-if-error=60", true),
        ("max-age=10", false),
    ] {
        let (inner, mut handle) = mock::pair::<Req, Res>();
        let closed = Arc::new(Mutex::new(false));
        let clock = discovery_core::sync::clock::ManualClock::new(common::now());
        let layer = HttpCacheLayer::new(MapStore::new()).clock(clock.clone());
        let service = layer.layer(Closed(inner, Arc::clone(&closed)));
        let ask = || task::spawn(service.clone().oneshot(get(&[])));
        let mut first = ask();
        assert_pending!(first.poll());
        let (_, send) = next(&mut handle).unwrap();
        send.send_response(ok(&[("cache-control", cc), ("etag", "\"1\"")], "one"));
        assert_eq!(body(assert_ready!(first.poll())), "one");
        clock.advance(Duration::from_secs(20));

        let mut crowd: Vec<_> = (0..5).map(|_| ask()).collect();
        for task in &mut crowd {
            assert_pending!(task.poll());
        }
        *closed.lock().unwrap() = true;
        // The leader goes; the next one is to ask, and the service is closed.
        drop(crowd.remove(0));
        for task in &mut crowd {
            let answer = assert_ready!(task.poll());
            if stale {
                assert_eq!(body(answer), "one");
            } else {
                assert_eq!(answer.unwrap_err().to_string(), "closed");
            }
        }
    }
}

/// The only permit is in use: a hit, and a stale response in place of one, do not wait for it, and no load shedder above
/// the cache refuses them.
#[test]
fn a_hit_needs_no_ready_inner_service() {
    let (inner, mut handle) = mock::pair::<Req, Res>();
    let layer = HttpCacheLayer::new(MapStore::new()).stale_if_disconnected(true);
    let cached = layer.layer(ConcurrencyLimit::new(inner, 1));
    let service = tower::load_shed::LoadShed::new(cached);
    let ask = |uri: &str| {
        let request = Request::get(uri).body(common::empty()).unwrap();
        task::spawn(service.clone().oneshot(request))
    };
    let mut first = ask("http://h/a");
    assert_pending!(first.poll());
    let (_, send) = next(&mut handle).unwrap();
    send.send_response(ok(&[FRESH], "a"));
    assert_eq!(body(assert_ready!(first.poll())), "a");

    let mut busy = ask("http://h/b");
    assert_pending!(busy.poll());
    let (_, _unanswered) = next(&mut handle).unwrap();
    let mut hit = ask("http://h/a");
    assert_eq!(body(assert_ready!(hit.poll())), "a");
    // A request that has to be forwarded waits for its turn.
    let mut waiting = ask("http://h/c");
    assert_pending!(waiting.poll());
    assert!(next(&mut handle).is_none());
    drop(busy);
    assert!(waiting.is_woken());
    assert_pending!(waiting.poll());
    assert_eq!(next(&mut handle).unwrap().0.uri(), "http://h/c");
}
