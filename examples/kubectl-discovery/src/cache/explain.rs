//! `cache explain`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use discovery_client::request_defaults::go_duration;
use discovery_core::Endpoint;
use discovery_core::http::uri;
use http::header::{CACHE_CONTROL, ETAG, EXPIRES};
use http::{HeaderMap, Method, Uri};
use serde::Serialize;

use super::args::Explain;
use super::check::{damage, entry, read};
use super::files::{Found, GROUPS, RESOURCES, What, discovery_dir, http_dir};
use crate::errors::{Fatal, go_words};
use crate::printable::printable_json;
use crate::session::Session;
use crate::style;

/// kubectl's timeout, which is a part of the URL.
const TIMEOUT: Duration = Duration::from_secs(32);

/// A file that would be looked at, in the order in which that happens.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Look {
    cache: &'static str,
    file: String,
    exists: bool,
    hit: bool,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

pub(super) fn run(session: &Session, ttl: Duration, flags: &Explain) -> Result<(), Fatal> {
    let url = asked(session, &flags.target)?;
    let base = session.url.path().trim_end_matches('/');
    let endpoint = Endpoint::parse(url.path(), base).ok_or_else(|| {
        Fatal::new(format_args!(
            "no cache keeps {:?}: it is none of /api, /apis, /version and /openapi, and no group or version below",
            flags.target
        ))
    })?;
    let mut looks = Vec::new();
    if let Some((name, what)) = file_name(&endpoint)
        && let Ok(server) = uri::server_directory(&session.address)
    {
        let path = discovery_dir(&session.root).join(server).join(name);
        looks.push(discovery_look(&path, what, ttl));
    }
    let url = with_timeout(session, url);
    looks.extend(entry_path(&session.root, &url).map(|path| http_look(&path)));
    if flags.output.is_some() {
        let json = serde_json::to_string_pretty(&looks).map_err(Fatal::new)?;
        return crate::print(&format!("{}\n", printable_json(&json)));
    }
    let rows: Vec<_> = looks.into_iter().map(Look::into_row).collect();
    let header = ["CACHE", "RESULT", "WHY", "AGE", "BYTES", "FILE"];
    crate::print(&style::table(header, &rows))
}

/// The URL that is meant, which must be one of the server.
fn asked(session: &Session, target: &str) -> Result<Uri, Fatal> {
    let base = session.url.path().trim_end_matches('/');
    let is_path = target.starts_with('/');
    let whole = if is_path {
        format!("{base}{target}")
    } else {
        target.to_owned()
    };
    let url = uri::resolve(&session.url, &whole).filter(|_| is_path || target.contains("://"));
    let url = url.ok_or_else(|| {
        Fatal::new(format_args!(
            "{target:?} is neither a path, such as /apis, nor a URL"
        ))
    })?;
    if uri::same_origin(&session.url, &url) {
        return Ok(url);
    }
    Err(Fatal::new(format_args!(
        "{target:?} is not a URL of the server; --context or --server names another one"
    )))
}

fn with_timeout(session: &Session, url: Uri) -> Uri {
    let mut query = url.query().unwrap_or_default().split('&');
    if query.any(|pair| pair.starts_with("timeout=")) {
        return url;
    }
    let mark = if url.query().is_some() { '&' } else { '?' };
    let timeout = go_duration(session.timeout.unwrap_or(TIMEOUT));
    format!("{url}{mark}timeout={timeout}")
        .parse()
        .unwrap_or(url)
}

/// The file of an answer in the HTTP cache.
pub(super) fn entry_path(root: &Path, url: &Uri) -> Option<PathBuf> {
    let key = uri::cache_key(&Method::GET, url, None)?;
    Some(key_path(root, &key))
}

/// The file of a key.
pub(super) fn key_path(root: &Path, key: &str) -> PathBuf {
    http_dir(root).join(uri::file_name(key))
}

/// The discovery file that an answer is made of.
fn file_name(endpoint: &Endpoint) -> Option<(String, What)> {
    match endpoint {
        Endpoint::Api | Endpoint::Apis | Endpoint::Group(_) => Some((GROUPS.into(), What::Groups)),
        Endpoint::Resources(group_version) => Some((
            format!("{group_version}/{RESOURCES}"),
            What::Resources(group_version.to_string()),
        )),
        _ => None,
    }
}

fn discovery_look(path: &Path, what: What, ttl: Duration) -> Look {
    let is_groups = what == What::Groups;
    let found = match Found::at(path, what) {
        Ok(found) => found,
        Err(error) => return Look::absent("discovery", path, &error),
    };
    let age = found.age(SystemTime::now());
    let (hit, why) = if age > ttl {
        (false, format!("older than the TTL ({})", go_duration(ttl)))
    } else if let Some(why) = damage(&found) {
        (false, why)
    } else if is_groups {
        (
            true,
            "within the TTL; an aggregated answer needs the files of its resources, too".into(),
        )
    } else {
        (true, "within the TTL".into())
    };
    Look::new("discovery", &found, hit, why)
}

fn http_look(path: &Path) -> Look {
    let found = match Found::at(path, What::Entry) {
        Ok(found) => found,
        Err(error) => return Look::absent("http", path, &error),
    };
    let answer = read(&found)
        .map_err(|error| format!("can't be read: {}", go_words(&error)))
        .and_then(|bytes| entry(&bytes));
    match answer {
        Err(why) => Look::new("http", &found, false, why),
        Ok(None) => Look::new("http", &found, true, "tells of other entries".into()),
        Ok(Some(answer)) => Look::new("http", &found, true, freshness(answer.headers())),
    }
}

/// The freshness that the answer tells. The request decides as well.
fn freshness(headers: &HeaderMap) -> String {
    let text = |name| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let control = text(CACHE_CONTROL).unwrap_or_default();
    let has_lifetime = control.contains("max-age=") || headers.contains_key(EXPIRES);
    let asks = control.contains("no-cache") || control.contains("max-age=0") || !has_lifetime;
    match (asks, text(ETAG)) {
        (true, Some(etag)) => format!("the server is asked whether ETag {etag} is still right"),
        (true, None) => "has no ETag: the server is asked for it anew".into(),
        (false, _) => format!("fresh for as long as it says: {control}"),
    }
}

impl Look {
    fn new(cache: &'static str, found: &Found, hit: bool, why: String) -> Self {
        Self {
            cache,
            file: found.path.display().to_string(),
            exists: true,
            hit,
            why,
            age_seconds: Some(found.age(SystemTime::now()).as_secs()),
            bytes: Some(found.bytes),
        }
    }

    fn absent(cache: &'static str, path: &Path, error: &io::Error) -> Self {
        let exists = error.kind() != io::ErrorKind::NotFound;
        Self {
            cache,
            file: path.display().to_string(),
            exists,
            hit: false,
            why: if exists {
                go_words(error)
            } else {
                "not there".into()
            },
            age_seconds: None,
            bytes: None,
        }
    }

    fn into_row(self) -> [String; 6] {
        let age = |seconds| style::age(Duration::from_secs(seconds));
        [
            self.cache.into(),
            if self.hit { "hit" } else { "miss" }.into(),
            self.why,
            self.age_seconds.map(age).unwrap_or_default(),
            self.bytes
                .map(|bytes| bytes.to_string())
                .unwrap_or_default(),
            self.file,
        ]
    }
}
