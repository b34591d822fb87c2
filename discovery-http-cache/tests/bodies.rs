//! Bodies on their way into the store and out of it.

mod common;

use bytes::Bytes;
use common::slow::slow;
use common::{Broken, Gate, Piece, Pieces, TestBody, URI, World, get, response};
use discovery_core::http::dump;
use discovery_core::store::{MapStore, Store};
use discovery_http_cache::{Body, HttpCacheLayer};
use http::{Method, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceExt};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const MIB: usize = 1024 * 1024;

/// A response with these pieces, and a gate in front of them.
fn gated(world: &World, headers: &[(&str, &str)], pieces: Vec<Piece>) -> Gate {
    let gate = Gate::default();
    let mut all = vec![Piece::Gate(gate.clone())];
    all.extend(pieces);
    world
        .server
        .respond(response(200, headers, Pieces::new(all)));
    gate
}

async fn ask(world: &World) -> Response<Body<TestBody>> {
    world.service.clone().oneshot(get(&[])).await.unwrap()
}

/// The data of the next frame.
async fn read(body: &mut Body<TestBody>) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn stored_with_the_last_byte_that_was_announced() {
    let world = World::strict();
    let never = Gate::default();
    let pieces = vec![Piece::Data("abc"), Piece::Data("def"), Piece::Gate(never)];
    let gate = gated(&world, &[FRESH, ("content-length", "6")], pieces);
    let mut body = ask(&world).await.into_body();
    assert!(world.store.is_empty());
    gate.open();
    assert_eq!(read(&mut body).await, "abc");
    assert!(world.store.is_empty());
    assert_eq!(read(&mut body).await, "def");
    // Nobody has polled past the last frame, and the body has not even ended.
    assert_eq!(world.store.len(), 1);
    drop(body);
    assert_eq!(world.get(&[]).await.body, "abcdef");
}

#[tokio::test]
async fn stored_at_the_end_if_none_was_announced() {
    let world = World::strict();
    let last = Gate::default();
    let pieces = vec![
        Piece::Data("abc"),
        Piece::Gate(last.clone()),
        Piece::Data("def"),
    ];
    gated(&world, &[FRESH], pieces).open();
    let mut body = ask(&world).await.into_body();
    assert_eq!(read(&mut body).await, "abc");
    assert!(world.store.is_empty());
    last.open();
    // The end has come along with the last piece: seen without being asked for.
    assert_eq!(read(&mut body).await, "def");
    assert_eq!(world.store.len(), 1);
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn what_is_there_already_is_stored_before_it_is_read() {
    let world = World::strict();
    world.server.ok(&[FRESH], "one");
    let response = ask(&world).await;
    assert_eq!(world.store.len(), 1);
    assert_eq!(response.body().size_hint().exact(), Some(3));
    assert_eq!(response.collect().await.unwrap().to_bytes(), "one");

    for length in [None, Some(("content-length", "0"))] {
        let world = World::strict();
        let mut headers = vec![FRESH];
        headers.extend(length);
        world.server.ok(&headers, "");
        let response = ask(&world).await;
        assert_eq!(world.store.len(), 1);
        assert!(response.body().is_end_stream());
    }
}

#[tokio::test]
async fn never_stored_if_cut_short_or_of_another_length() {
    let data = || Piece::Data("abc");
    let table: [(&str, Vec<Piece>, Result<&str, Broken>); 4] = [
        ("", vec![data(), Piece::Fail], Err(Broken("cut"))),
        ("6", vec![data(), Piece::Fail], Err(Broken("cut"))),
        ("6", vec![data()], Err(Broken("another error"))),
        ("2", vec![data()], Err(Broken("another error"))),
    ];
    for (length, pieces, expected) in table {
        for early in [true, false] {
            let world = World::strict();
            let mut headers = vec![FRESH];
            if !length.is_empty() {
                headers.push(("content-length", length));
            }
            let pieces = pieces.iter().map(Piece::again).collect();
            let gate = gated(&world, &headers, pieces);
            if early {
                gate.open();
            }
            let response = ask(&world).await;
            gate.open();
            let body = response
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes);
            assert_eq!(
                body.map_err(Broken::from),
                expected.clone().map(Bytes::from)
            );
            assert!(world.store.is_empty(), "{length}");
            assert_eq!(world.stats().stores, 0);
        }
    }

    // Dropped in the middle.
    let world = World::strict();
    let pieces = vec![Piece::Data("abc"), Piece::Gate(Gate::default())];
    gated(&world, &[FRESH], pieces).open();
    let mut body = ask(&world).await.into_body();
    assert_eq!(read(&mut body).await, "abc");
    drop(body);
    assert!(world.store.is_empty());
}

#[tokio::test]
async fn trailers_pass_and_are_not_stored() {
    for gate_open in [true, false] {
        let world = World::strict();
        let gate = gated(&world, &[FRESH], vec![Piece::Data("abc"), Piece::Trailers]);
        if gate_open {
            gate.open();
        }
        let response = ask(&world).await;
        gate.open();
        let collected = response.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-trailer"], "1");
        assert_eq!(collected.to_bytes(), "abc");
        let hit = ask(&world).await.collect().await.unwrap();
        assert!(hit.trailers().is_none());
        assert_eq!(hit.to_bytes(), "abc");
    }
}

