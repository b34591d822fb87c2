//! The settings of live discovery, and what users have of it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use discovery_core::{Error, Snapshot};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::Change;
use crate::DiscoveryClient;
use crate::mapper::{Mapping, RestMapper};

/// The time between two revalidations, unless set.
const INTERVAL: Duration = Duration::from_secs(30);

/// The shortest interval: without one, a server would be asked without end.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The longest interval. Beyond it, there is no time to come that a clock can tell.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The first wait of [`LiveHandle::wait_for`], which doubles until it is [`MAX_PATIENCE`].
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
const MAX_PATIENCE: Duration = Duration::from_secs(5);

/// Discovery that stays up to date.
///
/// It needs a Tokio runtime. Behind the caches of a [`Stack`](crate::Stack), a revalidation costs two requests that are
/// answered with 304. It tells the caches to forget, as [`DiscoveryClient::invalidate`] does, so that other users of
/// them see what is new as well.
///
/// Where the server allows it, CustomResourceDefinitions and APIServices are watched, through the same service, and a
/// change of them is followed by a revalidation at once. Otherwise the interval is all.
///
/// ```
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use discovery_client::DiscoveryClient;
/// use discovery_client::live::Live;
/// use http::{Request, Response};
/// use http_body_util::Full;
///
/// # tokio_test::block_on(async {
/// let server = tower::service_fn(|request: Request<Full<Bytes>>| async move {
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(match request.uri().path() {
///         "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
///         "/apis" => r#"{"kind":"APIGroupList","groups":[]}"#,
///         _ => r#"{"kind":"APIResourceList","resources":[{"name":"pods","kind":"Pod"}]}"#,
///     })))
/// });
/// let live = Live::new(DiscoveryClient::new(server)).watch(false).start();
/// assert!(live.ready().await?.is_complete());
/// let pods = live.wait_for("", "Pod", Duration::from_secs(5)).await?;
/// assert_eq!(pods.resource, "pods");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Live<S, B> {
    pub(super) client: DiscoveryClient<S, B>,
    pub(super) interval: Duration,
    pub(super) watch: bool,
    pub(super) from_cache: bool,
    pub(super) random: Arc<dyn Fn() -> f64 + Send + Sync>,
}

/// The state that a server had when it was last asked.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Update {
    /// The documents that are known: those of the last refresh that succeeded, and the lists that it could not have from before.
    pub snapshot: Arc<Snapshot>,
    /// Whether a refresh has succeeded yet.
    pub is_known: bool,
    /// Why the last refresh failed, if it did.
    pub failure: Option<Error>,
}

/// A handle of a running [`Live`]. Clones are of the same one, which ends with the last of them and of their
/// [`Changes`].
#[derive(Clone)]
pub struct LiveHandle {
    pub(super) updates: watch::Receiver<Arc<Update>>,
    pub(super) refreshes: mpsc::UnboundedSender<Reply>,
}

pub(super) type Reply = oneshot::Sender<Result<Arc<Snapshot>, Error>>;

/// The changes of a server's resources, from [`LiveHandle::changes`].
pub struct Changes {
    updates: watch::Receiver<Arc<Update>>,
    seen: Arc<Snapshot>,
}

/// Why a kind was waited for in vain. The source is the failure of the last refresh, if it failed.
#[derive(Debug)]
pub struct WaitError {
    group: String,
    kind: String,
    failure: Option<Error>,
}

impl<S, B> Live<S, B> {
    /// Over a client. Nothing happens until it is [started](Self::start).
    pub fn new(client: DiscoveryClient<S, B>) -> Self {
        Self {
            client,
            interval: INTERVAL,
            watch: true,
            from_cache: false,
            random: Arc::new(random),
        }
    }

    /// Sets the time between two revalidations: thirty seconds unless set. Up to a tenth is added at random, so that many
    /// programs don't ask at once. It is a tenth of a second at least, and a year at most.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
        self
    }

    /// Chooses whether the CustomResourceDefinitions and APIServices are watched. They are unless set.
    #[must_use]
    pub fn watch(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// Chooses whether the first snapshot may be what the caches below know, which is revalidated at once. Unless set, the
    /// first is the server's.
    #[must_use]
    pub fn from_cache(mut self, from_cache: bool) -> Self {
        self.from_cache = from_cache;
        self
    }

    /// Sets where randomness comes from: numbers from 0 to 1.
    #[must_use]
    pub fn random(mut self, random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }
}

