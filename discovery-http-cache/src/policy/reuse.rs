//! The reuse of a stored response (RFC 9111 §4).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use super::Rules;
use super::cache_control::{RequestDirectives, ResponseDirectives};
use super::freshness::Freshness;
use super::vary::Vary;
use crate::cache_status::Outcome;

/// The fields of a response that decide about its reuse.
#[derive(Debug)]
pub(crate) struct ResponseFields {
    pub(crate) directives: ResponseDirectives,
    pub(crate) vary: Vary,
}

impl ResponseFields {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            directives: ResponseDirectives::parse(headers),
            vary: Vary::of(headers),
        }
    }
}

/// The meaning of a stored response's header for its reuse.
#[derive(Clone, Debug)]
pub(crate) struct StoredMeta {
    pub(crate) directives: ResponseDirectives,
    pub(crate) freshness: Freshness,
}

/// The use that can be made of a stored response now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It answers the request.
    Fresh,
    /// It came while the request waited for it, so that it is as good as an answer of its own.
    Shared,
    /// It is stale, and the request takes it all the same.
    Stale,
    /// It is stale, and answers the request if it is validated behind (RFC 5861 §3).
    StaleWhileRevalidate,
    /// It has to be validated first, for this reason.
    Validate(RevalidateReason),
    /// It answers another request.
    OtherVariant,
}

impl Reuse {
    /// The outcome, if the stored response answers the request without the server.
    pub(crate) const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Fresh | Self::Shared => Some(Outcome::Hit),
            Self::Stale => Some(Outcome::Stale),
            Self::StaleWhileRevalidate | Self::Validate(_) | Self::OtherVariant => None,
        }
    }
}

/// The fate of an entry after a request that has brought no new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// It can be validated again later.
    Keep,
    Remove,
}

/// Why a stored response has to be validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevalidateReason {
    NoCache,
    RequestNoCache,
    RequestMaxAge,
    RequestMinFresh,
    Stale,
}

impl RevalidateReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoCache => "response no-cache",
            Self::RequestNoCache => "request no-cache",
            Self::RequestMaxAge => "request max-age",
            Self::RequestMinFresh => "request min-fresh",
            Self::Stale => "stale",
        }
    }

    /// Whether the request demands it.
    pub(crate) const fn is_requests(self) -> bool {
        matches!(
            self,
            Self::RequestNoCache | Self::RequestMaxAge | Self::RequestMinFresh
        )
    }
}

