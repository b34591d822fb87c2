use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use discovery_core::kube::is_success;
use discovery_core::kube::plan::ask;
use discovery_core::sync::single_flight::{FollowerOutcome, Role, SingleFlight};
use discovery_core::{BoxError, Error, GroupVersion, Text};
use http::header::ACCEPT;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body;
use serde::Deserialize;
use serde_json::{Map, Value};
use tower_service::Service;

use super::Document;

const INDEX: &str = "/openapi/v3";

/// client-go's `Accept` for the index.
const ACCEPT_ANY_JSON: &str = "application/json, */*";

const ACCEPT_JSON: &str = "application/json";

const ACCEPT_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Asks for the OpenAPI documents of a server.
///
/// The index of v3 is asked for once, and again after [`invalidate`](Self::invalidate). It names a URL for each group
/// version, most of them with a hash of the document. A document is asked for when it is wanted, once for all callers at
/// the same time, and kept as long as the index names the same URL. When a new index names another one, the old
/// document is dropped. A URL without a hash is asked again after an invalidation.
///
/// client-go's `openapi.Client` behind its memory cache does the same, but keeps documents only until the invalidation.
///
/// Clones, and all that [`DiscoveryClient::openapi`](crate::DiscoveryClient::openapi) gives, share what they know.
///
/// ```
/// use bytes::Bytes;
/// use discovery_client::DiscoveryClient;
/// use discovery_core::GroupVersion;
/// use http::{Request, Response};
/// use http_body_util::Full;
///
/// # tokio_test::block_on(async {
/// let server = tower::service_fn(|request: Request<Full<Bytes>>| async move {
///     let json = match request.uri().to_string().as_str() {
///         "/openapi/v3" => r#"{"paths":{"apis/apps/v1":{
///             "serverRelativeURL":"/openapi/v3/apis/apps/v1?hash=A1"}}}"#,
///         "/openapi/v3/apis/apps/v1?hash=A1" => r#"{"openapi":"3.0.0"}"#,
///         other => panic!("{other}"),
///     };
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(json)))
/// });
/// let openapi = DiscoveryClient::new(server).openapi();
/// assert_eq!(openapi.v3_paths().await?.len(), 1);
///
/// let apps: GroupVersion = "apps/v1".parse().unwrap();
/// assert!(openapi.v3_document(&apps).await?.is_some());
/// let unknown: GroupVersion = "apps/v9".parse().unwrap();
/// assert!(openapi.v3_document(&unknown).await?.is_none());
/// # Ok::<(), discovery_core::Error>(())
/// # }).unwrap();
/// ```
pub struct OpenApi<S, B> {
    service: S,
    shared: Arc<Shared>,
    server: Option<Arc<Server>>,
    limit: u64,
    body: PhantomData<fn() -> B>,
}

/// The form of the OpenAPI v2 document.
///
/// ```
/// use discovery_client::openapi::OpenApiFormat;
///
/// assert_eq!(OpenApiFormat::Json.accept(), "application/json");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenApiFormat {
    /// `openapi.v2.Document` of gnostic, as client-go asks for it.
    Protobuf,
    /// JSON.
    Json,
}

/// The index of the OpenAPI v3 documents: names such as `apis/apps/v1`, and their URLs.
///
/// As the map that client-go's `Paths` gives.
///
/// ```
/// # tokio_test::block_on(async {
/// # use bytes::Bytes;
/// # use discovery_client::DiscoveryClient;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # let server = tower::service_fn(|_: Request<Full<Bytes>>| async move {
/// #     let json = r#"{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=A1"}}}"#;
/// #     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(json)))
/// # });
/// # let openapi = DiscoveryClient::new(server).openapi();
/// let paths = openapi.v3_paths().await?;
/// assert_eq!(paths.url("api/v1"), Some("/openapi/v3/api/v1?hash=A1"));
/// assert_eq!(paths.iter().count(), 1);
/// # Ok::<(), discovery_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    urls: BTreeMap<String, String>,
}

