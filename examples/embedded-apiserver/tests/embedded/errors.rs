//! Refusals, word for word.

use embedded_apiserver::EmbeddedServer;
use http::StatusCode;

use super::client::{KUBECTL, Reply, V2, V2BETA1, accept, get, head};

#[tokio::test]
async fn an_unacceptable_form_is_a_406() {
    let server = EmbeddedServer::builder().crds(5).start().await.unwrap();
    let by_framework = "{\n  \"kind\": \"Status\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {},\n  \
                        \"status\": \"Failure\",\n  \"message\": \"406: Not Acceptable\\n\\n\
                        Available representations: application/json, application/yaml, \
                        application/vnd.kubernetes.protobuf\",\n  \"reason\": \"NotAcceptable\",\n  \
                        \"details\": {},\n  \"code\": 406\n}";
    let by_negotiation = "{\n  \"kind\": \"Status\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {},\n  \
                          \"status\": \"Failure\",\n  \"message\": \"only the following media types \
                          are accepted: application/json, application/yaml, \
                          application/vnd.kubernetes.protobuf\",\n  \"reason\": \
                          \"NotAcceptable\",\n  \"code\": 406\n}";
    for (path, asked, body) in [
        ("/api", "text/html", by_framework),
        (
            "/api",
            "application/cbor;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            by_framework,
        ),
        ("/api", V2BETA1, by_negotiation),
        ("/api/v1", "text/html", by_framework),
        ("/api/v1", V2, by_negotiation),
        ("/apis", "text/html", by_negotiation),
        ("/apis", V2BETA1, by_negotiation),
        ("/apis/apps", "text/html", by_negotiation),
        ("/apis/apps/v1", "text/html", by_framework),
        ("/apis/g00.example.test/v1", "text/html", by_negotiation),
    ] {
        let reply = accept(&server, path, asked).await;
        assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE, "{path} {asked}");
        assert_eq!(reply.text(), body, "{path} {asked}");
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("content-length"), body.len().to_string());
    }
    let version = accept(&server, "/version", "text/html").await;
    assert_eq!((version.status.as_u16(), version.body.len()), (406, 229));
    // An aggregated entry in the list of a path that has no such form is passed over.
    assert_eq!(
        accept(&server, "/api/v1", KUBECTL).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn not_found_and_wrong_method() {
    let server = EmbeddedServer::builder().crds(5).start().await.unwrap();
    for path in [
        "/apis/g00.example.test/v1alpha1",
        "/apis/nope.example.test/v1",
        "/apis/nope.example.test",
        "/api/v2",
        "/nope",
        "/",
    ] {
        let reply = get(&server, path, &[]).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(reply.text(), "404 page not found\n");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("content-length"), "19");
    }

    let reply = head(&server, "/api", &[("accept", KUBECTL)]).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.header("content-length"), "197");
    assert!(reply.body.is_empty());

    let reply = head(&server, "/apis", &[("accept", KUBECTL)]).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), V2);
    assert!(!reply.has("content-length") && !reply.has("transfer-encoding"));
    let full = accept(&server, "/apis", KUBECTL).await;
    assert_eq!(reply.etag(), full.etag());
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let server = EmbeddedServer::builder()
        .token("test-token")
        .start()
        .await
        .unwrap();
    let good = [("authorization", "Bearer test-token"), ("accept", KUBECTL)];
    let welcome = get(&server, "/apis", &good).await;
    assert_eq!(welcome.status, StatusCode::OK);
    assert_eq!(
        flow(&welcome),
        [
            "9da2fd6b-b7d5-4857-831c-38538f34dd89",
            "0c1c5fe8-c772-4279-b761-822996e564e2"
        ]
    );

    let bad = get(&server, "/apis", &[("authorization", "Bearer wrong")]).await;
    assert_eq!(bad.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        bad.text(),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
         \"message\":\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}\n"
    );
    // Authentication comes before flow control.
    assert_eq!(flow(&bad), ["", ""]);
    assert!(bad.has("audit-id"));

    let none = get(&server, "/api", &[("accept", KUBECTL)]).await;
    assert_eq!(none.status, StatusCode::FORBIDDEN);
    assert_eq!(
        none.text(),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
         \"message\":\"forbidden: User \\\"system:anonymous\\\" cannot get path \\\"/api\\\"\",\
         \"reason\":\"Forbidden\",\"details\":{},\"code\":403}\n"
    );
    assert_eq!(none.header("x-content-type-options"), "nosniff");
    assert_eq!(none.header("content-length"), "188");
    assert_eq!(
        flow(&none),
        [
            "a64f35dd-25bc-4166-b7d8-d3ec74cdd86d",
            "99153050-c6a9-4ec8-8c48-50a455404480"
        ]
    );

    let log = server.log();
    let present: Vec<bool> = log.iter().map(|entry| entry.authorization).collect();
    assert_eq!(present, [true, true, false]);
    assert!(
        log.iter()
            .all(|entry| !entry.headers.contains_key("authorization"))
    );
}

/// The place of a request in flow control, by the fields of the answer.
fn flow(reply: &Reply) -> [String; 2] {
    ["flowschema", "prioritylevel"].map(|what| reply.header(&format!("x-kubernetes-pf-{what}-uid")))
}
