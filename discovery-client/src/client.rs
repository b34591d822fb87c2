use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use discovery_core::engine::{GroupsOnly, ParsedAnswer, Refresh, WantParsed};
#[cfg(feature = "live")]
use discovery_core::internal::reserved::Oneshot;
use discovery_core::kube::document::{ApiGroupList, ApiResourceList, Document};
use discovery_core::kube::is_success;
use discovery_core::kube::plan::{ask, drive, parse_list};
use discovery_core::{
    Accept, BoxError, Discovered, Endpoint, Error, GroupVersion, GroupVersionResource, Plan,
    Snapshot,
};
use http::header::ACCEPT;
use http::{HeaderValue, Request, Response, Uri};
use http_body::Body;
use tower_service::Service;
use tracing::Instrument;

use crate::openapi::{self, OpenApi};
use crate::{Preferred, VersionInfo};

/// Objects without what is of no use here.
#[cfg(feature = "live")]
const METADATA: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// The largest answer that is read, unless set.
const MAX_BODY_SIZE: u64 = 64 << 20;

/// Asks which groups, versions and resources a server has.
///
/// It works over any HTTP service that reaches the server, and knows nothing of caches; but from
/// the caching layers in that service it takes documents that are parsed already. Requests have
/// relative URIs, which [`RequestDefaultsLayer`](crate::request_defaults::RequestDefaultsLayer) completes; a [`Stack`](crate::Stack)
/// has that layer inside.
///
/// Clones share the invalidations. A request can be dropped at any time.
///
/// ```
/// use bytes::Bytes;
/// use discovery_client::DiscoveryClient;
/// use http::{Request, Response};
/// use http_body_util::Full;
///
/// # tokio_test::block_on(async {
/// let server = tower::service_fn(|request: Request<Full<Bytes>>| async move {
///     let json = match request.uri().path() {
///         "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
///         "/apis" => r#"{"kind":"APIGroupList","groups":[]}"#,
///         _ => r#"{"kind":"APIResourceList","groupVersion":"v1",
///             "resources":[{"name":"pods","namespaced":true,"kind":"Pod","verbs":["get"]}]}"#,
///     };
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(json)))
/// });
/// let client = DiscoveryClient::new(server);
/// let preferred = client.preferred_resources().await?;
/// assert_eq!(preferred.resources[0].kind, "Pod");
/// assert!(preferred.failed.is_empty());
/// # Ok::<(), discovery_core::Error>(())
/// # }).unwrap();
/// ```
pub struct DiscoveryClient<S, B> {
    service: S,
    refresh: Arc<Mutex<Option<Refresh>>>,
    openapi: Arc<openapi::Shared>,
    server: Option<Arc<openapi::Server>>,
    limit: u64,
    /// The `Accept` for `/api` and `/apis`.
    accept: &'static str,
    body: PhantomData<fn() -> B>,
}

/// The progress of a walk over a legacy server.
///
/// ```
/// use discovery_client::Progress;
///
/// fn percent(progress: Progress) -> usize {
///     100 * progress.done / (progress.done + progress.outstanding)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Progress {
    /// Answers that are there.
    pub done: usize,
    /// Answers that are still to come, as far as is known.
    pub outstanding: usize,
}

impl<S, B> DiscoveryClient<S, B> {
    /// A client over `service`.
    pub fn new(service: S) -> Self {
        Self {
            service,
            refresh: Arc::default(),
            openapi: Arc::default(),
            server: None,
            limit: MAX_BODY_SIZE,
            accept: Accept::KUBECTL,
            body: PhantomData,
        }
    }

