//! A reverse proxy with a cache: HTTP/1.1 in front of a slow API, [`HttpCacheLayer`] inside.
//!
//! ```console
//! $ caching-proxy --listen 127.0.0.1:8080 --upstream http://127.0.0.1:3000 --store disk:/tmp/cache
//! $ curl -i http://127.0.0.1:8080/slow
//! ```
//!
//! The cache is a private one (RFC 9111 §1): all who use the proxy count as one user.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod hop;
mod interim;
mod upstream;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser;
use discovery_core::store::Store;
use discovery_disk::DiskStore;
use discovery_http_cache::{Body, CacheStatus, HttpCacheLayer, RefreshOn};
use discovery_memory::MemoryStore;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};

use crate::upstream::{Failure, Upstream};

const MEMORY: u64 = 256 * 1024 * 1024;

/// A caching reverse proxy.
#[derive(Parser)]
struct Arguments {
    /// Where to listen. Port 0 is any.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The server whose answers are cached: `http://HOST[:PORT][/PATH]`.
    #[arg(long, value_name = "URL")]
    upstream: Upstream,
    /// Where to keep them: `memory` or `disk:DIR`.
    #[arg(long, value_name = "STORE", default_value = "memory")]
    store: StoreArgument,
    /// Log what the cache does.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone)]
enum StoreArgument {
    Memory,
    Disk(PathBuf),
}

type CacheLayer = HttpCacheLayer<Arc<dyn Store>, RefreshOn<TokioExecutor>>;
type ProxyBody = Either<Body<Incoming>, Full<Bytes>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if arguments.verbose {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(io::stderr)
            .init();
    }
    let store: Arc<dyn Store> = match arguments.store {
        StoreArgument::Memory => Arc::new(MemoryStore::new(MEMORY)),
        StoreArgument::Disk(dir) => Arc::new(DiskStore::new(dir)),
    };
    let layer = HttpCacheLayer::new(store)
        .cache_posts(true)
        .stale_if_disconnected(true)
        .marker(CacheStatus::new("caching-proxy").expect("a token"))
        .executor(TokioExecutor::new());
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, layer.clone(), arguments.upstream.clone()));
            }
            Err(error) => eprintln!("a connection could not be accepted: {error}"),
        }
    }
}

/// Serves the requests of one connection.
async fn serve<IO>(stream: IO, layer: CacheLayer, upstream: Upstream)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let cache = layer.layer(upstream.clone());
    let (stream, interim) = interim::Connection::new(stream);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (cache, upstream, interim) = (cache.clone(), upstream.clone(), interim.begin());
        async move {
            forward_interim(&mut request, &interim);
            let response = match upstream.address(request) {
                Ok(request) => cache.oneshot(request).await,
                Err(failure) => Err(failure),
            };
            interim.end().await;
            Ok::<_, Infallible>(answer(response))
        }
    });
    let connection = http1::Builder::new()
        // The time is the server's to tell; a cached response has one already.
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection failed");
    }
}

/// Passes on the informational responses to a request (RFC 9110 §15.2).
fn forward_interim(request: &mut Request<Incoming>, interim: &interim::Sender) {
    // A client of HTTP/1.0 does not know them.
    if request.version() < Version::HTTP_11 {
        return;
    }
    // The server here has sent the 100 that the client waits for.
    let continues = request.headers().contains_key(header::EXPECT);
    let interim = interim.clone();
    hyper::ext::on_informational(request, move |response| {
        if response.status() != StatusCode::CONTINUE || !continues {
            interim.send(response.status(), response.headers());
        }
    });
}

fn answer(response: Result<Response<Body<Incoming>>, Failure>) -> Response<ProxyBody> {
    match response {
        Ok(mut response) => {
            hop::remove(response.headers_mut());
            response.map(Either::Left)
        }
        Err(failure) => {
            tracing::warn!(%failure, "no answer");
            let mut response = Response::new(Either::Right(format!("{failure}\n").into()));
            *response.status_mut() = failure.status();
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            response
        }
    }
}

impl FromStr for StoreArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("disk", dir)) if !dir.is_empty() => Ok(Self::Disk(dir.into())),
            _ => Err("neither `memory` nor `disk:DIR`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use discovery_core::store::MapStore;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

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
        let store: Arc<dyn Store> = Arc::new(MapStore::new());
        let layer = HttpCacheLayer::new(store).executor(TokioExecutor::new());
        let (client, server) = tokio::io::duplex(4096);
        tokio::spawn(serve(server, layer, upstream.parse().unwrap()));
        client
    }

    async fn get(client: &mut DuplexStream, version: &str, until: &str) -> String {
        let request = format!("GET /a?b {version}\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
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
    async fn old_clients_get_none() {
        let mut client = proxy(ANSWER).await;
        let got = get(&mut client, "HTTP/1.0", "one").await;
        assert!(got.starts_with("HTTP/1.0 200 OK\r\n"), "{got}");
    }

    #[tokio::test]
    async fn failures_have_a_status() {
        for answer in ["", "HTTP/1.1 200 OK\r\nconten", "nonsense\r\n\r\n"] {
            let mut client = proxy(answer).await;
            let got = get(&mut client, "HTTP/1.1", "answer\n").await;
            assert!(got.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{got}");
            // And then there is nobody.
            let got = get(&mut client, "HTTP/1.1", "reached\n").await;
            assert!(got.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{got}");
        }
    }
}
