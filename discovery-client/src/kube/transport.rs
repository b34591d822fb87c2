//! The transport of discovery.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use discovery_core::BoxError;
use http::uri::{Parts, PathAndQuery};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use kube::Config;
use kube::client::{Body, ClientBuilder, ConfigExt};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_layer::Layer;
use tower_service::Service;

use super::error::Error;
use super::service::{KubeService, ResponseBody, Shared, erased};
use super::token::{TokenFile, TokenLayer};
use crate::HttpService;

/// How long an answer may take, its body included, as in client-go.
const TIMEOUT: Duration = Duration::from_secs(32);

/// The largest answer. The caches have a limit of their own.
const MAX_BODY: usize = 1 << 30;

/// A layer for credentials: none if the transport has them.
pub(super) struct Auth(Option<(Config, Option<TokenFile>)>);

/// kube's own transport, to which the server's base path is nothing new: it adds it to each request.
pub(super) fn over<S>(service: S, base: &str) -> Shared
where
    S: Service<Request<Body>, Response = Response<ResponseBody>, Error = BoxError>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let base = base.to_owned();
    erased(service.map_request(move |mut request: Request<Body>| {
        make_relative(request.uri_mut(), &base);
        request
    }))
}

/// The transport of a configuration. Nothing is made before a request is sent: a credential plugin may have to run.
pub(super) fn transport(config: &Config, token: Option<TokenFile>) -> Shared {
    #[cfg(feature = "kube-rustls")]
    if config.proxy_url.is_none() {
        let config = config.clone();
        return bounded(lazy(move || http2::transport(&config)));
    }
    let mut config = config.clone();
    config.default_retry = false;
    let base = config.cluster_url.path().trim_end_matches('/').to_owned();
    bounded(lazy(move || {
        let builder = ClientBuilder::try_from(config.clone()).map_err(Error::kube)?;
        let client = builder.with_layer(&TokenLayer(token.clone())).build();
        Ok(over(erased(KubeService::new(client)), &base))
    }))
}

/// A service that is made with its first request, and with the next one if that fails.
fn lazy(make: impl Fn() -> Result<Shared, Error> + Send + Sync + 'static) -> Shared {
    let made = Arc::new((Mutex::new(None), make));
    erased(service_fn(move |request: Request<Body>| {
        let made = Arc::clone(&made);
        async move {
            let service = {
                let (made, make) = &*made;
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                match &*made {
                    Some(service) => Shared::clone(service),
                    None => made.insert(make()?).clone(),
                }
            };
            service.oneshot(request).await
        }
    }))
}

/// Reads answers whole, in a bounded time; but for a watch, which has no end.
fn bounded(service: Shared) -> Shared {
    erased(service_fn(move |request: Request<Body>| {
        let service = service.clone();
        async move {
            let is_watch = request.uri().query().is_some_and(|query| {
                query
                    .split('&')
                    .any(|pair| matches!(pair, "watch=1" | "watch=true"))
            });
            let exchange = async {
                let response = service.oneshot(request).await?;
                if is_watch {
                    return Ok(response);
                }
                let (parts, body) = response.into_parts();
                let body = Limited::new(body, MAX_BODY).collect().await?;
                let trailers = body.trailers().cloned();
                let body =
                    Full::new(body.to_bytes()).with_trailers(async move { trailers.map(Ok) });
                Ok::<_, BoxError>(Response::from_parts(parts, ResponseBody::new(body)))
            };
            match tokio::time::timeout(TIMEOUT, exchange).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {TIMEOUT:?}").into()),
            }
        }
    }))
}

impl Auth {
    pub(super) fn new(config: &Config, token: Option<TokenFile>) -> Self {
        let is_own = cfg!(feature = "kube-rustls") && config.proxy_url.is_none();
        Self(is_own.then(|| (config.clone(), token)))
    }
}

impl Layer<HttpService<Shared>> for Auth {
    type Service = Shared;

    fn layer(&self, inner: HttpService<Shared>) -> Shared {
        let inner = erased(inner);
        let Some((config, token)) = self.0.clone() else {
            return inner;
        };
        lazy(move || {
            let service = ServiceBuilder::new()
                .layer(TokenLayer(token.clone()))
                .option_layer(config.auth_layer().map_err(Error::kube)?)
                .layer(config.extra_headers_layer().map_err(Error::kube)?)
                .service(inner.clone());
            Ok(erased(service))
        })
    }
}

/// Leaves the path below `base` and the query.
pub(super) fn make_relative(uri: &mut Uri, base: &str) {
    let path = uri.path();
    let path = path
        .strip_prefix(base)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = Parts::default();
    parts.path_and_query = target.parse::<PathAndQuery>().ok();
    if let Ok(relative) = Uri::from_parts(parts) {
        *uri = relative;
    }
}

#[cfg(feature = "kube-rustls")]
mod http2 {
    use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
    use hyper_util::client::legacy::Client;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::{TokioExecutor, TokioTimer};
    use tower_http::decompression::DecompressionLayer;

    use super::*;

    /// How long a connection is silent before it is probed, as in client-go.
    const PING_AFTER: Duration = Duration::from_secs(30);

    /// How long the answer to a probe may take, as in client-go. A connection that the network has lost ends by it.
    const PING_TIMEOUT: Duration = Duration::from_secs(15);

    /// HTTP/2 where the server speaks it, else HTTP/1.1. Connects when a request is sent.
    pub(super) fn transport(config: &Config) -> Result<Shared, Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(config.connect_timeout);
        let mut tls = HttpsConnectorBuilder::new()
            .with_tls_config(config.rustls_client_config().map_err(Error::kube)?)
            .https_or_http();
        if let Some(name) = &config.tls_server_name {
            let name = name
                .clone()
                .try_into()
                .map_err(|error| Error::other("tls-server-name", error))?;
            tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .build::<_, Body>(tls.enable_all_versions().wrap_connector(tcp));
        let client = client.map_err(BoxError::from);
        if config.disable_compression {
            return Ok(erased(client));
        }
        Ok(erased(
            ServiceBuilder::new()
                .layer(DecompressionLayer::new())
                .service(client),
        ))
    }
}
