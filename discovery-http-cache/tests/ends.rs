//! Every way in which a body can end, for each kind of reader.

mod common;

use std::io;

use bytes::Bytes;
use common::mocked::{Mocked, Req, Res, boxed, next, ok};
use common::{Broken, Gate, Piece, Pieces, TestBody, get, request, response};
use discovery_core::store::{MapStore, Op, PutOptions, Store, Value, Writer};
use discovery_core::testing::ManualExecutor;
use discovery_http_cache::{Body, HttpCache, HttpCacheLayer};
use http::{Method, Response};
use http_body_util::BodyExt;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceExt};
use tower_test::mock::{self, Handle, Mock};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const SIX: (&str, &str) = ("content-length", "6");

/// How the server ends the body.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// With the last chunk, or with the last announced byte.
    Whole,
    /// With trailers after all data.
    Trailers,
    /// With an error.
    Cut,
    /// Without an error, before the announced length.
    Short,
    /// With more than the announced length.
    Long,
    /// Not at all: nothing comes any more.
    Stalled,
}

/// The outcome for a reader after the first three bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Whole,
    Error,
    Pending,
}

struct Row {
    end: End,
    is_announced: bool,
    outcome: Outcome,
    is_stored: bool,
}

fn rows() -> Vec<Row> {
    let row = |end, is_announced, outcome, is_stored| Row {
        end,
        is_announced,
        outcome,
        is_stored,
    };
    vec![
        row(End::Whole, false, Outcome::Whole, true),
        row(End::Whole, true, Outcome::Whole, true),
        row(End::Trailers, false, Outcome::Whole, true),
        row(End::Trailers, true, Outcome::Whole, true),
        row(End::Cut, false, Outcome::Error, false),
        row(End::Cut, true, Outcome::Error, false),
        row(End::Short, true, Outcome::Error, false),
        row(End::Long, true, Outcome::Error, false),
        row(End::Stalled, false, Outcome::Pending, false),
        row(End::Stalled, true, Outcome::Pending, false),
    ]
}

impl Row {
    /// The response, and the gate behind its first three bytes.
    fn answer(&self, status: u16, more: &[(&str, &str)]) -> (Res, Gate) {
        let gate = Gate::default();
        let mut pieces = vec![Piece::Data("abc"), Piece::Gate(gate.clone())];
        pieces.extend(match self.end {
            End::Whole => vec![Piece::Data("def")],
            End::Trailers => vec![Piece::Data("def"), Piece::Trailers],
            End::Cut => vec![Piece::Fail],
            End::Short => vec![],
            End::Long => vec![Piece::Data("defghi")],
            End::Stalled => vec![Piece::Data(""), Piece::Gate(Gate::default())],
        });
        let mut headers = vec![FRESH];
        headers.extend(self.is_announced.then_some(SIX));
        headers.extend(more);
        (boxed(response(status, &headers, Pieces::new(pieces))), gate)
    }

    fn check(&self, response: Response<Body<TestBody>>, who: &str) {
        let what = format!("{:?} announced: {} {who}", self.end, self.is_announced);
        let mut read = task::spawn(response.into_body().collect());
        let outcome = match read.poll() {
            std::task::Poll::Pending => Outcome::Pending,
            std::task::Poll::Ready(Err(_)) => Outcome::Error,
            std::task::Poll::Ready(Ok(collected)) => {
                assert_eq!(collected.to_bytes(), "abcdef", "{what}");
                Outcome::Whole
            }
        };
        assert_eq!(outcome, self.outcome, "{what}");
    }
}

#[test]
fn one_reader_alone() {
    for row in rows() {
        let mut world = Mocked::new();
        let mut task = world.ask(&[]);
        assert_pending!(task.poll());
        let (answer, gate) = row.answer(200, &[]);
        world.next().unwrap().1.send_response(answer);
        let response = assert_ready!(task.poll()).unwrap();
        gate.open();
        row.check(response, "alone");
        assert_eq!(world.store.len(), usize::from(row.is_stored));
    }
}

#[test]
fn the_first_of_several_and_those_who_wait_share_one_fate() {
    for row in rows() {
        for order in [[0, 1, 2], [2, 1, 0]] {
            let mut world = Mocked::new();
            let mut crowd = world.crowd(3);
            let (answer, gate) = row.answer(200, &[]);
            world.next().unwrap().1.send_response(answer);
            let mut responses: Vec<_> = crowd
                .iter_mut()
                .map(|task| Some(assert_ready!(task.poll()).unwrap()))
                .collect();
            gate.open();
            for place in order {
                row.check(responses[place].take().unwrap(), "several");
            }
            assert_eq!(world.store.len(), usize::from(row.is_stored));
            assert!(world.next().is_none());
        }
    }
}

