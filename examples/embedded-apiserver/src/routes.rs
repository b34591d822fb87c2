//! Routes paths to answers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{
    HeaderValue, Method, StatusCode,
    header::{
        ACCEPT, ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, VARY,
    },
    request::Parts,
};

use super::{
    answer::{self, ALL_TYPES, Answer, header, query, reads},
    documents::{self, Aggregated},
    log::Certified,
    model::{Group, Version},
    negotiate::{Form, Offer, form, names_any},
    objects, openapi,
    site::Site,
    state::{State, fmt_date},
};

/// The body of `/version`.
const VERSION: &str = include_str!("version.json");

const AGGREGATED_V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_V2BETA1: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const OPENAPI_V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

/// The lifetime of the hashed OpenAPI documents.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One request, with all that an answer depends on.
pub(super) struct Asked<'r> {
    pub(super) state: &'r State,
    pub(super) site: &'r Site,
    pub(super) offer: Offer,
    pub(super) request: &'r Parts,
    /// Without the base path.
    pub(super) path: &'r str,
}

/// Refuses who may not ask, answers who may.
pub(super) fn answer(asked: &Asked<'_>, body: &[u8]) -> Answer {
    let is_certified = asked.request.extensions.get::<Certified>().is_some();
    let wanted = asked.state.token();
    if wanted.is_some() || asked.state.asks_certificates {
        let given = header(asked.request, &AUTHORIZATION);
        match given.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(given) if wanted.as_deref() == Some(given) => {}
            None if given.is_none() && is_certified => {}
            None if given.is_none() => return answer::anonymous(asked.request, asked.path),
            _ => return answer::unauthorized(),
        }
    }

    let segments: Vec<&str> = asked.path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz"] => answer::text(StatusCode::OK, "ok"),
        ["version"] | ["version", ""] => asked.version(),
        ["api"] | ["api", ""] => asked.core(),
        ["apis"] => asked.groups(asked.offer),
        // Only the path without the slash is wrapped by the aggregated form.
        ["apis", ""] => asked.groups(Offer::PLAIN),
        ["api", version] | ["api", version, ""] => asked.resources("", version),
        ["apis", group] | ["apis", group, ""] if !group.is_empty() => asked.group(group),
        ["apis", group, version] | ["apis", group, version, ""] if !group.is_empty() => {
            asked.resources(group, version)
        }
        ["api", version, rest @ ..] => objects::answer(asked, "", version, rest, body),
        ["apis", group, version, rest @ ..] if !group.is_empty() => {
            objects::answer(asked, group, version, rest, body)
        }
        ["openapi", "v2"] => asked.openapi_v2(),
        ["openapi", "v3"] => asked.openapi_index(),
        ["openapi", "v3", ..] => asked.openapi_v3(&asked.path["/openapi/v3/".len()..]),
        _ => answer::no_such_page(),
    }
}

