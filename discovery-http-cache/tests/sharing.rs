//! Several requests for one key whose answer is still coming: nobody waits for somebody else.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::mocked::{Mocked, Res, Task, body, boxed, next, ok};
use common::{Broken, Gate, Piece, Pieces, TestBody, response};
use discovery_http_cache::Body;
use http::Response;
use http_body_util::BodyExt;
use hyper_util::rt::TokioTimer;
use tokio_test::{assert_pending, assert_ready, task};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const MIB: usize = 1 << 20;

type TestResponse = Response<Body<TestBody>>;

fn head(task: &mut Task) -> TestResponse {
    assert_ready!(task.poll()).unwrap()
}

/// The data that has come, and no more.
fn read(body: &mut Body<TestBody>) -> Bytes {
    let frame = assert_ready!(task::spawn(body.frame()).poll());
    frame.unwrap().unwrap().into_data().unwrap()
}

fn is_waiting(body: &mut Body<TestBody>) -> bool {
    task::spawn(body.frame()).poll().is_pending()
}

fn fails(response: TestResponse) -> bool {
    let result = assert_ready!(task::spawn(response.into_body().collect()).poll());
    result.map_err(Broken::from).is_err()
}

/// An answer of two parts, the second behind a gate.
fn two_parts(headers: &[(&str, &str)]) -> (Res, Gate) {
    let gate = Gate::default();
    let pieces = [
        Piece::Data("abc"),
        Piece::Gate(gate.clone()),
        Piece::Data("def"),
    ];
    (boxed(response(200, headers, Pieces::new(pieces))), gate)
}

#[test]
fn all_get_the_head_and_each_part_when_it_comes() {
    for headers in [&[FRESH][..], &[FRESH, ("content-length", "6")]] {
        let mut world = Mocked::new();
        let mut crowd = world.crowd(3);
        let (answer, gate) = two_parts(headers);
        world.next().unwrap().1.send_response(answer);
        let mut bodies: Vec<_> = crowd
            .iter_mut()
            .map(|task| head(task).into_body())
            .collect();
        for body in &mut bodies {
            assert_eq!(read(body), "abc");
            assert!(is_waiting(body));
        }
        gate.open();
        for body in &mut bodies {
            assert_eq!(read(body), "def");
        }
        assert!(world.next().is_none());
        let stats = world.layer.handle().stats();
        assert_eq!((stats.misses, stats.coalesced, stats.stores), (1, 2, 1));
    }
}

#[test]
fn a_caller_who_never_reads_blocks_nobody() {
    for headers in [&[FRESH][..], &[FRESH, ("content-length", "6")]] {
        let mut world = Mocked::new();
        let mut crowd = world.crowd(3);
        let (answer, gate) = two_parts(headers);
        world.next().unwrap().1.send_response(answer);
        let unread = crowd[0].poll();
        gate.open();
        for task in &mut crowd[1..] {
            assert_eq!(body(assert_ready!(task.poll())), "abcdef");
        }
        // The parts that came for the others are still there for the caller.
        assert_eq!(body(assert_ready!(unread)), "abcdef");
        assert!(world.next().is_none());
    }
}

/// The first caller, and any other.
#[test]
fn a_reader_that_goes_takes_nothing_with_it() {
    for gone in 0..3 {
        let mut world = Mocked::new();
        let mut crowd = world.crowd(3);
        let (answer, gate) = two_parts(&[FRESH]);
        world.next().unwrap().1.send_response(answer);
        let mut responses: Vec<_> = crowd.iter_mut().map(head).collect();
        let mut going = responses.remove(gone).into_body();
        assert_eq!(read(&mut going), "abc");
        // It is the one that the server's body would wake.
        assert!(is_waiting(&mut going));
        let mut others: Vec<_> = responses
            .into_iter()
            .map(|response| task::spawn(response.into_body().collect()))
            .collect();
        for other in &mut others {
            assert_pending!(other.poll());
        }
        drop(going);
        gate.open();
        for other in &mut others {
            assert!(other.is_woken());
            assert_eq!(
                assert_ready!(other.poll()).unwrap().to_bytes(),
                "abcdef",
                "{gone}"
            );
        }
        assert_eq!(world.store.len(), 1);
    }
}

#[test]
fn a_body_that_nobody_reads_any_more_is_not_stored() {
    let mut world = Mocked::new();
    let mut crowd = world.crowd(2);
    let (answer, _gate) = two_parts(&[FRESH]);
    world.next().unwrap().1.send_response(answer);
    for task in &mut crowd {
        drop(head(task));
    }
    assert!(world.store.is_empty());
    let mut next = world.ask(&[]);
    assert_pending!(next.poll());
    world.next().unwrap().1.send_response(ok(&[FRESH], "two"));
    assert_eq!(body(assert_ready!(next.poll())), "two");
}

