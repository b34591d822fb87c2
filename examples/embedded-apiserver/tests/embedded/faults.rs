//! Misbehaviour on demand.

use std::time::Duration;

use embedded_apiserver::{Canned, EmbeddedServer, Fault};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use tokio::net::TcpStream;

use super::client::{KUBECTL, V2, accept, begin, finish, frame, get, get_http2, head, send, until};

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
        let first = frame(&mut response).await;
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
    until(&control, |counters| counters.in_flight == 0).await;
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
        read += frame(&mut response).await.len();
    }
    drop(response);
    until(&control, |counters| counters.in_flight == 0).await;

    control.set_fault("/apis", Fault::Stall(5));
    let mut response = begin(server.addr(), "GET", "/apis", &[]).await.unwrap();
    let first = frame(&mut response).await;
    assert_eq!(&first[..], b"{\"kin");
    assert_eq!(control.counters().in_flight, 1);
}

#[tokio::test]
async fn answers_that_have_no_body() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    let etag = accept(&server, "/apis", V2).await.etag();
    for fault in [Fault::CutBody(0), Fault::Endless, Fault::Stall(0)] {
        let what = format!("{fault:?}");
        control.set_fault("/apis", fault);
        let headers = [("accept", V2), ("if-none-match", etag.as_str())];
        assert_eq!(
            get(&server, "/apis", &headers).await.status,
            StatusCode::NOT_MODIFIED,
            "{what}"
        );
        assert_eq!(
            head(&server, "/apis", &headers[..1]).await.status,
            StatusCode::OK,
            "{what}"
        );
    }
    assert_eq!(control.counters().in_flight, 0);
}

#[tokio::test]
async fn the_length_is_that_of_the_body() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let canned = Canned::json("{}")
        .header(CONTENT_LENGTH, HeaderValue::from(7))
        .header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    server.control().set_fault("/api", Fault::Answer(canned));
    for reply in [
        get(&server, "/api", &[]).await,
        head(&server, "/api", &[]).await,
    ] {
        assert_eq!(reply.header("content-length"), "2");
        assert!(!reply.has("transfer-encoding"));
    }
}

#[tokio::test]
async fn one_answer_later_than_others() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    control.set_fault_times("/api", Fault::Delay(Duration::from_millis(1)), 1);
    assert_eq!(get(&server, "/api", &[]).await.status, StatusCode::OK);

    control.set_fault_times("/api", Fault::Delay(Duration::from_secs(24 * 60 * 60)), 1);
    let address = server.addr();
    let late = tokio::spawn(async move { begin(address, "GET", "/api", &[]).await.is_ok() });
    until(&control, |counters| counters.path("/api") == 2).await;
    for path in ["/apis", "/api"] {
        assert_eq!(get(&server, path, &[]).await.status, StatusCode::OK);
    }
    assert_eq!(control.counters().in_flight, 1);
    assert!(!late.is_finished());
}
