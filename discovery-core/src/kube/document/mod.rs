//! Discovery documents: what the API server says, and what kubectl keeps.
//!
//! - Legacy documents: [`ApiVersions`] (`/api`), [`ApiGroupList`] (`/apis`), [`ApiGroup`]
//!   (`/apis/<group>`) and [`ApiResourceList`] (`/api/v1`, `/apis/<group>/<version>`). kubectl's
//!   files are of these forms.
//! - Aggregated documents: [`ApiGroupDiscoveryList`], in the versions `v2` and `v2beta1`, for
//!   `/api` and `/apis`; one holds every group, version and resource. [`Aggregated`] is one, taken
//!   apart into legacy documents the way client-go does.
//!
//! Reading is lenient where Go's JSON is: missing and `null` fields are empty, unknown ones are
//! passed over, invalid UTF-8 is replaced; see also [`decode_lenient`]. Writing gives Go's bytes, see [`go_json`].

mod aggregated;
mod canonical;
mod compact;
mod convert;
pub mod go_json;
mod legacy;
mod lenient;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::Text;
use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::aggregated::{
    ApiGroupDiscovery, ApiGroupDiscoveryList, ApiResourceDiscovery, ApiSubresourceDiscovery,
    ApiVersionDiscovery, ListMeta, ObjectMeta, ResponseKind,
};
pub(crate) use self::compact::Verbs;
pub use self::convert::{Aggregated, aggregate};
pub(crate) use self::convert::{aggregate_in_order, preferred_first};
pub use self::legacy::{
    ApiGroup, ApiGroupList, ApiResource, ApiResourceList, ApiVersions, GroupVersionForDiscovery,
    ServerAddressByClientCidr,
};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A document type that names itself.
pub trait Kind: Serialize + DeserializeOwned {
    /// The document's `kind`.
    const KIND: &'static str;

    /// The field that tells the document from others, if it carries no `kind`.
    const FIELD: &'static str;

    /// The `kind` that it carries.
    fn kind(&self) -> &str;

    /// A faster way to read text that is exactly what [`go_json`] writes. It may give `None` at any
    /// time: then the text is parsed.
    fn read_canonical(text: &str) -> Option<Self> {
        _ = text;
        None
    }

    /// As [`read_canonical`](Self::read_canonical), for text that a server may write otherwise.
    fn read_as_sent(text: &str) -> Option<Self> {
        Self::read_canonical(text)
    }

    /// The line that [`go_json::to_line`] writes of it.
    fn to_line(&self) -> Vec<u8> {
        go_json::to_line(self)
    }
}

/// Why bytes are not the document that they should be.
///
/// ```
/// use discovery_core::kube::document::{ApiGroupList, decode};
///
/// let error = decode::<ApiGroupList>(br#"{"kind":"Status"}"#).unwrap_err();
/// assert_eq!(error.to_string(), r#"expected an APIGroupList, found kind "Status""#);
/// assert!(decode::<ApiGroupList>(b"").is_err());
/// ```
#[derive(Debug)]
pub struct DecodeError {
    kind: DecodeErrorKind,
}

#[derive(Debug)]
enum DecodeErrorKind {
    Json(serde_json::Error),
    Kind { expected: &'static str, found: Text },
    OtherForm,
}

/// Reads a document, which must be of the right kind and have nothing behind it.
///
/// ```
/// use discovery_core::kube::document::{ApiVersions, decode};
///
/// let document: ApiVersions = decode(br#"{"kind":"APIVersions","versions":["v1"]}"#)?;
/// assert_eq!(document.versions, ["v1"]);
/// # Ok::<(), discovery_core::kube::document::DecodeError>(())
/// ```
///
/// # Errors
///
/// When the bytes are not JSON of the right shape, or say that they are of another kind, or of
/// none. (kubectl takes a document without kind, and thereby an empty file, for a valid and empty
/// one.)
pub fn decode<T: Kind>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_text(&text_of(bytes))
}

/// Reads a document of a server as Go's decoder does, which takes more than [`decode`]: a field that is there twice, of
/// which the last counts; one whose name is in another case; `null` in lists, which is an empty value; half of a surrogate
/// pair, which becomes U+FFFD; and a document without kind that has the list by which it is known. A byte order mark is
/// passed over.
///
/// ```
/// use discovery_core::kube::document::{ApiVersions, decode, decode_lenient};
///
/// let odd = br#"{"Versions":["v1",null]}"#;
/// assert!(decode::<ApiVersions>(odd).is_err());
/// assert_eq!(decode_lenient::<ApiVersions>(odd)?.versions, ["v1", ""]);
/// # Ok::<(), discovery_core::kube::document::DecodeError>(())
/// ```
///
/// # Errors
///
/// As [`decode`], and then with the reason that it would give. Odd documents of more than 8 MiB are not read.
pub fn decode_lenient<T: Kind>(bytes: &[u8]) -> Result<T, DecodeError> {
    let text = text_of(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes));
    if let Some(document) = T::read_as_sent(&text) {
        return Ok(document);
    }
    match parse(&text) {
        Ok(document) if !lenient::has_other_case(&text) => Ok(document),
        strict => lenient::read(&text).map_or(strict, Ok),
    }
}

