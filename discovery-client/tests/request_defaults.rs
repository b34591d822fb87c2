//! Request shaping.

use std::time::Duration;

use discovery_client::request_defaults::{RequestDefaultsLayer, go_duration};
use discovery_core::testing::ScriptedService;
use http::header::ACCEPT;
use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt};

/// The URI and the `Accept` of a request for `uri` behind `layer`.
async fn shaped(layer: RequestDefaultsLayer, request: Request<()>) -> (String, String) {
    let server = ScriptedService::new();
    server.respond(Response::new(""));
    let service = ServiceBuilder::new().layer(layer).service(server.clone());
    service.oneshot(request).await.unwrap();
    let request = server.last_request().unwrap();
    let accept = request.headers()[ACCEPT].to_str().unwrap().to_owned();
    (request.uri().to_string(), accept)
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

#[tokio::test]
async fn a_server_with_an_invalid_port_leaves_relative_uris_relative() {
    let layer = RequestDefaultsLayer::new(&"https://10.0.0.1:6443x".parse().unwrap());
    assert_eq!(shaped(layer, get("/api")).await.0, "/api?timeout=32s");
}

#[tokio::test]
async fn a_relative_uri_gets_the_servers_address_and_an_absolute_one_stays() {
    let rancher =
        || RequestDefaultsLayer::new(&"https://rancher:8443/k8s/clusters/c-1/".parse().unwrap());
    for (asked, sent) in [
        (
            "/api",
            "https://rancher:8443/k8s/clusters/c-1/api?timeout=32s",
        ),
        (
            "/apis/apps/v1",
            "https://rancher:8443/k8s/clusters/c-1/apis/apps/v1?timeout=32s",
        ),
        (
            "/apis?x=1",
            "https://rancher:8443/k8s/clusters/c-1/apis?x=1&timeout=32s",
        ),
        (
            "/apis?timeout=5s",
            "https://rancher:8443/k8s/clusters/c-1/apis?timeout=5s",
        ),
        (
            "/version",
            "https://rancher:8443/k8s/clusters/c-1/version?timeout=32s",
        ),
        (
            "/openapi/v2",
            "https://rancher:8443/k8s/clusters/c-1/openapi/v2?timeout=32s",
        ),
        // Not discovery: no timeout that the server would end a watch at.
        (
            "/api/v1/pods?watch=1",
            "https://rancher:8443/k8s/clusters/c-1/api/v1/pods?watch=1",
        ),
        ("http://other/x", "http://other/x"),
        (
            "https://rancher:8443/k8s/clusters/c-1/apis",
            "https://rancher:8443/k8s/clusters/c-1/apis?timeout=32s",
        ),
    ] {
        assert_eq!(shaped(rancher(), get(asked)).await.0, sent, "{asked}");
    }
}

#[tokio::test]
async fn the_timeout_is_written_as_go_writes_it() {
    let layer = |timeout| RequestDefaultsLayer::new(&"http://h".parse().unwrap()).timeout(timeout);
    let minute = shaped(layer(Duration::from_secs(60)), get("/api")).await.0;
    assert_eq!(minute, "http://h/api?timeout=1m0s");
    let short = shaped(layer(Duration::from_nanos(1_500)), get("/api"))
        .await
        .0;
    assert_eq!(short, "http://h/api?timeout=1.5%C2%B5s");
    assert_eq!(
        shaped(layer(Duration::ZERO), get("/api")).await.0,
        "http://h/api"
    );
}

#[tokio::test]
async fn accept_is_completed_and_not_replaced() {
    let layer = || RequestDefaultsLayer::new(&"http://h".parse().unwrap());
    assert_eq!(
        shaped(layer(), get("/api")).await.1,
        "application/json, */*"
    );
    let request = Request::get("/api")
        .header(ACCEPT, "application/yaml")
        .body(())
        .unwrap();
    assert_eq!(shaped(layer(), request).await.1, "application/yaml");
}

#[test]
fn durations_as_go_prints_them() {
    for (nanos, text) in [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (250_000_000, "250ms"),
        (2_200_000, "2.2ms"),
        (1_000_000_000, "1s"),
        (32_000_000_000, "32s"),
        (61_000_000_001, "1m1.000000001s"),
        (3_600_000_000_000, "1h0m0s"),
        (5_445_500_000_000, "1h30m45.5s"),
    ] {
        assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
    }
}
