//! Answers for group versions that have no resources, or whose server gives none.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

impl Negatives {
    pub(super) fn new(dir: PathBuf, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        let options = DiskStoreOptions::new()
            .checksum(true)
            .max_age(ttl)
            .max_values(MAX_ENTRIES)
            .clock(clock);
        Self {
            store: DiskStore::with_options(dir, options),
            ours: Mutex::default(),
            in_trouble: Mutex::default(),
        }
    }

    /// Adds what is known of a group version whose list is not known.
    pub(super) fn load(&self, group_version: &GroupVersion, snapshot: &mut Snapshot) {
        if self
            .ours()
            .as_ref()
            .is_some_and(|ours| !ours.contains(group_version))
        {
            return;
        }
        // They are small enough to be read in place.
        let Op::Ready(found) = self.store.get(group_version.as_str()) else {
            return;
        };
        let value = match found {
            Ok(Some(value)) => value,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%group_version, error = %why(&error), "negative entry not read");
                return;
            }
        };
        let Ok(answer) = dump::decode(&Method::GET, &value) else {
            tracing::debug!(%group_version, "a damaged negative entry is treated as missing");
            return;
        };
        tracing::debug!(%group_version, status = answer.status().as_u16(), decision = "negative");
        if answer.status() == StatusCode::OK {
            if let Ok(list) = Document::<ApiResourceList>::decode(answer.into_body()) {
                snapshot.insert(group_version, list);
            }
            return;
        }
        let (parts, body) = answer.into_parts();
        let refusal = NegativeAnswer {
            status: parts.status,
            content_type: parts.headers.get(CONTENT_TYPE).cloned(),
            body,
        };
        snapshot.refuse(group_version, refusal);
    }

    /// Keeps a list without resources.
    pub(super) fn save_empty(&self, group_version: &GroupVersion, json: &Bytes) -> Op<()> {
        let mut answer = Response::new(json.clone());
        let content_type = http::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
        self.save(group_version, &answer)
    }

    /// Keeps an error answer, unless it says something about the user, or when to ask again. The trouble of a server is
    /// kept when it has lasted for two requests: callers ask twice, as client-go does.
    pub(super) fn save_failure(
        &self,
        group_version: &GroupVersion,
        answer: &Response<Bytes>,
    ) -> Op<()> {
        let is_personal = matches!(
            answer.status(),
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        );
        let is_error = answer.status().is_client_error() || answer.status().is_server_error();
        if is_personal || !is_error {
            return Op::Ready(());
        }
        if answer.status().is_server_error() {
            let mut in_trouble = self
                .in_trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if in_trouble.insert(group_version.clone()) {
                return Op::Ready(());
            }
        }
        self.save(group_version, answer)
    }

    fn save(&self, group_version: &GroupVersion, answer: &Response<Bytes>) -> Op<()> {
        if answer.body().len() > MAX_BODY {
            return Op::Ready(());
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = answer.status();
        if let Some(content_type) = answer.headers().get(CONTENT_TYPE) {
            parts.headers.insert(CONTENT_TYPE, content_type.clone());
        }
        let body = answer.body().clone();
        let value: Value = dump::encode(&Method::GET, &parts, Framing::Length, body);
        if let Some(ours) = &mut *self.ours() {
            ours.insert(group_version.clone());
        }
        let (dir, group_version) = (self.store.dir().to_owned(), group_version.clone());
        let put = self.store.put(group_version.as_str(), value);
        put.map(move |put| {
            if let Err(error) = put {
                let dir = Shown(&dir);
                tracing::debug!(%dir, %group_version, error = %why(&error), "negative entry not written");
            }
        })
    }

    /// Forgets all that others have written, and all from before.
    pub(super) fn invalidate(&self) {
        *self.ours() = Some(HashSet::new());
    }

    fn ours(&self) -> MutexGuard<'_, Option<HashSet<GroupVersion>>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Negatives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negatives")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
