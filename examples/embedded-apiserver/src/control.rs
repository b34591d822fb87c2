//! The switches: what can be changed while the server runs.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use http::StatusCode;
use tokio::sync::watch;

use super::{
    fault::{Canned, Fault},
    log::{Counters, Entry},
    model::{Group, Version, group_version, split_group_version},
    site::Site,
    state::State,
    table,
};

/// The switches that are on.
#[derive(Debug, Default)]
pub(super) struct Switches {
    pub(super) no_v2: bool,
    pub(super) v2beta1: bool,
    /// Paths without the aggregated form.
    pub(super) legacy_paths: HashSet<String>,
    pub(super) refuses_aggregated: bool,
    pub(super) ignores_accept: bool,
    pub(super) latency: Option<Duration>,
    pub(super) vary_authorization: bool,
    pub(super) clock_offset: i64,
    faults: HashMap<String, (Fault, Option<usize>)>,
    pub(super) holds: HashMap<String, watch::Receiver<()>>,
}

impl Switches {
    /// The fault that the next request for `path` meets, and one use less of it.
    pub(super) fn take_fault(&mut self, path: &str) -> Option<Fault> {
        let (fault, left) = self.faults.get_mut(path)?;
        let fault = fault.clone();
        if let Some(left) = left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.faults.remove(path);
            }
        }
        Some(fault)
    }

    pub(super) fn any_fault(&self) -> bool {
        !self.faults.is_empty()
    }
}

/// A handle to a server: its switches, its data, its log. Cheap to clone, and of no effect once
/// the server is gone.
///
/// Paths are those of a real server, without the base path and without a query: `/apis`,
/// `/apis/apps/v1`.
///
/// ```
/// use embedded_apiserver::{EmbeddedServer, Group, Resource, Version};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = EmbeddedServer::builder().start().await?;
/// let control = server.control();
/// control.set_group(
///     Group::new("acme.test").version(Version::new("v1").resource(Resource::new("rockets", "Rocket"))),
/// );
/// control.set_stale("acme.test/v1", true);
/// assert!(control.groups().iter().any(|group| group.name == "acme.test"));
/// assert!(control.remove_group("acme.test"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Control {
    pub(super) state: Arc<State>,
}

/// Switches for the server's answers.
impl Control {
    /// Answers every discovery request with legacy documents, as servers before 1.26 do.
    pub fn set_legacy_only(&self, on: bool) {
        let mut switches = self.write();
        switches.no_v2 = on;
        switches.v2beta1 &= !on;
    }

    /// Serves `v2` aggregated documents (on unless switched off).
    pub fn set_v2(&self, on: bool) {
        self.write().no_v2 = !on;
    }

    /// Serves `v2beta1` aggregated documents too, as servers from 1.27 to 1.35 do.
    pub fn set_v2beta1(&self, on: bool) {
        self.write().v2beta1 = on;
    }

    /// Answers one path, `/api` or `/apis`, with the legacy document whatever is asked for, as kcp does.
    pub fn set_legacy_path(&self, path: &str, on: bool) {
        let mut switches = self.write();
        if on {
            switches.legacy_paths.insert(path.to_owned());
        } else {
            switches.legacy_paths.remove(path);
        }
    }

    /// Answers 406 to whoever names the aggregated form, even among others, as strict servers do.
    pub fn set_refuses_aggregated(&self, on: bool) {
        self.write().refuses_aggregated = on;
    }

    /// Answers with the aggregated form whatever is asked for.
    pub fn set_ignores_accept(&self, on: bool) {
        self.write().ignores_accept = on;
    }

    /// Waits so long before every answer.
    pub fn set_latency(&self, latency: Duration) {
        self.write().latency = (!latency.is_zero()).then_some(latency);
    }

    /// Adds `Vary: Authorization` to every answer.
    pub fn set_vary_authorization(&self, on: bool) {
        self.write().vary_authorization = on;
    }

    /// Asks for this bearer token from now on, and refuses the one before, as when tokens rotate.
    pub fn set_token(&self, token: &str) {
        self.state.set_token(token);
    }

    /// Makes the server's clock go ahead (or behind) by so many seconds: `Date`, `Expires` and
    /// `Last-Modified` move, from 1970 to the end of 9999 at most.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.write().clock_offset = seconds;
    }

    /// Makes every request for `path` meet `fault`.
    pub fn set_fault(&self, path: impl Into<String>, fault: Fault) {
        self.write().faults.insert(path.into(), (fault, None));
    }

    /// Makes the next `times` requests for `path` meet `fault`.
    pub fn set_fault_times(&self, path: impl Into<String>, fault: Fault, times: usize) {
        if times > 0 {
            self.write()
                .faults
                .insert(path.into(), (fault, Some(times)));
        }
    }

    /// Answers the resource list of a group version (`apps/v1`, `v1`) with a `Status` error.
    pub fn fail_group_version(&self, name: &str, status: StatusCode, retry_after: Option<u32>) {
        let canned = Canned::status(status);
        let canned = match retry_after {
            Some(seconds) => canned.retry_after(seconds),
            None => canned,
        };
        self.set_fault(group_version_path(name), Fault::Answer(canned));
    }

    /// Takes the fault of `path` away.
    pub fn clear_fault(&self, path: &str) {
        self.write().faults.remove(path);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.write().faults.clear();
    }

    /// Keeps requests for `path` waiting until the returned value is dropped. Together with
    /// [`until`](Self::until) it shows what happens at the same time without any clock:
    ///
    /// ```
    /// use embedded_apiserver::EmbeddedServer;
    /// use tokio::{io::AsyncWriteExt as _, net::TcpStream};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let server = EmbeddedServer::builder().start().await?;
    /// let control = server.control();
    /// let hold = control.hold("/api");
    /// let mut clients = Vec::new();
    /// for _ in 0..2 {
    ///     let mut client = TcpStream::connect(server.addr()).await?;
    ///     client.write_all(b"GET /api HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    ///     clients.push(client);
    /// }
    /// control.until(|counters| counters.in_flight == 2).await;
    /// hold.release();
    /// control.until(|counters| counters.in_flight == 0).await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "dropping it lets the requests go on"]
    pub fn hold(&self, path: impl Into<String>) -> Hold {
        let path = path.into();
        let (sender, receiver) = watch::channel(());
        self.write().holds.insert(path.clone(), receiver);
        Hold {
            control: self.clone(),
            path,
            sender: Some(sender),
        }
    }
}