#[tokio::test]
async fn large_bodies_are_written_bit_by_bit() {
    let piece = Bytes::from(vec![b'x'; MIB]);
    for (count, chunks) in [(3, 1), (4, 1), (5, 5), (9, 9)] {
        for headers in [
            &[FRESH, ("transfer-encoding", "chunked")][..],
            &[FRESH],
            &[FRESH, ("content-length", &(count * MIB).to_string())],
        ] {
            for ready in [true, false] {
                let world = World::strict();
                let pieces = (0..count).map(|_| Piece::Bytes(piece.clone())).collect();
                let gate = gated(&world, headers, pieces);
                if ready {
                    gate.open();
                }
                let response = ask(&world).await;
                gate.open();
                let body = response.collect().await.unwrap().to_bytes();
                assert_eq!(body.len(), count * MIB);

                let value = world.store.get(URI).await.unwrap().unwrap();
                let stored = dump::decode(&Method::GET, &value).unwrap();
                assert_eq!(*stored.body(), body);
                if headers.len() == 2 && headers[1].1 == "chunked" {
                    // One chunk, or none at all: nothing has to be put together at a hit.
                    let text = value.into_bytes();
                    let head = text.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
                    let head = std::str::from_utf8(&text[..head]).unwrap();
                    let is_chunked = head.contains("\r\nTransfer-Encoding: chunked");
                    let is_close = head.contains("\r\nConnection: close");
                    assert_eq!((is_chunked, is_close), (chunks == 1, chunks != 1));
                    let around = text.len() - head.len() - 4 - body.len();
                    let lines = format!("{:x}\r\n\r\n0\r\n\r\n", body.len()).len();
                    assert_eq!(around, if chunks == 1 { lines } else { 0 });
                }
                assert!(world.get(&[]).await.asked.is_none());
            }
        }
    }
}

#[tokio::test]
async fn too_large_bodies_pass_through() {
    for headers in [&[FRESH][..], &[FRESH, ("content-length", "9")]] {
        let world = World::new(|layer| layer.max_body_size(8));
        let pieces = vec![Piece::Data("abcdef"), Piece::Data("ghi")];
        let gate = gated(&world, headers, pieces);
        let response = ask(&world).await;
        gate.open();
        assert_eq!(response.collect().await.unwrap().to_bytes(), "abcdefghi");
        assert!(world.store.is_empty());
    }
    // Also when much of it has been written already.
    let world = World::new(|layer| layer.max_body_size(6 << 20));
    let piece = Bytes::from(vec![b'x'; MIB]);
    let pieces = (0..8).map(|_| Piece::Bytes(piece.clone())).collect();
    gated(&world, &[FRESH], pieces).open();
    let response = ask(&world).await;
    assert_eq!(response.collect().await.unwrap().to_bytes().len(), 8 * MIB);
    assert!(world.store.is_empty());
}

#[tokio::test]
async fn a_body_is_not_read_far_ahead_of_the_caller() {
    let world = World::strict();
    let piece = Bytes::from(vec![b'x'; 32 * 1024]);
    let pieces = Pieces::new((0..100).map(|_| Piece::Bytes(piece.clone())));
    let count = pieces.read.clone();
    world.server.respond(response(200, &[FRESH], pieces));
    let mut body = ask(&world).await.into_body();
    assert_eq!(count.get(), 2);
    for expected in [2, 3, 4] {
        // One frame ahead, to see the end.
        read(&mut body).await;
        assert_eq!(count.get(), expected);
    }
}

#[tokio::test]
async fn sizes_and_ends() {
    let world = World::strict();
    let gate = gated(&world, &[FRESH], vec![Piece::Data("abc")]);
    let mut body = ask(&world).await.into_body();
    assert_eq!(
        (body.size_hint().lower(), body.size_hint().upper()),
        (0, None)
    );
    assert!(!body.is_end_stream());
    gate.open();
    read(&mut body).await;
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));

    let mut hit = ask(&world).await.into_body();
    assert_eq!(hit.size_hint().exact(), Some(3));
    assert!(!hit.is_end_stream());
    read(&mut hit).await;
    assert!(hit.is_end_stream());
    assert_eq!(hit.size_hint().exact(), Some(0));
    assert!(hit.frame().await.is_none());
}

#[test]
fn the_last_frame_waits_for_a_slow_store() {
    for size in [3, 9 * MIB] {
        let world = World::strict();
        let (store, open) = (MapStore::new(), Gate::default());
        let layer = HttpCacheLayer::new(slow(store.clone(), &open));
        let body = Bytes::from(vec![b'x'; size]);
        let gate = gated(&world, &[FRESH], vec![Piece::Bytes(body)]);

        let mut call = task::spawn(layer.layer(world.server.clone()).oneshot(get(&[])));
        let response = assert_ready!(call.poll()).unwrap();
        gate.open();
        let mut collect = task::spawn(response.collect());
        assert_pending!(collect.poll());
        assert!(store.is_empty());
        open.open();
        assert!(collect.is_woken());
        let collected = assert_ready!(collect.poll()).unwrap();
        assert_eq!(collected.to_bytes().len(), size);
        assert_eq!(store.len(), 1);
    }
}

#[test]
fn bodies_can_be_shared_if_the_inner_ones_can() {
    fn assert<T: Send + Sync + Unpin>() {}
    assert::<Body<Full<Bytes>>>();
    fn send<T: Send>(_: &T) {}
    let world = World::strict();
    send(&world.service.clone().oneshot(get(&[])));
}