    /// The largest answer that is read, in bytes: 64 MiB unless set. A larger one is a failure.
    #[must_use]
    pub fn max_body_size(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Asks for each list alone, and for no aggregated answer, as client-go's `WithLegacy`. A cache below answers from what
    /// it knows all the same, in whatever form that came.
    #[must_use]
    pub fn legacy_only(mut self) -> Self {
        self.accept = Accept::LEGACY;
        self
    }

    /// Asks for the groups without those that only other API servers of the cluster serve, as client-go's
    /// `NoPeerDiscovery`. Such documents are others than the merged ones: no discovery cache answers with them, or keeps
    /// them.
    #[must_use]
    pub fn no_peers(mut self) -> Self {
        self.accept = Accept::NO_PEER;
        self
    }

    /// Names the server that `service` reaches, with the path that it is mounted under.
    ///
    /// Only OpenAPI needs it, and only for a server below a path or whose index names URLs outside of `/openapi/v3`.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use discovery_client::DiscoveryClient;
    /// use http_body_util::Full;
    ///
    /// # let service = ();
    /// let server = http::Uri::from_static("https://rancher.test/k8s/clusters/c-1");
    /// let client = DiscoveryClient::<_, Full<Bytes>>::new(service).server(&server);
    /// ```
    #[must_use]
    pub fn server(mut self, address: &Uri) -> Self {
        self.server = Some(Arc::new(openapi::Server::new(address)));
        self
    }

    /// From now on, the caches below forget what they knew before. As client-go's `Invalidate`, it
    /// does not touch an HTTP cache, which asks the server whether what it has is still right.
    pub fn invalidate(&self) {
        *self.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(Refresh::next());
        self.openapi.invalidate();
    }

    /// The client for the server's OpenAPI documents. All that come from here, and from clones, share what they know;
    /// [`invalidate`](Self::invalidate) reaches them. The example is at [`OpenApi`]. As client-go's `OpenAPIV3`.
    pub fn openapi(&self) -> OpenApi<S, B>
    where
        S: Clone,
    {
        OpenApi::new(
            self.service.clone(),
            Arc::clone(&self.openapi),
            self.server.clone(),
            self.limit,
        )
    }
}

impl<S, B, RB> DiscoveryClient<S, B>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    S::Error: Into<BoxError>,
    B: From<Bytes>,
    RB: Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    /// The groups and their versions, the core group first.
    ///
    /// # Errors
    ///
    /// When `/api` or `/apis` gives no answer that can be used. Not found on `/api` means that there
    /// is no core group.
    pub async fn groups(&self) -> Result<Arc<Document<ApiGroupList>>, Error> {
        let dress = |request: Request<()>| {
            let mut request = self.dress(request);
            request.extensions_mut().insert(GroupsOnly);
            request
        };
        let discovered = self
            .carry_out(Plan::groups().accept(self.accept), dress, |_| ())
            .await?;
        Ok(discovered
            .snapshot
            .groups()
            .cloned()
            .unwrap_or_else(|| Arc::new(ApiGroupList::new(Vec::new()).into())))
    }

    /// The resources of a group version.
    ///
    /// # Errors
    ///
    /// When they can't be had; [`Error::is_not_found`] if there is no such group version.
    pub async fn resources(
        &self,
        group_version: &GroupVersion,
    ) -> Result<Arc<Document<ApiResourceList>>, Error> {
        let endpoint = Endpoint::Resources(group_version.clone());
        let answer = self.get(&endpoint, Accept::LEGACY).await?;
        let known = answer.extensions().get::<ParsedAnswer>();
        if let Some(list) = known.and_then(|known| known.snapshot.resources(group_version.as_str()))
        {
            return Ok(Arc::clone(list));
        }
        Ok(Arc::new(parse_list(group_version, &answer)?))
    }

    /// All groups, versions and resources, with the group versions whose resources could not be
    /// had.
    ///
    /// `/api` and `/apis` are asked at the same time. A server that has only legacy documents is
    /// then asked for each list, at most 64 at a time.
    ///
    /// # Errors
    ///
    /// When the groups can't be had. A list that can't be had is no error: it is among
    /// [`Discovered::failed`].
    pub async fn discover(&self) -> Result<Discovered, Error> {
        self.discover_with(|_| ()).await
    }

    /// As [`discover`](Self::discover), and calls `progress` after each answer.
    ///
    /// # Errors
    ///
    /// As [`discover`](Self::discover).
    pub async fn discover_with(
        &self,
        mut progress: impl FnMut(Progress),
    ) -> Result<Discovered, Error> {
        let mut done = 0;
        let dress = |request| self.dress(request);
        self.carry_out(Plan::everything().accept(self.accept), dress, |plan| {
            done += 1;
            progress(Progress {
                done,
                outstanding: plan.outstanding(),
            });
        })
        .await
    }

    /// As [`discover`](Self::discover), but asks only for what `known` does not tell.
    ///
    /// # Errors
    ///
    /// As [`discover`](Self::discover).
    pub async fn complete(&self, known: &Snapshot) -> Result<Discovered, Error> {
        let plan = Plan::everything().accept(self.accept).known(known);
        self.carry_out(plan, |request| self.dress(request), |_| ())
            .await
    }

