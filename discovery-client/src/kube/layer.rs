//! The layer: discovery goes one way, everything else another.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::kube::document::aggregate;
use discovery_core::{Accept, BoxError, Endpoint, Format, GroupVersion};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::Full;
use kube::Config;
use kube::client::Body;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

use super::error::Error;
use super::service::{ResponseBody, ResponseFuture, Shared, buffered, erased};
use super::transport::{make_relative, over};
use crate::live::{Live, LiveHandle};
use crate::{DiscoveryClient, Handles, Stack};

/// A layer for [`ClientBuilder::with_layer`](kube::client::ClientBuilder::with_layer), outside of all that kube's client
/// does itself: discovery goes through kubectl's caches below `root` and then, as everything else at once, through the
/// service that the builder has. It brings the buffer that kube's service needs.
///
/// The caches are those of the configuration's server, so that clients of several clusters may share a directory.
///
/// [`client`](super::client) does more: discovery has a transport of its own, and stays up to date. Here kube repeats
/// discovery that is answered with 503, as all else, for minutes, unless the configuration's `default_retry` is off.
///
/// ```
/// # tokio_test::block_on(async {
/// # let root = tempfile::tempdir()?;
/// use kube::client::ClientBuilder;
///
/// // In a real program: `Config::infer().await?`, and `~/.kube/cache`.
/// let mut config = kube::Config::new("http://127.0.0.1:6443".parse()?);
/// config.default_retry = false;
/// let cached = discovery_client::kube::layer(&config, root.path())?;
/// let client = ClientBuilder::try_from(config)?.with_layer(&cached).build();
///
/// // The files may know all that `kube::Discovery::new(client)` asks for. To forget it:
/// cached.handles().memory.invalidate();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// When the configuration's address is none.
pub fn layer(config: &Config, root: impl AsRef<Path>) -> Result<CachedDiscoveryLayer, Error> {
    let stack = Stack::new(&config.cluster_url.to_string(), root).map_err(Error::address)?;
    let base = config.cluster_url.path().trim_end_matches('/').to_owned();
    let (layers, handles) = stack.long_lived_layer();
    Ok(CachedDiscoveryLayer {
        way: Way::Through {
            layers: Arc::new(layers),
            base,
        },
        handles,
    })
}

/// Made by [`layer`], or by [`CachedClient`](super::CachedClient).
#[derive(Clone)]
pub struct CachedDiscoveryLayer {
    pub(super) way: Way,
    pub(super) handles: Handles,
}

/// How discovery goes.
#[derive(Clone)]
pub(super) enum Way {
    /// Through caches, and then as everything else.
    Through {
        layers: Arc<crate::LongLivedLayer>,
        base: String,
    },
    /// Through caches to a transport of its own.
    Apart(Arc<Discovery>),
}

/// The discovery of one client.
pub(super) struct Discovery {
    pub(super) service: Shared,
    /// Begins with the first request.
    pub(super) live: Option<Live<Shared, Body>>,
    pub(super) started: OnceLock<LiveHandle>,
}

/// A service behind a [`CachedDiscoveryLayer`].
#[derive(Clone)]
pub struct CachedDiscovery {
    discovery: Arc<Discovery>,
    rest: Shared,
}

impl CachedDiscoveryLayer {
    /// The handles of the caches.
    #[must_use]
    pub const fn handles(&self) -> &Handles {
        &self.handles
    }
}

impl<S, B> Layer<S> for CachedDiscoveryLayer
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Service = CachedDiscovery;

    /// # Panics
    ///
    /// Outside of a Tokio runtime, as kube's own client.
    fn layer(&self, inner: S) -> CachedDiscovery {
        let rest = buffered(inner);
        let discovery = match &self.way {
            Way::Apart(discovery) => Arc::clone(discovery),
            Way::Through { layers, base } => Arc::new(Discovery {
                service: erased(layers.layer(over(rest.clone(), base))),
                live: None,
                started: OnceLock::new(),
            }),
        };
        CachedDiscovery { discovery, rest }
    }
}

impl Discovery {
    /// The live discovery, which begins when somebody first asks.
    fn start(&self) {
        if let Some(live) = &self.live {
            self.started.get_or_init(|| live.clone().start());
        }
    }
}

impl Service<Request<Body>> for CachedDiscovery {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture<ResponseBody>;

