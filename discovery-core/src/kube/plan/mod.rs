//! Discovery without I/O: which requests are still needed, and what their answers mean.

mod drive;
mod read;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request, Response};

use self::read::{has_fit_names, read_groups};
use crate::http::headers::retry_after;
use crate::kube::document::{Aggregated, ApiGroup, ApiGroupList, Document};
use crate::kube::extensions::ParsedAnswer;
use crate::{Accept, Endpoint, Error, Format, GroupVersion, Snapshot};

pub(crate) use self::drive::SharedFailure;
pub use self::drive::{DeadlineExceeded, ask, drive};
pub use self::read::parse_list;
pub(crate) use self::read::take_list;

/// The number of resource lists that may be asked for at the same time.
const MAX_IN_FLIGHT: usize = 64;

/// A walk over a server's discovery documents that does no I/O itself.
///
/// It asks `/api` and `/apis` at the same time. Where both answer in aggregated form, nothing else
/// is needed; otherwise it asks for each resource list that is not known yet, at most 64 at a time.
/// Not found on `/api` means that there is no core group; any other error there or on `/apis` ends
/// the walk, and if both fail, the failure is that of `/api`. The failure of a single list does not
/// end it: it is reported with what was found. A list whose failure may be gone at the next try is
/// asked for a second time, as client-go does, unless the answer names a time for that: waiting is
/// for a layer below.
///
/// An answer that carries a [`ParsedAnswer`] extension, from one of the caching layers, counts as
/// what the snapshot knows, and its body is not read.
///
/// ```
/// use discovery_core::Plan;
/// use http::{Request, Response};
///
/// fn serve(request: &Request<()>) -> Response<bytes::Bytes> {
///     Response::new(bytes::Bytes::from_static(match request.uri().path() {
///         "/api" => br#"{"kind":"APIVersions","versions":["v1"]}"#,
///         "/apis" => br#"{"kind":"APIGroupList","groups":[]}"#,
///         _ => br#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods"}]}"#,
///     }))
/// }
///
/// let mut plan = Plan::everything();
/// while let Some((ticket, request)) = plan.next() {
///     plan.feed(ticket, Ok(serve(&request)));
/// }
/// let discovered = plan.finish()?;
/// assert_eq!(discovered.snapshot.resources("v1").unwrap().resources[0].name, "pods");
/// # Ok::<(), discovery_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    accept: &'static str,
    with_lists: bool,
    queue: VecDeque<Endpoint>,
    in_flight: usize,
    api: Part,
    apis: Part,
    /// Whether there was an answer to `/api`, if only an error.
    api_answered: bool,
    snapshot: Arc<Snapshot>,
    /// The lists that are asked for a second time.
    retried: BTreeSet<GroupVersion>,
    /// The lists that could not be had.
    failed: BTreeMap<GroupVersion, Error>,
    fatal: Option<Error>,
    origin: Option<Origin>,
}

/// Stands for a request, to which an answer belongs.
#[derive(Debug)]
#[must_use = "a request without answer keeps the plan from its end"]
pub struct Ticket {
    endpoint: Endpoint,
}

/// The answer to `/api` or `/apis`.
#[derive(Debug, Default)]
enum Part {
    #[default]
    Open,
    /// Nothing there: counts as aggregated.
    Absent,
    Legacy(Vec<ApiGroup>),
    Aggregated(Format, Aggregated),
    Known(ParsedAnswer),
}

/// The result of a walk.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Discovered {
    /// The documents that are known now.
    pub snapshot: Arc<Snapshot>,
    /// The group versions whose resources could not be had, stale ones among them.
    pub failed: BTreeMap<GroupVersion, Error>,
    /// The cache that has told the groups; `None` if no cache below knows of documents.
    pub origin: Option<Origin>,
}

/// Where documents come from.
///
/// ```
/// use discovery_core::Discovered;
///
/// fn is_new(discovered: &Discovered) -> bool {
///     discovered.origin.is_none_or(|origin| !origin.hit)
/// }
/// # let _ = is_new;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Origin {
    /// The [name](crate::engine::Cache::name) of the outermost cache.
    pub cache: &'static str,
    /// Whether it knew the groups, rather than having fetched them.
    pub hit: bool,
    /// Whether it was to forget them, and has told them since the server gave no answer.
    pub last_good: bool,
}

