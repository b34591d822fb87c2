//! Entity tags, 304 and compression.

use std::io::Read;

use embedded_apiserver::EmbeddedServer;
use flate2::read::GzDecoder;
use http::StatusCode;

use super::client::{KUBECTL, V2, V2BETA1, accept, get, head};

#[tokio::test]
async fn entity_tags_are_compared_as_one_string() {
    let server = EmbeddedServer::builder().crds(5).start().await.unwrap();
    for path in ["/api", "/apis"] {
        let etag = accept(&server, path, KUBECTL).await.etag();
        let bare = etag.trim_matches('"').to_owned();
        assert!(bare.len() == 128 && bare.chars().all(|c| matches!(c, '0'..='9' | 'A'..='F')));
        for (tag, status) in [
            (etag.clone(), 304),
            (format!("W/{etag}"), 200),
            (format!("\"x\", {etag}"), 200),
            (format!("{etag},\"x\""), 200),
            ("*".to_owned(), 200),
            (bare, 200),
            ("\"0000\"".to_owned(), 200),
        ] {
            let headers = [("accept", KUBECTL), ("if-none-match", &tag)];
            let reply = get(&server, path, &headers).await;
            assert_eq!(reply.status.as_u16(), status, "{path} {tag}");
            assert_eq!(reply.etag(), etag);
        }
    }
}

#[tokio::test]
async fn what_a_304_says() {
    let server = EmbeddedServer::builder().crds(300).start().await.unwrap();
    let etag = accept(&server, "/apis", KUBECTL).await.etag();
    let headers = [
        ("accept", KUBECTL),
        ("if-none-match", etag.as_str()),
        ("accept-encoding", "gzip"),
        ("cache-control", "no-cache"),
    ];
    let reply = get(&server, "/apis", &headers).await;
    assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
    assert_eq!(reply.header("cache-control"), "public");
    assert_eq!(reply.header("vary"), "Accept");
    assert!(reply.has("date") && reply.has("audit-id") && reply.body.is_empty());
    for absent in [
        "content-type",
        "content-length",
        "transfer-encoding",
        "content-encoding",
    ] {
        assert!(!reply.has(absent), "{absent}");
    }
    assert_eq!(
        head(&server, "/apis", &headers).await.status,
        StatusCode::NOT_MODIFIED
    );

    // Forms without a tag do not know it, and dates do not matter.
    let tag = ("if-none-match", etag.as_str());
    assert_eq!(
        get(&server, "/apis", &[("accept", "application/json"), tag])
            .await
            .status,
        200
    );
    assert_eq!(
        get(&server, "/apis", &[("accept", V2BETA1), tag])
            .await
            .status,
        406
    );
    let dated = [
        ("accept", KUBECTL),
        ("if-modified-since", "Sat, 21 Nov 2037 23:05:21 GMT"),
    ];
    assert_eq!(get(&server, "/apis", &dated).await.status, 200);
    assert_eq!(server.counters().not_modified, 2);
}

#[tokio::test]
async fn the_tag_belongs_to_the_data() {
    let server = EmbeddedServer::builder().crds(5).start().await.unwrap();
    let control = server.control();
    let before = accept(&server, "/apis", V2).await.etag();
    let core = accept(&server, "/api", V2).await.etag();
    control.set_crds(10);
    let after = accept(&server, "/apis", V2).await.etag();
    assert_ne!(before, after);
    assert_eq!(accept(&server, "/api", V2).await.etag(), core);
    control.set_crds(5);
    assert_eq!(accept(&server, "/apis", V2).await.etag(), before);
    control.set_v2beta1(true);
    assert_eq!(accept(&server, "/apis", V2).await.etag(), before);
}

#[tokio::test]
async fn large_bodies_are_compressed() {
    let server = EmbeddedServer::builder().crds(300).start().await.unwrap();
    let gzip = ("accept-encoding", "gzip");
    let plain = accept(&server, "/apis", KUBECTL).await;
    assert!(plain.body.len() > 131_072);
    assert_eq!(plain.header("vary"), "Accept");

    let small = get(&server, "/apis", &[("accept", KUBECTL), gzip]).await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert_eq!(small.header("vary"), "Accept|Accept-Encoding");
    assert_eq!(small.header("transfer-encoding"), "chunked");
    assert_eq!(small.etag(), plain.etag());
    assert!(small.body.len() < plain.body.len() / 5);
    let mut decoded = Vec::new();
    GzDecoder::new(&*small.body)
        .read_to_end(&mut decoded)
        .unwrap();
    assert_eq!(decoded, plain.body);

    // The bare word counts, and nothing else.
    for (codings, compressed) in [
        ("deflate, gzip", true),
        ("gzip,br", true),
        ("gzip;q=0", false),
        ("gzip;q=1.0", false),
        ("GZIP", false),
        ("gzipped", false),
        ("*", false),
    ] {
        let headers = [("accept", KUBECTL), ("accept-encoding", codings)];
        let reply = get(&server, "/apis", &headers).await;
        assert_eq!(reply.has("content-encoding"), compressed, "{codings}");
    }

    // For people as well.
    let people = ("user-agent", "curl/8");
    let pretty = get(&server, "/apis", &[("accept", KUBECTL), people]).await;
    assert!(!pretty.has("content-encoding") && pretty.body.len() > plain.body.len());
    let small = get(&server, "/apis", &[("accept", KUBECTL), people, gzip]).await;
    assert_eq!(small.header("content-encoding"), "gzip");
    let mut decoded = Vec::new();
    GzDecoder::new(&*small.body)
        .read_to_end(&mut decoded)
        .unwrap();
    assert_eq!(decoded, pretty.body);

    // 15 kB and 7 kB are not worth it.
    for asked in ["application/json", KUBECTL] {
        let path = if asked == KUBECTL { "/api" } else { "/apis" };
        let reply = get(&server, path, &[("accept", asked), gzip]).await;
        assert!(!reply.has("content-encoding"));
        assert_ne!(reply.header("vary"), "Accept|Accept-Encoding");
    }

    // A legacy list has no other `Vary` line.
    let server = EmbeddedServer::builder()
        .custom_groups(1000)
        .start()
        .await
        .unwrap();
    let legacy = get(&server, "/apis", &[gzip]).await;
    assert_eq!(legacy.header("vary"), "Accept-Encoding");
}
