//! Responses without a body over a real HTTP client: 1xx and upgrades.

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use discovery_core::store::MapStore;
use discovery_http_cache::{Body, CacheStatus, HttpCacheLayer};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tower::{Layer, Service, ServiceExt, service_fn};

type Req = Request<Empty<Bytes>>;

/// A cache in front of a client of HTTP/1.1, and the other end of its connection.
async fn connected() -> (
    impl Service<Req, Response = Response<Body<Incoming>>, Error = hyper::Error> + Clone,
    DuplexStream,
) {
    let (client, server) = tokio::io::duplex(4096);
    let (sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let sender = Arc::new(Mutex::new(sender));
    let inner = service_fn(move |request: Req| sender.lock().unwrap().send_request(request));
    let layer = HttpCacheLayer::new(MapStore::new())
        .marker(CacheStatus::new("x").unwrap())
        .layer(inner);
    (layer, server)
}

/// Takes one request, and sends these bytes.
async fn answer(server: &mut DuplexStream, bytes: &str) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(server.read_u8().await.unwrap());
    }
    server.write_all(bytes.as_bytes()).await.unwrap();
}

/// RFC 9110 §15.2: informational responses are the caller's, and not part of what is stored.
#[tokio::test]
async fn informational_responses_pass() {
    let (service, mut server) = connected().await;
    let informed = Arc::new(Mutex::new(Vec::new()));
    let request = || {
        let mut request = Request::get("http://h/").body(Empty::new()).unwrap();
        let informed = Arc::clone(&informed);
        hyper::ext::on_informational(&mut request, move |response| {
            let link = response.headers().get("link").cloned();
            informed
                .lock()
                .unwrap()
                .push((response.status().as_u16(), link));
        });
        request
    };
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncache-control: max-age=60\r\n\r\none";
    let both = format!("{hints}{last}");
    let (first, ()) = tokio::join!(
        service.clone().oneshot(request()),
        answer(&mut server, &both)
    );
    let first = first.unwrap();
    assert!(first.headers().get("link").is_none());
    assert_eq!(first.collect().await.unwrap().to_bytes(), "one");
    let expected = [(103, Some("</x>".parse().unwrap()))];
    assert_eq!(*informed.lock().unwrap(), expected);

    let hit = service.oneshot(request()).await.unwrap();
    assert!(
        hit.headers()["cache-status"]
            .to_str()
            .unwrap()
            .starts_with("x; hit")
    );
    assert_eq!(hit.collect().await.unwrap().to_bytes(), "one");
    assert_eq!(informed.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn upgrades_pass() {
    let (service, mut server) = connected().await;
    let request = Request::get("http://h/")
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(Empty::new())
        .unwrap();
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello";
    let (response, ()) = tokio::join!(service.oneshot(request), answer(&mut server, switching));
    let response = response.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers().len()),
        (101, 2)
    );
    let mut upgraded = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut bytes = [0; 5];
    upgraded.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    upgraded.write_all(b"world").await.unwrap();
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"world");
}
