//! Requests as a discovery cache sees them.

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body::Body as HttpBody;

use crate::http::headers::{any_member, is_credential};
use crate::http::uri::{self, Origin};
use crate::kube::extensions::{GroupsOnly, Refresh, WantParsed};
use crate::{Accept, Endpoint, Format, GroupVersion};

/// The largest answer that is kept, in bytes, unless set.
const MAX_BODY_SIZE: u64 = 64 << 20;

/// The settings of an [`Engine`](super::Engine), by value.
///
/// ```
/// use discovery_core::engine::Options;
/// use http::Uri;
///
/// let options = Options::new()
///     .server(&Uri::from_static("https://10.0.0.1:6443/k8s/clusters/c-1"))
///     .max_body_size(1 << 20);
/// assert_ne!(options, Options::new());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The path that relative URIs begin with.
    base_path: String,
    /// The server that absolute URIs have to name, and the path that it is mounted at.
    server: Option<(Origin, String)>,
    pub(super) max_body_size: u64,
}

/// A part of a server's discovery documents.
///
/// ```
/// use discovery_core::engine::Scope;
///
/// assert_ne!(Scope::Groups, Scope::Resources("v1".parse()?));
/// # Ok::<(), discovery_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// The groups and their versions.
    Groups,
    /// The groups, and the lists of the core group.
    Core,
    /// The groups and every list.
    Everything,
    /// The resources of one group version.
    Resources(GroupVersion),
}

/// A fetch that callers share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    /// The last refresh before it.
    generation: u64,
    /// The documents that it brings.
    scope: Scope,
    /// The credentials in its request. An error answer may be about them, and so nobody else gets it.
    credentials: Vec<(HeaderName, HeaderValue)>,
}

/// A request that the cache can answer.
#[derive(Clone, Debug)]
pub(super) struct DiscoveryRequest {
    pub(super) endpoint: Endpoint,
    pub(super) accept: Accept,
    pub(super) want_parsed: bool,
    /// Whether a caller that wants parsed documents wants no lists.
    pub(super) groups_only: bool,
    /// The last refresh before the request. A fetch for it must not serve a later one.
    pub(super) generation: u64,
    /// Whether the request asks for a fetch.
    pub(super) no_cache: bool,
}

impl Options {
    /// The defaults: relative URIs without a base path, absolute ones of any server, 64 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            base_path: String::new(),
            server: None,
            max_body_size: MAX_BODY_SIZE,
        }
    }

    /// Sets the path that relative URIs begin with, such as `/k8s/clusters/c-1`. None unless set.
    #[must_use]
    pub fn base_path(mut self, base: &str) -> Self {
        base.trim_end_matches('/').clone_into(&mut self.base_path);
        self
    }

    /// Names the server that the services reach.
    ///
    /// A request whose URI or `Host` names another server passes, so that it is not answered with this
    /// server's groups. In an absolute URI, the path of `address` comes before the path of the endpoint. A
    /// relative URI is always this server's, and [`base_path`](Self::base_path) counts for it.
    ///
    /// Unless set, absolute URIs of any server count as this server's, and a relative URI with a `Host` passes,
    /// because nobody has said which server it is for.
    #[must_use]
    pub fn server(mut self, address: &Uri) -> Self {
        let base = address.path().trim_end_matches('/').to_owned();
        self.server = Origin::from_uri(address).map(|origin| (origin, base));
        self
    }

    /// Sets the largest answer that is kept, in bytes; larger ones pass through. 64 MiB unless set.
    #[must_use]
    pub const fn max_body_size(mut self, bytes: u64) -> Self {
        self.max_body_size = bytes;
        self
    }

    /// The path that comes before the endpoint's in `uri`, or the reason why the URI is not for the server.
    pub(super) fn base_of(&self, uri: &Uri) -> Result<&str, &'static str> {
        uri::port(uri).map_err(|_| "the port of the URI is not a number from 0 to 65535")?;
        match &self.server {
            Some((origin, base)) if uri.authority().is_some() => {
                if origin.is_of(uri) {
                    Ok(base)
                } else {
                    Err("the URI names another server")
                }
            }
            _ => Ok(&self.base_path),
        }
    }

    /// Compares the `Host` lines with the authority of the URI, or else with that of the server.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
        let mut lines = headers.get_all(HOST).iter();
        let Some(host) = lines.next() else {
            return Ok(());
        };
        let target = match (Origin::from_uri(uri), &self.server) {
            (Some(target), _) => target,
            (None, Some((server, _))) => server.clone(),
            (None, None) => return Err("it has a Host, and the cache is for no certain server"),
        };
        let named = host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok())
            // `Host` has no user-info (RFC 9110 §7.2).
            .filter(|host| !host.as_str().contains('@'))
            .map(|host| Origin::new(target.scheme().clone(), host));
        let is_same = named.is_some_and(|named| {
            let uri = Uri::builder()
                .scheme(named.scheme().clone())
                .authority(named.authority().clone())
                .path_and_query("/")
                .build();
            uri.is_ok_and(|uri| target.is_of(&uri))
        });
        if is_same && lines.next().is_none() {
            Ok(())
        } else {
            Err("its Host names another server")
        }
    }
}

