//! What a stored response says about its reuse (RFC 9111 §4).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use super::Rules;
use super::directives::{RequestDirectives, ResponseDirectives};
use super::freshness::Freshness;
use super::vary::{Variant, Vary};

/// A stored response's headers, understood.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) directives: ResponseDirectives,
    pub(crate) freshness: Freshness,
    variant: Variant,
}

/// What can be done with a stored response now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It answers the request.
    Fresh,
    /// It was got while the request waited for it, so that it is as good as an answer of its own.
    Shared,
    /// It is stale, and the request takes it all the same.
    Stale,
    /// It has to be validated first, for this reason.
    Validate(&'static str),
    /// It answers another request.
    OtherVariant,
}

impl Stored {
    pub(crate) fn of(headers: &HeaderMap, rules: Rules) -> Self {
        let directives = ResponseDirectives::parse(headers);
        Self {
            freshness: Freshness::of(headers, &directives, rules.lenient_dates),
            variant: Vary::of(headers).recorded(headers),
            directives,
        }
    }

    /// Whether it answers a request, and on what condition. `waited` says that the request has
    /// waited while somebody else got or validated this response.
    pub(crate) fn reuse(
        &self,
        asked: &RequestDirectives,
        headers: &HeaderMap,
        now: SystemTime,
        waited: bool,
    ) -> Reuse {
        if !self.variant.matches(headers) {
            return Reuse::OtherVariant;
        }
        if self.directives.no_cache {
            return Reuse::Validate("response no-cache");
        }
        if asked.no_cache {
            return Reuse::Validate("request no-cache");
        }
        let age = self.freshness.age(now);
        // Equal is too old here, so that max-age=0 always asks the server.
        if asked.max_age.is_some_and(|max_age| age >= max_age) {
            return Reuse::Validate("request max-age");
        }
        let lifetime = self.freshness.lifetime();
        let left = lifetime.saturating_sub(age);
        if asked.min_fresh.is_some_and(|min_fresh| left < min_fresh) {
            return Reuse::Validate("request min-fresh");
        }
        if lifetime > age {
            return Reuse::Fresh;
        }
        if waited {
            return Reuse::Shared;
        }
        let staleness = age.saturating_sub(lifetime);
        if !self.directives.must_revalidate && asked.max_stale.is_some_and(|max| staleness <= max) {
            return Reuse::Stale;
        }
        Reuse::Validate("stale")
    }

    /// Whether those who waited for this response can use it.
    pub(crate) fn is_shareable(&self) -> bool {
        !self.directives.no_cache
    }

    /// Whether it may stand in for an answer of this status, or for none (RFC 5861 §4).
    pub(crate) fn replaces_error(
        &self,
        status: Option<StatusCode>,
        asked: &RequestDirectives,
        now: SystemTime,
    ) -> bool {
        let is_error = status.is_none_or(|status| matches!(status.as_u16(), 500 | 502..=504));
        if !is_error || self.directives.must_revalidate || self.directives.no_cache {
            return false;
        }
        let age = self.freshness.age(now);
        let staleness = age.saturating_sub(self.freshness.lifetime());
        let allows = |limit: Option<Duration>| limit.is_some_and(|limit| staleness <= limit);
        allows(self.directives.stale_if_error) || allows(asked.stale_if_error)
    }

    /// Whether the time at which it was got matters for its reuse.
    pub(crate) fn depends_on_time(&self) -> bool {
        !self.freshness.lifetime().is_zero() || self.directives.stale_if_error.is_some()
    }
}