    /// Each resource once, in the version that the server prefers; without subresources.
    ///
    /// # Errors
    ///
    /// As [`discover`](Self::discover).
    pub async fn preferred_resources(&self) -> Result<Preferred, Error> {
        Ok(self.discover().await?.into())
    }

    /// The [preferred resources](Self::preferred_resources) whose objects live in namespaces.
    ///
    /// # Errors
    ///
    /// As [`discover`](Self::discover).
    pub async fn preferred_namespaced_resources(&self) -> Result<Preferred, Error> {
        Ok(self.preferred_resources().await?.namespaced())
    }

    /// Whether the server serves a group version. As client-go's `ServerSupportsVersion`.
    ///
    /// # Errors
    ///
    /// As [`groups`](Self::groups).
    pub async fn supports_version(&self, group_version: &GroupVersion) -> Result<bool, Error> {
        let groups = self.groups().await?;
        Ok(groups
            .group_versions()
            .any(|listed| listed == *group_version))
    }

    /// Whether the server serves a resource. As client-go's `IsResourceEnabled`.
    ///
    /// # Errors
    ///
    /// As [`resources`](Self::resources), but for not found, which means no.
    pub async fn is_served(&self, resource: &GroupVersionResource) -> Result<bool, Error> {
        match self.resources(&resource.group_version).await {
            Ok(list) => Ok(list
                .resources
                .iter()
                .any(|listed| listed.name == resource.resource)),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The server's version.
    ///
    /// # Errors
    ///
    /// When it can't be had.
    pub async fn server_version(&self) -> Result<VersionInfo, Error> {
        let answer = self.get(&Endpoint::Version, Accept::LEGACY).await?;
        if !is_success(answer.status()) {
            return Err(Error::answered(&answer, "/version"));
        }
        serde_json::from_slice(answer.body())
            .map_err(|error| Error::malformed_answer(&answer, "/version", error))
    }

    /// Everything, past what the caches below knew.
    #[cfg(feature = "live")]
    pub(crate) async fn refreshed(&self) -> Result<Discovered, Error> {
        self.invalidate();
        self.discover().await
    }

    /// Begins a request whose answer is read as it comes.
    #[cfg(feature = "live")]
    pub(crate) fn open(
        &self,
        path: &'static str,
    ) -> impl Future<Output = Result<Response<RB>, Error>> + use<S, B, RB> {
        let mut request = Request::new(Bytes::new().into());
        *request.uri_mut() = Uri::from_static(path);
        let accept = HeaderValue::from_static(METADATA);
        request.headers_mut().insert(ACCEPT, accept);
        let answer = Oneshot::new(self.service.clone(), request);
        async move { answer.await.map_err(|error| Error::transport(path, error)) }
    }

    async fn carry_out(
        &self,
        mut plan: Plan,
        dress: impl FnMut(Request<()>) -> Request<B>,
        progress: impl FnMut(&Plan),
    ) -> Result<Discovered, Error> {
        let span = tracing::debug_span!("discover");
        drive(&mut plan, &self.service, dress, self.limit, progress)
            .instrument(span)
            .await;
        plan.finish()
    }

    async fn get(
        &self,
        endpoint: &Endpoint,
        accept: &'static str,
    ) -> Result<Response<Bytes>, Error> {
        let mut request = Request::new(());
        if let Ok(uri) = endpoint.path().parse() {
            *request.uri_mut() = uri;
        }
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(accept));
        let span = tracing::debug_span!("ask", path = %endpoint.path());
        ask(self.service.clone(), self.dress(request), self.limit)
            .instrument(span)
            .await
    }

    fn dress(&self, request: Request<()>) -> Request<B> {
        let mut request = request.map(|()| Bytes::new().into());
        let extensions = request.extensions_mut();
        extensions.insert(WantParsed);
        if let Some(refresh) = *self.refresh.lock().unwrap_or_else(PoisonError::into_inner) {
            extensions.insert(refresh);
        }
        request
    }
}

impl<S: Clone, B> Clone for DiscoveryClient<S, B> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            refresh: Arc::clone(&self.refresh),
            openapi: Arc::clone(&self.openapi),
            server: self.server.clone(),
            limit: self.limit,
            accept: self.accept,
            body: PhantomData,
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for DiscoveryClient<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryClient")
            .field("service", &self.service)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
