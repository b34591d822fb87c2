//! Responses that are on their way while an unsafe request changes their resource.

mod common;

use bytes::Bytes;
use common::mocked::{Mocked, Task, body, boxed, ok};
use common::slow::slow;
use common::{Gate, Piece, Pieces, URI, World, get, request, response};
use discovery_http_cache::HttpCacheLayer;
use http::{Method, Response};
use http_body_util::Full;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower::{Layer, ServiceExt};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const TAG: (&str, &str) = ("etag", "\"1\"");

/// A change that is made while nothing else happens.
fn change(world: &mut Mocked, answer: Response<Full<Bytes>>) {
    let mut put = world.send(request(Method::PUT, &[]));
    assert_pending!(put.poll());
    let (request, send) = world.next().unwrap();
    assert_eq!(request.method(), Method::PUT);
    send.send_response(boxed(answer));
    assert_ready_ok!(put.poll());
}

fn changed(world: &mut Mocked) {
    change(world, response(204, &[], Full::default()));
}

/// The next request asks the server.
fn asks(world: &mut Mocked) -> Task {
    let mut task = world.ask(&[]);
    assert_pending!(task.poll());
    let (_, send) = world.next().expect("it asks for itself");
    send.send_response(ok(&[FRESH], "after"));
    task
}

#[test]
fn what_was_asked_before_is_not_stored_and_not_shared() {
    let mut world = Mocked::new();
    let mut crowd = world.crowd(2);
    let (_, before) = world.next().unwrap();
    changed(&mut world);

    // It does not wait for what may be old.
    let mut after = asks(&mut world);
    assert_eq!(body(assert_ready!(after.poll())), "after");
    before.send_response(ok(&[FRESH], "before"));
    assert_eq!(body(assert_ready!(crowd[0].poll())), "before");
    let mut hit = world.ask(&[]);
    assert_eq!(body(assert_ready!(hit.poll())), "after");
    assert_pending!(crowd[1].poll());
    // The one who has waited is on its own.
    world.next().unwrap().1.send_response(ok(&[FRESH], "again"));
    assert_eq!(body(assert_ready!(crowd[1].poll())), "again");
    let mut hit = world.ask(&[]);
    assert_ne!(body(assert_ready!(hit.poll())), "before");
}

#[test]
fn a_body_that_ends_too_late_is_not_stored() {
    let large = "x".repeat(5 << 20);
    for size in [3, large.len()] {
        let mut world = Mocked::new();
        let mut task = world.ask(&[]);
        assert_pending!(task.poll());
        let gate = Gate::default();
        let start = Bytes::from(large.clone()).slice(..size);
        let pieces = [
            Piece::Bytes(start),
            Piece::Gate(gate.clone()),
            Piece::Data("end"),
        ];
        let answer = boxed(response(200, &[FRESH], Pieces::new(pieces)));
        world.next().unwrap().1.send_response(answer);
        let unread = assert_ready!(task.poll());
        changed(&mut world);
        gate.open();
        assert_eq!(body(unread).len(), size + 3);
        assert!(world.store.is_empty());
        let mut after = asks(&mut world);
        assert_eq!(body(assert_ready!(after.poll())), "after");
    }
}

#[test]
fn a_validation_that_ends_too_late_stores_nothing() {
    let mut world = Mocked::new();
    world.fill(ok(&[FRESH, TAG], "before"));
    world.pass(60);
    let mut crowd = world.crowd(2);
    let (_, send) = world.next().unwrap();
    changed(&mut world);
    assert!(world.store.is_empty());
    send.send_response(boxed(response(304, &[FRESH, TAG], Full::default())));
    assert_eq!(body(assert_ready!(crowd[0].poll())), "before");
    assert!(world.store.is_empty());
    assert_pending!(crowd[1].poll());
    assert!(world.next().is_some(), "and nobody takes it for valid");

    // Nor does it take the place of what is newer.
    let mut world = Mocked::new();
    world.fill(ok(&[FRESH, TAG], "before"));
    world.pass(60);
    let mut task = world.ask(&[]);
    assert_pending!(task.poll());
    let (_, send) = world.next().unwrap();
    changed(&mut world);
    let mut after = asks(&mut world);
    assert_eq!(body(assert_ready!(after.poll())), "after");
    send.send_response(boxed(response(304, &[FRESH, TAG], Full::default())));
    assert_eq!(body(assert_ready!(task.poll())), "before");
    let mut hit = world.ask(&[]);
    assert_eq!(body(assert_ready!(hit.poll())), "after");
}

