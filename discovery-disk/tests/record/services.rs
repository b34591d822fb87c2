//! The service around another one.

use bytes::Bytes;
use discovery_core::store::{MapStore, Store, Value};
use discovery_disk::record::{DiskStoreLayer, Mode};
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tokio_test::{assert_pending, assert_ready, block_on, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_test::mock;

use crate::tools::*;

#[test]
fn errors_of_the_inner_service_are_its_own() {
    #[derive(Debug, PartialEq)]
    struct Own(u32);
    let layer = DiskStoreLayer::new(MapStore::new());
    let inner = tower::service_fn(|_: Get| async { Err::<Response<Script>, _>(Own(7)) });
    let error = block_on(layer.layer(inner).oneshot(get("/"))).unwrap_err();
    assert_eq!(error, Own(7));
}

pub(crate) type Mock = mock::Mock<Get, Response<Full<Bytes>>>;

#[tokio::test]
async fn the_service_that_was_made_ready_is_the_one_that_is_called() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store);
    // A fresh clone would wait for the one place for ever.
    let (inner, mut handle): (Mock, _) = mock::pair();
    let limited = ServiceBuilder::new()
        .layer(layer)
        .concurrency_limit(1)
        .service(inner);
    for path in ["/one", "/two", "/one"] {
        let mut service = limited.clone();
        let mut response = task::spawn(async {
            let response = service.ready().await.unwrap().call(get(path)).await;
            read(response.unwrap()).await
        });
        let mut done = response.poll();
        if done.is_pending() {
            let (_, answer) = handle.next_request().await.unwrap();
            answer.send_response(full("answer"));
            done = response.poll();
        }
        assert_eq!(assert_ready!(done), "answer");
    }
    // The third came from the store.
    drop(limited);
    assert!(handle.next_request().await.is_none());
}

#[tokio::test]
async fn a_request_waits_in_its_future_until_the_inner_service_is_ready() {
    for uri in ["https://host:6443/", "/takes/no/part"] {
        let layer = DiskStoreLayer::new(MapStore::new());
        let (inner, mut handle): (Mock, _) = mock::pair();
        handle.allow(0);
        let mut service = layer.layer(inner);
        let ready = task::spawn(()).enter(|cx, _| Service::<Get>::poll_ready(&mut service, cx));
        assert_ready!(ready).unwrap();
        let request = Request::get(uri).body(Empty::new()).unwrap();
        let mut response = task::spawn(service.call(request));
        assert_pending!(response.poll());
        handle.allow(1);
        assert!(response.is_woken());
        assert_pending!(response.poll());
        let (_, answer) = handle.next_request().await.unwrap();
        answer.send_response(full("answer"));
        let response = assert_ready!(response.poll()).unwrap();
        assert_eq!(read(response).await, "answer");
    }
}

#[tokio::test]
async fn a_record_needs_no_ready_service() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let value = Value::new("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "answer");
    store.put(&key("/"), value).await.unwrap();
    let (inner, mut handle): (Mock, _) = mock::pair();
    handle.allow(0);
    for mode in [Mode::ReadThrough, Mode::Replay] {
        let service = layer.clone().mode(mode).layer(inner.clone());
        let mut response = task::spawn(service.oneshot(get("/")));
        let response = assert_ready!(response.poll()).unwrap();
        assert_eq!(read(response).await, "answer");
    }
}

pub(crate) async fn answer_to(handle: &mut mock::Handle<Get, Response<Full<Bytes>>>, path: &str) {
    let (request, answer) = handle.next_request().await.unwrap();
    assert_eq!(request.uri().path(), path);
    answer.send_response(full("answer"));
}

/// No task has to be woken for it, and nothing is boxed.
#[test]
fn a_record_that_the_store_knows_at_once_is_found_in_call() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let layer = DiskStoreLayer::new(MapStore::new());
    text(send(&layer, get("/"), || full("answer")).0);
    let answer = |_: Get| async { Ok::<_, std::convert::Infallible>(full("never")) };
    let mut service = layer.layer(tower::service_fn(answer));
    let mut kind = |request| format!("{:?}", sent(service.call(request)));
    assert_eq!(kind(get("/")), "ResponseFuture(hit)");
    assert_eq!(kind(get("/other")), "ResponseFuture(miss)");
    let relative = Request::get("/").body(Empty::new()).unwrap();
    assert_eq!(kind(relative), "ResponseFuture(pass)");
    let mut replay = layer.mode(Mode::Replay).layer(tower::service_fn(answer));
    let absent = format!("{:?}", replay.call(get("/other")));
    assert_eq!(absent, "ResponseFuture(hit)");
}

#[test]
fn debug_texts_show_the_mode_and_the_kind_of_body() {
    let layer = DiskStoreLayer::new(MapStore::new());
    assert_eq!(
        format!("{layer:?}"),
        "DiskStoreLayer { mode: ReadThrough, max_body_size: 67108864, max_age: None, .. }"
    );
    let service = layer.layer("inner");
    assert_eq!(
        format!("{service:?}"),
        "DiskStoreService { inner: \"inner\", mode: ReadThrough, .. }"
    );
    let (response, _) = send(&layer, get("/"), || full("body"));
    assert_eq!(format!("{:?}", response.body()), "Body(teed)");
    let (response, _) = send(&layer, get("/"), || full("body"));
    text(response);
    let (response, _) = send(&layer, get("/"), || full("never"));
    assert_eq!(format!("{:?}", response.body()), "Body(full)");
}
