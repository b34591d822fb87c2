//! The forms of discovery answers: what a request accepts, and what a response is.
//!
//! kube-apiserver looks at neither quality values nor order in `Accept` (seen on 1.36), so neither
//! do the caches: of the forms that a request names, the most recent one is the best answer.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// The form of an answer for `/api` or `/apis`.
///
/// ```
/// use discovery_core::Format;
/// use http::{HeaderMap, header::CONTENT_TYPE};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(CONTENT_TYPE, Format::V2.content_type().parse()?);
/// assert_eq!(Format::from_headers(&headers), Some(Format::V2));
/// assert_eq!(Format::from_headers(&HeaderMap::new()), Some(Format::Legacy));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Groups and versions only, as plain JSON.
    Legacy,
    /// Aggregated, `apidiscovery.k8s.io/v2beta1`.
    V2Beta1,
    /// Aggregated, `apidiscovery.k8s.io/v2`.
    V2,
}

/// The forms that a request accepts.
///
/// ```
/// use discovery_core::{Accept, Format};
///
/// let plain = Accept::parse(&"application/json".parse()?);
/// assert!(plain.allows(Format::Legacy) && !plain.allows(Format::V2));
/// assert!(Accept::parse(&Accept::KUBECTL.parse()?).allows(Format::V2));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accept {
    legacy: bool,
    v2beta1: bool,
    v2: bool,
    more: bool,
}

/// A media type as the API server reads it.
#[derive(Debug, Default)]
struct MediaType {
    /// In lower case, without parameters.
    name: String,
    /// The format that the parameters `g`, `v` and `as` name; `None` if that is none of discovery.
    format: Option<Format>,
    /// Whether there is a parameter that may change the meaning: none of those three, no quality value, and
    /// no UTF-8.
    has_more: bool,
    has_profile: bool,
}

impl MediaType {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut media_type = Self {
            name,
            ..Self::default()
        };
        let (mut group, mut version, mut kind) = (None, None, None);
        let mut contradicts = false;
        for parameter in parts.filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            let slot = match name.trim().to_ascii_lowercase().as_str() {
                "g" => &mut group,
                "v" => &mut version,
                "as" => &mut kind,
                "q" => continue,
                "charset" if value.eq_ignore_ascii_case("utf-8") => continue,
                other => {
                    media_type.has_more = true;
                    media_type.has_profile |= other == "profile";
                    continue;
                }
            };
            // Go's parser refuses a media type that gives a parameter two values.
            contradicts |= slot.replace(value).is_some_and(|before| before != value);
        }
        media_type.format = match (group, version, kind) {
            _ if contradicts => None,
            (None, None, None) => Some(Format::Legacy),
            (Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")) => {
                Some(Format::V2)
            }
            (Some("apidiscovery.k8s.io"), Some("v2beta1"), Some("APIGroupDiscoveryList")) => {
                Some(Format::V2Beta1)
            }
            _ => None,
        };
        media_type
    }
}

impl Format {
    /// The format that the `Content-Type` of a response names: aggregated only where it says so without
    /// contradiction, and legacy otherwise, as in client-go. `None` for a representation with another meaning,
    /// such as that of `profile=nopeer`. Names are compared without regard to case, in any order.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = MediaType::parse(content_type);
        if media_type.name != "application/json" {
            return Some(Self::Legacy);
        }
        match media_type.format {
            _ if media_type.has_profile => None,
            Some(Self::Legacy) | None => Some(Self::Legacy),
            Some(_) if media_type.has_more => None,
            format => format,
        }
    }

    /// As [`from_headers`](Self::from_headers), for the answer to a request without the groups of peers, whose
    /// representation may say so.
    #[cfg(feature = "discovery")]
    pub(crate) fn without_peers(headers: &HeaderMap) -> Option<Self> {
        let mut plain = headers.clone();
        if let Some(content_type) = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
        {
            let parameters = content_type.split(';').map(str::trim);
            let rest: Vec<_> = parameters
                .filter(|parameter| !parameter.eq_ignore_ascii_case("profile=nopeer"))
                .collect();
            plain.insert(CONTENT_TYPE, rest.join(";").parse().ok()?);
        }
        Self::from_headers(&plain)
    }

    /// The `Content-Type` of an answer in this form.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Legacy => "application/json",
            Self::V2Beta1 => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        }
    }

    /// The `apiVersion` of an aggregated document.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Legacy => "v1",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
            Self::V2 => "apidiscovery.k8s.io/v2",
        }
    }

    /// Whether one document holds everything.
    #[must_use]
    pub const fn is_aggregated(self) -> bool {
        !matches!(self, Self::Legacy)
    }
}

