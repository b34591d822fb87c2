//! The mapper of whatever the server has now.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::kube::document::{ApiGroupList, Document};
use discovery_core::sync::clock::{Clock, SystemClock};
use discovery_core::{BoxError, Format, Snapshot};
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::error::{MapError, MapErrorKind};
use super::mapping::Mapping;
use super::rest::RestMapper;
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
/// at the same time share a discovery, if it has begun after they knew that they need it. If one fails, what was known
/// before stays.
///
/// Where a server has to be asked for each list, and what was asked for tells a group, only the groups and the lists of
/// that group are asked for again.
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
    /// The snapshot that it was made of, if the server had to be asked for each list.
    listed: Option<Arc<Snapshot>>,
    /// How many discoveries have begun.
    begun: u64,
    /// The number of the last one of everything that has succeeded, and of some groups.
    everything: u64,
    some: Option<(String, u64)>,
    misses: HashMap<String, SystemTime>,
}

/// The groups in which something may be that was not found.
#[derive(Clone, Copy, Debug)]
enum Groups<'a> {
    All,
    One(&'a str),
    /// Those that the second part of a resource's name may stand for, which may be a version and a group.
    Like(&'a str),
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
        state.listed = None;
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
        let groups = match name.split_once('.') {
            Some((_, of)) => Groups::Like(of),
            None => Groups::All,
        };
        self.look_up(name, groups, |mapper| mapper.resolve(name))
            .await
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
        let look = |mapper: &RestMapper| mapper.mapping(group, kind, versions);
        self.look_up(&miss, Groups::One(group), look).await
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
        self.look_up(&miss, Groups::All, look).await
    }

    /// The mapper of what is known, for several look-ups of one state.
    ///
    /// # Errors
    ///
    /// When nothing is known, and nothing can be discovered.
    pub async fn mapper(&self) -> Result<RestMapper, discovery_core::Error> {
        match self.shared.known() {
            (Some(mapper), _) => Ok(mapper),
            (None, _) => self.first().await,
        }
    }

    /// Looks among what is known, and once more after a new discovery.
    async fn look_up<T>(
        &self,
        asked: &str,
        groups: Groups<'_>,
        look: impl Fn(&RestMapper) -> Result<T, MapError>,
    ) -> Result<T, MapError> {
        let failed =
            |error| MapError::new(asked.replace('\n', " "), MapErrorKind::Discovery(error));
        let (mapper, begun) = match self.shared.known() {
            (Some(mapper), begun) => (mapper, begun),
            (None, _) => {
                let mapper = self.first().await.map_err(failed)?;
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
        let mapper = self.again(groups, begun).await.map_err(failed)?;
        let found = look(&mapper);
        if matches!(&found, Err(error) if error.is_no_match()) {
            self.shared.state().miss(asked, now, self.miss_ttl);
        }
        found
    }

    /// Discovers, unless somebody else has.
    async fn first(&self) -> Result<RestMapper, discovery_core::Error> {
        let _turn = self.shared.turn.lock().await;
        if let (Some(mapper), _) = self.shared.known() {
            return Ok(mapper);
        }
        let number = self.shared.begin();
        let discovered = self.client.discover().await?;
        Ok(self
            .shared
            .finish(number, Groups::All, &discovered.snapshot))
    }

    /// Discovers some groups, unless somebody else does who has begun after `begun`.
    async fn again(
        &self,
        groups: Groups<'_>,
        begun: u64,
    ) -> Result<RestMapper, discovery_core::Error> {
        let _turn = self.shared.turn.lock().await;
        if let Some(mapper) = self.shared.state().since(groups, begun) {
            return Ok(mapper);
        }
        let number = self.shared.begin();
        let listed = self.shared.state().listed.clone();
        self.client.invalidate();
        let (groups, discovered) = match listed {
            Some(listed) if !matches!(groups, Groups::All) => {
                let served = self.client.groups().await?;
                let known = groups.all_others(&listed, served);
                (groups, self.client.complete(&known).await?)
            }
            _ => (Groups::All, self.client.discover().await?),
        };
        Ok(self.shared.finish(number, groups, &discovered.snapshot))
    }
}

impl Groups<'_> {
    fn cover(self, group: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => group == one,
            // A group may be cut short.
            Self::Like(of) => {
                let versioned = of.split_once('.').map(|(_, group)| group);
                group.starts_with(of) || versioned.is_some_and(|of| group.starts_with(of))
            }
        }
    }

    /// The lists of the groups that are not among these, with the groups that are served now.
    fn all_others(self, listed: &Snapshot, served: Arc<Document<ApiGroupList>>) -> Snapshot {
        let mut known = Snapshot::default();
        known.set_groups_shared(served);
        known.set_format(Format::Legacy);
        let served: HashSet<_> = known.group_versions().iter().cloned().collect();
        let others = listed
            .lists()
            .filter(|(name, _)| !self.cover(name.group()) && served.contains(*name))
            .map(|(name, list)| (name.clone(), Arc::clone(list)))
            .collect::<Vec<_>>();
        known.extend(others);
        known
    }

    fn name(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::One(group) => Some(format!("={group}")),
            Self::Like(of) => Some(format!("~{of}")),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> (Option<RestMapper>, u64) {
        let state = self.state();
        (state.mapper.clone(), state.begun)
    }

    fn begin(&self) -> u64 {
        let mut state = self.state();
        state.begun += 1;
        state.begun
    }

    fn finish(&self, number: u64, groups: Groups<'_>, found: &Arc<Snapshot>) -> RestMapper {
        let mapper = RestMapper::new(found);
        let mut state = self.state();
        state.mapper = Some(mapper.clone());
        let is_listed = found.format() == Some(Format::Legacy);
        state.listed = is_listed.then(|| Arc::clone(found));
        match groups.name() {
            None => state.everything = number,
            Some(name) => state.some = Some((name, number)),
        }
        mapper
    }
}

impl State {
    /// The mapper of a discovery of these groups that has begun after `begun`.
    fn since(&self, groups: Groups<'_>, begun: u64) -> Option<RestMapper> {
        let of_some = |(name, number): &(String, u64)| {
            *number > begun && groups.name().is_some_and(|groups| groups == *name)
        };
        let is_new = self.everything > begun || self.some.as_ref().is_some_and(of_some);
        self.mapper.clone().filter(|_| is_new)
    }

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
