//! The freshness lifetime of a response and its age (RFC 9111 §4.2).
//!
//! The dump has no room for the times of request and response, so the two corrections that need
//! them are made when a response is stored: its `Age` then holds by how much it was older, at that moment,
//! than its `Date` shows. With the same clock, `now - Date + Age` is the current age of §4.2.3 at
//! any later time. For an entry of another program, whose `Age` is as the server sent it, the
//! sum is the age or more.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::cache_control::{ResponseDirectives, seconds};
use super::{Rules, date, status};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    lifetime: Duration,
    date: Option<SystemTime>,
    /// By how much it is older than its date shows.
    excess: Duration,
}

impl Freshness {
    pub(crate) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        rules: Rules,
        now: SystemTime,
    ) -> Self {
        let date = date_of(headers, header::DATE, rules, now);
        let explicit = explicit_lifetime(headers, directives, date, rules, now);
        Self {
            lifetime: explicit.unwrap_or_else(|| {
                heuristic_lifetime(status, headers, directives, date, rules, now)
            }),
            date,
            excess: age_field(headers).unwrap_or_default(),
        }
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// With another lifetime than the headers give.
    pub(crate) fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// The current age (RFC 9111 §4.2.3). It is unknown, and so the largest there is, without a date or with
    /// one in the future: such a response must not be fresh until then, and for its lifetime more.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        let age = self.date.and_then(|date| match now.duration_since(date) {
            Ok(since) => Some(since.saturating_add(self.excess)),
            // An age beyond counting stays so.
            Err(_) if self.excess.as_secs() == u64::MAX => None,
            Err(ahead) => self.excess.checked_sub(ahead.duration()),
        });
        age.unwrap_or(Duration::MAX)
    }

    #[cfg(test)]
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.lifetime > self.age(now)
    }
}

/// `max-age`, else `Expires` after `Date` (RFC 9111 §4.2.1).
fn explicit_lifetime(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    date: Option<SystemTime>,
    rules: Rules,
    now: SystemTime,
) -> Option<Duration> {
    if let Some(max_age) = directives.max_age {
        return Some(max_age);
    }
    let mut lines = headers.get_all(header::EXPIRES).iter();
    let first = lines.next()?;
    if lines.any(|other| other != first) {
        return Some(Duration::ZERO);
    }
    // A value that is no date, such as `0`, is in the past (RFC 9111 §5.3).
    let lifetime = date::parse(first, rules.lenient_dates, now)
        .zip(date)
        .and_then(|(expires, date)| expires.duration_since(date).ok());
    Some(lifetime.unwrap_or_default())
}

/// A tenth of the time for which it had not changed, as RFC 9111 §4.2.2 suggests, up to a bound.
fn heuristic_lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    date: Option<SystemTime>,
    rules: Rules,
    now: SystemTime,
) -> Duration {
    if !directives.public && !status::is_heuristically_cacheable(status) {
        return Duration::ZERO;
    }
    let modified = date_of(headers, header::LAST_MODIFIED, rules, now);
    let unchanged = modified
        .zip(date)
        .and_then(|(modified, date)| date.duration_since(modified).ok())
        .unwrap_or_default();
    (unchanged / 10).min(rules.heuristic)
}

/// `Age`. The first of a list counts, if it is a number (RFC 9111 §5.1).
fn age_field(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::AGE)?.to_str().ok()?;
    seconds(value.split(',').next()?.trim())
}

fn date_of(
    headers: &HeaderMap,
    name: HeaderName,
    rules: Rules,
    now: SystemTime,
) -> Option<SystemTime> {
    date::parse(headers.get(name)?, rules.lenient_dates, now)
}

