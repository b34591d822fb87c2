//! An answer before it is sent, and the standard refusals of a real server, word for word.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    fault::{Canned, status_object},
    json,
    site::Document,
};

/// Go's server knows the length of what its handler wrote before this buffer ran over, and says
/// `Content-Length` then.
const HTTP1_BUFFER: usize = 2048;
const HTTP2_BUFFER: usize = 4096;

/// The media types that the routes of a real server offer.
pub(super) const ALL_TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

const ACCEPTED: &str = "only the following media types are accepted: application/json, \
                        application/yaml, application/vnd.kubernetes.protobuf";

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) payload: Payload,
    /// The place of the request in the server's flow control, unless it was refused before.
    pub(super) flow: Option<&'static Flow>,
}

/// A place in the flow control of a server: the UIDs that the answer names.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) schema: &'static str,
    pub(super) priority_level: &'static str,
}

/// Of somebody with a token.
static ADMINISTRATOR: Flow = Flow {
    schema: "9da2fd6b-b7d5-4857-831c-38538f34dd89",
    priority_level: "0c1c5fe8-c772-4279-b761-822996e564e2",
};

/// Of somebody without.
static ANONYMOUS: Flow = Flow {
    schema: "a64f35dd-25bc-4166-b7d8-d3ec74cdd86d",
    priority_level: "99153050-c6a9-4ec8-8c48-50a455404480",
};

#[derive(Debug)]
pub(super) enum Payload {
    /// With `Content-Length`.
    Sized(Bytes),
    /// Of a length that the head does not tell.
    Unsized(Bytes),
    /// These bytes, and then an open stream.
    Open(Bytes),
    /// Bytes as they come.
    Watch(UnboundedReceiver<Bytes>),
}

impl Answer {
    pub(super) fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            payload: Payload::Sized(Bytes::new()),
            flow: Some(&ADMINISTRATOR),
        }
        .header(CACHE_CONTROL, "no-cache, private")
    }

    /// A ready-made answer. How the body is framed is not for it to say.
    pub(super) fn canned(canned: &Canned) -> Self {
        let headers = canned.headers.iter();
        let headers =
            headers.filter(|(name, _)| ![CONTENT_LENGTH, TRANSFER_ENCODING].contains(name));
        Self {
            headers: headers
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            ..Self::new(canned.status).sized(canned.body.clone())
        }
    }

    /// Replaces a header.
    pub(super) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    pub(super) fn value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }

    pub(super) fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers
            .iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    pub(super) fn without(mut self, name: &HeaderName) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Adds a line of a header that may have several.
    pub(super) fn line(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn open(mut self, start: impl Into<Bytes>) -> Self {
        self.payload = Payload::Open(start.into());
        self
    }

    pub(super) fn watch(mut self, events: UnboundedReceiver<Bytes>) -> Self {
        self.payload = Payload::Watch(events);
        self
    }

    pub(super) fn sized(mut self, body: impl Into<Bytes>) -> Self {
        self.payload = Payload::Sized(body.into());
        self
    }

    /// With a length if Go would know it.
    pub(super) fn written(mut self, body: impl Into<Bytes>, version: Version) -> Self {
        let body = body.into();
        let buffer = if version == Version::HTTP_2 {
            HTTP2_BUFFER
        } else {
            HTTP1_BUFFER
        };
        self.payload = if body.len() > buffer {
            Payload::Unsized(body)
        } else {
            Payload::Sized(body)
        };
        self
    }

    /// The headers sorted by name, as Go sends them.
    pub(super) fn take_headers(&mut self) -> HeaderMap {
        let mut lines = std::mem::take(&mut self.headers);
        lines.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        let mut headers = HeaderMap::with_capacity(lines.len() + 3);
        for (name, value) in lines {
            headers.append(name, value);
        }
        headers
    }

    /// A discovery document or an object: pretty for people, compressed if that is worth it.
    pub(super) fn document(self, request: &Parts, document: &Arc<Document>) -> Self {
        let answer = self.header(CONTENT_TYPE, "application/json");
        let document = if for_people(request) {
            document.pretty()
        } else {
            document
        };
        match document.gzip().filter(|_| takes_gzip(request)) {
            Some(compressed) => Self {
                payload: Payload::Unsized(compressed),
                ..answer
                    .header(CONTENT_ENCODING, "gzip")
                    .line(VARY, "Accept-Encoding")
            },
            None => answer.written(document.body.clone(), request.version),
        }
    }
}

