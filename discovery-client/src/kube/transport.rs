//! The transport of discovery.

use std::time::Duration;

use bytes::Bytes;
use discovery_core::BoxError;
use http::uri::{Parts, PathAndQuery};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use kube::Config;
use kube::client::{Body, ClientBuilder, ConfigExt};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_layer::Layer;
use tower_service::Service;

use super::Error;
use super::service::{ResponseBody, Shared, buffered, erased};
use super::token::{TokenFile, TokenLayer};

/// How long an answer may take, its body included, as in client-go.
const TIMEOUT: Duration = Duration::from_secs(32);

/// The largest answer. The caches have a limit of their own.
const MAX_BODY: usize = 1 << 30;

/// What sends discovery's requests, and what gives them credentials, which is outside of the HTTP cache.
pub(super) struct Transport {
    pub(super) service: Shared,
    pub(super) auth: Auth,
}

/// A layer for credentials: none if the transport has them.
pub(super) struct Auth(Option<Credentials>);

struct Credentials {
    token: Option<TokenFile>,
    config: Config,
}

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

/// The transport of a configuration.
pub(super) fn transport(config: &Config, token: Option<&TokenFile>) -> Result<Transport, Error> {
    #[cfg(feature = "kube-rustls")]
    if config.proxy_url.is_none() {
        let service = self::http2::transport(config)?;
        return Ok(Transport {
            service: bounded(service),
            auth: Auth(Some(Credentials {
                token: token.cloned(),
                config: config.clone(),
            })),
        });
    }
    let mut without_repeats = config.clone();
    without_repeats.default_retry = false;
    let builder = ClientBuilder::try_from(without_repeats).map_err(Error::kube)?;
    let builder = builder.with_layer(&TokenLayer(token.cloned()));
    let base = config.cluster_url.path().trim_end_matches('/').to_owned();
    let service = builder.with_layer(&tower::layer::layer_fn(buffered));
    // The builder keeps its service for itself.
    let client = service.build();
    let service = super::KubeService::new(client);
    Ok(Transport {
        service: bounded(over(erased(service), &base)),
        auth: Auth(None),
    })
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

impl<S> Layer<S> for Auth
where
    S: Service<Request<Body>, Error = BoxError> + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Service = Shared;

    fn layer(&self, inner: S) -> Shared {
        let inner = erased(inner.map_response(IntoResponse::into_response));
        let Some(Credentials { token, config }) = &self.0 else {
            return inner;
        };
        let auth = config.auth_layer();
        let headers = config.extra_headers_layer();
        let (auth, headers) = match (auth, headers) {
            (Ok(auth), Ok(headers)) => (auth, headers),
            (Err(error), _) | (_, Err(error)) => {
                let error = error.to_string();
                return erased(service_fn(move |_: Request<Body>| {
                    let error = BoxError::from(error.clone());
                    async move { Err::<Response<ResponseBody>, _>(error) }
                }));
            }
        };
        erased(
            ServiceBuilder::new()
                .layer(TokenLayer(token.clone()))
                .option_layer(auth)
                .layer(headers)
                .service(inner),
        )
    }
}

/// A response of some body.
pub(super) trait IntoResponse {
    fn into_response(self) -> Response<ResponseBody>;
}

impl<B> IntoResponse for Response<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn into_response(self) -> Response<ResponseBody> {
        self.map(ResponseBody::new)
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
