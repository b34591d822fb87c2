//! Protocols, TLS, threads, paths, starting and stopping.

use std::{io::ErrorKind, os::unix::fs::PermissionsExt, sync::Arc};

use embedded_apiserver::EmbeddedServer;
use http::{StatusCode, Version};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{KUBECTL, V2, accept, begin, get, get_http1, get_http2, tls, tls_of, until};
use super::wire::trusting;

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let url = format!("{}/api", server.url());
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let reply = get_http2(stream, &url, &[("accept", KUBECTL)])
        .await
        .unwrap();
    assert_eq!(
        (reply.version, reply.header("content-type")),
        (Version::HTTP_2, V2.to_owned())
    );
    // 7 kB do not fit the buffer that makes a length known; a few hundred bytes do.
    assert!(!reply.has("content-length"));
    let etag = reply.etag();
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let headers = [("accept", KUBECTL), ("if-none-match", etag.as_str())];
    let reply = get_http2(stream, &url, &headers).await.unwrap();
    assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let reply = get_http2(stream, &url, &[]).await.unwrap();
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    let log = server.log();
    let versions: Vec<_> = log.iter().map(|entry| entry.version).collect();
    assert_eq!(versions, [Version::HTTP_2; 3]);
}

#[tokio::test]
async fn tls_with_both_protocols() {
    let server = EmbeddedServer::builder()
        .tls(true)
        .token("t0ken")
        .start()
        .await
        .unwrap();
    assert!(server.url().starts_with("https://127.0.0.1:"));
    let headers = [("accept", KUBECTL), ("authorization", "Bearer t0ken")];

    let stream = tls(&server, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let url = format!("{}/apis", server.url());
    let reply = get_http2(stream, &url, &headers).await.unwrap();
    assert_eq!(
        (reply.status, reply.version),
        (StatusCode::OK, Version::HTTP_2)
    );

    let stream = tls(&server, b"http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let reply = get_http1(stream, server.addr(), "/apis", &headers)
        .await
        .unwrap();
    assert_eq!(
        (reply.status, reply.version),
        (StatusCode::OK, Version::HTTP_11)
    );

    // Another server's authority is of no use.
    let stranger = EmbeddedServer::builder().tls(true).start().await.unwrap();
    assert_ne!(stranger.ca_pem(), server.ca_pem());
    for alpn in [&b"h2"[..], b"http/1.1"] {
        assert!(tls_of(&stranger, stranger.addr(), alpn).await.is_ok());
        let refused = tls_of(&stranger, server.addr(), alpn).await;
        let why = refused.expect_err("an unknown authority").to_string();
        assert!(why.contains("invalid peer certificate"), "{why}");
    }
}

#[tokio::test]
async fn kubeconfig() {
    let server = EmbeddedServer::builder()
        .base_path("/k8s/clusters/c-1")
        .start()
        .await
        .unwrap();
    assert_eq!(
        server.kubeconfig(),
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: embedded\nclusters:\n- name: embedded\n  \
             cluster:\n    server: http://{}/k8s/clusters/c-1\nusers:\n- name: embedded\n  user: {{}}\n\
             contexts:\n- name: embedded\n  context:\n    cluster: embedded\n    user: embedded\n",
            server.addr()
        )
    );
    let server = EmbeddedServer::builder()
        .tls(true)
        .token("a\"b")
        .start()
        .await
        .unwrap();
    let path = format!(
        "{}/kubeconfig-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    std::fs::write(
        &path,
        "for everybody to read, and longer than it will be".repeat(200),
    )
    .unwrap();
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&path, open).unwrap();
    server.write_kubeconfig(&path).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(written, server.kubeconfig());
    assert_eq!(mode & 0o777, 0o600, "there is a token in it");
    assert!(
        written.contains("\n    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t")
    );
    assert!(written.contains("\n  user:\n    token: \"a\\\"b\"\n"));
}