    /// Always ready: a request waits in its future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let may_be_discovery =
            request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
        let endpoint = Endpoint::parse(request.uri().path(), "").filter(|_| may_be_discovery);
        let Some(endpoint) = endpoint else {
            return ResponseFuture::new(self.rest.clone().oneshot(request));
        };
        // As kube, which sends all that it is given to the server of its configuration.
        if request.uri().authority().is_some() {
            make_relative(request.uri_mut(), "");
        }
        let asks_for_schemas_or_version = matches!(
            endpoint,
            Endpoint::Version
                | Endpoint::OpenApiV2
                | Endpoint::OpenApiV3
                | Endpoint::OpenApiV3Document(_)
        );
        if !asks_for_schemas_or_version {
            self.discovery.start();
        }
        let service = self.discovery.service.clone();
        match (
            &endpoint,
            Accept::from_headers(request.headers()).aggregated(),
        ) {
            (Endpoint::Api | Endpoint::Apis, Some(format)) => {
                ResponseFuture::new(aggregated(service, request, endpoint, format))
            }
            _ => ResponseFuture::new(service.oneshot(request)),
        }
    }
}

/// Answers with an aggregated document, which is made of the lists where the server has none: kube's `run_aggregated`
/// takes the legacy document, which its own `Accept` allows, for an empty one.
async fn aggregated(
    service: Shared,
    request: Request<Body>,
    endpoint: Endpoint,
    format: Format,
) -> Result<Response<ResponseBody>, BoxError> {
    let response = service.clone().oneshot(request).await?;
    let is_legacy = response.status() == StatusCode::OK
        && Format::from_headers(response.headers()) == Some(Format::Legacy);
    if !is_legacy {
        return Ok(response);
    }
    let Ok(found) = DiscoveryClient::<_, Body>::new(service).discover().await else {
        return Ok(response);
    };
    let snapshot = &found.snapshot;
    let Some(groups) = snapshot.groups() else {
        return Ok(response);
    };
    let core = endpoint == Endpoint::Api;
    let lists = |group_version: &GroupVersion| {
        let list = snapshot.resources(group_version.as_str())?;
        Some(&***list)
    };
    let document = aggregate(format.api_version(), groups, core, lists);
    let Ok(json) = serde_json::to_vec(&document) else {
        return Ok(response);
    };
    let (mut parts, _) = response.into_parts();
    // They are of the legacy document, which stays the same when a list changes.
    for header in [CONTENT_LENGTH, ETAG, LAST_MODIFIED] {
        parts.headers.remove(header);
    }
    let content_type = HeaderValue::from_static(format.content_type());
    parts.headers.insert(CONTENT_TYPE, content_type);
    let body = ResponseBody::new(Full::new(Bytes::from(json)));
    Ok(Response::from_parts(parts, body))
}

impl fmt::Debug for CachedDiscoveryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedDiscoveryLayer")
            .field("handles", &self.handles)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CachedDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedDiscovery").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;
    use tower::service_fn;

    use super::*;

    /// A legacy server.
    fn server() -> Shared {
        erased(service_fn(|request: Request<Body>| async move {
            let json = match request.uri().path() {
                "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
                "/apis" => r#"{"kind":"APIGroupList","groups":[]}"#,
                "/version" => "{}",
                _ => r#"{"kind":"APIResourceList","resources":[{"name":"pods","kind":"Pod"}]}"#,
            };
            let answer = Response::builder()
                .header(CONTENT_TYPE, "application/json")
                .header(ETAG, "\"1\"")
                .header(LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT");
            Ok::<_, BoxError>(answer.body(Full::<Bytes>::from(json)).unwrap())
        }))
    }

    fn get(path: &str) -> Request<Body> {
        Request::get(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn live_discovery_begins_with_discovery_and_not_with_the_version() {
        let discovery = Arc::new(Discovery {
            service: server(),
            live: Some(Live::new(DiscoveryClient::new(server())).watch(false)),
            started: OnceLock::new(),
        });
        let service = CachedDiscovery {
            discovery: Arc::clone(&discovery),
            rest: server(),
        };
        for (path, begins) in [
            ("/version", false),
            ("/openapi/v3", false),
            ("/api/v1/pods", false),
            ("/apis", true),
        ] {
            service.clone().oneshot(get(path)).await.unwrap();
            assert_eq!(discovery.started.get().is_some(), begins, "{path}");
        }
    }

    #[tokio::test]
    async fn a_document_made_of_lists_has_no_validator_of_another() {
        let service = CachedDiscovery {
            discovery: Arc::new(Discovery {
                service: server(),
                live: None,
                started: OnceLock::new(),
            }),
            rest: server(),
        };
        let mut request = get("/api");
        let accept = HeaderValue::from_static(Accept::KUBECTL);
        request.headers_mut().insert(ACCEPT, accept);
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!(Format::from_headers(answer.headers()), Some(Format::V2));
        for header in [CONTENT_LENGTH, ETAG, LAST_MODIFIED] {
            assert!(!answer.headers().contains_key(&header), "{header}");
        }
    }
}
