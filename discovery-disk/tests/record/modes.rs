//! The modes decide between the store and the server; and only some messages take part.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::store::MapStore;
use discovery_core::sync::clock::ManualClock;
use discovery_disk::KubectlStore;
use discovery_disk::record::{DiskStoreLayer, Mode, Replayed};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::{Empty, Full};
use tokio_test::block_on;
use tower::{Layer, ServiceExt};

use crate::tools::*;

#[test]
fn a_document_is_asked_for_once_and_then_comes_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let layer = DiskStoreLayer::new(KubectlStore::new(dir.path()));
    let answer = || {
        Response::builder()
            .version(Version::HTTP_2)
            .header("x-b", "1")
            .header("x-b", "2")
            .header("etag", "\"e\"")
            .body(Full::<Bytes>::from("body"))
            .unwrap()
    };
    let (response, asked) = send(&layer, get("/api?timeout=32s"), answer);
    assert_eq!(asked, 1);
    assert!(response.extensions().get::<Replayed>().is_none());
    assert_eq!(text(response), "body");

    // By another process, with another layer.
    let layer = DiskStoreLayer::new(KubectlStore::new(dir.path()));
    let (response, asked) = send(&layer, get("/api?timeout=32s"), || full("other"));
    assert_eq!(asked, 0);
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.headers()["etag"], "\"e\"");
    let repeated: Vec<_> = response.headers().get_all("x-b").iter().collect();
    assert_eq!(repeated, ["1", "2"]);
    assert!(response.extensions().get::<Replayed>().is_some());
    assert_eq!(response.body().size_hint().exact(), Some(4));
    assert_eq!(text(response), "body");

    // The server is asked for a document that is not there.
    let (response, asked) = send(&layer, get("/apis?timeout=32s"), || full("other"));
    assert_eq!((asked, text(response).as_str()), (1, "other"));
}

#[test]
fn record_replaces_what_is_stored_and_replay_sends_nothing() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let record = layer.clone().mode(Mode::Record);
    let replay = layer.clone().mode(Mode::Replay);
    for body in ["one", "two"] {
        let (response, asked) = send(&record, get("/"), || full(body));
        assert_eq!((asked, text(response).as_str()), (1, body));
        let (response, asked) = send(&replay, get("/"), || full("never"));
        assert_eq!((asked, text(response).as_str()), (0, body));
    }
    let (response, asked) = send(&replay, get("/other"), || full("never"));
    assert_eq!((asked, response.status()), (0, StatusCode::GATEWAY_TIMEOUT));
    assert!(response.extensions().get::<Replayed>().is_none());
    let why = "this request has no record, and is not sent\n";
    assert_eq!(text(response), why);
    // Nothing is sent, whatever is asked.
    for method in [Method::HEAD, Method::POST, Method::DELETE] {
        let mut request = get("/");
        *request.method_mut() = method.clone();
        let (response, asked) = send(&replay, request, || full("never"));
        assert_eq!((asked, response.status()), (0, StatusCode::GATEWAY_TIMEOUT));
        let is_head = method == Method::HEAD;
        assert_eq!(text(response), if is_head { "" } else { why });
    }
    // An answer that is not recorded leaves the record.
    let (response, asked) = send(&record, get("/"), || {
        let mut response = full("not found");
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    });
    assert_eq!((asked, response.status()), (1, StatusCode::NOT_FOUND));
    let (response, _) = send(&replay, get("/"), || full("never"));
    assert_eq!(text(response), "two");
    assert_eq!(store.len(), 1);
}

#[test]
fn only_whole_documents_by_get_take_part() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
        let mut request = get("/");
        *request.method_mut() = method;
        let (response, asked) = send(&layer, request, || full("answer"));
        assert_eq!((asked, text(response).as_str()), (1, "answer"));
    }
    let mut range = get("/");
    range
        .headers_mut()
        .insert("range", "bytes=0-1".parse().unwrap());
    let (response, asked) = send(&layer, range.clone(), || full("an"));
    assert_eq!((asked, text(response).as_str()), (1, "an"));
    assert!(store.is_empty());

    text(send(&layer, get("/"), || full("answer")).0);
    let (response, asked) = send(&layer, range, || full("an"));
    assert_eq!((asked, text(response).as_str()), (1, "an"));
}