#[tokio::test]
async fn below_a_path() {
    let server = EmbeddedServer::builder()
        .base_path("k8s/clusters/c-1/")
        .start()
        .await
        .unwrap();
    assert!(server.url().ends_with("/k8s/clusters/c-1"));
    assert_eq!(
        accept(&server, "/k8s/clusters/c-1/apis", V2).await.status,
        StatusCode::OK
    );
    for path in ["/apis", "/k8s/clusters/c-1", "/k8s/clusters/c-10/apis"] {
        assert_eq!(
            get(&server, path, &[]).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let wrong = get(&server, "/k8s/clusters/c-1/openapi/v3/version?hash=0", &[]).await;
    assert!(
        wrong
            .header("location")
            .starts_with("/k8s/clusters/c-1/openapi/v3/version?hash=")
    );
    // Faults and holds do not name the base path; the log does.
    let _hold = server.control().hold("/k8s/clusters/c-1/api");
    assert_eq!(
        accept(&server, "/k8s/clusters/c-1/api", V2).await.status,
        StatusCode::OK
    );
    assert_eq!(server.counters().path("/k8s/clusters/c-1/api"), 1);
}

#[tokio::test]
async fn another_takes_its_place() {
    let server = EmbeddedServer::builder()
        .tls(true)
        .token("t")
        .crds(5)
        .start()
        .await
        .unwrap();
    let next = server.successor().crds(10);
    let (url, ca) = (server.url(), server.ca_pem().map(str::to_owned));
    let control = server.control();
    server.shutdown().await;
    let server = next.start().await.unwrap();
    assert_eq!(
        (server.url(), server.ca_pem().map(str::to_owned)),
        (url, ca)
    );
    assert_eq!(control.groups().len() + 1, server.control().groups().len());
    let stream = tls(&server, b"http/1.1").await.unwrap();
    let headers = [("authorization", "Bearer t")];
    let path = "/apis/g01.example.test";
    let reply = get_http1(stream, server.addr(), path, &headers)
        .await
        .unwrap();
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn a_stopped_server_closes_its_connections() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let (control, address) = (server.control(), server.addr());
    let _hold = control.hold("/api");
    let asked = tokio::spawn(async move { begin(address, "GET", "/api", &[]).await.is_err() });
    until(&control, |counters| counters.in_flight == 1).await;
    server.shutdown().await;
    assert!(asked.await.unwrap());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_port_that_somebody_listens_on() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let port = server.addr().port();
    let taken = EmbeddedServer::builder().port(port).start().await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    let taken = server.successor().start().await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(get(&server, "/api", &[]).await.status, StatusCode::OK);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_port_is_kept_for_the_successor() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let (address, next) = (server.addr(), server.successor());
    server.shutdown().await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Not to be had by those who do not insist: neither by one who wants this one …
    let stranger = tokio::net::TcpSocket::new_v4().unwrap();
    let taken = stranger.bind(address).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    // … nor, so, by one who wants any.
    let server = next.start().await.unwrap();
    assert_eq!(server.addr(), address);
    assert_eq!(get(&server, "/api", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_thread_is_shut_down() {
    for tls in [false, true] {
        let server = EmbeddedServer::builder()
            .tls(tls)
            .start_in_thread()
            .unwrap();
        let (control, address) = (server.control(), server.addr());
        let _hold = control.hold("/api");
        let next = server.successor();
        let asked = tokio::spawn(async move { begin(address, "GET", "/api", &[]).await.is_err() });
        if !tls {
            until(&control, |counters| counters.in_flight == 1).await;
        }
        server.shutdown().await;
        assert!(asked.await.unwrap());
        assert!(TcpStream::connect(address).await.is_err());
        assert_eq!(next.start_in_thread().unwrap().addr(), address);
    }
}

#[test]
fn in_a_thread_of_its_own() {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    let server = EmbeddedServer::builder().crds(5).start_in_thread().unwrap();
    let address = server.addr();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /apis/apps HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    // Names in the case of a Go server, in its order.
    assert!(
        reply.starts_with("HTTP/1.1 200 OK\r\nAudit-Id: "),
        "{reply}"
    );
    assert!(
        reply
            .contains("\r\nCache-Control: no-cache, private\r\nContent-Type: application/json\r\n")
    );
    assert_eq!(server.counters().total, 1);
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn a_client_certificate_is_as_good_as_a_token_which_may_change() {
    let builder = EmbeddedServer::builder().tls(true).token("old");
    let server = builder.client_certificates(true).start().await.unwrap();
    let (certificate, key) = server.identity().unwrap().client("somebody").unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = ring::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let mut config = trusting(&server);
    let identity = CertifiedKey::new(vec![certificate], key);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect("127.0.0.1".try_into().unwrap(), stream)
        .await
        .unwrap();
    let reply = get_http1(stream, server.addr(), "/version", &[])
        .await
        .unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    assert!(server.log()[0].certificate);

    server.control().set_token("new");
    for (headers, status) in [
        (&[][..], StatusCode::FORBIDDEN),
        (&[("authorization", "Bearer old")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer new")], StatusCode::OK),
    ] {
        let stream = tls(&server, b"http/1.1").await.unwrap();
        let reply = get_http1(stream, server.addr(), "/version", headers)
            .await
            .unwrap();
        assert_eq!(reply.status, status);
    }
    assert!(!server.log()[1].certificate);
}