impl Accept {
    /// The `Accept` of kubectl 1.37 for `/api` and `/apis`.
    pub const KUBECTL: &str = "application/json;g=apidiscovery.k8s.io;v=v2;\
         as=APIGroupDiscoveryList,application/json";

    /// The same with the form of Kubernetes 1.26 to 1.29 as well; later servers pass it over.
    pub const WITH_V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2;\
         as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;\
         as=APIGroupDiscoveryList,application/json";

    /// The `Accept` of client-go for the groups without those of the API server's peers.
    pub const NO_PEER: &str = "application/json;g=apidiscovery.k8s.io;v=v2;\
         as=APIGroupDiscoveryList;profile=nopeer,application/json;profile=nopeer";

    /// The `Accept` of kubectl for a single legacy document.
    pub const LEGACY: &str = "application/json, */*";

    /// The formats that a request accepts. A request without `Accept` accepts the legacy one.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Self {
                legacy: true,
                ..Self::default()
            };
        }
        values
            .map(Self::parse)
            .fold(Self::default(), |all, one| Self {
                legacy: all.legacy || one.legacy,
                v2beta1: all.v2beta1 || one.v2beta1,
                v2: all.v2 || one.v2,
                more: all.more || one.more,
            })
    }

    /// The formats that one `Accept` line allows. An empty line means legacy, as no `Accept` does.
    #[must_use]
    pub fn parse(value: &http::HeaderValue) -> Self {
        let mut accept = Self::default();
        for text in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            let media_type = MediaType::parse(text);
            let is_json = media_type.name == "application/json";
            let includes_json =
                is_json || matches!(media_type.name.as_str(), "application/*" | "*/*");
            match media_type.format {
                _ if media_type.has_more => accept.more |= includes_json,
                Some(Format::V2) => accept.v2 |= is_json,
                Some(Format::V2Beta1) => accept.v2beta1 |= is_json,
                Some(Format::Legacy) => accept.legacy |= includes_json || value.is_empty(),
                None => {}
            }
        }
        accept
    }

    /// Whether the request would take a representation that is none of the [formats](Format): JSON with a
    /// parameter that changes its meaning, such as `profile=nopeer`, with which an API server leaves out the
    /// groups of its peers. A cache must not answer it, because the server may prefer that representation.
    #[must_use]
    pub const fn asks_for_more(self) -> bool {
        self.more
    }

    /// Whether an answer in that form will do.
    #[must_use]
    pub const fn allows(self, format: Format) -> bool {
        match format {
            Format::Legacy => self.legacy,
            Format::V2Beta1 => self.v2beta1,
            Format::V2 => self.v2,
        }
    }

    /// Whether an aggregated answer will do.
    #[must_use]
    pub const fn allows_aggregated(self) -> bool {
        self.v2 || self.v2beta1
    }

    /// The best aggregated form that will do.
    #[must_use]
    pub const fn aggregated(self) -> Option<Format> {
        match self {
            Self { v2: true, .. } => Some(Format::V2),
            Self { v2beta1: true, .. } => Some(Format::V2Beta1),
            Self { .. } => None,
        }
    }
}
