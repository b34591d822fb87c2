//! The transport, which is not set up before the first request is to be sent.

mod authenticated;
mod authority;
mod connect;
mod credentials;
mod deadline;
mod dial;
mod ecdsa;
mod gzip;
mod handshake;
mod head;
mod no_proxy;
mod plugin;
mod redirect;
mod relabel;
mod repeat;
mod tls;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_disk::KubectlStore;
use discovery_disk::record::{DiskStoreLayer, Mode, Replayed};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};
use tower_service::Service;

use self::authenticated::{Authenticated, Failure};
pub(crate) use self::connect::without_password;
use self::connect::without_user;
use self::deadline::Deadline;
pub(crate) use self::deadline::Elapsed;
pub(crate) use self::dial::{ProxyError, looked_up};
pub(crate) use self::redirect::Redirected;
use self::relabel::relabelled;
use crate::errors::{Fatal, chain};
use crate::server::Server;
use crate::warnings;

/// A response body, whatever it came through.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

type Connection = BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, BoxError>;

/// Sends requests to the server with the user's credentials.
///
/// Nothing is read, no plugin is run and no socket is opened until a request is to be sent.
#[derive(Clone)]
pub(crate) struct Transport {
    shared: Arc<Shared>,
    limit: Option<Duration>,
}

struct Shared {
    server: Server,
    url: Uri,
    /// The answers that are told instead of sending anything.
    records: Option<DiskStoreLayer>,
    /// Made once, even if that fails.
    ready: OnceCell<Result<Authenticated, NotReady>>,
    sent: AtomicU64,
    not_modified: AtomicU64,
}

/// Counts of the requests that were sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) requests: u64,
    pub(crate) not_modified: u64,
}

/// A request got no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    url: Uri,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// Nothing could be sent.
    NotReady(NotReady),
    /// Nothing, or not enough, came back.
    Exchange(BoxError),
}

/// The reason why there is nothing to send requests with.
#[derive(Clone, Debug)]
enum NotReady {
    Configuration(Fatal),
    Unsendable(Unsendable),
}

/// The reason why no request can be sent, in Go's words.
#[derive(Clone, Debug)]
pub(crate) struct Unsendable(String);

impl Transport {
    /// To the server at `url`; or to nobody, if there are `records` of what was answered: those are told, and nothing else.
    pub(crate) fn new(server: Server, url: Uri, records: Option<KubectlStore>) -> Self {
        let records = records.map(|store| DiskStoreLayer::new(store).mode(Mode::Replay));
        let shared = Shared {
            server,
            url,
            records,
            ready: OnceCell::new(),
            sent: AtomicU64::new(0),
            not_modified: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
            limit: None,
        }
    }

    /// Limits the time that a request may take, its body included.
    pub(crate) fn limit(&self, limit: Option<Duration>) -> Self {
        Self {
            limit,
            ..self.clone()
        }
    }

    pub(crate) fn sent(&self) -> Sent {
        Sent {
            requests: self.shared.sent.load(Ordering::Relaxed),
            not_modified: self.shared.not_modified.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// Answers from what was recorded.
    async fn replay(
        records: &DiskStoreLayer,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Body>, Cause> {
        let nobody = tower::service_fn(|_: Request<Full<Bytes>>| async {
            Err::<Response<Full<Bytes>>, _>(std::io::Error::other("nothing is sent"))
        });
        let answer = records.layer(nobody).oneshot(request).await;
        match answer {
            Ok(answer) if answer.extensions().get::<Replayed>().is_some() => {
                Ok(answer.map(BodyExt::boxed_unsync))
            }
            _ => {
                let why = "offline: the caches don't know it, and nothing is sent";
                Err(Cause::NotReady(NotReady::Unsendable(Unsendable::new(why))))
            }
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, Cause> {
        if let Some(records) = &self.records {
            return Self::replay(records, request).await;
        }
        let ready = self.ready.get_or_init(|| async { self.prepare() }).await;
        let ready = ready.as_ref().map_err(|why| Cause::NotReady(why.clone()))?;
        let uri = without_user(request.uri());
        let method = request.method().clone();
        let sending = || {
            self.sent.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%method, %uri, "sending");
        };
        let response = ready
            .send(request, sending)
            .await
            .map_err(|why| match why {
                Failure::Unsendable(error) => Cause::NotReady(NotReady::Unsendable(error)),
                Failure::Exchange(error) => Cause::Exchange(error),
            })?;
        tracing::info!(%uri, status = %response.status(), version = ?response.version(), "answered");
        warnings::show(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED {
            self.not_modified.fetch_add(1, Ordering::Relaxed);
        }
        Ok(response)
    }

    fn prepare(&self) -> Result<Authenticated, NotReady> {
        let config = self.server.config(self.url.clone());
        let config = config.map_err(NotReady::Configuration)?;
        Authenticated::new(&config, &self.server.plugins).map_err(|error| match error.downcast() {
            Ok(unsendable) => NotReady::Unsendable(*unsendable),
            Err(error) => NotReady::Configuration(Fatal::new(chain(&*error))),
        })
    }
}

impl Service<Request<Full<Bytes>>> for Transport {
    type Response = Response<Body>;
    type Error = SendError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let Self { shared, limit } = self.clone();
        Box::pin(async move {
            let url = without_password(request.uri());
            let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
            // One beyond the end of time is none.
            let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
            let answer = match deadline {
                None => shared.send(request).await,
                Some(deadline) => timeout_at(deadline, shared.send(request))
                    .await
                    .unwrap_or_else(|_| Err(Cause::Exchange(Elapsed.into()))),
            };
            let answer = match (answer, deadline) {
                (Ok(answer), None) => answer,
                (Ok(answer), Some(deadline)) => {
                    answer.map(|body| Deadline::new(body, deadline).boxed_unsync())
                }
                (Err(cause), _) => return Err(SendError { url, cause }),
            };
            Ok(relabelled(&path, &headers, answer).await)
        })
    }
}

impl SendError {
    /// The URL of the request.
    pub(crate) const fn url(&self) -> &Uri {
        &self.url
    }

    pub(crate) fn cause(&self) -> &(dyn Error + 'static) {
        match &self.cause {
            Cause::NotReady(NotReady::Configuration(fatal)) => fatal,
            Cause::NotReady(NotReady::Unsendable(error)) => error,
            Cause::Exchange(error) => &**error,
        }
    }

    /// The error in the configuration, if that is why.
    pub(crate) const fn configuration(&self) -> Option<&Fatal> {
        match &self.cause {
            Cause::NotReady(NotReady::Configuration(fatal)) => Some(fatal),
            _ => None,
        }
    }

    /// Whether nothing was sent.
    pub(crate) const fn is_unsent(&self) -> bool {
        matches!(self.cause, Cause::NotReady(_))
    }
}

impl Unsendable {
    pub(crate) fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unsendable {}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("url", &self.shared.url)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer from {}", self.url)
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.cause())
    }
}
