//! Everything at once for a while: lookups, refreshes and invalidations through two programs that share a cache
//! directory, while the server adds and removes groups, cuts connections and watches, and answers 503.
//!
//! Each state of the server tells its number in each of its lists, and follows from that number alone: whatever is
//! answered is compared with the state that it says it is. `SOAK_SECONDS` is how long it goes on: 3 unless set.
#![expect(clippy::print_stdout, reason = "it prints the figures of a run")]

use std::env;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use discovery_client::live::Live;
use discovery_client::mapper::DeferredMapper;
use discovery_client::retry::RetryAfterLayer;
use discovery_client::{DiscoveryClient, Stack};
use discovery_core::{BoxError, Snapshot};
use embedded_apiserver::{Canned, Control, EmbeddedServer, Fault, Group, Resource, Version};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;
type Service = BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, BoxError>;

/// In each state, with a kind that comes and goes.
const ALWAYS: &str = "always.soak.test";

/// How much more memory may be held at the end than after the first third.
const MAX_GROWTH: u64 = 24 << 20;

/// Numbers that look random and follow from a seed.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// The custom groups of a state: which there are, with which versions and resources, follows from its number.
fn state(number: u64) -> Vec<Group> {
    let mut random = Random(number);
    let marker = || Resource::new(format!("state{number}s"), "State");
    let mut always = Version::new("v1").resource(marker());
    if number.is_multiple_of(2) {
        always = always.resource(Resource::new("evens", "Even"));
    }
    let mut groups = vec![Group::new(ALWAYS).version(always)];
    for group in 0..12 {
        if random.next(3) == 0 {
            continue;
        }
        let mut served = Group::new(format!("g{group:02}.soak.test"));
        for version in 0..=random.next(2) {
            let mut version = Version::new(format!("v{}", version + 1)).resource(marker());
            for resource in 0..random.next(4) {
                let kind = format!("Thing{group}X{resource}");
                version = version.resource(Resource::new(kind.to_lowercase() + "s", kind));
            }
            served = served.version(version);
        }
        groups.push(served);
    }
    groups
}

/// The custom group versions of a state with their resources, or of a snapshot.
type Shape = Vec<(String, Vec<String>)>;

fn shape_of_state(number: u64) -> Shape {
    let mut shape = Shape::new();
    for group in state(number) {
        for version in group.versions {
            let mut names: Vec<_> = version
                .resources
                .into_iter()
                .map(|resource| resource.name)
                .collect();
            names.sort();
            shape.push((format!("{}/{}", group.name, version.name), names));
        }
    }
    shape.sort();
    shape
}

fn shape_of_snapshot(snapshot: &Snapshot) -> Shape {
    let custom = snapshot
        .group_versions()
        .iter()
        .filter(|name| name.group().ends_with(".soak.test"));
    let mut shape: Shape = custom
        .map(|name| {
            let list = snapshot.resources(name.as_str());
            let list = list.map_or(&[][..], |list| &list.resources[..]);
            let mut names: Vec<_> = list
                .iter()
                .map(|resource| resource.name.to_string())
                .collect();
            names.sort();
            (name.to_string(), names)
        })
        .collect();
    shape.sort();
    shape
}

fn number(names: &[String]) -> Option<u64> {
    let number = |name: &String| name.strip_prefix("state")?.strip_suffix('s')?.parse().ok();
    names.iter().find_map(number)
}

/// The number of the state that a snapshot is, which has to be that one in every part.
fn check_whole(snapshot: &Snapshot, what: &str) -> u64 {
    let shape = shape_of_snapshot(snapshot);
    let always = shape.iter().find(|(name, _)| name.starts_with(ALWAYS));
    let number = always.and_then(|(_, names)| number(names));
    let number = number.unwrap_or_else(|| panic!("{what}: no state at all: {shape:?}"));
    assert!(
        shape == shape_of_state(number),
        "{what}: not state {number}: {shape:?}"
    );
    number
}