/// The server's address.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    origin: Option<(Scheme, Authority)>,
    /// The path that the server is mounted under, without a slash at its end.
    base: String,
}

/// The state that all clients of one server share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    known: Mutex<Known>,
    indexes: SingleFlight<u64, Result<Arc<Paths>, Error>>,
    documents: SingleFlight<(u64, String), Result<Arc<Document>, Error>>,
}

#[derive(Debug, Default)]
struct Known {
    /// The number of invalidations.
    generation: u64,
    index: Option<Arc<Paths>>,
    /// By name, with the URL that each came from.
    documents: HashMap<String, (String, Arc<Document>)>,
}

#[derive(Deserialize)]
struct IndexEntry {
    #[serde(default, rename = "serverRelativeURL")]
    server_relative_url: String,
}

/// A URL in the index that names no path of the server.
#[derive(Debug)]
struct NoPath(String);

impl<S, B> OpenApi<S, B> {
    pub(crate) const fn new(
        service: S,
        shared: Arc<Shared>,
        server: Option<Arc<Server>>,
        limit: u64,
    ) -> Self {
        Self {
            service,
            shared,
            server,
            limit,
            body: PhantomData,
        }
    }

    /// The index counts as outdated from now on, and so do documents without a hash.
    ///
    /// [`DiscoveryClient::invalidate`](crate::DiscoveryClient::invalidate) does it as well.
    pub fn invalidate(&self) {
        self.shared.invalidate();
    }
}

impl<S, B, RB> OpenApi<S, B>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    S::Error: Into<BoxError>,
    B: From<Bytes>,
    RB: Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    /// The OpenAPI v2 document of the whole server, as it comes. As client-go's `OpenAPISchema`, which decodes it.
    ///
    /// # Errors
    ///
    /// When it can't be had, or is larger than
    /// [`max_body_size`](crate::DiscoveryClient::max_body_size).
    pub async fn v2(&self, format: OpenApiFormat) -> Result<Bytes, Error> {
        let uri = Uri::from_static("/openapi/v2");
        let answer = self.get(uri, format.accept()).await?;
        Ok(answer.into_body())
    }

    /// The index of the OpenAPI v3 documents. As client-go's `Paths`.
    ///
    /// # Errors
    ///
    /// When it can't be had. A server without OpenAPI v3 answers [not found](Error::is_not_found).
    pub async fn v3_paths(&self) -> Result<Arc<Paths>, Error> {
        let generation = {
            let known = self.shared.known();
            if let Some(index) = &known.index {
                return Ok(Arc::clone(index));
            }
            known.generation
        };
        once(&self.shared.indexes, generation, async || {
            if let Some(index) = self.shared.known().index_of(generation) {
                return Ok(index);
            }
            let index = Arc::new(self.fetch_index().await?);
            self.shared.known().set_index(generation, &index);
            Ok(index)
        })
        .await
    }

    /// The OpenAPI v3 document of a group version; `None` if the server has none. As client-go's `Schema`.
    ///
    /// # Errors
    ///
    /// When the index or the document can't be had.
    pub async fn v3_document(
        &self,
        group_version: &GroupVersion,
    ) -> Result<Option<Arc<Document>>, Error> {
        let path = group_version.path();
        let name = path.trim_start_matches('/');
        let paths = self.v3_paths().await?;
        let Some(url) = paths.url(name) else {
            return Ok(None);
        };
        match self.document(name, url).await {
            // The document has changed since the index was made: its hash is another one.
            Err(error) if is_gone(&error) => {
                self.shared.outdate(&paths);
                let paths = self.v3_paths().await?;
                match paths.url(name) {
                    Some(new) if new == url => Err(error),
                    Some(new) => self.document(name, new).await.map(Some),
                    None => Ok(None),
                }
            }
            found => found.map(Some),
        }
    }

    async fn document(&self, name: &str, url: &str) -> Result<Arc<Document>, Error> {
        let generation = {
            let known = self.shared.known();
            if let Some(document) = known.document(name, url) {
                return Ok(document);
            }
            known.generation
        };
        let key = (generation, url.to_owned());
        once(&self.shared.documents, key, async || {
            if let Some(document) = self.shared.known().document(name, url) {
                return Ok(document);
            }
            let document = Arc::new(self.fetch_document(url).await?);
            let mut known = self.shared.known();
            known.set_document(generation, name, url, &document);
            Ok(document)
        })
        .await
    }

    async fn fetch_index(&self) -> Result<Paths, Error> {
        let answer = self.get(Uri::from_static(INDEX), ACCEPT_ANY_JSON).await?;
        let paths = parse_index(answer.body());
        paths.map_err(|error| Error::malformed_answer(&answer, INDEX, error))
    }

    async fn fetch_document(&self, url: &str) -> Result<Document, Error> {
        let uri =
            resolve(url, self.server.as_deref()).map_err(|error| Error::malformed(INDEX, error))?;
        let answer = self.get(uri, ACCEPT_JSON).await?;
        Document::parse(answer.body()).map_err(|error| Error::malformed_answer(&answer, url, error))
    }

    async fn get(&self, uri: Uri, accept: &'static str) -> Result<Response<Bytes>, Error> {
        let path = uri.path().to_owned();
        let mut request = Request::new(Bytes::new().into());
        *request.uri_mut() = uri;
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(accept));
        let answer = ask(self.service.clone(), request, self.limit).await?;
        if is_success(answer.status()) {
            Ok(answer)
        } else {
            Err(Error::status(Text::from(path), &answer))
        }
    }
}

