//! Stores that fail or take their time, and records that are damaged.

use std::pin::{Pin, pin};
use std::task::Poll;

use discovery_core::store::{MapStore, Store, Value};
use discovery_core::testing::{ScriptedStore, StoreOp};
use discovery_disk::record::{Body as RecordBody, DiskStoreLayer, Mode};
use http::StatusCode;
use http_body::Body;
use tokio_test::{assert_ready, block_on, task};
use tower::{Layer, Service, ServiceExt};
use tower_test::mock;

use crate::services::{Mock, answer_to};
use crate::tools::*;

#[test]
fn damaged_records_are_asked_for_again() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    for damage in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        "garbage",
    ] {
        block_on(store.put(&key("/"), Value::new("", damage))).unwrap();
        let replay = layer.clone().mode(Mode::Replay);
        let (response, _) = send(&replay, get("/"), || full("never"));
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        let (response, asked) = send(&layer, get("/"), || full("whole"));
        assert_eq!((asked, text(response).as_str()), (1, "whole"));
        let (response, asked) = send(&layer, get("/"), || full("never"));
        assert_eq!((asked, text(response).as_str()), (0, "whole"));
    }
}

/// Fails, or takes its time, in the operations named by its letters.
struct Trouble {
    store: MapStore,
    fails: &'static str,
    waits: &'static str,
}

impl Trouble {
    fn store(self) -> ScriptedStore {
        let store = ScriptedStore::around(self.store);
        for (letter, op) in [
            ('g', StoreOp::Get),
            ('p', StoreOp::Put),
            ('o', StoreOp::Create),
            ('w', StoreOp::Write),
            ('c', StoreOp::Commit),
        ] {
            if self.fails.contains(letter) {
                store.fail(op);
            }
            if self.waits.contains(letter) {
                store.delay(op, 3);
            }
        }
        store
    }
}

#[test]
fn a_store_in_trouble_fails_no_request() {
    // Too large, together, to be put at once.
    let (one, two) = ("1".repeat(3 << 20), "2".repeat(3 << 20));
    let (one, two): (&'static str, &'static str) = (one.leak(), two.leak());
    let bodies: [&[&str]; 4] = [&[], &["one"], &["one", "two", "three"], &[one, two]];
    for fails in ["g", "p", "o", "w", "c", "gpowc", ""] {
        for waits in ["", "g", "p", "o", "w", "c", "gpowc"] {
            for pieces in bodies {
                for exact in [false, true] {
                    let store = MapStore::new();
                    let trouble = Trouble {
                        store: store.clone(),
                        fails,
                        waits,
                    };
                    let whole = pieces.concat();
                    let answer = || {
                        script(Script {
                            exact: exact.then_some(whole.len() as u64),
                            tells_end: exact,
                            ..Script::data(pieces)
                        })
                    };
                    let layer = DiskStoreLayer::new(trouble.store());
                    let (response, asked) = send(&layer, get("/"), answer);
                    assert_eq!(asked, 1);
                    assert!(text(response) == whole);
                    // Reading that fails doesn't keep it from being written.
                    let steps = if whole.len() > 4 << 20 { "owc" } else { "p" };
                    let writes = !steps.chars().any(|step| fails.contains(step));
                    let recorded = stored(&store, "/").is_some();
                    let size = whole.len();
                    assert_eq!(recorded, writes, "{fails} {waits} {size} {exact}");
                    if recorded && fails != "g" {
                        let (response, asked) = send(&layer, get("/"), || full("never"));
                        assert_eq!(asked, 0);
                        assert!(text(response) == whole);
                    }
                }
            }
        }
    }
}

#[test]
fn the_last_frame_waits_for_the_record() {
    let store = MapStore::new();
    let trouble = Trouble {
        store: store.clone(),
        fails: "",
        waits: "p",
    };
    let layer = DiskStoreLayer::new(trouble.store());
    let answer = || {
        let exact = Some(6);
        script(Script {
            exact,
            ..Script::data(&["one", "two"])
        })
    };
    let (response, _) = send(&layer, get("/"), answer);
    let mut body = pin!(response.into_body());
    let mut next = task::spawn(());
    let mut next = |body: &mut Pin<&mut RecordBody<Script>>| {
        next.enter(|cx, _| {
            body.as_mut()
                .poll_frame(cx)
                .map(|frame| frame.unwrap().unwrap())
        })
    };
    let frame = assert_ready!(next(&mut body));
    assert_eq!(frame.into_data().unwrap(), "one");
    let mut waited = 0;
    let frame = loop {
        match next(&mut body) {
            Poll::Ready(frame) => break frame,
            Poll::Pending => {
                waited += 1;
                assert!(!body.is_end_stream());
                assert!(body.size_hint().lower() >= 3, "the frame is still to come");
                assert_eq!(stored(&store, "/"), None);
            }
        }
    };
    assert!(waited > 0);
    assert_eq!(frame.into_data().unwrap(), "two");
    assert!(stored(&store, "/").is_some());
}

#[tokio::test]
async fn a_slow_store_is_waited_for() {
    let store = MapStore::new();
    let trouble = Trouble {
        store: store.clone(),
        fails: "",
        waits: "g",
    };
    let layer = DiskStoreLayer::new(trouble.store());
    let (inner, mut handle): (Mock, _) = mock::pair();
    let mut service = layer.layer(inner);
    let call = service.ready().await.unwrap().call(get("/"));
    let answer = async {
        answer_to(&mut handle, "/").await;
    };
    let (response, ()) = tokio::join!(call, answer);
    assert_eq!(read(response.unwrap()).await, "answer");
    let response = service.ready().await.unwrap().call(get("/")).await;
    assert_eq!(read(response.unwrap()).await, "answer");
}
