//! Completes requests: the server's address, the timeout that the server is told, and `Accept`.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use discovery_core::http::uri;
use discovery_core::{Accept, Endpoint};
use http::header::ACCEPT;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri};
use tower_layer::Layer;
use tower_service::Service;

/// The timeout that client-go's discovery client has unless it is told another.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(32);

/// Completes requests the way client-go's discovery client forms them.
///
/// - A relative URI gets the server's scheme, authority and base path. An absolute one stays.
/// - Requests for discovery, OpenAPI and the version tell the server a timeout, `?timeout=32s`
///   unless set, where they don't have the parameter. It is part of kubectl's HTTP cache keys.
/// - A request without `Accept` gets `application/json, */*`.
///
/// ```
/// use discovery_client::request_defaults::RequestDefaultsLayer;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio_test::block_on(async {
/// let client = ServiceBuilder::new()
///     .layer(RequestDefaultsLayer::new(&"https://10.0.0.1:6443/k8s/clusters/c-1".parse()?))
///     .service(service_fn(|request: Request<()>| async move {
///         Ok::<_, std::io::Error>(Response::new(request.uri().to_string()))
///     }));
/// let response = client.oneshot(Request::get("/apis").body(())?).await?;
/// assert_eq!(response.body(), "https://10.0.0.1:6443/k8s/clusters/c-1/apis?timeout=32s");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct RequestDefaultsLayer {
    defaults: Arc<Defaults>,
}

#[derive(Clone, Debug)]
struct Defaults {
    origin: Option<uri::Origin>,
    base: String,
    timeout: String,
}

/// A service behind a [`RequestDefaultsLayer`].
#[derive(Clone, Debug)]
pub struct RequestDefaults<S> {
    inner: S,
    defaults: Arc<Defaults>,
}

impl RequestDefaultsLayer {
    /// For the server at that address, base path included. Without scheme and authority, relative
    /// URIs stay relative; with an [invalid port](uri::InvalidPort) as well, because a client might
    /// send them to the default port of that host.
    #[must_use]
    pub fn new(server: &Uri) -> Self {
        let origin = uri::Origin::from_uri(server).filter(|_| uri::port(server).is_ok());
        let base = server.path().trim_end_matches('/').to_owned();
        let timeout = parameter(TIMEOUT);
        Self {
            defaults: Arc::new(Defaults {
                origin,
                base,
                timeout,
            }),
        }
    }

    /// The timeout that the server is told: 32 s unless set, as in client-go. Zero tells none.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let defaults = Arc::make_mut(&mut self.defaults);
        defaults.timeout = if timeout.is_zero() {
            String::new()
        } else {
            parameter(timeout)
        };
        self
    }
}

impl Defaults {
    fn complete<B>(&self, request: &mut Request<B>) {
        if !request.headers().contains_key(ACCEPT) {
            let accept = HeaderValue::from_static(Accept::LEGACY);
            request.headers_mut().insert(ACCEPT, accept);
        }
        let uri = request.uri();
        let relative = uri.authority().is_none();
        let base = if relative { self.base.as_str() } else { "" };
        let in_server = if relative { "" } else { self.base.as_str() };
        let is_ours = Endpoint::parse(uri.path(), in_server).is_some();
        let tells = |query: &str| query.split('&').any(|pair| pair.starts_with("timeout="));
        let query = match uri.query() {
            Some(query) if !is_ours || self.timeout.is_empty() || tells(query) => {
                Some(query.into())
            }
            Some(query) => Some(format!("{query}&timeout={}", self.timeout)),
            None if !is_ours || self.timeout.is_empty() => None,
            None => Some(format!("timeout={}", self.timeout)),
        };
        let target = match query {
            Some(query) => format!("{base}{}?{query}", uri.path()),
            None => format!("{base}{}", uri.path()),
        };
        let mut parts = uri.clone().into_parts();
        if let (true, Some(origin)) = (relative, &self.origin) {
            parts.scheme = Some(origin.scheme().clone());
            parts.authority = Some(origin.authority().clone());
        }
        parts.path_and_query = target.parse::<PathAndQuery>().ok();
        match Uri::from_parts(parts) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => tracing::debug!(%error, "a URI that can't be completed"),
        }
    }
}

/// A duration as Go writes it into a query: of what [`go_duration`] prints, `µ` has to be encoded.
fn parameter(timeout: Duration) -> String {
    go_duration(timeout).replace('µ', "%C2%B5")
}

/// A duration as Go prints it: `32s`, `1m0s`, `1h0m0s`, `1.5s`, `250ms`.
///
/// ```
/// use discovery_client::request_defaults::go_duration;
/// use std::time::Duration;
///
/// assert_eq!(go_duration(Duration::from_secs(60)), "1m0s");
/// assert_eq!(go_duration(Duration::from_millis(1500)), "1.5s");
/// ```
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let fraction = |value: u32, digits: usize| {
        let text = format!("{value:0digits$}");
        let text = text.trim_end_matches('0');
        if text.is_empty() {
            String::new()
        } else {
            format!(".{text}")
        }
    };
    if seconds == 0 {
        return match nanos {
            0 => "0s".into(),
            1..1_000 => format!("{nanos}ns"),
            1_000..1_000_000 => format!("{}{}µs", nanos / 1_000, fraction(nanos % 1_000, 3)),
            _ => format!("{}{}ms", nanos / 1_000_000, fraction(nanos % 1_000_000, 6)),
        };
    }
    let rest = format!("{}{}s", seconds % 60, fraction(nanos, 9));
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => rest,
        (0, minutes) => format!("{minutes}m{rest}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
    }
}

impl<S> Layer<S> for RequestDefaultsLayer {
    type Service = RequestDefaults<S>;

    fn layer(&self, inner: S) -> RequestDefaults<S> {
        RequestDefaults {
            inner,
            defaults: Arc::clone(&self.defaults),
        }
    }
}

impl<S, B> Service<Request<B>> for RequestDefaults<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        self.defaults.complete(&mut request);
        self.inner.call(request)
    }
}