impl StoredMeta {
    /// `directives` are those of the headers.
    pub(crate) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        mut directives: ResponseDirectives,
        rules: Rules,
        now: SystemTime,
    ) -> Self {
        directives.immutable &= !rules.kubectl;
        Self {
            freshness: Freshness::of(status, headers, &directives, rules, now),
            directives,
        }
    }

    /// Decides whether the response answers a request for this variant, and on what condition. `waited` says
    /// that the request has waited while another one got or validated this very response.
    pub(crate) fn reuse(&self, asked: &RequestDirectives, now: SystemTime, waited: bool) -> Reuse {
        if self.directives.no_cache {
            return Reuse::Validate(RevalidateReason::NoCache);
        }
        if asked.no_cache {
            return Reuse::Validate(RevalidateReason::RequestNoCache);
        }
        let age = self.freshness.age(now);
        let lifetime = self.freshness.lifetime();
        // Equal is too old here, so that max-age=0 always asks the server; but not for what is said
        // never to change while it is fresh (RFC 8246 §2).
        let settled = self.directives.immutable && lifetime > age;
        if asked.max_age.is_some_and(|max_age| age >= max_age) && !settled {
            return Reuse::Validate(RevalidateReason::RequestMaxAge);
        }
        let left = lifetime.saturating_sub(age);
        if asked.min_fresh.is_some_and(|min_fresh| left < min_fresh) {
            return Reuse::Validate(RevalidateReason::RequestMinFresh);
        }
        if lifetime > age {
            return Reuse::Fresh;
        }
        let staleness = age.saturating_sub(lifetime);
        let allows = |limit: Option<Duration>| limit.is_some_and(|limit| staleness <= limit);
        // RFC 9111 §5.2.2.2: then nothing but a validation of its own will do.
        if !self.directives.must_revalidate {
            if waited {
                return Reuse::Shared;
            }
            if allows(asked.max_stale) {
                return Reuse::Stale;
            }
            if allows(self.directives.stale_while_revalidate) {
                return Reuse::StaleWhileRevalidate;
            }
        }
        Reuse::Validate(RevalidateReason::Stale)
    }

    /// For how much longer it is fresh at this age, or since when it is not, in seconds.
    pub(crate) fn ttl(&self, age: Duration) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.freshness.lifetime()).saturating_sub(seconds(age))
    }

    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        self.freshness.lifetime() > self.freshness.age(now)
    }

    /// Whether those who waited for this response can use it (RFC 9111 §4): not what has to be
    /// validated for each request (§5.2.2.4, §5.2.2.2).
    pub(crate) fn is_shareable(&self, now: SystemTime) -> bool {
        !self.directives.no_cache && (!self.directives.must_revalidate || self.is_fresh(now))
    }

    /// Whether there is a point in waiting while another request validates this: the answer may be
    /// one for others, too, if it is as this is.
    pub(crate) fn may_become_shareable(&self) -> bool {
        let fresh_again = !self.freshness.lifetime().is_zero();
        !self.directives.no_cache && (!self.directives.must_revalidate || fresh_again)
    }

    /// Whether it may stand in for an answer of this status, or for none (RFC 5861 §4).
    pub(crate) fn replaces_error(
        &self,
        status: Option<StatusCode>,
        asked: &RequestDirectives,
        now: SystemTime,
        rules: Rules,
    ) -> bool {
        if !is_error(status)
            || self.directives.must_revalidate
            || self.directives.no_cache
            || asked.no_cache
        {
            return false;
        }
        let age = self.freshness.age(now);
        let staleness = age.saturating_sub(self.freshness.lifetime());
        let allows = |limit: Option<Duration>| limit.is_some_and(|limit| staleness <= limit);
        if allows(asked.stale_if_error) {
            return true;
        }
        // An explicit demand of the request is stronger than the response's permission.
        if asked.max_age.is_some_and(|max_age| age >= max_age) || asked.min_fresh.is_some() {
            return false;
        }
        // RFC 9111 §4.2.4: a disconnected cache may, unless it is told not to.
        allows(self.directives.stale_if_error) || (status.is_none() && rules.stale_if_disconnected)
    }

    /// Decides what a request that has brought no new entry does to the stored response, which could not
    /// answer it: an answer of this status that is not stored, or none at all.
    ///
    /// `validated` says that the request had the stored response's validators as its conditions. A 304 to
    /// those is no failure, and not for this function.
    pub(crate) fn after_failure(
        &self,
        status: Option<StatusCode>,
        validated: bool,
        now: SystemTime,
        rules: Rules,
    ) -> AfterFailure {
        let is_server_error = status.is_some_and(|status| status.is_server_error());
        let keeps = match status {
            // Other requests may have it as it is.
            _ if self.outlives_error(status, now) => true,
            // RFC 9111 §4.3.3, §4.2.4: nothing is known that is newer. kubectl deletes the entry.
            None => rules.keep_on_error || !rules.kubectl,
            // RFC 9111 §4.3.3.
            Some(_) if is_server_error && rules.keep_on_error => true,
            // About the client's copy, or a part of the stored response: nothing new.
            Some(
                StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::RANGE_NOT_SATISFIABLE,
            ) => !validated && !rules.kubectl,
            // A 200 that cannot be stored has outdated it, and any other answer says that it is not as it
            // was.
            Some(_) => false,
        };
        if keeps {
            AfterFailure::Keep
        } else {
            AfterFailure::Remove
        }
    }

    /// Whether the entry may be served to other requests although the server has answered with this status
    /// or not at all (RFC 5861 §3, §4).
    fn outlives_error(&self, status: Option<StatusCode>, now: SystemTime) -> bool {
        let age = self.freshness.age(now);
        let staleness = age.saturating_sub(self.freshness.lifetime());
        let allows = |limit: Option<Duration>| limit.is_some_and(|limit| staleness <= limit);
        is_error(status)
            && !self.directives.must_revalidate
            && !self.directives.no_cache
            && (allows(self.directives.stale_if_error)
                || allows(self.directives.stale_while_revalidate))
    }

    /// Whether the time at which it was received matters for its reuse.
    pub(crate) fn depends_on_time(&self) -> bool {
        !self.freshness.lifetime().is_zero()
            || self.directives.stale_if_error.is_some()
            || self.directives.stale_while_revalidate.is_some()
    }
}