/// Changes to the resources that the server serves.
impl Control {
    /// The groups served now, the core group (with an empty name) included.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        self.site().groups().to_vec()
    }

    /// Replaces everything that is served.
    pub fn set_groups(&self, groups: Vec<Group>) {
        self.edit(|all| *all = groups);
    }

    /// Adds a group, or replaces the one of its name.
    pub fn set_group(&self, group: Group) {
        self.edit(
            |all| match all.iter_mut().find(|known| known.name == group.name) {
                Some(known) => *known = group,
                None => all.push(group),
            },
        );
    }

    /// Removes a group; whether it was there.
    pub fn remove_group(&self, name: &str) -> bool {
        self.edit(|all| {
            let before = all.len();
            all.retain(|group| group.name != name);
            all.len() < before
        })
    }

    /// Changes a group version (`apps/v1`, `v1`); whether it is there. `change` may look at the
    /// server, but a change of its groups inside of it would wait for itself.
    pub fn edit_group_version(&self, name: &str, change: impl FnOnce(&mut Version)) -> bool {
        let (group, version) = split_group_version(name);
        self.edit(|all| {
            let versions = all.iter_mut().filter(|known| known.name == group);
            let found = versions
                .flat_map(|group| &mut group.versions)
                .find(|v| v.name == version);
            found.map(change).is_some()
        })
    }

    /// Marks a group version as stale or not; whether it is there.
    pub fn set_stale(&self, name: &str, stale: bool) -> bool {
        self.edit_group_version(name, |version| version.stale = stale)
    }

    /// Replaces the custom groups by those of [`Builder::crds`](super::Builder::crds).
    pub fn set_crds(&self, count: usize) {
        self.set_custom(table::crds(count));
    }

    /// Replaces the custom groups by those of
    /// [`Builder::custom_groups`](super::Builder::custom_groups).
    pub fn set_custom_groups(&self, count: usize) {
        self.set_custom(table::groups(count));
    }

    /// Ends all open watches of CustomResourceDefinitions and APIServices, as servers do from time to time.
    pub fn end_watches(&self) {
        self.state.watches.end();
    }

    fn set_custom(&self, groups: Vec<Group>) {
        self.edit(|all| {
            all.retain(|group| group.builtin);
            all.extend(groups);
        });
    }

    fn edit<T>(&self, change: impl FnOnce(&mut Vec<Group>) -> T) -> T {
        let edits = self.state.edits.lock();
        let _edits = edits.unwrap_or_else(PoisonError::into_inner);
        let before = self.site();
        let mut groups = before.groups().to_vec();
        let result = change(&mut groups);
        let site = Arc::new(Site::new(groups));
        let served = self.state.site.write();
        *served.unwrap_or_else(PoisonError::into_inner) = Arc::clone(&site);
        self.state.watches.tell(&before, &site);
        result
    }
}

/// The server's log and counters.
impl Control {
    /// The requests so far, in the order of their arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.state.log.entries()
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state.log.counters()
    }

    /// Empties the log and sets the counters back to what is under way.
    pub fn clear_log(&self) {
        self.state.log.clear();
    }

    /// Waits until the counters satisfy `enough`, which is asked again after each change.
    pub async fn until(&self, enough: impl FnMut(&Counters) -> bool) {
        self.state.log.until(enough).await;
    }
}

impl Control {
    pub(super) fn site(&self) -> Arc<Site> {
        self.state.site()
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Switches> {
        self.state
            .switches
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Switches> {
        self.state
            .switches
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("address", &self.state.address)
            .finish_non_exhaustive()
    }
}

/// Keeps the requests for a path waiting; see [`Control::hold`].
#[derive(Debug)]
pub struct Hold {
    control: Control,
    path: String,
    sender: Option<watch::Sender<()>>,
}

impl Hold {
    /// Lets the requests go on; the same as dropping it.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut switches = self.control.write();
        // A later hold of the same path stays.
        let mine = |holder: &watch::Receiver<()>| {
            self.sender
                .as_ref()
                .is_some_and(|sender| sender.subscribe().same_channel(holder))
        };
        if switches.holds.get(&self.path).is_some_and(mine) {
            switches.holds.remove(&self.path);
        }
        drop(switches);
        drop(self.sender.take());
    }
}

/// The path of a group version's resource list.
fn group_version_path(name: &str) -> String {
    match split_group_version(name) {
        ("", version) => format!("/api/{version}"),
        (group, version) => format!("/apis/{}", group_version(group, version)),
    }
}
