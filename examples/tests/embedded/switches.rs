//! Misbehaviour on demand, the log and the counters.

use std::time::Duration;

use discovery_examples::embedded::{Canned, EmbeddedServer, Fault};
use http::{StatusCode, Version};
use http_body_util::BodyExt;
use tokio::net::TcpStream;

use super::client::{KUBECTL, V2, V2BETA1, accept, begin, finish, get, get_http2, send};

#[tokio::test]
async fn forms_of_other_servers() {
    let server = EmbeddedServer::builder()
        .legacy_only(true)
        .start()
        .await
        .unwrap();
    let control = server.control();
    for path in ["/api", "/apis"] {
        let reply = accept(&server, path, KUBECTL).await;
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(
            accept(&server, path, V2).await.status,
            StatusCode::NOT_ACCEPTABLE
        );
    }

    control.set_v2beta1(true);
    let both = format!("{V2},{V2BETA1},application/json");
    let beta = accept(&server, "/apis", &both).await;
    assert_eq!(beta.header("content-type"), V2BETA1);
    assert_eq!(beta.json()["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    assert_eq!(
        accept(&server, "/apis", V2).await.status,
        StatusCode::NOT_ACCEPTABLE
    );

    control.set_v2(true);
    assert_eq!(
        accept(&server, "/apis", &both).await.header("content-type"),
        V2
    );
    assert_eq!(
        accept(&server, "/apis", V2BETA1)
            .await
            .header("content-type"),
        V2BETA1
    );
    control.set_legacy_only(true);
    assert_eq!(
        accept(&server, "/apis", &both).await.header("content-type"),
        "application/json"
    );
}

#[tokio::test]
async fn answers_to_order() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    control.fail_group_version("apps/v1", StatusCode::TOO_MANY_REQUESTS, Some(1));
    let busy = get(&server, "/apis/apps/v1", &[]).await;
    assert_eq!(busy.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(busy.header("retry-after"), "1");
    assert_eq!(busy.json()["reason"], "TooManyRequests");

    control.fail_group_version("v1", StatusCode::SERVICE_UNAVAILABLE, None);
    let dead = get(&server, "/api/v1?timeout=32s", &[]).await;
    assert_eq!(
        dead.json()["message"],
        "the server is currently unable to handle the request"
    );
    assert!(!dead.has("retry-after") && dead.has("audit-id"));

    let text = Canned::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n");
    control.set_fault_times("/api", Fault::Answer(text), 2);
    for status in [503, 503, 200] {
        assert_eq!(
            accept(&server, "/api", KUBECTL).await.status.as_u16(),
            status
        );
    }

    let odd = Canned::new("<html>")
        .content_type("text/html")
        .code(StatusCode::OK);
    control.set_fault("/apis", Fault::Answer(odd));
    let reply = accept(&server, "/apis", KUBECTL).await;
    assert_eq!(
        (reply.text(), reply.header("content-type").as_str()),
        ("<html>", "text/html")
    );
    control.clear_fault("/apis");
    assert_eq!(
        accept(&server, "/apis", KUBECTL)
            .await
            .header("content-type"),
        V2
    );

    control.clear_faults();
    assert_eq!(
        get(&server, "/apis/apps/v1", &[]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn connections_are_cut() {
    let server = EmbeddedServer::builder().crds(300).start().await.unwrap();
    let control = server.control();
    control.set_fault("/api", Fault::Cut);
    assert!(send(&server, "GET", "/api", &[]).await.is_err());
    assert_eq!(server.log()[0].status, None);

    // Without a length the missing last chunk shows it, with a length the missing bytes.
    control.set_fault("/apis", Fault::CutBody(1000));
    control.set_fault("/apis/apps", Fault::CutBody(10));
    for (path, asked, bytes) in [("/apis", KUBECTL, 1000), ("/apis/apps", "", 10)] {
        let mut response = begin(server.addr(), "GET", path, &[("accept", asked)])
            .await
            .expect("the head");
        assert_eq!(response.status(), StatusCode::OK);
        let first = response
            .body_mut()
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap();
        assert_eq!(first.len(), bytes);
        assert!(finish(response).await.is_err(), "{path}");
    }

    for path in ["/api", "/apis"] {
        let stream = TcpStream::connect(server.addr()).await.unwrap();
        let url = format!("{}{path}", server.url());
        assert!(
            get_http2(stream, &url, &[("accept", KUBECTL)])
                .await
                .is_err(),
            "{path}"
        );
    }
    control.until(|counters| counters.in_flight == 0).await;
}

#[tokio::test]
async fn bodies_without_end() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    control.set_fault("/apis", Fault::Endless);
    let mut response = begin(server.addr(), "GET", "/apis", &[("accept", V2)])
        .await
        .unwrap();
    assert!(!response.headers().contains_key("content-length"));
    let mut read = 0;
    while read < 1_000_000 {
        read += response
            .body_mut()
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .len();
    }
    drop(response);
    control.until(|counters| counters.in_flight == 0).await;

    control.set_fault("/apis", Fault::Stall(5));
    let mut response = begin(server.addr(), "GET", "/apis", &[]).await.unwrap();
    let first = response
        .body_mut()
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(&first[..], b"{\"kin");
    assert_eq!(control.counters().in_flight, 1);
}

#[tokio::test]
async fn requests_can_be_held() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    let (api, apis) = (control.hold("/api"), control.hold("/apis"));
    let both = async {
        tokio::join!(accept(&server, "/api", V2), accept(&server, "/apis", V2));
    };
    let release = async {
        control
            .until(|counters| counters.path("/api") == 1 && counters.path("/apis") == 1)
            .await;
        api.release();
        control.until(|counters| counters.in_flight == 1).await;
        apis.release();
    };
    tokio::join!(both, release);

    let counters = control.counters();
    assert_eq!((counters.total, counters.max_in_flight), (2, 2));
    let log = control.log();
    assert!(log[0].overlaps(&log[1]) && log[1].overlaps(&log[0]));
    accept(&server, "/api", V2).await;
    let log = control.log();
    assert!(!log[0].overlaps(&log[2]) && !log[2].overlaps(&log[0]));
}

#[tokio::test]
async fn the_log() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let headers = [
        ("accept", V2),
        ("user-agent", "test/1"),
        ("if-none-match", "\"x\""),
    ];
    let reply = get(&server, "/apis?timeout=32s", &headers).await;
    let log = server.log();
    let entry = &log[0];
    assert_eq!(
        (entry.method.as_str(), entry.path.as_str()),
        ("GET", "/apis")
    );
    assert_eq!(entry.target, "/apis?timeout=32s");
    assert_eq!((entry.version, entry.connection), (Version::HTTP_11, 1));
    assert_eq!(
        (entry.accept(), entry.user_agent()),
        (Some(V2), Some("test/1"))
    );
    assert_eq!(
        (entry.if_none_match(), entry.authorization),
        (Some("\"x\""), false)
    );
    assert_eq!(
        (entry.status, entry.body_bytes),
        (Some(StatusCode::OK), reply.body.len() as u64)
    );
    assert!(entry.ended.is_some_and(|ended| ended >= entry.started));

    server.clear_log();
    assert!(server.log().is_empty() && server.counters().total == 0);
    let etag = reply.etag();
    get(
        &server,
        "/apis",
        &[("accept", V2), ("if-none-match", &etag)],
    )
    .await;
    let counters = server.counters();
    assert_eq!(
        (counters.total, counters.not_modified, counters.connections),
        (1, 1, 2)
    );
    assert_eq!(
        (
            counters.path("/apis"),
            counters.path("/api"),
            counters.body_bytes
        ),
        (1, 0, 0)
    );
}

#[tokio::test]
async fn headers_by_switch() {
    let server = EmbeddedServer::builder()
        .vary_authorization(true)
        .start()
        .await
        .unwrap();
    let control = server.control();
    assert_eq!(
        accept(&server, "/apis", V2).await.header("vary"),
        "Accept|Authorization"
    );
    assert_eq!(
        get(&server, "/version", &[]).await.header("vary"),
        "Authorization"
    );
    control.set_vary_authorization(false);
    assert!(!get(&server, "/version", &[]).await.has("vary"));

    control.set_clock_offset(-86_400);
    let date = get(&server, "/version", &[]).await.header("date");
    let date = httpdate::parse_http_date(&date).unwrap();
    assert!(date < std::time::SystemTime::now() - Duration::from_secs(80_000));

    control.set_latency(Duration::from_millis(1));
    control.set_fault("/version", Fault::Delay(Duration::from_millis(1)));
    assert_eq!(get(&server, "/version", &[]).await.status, StatusCode::OK);
}
