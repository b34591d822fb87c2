//! The proxy between a client and a server, without the program around it.

use std::fs;
use std::time::SystemTime;

use discovery_core::store::{MapStore, Value};
use embedded_apiserver::EmbeddedServer;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// A proxy in front of a server that sends these bytes to one request.
async fn proxy(answer: &'static str) -> DuplexStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}/base", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut asked = [0; 1024];
        let size = stream.read(&mut asked).await.unwrap();
        assert!(asked[..size].starts_with(b"GET /base/a?b HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    before(&upstream, None, Arc::new(MapStore::new()))
}

/// A proxy in front of a server.
fn before(upstream: &str, tls: Option<ClientConfig>, store: Arc<dyn Store>) -> DuplexStream {
    let layer = HttpCacheLayer::new(store).executor(TokioExecutor::new());
    let upstream_service = ReadTimeoutLayer::new(None).layer(Upstream::new(tls));
    let (client, server) = tokio::io::duplex(4096);
    let target = upstream.parse().unwrap();
    tokio::spawn(serve(server, layer.layer(upstream_service), target));
    client
}

async fn get(client: &mut DuplexStream, version: &str, until: &str) -> String {
    ask(client, &format!("GET /a?b {version}"), until).await
}

async fn ask(client: &mut DuplexStream, line: &str, until: &str) -> String {
    let request = format!("{line}\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut got = String::new();
    while !got.ends_with(until) {
        let mut bytes = [0; 1024];
        let size = client.read(&mut bytes).await.unwrap();
        assert!(size > 0, "{got}");
        got.push_str(std::str::from_utf8(&bytes[..size]).unwrap());
    }
    got
}

const ANSWER: &str = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\nconnection: y\r\ny: 1\r\n\r\n\
    HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncache-control: max-age=60\r\nconnection: z\r\nz: 1\r\n\r\none";

#[tokio::test]
async fn informational_responses_are_passed_on() {
    let mut client = proxy(ANSWER).await;
    let first = get(&mut client, "HTTP/1.1", "one").await;
    let (hint, rest) = first.split_once("\r\n\r\n").unwrap();
    assert_eq!(hint, "HTTP/1.1 103 Early Hints\r\nlink: </x>");
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{rest}");
    assert!(
        !rest.contains("\r\nz: 1"),
        "of the connection to the server only"
    );
    // They are not stored.
    let second = get(&mut client, "HTTP/1.1", "one").await;
    assert!(second.starts_with("HTTP/1.1 200 OK\r\n"), "{second}");
    assert!(second.contains("\r\nage: 0\r\n"), "{second}");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_informational_responses() {
    let mut client = proxy(ANSWER).await;
    let got = get(&mut client, "HTTP/1.0", "one").await;
    assert!(got.starts_with("HTTP/1.0 200 OK\r\n"), "{got}");
}

#[tokio::test]
async fn a_server_without_a_proper_answer_is_a_502() {
    for answer in ["", "HTTP/1.1 200 OK\r\nconten", "nonsense\r\n\r\n"] {
        let mut client = proxy(answer).await;
        let got = get(&mut client, "HTTP/1.1", "answer\n").await;
        assert!(got.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{got}");
        // And then there is nobody.
        let got = get(&mut client, "HTTP/1.1", "reached\n").await;
        assert!(got.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{got}");
    }
}

#[tokio::test]
async fn the_version_of_an_answer_is_ours() {
    let old = "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\none";
    let got = get(&mut proxy(old).await, "HTTP/1.1", "one").await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
    // One that this server can't speak, in a store.
    let now = httpdate::fmt_http_date(SystemTime::now());
    let head = format!(
        "HTTP/3.0 200 OK\r\nCache-Control: max-age=9999\r\nContent-Length: 3\r\nDate: {now}\r\n\r\n"
    );
    let store = Arc::new(MapStore::new());
    let stored = store.put("http://127.0.0.1:1/a?b", Value::new(head, "one"));
    stored.await.unwrap();
    let got = get(
        &mut before("http://127.0.0.1:1", None, store),
        "HTTP/1.1",
        "one",
    )
    .await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
}

#[tokio::test]
async fn connect_is_answered_with_501() {
    let mut client = proxy(ANSWER).await;
    let got = ask(&mut client, "CONNECT h:443 HTTP/1.1", "tunnels\n").await;
    assert!(got.starts_with("HTTP/1.1 501 Not Implemented\r\n"), "{got}");
}

#[tokio::test]
async fn via_has_the_version_of_the_client() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    for version in ["1.0", "1.1"] {
        let mut client = before(&server.url(), None, Arc::new(MapStore::new()));
        ask(&mut client, &format!("GET /version HTTP/{version}"), "}").await;
        let log = server.log();
        let via = log.last().unwrap().header("via").map(str::to_owned);
        assert_eq!(via, Some(format!("{version} caching-proxy")));
    }
}

#[tokio::test]
async fn a_server_with_tls_is_trusted_by_the_given_authorities_only() {
    let server = EmbeddedServer::builder().tls(true).start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (dir.path().join("own"), dir.path().join("other"));
    fs::write(&own, server.ca_pem().unwrap()).unwrap();
    let identity = embedded_apiserver::Identity::generate().unwrap();
    fs::write(&other, identity.ca_pem()).unwrap();
    for (authority, status, until) in [
        (&own, "200 OK", "}"),
        (&other, "502 Bad Gateway", "reached\n"),
    ] {
        let tls = client_config(Some(authority)).unwrap();
        let mut client = before(&server.url(), Some(tls), Arc::new(MapStore::new()));
        let got = ask(&mut client, "GET /version HTTP/1.1", until).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{got}");
    }
    // A file that says nothing trusts no one.
    fs::write(&own, "").unwrap();
    assert!(client_config(Some(&own)).is_err());
}

#[test]
fn a_target_is_an_http_url_with_a_valid_port() {
    for (url, has_tls) in [
        ("http://h/x", false),
        ("https://h/x", true),
        ("https://[::1]:6443", true),
        ("http://h:/", false),
    ] {
        let target: Target = url.parse().unwrap();
        assert_eq!(target.has_tls(), has_tls, "{url}");
    }
    for url in [
        "h:80",
        "ftp://h",
        "http://h?x",
        "http://me@h",
        "http://h:99999",
        "https://h:6443x",
        "http://[::1]:-1",
    ] {
        assert!(url.parse::<Target>().is_err(), "{url}");
    }
}