/// Whether the server is out of order (RFC 5861 §4), or out of reach.
fn is_error(status: Option<StatusCode>) -> bool {
    status.is_none_or(|status| matches!(status.as_u16(), 500 | 502..=504))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::policy::date;

    fn stored(cc: &'static str, date: SystemTime) -> StoredMeta {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static(cc));
        headers.insert("date", date::format(date).unwrap());
        let directives = ResponseDirectives::parse(&headers);
        StoredMeta::of(StatusCode::OK, &headers, directives, Rules::STRICT, date)
    }

    /// RFC 9111 §4, §5.2.2.2, §5.2.2.4.
    #[test]
    fn followers_may_use_a_response_unless_each_request_must_validate_it() {
        struct Row {
            cc: &'static str,
            reuse: Reuse,
            shareable: bool,
            worth_waiting: bool,
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_302_600);
        let no_cache = Reuse::Validate(RevalidateReason::NoCache);
        let stale = Reuse::Validate(RevalidateReason::Stale);
        let row = |cc, reuse, shareable, worth_waiting| Row {
            cc,
            reuse,
            shareable,
            worth_waiting,
        };
        let table = [
            row("max-age=60", Reuse::Fresh, true, true),
            row("max-age=60, must-revalidate", Reuse::Fresh, true, true),
            row("max-age=5", Reuse::Shared, true, true),
            row("public", Reuse::Shared, true, true),
            row("max-age=5, must-revalidate", stale, false, true),
            row("max-age=0, must-revalidate", stale, false, false),
            row("max-age=60, no-cache", no_cache, false, false),
        ];
        for row in table {
            let (cc, stored) = (row.cc, stored(row.cc, now - Duration::from_secs(5)));
            let asked = RequestDirectives::default();
            assert_eq!(stored.reuse(&asked, now, true), row.reuse, "{cc}");
            assert_eq!(stored.is_shareable(now), row.shareable, "{cc}");
            assert_eq!(stored.may_become_shareable(), row.worth_waiting, "{cc}");
        }
    }

    /// RFC 9111 §4.3.3, RFC 5861; kubectl deletes an entry whenever it gets no 200 and no 304.
    #[test]
    fn a_failure_keeps_or_removes_the_entry() {
        use AfterFailure::{Keep, Remove};
        struct Row {
            status: Option<u16>,
            strict: AfterFailure,
            kept_on_error: AfterFailure,
            kubectl: AfterFailure,
        }
        let row = |status, strict, kept_on_error, kubectl| Row {
            status,
            strict,
            kept_on_error,
            kubectl,
        };
        let kept = Rules {
            keep_on_error: true,
            ..Rules::STRICT
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_302_600);
        let plain = stored("max-age=5", now - Duration::from_secs(9));
        for row in [
            row(None, Keep, Keep, Remove),
            row(Some(200), Remove, Remove, Remove),
            row(Some(206), Remove, Remove, Remove),
            row(Some(301), Remove, Remove, Remove),
            row(Some(404), Remove, Remove, Remove),
            row(Some(500), Remove, Keep, Remove),
            row(Some(501), Remove, Keep, Remove),
            row(Some(503), Remove, Keep, Remove),
        ] {
            let status = row
                .status
                .map(|status| StatusCode::from_u16(status).unwrap());
            let after = |rules| plain.after_failure(status, true, now, rules);
            assert_eq!(after(Rules::STRICT), row.strict, "{status:?}");
            assert_eq!(after(kept), row.kept_on_error, "{status:?}");
            assert_eq!(after(Rules::KUBECTL), row.kubectl, "{status:?}");
        }
        // Without the cache's conditions, these are about a part, or about the client's copy.
        for status in [206, 304, 416] {
            let status = Some(StatusCode::from_u16(status).unwrap());
            let after = |validated, rules| plain.after_failure(status, validated, now, rules);
            assert_eq!(after(false, Rules::STRICT), Keep);
            assert_eq!(after(true, Rules::STRICT), Remove);
            assert_eq!(after(false, Rules::KUBECTL), Remove);
        }
        // Another request may be answered with it.
        let sent = now - Duration::from_secs(9);
        let outlives = stored("max-age=5, stale-if-error=60", sent);
        let strict = stored("max-age=5, stale-if-error=60, must-revalidate", sent);
        for rules in [Rules::STRICT, Rules::KUBECTL] {
            let bad = Some(StatusCode::BAD_GATEWAY);
            assert_eq!(outlives.after_failure(bad, true, now, rules), Keep);
            assert_eq!(strict.after_failure(bad, true, now, rules), Remove);
            let gone = Some(StatusCode::GONE);
            assert_eq!(outlives.after_failure(gone, true, now, rules), Remove);
        }
    }
}
