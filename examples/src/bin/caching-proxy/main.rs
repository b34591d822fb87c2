//! A reverse proxy with a cache: HTTP/1.1 in front of a slow API, [`HttpCacheLayer`] inside.
//!
//! ```console
//! $ caching-proxy --listen 127.0.0.1:8080 --upstream http://127.0.0.1:3000 --store disk:/tmp/cache
//! $ curl -i http://127.0.0.1:8080/slow
//! ```
//!
//! `--demo` brings a slow server with it.
//!
//! The cache is a private one (RFC 9111 §1): all who use the proxy count as one user, so that what
//! was answered to one of them is served to another.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod accept;
mod demo;
mod hop;
mod interim;
mod read_timeout;
mod tls;
mod upstream;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use discovery_core::store::Store;
use discovery_disk::KubectlStore;
use discovery_http_cache::{Body, CacheStatus, HttpCacheLayer};
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

use crate::accept::Acceptor;
use crate::read_timeout::{ReadTimeout, ReadTimeoutBody, ReadTimeoutLayer, Upload};
use crate::tls::client_config;
use crate::upstream::{Failure, Target, Upstream};

const MEMORY: u64 = 256 * 1024 * 1024;

/// A caching reverse proxy, for one user.
///
/// Its cache is a private one: it keeps answers that are meant for one user, and serves them to
/// whoever asks for the same URL, with other credentials or none. Let only yourself reach it.
#[derive(Parser)]
struct Arguments {
    /// The address to listen on. Port 0 is any. Everybody who can reach it can read what was answered
    /// to others.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The server whose answers are cached: `http[s]://HOST[:PORT][/PATH]`.
    #[arg(long, value_name = "URL", required_unless_present = "demo")]
    upstream: Option<Target>,
    /// Start a server that takes a second for each answer, and cache its answers.
    #[arg(long, conflicts_with = "upstream")]
    demo: bool,
    /// Trust the authorities in this PEM file, and not those of the system, for an https server.
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// The store of the answers: `memory` or `disk:DIR`. Files have checksums; damaged ones are not served.
    #[arg(long, value_name = "STORE", default_value = "memory")]
    store: StoreArgument,
    /// The longest time, in seconds, in which the server may send nothing while a response is awaited or
    /// read; a response that has begun is then cut off for all its readers. 0 is for ever.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    read_timeout: Duration,
    /// Log what the cache does.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone)]
enum StoreArgument {
    Memory,
    Disk(PathBuf),
}

type CacheLayer = HttpCacheLayer<Arc<dyn Store>>;
type Cache = <CacheLayer as Layer<Server>>::Service;
type Server = ReadTimeout<Upstream<Upload<Incoming>>>;
type ServerBody = ReadTimeoutBody<Incoming>;
type ProxyBody = Either<Body<ServerBody>, Full<Bytes>>;

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
        StoreArgument::Disk(dir) => Arc::new(KubectlStore::new(dir)),
    };
    let layer = HttpCacheLayer::new(store)
        .cache_posts(true)
        .stale_if_disconnected(true)
        .marker(CacheStatus::new("caching-proxy").expect("a token"))
        .executor(TokioExecutor::new())
        .timer(TokioTimer::new());
    let target = match arguments.upstream {
        Some(target) => target,
        None => format!("http://{}", demo::start().await?).parse()?,
    };
    let authorities = arguments.upstream_ca.as_deref();
    let tls = match (target.has_tls(), authorities) {
        (true, authorities) => Some(client_config(authorities)?),
        (false, Some(_)) => {
            return Err("--upstream-ca makes sense only with an https:// server".into());
        }
        (false, None) => None,
    };
    let limit = Some(arguments.read_timeout).filter(|limit| !limit.is_zero());
    let server = ReadTimeoutLayer::new(limit).layer(Upstream::new(tls));
    let listener = TcpListener::bind(arguments.listen).await?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        eprintln!(
            "warning: {address} can be reached by others, who are served what was answered to you"
        );
    }
    println!("http://{address}");
    let mut acceptor = Acceptor::new(listener);
    loop {
        let stream = acceptor.accept().await;
        tokio::spawn(serve(stream, layer.layer(server.clone()), target.clone()));
    }
}

/// Serves the requests of one connection.
async fn serve<IO>(stream: IO, cache: Cache, target: Target)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, interim) = interim::Connection::new(stream);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (cache, target, interim) = (cache.clone(), target.clone(), interim.begin());
        async move {
            forward_interim(&mut request, &interim);
            let response = match target.address(request) {
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

fn answer(response: Result<Response<Body<ServerBody>>, Failure>) -> Response<ProxyBody> {
    match response {
        Ok(mut response) => {
            // The proxy's own, not that of the server or of a stored response (RFC 9110 §2.5).
            *response.version_mut() = Version::HTTP_11;
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

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a number of seconds")
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
mod tests;