/// The `Age` to store with a response of this `date`, in seconds, if one is needed: see the
/// [module](self).
///
/// In whole seconds, as dates are: the part of a second by which `Date` is cut off makes nothing
/// younger.
pub(super) fn excess(
    date: Option<SystemTime>,
    headers: &HeaderMap,
    asked: SystemTime,
    answered: SystemTime,
) -> Option<u64> {
    let date = date?;
    let delay = answered.duration_since(asked).unwrap_or_default();
    let corrected = age_field(headers).unwrap_or_default().saturating_add(delay);
    let excess = match answered.duration_since(date) {
        Ok(apparent) => corrected.as_secs().saturating_sub(apparent.as_secs()),
        // The clocks differ: count from the answer, not from the date. In full seconds, the last
        // one too.
        Err(ahead) => corrected
            .saturating_add(ahead.duration())
            .saturating_add(Duration::from_nanos(999_999_999))
            .as_secs(),
    };
    Some(excess).filter(|secs| *secs > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn at(secs: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + secs)
    }

    /// As [`super::excess`], by the `Date` among the headers.
    fn excess(
        headers: &HeaderMap,
        asked: SystemTime,
        answered: SystemTime,
        rules: Rules,
    ) -> Option<u64> {
        let date = date_of(headers, header::DATE, rules, answered);
        super::excess(date, headers, asked, answered)
    }

    fn headers(pairs: &[(http::HeaderName, String)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::try_from(value).unwrap()))
            .collect()
    }

    /// The age as RFC 9111 §4.2.3 computes it.
    fn model(date: u64, age: u64, asked: u64, answered: u64, now: u64) -> u64 {
        let apparent = answered.saturating_sub(date);
        let corrected = age + (answered - asked);
        apparent.max(corrected) + (now - answered)
    }

    #[test]
    fn the_stored_age_makes_up_for_the_times_that_are_not_stored() {
        for date in [80, 100, 103, 105, 130] {
            for age in [0, 1, 10, 50] {
                for asked in [98, 100] {
                    for answered in [100, 104] {
                        for now in [104, 110, 200] {
                            let text = httpdate::fmt_http_date(at(date));
                            let mut map =
                                headers(&[(header::DATE, text), (header::AGE, age.to_string())]);
                            let excess = excess(&map, at(asked), at(answered), Rules::STRICT);
                            map.insert(header::AGE, excess.unwrap_or_default().into());
                            let directives = ResponseDirectives::default();
                            let found = Freshness::of(
                                StatusCode::OK,
                                &map,
                                &directives,
                                Rules::STRICT,
                                at(now),
                            )
                            .age(at(now));
                            let expected = model(date, age, asked, answered, now);
                            assert_eq!(found.as_secs(), expected);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn lifetimes() {
        let date = || httpdate::fmt_http_date(at(0));
        let later = || httpdate::fmt_http_date(at(60));
        let utc = || later().replace("GMT", "UTC");
        let cc = |text: &str| (header::CACHE_CONTROL, text.to_owned());
        let table = [
            (vec![], 0, 0),
            (vec![(header::EXPIRES, later())], 60, 60),
            (vec![(header::EXPIRES, later()), cc("max-age=5")], 5, 5),
            (vec![(header::EXPIRES, later()), cc("max-age=x")], 0, 0),
            (vec![(header::EXPIRES, later()), cc("s-maxage=5")], 60, 60),
            (vec![(header::EXPIRES, utc())], 0, 60),
            (vec![(header::EXPIRES, date())], 0, 0),
            (vec![(header::EXPIRES, "0".into())], 0, 0),
            (
                vec![(header::EXPIRES, later()), (header::EXPIRES, later())],
                60,
                60,
            ),
            (
                vec![(header::EXPIRES, later()), (header::EXPIRES, "0".into())],
                0,
                0,
            ),
        ];
        for (mut pairs, strict, lenient) in table {
            pairs.push((header::DATE, date()));
            let mut map = HeaderMap::new();
            for (name, value) in &pairs {
                map.append(name, HeaderValue::try_from(value).unwrap());
            }
            let directives = ResponseDirectives::parse(&map);
            for (rules, expected) in [(Rules::STRICT, strict), (Rules::KUBECTL, lenient)] {
                let freshness = Freshness::of(StatusCode::OK, &map, &directives, rules, at(0));
                assert_eq!(freshness.lifetime().as_secs(), expected, "{pairs:?}");
                assert_eq!(freshness.is_fresh(at(4)), expected > 4);
                assert!(!freshness.is_fresh(at(60)));
                // A clock that runs behind the date: nobody knows how old it is.
                assert!(!freshness.is_fresh(at(0) - Duration::from_secs(9)));
            }
        }
        let undated = headers(&[cc("max-age=60")]);
        let directives = ResponseDirectives::parse(&undated);
        let freshness = Freshness::of(StatusCode::OK, &undated, &directives, Rules::STRICT, at(0));
        assert!(!freshness.is_fresh(at(0)));
    }

    /// RFC 9111 §4.2.2 and RFC 9110 §15.1.
    #[test]
    fn heuristics() {
        const DAY: u64 = 24 * 60 * 60;
        let table = [
            // (status, Cache-Control, seconds since the last change, lifetime)
            (200, "", 1000, 100),
            (200, "", 100 * DAY, DAY),
            (200, "", 0, 0),
            (200, "private", 1000, 100),
            (200, "max-age=5", 1000, 5),
            (404, "", 1000, 100),
            (302, "", 1000, 0),
            (302, "public", 1000, 100),
            (503, "", 1000, 0),
            (599, "public", 1000, 100),
        ];
        for (status, cc, since, expected) in table {
            let modified = httpdate::fmt_http_date(at(0) - Duration::from_secs(since));
            let map = headers(&[
                (header::DATE, httpdate::fmt_http_date(at(0))),
                (header::LAST_MODIFIED, modified),
                (header::CACHE_CONTROL, cc.to_owned()),
            ]);
            let directives = ResponseDirectives::parse(&map);
            let status = StatusCode::from_u16(status).unwrap();
            let lifetime =
                |rules| Freshness::of(status, &map, &directives, rules, at(0)).lifetime();
            assert_eq!(
                lifetime(Rules::STRICT).as_secs(),
                expected,
                "{status} {cc} {since}"
            );
            assert_eq!(
                lifetime(Rules::KUBECTL),
                directives.max_age.unwrap_or_default()
            );
        }
    }

    /// RFC 9111 §4.2.3, with the part of a second that a date does not show.
    #[test]
    fn ages_are_not_rounded_twice() {
        let half = Duration::from_millis(500);
        let map = headers(&[
            (header::DATE, httpdate::fmt_http_date(at(0))),
            (header::AGE, "30".to_owned()),
        ]);
        assert_eq!(
            excess(&map, at(0) + half, at(0) + half, Rules::STRICT),
            Some(30)
        );
        assert_eq!(excess(&map, at(0), at(2) + half, Rules::STRICT), Some(30));
        assert_eq!(excess(&map, at(1), at(1) + half, Rules::STRICT), Some(29));
    }

    /// RFC 9111 §4.2.3: however far ahead, it is no longer fresh than from when it came.
    #[test]
    fn dates_in_the_future() {
        for date in [130, 1 << 32, 251_000_000_000 - 1_800_000_000] {
            let text = httpdate::fmt_http_date(at(date));
            let mut map = headers(&[(header::DATE, text)]);
            let age = excess(&map, at(100), at(100), Rules::STRICT).unwrap();
            map.insert(header::AGE, age.into());
            map.insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static("max-age=60"),
            );
            let directives = ResponseDirectives::parse(&map);
            for rules in [Rules::STRICT, Rules::KUBECTL] {
                let freshness = Freshness::of(StatusCode::OK, &map, &directives, rules, at(100));
                assert!(freshness.is_fresh(at(159)), "{date}");
                assert!(!freshness.is_fresh(at(160)), "{date}");
                assert!(!freshness.is_fresh(at(date + 30)), "{date}");
            }
            // Without what has been stored with it.
            map.remove(header::AGE);
            let freshness =
                Freshness::of(StatusCode::OK, &map, &directives, Rules::KUBECTL, at(100));
            assert!(!freshness.is_fresh(at(100)), "{date}");
        }
    }

    /// The largest numbers: an age that can't be counted is that of nothing fresh.
    #[test]
    fn overflows() {
        let most = u64::MAX.to_string();
        for (max_age, age, fresh) in [
            (&*most, "0", true),
            (&most, &most, false),
            (&most, "99999999999999999999999", false),
            ("99999999999999999999999", &most, false),
            ("2147483649", "2147483648", true),
        ] {
            let map = headers(&[
                (header::DATE, httpdate::fmt_http_date(at(0))),
                (header::AGE, age.to_owned()),
                (header::CACHE_CONTROL, format!("max-age={max_age}")),
            ]);
            let directives = ResponseDirectives::parse(&map);
            let freshness = Freshness::of(StatusCode::OK, &map, &directives, Rules::STRICT, at(0));
            assert_eq!(freshness.is_fresh(at(0)), fresh, "{max_age} {age}");
        }
    }
}