/// 401 for a token that is not the server's. Authentication comes before flow control.
pub(super) fn unauthorized() -> Answer {
    let body = status_object(
        StatusCode::UNAUTHORIZED,
        "Unauthorized",
        "Unauthorized",
        None,
    );
    Answer {
        flow: None,
        ..status(StatusCode::UNAUTHORIZED, body)
    }
}

/// 403 for a request without a token.
pub(super) fn anonymous(request: &Parts, path: &str) -> Answer {
    let verb = request.method.as_str().to_ascii_lowercase();
    let message = format!("forbidden: User \"system:anonymous\" cannot {verb} path \"{path}\"");
    let body = status_object(StatusCode::FORBIDDEN, "Forbidden", &message, Some("{}"));
    Answer {
        flow: Some(&ANONYMOUS),
        ..status(StatusCode::FORBIDDEN, body).header(X_CONTENT_TYPE_OPTIONS, "nosniff")
    }
}

/// 404 for a path that nothing serves.
pub(super) fn no_such_page() -> Answer {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// 404 for an object that is not there.
pub(super) fn no_such_object(resource: &str, group: &str, name: &str) -> Answer {
    let qualified = if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    };
    let mut details = String::from("{");
    json::field(&mut details, "name", name);
    details.push(',');
    if !group.is_empty() {
        json::field(&mut details, "group", group);
        details.push(',');
    }
    json::field(&mut details, "kind", resource);
    details.push('}');
    let message = format!("{qualified} \"{name}\" not found");
    status(
        StatusCode::NOT_FOUND,
        status_object(StatusCode::NOT_FOUND, "NotFound", &message, Some(&details)),
    )
}

/// 503 for a version whose backend is gone.
pub(super) fn dead_backend() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n")
}

/// 405 of the routes that know their methods.
pub(super) fn wrong_method() -> Answer {
    let code = StatusCode::METHOD_NOT_ALLOWED;
    let message = "the server does not allow this method on the requested resource";
    status(
        code,
        status_object(code, "MethodNotAllowed", message, Some("{}")),
    )
}

/// 406 of the routes that compare media types as they stand.
pub(super) fn no_representation(types: &[&str]) -> Answer {
    let message = format!(
        "406: Not Acceptable\n\nAvailable representations: {}",
        types.join(", ")
    );
    pretty_status(
        StatusCode::NOT_ACCEPTABLE,
        "NotAcceptable",
        &message,
        Some("{}"),
    )
}

/// 406 of the negotiation proper.
pub(super) fn not_acceptable() -> Answer {
    pretty_status(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", ACCEPTED, None)
}

pub(super) fn text(code: StatusCode, text: &'static str) -> Answer {
    Answer::new(code)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .sized(text)
}

fn pretty_status(code: StatusCode, reason: &str, message: &str, details: Option<&str>) -> Answer {
    status(
        code,
        json::indent(&status_object(code, reason, message, details)),
    )
}

fn status(code: StatusCode, body: String) -> Answer {
    Answer::new(code)
        .header(CONTENT_TYPE, "application/json")
        .sized(body)
}

/// The first line of a request header, as text: a Go server looks at no other.
pub(super) fn header<'r>(request: &'r Parts, name: &HeaderName) -> Option<&'r str> {
    request.headers.get(name)?.to_str().ok()
}

/// Whether the request reads or merely looks.
pub(super) fn reads(request: &Parts) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
}

/// The value of a query parameter, undecoded: none that matters here has escapes.
pub(super) fn query<'r>(request: &'r Parts, name: &str) -> Option<&'r str> {
    let pairs = request.uri.query()?.split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Real servers look for the bare word: one with a quality value is not it, whatever the value.
fn takes_gzip(request: &Parts) -> bool {
    header(request, &http::header::ACCEPT_ENCODING)
        .is_some_and(|list| list.split(',').any(|coding| coding.trim() == "gzip"))
}

/// Real servers indent for browsers and for curl, and on request.
fn for_people(request: &Parts) -> bool {
    match query(request, "pretty") {
        Some(value) => matches!(value, "1" | "true"),
        None => header(request, &http::header::USER_AGENT).is_some_and(|agent| {
            ["curl", "Wget", "Mozilla/5.0"]
                .iter()
                .any(|people| agent.starts_with(people))
        }),
    }
}
