//! What a request asks of a cache.

use http::header::{
    CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, Method, Request, Uri};

use super::lookup::Shared;
use super::{Cache, GroupsOnly, Refresh, Scope, WantParsed};
use crate::{Accept, Endpoint, Format, GroupVersion, key};

/// What is fetched on a miss, after which refresh. Callers with the same goal share it.
pub(super) type Goal = (u64, Scope);

/// A request that the cache can answer.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) endpoint: Endpoint,
    pub(super) accept: Accept,
    pub(super) typed: bool,
    /// Whether a typed caller wants no lists.
    pub(super) groups_only: bool,
    /// The refresh that counts for it: what is fetched for it must not serve a later one.
    pub(super) generation: u64,
    /// Whether what is asked for is to be fetched anew.
    pub(super) no_cache: bool,
}

impl<C: Cache> Shared<C> {
    /// What the request asks of the cache, if it is the cache's business.
    pub(super) fn classify<B>(&self, request: &Request<B>) -> Option<Ask> {
        if request.method() != Method::GET {
            return None;
        }
        let uri = request.uri();
        let endpoint = Endpoint::parse(uri.path(), self.base_of(uri)?)?;
        let headers = request.headers();
        let accept = Accept::from_headers(headers);
        let acceptable = match endpoint {
            Endpoint::Api | Endpoint::Apis => {
                accept.allows(Format::Legacy) || accept.allows_aggregated()
            }
            _ => endpoint.is_discovery() && accept.allows(Format::Legacy),
        };
        let conditional = [
            IF_NONE_MATCH,
            IF_MODIFIED_SINCE,
            IF_MATCH,
            IF_UNMODIFIED_SINCE,
            RANGE,
        ];
        if !acceptable || conditional.iter().any(|name| headers.contains_key(name)) {
            return None;
        }
        let no_cache = has_no_cache(headers);
        let extensions = request.extensions();
        let refresh = match extensions.get::<Refresh>() {
            Some(refresh) => Some(*refresh),
            None if no_cache && !matches!(endpoint, Endpoint::Resources(_)) => {
                Some(Refresh::next())
            }
            None => None,
        };
        if let Some(refresh) = refresh {
            self.refresh(refresh);
        }
        Some(Ask {
            endpoint,
            accept,
            typed: extensions.get::<WantParsed>().is_some(),
            groups_only: extensions.get::<GroupsOnly>().is_some(),
            generation: self.generation(),
            no_cache,
        })
    }

    /// The path that the server is mounted at, as far as it is a part of `uri`. `None` if that is
    /// another server's, or has an invalid port and therefore is no server's.
    pub(super) fn base_of(&self, uri: &Uri) -> Option<&str> {
        key::port(uri).ok()?;
        match &self.server {
            Some((origin, base)) if uri.authority().is_some() => {
                origin.is_of(uri).then_some(base.as_str())
            }
            _ => Some(&self.base),
        }
    }
}

impl Ask {
    /// What the cache has to know to answer.
    pub(super) fn need(&self) -> Scope {
        match &self.endpoint {
            Endpoint::Resources(group_version) => Scope::Resources(group_version.clone()),
            Endpoint::Apis if self.typed && !self.groups_only => Scope::Everything,
            Endpoint::Api | Endpoint::Apis if self.accept.allows_aggregated() && !self.typed => {
                Scope::Everything
            }
            _ => Scope::Groups,
        }
    }

    pub(super) fn goal(&self) -> Goal {
        let need = match self.list() {
            Some(group_version) => Scope::Resources(group_version.clone()),
            None => Scope::Groups,
        };
        (self.generation, need)
    }

    pub(super) const fn list(&self) -> Option<&GroupVersion> {
        match &self.endpoint {
            Endpoint::Resources(group_version) => Some(group_version),
            _ => None,
        }
    }

    /// Whether the groups are asked for by a caller that takes what is known, without a body.
    pub(super) const fn takes_groups(&self) -> bool {
        self.typed && matches!(self.endpoint, Endpoint::Api | Endpoint::Apis)
    }
}

fn has_no_cache(headers: &HeaderMap) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|value| {
        let directives = value.to_str().unwrap_or_default().split(',');
        directives
            .into_iter()
            .any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
    })
}
