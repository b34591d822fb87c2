//! Answers for group versions that have no resources, or whose server gives none.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::http::dump::{self, Framing};
use discovery_core::kube::document::{ApiResourceList, Document};
use discovery_core::store::{Op, Store, Value};
use discovery_core::sync::clock::Clock;
use discovery_core::{GroupVersion, NegativeAnswer, Snapshot};
use http::header::CONTENT_TYPE;
use http::{Method, Response, StatusCode};

use crate::DiskStore;
use crate::store::DiskStoreOptions;
use crate::store::error::{Shown, why};

/// The largest answer that is kept, in bytes.
const MAX_BODY: usize = 64 << 10;

/// How many answers of a server are kept.
const MAX_ENTRIES: u64 = 4096;

/// The answers of one server, in a store that kubectl does not know.
pub(super) struct Negatives {
    store: DiskStore,
    /// Those that count after an invalidation; `None` before the first.
    ours: Mutex<Option<HashSet<GroupVersion>>>,
    /// Those whose last answer may have been another a moment later.
    in_trouble: Mutex<HashSet<GroupVersion>>,
}

/// One of them.
pub(super) struct Negative {
    answer: Response<Bytes>,
    since: Option<SystemTime>,
}

impl Negatives {
    pub(super) fn new(
        dir: PathBuf,
        ttl: Duration,
        clock: Arc<dyn Clock>,
        trust_any_owner: bool,
    ) -> Self {
        let options = DiskStoreOptions::new()
            .checksum(true)
            .max_age(ttl)
            .max_values(MAX_ENTRIES)
            .trust_any_owner(trust_any_owner)
            .clock(clock);
        Self {
            store: DiskStore::with_options(dir, options),
            ours: Mutex::default(),
            in_trouble: Mutex::default(),
        }
    }

    /// The answer for a group version.
    pub(super) fn get(&self, group_version: &GroupVersion) -> Option<Negative> {
        if self
            .ours()
            .as_ref()
            .is_some_and(|ours| !ours.contains(group_version))
        {
            return None;
        }
        // They are small enough to be read in place.
        let Op::Ready(found) = self.store.get(group_version.as_str()) else {
            return None;
        };
        let value = found
            .inspect_err(|error| {
                tracing::debug!(%group_version, error = %why(error), "negative entry not read");
            })
            .ok()??;
        match dump::decode(&Method::GET, &value) {
            Ok(answer) => Some(Negative {
                answer,
                since: value.stored_at,
            }),
            Err(_) => {
                tracing::debug!(%group_version, "a damaged negative entry is treated as missing");
                None
            }
        }
    }

    /// Keeps a list without resources, which was [claimed](Self::claim).
    pub(super) fn save_empty(&self, group_version: &GroupVersion, json: &Bytes) {
        let mut answer = Response::new(json.clone());
        let content_type = http::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
        self.save(group_version, &answer);
    }

    /// Whether an error answer is kept: unless it says something about the user, or when to ask again. The trouble of a
    /// server is kept when it has lasted for two requests: callers ask twice, as client-go does.
    pub(super) fn keeps(&self, group_version: &GroupVersion, status: StatusCode) -> bool {
        let is_personal = matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        );
        if status.is_server_error() {
            return !self.in_trouble().insert(group_version.clone());
        }
        status.is_client_error() && !is_personal
    }

    /// Notes that the server has these lists: the next trouble with them is new.
    pub(super) fn note_lists<'a>(&self, group_versions: impl Iterator<Item = &'a GroupVersion>) {
        let mut in_trouble = self.in_trouble();
        if !in_trouble.is_empty() {
            for group_version in group_versions {
                in_trouble.remove(group_version);
            }
        }
    }

    /// Says that the entry of a group version will be of this process.
    pub(super) fn claim(&self, group_version: &GroupVersion) {
        if let Some(ours) = &mut *self.ours() {
            ours.insert(group_version.clone());
        }
    }

    /// Keeps an answer, which was [claimed](Self::claim).
    pub(super) fn save(&self, group_version: &GroupVersion, answer: &Response<Bytes>) {
        if answer.body().len() > MAX_BODY {
            return;
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = answer.status();
        if let Some(content_type) = answer.headers().get(CONTENT_TYPE) {
            parts.headers.insert(CONTENT_TYPE, content_type.clone());
        }
        let body = answer.body().clone();
        let value: Value = dump::encode(&Method::GET, &parts, Framing::Length, body);
        // They are small enough to be written in place.
        if let Op::Ready(Err(error)) = self.store.put(group_version.as_str(), value) {
            let dir = Shown(self.store.dir());
            tracing::debug!(%dir, %group_version, error = %why(&error), "negative entry not written");
        }
    }

    /// Forgets all that others have written, and all from before.
    pub(super) fn invalidate(&self) {
        *self.ours() = Some(HashSet::new());
    }

    fn in_trouble(&self) -> MutexGuard<'_, HashSet<GroupVersion>> {
        self.in_trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn ours(&self) -> MutexGuard<'_, Option<HashSet<GroupVersion>>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Negative {
    /// Whether the server said nothing about the list.
    pub(super) fn is_trouble(&self) -> bool {
        self.answer.status().is_server_error()
    }

    /// Whether it came before `time`.
    pub(super) fn is_before(&self, time: SystemTime) -> bool {
        self.since.is_none_or(|since| since < time)
    }

    /// Adds the answer to what is known.
    pub(super) fn add_to(self, snapshot: &mut Snapshot, group_version: &GroupVersion) {
        let (parts, body) = self.answer.into_parts();
        tracing::debug!(%group_version, status = parts.status.as_u16(), decision = "negative");
        if parts.status == StatusCode::OK {
            if let Ok(list) = Document::<ApiResourceList>::decode(body) {
                snapshot.insert(group_version, list);
            }
            return;
        }
        let refusal = NegativeAnswer {
            status: parts.status,
            content_type: parts.headers.get(CONTENT_TYPE).cloned(),
            body,
        };
        snapshot.refuse(group_version, refusal);
    }
}

impl fmt::Debug for Negatives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negatives")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