/// Each list is as it was in some state. Lists of discovery files, which have a lifetime each, can be of several.
fn check_lists(snapshot: &Snapshot, what: &str) {
    for (name, names) in shape_of_snapshot(snapshot) {
        // One that is listed and is not known.
        if names.is_empty() {
            continue;
        }
        let number =
            number(&names).unwrap_or_else(|| panic!("{what}: {name} is of no state: {names:?}"));
        let state = shape_of_state(number);
        let then = state.iter().find(|(known, _)| *known == name);
        assert_eq!(
            then.map(|(_, names)| names),
            Some(&names),
            "{what}: {name} in state {number}"
        );
    }
}

/// The state that the tasks share.
#[derive(Clone)]
struct Soak {
    control: Control,
    /// The number of the state that the server has, or is about to have.
    latest: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Soak {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    async fn over(&self) {
        while self.goes_on() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// The server's changes and troubles.
    async fn trouble(self, mut random: Random) {
        let unavailable = || Fault::Answer(Canned::status(StatusCode::SERVICE_UNAVAILABLE));
        while self.goes_on() {
            sleep(Duration::from_millis(random.next(40))).await;
            let path = ["/api", "/apis"][random.next(2) as usize];
            let watched = [
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                "/apis/apiregistration.k8s.io/v1/apiservices",
            ][random.next(2) as usize];
            match random.next(16) {
                0 => self.control.end_watches(),
                1 => self.control.set_fault_times(path, unavailable(), 1),
                2 => self.control.set_fault_times(path, Fault::Cut, 1),
                3 => {
                    self.control.set_fault_times(
                        path,
                        Fault::CutBody(random.next(500) as usize),
                        1,
                    );
                }
                4 => self.control.set_fault_times(watched, Fault::Cut, 1),
                5 => self.control.set_fault_times(watched, unavailable(), 1),
                6 => self.control.set_fault_times(
                    path,
                    Fault::Delay(Duration::from_millis(random.next(50))),
                    1,
                ),
                _ => self.advance(),
            }
            if self.control.counters().total > 2_000 {
                self.control.clear_log();
            }
        }
    }

    fn advance(&self) {
        let number = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        let mut groups = self.control.groups();
        groups.retain(|group| group.builtin);
        groups.extend(state(number));
        self.control.set_groups(groups);
    }

    /// Discovers, and forgets what is cached now and then: an answer that was asked for after that is not older.
    async fn discover(self, client: DiscoveryClient<Service, Full<Bytes>>, mut random: Random) {
        while self.goes_on() {
            sleep(Duration::from_millis(random.next(10))).await;
            let fresh = random.next(3) == 0;
            // The state of this number may not be there yet; the one before it is.
            let before = self.latest.load(Ordering::SeqCst).saturating_sub(1);
            if fresh {
                client.invalidate();
            }
            let Ok(found) = client.discover().await else {
                continue;
            };
            self.answered();
            check_lists(&found.snapshot, "discover");
            if fresh && found.failed.is_empty() {
                let number = check_whole(&found.snapshot, "discover after invalidate");
                assert!(
                    number >= before,
                    "asked after state {before}, told state {number}"
                );
            }
        }
    }

    async fn look_up(self, mapper: DeferredMapper<Service, Full<Bytes>>, mut random: Random) {
        while self.goes_on() {
            sleep(Duration::from_millis(random.next(10))).await;
            let (group, resource) = (random.next(12), random.next(4));
            let asked = format!("thing{group}x{resource}s.g{group:02}.soak.test");
            if let Ok(found) = mapper.resolve(&asked).await {
                self.answered();
                assert_eq!(found.kind, format!("Thing{group}X{resource}"));
            }
            let pods = mapper
                .resolve("po")
                .await
                .expect("pods are known from the start");
            assert_eq!(pods.kind, "Pod");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_is_a_state_that_the_server_had() {
    let seconds = env::var("SOAK_SECONDS")
        .ok()
        .and_then(|value| value.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(3));
    let all = soak(length);
    timeout(length + Duration::from_secs(60), all)
        .await
        .expect("no deadlock");
}

async fn soak(length: Duration) {
    let server = EmbeddedServer::builder()
        .start_in_thread()
        .expect("a server");
    let control = server.control();
    let root = tempfile::tempdir().expect("a directory");
    let soak = Soak {
        control: control.clone(),
        latest: Arc::default(),
        over: Arc::default(),
        answers: Arc::default(),
    };
    soak.advance();
    // Both programs retry at once: the waits of a server that is in trouble are not what this is about.
    let stack = || {
        let stack = Stack::new(&server.url(), root.path()).expect("an address");
        stack
            .retry(RetryAfterLayer::new().max(1))
            .timeout(Duration::from_secs(10))
    };
    let transport = || Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (long_lived, _) = stack().long_lived(transport());
    let (kubectl, _) = stack().kubectl(transport());
    let long_lived: Service = boxed(long_lived);
    let kubectl: Service = boxed(kubectl);

    let live = Live::new(DiscoveryClient::new(long_lived.clone()));
    let live = live.interval(Duration::from_millis(300)).start();
    check_whole(&live.ready().await.expect("no trouble yet"), "the first");

    let mut tasks = JoinSet::new();
    tasks.spawn(soak.clone().trouble(Random(1)));
    for (n, service) in [&long_lived, &kubectl, &long_lived, &kubectl]
        .into_iter()
        .enumerate()
    {
        let client = DiscoveryClient::new(service.clone());
        let mapper = DeferredMapper::new(client.clone());
        mapper.resolve("po").await.expect("pods are there");
        tasks.spawn(soak.clone().discover(client, Random(10 + n as u64)));
        tasks.spawn(soak.clone().look_up(mapper, Random(20 + n as u64)));
    }
    tasks.spawn({
        let (soak, live) = (soak.clone(), live.clone());
        async move {
            let mut last = 0;
            let mut changes = live.changes();
            while soak.goes_on() {
                let next = timeout(Duration::from_millis(500), changes.next()).await;
                let Ok(Some((change, snapshot))) = next else {
                    continue;
                };
                soak.answered();
                assert!(!change.is_empty());
                let number = check_whole(&snapshot, "live");
                assert!(number > last, "from state {last} to {number}");
                last = number;
            }
        }
    });
    tasks.spawn({
        let (soak, live) = (soak.clone(), live.clone());
        async move {
            while soak.goes_on() {
                let before = soak.latest.load(Ordering::SeqCst).saturating_sub(1);
                if let Ok(snapshot) = live.refresh().await {
                    soak.answered();
                    let number = check_whole(&snapshot, "refresh");
                    assert!(
                        number >= before,
                        "asked after state {before}, told state {number}"
                    );
                }
                let even = live.wait_for(ALWAYS, "Even", Duration::from_secs(10));
                // The last state need not have it.
                tokio::select! {
                    even = even => assert_eq!(even.expect("every other state has it").resource, "evens"),
                    () = soak.over() => {}
                }
            }
        }
    });

    let end = Instant::now() + length;
    sleep(length / 3).await;
    let early = resident();
    while Instant::now() < end {
        sleep(Duration::from_millis(50)).await;
        if let Some(failed) = tasks.try_join_next() {
            failed.expect("a task fails only with an assertion");
        }
    }
    let late = resident();
    soak.over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no assertion fails");
    }

    // Once the trouble is over, all agree.
    control.clear_faults();
    let last = soak.latest.load(Ordering::SeqCst);
    let told = live.refresh().await.expect("no trouble any more");
    assert_eq!(check_whole(&told, "the last"), last);
    for service in [long_lived, kubectl] {
        let client = DiscoveryClient::new(service);
        client.invalidate();
        let found = client.discover().await.expect("no trouble any more");
        assert_eq!(check_whole(&found.snapshot, "the last of a client"), last);
    }

    let answers = soak.answers.load(Ordering::Relaxed);
    assert!(answers > 100, "only {answers} answers");
    assert!(last > 20, "only {last} states");
    let growth = late.saturating_sub(early);
    assert!(
        growth < MAX_GROWTH,
        "{growth} bytes more after {answers} answers"
    );
    println!(
        "{answers} answers of {last} states, {growth} bytes more than after a third of the time"
    );
}

fn boxed<S, RB>(service: S) -> Service
where
    S: tower_service::Service<Request<Full<Bytes>>, Response = Response<RB>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    RB: http_body::Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    use http_body_util::BodyExt;
    let service = service.map_err(Into::into);
    BoxCloneSyncService::new(service.map_response(|response: Response<RB>| {
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }))
}

/// The memory of this process in bytes, where that can be told.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}
