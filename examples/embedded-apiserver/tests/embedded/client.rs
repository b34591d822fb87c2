//! A client that hides nothing: one connection for each request, no redirects, no decoding.

use std::{error::Error, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use embedded_apiserver::EmbeddedServer;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::wire::trusting;
pub(crate) use super::wire::{KUBECTL, until};

pub(crate) const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
pub(crate) const V2BETA1: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// All lines of a header, joined by `|`.
    pub(crate) fn header(&self, name: &str) -> String {
        let lines = self.headers.get_all(name).iter();
        lines
            .map(|line| line.to_str().expect("text"))
            .collect::<Vec<_>>()
            .join("|")
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    pub(crate) fn etag(&self) -> String {
        self.header("etag")
    }
}

/// GET over a new HTTP/1.1 connection.
pub(crate) async fn get(server: &EmbeddedServer, path: &str, headers: &[(&str, &str)]) -> Reply {
    send(server, "GET", path, headers).await.expect("an answer")
}

/// GET with an `Accept` header.
pub(crate) async fn accept(server: &EmbeddedServer, path: &str, accept: &str) -> Reply {
    get(server, path, &[("accept", accept)]).await
}

pub(crate) async fn head(server: &EmbeddedServer, path: &str, headers: &[(&str, &str)]) -> Reply {
    send(server, "HEAD", path, headers)
        .await
        .expect("an answer")
}

pub(crate) async fn send(
    server: &EmbeddedServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Reply, Failure> {
    let response = begin(server.addr(), method, path, headers).await?;
    finish(response).await
}

/// Sends over a new HTTP/1.1 connection and returns when the head is there.
pub(crate) async fn begin(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<http::Response<Incoming>, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender
        .send_request(request(address, method, path, headers)?)
        .await?)
}

pub(crate) async fn finish(response: http::Response<Incoming>) -> Result<Reply, Failure> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Reply {
        status: parts.status,
        version: parts.version,
        headers: parts.headers,
        body,
    })
}

/// The next bytes of a body.
pub(crate) async fn frame(response: &mut http::Response<Incoming>) -> Bytes {
    let frame = response.body_mut().frame().await.expect("more");
    frame.expect("more").into_data().expect("data")
}

/// GET over HTTP/2, with prior knowledge or within TLS.
pub(crate) async fn get_http2<S>(
    stream: S,
    url: &str,
    headers: &[(&str, &str)],
) -> Result<Reply, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    finish(
        sender
            .send_request(request.body(Full::<Bytes>::default())?)
            .await?,
    )
    .await
}

/// GET over HTTP/1.1 within whatever the stream is.
pub(crate) async fn get_http1<S>(
    stream: S,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Reply, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    finish(
        sender
            .send_request(request(address, "GET", path, headers)?)
            .await?,
    )
    .await
}

/// Connects with TLS, trusting the server's own authority only, offering one protocol.
pub(crate) async fn tls(
    server: &EmbeddedServer,
    alpn: &[u8],
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
    tls_of(server, server.addr(), alpn).await
}

/// As [`tls`], but at another address.
pub(crate) async fn tls_of(
    trusted: &EmbeddedServer,
    address: SocketAddr,
    alpn: &[u8],
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
    let mut config = trusting(trusted);
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1")?;
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?)
}

pub(crate) fn sha256(body: &[u8]) -> String {
    Sha256::digest(body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.body(Full::default())?)
}