impl OpenApiFormat {
    /// The `Accept` header that asks for it.
    #[must_use]
    pub const fn accept(self) -> &'static str {
        match self {
            Self::Protobuf => ACCEPT_V2_PROTOBUF,
            Self::Json => ACCEPT_JSON,
        }
    }
}

impl Paths {
    /// The URL of a document, as the server gives it. The name of a group version is its path without the first slash.
    #[must_use]
    pub fn url(&self, name: &str) -> Option<&str> {
        self.urls.get(name).map(String::as_str)
    }

    /// All names and URLs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.urls
            .iter()
            .map(|(name, url)| (name.as_str(), url.as_str()))
    }

    /// The number of documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.urls.len()
    }

    /// Whether the server has no document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }
}

impl Server {
    pub(crate) fn new(address: &Uri) -> Self {
        let origin = address.scheme().cloned().zip(address.authority().cloned());
        Self {
            origin,
            base: address.path().trim_end_matches('/').to_owned(),
        }
    }
}

impl Shared {
    pub(crate) fn invalidate(&self) {
        self.known().invalidate();
    }

    /// Invalidates, unless the index has been replaced already.
    fn outdate(&self, index: &Arc<Paths>) {
        let mut known = self.known();
        if known
            .index
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, index))
        {
            known.invalidate();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn invalidate(&mut self) {
        self.generation += 1;
        self.index = None;
        self.documents.retain(|_, (url, _)| has_hash(url));
    }

    fn index_of(&self, generation: u64) -> Option<Arc<Paths>> {
        self.index.clone().filter(|_| self.generation == generation)
    }

    /// Drops the documents that the index names no more.
    fn set_index(&mut self, generation: u64, index: &Arc<Paths>) {
        if self.generation == generation {
            self.documents
                .retain(|name, (url, _)| index.url(name) == Some(url));
            self.index = Some(Arc::clone(index));
        }
    }

    fn document(&self, name: &str, url: &str) -> Option<Arc<Document>> {
        let (from, document) = self.documents.get(name)?;
        (from == url).then(|| Arc::clone(document))
    }

    fn set_document(&mut self, generation: u64, name: &str, url: &str, document: &Arc<Document>) {
        if self.generation == generation {
            let entry = (url.to_owned(), Arc::clone(document));
            self.documents.insert(name.to_owned(), entry);
        }
    }
}

