//! The loop: it waits for a reason to ask, asks, and publishes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use discovery_core::{BoxError, Error, Snapshot};
use http::{Request, Response};
use http_body::Body;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tower_service::Service;

use super::Change;
use super::handle::{Live, LiveHandle, Reply, Update};
use super::watch::Watch;

/// The collections whose changes change what is served, as metadata.
const WATCHED: [&str; 2] = [
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?watch=1&allowWatchBookmarks=true",
    "/apis/apiregistration.k8s.io/v1/apiservices?watch=1&allowWatchBookmarks=true",
];

/// How long more events are waited for, so that several together cause one refresh.
const TOGETHER: Duration = Duration::from_millis(100);

/// The waits after a refresh that has not shown what an event told of: a resource is served some time after its
/// definition is there.
const LATER: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The wait after a failure, doubled with each in a row.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Why documents of a cache that keeps the last good ones are none.
const LAST_GOOD: &str = "a cache has told what was known before";

/// The part of the interval that is added at random.
const JITTER: f64 = 0.1;

struct Loop<S, B, RB> {
    live: Live<S, B>,
    publish: watch::Sender<Arc<Update>>,
    asked: mpsc::UnboundedReceiver<Reply>,
    watches: Option<[Watch<RB>; 2]>,
    /// When to refresh next, whatever happens.
    next: Instant,
    wait: Duration,
    /// When to refresh because of an event, and how many refreshes have followed that one.
    event: Option<(Instant, usize)>,
}

/// The reason for a refresh.
enum Reason {
    Interval,
    Event,
    Asked(Reply),
}

impl<S, B, RB> Live<S, B>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: From<Bytes> + Send + 'static,
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError> + Send,
{
    /// Starts it on the Tokio runtime that this is called in.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[must_use = "it ends with its last handle"]
    pub fn start(self) -> LiveHandle {
        let (publish, updates) = watch::channel(Arc::default());
        let (refreshes, asked) = mpsc::unbounded_channel();
        tokio::spawn(Loop::new(self, publish, asked).run());
        LiveHandle { updates, refreshes }
    }
}

