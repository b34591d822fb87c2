//! How long, and with how much memory, requests wait for another one.

mod common;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use common::mocked::{Mocked, body, boxed, ok};
use common::{Piece, Pieces, Server, get, response};
use discovery_core::store::{Op, PutOptions, Store, Value, Writer};
use discovery_core::testing::ManualTimer;
use discovery_http_cache::HttpCacheLayer;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

const WAIT: Duration = Duration::from_secs(5);

/// A caller may do something else before it polls, poll in another order, or never.
#[test]
fn nobody_waits_for_an_answer_that_is_not_polled() {
    let mut world = Mocked::new();
    let call = |world: &Mocked| {
        let mut service = world.service.clone();
        assert_ready_ok!(task::spawn(service.ready()).poll());
        task::spawn(service.call(get(&[])))
    };
    let [mut first, mut second, third] = [(); 3].map(|()| call(&world));
    assert!(world.next().is_none());
    assert_pending!(second.poll());
    let (_, send) = world.next().unwrap();
    send.send_response(ok(&[FRESH], "one"));
    assert_eq!(body(assert_ready!(second.poll())), "one");
    assert_eq!(body(assert_ready!(first.poll())), "one");
    assert!(world.next().is_none());
    drop(third);
    // A response that was fresh at the time of the call is an answer.
    let mut hit = call(&world);
    world.pass(61);
    assert_eq!(body(assert_ready!(hit.poll())), "one");
    let stats = world.layer.handle().stats();
    assert_eq!((stats.misses, stats.hits), (1, 2));
}

#[test]
fn who_has_waited_too_long_asks() {
    let timer = ManualTimer::new();
    let mut world = Mocked::with(|layer| layer.timer(timer.clone()).max_wait(WAIT));
    let mut crowd = world.crowd(2);
    let (_, slow) = world.next().unwrap();
    assert!(world.next().is_none());
    assert_eq!(timer.sleeps(), [WAIT], "only who waits");
    timer.advance(WAIT - Duration::from_nanos(1));
    assert!(!crowd[1].is_woken());
    timer.advance(Duration::from_nanos(1));
    assert!(crowd[1].is_woken());
    assert_pending!(crowd[1].poll());
    let (_, send) = world.next().unwrap();
    send.send_response(ok(&[FRESH], "two"));
    assert_eq!(body(assert_ready!(crowd[1].poll())), "two");
    // The other one is not affected.
    slow.send_response(ok(&[FRESH], "one"));
    assert_eq!(body(assert_ready!(crowd[0].poll())), "one");
}

/// Bodies that are read for others are bounded in memory, not in bytes of the body only.
#[test]
fn small_pieces_count_too() {
    for (followers, most) in [(0, 1_000), (1, 50_000)] {
        let mut world = Mocked::new();
        let mut crowd = world.crowd(1 + followers);
        let pieces = Pieces::new((0..100_000).map(|_| Piece::Data("x")));
        let read = pieces.read.clone();
        world
            .next()
            .unwrap()
            .1
            .send_response(boxed(response(200, &[FRESH], pieces)));
        let first = assert_ready!(crowd[0].poll());
        let count = read.get();
        assert!(count < most, "{count}");
        assert_eq!(body(first).len(), 100_000);
    }
}

/// A store that forgets nothing, and never says so.
struct Keeping(discovery_core::store::MapStore);

impl Store for Keeping {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.0.get(key)
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        self.0.put_with(key, value, options)
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        self.0.create_with(key, head, options)
    }

    fn remove(&self, _: &str) -> Op<io::Result<()>> {
        Op::wait(std::future::pending())
    }
}

/// All that it invalidates is removed at the same time: it does not wait for one after another.
#[tokio::test(start_paused = true)]
async fn a_change_waits_once_for_a_store_that_hangs() {
    let server = Server::default();
    let layer = HttpCacheLayer::new(Keeping(discovery_core::store::MapStore::new()))
        .clock(common::clock())
        .timer(hyper_util::rt::TokioTimer::new())
        .max_wait(WAIT);
    let service = layer.layer(server.clone());
    for accept in ["a", "b", "c", "d"] {
        server.ok(&[FRESH, ("vary", "accept")], "x");
        let response = service.clone().oneshot(get(&[("accept", accept)])).await;
        drop(response.unwrap());
    }
    let places = [("location", "/one"), ("content-location", "/two")];
    server.answer(201, &places, "");
    let began = tokio::time::Instant::now();
    let put = common::request(http::Method::PUT, &[]);
    drop(service.oneshot(put).await.unwrap());
    assert_eq!(began.elapsed(), WAIT);
}
