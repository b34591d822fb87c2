//! One layer, tested alone: a mock in place of the server tells what is sent and answers by hand.
//!
//! ```console
//! $ cargo run -p discovery-examples --example one_layer_tested
//! sent: /api
//! sent: /apis
//! from memory: b"{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[]}"
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use bytes::Bytes;
use discovery_memory::MemoryDiscoveryLayer;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower_test::mock;

type Body = Full<Bytes>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // In a crate of your own, this is a `#[tokio::test]`.
    let layer = MemoryDiscoveryLayer::new();
    let (mut service, mut server) =
        mock::spawn_layer::<Request<Body>, Response<Body>, _>(layer.clone());
    let get = |path: &str| Request::get(path).body(Body::default()).expect("a request");

    // The layer asks for both documents at once, whichever is wanted.
    assert!(service.poll_ready().is_ready());
    let answer = tokio::spawn(service.call(get("/apis")));
    for _ in 0..2 {
        server.allow(1);
        let (request, reply) = server.next_request().await.expect("a request");
        println!("sent: {}", request.uri());
        reply.send_response(Response::new(Body::from(match request.uri().path() {
            "/api" => r#"{"kind":"APIVersions","versions":[]}"#,
            _ => r#"{"kind":"APIGroupList","groups":[]}"#,
        })));
    }
    assert!(answer.await.expect("no panic").is_ok());

    // Now it knows them: nothing is sent.
    let answer = service.call(get("/apis")).await.expect("a hit");
    let body = answer.into_body().collect().await.expect("from memory");
    println!("from memory: {:?}", body.to_bytes());
    assert_eq!(layer.handle().stats().hits, 1);

    // Other requests pass as they are.
    let passed = tokio::spawn(service.call(get("/healthz")));
    server.allow(1);
    let (request, reply) = server.next_request().await.expect("a request");
    assert_eq!(request.uri(), "/healthz");
    reply.send_response(Response::new(Body::from("ok")));
    assert!(passed.await.expect("no panic").is_ok());
}