impl LiveHandle {
    /// The latest snapshot. Empty before the first discovery has succeeded.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.updates.borrow().snapshot)
    }

    /// The latest update.
    #[must_use]
    pub fn latest(&self) -> Arc<Update> {
        Arc::clone(&self.updates.borrow())
    }

    /// Waits for the first discovery.
    ///
    /// # Errors
    ///
    /// When it fails. It is tried again all the same.
    pub async fn ready(&self) -> Result<Arc<Snapshot>, Error> {
        let mut updates = self.updates.clone();
        let has_come = |update: &Arc<Update>| update.is_known || update.failure.is_some();
        let update = updates.wait_for(has_come).await;
        let update = update.map(|update| Arc::clone(&update)).unwrap_or_default();
        match &update.failure {
            Some(failure) if !update.is_known => Err(failure.clone()),
            _ => Ok(Arc::clone(&update.snapshot)),
        }
    }

    /// Revalidates now. Those who call at the same time share a refresh, which begins after all of them have called.
    ///
    /// # Errors
    ///
    /// When the server gives no answer that can be used. What was known stays.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>, Error> {
        let (reply, result) = oneshot::channel();
        _ = self.refreshes.send(reply);
        match result.await {
            Ok(result) => result,
            Err(_) => Err(Error::transport(
                "",
                "live discovery has ended with its runtime",
            )),
        }
    }

    /// The changes from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let updates = self.updates.clone();
        let seen = self.snapshot();
        Changes { updates, seen }
    }

    /// Waits until a kind is served, for example that of a CustomResourceDefinition that was just made, and tells its
    /// resource in the version that comes first.
    ///
    /// # Errors
    ///
    /// When it is not served after `limit`.
    pub async fn wait_for(
        &self,
        group: &str,
        kind: &str,
        limit: Duration,
    ) -> Result<Arc<Mapping>, WaitError> {
        let mut updates = self.updates.clone();
        let served = async {
            let mut patience = FIRST_PATIENCE;
            loop {
                let snapshot = Arc::clone(&updates.borrow_and_update().snapshot);
                // A mapper costs more than a look at the groups.
                if snapshot
                    .groups()
                    .is_some_and(|groups| groups.group(group).is_some())
                    && let Ok(mapping) = RestMapper::new(&snapshot).mapping(group, kind, &[])
                {
                    return mapping;
                }
                tokio::select! {
                    Ok(()) = updates.changed() => {}
                    () = sleep(patience) => {
                        patience = (2 * patience).min(MAX_PATIENCE);
                        // A failure is in the update.
                        _ = self.refresh().await;
                    }
                }
            }
        };
        timeout(limit, served).await.map_err(|_| WaitError {
            group: group.to_owned(),
            kind: kind.to_owned(),
            failure: self.latest().failure.clone(),
        })
    }
}

impl Changes {
    /// Waits for the next change, and tells it with the snapshot that has it. What comes between two calls is one change:
    /// nothing is lost. `None` when the runtime has ended the discovery.
    pub async fn next(&mut self) -> Option<(Change, Arc<Snapshot>)> {
        loop {
            let now = Arc::clone(&self.updates.borrow_and_update().snapshot);
            let change = Change::between(&self.seen, &now);
            self.seen = now;
            if !change.is_empty() {
                return Some((change, Arc::clone(&self.seen)));
            }
            self.updates.changed().await.ok()?;
        }
    }
}

/// A number from 0 to 1, of the keys that a map is seeded with.
fn random() -> f64 {
    let number = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
    f64::from(number) / f64::from(u32::MAX)
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, kind, .. } = self;
        match group.as_str() {
            "" => write!(f, "the server does not serve the kind {kind:?} yet"),
            group => write!(
                f,
                "the server does not serve the kind {kind:?} of {group:?} yet"
            ),
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let failure = self.failure.as_ref()?;
        Some(failure)
    }
}

impl<S: Clone, B> Clone for Live<S, B> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            interval: self.interval,
            watch: self.watch,
            from_cache: self.from_cache,
            random: Arc::clone(&self.random),
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for Live<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("client", &self.client)
            .field("interval", &self.interval)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LiveHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveHandle")
            .field("latest", &self.latest())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
