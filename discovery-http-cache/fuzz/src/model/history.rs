use http::{Method, StatusCode};

use super::rules::{self, Rules};
use super::{Asked, Contact, Given, Got, Moment, Version, selection, text};
use crate::render::{ID, secret_of_answer, secret_of_hop, secret_of_request};

/// All that has happened.
#[derive(Clone, Debug)]
pub struct History {
    /// The options of the layer.
    pub rules: Rules,
    /// The requests to the server, in their order.
    pub contacts: Vec<Contact>,
    /// Since when something else than the layer has been at the store.
    pub damaged: Option<Moment>,
}

impl History {
    /// Nothing, yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            contacts: Vec::new(),
            damaged: None,
        }
    }

    /// Whether a client might get this.
    ///
    /// # Errors
    ///
    /// When it might not: why.
    pub fn judge(&self, asked: &Asked, got: &Got) -> Result<(), String> {
        let own: Vec<&Contact> = self
            .contacts
            .iter()
            .filter(|contact| contact.asked.number == asked.number)
            .collect();
        if own.iter().any(|contact| is_passed_on(contact, got)) {
            return Ok(());
        }
        if asked.method != Method::GET && asked.method != Method::HEAD {
            return Err("not the server's answer".into());
        }
        if asked.headers.contains_key("if-match") {
            return Err("If-Match is for the server (RFC 9111 §4.3.2)".into());
        }
        if got.status == StatusCode::GATEWAY_TIMEOUT
            && text::has(&text::directives(&asked.headers), "only-if-cached")
            && got.headers.is_empty()
        {
            return match own.is_empty() {
                true => Ok(()),
                false => Err("asked the server despite only-if-cached".into()),
            };
        }

        let mark = got
            .headers
            .get(ID)
            .map(|mark| mark.to_str().unwrap_or_default());
        let mut reasons = Vec::new();
        for version in self.versions() {
            // 304 and 416 have no mark.
            if mark.is_some() && version.mark.as_deref() != mark {
                continue;
            }
            match self.allows(&version, asked, &own, got) {
                Ok(()) => return Ok(()),
                Err(reason) => reasons.push(format!("not answer {}: {reason}", version.id)),
            }
        }
        Err(reasons.join("; "))
    }

    /// Why the store must not hold these bytes, if so.
    #[must_use]
    pub fn betrayed_by(&self, stored: &[u8]) -> Option<String> {
        let has = |secret: String| {
            stored
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        };
        let versions = self.versions();
        for (number, contact) in self.contacts.iter().enumerate() {
            if has(secret_of_request(contact.asked.number)) {
                return Some(format!("credentials of request {}", contact.asked.number));
            }
            let Some(given) = &contact.answer else {
                continue;
            };
            if has(secret_of_hop(given.id)) {
                return Some(format!("hop-by-hop headers of answer {}", given.id));
            }
            if !has(secret_of_answer(given.id)) {
                continue;
            }
            // A 304, and a 200 to a HEAD, are stored with what they are about.
            let reasons: Vec<_> = versions
                .iter()
                .filter(|version| version.has_part_of(given.id))
                .map(|version| rules::must_not_store(version, self.rules))
                .collect();
            if let Some(Some(reason)) = reasons.iter().max_by_key(|reason| reason.is_none()) {
                return Some(format!("answer {} of contact {number}: {reason}", given.id));
            }
            if reasons.is_empty() {
                return Some(format!("answer {}, which belongs to nothing", given.id));
            }
        }
        None
    }

    /// All responses that there have been, with all that newer headers have made of them.
    fn versions(&self) -> Vec<Version> {
        let mut contacts: Vec<(&Contact, &Given)> = self
            .contacts
            .iter()
            .filter_map(|contact| Some((contact, contact.answer.as_ref()?)))
            .collect();
        contacts.sort_by_key(|(_, given)| given.at.turn);
        let mut all: Vec<Version> = Vec::new();
        for (contact, given) in contacts {
            let Some((status, headers)) = &given.response else {
                continue;
            };
            if *status != StatusCode::NOT_MODIFIED {
                all.push(Version::new(contact, given, *status, headers, self.rules));
            }
            let confirms = |version: &Version| match contact.asked.method {
                Method::HEAD if *status == StatusCode::OK => version.method == Method::GET,
                Method::GET | Method::HEAD => {
                    *status == StatusCode::NOT_MODIFIED && version.is_asked_about(contact)
                }
                // Their answers are not about what is stored.
                _ => false,
            };
            let about: Vec<usize> = (0..all.len())
                .filter(|at| {
                    all[*at].id != given.id
                        && rules::is_looked_at(&contact.asked.headers, self.rules)
                        // What comes after the question can't be what it was about.
                        && all[*at].answered.turn < contact.at.turn
                        // As it was when the client asked: the cache may have waited since.
                        && all[*at].replaced.is_none_or(|at| at.turn > contact.asked.at.turn)
                        && confirms(&all[*at])
                        && all[*at].is_meant(contact, headers, self.rules)
                })
                .collect();
            for at in &about {
                let mut newer = all[*at].with(contact, given, headers);
                // If there are several, nobody knows which one the cache had.
                let same = text::lines(headers, "etag") == text::lines(&all[*at].headers, "etag");
                let certain = same || !headers.contains_key("etag");
                if about.len() == 1 && certain && *status == StatusCode::NOT_MODIFIED {
                    all[*at].replaced.get_or_insert(given.at);
                }
                newer.is_doubtful |= about.len() > 1;
                // Of another form, only how long it may be used counts.
                if !same || headers.contains_key("last-modified") {
                    let mut fresher = all[*at].with_freshness(contact, given, headers);
                    fresher.is_doubtful |= about.len() > 1;
                    all.push(fresher);
                }
                all.push(newer);
            }
        }
        all
    }

    /// Whether this version answers the request.
    fn allows(
        &self,
        version: &Version,
        asked: &Asked,
        own: &[&Contact],
        got: &Got,
    ) -> Result<(), String> {
        if version.uri != asked.uri {
            return Err("another resource".into());
        }
        let is_get = version.method == Method::GET;
        if !(is_get || version.method == asked.method && asked.method == Method::HEAD) {
            return Err(format!("the answer to {}", version.method));
        }
        // A response that the server has confirmed answers the request that it was asked for, whatever else
        // its fields say.
        let is_own = own.iter().any(|contact| {
            let given = contact.answer.as_ref();
            given.is_some_and(|given| given.at == version.answered && given.id != version.id)
        });
        let is_confirmed = is_own || own.iter().any(|contact| version.is_confirmed_by(contact));
        // Those who waited get the head when it comes. A body that breaks off later does so for them, too.
        let may_break_off = got.body.is_none() && version.answered.turn > asked.at.turn;
        let as_announced = Version {
            whole: version.whole || may_break_off,
            ..version.clone()
        };
        if let Some(reason) = rules::must_not_store(&as_announced, self.rules)
            && !is_confirmed
        {
            return Err(format!("not to be stored, {reason}"));
        }
        if !is_own && !rules::is_for(version, &asked.headers, self.rules) {
            return Err("another variant".into());
        }
        if let Some(contact) = self.invalidation(version, asked) {
            return Err(format!(
                "invalidated by {} {}",
                contact.asked.method, contact.asked.uri
            ));
        }
        let time = asked.at.time.max(version.answered.time);
        let validated = is_confirmed || self.is_shared_validation(version, asked);
        if !validated {
            if let Some(newer) = self.newer(version, asked) {
                return Err(format!("outdated by answer {}", newer.id));
            }
            self.permission(version, asked, got, time)?;
            selection::check_unvalidated(version, got, time, self.rules)?;
        }
        selection::check(version, asked, got, self.rules)
    }

    /// The unsafe request that has made it invalid before this request came (RFC 9111 §4.4).
    fn invalidation(&self, version: &Version, asked: &Asked) -> Option<&Contact> {
        self.contacts.iter().find(|contact| {
            let Some(Given {
                at,
                response: Some((status, headers)),
                ..
            }) = &contact.answer
            else {
                return false;
            };
            let safe = [Method::GET, Method::HEAD, Method::OPTIONS];
            let target = |uri: &str| uri == version.uri;
            let named = |name| {
                let lines = text::lines(headers, name);
                lines
                    .first()
                    .is_some_and(|reference| target(&absolute(reference)))
            };
            !safe.contains(&contact.asked.method)
                && (status.is_success() || status.is_redirection())
                && (target(&contact.asked.uri) || named("location") || named("content-location"))
                && version.asked.turn < at.turn
                && at.turn < asked.at.turn
        })
    }

    /// A response that is to be used in place of this one (RFC 9111 §4).
    fn newer(&self, version: &Version, asked: &Asked) -> Option<Version> {
        if let Some(replaced) = version.replaced
            && replaced.turn < asked.at.turn
        {
            return Some(version.clone());
        }
        if self.damaged.is_some() {
            return None;
        }
        let date = |version: &Version| {
            let line = text::lines(&version.headers, "date").first().cloned();
            let date = line.and_then(|line| {
                super::date(&line, self.rules.lenient_dates, version.answered.time)
            });
            date.unwrap_or_else(|| rules::since_epoch(version.answered.time))
        };
        self.versions().into_iter().find(|newer| {
            newer.id != version.id
                && newer.answered.turn > version.answered.turn
                // A stale response may stand in for an error.
                && !newer.status.is_server_error()
                && newer.uri == version.uri
                && newer.method == version.method
                && newer.replaced.is_none()
                // The older one was there to be seen when the newer one was asked for.
                && version.read.is_some_and(|read| read.turn < newer.wanted.turn)
                && newer.read.is_some_and(|read| read.turn < asked.at.turn)
                && rules::must_not_store(newer, self.rules).is_none()
                && !newer.has_passed
                && !newer.is_doubtful
                // A response that can be neither fresh nor validated need not be stored.
                && (newer.status == StatusCode::OK || rules::lifetime(newer, self.rules) > 0)
                && rules::is_for(newer, &asked.headers, self.rules)
                // As far as the cache could tell that they are of one kind.
                && rules::is_for(version, &newer.request, self.rules)
                && date(newer) >= date(version)
        })
    }

    /// Whether the server has sent or confirmed it for another client, asked after this one had come.
    fn is_shared_validation(&self, version: &Version, asked: &Asked) -> bool {
        let request = text::directives(&asked.headers);
        version.asked.turn > asked.at.turn
            && !rules::refuses_cached(&asked.headers)
            && !["max-age", "min-fresh"]
                .iter()
                .any(|name| text::has(&request, name))
    }

    /// Whether it may be used without that.
    fn permission(
        &self,
        version: &Version,
        asked: &Asked,
        got: &Got,
        time: std::time::SystemTime,
    ) -> Result<(), String> {
        let reason = match rules::is_reusable(version, asked, time, self.rules) {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        };
        // A response that came while it waited is as good as an answer of its own.
        let response = text::directives(&version.headers);
        let request = text::directives(&asked.headers);
        if version.answered.turn > asked.at.turn
            && !rules::demands_validation(&version.headers)
            && !text::has(&response, "must-revalidate")
            && !rules::refuses_cached(&asked.headers)
            && !["max-age", "min-fresh"]
                .iter()
                .any(|name| text::has(&request, name))
        {
            return Ok(());
        }
        let failed = self.contacts.iter().any(|contact| {
            contact.asked.uri == asked.uri
                && contact.answer.as_ref().is_some_and(|given| {
                    let status = given.response.as_ref().map(|(status, _)| *status);
                    let during = asked.at.turn < given.at.turn && given.at.turn < got.at.turn;
                    during
                        && status.is_none_or(|status| status.is_server_error())
                        && rules::replaces_error(version, asked, status, time, self.rules)
                })
        });
        if failed { Ok(()) } else { Err(reason) }
    }
}

/// Whether a response is the server's, as it came.
fn is_passed_on(contact: &Contact, got: &Got) -> bool {
    let Some(given) = &contact.answer else {
        return false;
    };
    let Some((status, headers)) = &given.response else {
        return false;
    };
    let same_body = got
        .body
        .as_ref()
        .is_none_or(|body| contact.asked.method == Method::HEAD || *body == given.body);
    // The client's own condition, not the cache's, may be answered with 304.
    let same_conditions = ["if-none-match", "if-modified-since"]
        .iter()
        .all(|name| contact.headers.get(*name) == contact.asked.headers.get(*name));
    *status == got.status
        && headers.get("x-secret") == got.headers.get("x-secret")
        && same_body
        && (*status != StatusCode::NOT_MODIFIED || same_conditions)
}

/// A reference of ours, as a URI.
fn absolute(reference: &str) -> String {
    if reference.starts_with("https:") {
        return reference.to_owned();
    }
    format!("https://h:6443{}", reference.trim_start_matches("../.."))
}
