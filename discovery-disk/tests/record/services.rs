//! The service around another one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::store::MapStore;
use discovery_disk::record::{DiskStoreLayer, Mode};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio_test::{assert_pending, assert_ready, block_on, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_test::mock;

use crate::tools::*;

#[test]
fn errors_of_the_inner_service_are_its_own() {
    #[derive(Debug, PartialEq)]
    struct Own(u32);
    let layer = DiskStoreLayer::new(MapStore::new());
    let inner = tower::service_fn(|_: Request<()>| async { Err::<Response<Script>, _>(Own(7)) });
    let error = block_on(layer.layer(inner).oneshot(get("/"))).unwrap_err();
    assert_eq!(error, Own(7));
}

pub(crate) type Mock = mock::Mock<Request<()>, Response<Full<Bytes>>>;

#[tokio::test]
async fn calls_the_service_that_was_made_ready() {
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
async fn waits_until_the_inner_service_is_ready() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let (inner, mut handle): (Mock, _) = mock::pair();
    handle.allow(0);
    let mut service = task::spawn(layer.layer(inner.clone()));
    assert_pending!(
        service.enter(|cx, mut service| { Service::<Request<()>>::poll_ready(&mut *service, cx) })
    );
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready!(
        service.enter(|cx, mut service| { Service::<Request<()>>::poll_ready(&mut *service, cx) })
    )
    .unwrap();

    // Replay needs nobody.
    handle.allow(0);
    let mut replay = task::spawn(layer.mode(Mode::Replay).layer(inner));
    assert_ready!(
        replay.enter(|cx, mut service| { Service::<Request<()>>::poll_ready(&mut *service, cx) })
    )
    .unwrap();
}

pub(crate) async fn answer_to(
    handle: &mut mock::Handle<Request<()>, Response<Full<Bytes>>>,
    path: &str,
) {
    let (request, answer) = handle.next_request().await.unwrap();
    assert_eq!(request.uri().path(), path);
    answer.send_response(full("answer"));
}

#[test]
fn any_request_body_and_any_data() {
    /// A body whose data is not `Bytes`.
    struct Chained(Option<bytes::buf::Chain<&'static [u8], &'static [u8]>>);
    impl Body for Chained {
        type Data = bytes::buf::Chain<&'static [u8], &'static [u8]>;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
            Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
        }
    }
    /// A request body that is nothing at all.
    struct Opaque;
    let layer = DiskStoreLayer::new(MapStore::new());
    let asked = Arc::new(Mutex::new(0));
    for _ in 0..2 {
        let asked = Arc::clone(&asked);
        let inner = tower::service_fn(move |_: Request<Opaque>| {
            *asked.lock().unwrap() += 1;
            let data = bytes::Buf::chain(&b"on"[..], &b"e"[..]);
            async { Ok::<_, Infallible>(Response::new(Chained(Some(data)))) }
        });
        let request = get("/").map(|()| Opaque);
        let response = block_on(layer.layer(inner).oneshot(request)).unwrap();
        assert_eq!(text(response), "one");
    }
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[test]
fn shows_what_it_is() {
    let layer = DiskStoreLayer::new(MapStore::new());
    assert_eq!(
        format!("{layer:?}"),
        "DiskStoreLayer { mode: ReadThrough, max_body: 67108864, .. }"
    );
    let service = layer.layer("inner");
    assert_eq!(
        format!("{service:?}"),
        "DiskStoreService { inner: \"inner\", mode: ReadThrough, .. }"
    );
    let (response, _) = send(&layer, get("/"), || full("body"));
    assert_eq!(format!("{:?}", response.body()), "RecordBody(\"recorded\")");
    let (response, _) = send(&layer, get("/"), || full("body"));
    text(response);
    let (response, _) = send(&layer, get("/"), || full("never"));
    assert_eq!(format!("{:?}", response.body()), "RecordBody(\"stored\")");
}
