//! When a body is recorded, and how much of it.

use std::io;

use discovery_core::store::MapStore;
use discovery_disk::record::DiskStoreLayer;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio_test::block_on;

use crate::tools::*;

#[test]
fn a_body_is_recorded_before_its_last_frame_is_delivered() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    struct Row {
        header: Option<u64>,
        exact: Option<u64>,
        tells_end: bool,
    }
    let row = |header, exact, tells_end| Row {
        header,
        exact,
        tells_end,
    };
    let rows = [
        row(Some(6), None, false),
        row(None, Some(6), false),
        row(None, None, true),
        // Only what comes after it tells that a frame was the last.
        row(None, None, false),
    ];
    for (at, row) in rows.into_iter().enumerate() {
        let Row {
            header,
            exact,
            tells_end,
        } = row;
        let path = format!("/{at}");
        let answer = || {
            let body = Script {
                exact,
                tells_end,
                ..Script::data(&["one", "two"])
            };
            let mut response = script(body);
            if let Some(length) = header {
                response
                    .headers_mut()
                    .insert("content-length", length.into());
            }
            response
        };
        let (mut response, _) = send(&layer, get(&path), answer);
        let mut next = || block_on(response.body_mut().frame()).map(|frame| frame.unwrap());
        assert_eq!(stored(&store, &path), None);
        assert_eq!(next().unwrap().into_data().unwrap(), "one");
        assert_eq!(next().unwrap().into_data().unwrap(), "two");
        let dump = stored(&store, &path).unwrap();
        assert!(dump.ends_with("\r\n\r\nonetwo"), "{dump}");
        let (response, asked) = send(&layer, get(&path), || full("never"));
        assert_eq!((asked, text(response).as_str()), (0, "onetwo"));
    }
}

#[test]
fn answers_without_a_body_are_recorded_at_once() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    drop(send(&layer, get("/empty"), || full("")));
    assert!(stored(&store, "/empty").is_some());
    let no_content = || {
        let mut response = full("");
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    };
    drop(send(&layer, get("/204"), no_content));
    let (response, asked) = send(&layer, get("/204"), || full("never"));
    assert_eq!((asked, response.status()), (0, StatusCode::NO_CONTENT));
}

#[test]
fn a_body_that_is_not_read_to_its_end_or_breaks_off_is_not_recorded() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());

    // Given up by the reader.
    let (mut response, _) = send(&layer, get("/"), || script(Script::data(&["one", "two"])));
    block_on(response.body_mut().frame()).unwrap().unwrap();
    drop(response);
    // Never read.
    drop(send(&layer, get("/"), || script(Script::data(&["one"]))));
    // Broken.
    let broken = || Script::data(&["one"]).then(Err(io::Error::other("broken pipe")));
    let (response, _) = send(&layer, get("/"), || script(broken()));
    let error = block_on(response.into_body().collect()).unwrap_err();
    assert_eq!(error.to_string(), "broken pipe");
    // With a header that is none.
    let (response, _) = send(&layer, get("/"), || {
        let mut response = script(Script::data(&["one"]));
        response
            .headers_mut()
            .insert("content-length", "1, 2".parse().unwrap());
        response
    });
    assert_eq!(text(response), "one");
    assert!(store.is_empty());
}

#[test]
fn a_body_of_another_size_than_announced_fails_and_is_not_recorded() {
    struct Row {
        length: u64,
        pieces: &'static [&'static str],
        tells_end: bool,
    }
    let row = |length, pieces, tells_end| Row {
        length,
        pieces,
        tells_end,
    };
    for Row {
        length,
        pieces,
        tells_end,
    } in [
        row(7, &["one", "two"], false),
        row(7, &["one", "two"], true),
        row(7, &[], false),
        row(7, &[], true),
        row(2, &["one"], false),
        row(2, &["one"], true),
    ] {
        let store = MapStore::new();
        let layer = DiskStoreLayer::new(store.clone());
        let answer = || {
            let mut response = script(Script {
                tells_end,
                ..Script::data(pieces)
            });
            let header = response.headers_mut();
            header.insert("content-length", length.into());
            response
        };
        let (response, _) = send(&layer, get("/"), answer);
        let error = block_on(response.into_body().collect()).unwrap_err();
        let seen = pieces.concat().len();
        assert_eq!(
            error.to_string(),
            format!("the body has {seen} bytes in place of {length}")
        );
        assert!(store.is_empty(), "{length} {pieces:?}");
    }
}

