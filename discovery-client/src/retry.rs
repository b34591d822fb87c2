//! Repeats requests that the server has asked to be repeated.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::http::headers::retry_after;
use discovery_core::internal::reserved::Oneshot;
use discovery_core::kube::plan::DeadlineExceeded;
use discovery_core::sync::clock::{Clock, SystemClock};
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<()> + Send + Sync>;

/// Repeats GET requests that the server has asked to be repeated, as client-go does: those answered
/// 429 or from 500 on with a `Retry-After`, up to ten times each. client-go takes whole seconds only; here
/// a [date](retry_after) counts as well. A number below zero asks for a repeat at once.
///
/// Other answers, and errors of the inner service, come out unchanged. A request with content is sent once.
///
/// With a [deadline](Self::deadline), a request is not repeated if the server wants it later than
/// that: the last answer comes out, at once, with a [`DeadlineExceeded`] extension, of which
/// [`DiscoveryClient`](crate::DiscoveryClient) makes a failure.
///
/// ```
/// use bytes::Bytes;
/// use discovery_client::retry::RetryAfterLayer;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio_test::block_on(async {
/// let layer = RetryAfterLayer::new().sleep(|_| Box::pin(std::future::ready(())));
/// let client = ServiceBuilder::new().layer(layer).service(service_fn(
///     |_: Request<Full<Bytes>>| async {
///         let busy = Response::builder().status(429).header("retry-after", "1");
///         Ok::<_, std::io::Error>(busy.body(()).unwrap())
///     },
/// ));
/// let response = client.oneshot(Request::get("/api").body(Full::default()).unwrap()).await?;
/// assert_eq!(response.status(), 429); // At the eleventh time.
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct RetryAfterLayer {
    max: u32,
    deadline: Option<Duration>,
    sleep: Sleep,
    clock: Arc<dyn Clock>,
}

/// A service behind a [`RetryAfterLayer`].
#[derive(Clone)]
pub struct RetryAfter<S> {
    inner: S,
    layer: RetryAfterLayer,
}

impl RetryAfterLayer {
    /// Up to ten times, without a deadline, with Tokio's timer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max: 10,
            deadline: None,
            sleep: Arc::new(|duration| Box::pin(tokio::time::sleep(duration))),
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets how often a request is repeated: ten times unless set.
    #[must_use]
    pub fn max(mut self, max: u32) -> Self {
        self.max = max;
        self
    }

    /// Sets how long a request may take with all its repeats and the waits between: without end unless
    /// set. In client-go the timeout of a request counts for all of it, so that a server can't make a
    /// client wait for ever.
    ///
    /// An attempt that is under way is not broken off; that is for the transport to do.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// As [`deadline`](Self::deadline), where none was set.
    #[must_use]
    pub(crate) fn or_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = self.deadline.or(Some(deadline));
        self
    }

    /// Sets the timer: Tokio's unless set.
    #[must_use]
    pub fn sleep<F>(mut self, sleep: F) -> Self
    where
        F: Fn(Duration) -> BoxFuture<()> + Send + Sync + 'static,
    {
        self.sleep = Arc::new(sleep);
        self
    }

    /// Sets the clock that dates in `Retry-After` are compared with, if the answer has no `Date`: the
    /// system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

/// The wait that the server asks for, if it asks for the request to be repeated.
fn wait_of<RB>(response: &Response<RB>, now: SystemTime) -> Option<Duration> {
    let status = response.status();
    // client-go counts the statuses from 600 on, which mean nothing, among the errors of a server.
    let may_pass = status == StatusCode::TOO_MANY_REQUESTS || status.as_u16() >= 500;
    let text = response.headers().get(header::RETRY_AFTER);
    // A number below zero has passed already.
    let is_past = text
        .and_then(|text| text.to_str().ok()?.parse::<i64>().ok())
        .is_some_and(|seconds| seconds < 0);
    let wait = if is_past {
        Some(Duration::ZERO)
    } else {
        retry_after(response.headers(), now)
    };
    wait.filter(|_| may_pass)
}

impl<S, B, RB> Service<Request<B>> for RetryAfter<S>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + From<Bytes> + Send + 'static,
    RB: Send,
{
    type Response = Response<RB>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<RB>, S::Error>>;

    /// Always ready: each attempt waits for a clone of the inner service, and calls that one.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.inner.clone();
        // Content cannot be sent twice.
        if request.method() != Method::GET || !request.body().is_end_stream() {
            return Box::pin(Oneshot::new(service, request));
        }
        let RetryAfterLayer {
            max,
            deadline,
            sleep,
            clock,
        } = self.layer.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let mut begin = Instant::now();
            let first = Request::from_parts(parts.clone(), body);
            let mut response = Oneshot::new(service.clone(), first).await?;
            let mut spent = Duration::ZERO;
            for attempt in 1..=max {
                let Some(wait) = wait_of(&response, clock.now()) else {
                    break;
                };
                // Waits count as they were asked for, whatever it is that waits.
                spent = spent.saturating_add(begin.elapsed()).saturating_add(wait);
                if deadline.is_some_and(|deadline| spent > deadline) {
                    tracing::debug!(status = %response.status(), ?wait, "asked to retry too late");
                    response.extensions_mut().insert(DeadlineExceeded);
                    break;
                }
                tracing::debug!(status = %response.status(), ?wait, attempt, "asked to retry");
                // The connection is wanted for the next try.
                drop(response);
                sleep(wait).await;
                begin = Instant::now();
                let next = Request::from_parts(parts.clone(), Bytes::new().into());
                response = Oneshot::new(service.clone(), next).await?;
            }
            Ok(response)
        })
    }
}

impl Default for RetryAfterLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RetryAfterLayer {
    type Service = RetryAfter<S>;

    fn layer(&self, inner: S) -> RetryAfter<S> {
        RetryAfter {
            inner,
            layer: self.clone(),
        }
    }
}

impl fmt::Debug for RetryAfterLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryAfterLayer")
            .field("max", &self.max)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for RetryAfter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryAfter")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