/// No list of media types decides whether a response streams.
#[test]
fn an_endless_body_reaches_all_its_listeners() {
    for kind in [
        "application/jsonl",
        "multipart/mixed",
        "video/mp4",
        "text/plain",
    ] {
        let mut world = Mocked::new();
        let mut crowd = world.crowd(2);
        let gates: Vec<Gate> = (0..50).map(|_| Gate::default()).collect();
        let pieces = gates
            .iter()
            .flat_map(|gate| [Piece::Gate(gate.clone()), Piece::Data("line\n")]);
        let headers = [FRESH, ("content-type", kind)];
        let answer = boxed(response(200, &headers, Pieces::new(pieces)));
        world.next().unwrap().1.send_response(answer);
        let mut bodies: Vec<_> = crowd
            .iter_mut()
            .map(|task| head(task).into_body())
            .collect();
        for gate in &gates[..40] {
            for body in &mut bodies {
                assert!(is_waiting(body));
            }
            gate.open();
            for body in &mut bodies {
                assert_eq!(read(body), "line\n", "{kind}");
            }
        }
    }
}

#[test]
fn a_request_joins_a_body_from_its_first_byte() {
    for headers in [&[FRESH][..], &[FRESH, ("content-length", "6")]] {
        let mut world = Mocked::new();
        let mut first = world.ask(&[]);
        assert_pending!(first.poll());
        let (answer, gate) = two_parts(headers);
        world.next().unwrap().1.send_response(answer);
        let mut first = head(&mut first).into_body();
        assert_eq!(read(&mut first), "abc");
        let mut second = head(&mut world.ask(&[])).into_body();
        assert_eq!(read(&mut second), "abc");
        assert!(is_waiting(&mut second));
        gate.open();
        assert_eq!(read(&mut second), "def");
        assert_eq!(read(&mut first), "def");
        assert!(world.next().is_none());
    }
}