/// Reads a document from a file that kubectl or a layer of ours has written, in exactly the form that they write.
///
/// [`decode`] takes `{"kind":"APIGroupList","froups":[]}` for an empty list, as kubectl does: one wrong bit in the name of a
/// field makes a wrong answer. Here a document that is not what [`go_json`] writes of it is an error.
///
/// ```
/// use discovery_core::kube::document::{ApiGroupList, decode, decode_exact};
///
/// let json = br#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#;
/// assert!(decode_exact::<ApiGroupList>(json).is_ok());
/// let damaged = br#"{"kind":"APIGroupList","apiVersion":"v1","froups":[]}"#;
/// assert!(decode::<ApiGroupList>(damaged).is_ok());
/// let error = decode_exact::<ApiGroupList>(damaged).unwrap_err();
/// assert_eq!(error.to_string(), "not in the form that kubectl writes");
/// ```
///
/// # Errors
///
/// As [`decode`], and for every other form.
pub fn decode_exact<T: Kind>(bytes: &[u8]) -> Result<T, DecodeError> {
    let other = || DecodeError {
        kind: DecodeErrorKind::OtherForm,
    };
    let text = str::from_utf8(bytes).map_err(|_| other())?;
    if let Some(document) = T::read_canonical(text) {
        return Ok(document);
    }
    let document = parse::<T>(text)?;
    let line = document.to_line();
    // Without its line end it says the same.
    if line == text.as_bytes() || line.strip_suffix(b"\n") == Some(text.as_bytes()) {
        Ok(document)
    } else {
        Err(other())
    }
}

fn decode_text<T: Kind>(text: &str) -> Result<T, DecodeError> {
    T::read_as_sent(text).map_or_else(|| parse(text), Ok)
}

fn parse<T: Kind>(text: &str) -> Result<T, DecodeError> {
    let parsed = serde_json::from_str(text);
    let Object(document): Object<T> = parsed.map_err(|error| DecodeError {
        kind: DecodeErrorKind::Json(error),
    })?;
    if document.kind() == T::KIND {
        return Ok(document);
    }
    let found = document.kind().into();
    Err(DecodeError {
        kind: DecodeErrorKind::Kind {
            expected: T::KIND,
            found,
        },
    })
}

/// The bytes as text. Each byte that is not UTF-8 becomes U+FFFD, as in Go; Rust's own lossy
/// conversion makes one of several.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// A document together with its JSON, which is made when it is first asked for.
///
/// ```
/// use discovery_core::kube::document::{ApiVersions, Document};
///
/// let document = Document::new(ApiVersions { versions: vec!["v1".into()], ..Default::default() });
/// assert_eq!(document.versions, ["v1"]);
/// assert_eq!(document.json(), "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\
///     \"serverAddressByClientCIDRs\":null}\n");
/// ```
pub struct Document<T> {
    value: T,
    json: OnceLock<Bytes>,
    since: Option<SystemTime>,
    cache: Option<&'static str>,
}

impl<T: Kind> Document<T> {
    /// A document whose JSON is still to be made.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            value,
            json: OnceLock::new(),
            since: None,
            cache: None,
        }
    }

    /// Reads a document and keeps the bytes that it was read from.
    ///
    /// # Errors
    ///
    /// As [`decode`].
    pub fn decode(json: Bytes) -> Result<Self, DecodeError> {
        let value = decode(&json)?;
        Ok(Self {
            value,
            json: OnceLock::from(json),
            since: None,
            cache: None,
        })
    }

    /// Says that a server has sent it, or confirmed it, at that time.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use discovery_core::kube::document::{ApiVersions, Document};
    ///
    /// let now = SystemTime::now();
    /// let document = Document::new(ApiVersions::default()).from_server(now);
    /// assert_eq!((document.since(), document.cache()), (Some(now), None));
    /// ```
    #[must_use]
    pub fn from_server(self, since: SystemTime) -> Self {
        Self {
            since: Some(since),
            cache: None,
            ..self
        }
    }

    /// Says that a cache of that [name](crate::engine::Cache::name) has kept it since a server sent it.
    #[must_use]
    pub fn from_cache(self, cache: &'static str, since: SystemTime) -> Self {
        Self {
            since: Some(since),
            cache: Some(cache),
            ..self
        }
    }

    /// As [`decode`](Self::decode), of a file: see [`decode_exact`].
    ///
    /// # Errors
    ///
    /// As [`decode_exact`].
    pub fn decode_exact(json: Bytes) -> Result<Self, DecodeError> {
        let value = decode_exact(&json)?;
        Ok(Self {
            value,
            json: OnceLock::from(json),
            since: None,
            cache: None,
        })
    }

    /// Its JSON, one line with the newline that ends it; or the bytes it was read from.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| self.value.to_line().into())
    }

    /// When a server has sent or confirmed it, if that is known: its age is the time since then.
    pub const fn since(&self) -> Option<SystemTime> {
        self.since
    }

    /// The cache outside of this process's memory that it was read from; `None` if it came from a server.
    pub const fn cache(&self) -> Option<&'static str> {
        self.cache
    }

    /// The document alone.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }
}

/// `null` counts as absent, as in Go.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A struct that is an object in JSON. serde would take a list of the fields' values, too.
struct Object<T>(T);

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// As [`nullable`], for an object.
fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    optional_object(deserializer).map(Option::unwrap_or_default)
}

/// An object, or none.
fn optional_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let found = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(found.map(|Object(found)| found))
}

/// As [`nullable`], for a list of objects.
fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    optional_objects(deserializer).map(Option::unwrap_or_default)
}

/// A list of objects, or none.
fn optional_objects<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let found = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(found.map(|found| found.into_iter().map(|Object(found)| found).collect()))
}

impl<T> std::ops::Deref for Document<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Kind> From<T> for Document<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Document<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DecodeErrorKind::Json(_) => f.write_str("malformed JSON"),
            DecodeErrorKind::OtherForm => f.write_str("not in the form that kubectl writes"),
            DecodeErrorKind::Kind { expected, found } => {
                write!(f, "expected an {expected}, found kind {found:?}")
            }
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            DecodeErrorKind::Json(error) => Some(error),
            DecodeErrorKind::Kind { .. } | DecodeErrorKind::OtherForm => None,
        }
    }
}