impl DiscoveryRequest {
    /// Reads a request, or tells why it passes. The second part is the refresh that it asks for.
    pub(super) fn read<B: HttpBody>(
        request: &Request<B>,
        options: &Options,
    ) -> Result<(Self, Option<Refresh>), &'static str> {
        if request.method() != Method::GET {
            return Err("its method is not GET");
        }
        let uri = request.uri();
        let endpoint = Endpoint::parse(uri.path(), options.base_of(uri)?)
            .filter(Endpoint::is_discovery)
            .ok_or("its path is not one of discovery")?;
        let headers = request.headers();
        let accept = Accept::from_headers(headers);
        if !is_acceptable(&endpoint, accept) {
            return Err("it accepts no document that the cache can make");
        }
        if is_conditional(headers) {
            return Err("it is conditional or asks for a range");
        }
        if has_content(headers, request.body()) {
            return Err("it has content");
        }
        options.check_host(uri, headers)?;
        let no_cache = any_member(headers, &CACHE_CONTROL, |directive| {
            directive.eq_ignore_ascii_case(b"no-cache")
        });
        let extensions = request.extensions();
        let refresh = match extensions.get::<Refresh>() {
            Some(refresh) => Some(*refresh),
            // A single list is fetched anew by itself.
            None if no_cache && !matches!(endpoint, Endpoint::Resources(_)) => {
                Some(Refresh::next())
            }
            None => None,
        };
        let request = Self {
            endpoint,
            accept,
            want_parsed: extensions.get::<WantParsed>().is_some(),
            groups_only: extensions.get::<GroupsOnly>().is_some(),
            generation: 0,
            no_cache,
        };
        Ok((request, refresh))
    }

    /// The documents that the cache needs for the answer.
    pub(super) fn scope(&self) -> Scope {
        match &self.endpoint {
            Endpoint::Resources(group_version) => Scope::Resources(group_version.clone()),
            Endpoint::Apis if self.want_parsed && !self.groups_only => Scope::Everything,
            Endpoint::Api if self.accept.allows_aggregated() && !self.want_parsed => Scope::Core,
            Endpoint::Apis if self.accept.allows_aggregated() && !self.want_parsed => {
                Scope::Everything
            }
            _ => Scope::Groups,
        }
    }

    /// The fetch of `scope` that brings the answer, or a part of it. `headers` are those of the request.
    pub(super) fn flight_key(&self, scope: Scope, headers: &HeaderMap) -> FlightKey {
        let credentials = headers.iter().filter(|(name, _)| is_credential(name));
        FlightKey {
            generation: self.generation,
            scope,
            credentials: credentials
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    /// The half of the groups that says most about the answer: `/api` or `/apis`.
    pub(super) fn half(&self) -> Endpoint {
        match &self.endpoint {
            Endpoint::Api => Endpoint::Api,
            _ => Endpoint::Apis,
        }
    }

    /// The endpoint that a fetch asks for this request.
    pub(super) fn asked(&self) -> Endpoint {
        match &self.endpoint {
            Endpoint::Resources(_) => self.endpoint.clone(),
            _ => self.half(),
        }
    }

    pub(super) const fn list(&self) -> Option<&GroupVersion> {
        match &self.endpoint {
            Endpoint::Resources(group_version) => Some(group_version),
            _ => None,
        }
    }

    /// Whether the caller takes the groups from the parsed documents, without a body.
    pub(super) const fn takes_groups(&self) -> bool {
        self.want_parsed && matches!(self.endpoint, Endpoint::Api | Endpoint::Apis)
    }
}

fn is_acceptable(endpoint: &Endpoint, accept: Accept) -> bool {
    // The server may prefer the representation that the cache cannot make.
    if accept.asks_for_more() {
        return false;
    }
    match endpoint {
        Endpoint::Api | Endpoint::Apis => {
            accept.allows(Format::Legacy) || accept.allows_aggregated()
        }
        _ => accept.allows(Format::Legacy),
    }
}

fn is_conditional(headers: &HeaderMap) -> bool {
    [
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_MATCH,
        IF_UNMODIFIED_SINCE,
        RANGE,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}

/// Whether the request has content, or announces some. A client may add the header below this layer, so the
/// body counts as well.
fn has_content<B: HttpBody>(headers: &HeaderMap, body: &B) -> bool {
    let announced = headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|length| length != "0");
    announced || !(body.is_end_stream() || body.size_hint().exact() == Some(0))
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