/// A response that is stale when it has come is for those who have waited for it, and for nobody else (RFC 9111 §4).
#[test]
fn a_stale_body_is_not_joined_later() {
    let mut world = Mocked::new();
    let mut crowd = world.crowd(2);
    let (answer, _gate) = two_parts(&[("cache-control", "max-age=0"), ("etag", "\"1\"")]);
    world.next().unwrap().1.send_response(answer);
    let _first = head(&mut crowd[0]);
    let _second = head(&mut crowd[1]);
    let mut later = world.ask(&[]);
    assert_pending!(later.poll());
    assert!(world.next().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_body_without_progress_is_not_joined() {
    let limit = Duration::from_secs(5);
    let mut world = Mocked::with(|layer| layer.timer(TokioTimer::new()).max_wait(limit));
    let mut first = world.ask(&[]);
    assert_pending!(first.poll());
    let (answer, gate) = two_parts(&[FRESH]);
    world.next().unwrap().1.send_response(answer);
    let mut first = head(&mut first).into_body();
    assert_eq!(read(&mut first), "abc");
    tokio::time::advance(Duration::from_secs(4)).await;
    let mut joined = head(&mut world.ask(&[])).into_body();
    assert_eq!(read(&mut joined), "abc");
    tokio::time::advance(Duration::from_secs(1)).await;
    let mut own = world.ask(&[]);
    assert_pending!(own.poll());
    world.next().unwrap().1.send_response(ok(&[FRESH], "two"));
    assert_eq!(body(assert_ready!(own.poll())), "two");
    // The others share the fate of the body that they read.
    gate.open();
    assert_eq!(read(&mut joined), "def");
    assert_eq!(read(&mut first), "def");
}

/// A head that does not come is waited for by its own caller only.
#[tokio::test(start_paused = true)]
async fn a_stalled_server_holds_up_one_request() {
    for default in [true, false] {
        let mut world = Mocked::with(|layer| {
            let layer = layer.timer(TokioTimer::new());
            if default {
                layer
            } else {
                layer.max_wait(Duration::from_secs(5))
            }
        });
        let mut crowd = world.crowd(4);
        let (_, _stalled) = world.next().unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        for task in &mut crowd[1..] {
            assert!(task.is_woken());
            assert_pending!(task.poll());
            let (_, send) = next(&mut world.handle).unwrap();
            send.send_response(ok(&[FRESH], "own"));
            assert_eq!(body(assert_ready!(task.poll())), "own");
        }
        assert_pending!(crowd[0].poll());
    }
}

/// A timeout above the layer, shorter than the body takes: each caller has got the head.
#[tokio::test(start_paused = true)]
async fn a_timeout_for_the_head_is_met_by_all_who_share_a_slow_body() {
    let mut world = Mocked::new();
    let mut crowd: Vec<_> = (0..3)
        .map(|_| {
            let request = common::get(&[]);
            let service =
                tower::timeout::Timeout::new(world.service.clone(), Duration::from_secs(5));
            task::spawn(tower::ServiceExt::oneshot(service, request))
        })
        .collect();
    for task in &mut crowd {
        assert_pending!(task.poll());
    }
    let (answer, gate) = two_parts(&[FRESH]);
    next(&mut world.handle).unwrap().1.send_response(answer);
    let responses: Vec<_> = crowd
        .iter_mut()
        .map(|task| assert_ready!(task.poll()).unwrap())
        .collect();
    tokio::time::advance(Duration::from_secs(20)).await;
    gate.open();
    for response in responses {
        let collected = assert_ready!(task::spawn(response.into_body().collect()).poll());
        assert_eq!(collected.unwrap().to_bytes(), "abcdef");
    }
    assert!(next(&mut world.handle).is_none());
}

/// Those who wait go on at once, each on its own: the body could not be held for them.
#[test]
fn a_body_that_is_announced_as_too_large_to_hold_lets_the_others_go() {
    let length = (5 * MIB).to_string();
    let mut world = Mocked::new();
    let mut crowd = world.crowd(3);
    let headers = [FRESH, ("content-length", &*length)];
    let piece = Bytes::from(vec![b'x'; MIB]);
    let pieces = Pieces::new((0..5).map(|_| Piece::Bytes(piece.clone())));
    let answer = boxed(response(200, &headers, pieces));
    world.next().unwrap().1.send_response(answer);
    let unread = head(&mut crowd[0]);
    for task in &mut crowd[1..] {
        assert!(task.is_woken());
        assert_pending!(task.poll());
        let (_, send) = next(&mut world.handle).unwrap();
        send.send_response(ok(&[FRESH], "own"));
        assert_eq!(body(assert_ready!(task.poll())), "own");
    }
    assert_eq!(body(Ok(unread)).len(), 5 * MIB);
}

/// Of unknown length: those who have its head read all of it, and those who come when it has grown too large to be held
/// do not join it.
#[test]
fn a_body_that_grows_too_large_to_hold_is_not_joined() {
    let mut world = Mocked::new();
    let mut crowd = world.crowd(2);
    let gate = Gate::default();
    let piece = Bytes::from(vec![b'x'; MIB]);
    let mut pieces: Vec<_> = (0..6).map(|_| Piece::Bytes(piece.clone())).collect();
    pieces.push(Piece::Gate(gate.clone()));
    pieces.push(Piece::Data("end"));
    let answer = boxed(response(200, &[FRESH], Pieces::new(pieces)));
    world.next().unwrap().1.send_response(answer);
    let unread = head(&mut crowd[0]);
    let mut reading = head(&mut crowd[1]).into_body();
    for _ in 0..6 {
        assert_eq!(read(&mut reading).len(), MIB);
    }
    let mut own = world.ask(&[]);
    assert_pending!(own.poll());
    world.next().unwrap().1.send_response(ok(&[FRESH], "own"));
    assert_eq!(body(assert_ready!(own.poll())), "own");
    gate.open();
    assert_eq!(read(&mut reading), "end");
    assert_eq!(body(Ok(unread)).len(), 6 * MIB + 3);
}

/// A reader that is so far behind that its part of the body can't be held is told; it gets no cut body.
#[test]
fn a_reader_that_falls_behind_by_more_than_an_entry_may_have_fails() {
    let mut world = Mocked::with(|layer| layer.max_body_size(5 * MIB as u64));
    let mut crowd = world.crowd(3);
    let piece = Bytes::from(vec![b'x'; MIB]);
    let pieces = Pieces::new((0..8).map(|_| Piece::Bytes(piece.clone())));
    let answer = boxed(response(200, &[FRESH], pieces));
    world.next().unwrap().1.send_response(answer);
    let slow = head(&mut crowd[0]);
    let fast = head(&mut crowd[1]);
    assert_eq!(body(Ok(fast)).len(), 8 * MIB);
    assert!(fails(slow));
    // A request that has waited and not been given the head goes on its own.
    assert_pending!(crowd[2].poll());
    let (_, send) = next(&mut world.handle).unwrap();
    send.send_response(ok(&[FRESH], "own"));
    assert_eq!(body(assert_ready!(crowd[2].poll())), "own");
}

#[test]
fn a_body_that_breaks_off_fails_for_all_and_is_not_stored() {
    for headers in [&[FRESH][..], &[FRESH, ("content-length", "6")]] {
        let mut world = Mocked::new();
        let mut crowd = world.crowd(3);
        let pieces = Pieces::new([Piece::Data("abc"), Piece::Fail]);
        let answer = boxed(response(200, headers, pieces));
        world.next().unwrap().1.send_response(answer);
        for task in &mut crowd {
            let mut body = head(task).into_body();
            assert_eq!(http_body::Body::size_hint(&body).exact(), None);
            assert_eq!(read(&mut body), "abc");
            let error = assert_ready!(task::spawn(body.frame()).poll());
            assert_eq!(Broken::from(error.unwrap().unwrap_err()), Broken("cut"));
            let end = assert_ready!(task::spawn(body.frame()).poll());
            assert!(end.is_none());
        }
        assert!(world.store.is_empty());
    }
}
