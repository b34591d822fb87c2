//! OpenAPI: hashed URLs, immutable documents, Go's file server.

use embedded_apiserver::EmbeddedServer;
use http::StatusCode;

use super::client::{Reply, accept, get, head};

const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const PROTOBUF_V3: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";

fn url(index: &Reply, path: &str) -> String {
    index.json()["paths"][path]["serverRelativeURL"]
        .as_str()
        .expect("a URL")
        .to_owned()
}

#[tokio::test]
async fn the_index_names_every_document() {
    let server = EmbeddedServer::builder().crds(5).start().await.unwrap();
    let index = get(&server, "/openapi/v3", &[]).await;
    assert_eq!(index.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(index.header("cache-control"), "no-cache, private");
    assert_eq!(index.header("accept-ranges"), "bytes");
    assert_eq!(index.header("content-length"), index.body.len().to_string());
    assert!(!index.has("etag") && !index.has("vary"));
    assert!(url(&index, "api/v1").starts_with("/openapi/v3/api/v1?hash="));
    assert!(url(&index, "apis/g00.example.test/v1").contains("?hash="));
    assert!(url(&index, "version").len() > 128);

    assert_eq!(
        accept(&server, "/openapi/v3", "text/html").await.status,
        StatusCode::OK
    );
    let later = [("if-modified-since", "Sat, 21 Nov 2099 23:05:23 GMT")];
    assert_eq!(
        get(&server, "/openapi/v3", &later).await.status,
        StatusCode::NOT_MODIFIED
    );
    let slash = get(&server, "/openapi/v3/", &[]).await;
    assert_eq!(
        (
            slash.status.as_u16(),
            slash.header("content-length").as_str()
        ),
        (404, "0")
    );
    let head = head(&server, "/openapi/v3", &[]).await;
    assert_eq!(
        head.header("content-length"),
        index.header("content-length")
    );
}

#[tokio::test]
async fn hashed_documents_are_immutable() {
    let server = EmbeddedServer::builder().crds(5).start().await.unwrap();
    let index = get(&server, "/openapi/v3", &[]).await;
    for name in [
        "api/v1",
        "apis/apps/v1",
        "apis/g00.example.test/v1",
        "version",
    ] {
        let url = url(&index, name);
        let (path, hash) = url.split_once("?hash=").unwrap();
        let reply = accept(&server, &url, "application/json").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("cache-control"), "public, immutable");
        assert_eq!(reply.etag(), format!("\"{hash}\""));
        assert_eq!(reply.header("vary"), "Accept");
        assert!(
            reply.header("expires").ends_with(" UTC"),
            "{}",
            reply.header("expires")
        );
        assert!(reply.header("last-modified").ends_with(" GMT"));
        assert_eq!(reply.json()["openapi"], "3.0.0");

        // With its length even in protocol buffers, and never compressed.
        let protobuf = accept(&server, &url, PROTOBUF_V3).await;
        assert_eq!(
            protobuf.header("content-type"),
            "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
        );
        assert!(protobuf.body.starts_with(b"\n\x053.0.0\x12"));

        // The file server compares weakly, knows lists and the star, and dates.
        for (name, value) in [
            ("if-none-match", reply.etag()),
            ("if-none-match", format!("W/{}", reply.etag())),
            ("if-none-match", format!("\"x\", {}", reply.etag())),
            ("if-none-match", "*".to_owned()),
            ("if-modified-since", reply.header("last-modified")),
        ] {
            let reply = get(&server, &url, &[(name, &value)]).await;
            assert_eq!(reply.status, StatusCode::NOT_MODIFIED, "{name}: {value}");
            assert_eq!(reply.header("cache-control"), "public, immutable");
            assert!(reply.has("expires") && reply.has("etag") && reply.has("vary"));
            assert!(!reply.has("last-modified") && !reply.has("content-type"));
            assert!(!reply.has("accept-ranges"));
        }

        let bare = get(&server, path, &[]).await;
        assert_eq!(bare.header("cache-control"), "no-cache, private");
        assert!(!bare.has("expires") && bare.has("etag"));

        let wrong = get(&server, &format!("{path}?hash=DEADBEEF"), &[]).await;
        assert_eq!(wrong.status, StatusCode::MOVED_PERMANENTLY);
        assert_eq!(wrong.header("location"), url);
        assert_eq!(wrong.header("content-length"), "0");
        assert_eq!(wrong.header("cache-control"), "no-cache, private");

        let refused = accept(&server, &url, "text/html").await;
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
        assert_eq!(
            (refused.header("vary").as_str(), refused.body.len()),
            ("Accept", 0)
        );
    }
    let missing = get(&server, "/openapi/v3/apis/nope.example.test/v1", &[]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.body.is_empty() && !missing.has("content-type"));
}

#[tokio::test]
async fn version_two_is_one_document_in_json_or_protobuf() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let json = get(&server, "/openapi/v2", &[]).await;
    assert_eq!(json.header("vary"), "Accept-Encoding|Accept");
    assert_eq!(json.header("cache-control"), "no-cache, private");
    assert_eq!(json.json()["swagger"], "2.0");
    let protobuf = accept(&server, "/openapi/v2", PROTOBUF_V2).await;
    assert_eq!(
        protobuf.header("content-type"),
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    assert_eq!(protobuf.etag(), json.etag());
    let unchanged = get(&server, "/openapi/v2", &[("if-none-match", "*")]).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    assert_eq!(unchanged.header("vary"), "Accept-Encoding|Accept");
    let refused = accept(&server, "/openapi/v2", "text/html").await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(refused.header("content-length"), "0");
}
