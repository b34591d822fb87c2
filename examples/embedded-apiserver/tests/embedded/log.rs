//! The log, and waiting for it.

use embedded_apiserver::{EmbeddedServer, Entry};
use http::{StatusCode, Version};
use tokio::net::TcpStream;

use super::client::{V2, get, until};

#[tokio::test]
async fn the_log_has_every_request() {
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
async fn every_change_is_noticed() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    // A connection over which nothing was said.
    let connect = async { TcpStream::connect(server.addr()).await.unwrap() };
    let (_quiet, ()) = tokio::join!(
        connect,
        until(&control, |counters| counters.connections == 1)
    );

    // The condition may look at anything.
    let hold = control.hold("/apis");
    let answered = until(&control, |_| {
        let answered = |log: Vec<Entry>| log.first().is_some_and(|entry| entry.status.is_some());
        answered(control.log()) && control.counters().body_bytes > 0
    });
    let ask = async {
        let release = async {
            until(&control, |counters| counters.in_flight == 1).await;
            hold.release();
        };
        tokio::join!(get(&server, "/apis", &[("accept", V2)]), release);
    };
    tokio::join!(answered, ask);

    let forget = async { control.clear_log() };
    tokio::join!(until(&control, |counters| counters.total == 0), forget);
}