#[test]
fn trailers_are_passed_on_and_not_recorded() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let trailers = || HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    let body = || Script::data(&["one"]).then(Ok(Frame::trailers(trailers())));
    let (response, _) = send(&layer, get("/"), || script(body()));
    let collected = block_on(response.into_body().collect()).unwrap();
    assert_eq!(collected.trailers(), Some(&trailers()));
    assert_eq!(collected.to_bytes(), "one");
    assert!(store.is_empty());

    // Where the length is told, the body is complete before they come.
    let (response, _) = send(&layer, get("/"), || {
        let mut response = script(body());
        response.headers_mut().insert("content-length", 3.into());
        response
    });
    let collected = block_on(response.into_body().collect()).unwrap();
    assert_eq!(collected.trailers(), Some(&trailers()));
    let dump = stored(&store, "/").unwrap();
    assert!(dump.ends_with("\r\n\r\none"), "{dump}");
}

#[test]
fn long_bodies_are_passed_on() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone()).max_body_size(5);
    // Told in advance, or found out on the way.
    for exact in [Some(6), None] {
        let body = || Script {
            exact,
            ..Script::data(&["one", "two"])
        };
        let (response, _) = send(&layer, get("/"), || script(body()));
        assert_eq!(text(response), "onetwo");
    }
    assert!(store.is_empty());
    let (response, _) = send(&layer, get("/"), || script(Script::data(&["on", "two"])));
    assert_eq!(text(response), "ontwo");
    assert_eq!(store.len(), 1);
}

#[test]
fn chunked_bodies_are_one_chunk() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let chunked = |body: Script| {
        let mut response = script(body);
        let chunked = "chunked".parse().unwrap();
        response.headers_mut().insert("transfer-encoding", chunked);
        response
    };
    text(
        send(&layer, get("/"), || {
            chunked(Script::data(&["one", "", "two"]))
        })
        .0,
    );
    let dump = stored(&store, "/").unwrap();
    assert!(dump.ends_with("\r\n\r\n6\r\nonetwo\r\n0\r\n\r\n"), "{dump}");

    // Unless they are too large to be held.
    let large = || (0..9).map(|n| vec![b'0' + n; 1 << 20]);
    let body = || Script {
        frames: large().map(|piece| Ok(Frame::data(piece.into()))).collect(),
        ..Script::default()
    };
    let (response, _) = send(&layer, get("/large"), || chunked(body()));
    assert!(text(response).into_bytes() == large().flatten().collect::<Vec<_>>());
    let (response, asked) = send(&layer, get("/large"), || full("never"));
    assert_eq!(asked, 0);
    assert!(text(response).into_bytes() == large().flatten().collect::<Vec<_>>());
}

/// Transfer-Encoding overrides Content-Length (RFC 9112 §6.3).
#[test]
fn a_length_beside_a_transfer_encoding_is_none() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let (response, _) = send(&layer, get("/x"), || {
        let mut response = script(Script::data(&["one", "two"]));
        let headers = response.headers_mut();
        headers.insert("content-length", 3.into());
        headers.insert("transfer-encoding", "chunked".parse().unwrap());
        response
    });
    assert!(response.headers().get("content-length").is_none());
    let body = block_on(response.into_body().collect()).unwrap();
    assert_eq!(body.to_bytes(), "onetwo");
    assert!(stored(&store, "/x").is_some());
}