impl Asked<'_> {
    fn accept(&self) -> Option<&str> {
        header(self.request, &ACCEPT)
    }

    fn version(&self) -> Answer {
        if self.request.method != Method::GET {
            return answer::wrong_method();
        }
        if !names_any(self.accept(), &["application/json"]) {
            return answer::no_representation(&["application/json"]);
        }
        Answer::new(StatusCode::OK)
            .header(CONTENT_TYPE, "application/json")
            .sized(VERSION.trim_end())
    }

    fn core(&self) -> Answer {
        let core = self.site.core();
        if let Some(refusal) = self.framework_refusal() {
            return refusal;
        }
        match form(self.accept(), self.offer) {
            None => answer::not_acceptable(),
            Some(Form::Aggregated(form)) => self.aggregated(form, core),
            Some(Form::Plain) => {
                let document = self.site.document("/api".to_owned(), || {
                    documents::core_versions(core, &self.state.address.to_string())
                });
                Answer::new(StatusCode::OK).document(self.request, &document)
            }
        }
    }

    fn groups(&self, offer: Offer) -> Answer {
        match form(self.accept(), offer) {
            None => answer::not_acceptable(),
            Some(Form::Aggregated(form)) => self.aggregated(form, self.site.named()),
            Some(Form::Plain) => {
                let make = || documents::group_list(self.site.named());
                let document = self.site.document("/apis".to_owned(), make);
                Answer::new(StatusCode::OK).document(self.request, &document)
            }
        }
    }

    fn aggregated<'g>(
        &self,
        form: Aggregated,
        groups: impl IntoIterator<Item = &'g Group>,
    ) -> Answer {
        let key = format!("{} {}", form.name(), self.path.trim_end_matches('/'));
        let document = self
            .site
            .document(key, || documents::aggregated(form, groups));
        let answer = Answer::new(StatusCode::OK)
            .header(CACHE_CONTROL, "public")
            .value(ETAG, document.etag())
            .header(VARY, "Accept");
        // Compared as one string: weak tags, lists and `*` do not match.
        if self.request.headers.get(IF_NONE_MATCH) == Some(&document.etag()) {
            return answer.with_status(StatusCode::NOT_MODIFIED);
        }
        let content_type = match form {
            Aggregated::V2 => AGGREGATED_V2,
            Aggregated::V2beta1 => AGGREGATED_V2BETA1,
        };
        answer
            .document(self.request, &document)
            .header(CONTENT_TYPE, content_type)
    }

    fn group(&self, name: &str) -> Answer {
        let Some(group) = self.site.group(name) else {
            return answer::no_such_page();
        };
        if form(self.accept(), Offer::PLAIN).is_none() {
            return answer::not_acceptable();
        }
        let document = self
            .site
            .document(format!("/apis/{name}"), || documents::group(group));
        Answer::new(StatusCode::OK).document(self.request, &document)
    }

    fn resources(&self, group: &str, version: &str) -> Answer {
        let Some((group, version)) = self.site.version(group, version) else {
            return answer::no_such_page();
        };
        if version.stale {
            return answer::dead_backend();
        }
        if let Some(refusal) = self.framework_refusal().filter(|_| group.builtin) {
            return refusal;
        }
        if form(self.accept(), Offer::PLAIN).is_none() {
            return answer::not_acceptable();
        }
        self.resource_list(group, version)
    }

    fn resource_list(&self, group: &Group, version: &Version) -> Answer {
        let document = self
            .site
            .document(format!("resources {}/{}", group.name, version.name), || {
                documents::resource_list(group, version, self.state.seed)
            });
        Answer::new(StatusCode::OK).document(self.request, &document)
    }

    /// The refusal of a real server's web framework, which answers for its built-in routes.
    pub(super) fn framework_refusal(&self) -> Option<Answer> {
        if self.request.method != Method::GET {
            return Some(answer::wrong_method());
        }
        let named = names_any(self.accept(), ALL_TYPES);
        (!named).then(|| answer::no_representation(ALL_TYPES))
    }

    fn openapi_v2(&self) -> Answer {
        let answer = Answer::new(StatusCode::OK)
            .line(VARY, "Accept-Encoding")
            .line(VARY, "Accept");
        let Some(protobuf) = openapi_form(self.accept(), "v2") else {
            return answer.with_status(StatusCode::NOT_ACCEPTABLE);
        };
        let document = self
            .site
            .document("openapi v2".to_owned(), || openapi::V2.to_owned());
        let answer = answer.value(ETAG, document.etag());
        if protobuf {
            let body = openapi::V2_PROTOBUF;
            self.file(
                answer.header(CONTENT_TYPE, OPENAPI_V2_PROTOBUF).sized(body),
                None,
            )
        } else {
            let body = document.body.clone();
            self.file(
                answer.header(CONTENT_TYPE, "application/json").sized(body),
                None,
            )
        }
    }

    fn openapi_index(&self) -> Answer {
        // Made anew for every request in a real server, hence last modified now.
        let body = openapi::index(self.site).body.clone();
        let answer = Answer::new(StatusCode::OK)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .sized(body);
        self.file(answer, Some(self.state.now()))
    }

    fn openapi_v3(&self, name: &str) -> Answer {
        let Some(document) = openapi::document(self.site, name) else {
            return Answer::new(StatusCode::NOT_FOUND);
        };
        let answer = Answer::new(StatusCode::OK).header(VARY, "Accept");
        let Some(protobuf) = openapi_form(self.accept(), "v3") else {
            return answer.with_status(StatusCode::NOT_ACCEPTABLE);
        };
        let mut answer = answer.value(ETAG, document.etag());
        match query(self.request, "hash").filter(|hash| !hash.is_empty()) {
            Some(hash) if hash == document.hash() => {
                // The zone is the server's own, so that this is no date of HTTP at all.
                let date = fmt_date(self.state.now() + YEAR).replace("GMT", "UTC");
                answer = answer.header(CACHE_CONTROL, "public, immutable");
                if let Ok(date) = HeaderValue::try_from(date) {
                    answer = answer.value(EXPIRES, date);
                }
            }
            Some(_) => {
                let base = &self.state.base;
                let right = format!("{base}/openapi/v3/{name}?hash={}", document.hash());
                let answer = answer.header(CONTENT_TYPE, "application/json");
                return match HeaderValue::try_from(right) {
                    Ok(right) => answer
                        .value(LOCATION, right)
                        .with_status(StatusCode::MOVED_PERMANENTLY),
                    Err(_) => Answer::new(StatusCode::NOT_FOUND),
                };
            }
            None => {}
        }
        let answer = if protobuf {
            answer
                .header(CONTENT_TYPE, OPENAPI_V3_PROTOBUF)
                .sized(openapi::V3_PROTOBUF)
        } else {
            answer
                .header(CONTENT_TYPE, "application/json")
                .sized(document.body.clone())
        };
        self.file(answer, None)
    }

    /// Finishes an answer as Go's file server does: conditions as RFC 9110 §13.2.2 has them, and a
    /// 304 without content headers. `modified` is when the site took its shape unless given.
    fn file(&self, answer: Answer, modified: Option<SystemTime>) -> Answer {
        let modified = modified.unwrap_or_else(|| self.state.shifted(self.site.modified));
        let unchanged = match header(self.request, &IF_NONE_MATCH) {
            Some(tags) => answer.get(&ETAG).is_some_and(|etag| names_tag(tags, etag)),
            None => header(self.request, &IF_MODIFIED_SINCE)
                .and_then(|date| httpdate::parse_http_date(date).ok())
                .is_some_and(|since| whole_seconds(modified) <= whole_seconds(since)),
        };
        if unchanged && reads(self.request) {
            let answer = answer.without(&CONTENT_TYPE).sized("");
            return answer.with_status(StatusCode::NOT_MODIFIED);
        }
        let answer = answer.header(ACCEPT_RANGES, "bytes");
        match HeaderValue::try_from(fmt_date(modified)) {
            Ok(date) => answer.value(LAST_MODIFIED, date),
            Err(_) => answer,
        }
    }
}

/// Whether protocol buffers (or else JSON) fit, or `None` for 406: the first entry that can be
/// had counts.
fn openapi_form(accept: Option<&str>, spec: &str) -> Option<bool> {
    let Some(accept) = accept.map(str::trim).filter(|accept| !accept.is_empty()) else {
        return Some(false);
    };
    accept.split(',').find_map(|clause| {
        let name = clause.split(';').next().unwrap_or_default().trim();
        if matches!(name, "application/json" | "application/*" | "*/*") {
            return Some(false);
        }
        // The older spelling with `@` is no valid media type, and is what clients send.
        let rest = name.strip_prefix("application/com.github.proto-openapi.spec.")?;
        let rest = rest.strip_prefix(spec)?;
        matches!(rest, "@v1.0+protobuf" | ".v1.0+protobuf").then_some(true)
    })
}

/// Weak comparison with a list of entity tags or `*` (RFC 9110 §13.1.2).
fn names_tag(tags: &str, etag: &HeaderValue) -> bool {
    tags.trim() == "*"
        || tags
            .split(',')
            .map(str::trim)
            .any(|tag| tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

fn whole_seconds(instant: SystemTime) -> u64 {
    instant
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
