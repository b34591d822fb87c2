//! The mapper of whatever the server has now.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::sync::clock::{Clock, SystemClock};
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::error::{MapError, MapErrorKind};
use super::rest::{Mapping, RestMapper};
use crate::DiscoveryClient;

/// How long a name that was not found is known not to be there.
const MISS_TTL: Duration = Duration::from_secs(10);

/// The most names that are remembered like this.
const MAX_MISSES: usize = 1024;

/// A [`RestMapper`] of what a client discovers, made when it is first asked. Clones share it.
///
/// A name that is not found is looked for once more after a new discovery, as with client-go's
/// `DeferredDiscoveryRESTMapper`; here short names and categories are, too. A name that is not found then is not looked
/// for again for [a while](Self::miss_ttl), so that a typing error does not cost a discovery each time. Callers that come
/// at the same time share a discovery. If one fails, what was known before stays.
///
/// ```
/// use bytes::Bytes;
/// use discovery_client::DiscoveryClient;
/// use discovery_client::mapper::DeferredMapper;
/// use http::{Request, Response};
/// use http_body_util::Full;
///
/// # tokio_test::block_on(async {
/// let server = tower::service_fn(|request: Request<Full<Bytes>>| async move {
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from(match request.uri().path() {
///         "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
///         "/apis" => r#"{"kind":"APIGroupList","groups":[]}"#,
///         _ => r#"{"kind":"APIResourceList","resources":[{"name":"pods","kind":"Pod","shortNames":["po"]}]}"#,
///     })))
/// });
/// let mapper = DeferredMapper::new(DiscoveryClient::new(server));
/// assert_eq!(mapper.resolve("po").await?.resource, "pods");
/// assert!(mapper.resolve("pots").await.unwrap_err().is_no_match());
/// # Ok::<(), discovery_client::mapper::MapError>(())
/// # }).unwrap();
/// ```
pub struct DeferredMapper<S, B> {
    client: DiscoveryClient<S, B>,
    shared: Arc<Shared>,
    miss_ttl: Duration,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Held by the one that discovers.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    mapper: Option<RestMapper>,
    /// The number of discoveries.
    generation: u64,
    misses: HashMap<String, SystemTime>,
}

impl<S, B> DeferredMapper<S, B> {
    /// A mapper over a client. Nothing is asked for yet.
    pub fn new(client: DiscoveryClient<S, B>) -> Self {
        Self {
            client,
            shared: Arc::default(),
            miss_ttl: MISS_TTL,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets how long a name that was not found is known not to be there: ten seconds unless set.
    #[must_use]
    pub fn miss_ttl(mut self, ttl: Duration) -> Self {
        self.miss_ttl = ttl;
        self
    }

    /// Sets the clock: the system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Forgets what was discovered, here and in the client's caches.
    pub fn invalidate(&self) {
        self.client.invalidate();
        let mut state = self.shared.state();
        state.mapper = None;
        state.misses.clear();
    }
}

impl<S, B, RB> DeferredMapper<S, B>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    S::Error: Into<BoxError>,
    B: From<Bytes>,
    RB: Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    /// As [`RestMapper::resolve`].
    ///
    /// # Errors
    ///
    /// When the name stands for no one resource, or for nothing that is known while the server can't be asked.
    pub async fn resolve(&self, name: &str) -> Result<Arc<Mapping>, MapError> {
        self.look_up(name, |mapper| mapper.resolve(name)).await
    }

    /// As [`RestMapper::mapping`].
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve).
    pub async fn mapping(
        &self,
        group: &str,
        kind: &str,
        versions: &[&str],
    ) -> Result<Arc<Mapping>, MapError> {
        let miss = format!("{kind}\n{group}\n{}", versions.join(","));
        self.look_up(&miss, |mapper| mapper.mapping(group, kind, versions))
            .await
    }

    /// As [`RestMapper::category`].
    ///
    /// # Errors
    ///
    /// When nothing is in the category, or nothing that is known while the server can't be asked.
    pub async fn category(&self, name: &str) -> Result<Vec<Arc<Mapping>>, MapError> {
        let miss = format!("category\n{name}");
        let look = |mapper: &RestMapper| match mapper.category(name) {
            [] => Err(MapError::new(
                name,
                MapErrorKind::NoMatch { near: Vec::new() },
            )),
            found => Ok(found.to_vec()),
        };
        self.look_up(&miss, look).await
    }

    /// The mapper of what is known, for several look-ups of one state.
    ///
    /// # Errors
    ///
    /// When nothing is known, and nothing can be discovered.
    pub async fn mapper(&self) -> Result<RestMapper, discovery_core::Error> {
        let (known, generation) = self.shared.known();
        match known {
            Some(mapper) => Ok(mapper),
            None => self.discover(generation, false).await,
        }
    }

    /// Looks among what is known, and once more after a new discovery.
    async fn look_up<T>(
        &self,
        asked: &str,
        look: impl Fn(&RestMapper) -> Result<T, MapError>,
    ) -> Result<T, MapError> {
        let failed =
            |error| MapError::new(asked.replace('\n', " "), MapErrorKind::Discovery(error));
        let (known, generation) = self.shared.known();
        let (mapper, generation) = match known {
            Some(mapper) => (mapper, generation),
            None => {
                let mapper = self.discover(generation, false).await.map_err(failed)?;
                (mapper, self.shared.known().1)
            }
        };
        let missed = match look(&mapper) {
            Err(error) if error.is_no_match() => error,
            found => return found,
        };
        let now = self.clock.now();
        if self.shared.state().has_missed(asked, now, self.miss_ttl) {
            return Err(missed);
        }
        tracing::debug!(
            asked,
            decision = "refresh",
            reason = "the name is not known"
        );
        let mapper = self.discover(generation, true).await.map_err(failed)?;
        let found = look(&mapper);
        if matches!(&found, Err(error) if error.is_no_match()) {
            self.shared.state().miss(asked, now, self.miss_ttl);
        }
        found
    }

    /// Discovers, unless somebody else has done so since `generation`.
    async fn discover(
        &self,
        generation: u64,
        anew: bool,
    ) -> Result<RestMapper, discovery_core::Error> {
        let _turn = self.shared.turn.lock().await;
        if let (Some(mapper), latest) = self.shared.known()
            && latest != generation
        {
            return Ok(mapper);
        }
        if anew {
            self.client.invalidate();
        }
        let discovered = self.client.discover().await?;
        let mapper = RestMapper::new(&discovered.snapshot);
        let mut state = self.shared.state();
        state.mapper = Some(mapper.clone());
        state.generation += 1;
        Ok(mapper)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> (Option<RestMapper>, u64) {
        let state = self.state();
        (state.mapper.clone(), state.generation)
    }
}

impl State {
    fn has_missed(&self, asked: &str, now: SystemTime, ttl: Duration) -> bool {
        let since = self.misses.get(asked);
        // A clock that was set back would make it last.
        since.is_some_and(|since| now.duration_since(*since).is_ok_and(|age| age < ttl))
    }

    fn miss(&mut self, asked: &str, now: SystemTime, ttl: Duration) {
        if self.misses.len() >= MAX_MISSES {
            let is_young =
                |since: &SystemTime| now.duration_since(*since).is_ok_and(|age| age < ttl);
            self.misses.retain(|_, since| is_young(since));
        }
        if self.misses.len() < MAX_MISSES {
            self.misses.insert(asked.to_owned(), now);
        }
    }
}

impl<S: Clone, B> Clone for DeferredMapper<S, B> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            shared: Arc::clone(&self.shared),
            miss_ttl: self.miss_ttl,
            clock: Arc::clone(&self.clock),
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for DeferredMapper<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredMapper")
            .field("client", &self.client)
            .field("miss_ttl", &self.miss_ttl)
            .finish_non_exhaustive()
    }
}
