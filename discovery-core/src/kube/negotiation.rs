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
/// assert_eq!(Format::from_headers(&headers), Format::V2);
/// assert_eq!(Format::from_headers(&HeaderMap::new()), Format::Legacy);
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    legacy: bool,
    v2beta1: bool,
    v2: bool,
}

impl Format {
    /// The form that the `Content-Type` of a response tells: aggregated only where it says so
    /// without contradiction. Names are compared without regard to case, in any order.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        content_type.map_or(Self::Legacy, Self::of_media_type)
    }

    fn of_media_type(media_type: &str) -> Self {
        let mut parts = media_type.split(';').map(str::trim);
        if !parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("application/json"))
        {
            return Self::Legacy;
        }
        let (mut group, mut version, mut kind) = (None, None, None);
        for parameter in parts {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            let slot = match name.trim().to_ascii_lowercase().as_str() {
                "g" => &mut group,
                "v" => &mut version,
                "as" => &mut kind,
                _ => continue,
            };
            // Go's parser refuses a media type that gives a parameter two values.
            let value = value.trim().trim_matches('"');
            if slot.replace(value).is_some_and(|before| before != value) {
                return Self::Legacy;
            }
        }
        match (group, version, kind) {
            (Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")) => Self::V2,
            (Some("apidiscovery.k8s.io"), Some("v2beta1"), Some("APIGroupDiscoveryList")) => {
                Self::V2Beta1
            }
            _ => Self::Legacy,
        }
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
    /// What kubectl 1.37 sends for `/api` and `/apis`.
    pub const KUBECTL: &str = "application/json;g=apidiscovery.k8s.io;v=v2;\
         as=APIGroupDiscoveryList,application/json";

    /// The same with the form of Kubernetes 1.26 to 1.29 as well; later servers pass it over.
    pub const WITH_V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2;\
         as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;\
         as=APIGroupDiscoveryList,application/json";

    /// What kubectl sends for a single legacy document.
    pub const LEGACY: &str = "application/json, */*";

    /// What a request accepts. No `Accept` means legacy.
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
            })
    }

    /// What one `Accept` line allows. An empty one means legacy, as no `Accept` does.
    #[must_use]
    pub fn parse(value: &http::HeaderValue) -> Self {
        let mut accept = Self::default();
        for media_type in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            match Format::of_media_type(media_type) {
                Format::V2 => accept.v2 = true,
                Format::V2Beta1 => accept.v2beta1 = true,
                Format::Legacy => accept.legacy |= is_plain(media_type) || value.is_empty(),
            }
        }
        accept
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

/// Whether plain JSON will do. Parameters that ask for some other representation exclude it.
fn is_plain(media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let special = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default().trim();
        ["g", "v", "as"]
            .iter()
            .any(|special| name.eq_ignore_ascii_case(special))
    };
    matches!(name.as_str(), "application/json" | "application/*" | "*/*") && !parts.any(special)
}