impl<S, B, RB> Loop<S, B, RB>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: From<Bytes> + Send + 'static,
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError> + Send,
{
    pub(super) fn new(
        live: Live<S, B>,
        publish: watch::Sender<Arc<Update>>,
        asked: mpsc::UnboundedReceiver<Reply>,
    ) -> Self {
        let watches = live.watch.then(|| {
            WATCHED.map(|path| {
                let client = live.client.clone();
                Watch::new(path, move |path| Box::pin(client.open(path)))
            })
        });
        Self {
            live,
            publish,
            asked,
            watches,
            next: Instant::now(),
            wait: FIRST_WAIT,
            event: None,
        }
    }

    /// Ends when nobody listens any more.
    pub(super) async fn run(mut self) {
        while let Some(reason) = self.reason().await {
            let mut replies = Vec::new();
            match reason {
                // A watch that was not allowed may be by now.
                Reason::Interval if self.publish.borrow().is_known => {
                    self.watches.iter_mut().flatten().for_each(Watch::retry);
                }
                Reason::Interval | Reason::Event => {}
                Reason::Asked(reply) => replies.push(reply),
            }
            while let Ok(reply) = self.asked.try_recv() {
                replies.push(reply);
            }
            let from_cache = std::mem::take(&mut self.live.from_cache) && replies.is_empty();
            let client = self.live.client.clone();
            let mut ask = pin!(async move {
                if from_cache {
                    client.discover().await
                } else {
                    client.refreshed().await
                }
            });
            // The watches go on meanwhile: one of them may have what the refresh waits for, such as the only connection.
            let mut is_told = false;
            let result = loop {
                tokio::select! {
                    result = &mut ask => break result,
                    () = changed(&mut self.watches) => is_told = true,
                    () = self.publish.closed() => return,
                }
            };
            // Documents that a cache below had to fall back on are no answer.
            let result = result.and_then(|found| match found.origin {
                Some(origin) if origin.last_good => Err(Error::transport("/apis", LAST_GOOD)),
                _ => Ok(found),
            });
            let is_known =
                matches!(&result, Ok(found) if found.origin.is_some_and(|origin| origin.hit));
            let result = self.take(result);
            if from_cache && is_known {
                self.next = Instant::now();
            }
            if is_told {
                // The refresh may have been too early for it.
                self.event = Some((Instant::now() + TOGETHER, 0));
            }
            for reply in replies {
                _ = reply.send(result.clone());
            }
        }
    }

    /// Waits for a reason to ask the server. `None` when nobody listens any more.
    async fn reason(&mut self) -> Option<Reason> {
        loop {
            let event = self.event.map(|(due, _)| due);
            let due = event.map_or(self.next, |event| event.min(self.next));
            tokio::select! {
                () = self.publish.closed() => return None,
                Some(reply) = self.asked.recv() => return Some(Reason::Asked(reply)),
                () = changed(&mut self.watches) => {
                    let due = Instant::now() + TOGETHER;
                    let due = event.map_or(due, |event| event.min(due));
                    self.event = Some((due, 0));
                }
                () = sleep_until(due) => {
                    return Some(if event == Some(due) { Reason::Event } else { Reason::Interval });
                }
            }
        }
    }

    /// Publishes the result of a refresh, and decides when the next is due.
    fn take(
        &mut self,
        result: Result<discovery_core::Discovered, Error>,
    ) -> Result<Arc<Snapshot>, Error> {
        let last = Arc::clone(&self.publish.borrow());
        let now = Instant::now();
        match result {
            Ok(discovered) => {
                let snapshot = with_lists_of(discovered.snapshot, &last.snapshot);
                let change = Change::between(&last.snapshot, &snapshot);
                self.wait = FIRST_WAIT;
                let jitter = self
                    .live
                    .interval
                    .mul_f64(JITTER * (self.live.random)().clamp(0.0, 1.0));
                self.next = now + self.live.interval + jitter;
                self.event = match self.event {
                    Some((_, turn)) if change.is_empty() && last.is_known => {
                        LATER.get(turn).map(|later| (now + *later, turn + 1))
                    }
                    _ => None,
                };
                tracing::debug!(
                    decision = "refreshed",
                    added = change.added.len(),
                    removed = change.removed.len(),
                    changed = change.changed.len(),
                );
                let is_news = !change.is_empty() || last.failure.is_some() || !last.is_known;
                let snapshot = if is_news {
                    snapshot
                } else {
                    Arc::clone(&last.snapshot)
                };
                if is_news {
                    self.publish.send_replace(Arc::new(Update {
                        snapshot: Arc::clone(&snapshot),
                        is_known: true,
                        failure: None,
                    }));
                }
                Ok(snapshot)
            }
            Err(error) => {
                tracing::debug!(decision = "keep", reason = "a refresh has failed", wait = ?self.wait);
                self.next = now + self.wait.min(self.live.interval);
                self.wait = (2 * self.wait).min(self.live.interval.max(FIRST_WAIT));
                self.event = None;
                self.publish.send_replace(Arc::new(Update {
                    failure: Some(error.clone()),
                    ..Update::clone(&last)
                }));
                Err(error)
            }
        }
    }
}

/// Waits until one of the watches tells of something.
async fn changed<RB>(watches: &mut Option<[Watch<RB>; 2]>)
where
    RB: Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    match watches {
        Some([one, other]) => tokio::select! {
            () = one.changed() => {}
            () = other.changed() => {}
        },
        None => std::future::pending().await,
    }
}

/// The snapshot, with the lists of an earlier one for the group versions that are listed and whose own could not be had.
fn with_lists_of(mut snapshot: Arc<Snapshot>, last: &Snapshot) -> Arc<Snapshot> {
    let missing: Vec<_> = snapshot
        .missing()
        .filter_map(|group_version| {
            let list = last.resources(group_version.as_str())?;
            Some((group_version.clone(), Arc::clone(list)))
        })
        .collect();
    if !missing.is_empty() {
        Arc::make_mut(&mut snapshot).extend(missing);
    }
    snapshot
}