#[test]
fn a_background_refresh_stores_whole_bodies_and_keeps_what_may_be_served() {
    for row in rows() {
        let later = ManualExecutor::new();
        let mut world = Mocked::with(|layer| layer.executor(later.clone()));
        let old = [("cache-control", "max-age=10, stale-while-revalidate=30")];
        world.fill(ok(&old, "old"));
        world.pass(20);
        let mut stale = world.ask(&[]);
        let response = assert_ready!(stale.poll()).unwrap();
        assert_eq!(common::mocked::body(Ok(response)), "old");
        let mut refresh = task::spawn(later.take().pop().unwrap());
        assert_pending!(refresh.poll());
        let (answer, gate) = row.answer(200, &[]);
        world.next().unwrap().1.send_response(answer);
        gate.open();
        assert_eq!(refresh.poll().is_pending(), row.outcome == Outcome::Pending);
        drop(refresh);
        // A superseded entry is removed, even if its replacement can't be stored.
        assert_eq!(
            world.store.len(),
            usize::from(row.is_stored),
            "{:?}",
            row.end
        );
        if row.is_stored {
            let mut hit = world.ask(&[]);
            assert_eq!(common::mocked::body(assert_ready!(hit.poll())), "abcdef");
        }
        let stats = world.layer.handle().stats();
        assert_eq!((stats.misses, stats.refreshes), (1, 1));
    }
}

/// A store that is full.
#[derive(Clone)]
struct Full507(MapStore);

impl Store for Full507 {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        self.0.get(key)
    }

    fn put_with(&self, _: &str, _: Value, _: PutOptions) -> Op<io::Result<()>> {
        Op::Ready(Err(io::ErrorKind::StorageFull.into()))
    }

    fn create_with(&self, _: &str, _: Bytes, _: PutOptions) -> Op<io::Result<Box<dyn Writer>>> {
        Op::Ready(Err(io::ErrorKind::StorageFull.into()))
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        self.0.remove(key)
    }
}

fn over<St: Store>(store: St) -> (HttpCache<Mock<Req, Res>>, Handle<Req, Res>) {
    let (inner, handle) = mock::pair();
    let clock = discovery_core::sync::clock::ManualClock::new(common::now());
    let layer = HttpCacheLayer::new(store).clock(clock);
    (layer.layer(inner), handle)
}

#[test]
fn a_full_store_changes_nothing_for_the_readers() {
    for row in rows() {
        let store = MapStore::new();
        let (service, mut handle) = over(Full507(store.clone()));
        let ask = || task::spawn(service.clone().oneshot(get(&[])));
        let mut crowd = [ask(), ask()];
        for task in &mut crowd {
            assert_pending!(task.poll());
        }
        let (answer, gate) = row.answer(200, &[]);
        next(&mut handle).unwrap().1.send_response(answer);
        let responses = crowd
            .each_mut()
            .map(|task| assert_ready!(task.poll()).unwrap());
        gate.open();
        for response in responses {
            row.check(response, "full store");
        }
        assert!(store.is_empty());
    }
}

/// A part is passed on as it comes, and never stored.
#[test]
fn a_206_is_passed_on() {
    for row in rows() {
        let mut world = Mocked::new();
        let mut task = world.ask(&[("range", "bytes=0-5")]);
        assert_pending!(task.poll());
        let (answer, gate) = row.answer(206, &[("content-range", "bytes 0-5/9")]);
        world.next().unwrap().1.send_response(answer);
        let response = assert_ready!(task.poll()).unwrap();
        gate.open();
        // Its length is for the recipient to compare.
        if matches!(row.end, End::Whole | End::Cut | End::Stalled) {
            row.check(response, "206");
        }
        assert!(world.store.is_empty());
    }
}

/// These have no content: nobody waits for any.
#[test]
fn a_head_and_a_304_need_no_body() {
    let stalled = |status, headers: &[(&str, &str)]| {
        let pieces = Pieces::new([Piece::Gate(Gate::default())]);
        boxed(response(status, headers, pieces))
    };
    let mut world = Mocked::new();
    let mut head = world.send(request(Method::HEAD, &[]));
    assert_pending!(head.poll());
    world
        .next()
        .unwrap()
        .1
        .send_response(stalled(200, &[FRESH, SIX]));
    let response = assert_ready!(head.poll()).unwrap();
    assert_eq!(response.headers()["content-length"], "6");
    assert_eq!(common::mocked::body(Ok(response)), "");

    for followers in [0, 2] {
        let mut world = Mocked::new();
        world.fill(ok(&[FRESH, ("etag", "\"1\"")], "abcdef"));
        world.pass(60);
        let mut crowd = world.crowd(1 + followers);
        let (_, send) = world.next().unwrap();
        send.send_response(stalled(304, &[FRESH, ("etag", "\"1\"")]));
        for task in &mut crowd {
            assert_eq!(common::mocked::body(assert_ready!(task.poll())), "abcdef");
        }
        assert!(world.next().is_none());
    }
}

/// The bytes that have come before the cut are those of the server.
#[test]
fn the_error_of_a_cut_body_is_the_servers_own_if_one_reads_it() {
    let mut world = Mocked::new();
    let mut task = world.ask(&[]);
    assert_pending!(task.poll());
    let pieces = Pieces::new([Piece::Data("abc"), Piece::Fail]);
    let answer = boxed(response(200, &[FRESH], pieces));
    world.next().unwrap().1.send_response(answer);
    let response = assert_ready!(task.poll()).unwrap();
    let collected = assert_ready!(task::spawn(response.into_body().collect()).poll());
    let error = collected.unwrap_err();
    assert_eq!(error.downcast_ref::<Broken>(), Some(&Broken("cut")));
}