/// Those of other variants, too, and those at a place that the answer names.
#[test]
fn all_that_is_invalidated() {
    let mut world = Mocked::new();
    let vary = [FRESH, ("vary", "accept")];
    world.fill(ok(&vary, "one"));
    let mut other = world.ask(&[("accept", "b")]);
    assert_pending!(other.poll());
    let (_, send) = world.next().unwrap();
    changed(&mut world);
    send.send_response(ok(&vary, "before"));
    assert_eq!(body(assert_ready!(other.poll())), "before");
    assert!(world.store.is_empty());

    for location in ["/new/../there", "https://H:6443/./there"] {
        let uri = "https://h:6443/there";
        let mut get = world.send(http::Request::get(uri).body(common::empty()).unwrap());
        assert_pending!(get.poll());
        let (_, send) = world.next().unwrap();
        change(
            &mut world,
            response(201, &[("location", location)], Full::default()),
        );
        send.send_response(ok(&[FRESH], "before"));
        assert_eq!(body(assert_ready!(get.poll())), "before");
        assert!(world.store.is_empty(), "{location}");
    }
}

/// A failed request has changed nothing.
#[test]
fn an_error_invalidates_nothing() {
    let mut world = Mocked::new();
    let mut task = world.ask(&[]);
    assert_pending!(task.poll());
    let (_, send) = world.next().unwrap();
    change(&mut world, response(409, &[], Full::default()));
    send.send_response(ok(&[FRESH], "one"));
    assert_eq!(body(assert_ready!(task.poll())), "one");
    assert_eq!(world.store.all_keys(), [URI]);
}

/// The server has said that there is something newer: what it was is no longer served, even if the
/// newer one did not come.
#[test]
fn what_has_been_replaced_is_gone() {
    type Answer = fn() -> Vec<Piece>;
    let answers: [(&str, Answer); 3] = [
        ("cut", || vec![Piece::Data("ne"), Piece::Fail]),
        ("dropped", || {
            vec![Piece::Data("ne"), Piece::Gate(Gate::default())]
        }),
        ("too large", || vec![Piece::Data("new and long")]),
    ];
    for (what, pieces) in answers {
        let mut world = Mocked::with(|layer| layer.max_body_size(8));
        world.fill(ok(&[FRESH], "old"));
        let mut task = world.ask(&[("cache-control", "no-cache")]);
        assert_pending!(task.poll());
        let answer = boxed(response(200, &[FRESH], Pieces::new(pieces())));
        world.next().unwrap().1.send_response(answer);
        let response = assert_ready_ok!(task.poll());
        if what == "dropped" {
            assert_eq!(world.store.len(), 1, "until then");
            drop(response);
        } else {
            let collected = http_body_util::BodyExt::collect(response.into_body());
            drop(tokio_test::task::spawn(collected).poll());
        }
        assert!(world.store.is_empty(), "{what}");
        let mut after = asks(&mut world);
        assert_eq!(body(assert_ready!(after.poll())), "after");
    }
}

/// An entry that is invalidated while it is written is removed afterwards.
#[test]
fn a_write_that_ends_too_late() {
    for status in [200, 304] {
        let world = World::strict();
        let (store, gate) = (world.store.clone(), Gate::default());
        let layer = HttpCacheLayer::new(slow(store.clone(), &gate)).clock(world.clock.clone());
        let service = layer.layer(world.server.clone());
        world.server.ok(&[FRESH, TAG], "before");
        if status == 304 {
            let request = world.service.clone().oneshot(get(&[]));
            let response = assert_ready_ok!(tokio_test::task::spawn(request).poll());
            drop(response);
            assert_eq!(store.len(), 1);
            world.pass(60);
            world.server.answer(304, &[FRESH, TAG], "");
        }
        let mut task = tokio_test::task::spawn(async {
            let response = service.clone().oneshot(get(&[])).await.unwrap();
            http_body_util::BodyExt::collect(response.into_body()).await
        });
        assert_pending!(task.poll());
        world.server.answer(204, &[], "");
        let put = service.clone().oneshot(request(Method::PUT, &[]));
        assert_ready_ok!(tokio_test::task::spawn(put).poll());
        assert!(store.is_empty());
        gate.open();
        assert_ready_ok!(task.poll());
        assert!(store.is_empty(), "{status}");
    }
}