impl Discovered {
    /// When the server has sent or confirmed the oldest of the documents, if that is known. Each
    /// [document](crate::kube::document::Document::since) can say it of itself.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use discovery_core::Discovered;
    ///
    /// fn is_old(discovered: &Discovered) -> bool {
    ///     let age = discovered.since().and_then(|since| SystemTime::now().duration_since(since).ok());
    ///     age.is_some_and(|age| age > Duration::from_secs(3600))
    /// }
    /// # let _ = is_old;
    /// ```
    #[must_use]
    pub fn since(&self) -> Option<SystemTime> {
        let groups = self.snapshot.groups().and_then(|groups| groups.since());
        let lists = self.snapshot.lists().filter_map(|(_, list)| list.since());
        lists.chain(groups).min()
    }
}

impl Plan {
    /// A walk to all groups, versions and resources.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            accept: Accept::KUBECTL,
            with_lists: true,
            queue: [Endpoint::Api, Endpoint::Apis].into(),
            in_flight: 0,
            api: Part::Open,
            apis: Part::Open,
            api_answered: false,
            snapshot: Arc::default(),
            retried: BTreeSet::new(),
            failed: BTreeMap::new(),
            fatal: None,
            origin: None,
        }
    }

    /// A walk to the groups and their versions. Where answers are aggregated, the resources are
    /// found as well.
    #[must_use]
    pub fn groups() -> Self {
        Self {
            with_lists: false,
            ..Self::everything()
        }
    }

    /// Asks `/api` and `/apis` with another `Accept` than [`Accept::KUBECTL`].
    #[must_use]
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// Starts from what is known: lists in it are not asked for, and if it has the groups, neither
    /// are these.
    #[must_use]
    pub fn known(mut self, known: &Snapshot) -> Self {
        Arc::make_mut(&mut self.snapshot).merge(known);
        if known.groups().is_some() {
            self.queue.clear();
            (self.api, self.apis) = (Part::Absent, Part::Absent);
            self.fail_known();
            self.queue_lists();
        }
        self
    }

    /// The next request to send; `None` if there is none now. After the answers that are under way
    /// there may be more, until [`is_done`](Self::is_done).
    ///
    /// The request has a path and `Accept`, and neither host nor query.
    #[expect(
        clippy::should_implement_trait,
        reason = "not an iterator: answers make new items"
    )]
    pub fn next(&mut self) -> Option<(Ticket, Request<()>)> {
        if self.fatal.is_some() || self.in_flight == MAX_IN_FLIGHT {
            return None;
        }
        let endpoint = self.queue.pop_front()?;
        self.in_flight += 1;
        let accept = match endpoint {
            Endpoint::Api | Endpoint::Apis => self.accept,
            _ => Accept::LEGACY,
        };
        let mut request = Request::new(());
        if let Ok(uri) = endpoint.path().parse() {
            *request.uri_mut() = uri;
        }
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(accept));
        Some((Ticket { endpoint }, request))
    }

    /// Takes an answer, or the reason why there is none.
    pub fn feed(&mut self, ticket: Ticket, answer: Result<Response<Bytes>, Error>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match ticket.endpoint {
            Endpoint::Resources(group_version) => {
                let is_told_when = answer.as_ref().is_ok_and(names_a_time);
                match self.read_list(&group_version, answer) {
                    Ok(()) => {}
                    Err(failure)
                        if !is_told_when
                            && failure.may_pass_at_once()
                            && self.retried.insert(group_version.clone()) =>
                    {
                        tracing::debug!(%group_version, %failure, "a list is asked for again");
                        self.queue.push_back(Endpoint::Resources(group_version));
                    }
                    Err(failure) => {
                        self.failed.insert(group_version, failure);
                    }
                }
            }
            endpoint => {
                let core = endpoint == Endpoint::Api;
                self.api_answered |= core;
                let without_peers = self.accept == Accept::NO_PEER;
                match read_groups(&endpoint, answer, without_peers) {
                    Ok(part) if core => self.api = part,
                    Ok(part) => self.apis = part,
                    Err(failure) if core || self.fatal.is_none() => self.fatal = Some(failure),
                    Err(_) => {}
                }
                if self.groups_answered() {
                    self.join_groups();
                    self.queue_lists();
                }
            }
        }
    }

    /// Whether all answers are there, or an error has ended the walk.
    #[must_use]
    pub fn is_done(&self) -> bool {
        // Of two errors, that of `/api` is the one that kubectl, which asks it first, meets: it is
        // waited for.
        let failed = self.fatal.is_some() && self.api_answered;
        failed || (self.queue.is_empty() && self.in_flight == 0)
    }

    /// Whether the walk has failed, although there may be a failure to come that counts more.
    pub(crate) const fn has_failed(&self) -> bool {
        self.fatal.is_some()
    }

    /// The number of answers that are still to come, as far as is known: those under way, and those to
    /// requests that [`next`](Self::next) has not given yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.queue.len() + self.in_flight
    }

    /// The result of the walk.
    ///
    /// # Errors
    ///
    /// When the groups could not be had.
    pub fn finish(self) -> Result<Discovered, Error> {
        match self.fatal {
            Some(failure) => Err(failure),
            None => Ok(Discovered {
                snapshot: self.snapshot,
                failed: self.failed,
                origin: self.origin,
            }),
        }
    }

    fn groups_answered(&self) -> bool {
        self.fatal.is_none() && !matches!(self.api, Part::Open) && !matches!(self.apis, Part::Open)
    }

    /// Makes one list of what `/api` and `/apis` brought, the core group first.
    fn join_groups(&mut self) {
        let (api, apis) = (
            std::mem::take(&mut self.api),
            std::mem::take(&mut self.apis),
        );
        // A cache below has put the two together already, and its answer to `/apis` says most.
        if let (_, Part::Known(known)) | (Part::Known(known), _) = (&api, &apis) {
            // The first of the two answers may have filled the cache for the second.
            let both = || {
                [&api, &apis].into_iter().filter_map(|part| match part {
                    Part::Known(known) => Some(known),
                    _ => None,
                })
            };
            self.origin = Some(Origin {
                cache: known.cache,
                hit: both().all(|known| known.hit),
                last_good: both().any(|known| known.last_good),
            });
            if self.snapshot.lists().len() == 0 {
                // Shared rather than copied: nothing else is known.
                self.snapshot = Arc::clone(&known.snapshot);
            } else {
                Arc::make_mut(&mut self.snapshot).merge(&known.snapshot);
            }
            return self.fail_known();
        }
        let aggregated = api.is_aggregated() && apis.is_aggregated();
        let format = match (&api, &apis) {
            _ if !aggregated => Format::Legacy,
            (Part::Aggregated(format, _), _) | (_, Part::Aggregated(format, _)) => *format,
            _ => Format::V2,
        };
        let now = SystemTime::now();
        let snapshot = Arc::make_mut(&mut self.snapshot);
        let (mut groups, mut stale, mut order) = (Vec::new(), Vec::new(), Vec::new());
        for part in [api, apis] {
            match part {
                Part::Legacy(legacy) => groups.extend(legacy),
                Part::Aggregated(_, document) => {
                    groups.extend(document.groups);
                    stale.extend(document.stale);
                    order.extend(document.order);
                    if aggregated {
                        for (group_version, list) in document.lists {
                            let list = Document::new(list).from_server(now);
                            snapshot.insert(&group_version, list);
                        }
                    }
                }
                Part::Open | Part::Absent | Part::Known(_) => {}
            }
        }
        groups.retain_mut(has_fit_names);
        snapshot.set_groups(Document::new(ApiGroupList::new(groups)).from_server(now));
        snapshot.set_format(format);
        // If the lists are asked for one by one, the groups don't have the stale ones.
        if aggregated {
            if stale.is_empty() {
                order.clear();
            }
            snapshot.set_stale_of(stale, order.into());
        }
        self.fail_known();
    }

    /// Tells what is known to have failed: stale group versions, and for a legacy server the empty lists that a cache
    /// below has.
    fn fail_known(&mut self) {
        for stale in self.snapshot.stale() {
            let failure = Error::stale(stale.clone());
            self.failed.insert(stale.clone(), failure);
        }
        if self.snapshot.format() == Some(Format::Legacy) {
            for (group_version, list) in self.snapshot.lists() {
                if list.resources.is_empty() {
                    let failure = Error::empty_list(group_version.clone());
                    self.failed.insert(group_version.clone(), failure);
                }
            }
        }
    }

    fn queue_lists(&mut self) {
        if self.with_lists {
            let missing: BTreeSet<_> = self.snapshot.missing().cloned().collect();
            self.queue
                .extend(missing.into_iter().map(Endpoint::Resources));
        }
    }

    fn read_list(
        &mut self,
        group_version: &GroupVersion,
        answer: Result<Response<Bytes>, Error>,
    ) -> Result<(), Error> {
        let list = take_list(group_version, &answer?)?;
        // Only a legacy server is in error with an empty list; where the form is not known, because
        // the groups came from files, it may as well be an aggregated one.
        if list.resources.is_empty() && self.snapshot.format() == Some(Format::Legacy) {
            return Err(Error::empty_list(group_version.clone()));
        }
        Arc::make_mut(&mut self.snapshot).insert_shared(group_version, list);
        Ok(())
    }
}

fn names_a_time(answer: &Response<Bytes>) -> bool {
    retry_after(answer.headers(), SystemTime::UNIX_EPOCH).is_some()
}

impl Ticket {
    /// The endpoint of the request.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Part {
    const fn is_aggregated(&self) -> bool {
        matches!(self, Self::Absent | Self::Aggregated(..))
    }
}
