//! Services of kube's requests, and their answers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::BoxError;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use kube::client::Body;
use tower::ServiceExt;
use tower::buffer::Buffer;
use tower::util::{BoxCloneSyncService, BoxService};
use tower_service::Service;

/// A service that can be cloned, for requests of one kind or another.
pub(super) type Shared = BoxCloneSyncService<Request<Body>, Response<ResponseBody>, BoxError>;

/// The most requests that wait for a service that can't be cloned.
const WAITING: usize = 1024;

/// A response body, whatever it came through.
pub struct ResponseBody(UnsyncBoxBody<Bytes, BoxError>);

/// The future of a [`KubeService`] or a [`CachedDiscovery`](super::CachedDiscovery).
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<B>(Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>);

/// A [`kube::Client`] as a tower service, which it is not itself: for a [`DiscoveryClient`](crate::DiscoveryClient)
/// over a client that is there already, for example one with [cached discovery](super::client).
///
/// ```
/// # tokio_test::block_on(async {
/// use bytes::Bytes;
/// use discovery_client::DiscoveryClient;
/// use discovery_client::kube::KubeService;
/// use discovery_client::mapper::DeferredMapper;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use kube::client::Body;
///
/// # let server = tower::service_fn(|request: Request<Body>| async move {
/// #     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(match request.uri().path() {
/// #         "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
/// #         "/apis" => r#"{"kind":"APIGroupList","groups":[]}"#,
/// #         _ => r#"{"kind":"APIResourceList","resources":[{"name":"pods","kind":"Pod","shortNames":["po"]}]}"#,
/// #     })))
/// # });
/// // In a real program: `kube::Client::try_default().await?`.
/// let client = kube::Client::new(server, "default");
/// let mapper = DeferredMapper::new(DiscoveryClient::new(KubeService::new(client)));
/// assert_eq!(mapper.resolve("po").await?.resource, "pods");
/// # Ok::<(), discovery_client::mapper::MapError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct KubeService(kube::Client);

impl KubeService {
    /// Sends requests through a client.
    #[must_use]
    pub const fn new(client: kube::Client) -> Self {
        Self(client)
    }
}

impl Service<Request<Body>> for KubeService {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = ResponseFuture<Body>;

    /// Always ready: the client waits in the future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.clone();
        ResponseFuture::new(async move { Ok(client.send(request).await?) })
    }
}

impl<B> ResponseFuture<B> {
    pub(super) fn new(
        future: impl Future<Output = Result<Response<B>, BoxError>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(future))
    }
}

impl<B> Future for ResponseFuture<B> {
    type Output = Result<Response<B>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl ResponseBody {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(body.map_err(Into::into).boxed_unsync())
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A service without its types.
pub(super) fn erased<S, B>(service: S) -> Shared
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let service = service.map_response(|response: Response<B>| response.map(ResponseBody::new));
    BoxCloneSyncService::new(service.map_err(Into::into))
}

/// A service that could not be cloned.
pub(super) fn buffered<S, B>(service: S) -> Shared
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let service = service.map_response(|response: Response<B>| response.map(ResponseBody::new));
    let service = BoxService::new(service.map_err(Into::into));
    BoxCloneSyncService::new(Buffer::new(service, WAITING))
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for KubeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeService").finish_non_exhaustive()
    }
}