fn parse_index(json: &[u8]) -> Result<Paths, serde_json::Error> {
    let mut index: Map<String, Value> = serde_json::from_slice(json)?;
    let paths = index.remove("paths").filter(|paths| !paths.is_null());
    let entries: BTreeMap<String, IndexEntry> = match paths {
        Some(paths) => serde_json::from_value(paths)?,
        None => BTreeMap::new(),
    };
    let urls = entries.into_iter();
    Ok(Paths {
        urls: urls
            .map(|(name, entry)| (name, entry.server_relative_url))
            .collect(),
    })
}

/// Shares the result of `make` with all who want it at the same time.
async fn once<K, V>(flights: &SingleFlight<K, V>, key: K, make: impl AsyncFnOnce() -> V) -> V
where
    K: std::hash::Hash + Eq + Clone + Unpin,
    V: Clone,
{
    let mut make = Some(make);
    loop {
        let leader = match flights.join(key.clone()) {
            Role::Leader(leader) => leader,
            Role::Follower(follower) => match follower.await {
                FollowerOutcome::Completed(value) => return value,
                FollowerOutcome::Promoted(leader) => leader,
                FollowerOutcome::Released => continue,
            },
        };
        if let Some(make) = make.take() {
            let value = make().await;
            leader.complete_with(value.clone());
            return value;
        }
    }
}

/// Whether the answer means that the URL is no longer the document's.
fn is_gone(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| code == StatusCode::NOT_FOUND || code.is_redirection())
}

/// The URL of an OpenAPI v3 document without its hash. The documents of other hashes are those that it was before.
pub(crate) fn without_hash(url: &str) -> Option<String> {
    let (path, query) = url.split_once('?')?;
    (path.contains("/openapi/v3/") && query.starts_with("hash=")).then(|| path.to_owned())
}

fn has_hash(url: &str) -> bool {
    url.split_once('?')
        .is_some_and(|(_, query)| query.split('&').any(|pair| pair.starts_with("hash=")))
}

/// The URI of a document on the same server, whatever host its URL names.
///
/// As client-go: a path below `/openapi/v3`, with or without the path that the server is mounted under, belongs below
/// that path; any other counts from the root of the server.
fn resolve(url: &str, server: Option<&Server>) -> Result<Uri, NoPath> {
    let no_path = || NoPath(url.to_owned());
    let path = without_host(url).ok_or_else(no_path)?;
    let base = server.map_or("", |server| server.base.as_str());
    let relative = match path.strip_prefix(base) {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    let (target, origin) = if relative.starts_with(INDEX) {
        (relative, None)
    } else {
        (path, server.and_then(|server| server.origin.clone()))
    };
    let target: PathAndQuery = target.parse().map_err(|_| no_path())?;
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target);
    if let Some((scheme, authority)) = origin {
        parts.scheme = Some(scheme);
        parts.authority = Some(authority);
    }
    Uri::from_parts(parts).map_err(|_| no_path())
}

/// The path and query of a URL reference.
fn without_host(url: &str) -> Option<&str> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest,
        _ => match url.strip_prefix("//") {
            Some(rest) => rest,
            None => return url.starts_with('/').then_some(url),
        },
    };
    without_host(rest.get(rest.find('/')?..)?)
}

impl<S: Clone, B> Clone for OpenApi<S, B> {
    fn clone(&self) -> Self {
        Self::new(
            self.service.clone(),
            Arc::clone(&self.shared),
            self.server.clone(),
            self.limit,
        )
    }
}

impl<S: fmt::Debug, B> fmt::Debug for OpenApi<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenApi")
            .field("service", &self.service)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for NoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a path of the server: {:?}", self.0)
    }
}

impl std::error::Error for NoPath {}
