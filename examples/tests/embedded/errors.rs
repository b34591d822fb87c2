//! Refusals, word for word.

use discovery_examples::embedded::{
    CONFIG_MAP_MARKER, CONFIG_MAPS, EmbeddedServer, SECRET_MARKER, SECRETS,
};
use http::StatusCode;

use super::client::{KUBECTL, V2, V2BETA1, accept, begin, get, head, send};

#[tokio::test]
async fn not_acceptable() {
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
async fn tokens() {
    let server = EmbeddedServer::builder()
        .token("test-token")
        .start()
        .await
        .unwrap();
    let good = [("authorization", "Bearer test-token"), ("accept", KUBECTL)];
    assert_eq!(get(&server, "/apis", &good).await.status, StatusCode::OK);

    let bad = get(&server, "/apis", &[("authorization", "Bearer wrong")]).await;
    assert_eq!(bad.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        bad.text(),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
         \"message\":\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}\n"
    );
    assert!(!bad.has("x-kubernetes-pf-flowschema-uid") && bad.has("audit-id"));

    let none = get(&server, "/api", &[("accept", KUBECTL)]).await;
    assert_eq!(none.status, StatusCode::FORBIDDEN);
    assert_eq!(
        none.text(),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
         \"message\":\"forbidden: User \\\"system:anonymous\\\" cannot get path \\\"/api\\\"\",\
         \"reason\":\"Forbidden\",\"details\":{},\"code\":403}\n"
    );
    assert_eq!(none.header("x-content-type-options"), "nosniff");

    let log = server.log();
    let present: Vec<bool> = log.iter().map(|entry| entry.authorization).collect();
    assert_eq!(present, [true, true, false]);
    assert!(
        log.iter()
            .all(|entry| !entry.headers.contains_key("authorization"))
    );
}

#[tokio::test]
async fn objects() {
    let server = EmbeddedServer::builder().crds(5).start().await.unwrap();
    let secret = get(
        &server,
        &format!("/api/v1/namespaces/default/secrets/{}", SECRETS[0]),
        &[],
    )
    .await;
    assert_eq!(secret.json()["data"]["password"], SECRET_MARKER);
    assert_eq!(secret.header("cache-control"), "no-cache, private");
    let secrets = get(&server, "/api/v1/namespaces/default/secrets", &[]).await;
    assert_eq!(secrets.json()["kind"], "SecretList");
    assert_eq!(
        secrets.json()["items"].as_array().unwrap().len(),
        SECRETS.len()
    );
    let maps = get(&server, "/api/v1/configmaps", &[]).await;
    assert_eq!(
        maps.text().matches(CONFIG_MAP_MARKER).count(),
        CONFIG_MAPS.len()
    );
    assert!(!maps.text().contains(SECRET_MARKER));

    let missing = get(&server, "/api/v1/namespaces/default/secrets/nope", &[]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(
        missing.text(),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
         \"message\":\"secrets \\\"nope\\\" not found\",\"reason\":\"NotFound\",\"details\":\
         {\"name\":\"nope\",\"kind\":\"secrets\"},\"code\":404}\n"
    );
    let empty = get(&server, "/apis/g00.example.test/v1/widget000s", &[]).await;
    assert_eq!(
        empty.text(),
        "{\"kind\":\"Widget000List\",\"apiVersion\":\"g00.example.test/v1\",\"metadata\":\
         {\"resourceVersion\":\"1000\"},\"items\":[]}\n"
    );
    assert_eq!(
        get(&server, "/api/v1/nopes", &[]).await.text(),
        "404 page not found\n"
    );
    let created = send(&server, "POST", "/api/v1/namespaces/default/secrets", &[])
        .await
        .unwrap();
    assert_eq!(created.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_watch_stays_open() {
    use http_body_util::BodyExt;

    let server = EmbeddedServer::builder().start().await.unwrap();
    let path = "/api/v1/namespaces/default/configmaps?watch=true";
    let mut response = begin(server.addr(), "GET", path, &[]).await.unwrap();
    let frame = response
        .body_mut()
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    let events = String::from_utf8(frame.to_vec()).unwrap();
    assert!(events.starts_with("{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\""));
    assert_eq!(events.lines().count(), CONFIG_MAPS.len());
    assert_eq!(server.counters().in_flight, 1);
    drop(response);
    server
        .control()
        .until(|counters| counters.in_flight == 0)
        .await;
}
