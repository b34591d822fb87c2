//! What a stored response says about its reuse (RFC 9111 §4).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode};

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
    /// It is stale, and answers the request if it is validated behind (RFC 5861 §3).
    StaleWhileRevalidate,
    /// It has to be validated first, for this reason.
    Validate(&'static str),
    /// It answers another request.
    OtherVariant,
}

impl Stored {
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, rules: Rules) -> Self {
        let mut directives = ResponseDirectives::parse(headers);
        directives.immutable &= !rules.kubectl;
        Self {
            freshness: Freshness::of(status, headers, &directives, rules),
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
        let lifetime = self.freshness.lifetime();
        // Equal is too old here, so that max-age=0 always asks the server; but not for what is said
        // never to change while it is fresh (RFC 8246 §2).
        let settled = self.directives.immutable && lifetime > age;
        if asked.max_age.is_some_and(|max_age| age >= max_age) && !settled {
            return Reuse::Validate("request max-age");
        }
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
        let allows = |limit: Option<Duration>| limit.is_some_and(|limit| staleness <= limit);
        if !self.directives.must_revalidate {
            if allows(asked.max_stale) {
                return Reuse::Stale;
            }
            if allows(self.directives.stale_while_revalidate) {
                return Reuse::StaleWhileRevalidate;
            }
        }
        Reuse::Validate("stale")
    }

    /// The key of the entry for another variant of this response: the one that `request` is for.
    /// `None` if there is room for one variant only.
    pub(crate) fn other_variant(&self, key: &str, request: &HeaderMap) -> Option<String> {
        self.variant.key(key, request)
    }

    /// The name under which other variants of this response are kept.
    pub(crate) fn family(&self) -> Option<&HeaderValue> {
        self.variant.family()
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
        rules: Rules,
    ) -> bool {
        let is_error = status.is_none_or(|status| matches!(status.as_u16(), 500 | 502..=504));
        if !is_error || self.directives.must_revalidate || self.directives.no_cache {
            return false;
        }
        // RFC 9111 §4.2.4: a disconnected cache may, unless it is told not to.
        if status.is_none() && rules.stale_if_disconnected {
            return true;
        }
        let age = self.freshness.age(now);
        let staleness = age.saturating_sub(self.freshness.lifetime());
        let allows = |limit: Option<Duration>| limit.is_some_and(|limit| staleness <= limit);
        allows(self.directives.stale_if_error) || allows(asked.stale_if_error)
    }

    /// Whether the time at which it was got matters for its reuse.
    pub(crate) fn depends_on_time(&self) -> bool {
        !self.freshness.lifetime().is_zero()
            || self.directives.stale_if_error.is_some()
            || self.directives.stale_while_revalidate.is_some()
    }
}
