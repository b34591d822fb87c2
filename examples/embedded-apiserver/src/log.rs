//! The log of the server's requests, and the counters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use tokio::sync::watch;

/// After so many entries only the counters go on; a benchmark would fill the memory otherwise.
const LOG_LIMIT: usize = 20_000;

/// One request that the server got.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The method.
    pub method: Method,
    /// The path, with the base path and without the query.
    pub path: String,
    /// The path and the query.
    pub target: String,
    /// The protocol spoken.
    pub version: Version,
    /// The request's headers without `Authorization`.
    pub headers: HeaderMap,
    /// Whether there was an `Authorization` header.
    pub authorization: bool,
    /// Whether the client has shown a certificate by the server's authority.
    pub certificate: bool,
    /// The number of the connection that it came over, counted from 1.
    pub connection: u64,
    /// The status answered; `None` while there is no answer, and for a connection that was cut.
    pub status: Option<StatusCode>,
    /// The bytes of body that went out, as encoded.
    pub body_bytes: u64,
    /// When the request arrived.
    pub started: Instant,
    /// When the last byte of the answer was handed over, or the client went away.
    pub ended: Option<Instant>,
}

/// In the extensions of requests whose client has shown a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certified;

impl Entry {
    /// A request header as text, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `Accept` header.
    #[must_use]
    pub fn accept(&self) -> Option<&str> {
        self.header("accept")
    }

    /// The `If-None-Match` header.
    #[must_use]
    pub fn if_none_match(&self) -> Option<&str> {
        self.header("if-none-match")
    }

    /// The `User-Agent` header.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.header("user-agent")
    }

    /// Whether both requests were under way at some moment.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let starts_before_end = |a: &Self, b: &Self| b.ended.is_none_or(|ended| a.started < ended);
        starts_before_end(self, other) && starts_before_end(other, self)
    }
}

/// Counts the requests since the server started, or since the log was cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All requests, answered or not.
    pub total: u64,
    /// Requests by path (without the query).
    pub by_path: BTreeMap<String, u64>,
    /// Answers with 304.
    pub not_modified: u64,
    /// Bytes of bodies sent.
    pub body_bytes: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Requests under way now.
    pub in_flight: usize,
    /// The most requests that were under way at once.
    pub max_in_flight: usize,
}

impl Counters {
    /// The number of requests for `path`.
    #[must_use]
    pub fn path(&self, path: &str) -> u64 {
        self.by_path.get(path).copied().unwrap_or_default()
    }
}

#[derive(Debug)]
pub(super) struct Log {
    inner: Mutex<Inner>,
    /// Rings at every change, for those who wait for a count.
    bell: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    counters: Counters,
    /// Rises when the log is cleared, so that the end of an older request changes nothing.
    epoch: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            bell: watch::Sender::new(()),
        }
    }

    pub(super) fn connected(&self) -> u64 {
        let mut inner = self.lock();
        inner.counters.connections += 1;
        let number = inner.counters.connections;
        drop(inner);
        self.ring();
        number
    }

    pub(super) fn arrived<B>(self: &Arc<Self>, request: &Request<B>, connection: u64) -> Ticket {
        let path = request.uri().path();
        let mut headers = request.headers().clone();
        let authorization = headers.remove(header::AUTHORIZATION).is_some();
        let entry = Entry {
            method: request.method().clone(),
            path: path.to_owned(),
            target: request
                .uri()
                .path_and_query()
                .map_or("", |target| target.as_str())
                .to_owned(),
            version: request.version(),
            headers,
            authorization,
            certificate: request.extensions().get::<Certified>().is_some(),
            connection,
            status: None,
            body_bytes: 0,
            started: Instant::now(),
            ended: None,
        };

        let mut inner = self.lock();
        let counters = &mut inner.counters;
        counters.total += 1;
        *counters.by_path.entry(path.to_owned()).or_default() += 1;
        counters.in_flight += 1;
        counters.max_in_flight = counters.max_in_flight.max(counters.in_flight);
        let index = inner.entries.len();
        if index < LOG_LIMIT {
            inner.entries.push(entry);
        }
        let ticket = Ticket {
            log: Arc::clone(self),
            index,
            epoch: inner.epoch,
            finished: false,
        };
        drop(inner);
        self.ring();
        ticket
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    pub(super) fn counters(&self) -> Counters {
        self.lock().counters.clone()
    }

    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        let (in_flight, connections) = (inner.counters.in_flight, inner.counters.connections);
        inner.counters = Counters {
            in_flight,
            max_in_flight: in_flight,
            connections,
            ..Counters::default()
        };
        inner.entries.clear();
        inner.epoch += 1;
        drop(inner);
        self.ring();
    }

    pub(super) async fn until(&self, mut enough: impl FnMut(&Counters) -> bool) {
        let mut bell = self.bell.subscribe();
        // Of a copy, because `enough` may look at the log itself.
        while !enough(&self.counters()) {
            // The sender lives in `self`.
            if bell.changed().await.is_err() {
                return;
            }
        }
    }

    fn ring(&self) {
        self.bell.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request under way. Everything is counted before the client can know it; the entry is closed
/// by [`finish`](Self::finish), or when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    log: Arc<Log>,
    index: usize,
    epoch: u64,
    finished: bool,
}

impl Ticket {
    pub(super) fn answered(&self, status: StatusCode) {
        self.record(|counters, entry| {
            counters.not_modified += u64::from(status == StatusCode::NOT_MODIFIED);
            if let Some(entry) = entry {
                entry.status = Some(status);
            }
        });
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.record(|counters, entry| {
            counters.body_bytes += bytes as u64;
            if let Some(entry) = entry {
                entry.body_bytes += bytes as u64;
            }
        });
    }

    pub(super) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.record(|_, entry| {
            if let Some(entry) = entry {
                entry.ended = Some(Instant::now());
            }
        });
        let mut inner = self.log.lock();
        inner.counters.in_flight = inner.counters.in_flight.saturating_sub(1);
        drop(inner);
        self.log.ring();
    }

    /// Changes what the log says, unless it was cleared since.
    fn record(&self, change: impl FnOnce(&mut Counters, Option<&mut Entry>)) {
        let mut inner = self.log.lock();
        if inner.epoch == self.epoch {
            let Inner {
                entries, counters, ..
            } = &mut *inner;
            change(counters, entries.get_mut(self.index));
        }
        drop(inner);
        self.log.ring();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The finishing steps of SplitMix64: spreads a counter or a weak hash over all bits.
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