#[test]
fn some_responses_are_not_for_everybody() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let with = |name: &'static str, value: &'static str| {
        move || {
            let mut response = full("secret");
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        }
    };
    for (name, value) in [
        ("vary", "Authorization"),
        ("vary", "accept , COOKIE"),
        ("vary", "Proxy-Authorization"),
        ("vary", "Impersonate-User"),
        ("vary", "Impersonate-Extra-scopes"),
        ("cache-control", "no-store"),
        ("cache-control", "private, No-Store"),
        ("set-cookie", "session=1"),
    ] {
        let (response, _) = send(&layer, get("/"), with(name, value));
        assert_eq!(text(response), "secret");
        assert!(store.is_empty(), "{name}: {value}");
    }
    for status in [100, 101, 206, 301, 304, 401, 404, 500, 503] {
        let answer = || {
            let mut response = full("body");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        };
        let (response, _) = send(&layer, get("/"), answer);
        assert_eq!(text(response), "body");
        assert!(store.is_empty(), "{status}");
    }
    // Unless one wants to, but what is after 101 is no document.
    let all = layer.record_if(|_| true);
    for status in [101, 304, 404, 503] {
        let answer = || {
            let mut response = full(if status == 304 { "" } else { "body" });
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        };
        let path = format!("/{status}");
        text(send(&all, get(&path), answer).0);
        assert_eq!(stored(&store, &path).is_some(), status != 101, "{status}");
    }
    let (response, asked) = send(&all, get("/404"), || full("never"));
    assert_eq!((asked, response.status()), (0, StatusCode::NOT_FOUND));
}

#[test]
fn refresh_asks_the_server_and_tells_the_store_if_it_is_in_trouble() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone()).mode(Mode::Refresh);
    let trouble = |status: u16| {
        move || {
            let mut response = full("trouble");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
    };
    // There is nothing to tell instead.
    let (response, asked) = send(&layer, get("/"), trouble(503));
    assert_eq!((asked, response.status().as_u16()), (1, 503));
    assert_eq!(text(response), "trouble");
    assert!(store.is_empty());
    for body in ["one", "two"] {
        let (response, asked) = send(&layer, get("/"), || full(body));
        assert_eq!((asked, text(response).as_str()), (1, body));
        for status in [429, 500, 503] {
            let (response, asked) = send(&layer, get("/"), trouble(status));
            assert!(response.extensions().get::<Replayed>().is_some());
            assert_eq!((asked, text(response).as_str()), (1, body));
        }
    }
    for status in [401, 403, 404] {
        let (response, _) = send(&layer, get("/"), trouble(status));
        assert_eq!(
            response.status().as_u16(),
            status,
            "it says something about the request"
        );
    }
    // A server that is not there.
    let gone = tower::service_fn(|_: Request<Empty<Bytes>>| async {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("connection refused"))
    });
    let ask = |path| block_on(layer.layer(gone).oneshot(get(path)));
    assert_eq!(text(ask("/").unwrap()), "two");
    let error = ask("/other").unwrap_err();
    assert_eq!(error.to_string(), "connection refused");
}

#[test]
fn a_record_counts_for_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let minute = Duration::from_secs(60);
    let clock = ManualClock::new(SystemTime::now());
    let layer = DiskStoreLayer::new(KubectlStore::new(dir.path()))
        .max_age(10 * minute)
        .clock(clock.clone());
    text(send(&layer, get("/"), || full("one")).0);
    clock.advance(9 * minute);
    assert_eq!(send(&layer, get("/"), || full("never")).1, 0);
    clock.advance(2 * minute);
    for mode in [Mode::Replay, Mode::Refresh] {
        let (response, _) = send(&layer.clone().mode(mode), get("/"), || {
            let mut response = full("");
            *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
            response
        });
        assert!(response.extensions().get::<Replayed>().is_none());
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    }
    let (response, asked) = send(&layer, get("/"), || full("two"));
    assert_eq!((asked, text(response).as_str()), (1, "two"));
    // Nor does one count that is further ahead than it may last: the clock was set back since.
    for (minutes, asked) in [(9, 0), (11, 1)] {
        let behind = ManualClock::new(SystemTime::now() - minutes * minute);
        let (response, sent) = send(&layer.clone().clock(behind), get("/"), || full("three"));
        text(response);
        assert_eq!(sent, asked);
    }
    // A store that does not tell has none that counts.
    let layer = DiskStoreLayer::new(MapStore::new()).max_age(minute);
    for _ in 0..2 {
        assert_eq!(send(&layer, get("/"), || full("one")).1, 1);
    }
}

/// A cache outside of the layer asks whether its copy is still good. The answer to that is no document.
#[test]
fn the_answer_to_a_condition_does_not_replace_a_document() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone())
        .mode(Mode::Record)
        .record_if(|_| true);
    let status = |status: u16| {
        move || {
            let mut response = full("");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
    };
    text(send(&layer, get("/"), || full("document")).0);
    for (name, value, answer) in [
        ("if-none-match", "\"1\"", 304),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("if-match", "\"1\"", 412),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ] {
        let mut request = get("/");
        request.headers_mut().insert(name, value.parse().unwrap());
        let (response, asked) = send(&layer, request.clone(), status(answer));
        assert_eq!((response.status().as_u16(), asked), (answer, 1));
        let replay = layer.clone().mode(Mode::Replay);
        let (response, _) = send(&replay, get("/"), || full("never"));
        assert_eq!(text(response), "document", "{name}");
        // A new document is one.
        text(send(&layer, request, || full("newer")).0);
        let (response, _) = send(&replay, get("/"), || full("never"));
        assert_eq!(text(response), "newer", "{name}");
        text(send(&layer, get("/"), || full("document")).0);
    }
}
