//! Discovery that stays up to date, on a clock that the runtime advances.

#![cfg(feature = "live")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_client::live::{Live, LiveHandle};
use discovery_core::testing::fixtures::{self, Group};
use discovery_core::{BoxError, Format};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

type Body = UnsyncBoxBody<Bytes, BoxError>;
type Lines = mpsc::UnboundedReceiver<io::Result<String>>;

/// A server with a group whose resources can be changed, and watches that the test writes.
#[derive(Clone, Default)]
struct Server(Arc<State>);

#[derive(Default)]
struct State {
    resources: Mutex<Vec<&'static str>>,
    /// The status of `/apis`, if it is not 200.
    failure: Mutex<Option<u16>>,
    /// The answers to the watches of CustomResourceDefinitions to come; then there is none.
    watches: Mutex<Vec<Result<Lines, u16>>>,
    apis: AtomicUsize,
    watched: AtomicUsize,
}

impl Server {
    fn set(&self, resources: &[&'static str]) {
        *self.0.resources.lock().unwrap() = resources.to_vec();
    }

    fn fail(&self, status: Option<u16>) {
        *self.0.failure.lock().unwrap() = status;
    }

    /// The next watch, whose lines are sent here.
    fn next_watch(&self) -> mpsc::UnboundedSender<io::Result<String>> {
        let (sender, lines) = mpsc::unbounded_channel();
        self.0.watches.lock().unwrap().push(Ok(lines));
        sender
    }

    fn refuse_watch(&self, status: u16) {
        self.0.watches.lock().unwrap().push(Err(status));
    }

    /// How often the groups were asked for.
    fn asked(&self) -> usize {
        self.0.apis.load(Ordering::Relaxed)
    }

    fn watched(&self) -> usize {
        self.0.watched.load(Ordering::Relaxed)
    }

    fn answer(&self, request: &Request<Full<Bytes>>) -> Response<Body> {
        let document = |groups: &[Group]| {
            let response = fixtures::document::<Bytes>(Format::V2, fixtures::aggregated(groups));
            response.map(full)
        };
        let failed = |status| fixtures::status::<Bytes>(status).map(full);
        let path = request.uri().path();
        match path {
            "/api" => document(&[]),
            "/apis" => {
                self.0.apis.fetch_add(1, Ordering::Relaxed);
                if let Some(status) = *self.0.failure.lock().unwrap() {
                    return failed(status);
                }
                let resources = self.0.resources.lock().unwrap();
                document(&[Group::new("g").version("v1", &resources)])
            }
            _ if path.ends_with("customresourcedefinitions") => {
                assert_eq!(
                    request.uri().query(),
                    Some("watch=1&allowWatchBookmarks=true")
                );
                self.0.watched.fetch_add(1, Ordering::Relaxed);
                let mut watches = self.0.watches.lock().unwrap();
                if watches.is_empty() {
                    return failed(404);
                }
                match watches.remove(0) {
                    Ok(lines) => Response::new(body(lines)),
                    Err(status) => failed(status),
                }
            }
            _ => failed(403),
        }
    }

    fn live(
        &self,
    ) -> Live<
        impl tower::Service<
            Request<Full<Bytes>>,
            Response = Response<Body>,
            Error = io::Error,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
        Full<Bytes>,
    > {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            std::future::ready(Ok::<_, io::Error>(server.answer(&request)))
        });
        Live::new(DiscoveryClient::new(service)).random(|| 0.0)
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn body(mut lines: Lines) -> Body {
    let frames = futures_util::stream::poll_fn(move |cx| {
        let line = lines.poll_recv(cx);
        line.map(|line| {
            Some(
                line?
                    .map(|line| http_body::Frame::data(Bytes::from(line)))
                    .map_err(Into::into),
            )
        })
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

fn names(live: &LiveHandle) -> Vec<String> {
    let snapshot = live.snapshot();
    let list = snapshot.resources("g/v1");
    let resources = list.iter().flat_map(|list| &list.resources);
    resources
        .map(|resource| resource.name.to_string())
        .collect()
}

fn added(name: &str) -> io::Result<String> {
    Ok(format!(
        r#"{{"type":"ADDED","object":{{"kind":"PartialObjectMetadata","metadata":{{"name":"{name}"}}}}}}"#
    ) + "\n")
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn it_asks_at_once_and_on_the_interval() {
    let server = Server::default();
    server.set(&["as"]);
    let live = server
        .live()
        .watch(false)
        .interval(10 * SECOND)
        .random(|| 0.5)
        .start();
    assert!(names(&live).is_empty());
    live.ready().await.unwrap();
    assert_eq!((names(&live), server.asked()), (vec!["as".to_owned()], 1));
    server.set(&["as", "bs"]);
    let start = Instant::now();
    let (change, now) = live.changes().next().await.unwrap();
    // A half of a tenth is added.
    assert_eq!(start.elapsed().as_millis() / 10, 1050);
    assert_eq!(
        change.added,
        ["g/v1"
            .parse::<discovery_core::GroupVersion>()
            .unwrap()
            .with_resource("bs")]
    );
    assert!(now.resources("g/v1").unwrap().resources.len() == 2 && server.asked() == 2);
    sleep(100 * SECOND).await;
    assert_eq!(server.asked(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_what_was_known() {
    let server = Server::default();
    server.set(&["as"]);
    server.fail(Some(503));
    let live = server.live().watch(false).start();
    assert!(live.ready().await.is_err());
    // After a second, two and four.
    sleep(8 * SECOND).await;
    assert_eq!(server.asked(), 4);
    server.fail(None);
    sleep(8 * SECOND).await;
    assert_eq!(names(&live), ["as"]);
    assert!(live.latest().failure.is_none() && live.latest().is_known);

    server.fail(Some(500));
    assert!(live.refresh().await.unwrap_err().is_transient());
    assert_eq!(names(&live), ["as"]);
    assert!(live.latest().failure.is_some() && live.latest().is_known);
    server.fail(None);
    live.refresh().await.unwrap();
    assert!(live.latest().failure.is_none());
}

/// The waits end where the interval does, and no interval is too long.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_for_long() {
    for interval in [10 * SECOND, Duration::MAX, Duration::ZERO] {
        let server = Server::default();
        server.set(&["as"]);
        server.fail(Some(503));
        let live = server.live().watch(false).interval(interval).start();
        for _ in 0..200 {
            assert!(live.refresh().await.is_err());
        }
        server.fail(None);
        live.refresh().await.unwrap();
        sleep(SECOND).await;
        assert_eq!(names(&live), ["as"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_followed_by_a_refresh() {
    let server = Server::default();
    server.set(&["as"]);
    let watch = server.next_watch();
    let live = server.live().interval(1000 * SECOND).start();
    live.ready().await.unwrap();
    // A burst is one refresh, and what it tells of is served later.
    let start = Instant::now();
    let long = "x".repeat(100_000);
    for name in ["bs", "cs", &long] {
        watch.send(added(name)).unwrap();
    }
    let (first, second) = (r#"{"type":"MODI"#, "FIED\",\"object\":{}}\n\n");
    watch.send(Ok(first.into())).unwrap();
    watch.send(Ok(second.into())).unwrap();
    sleep(200 * Duration::from_millis(1)).await;
    assert_eq!(server.asked(), 2);
    server.set(&["as", "bs"]);
    live.changes().next().await.unwrap();
    assert_eq!(server.asked(), 3);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    // Then it is seen, and nobody asks again.
    sleep(100 * SECOND).await;
    assert_eq!(server.asked(), 3);
    // A bookmark is no change.
    watch
        .send(Ok("{\"type\":\"BOOKMARK\",\"object\":{}}\n".into()))
        .unwrap();
    sleep(100 * SECOND).await;
    assert_eq!(server.asked(), 3);
    // An event that changes nothing is followed by four refreshes.
    watch.send(added("bs")).unwrap();
    sleep(100 * SECOND).await;
    assert_eq!(server.asked(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_begins_again() {
    let server = Server::default();
    server.set(&["as"]);
    let watches: Vec<_> = (0..6).map(|_| server.next_watch()).collect();
    let live = server.live().interval(10_000 * SECOND).start();
    live.ready().await.unwrap();
    sleep(SECOND).await;
    assert_eq!(server.watched(), 1);
    for (number, ends) in [
        Ok("{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n".to_owned()),
        Ok("no JSON\n".to_owned()),
        Ok("x".repeat((1 << 20) + 1)),
        Err(io::ErrorKind::ConnectionReset.into()),
    ]
    .into_iter()
    .enumerate()
    {
        watches[number].send(ends).unwrap();
        // The wait doubles: a second, two, four, eight.
        sleep((1 << number) * SECOND - SECOND / 2).await;
        assert_eq!(server.watched(), number + 1);
        sleep(SECOND).await;
        assert_eq!(server.watched(), number + 2);
    }
    // After an event the wait is short again.
    watches[4].send(added("as")).unwrap();
    sleep(10 * SECOND).await;
    let mut watches = watches.into_iter();
    drop(watches.nth(4));
    sleep(SECOND + SECOND / 2).await;
    assert_eq!(server.watched(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_not_allowed_leaves_the_interval() {
    for status in [401, 403, 404, 405] {
        let server = Server::default();
        server.set(&["as"]);
        server.refuse_watch(status);
        let allowed = server.next_watch();
        let live = server.live().interval(60 * SECOND).start();
        live.ready().await.unwrap();
        sleep(59 * SECOND).await;
        assert_eq!((server.watched(), server.asked()), (1, 1));
        // It may be allowed by now.
        sleep(2 * SECOND).await;
        assert_eq!((server.watched(), server.asked()), (2, 2));
        server.set(&["as", "bs"]);
        allowed.send(added("bs")).unwrap();
        timeout(SECOND, live.changes().next())
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_waited_for() {
    let server = Server::default();
    let live = server.live().watch(false).interval(1000 * SECOND).start();
    live.ready().await.unwrap();
    let waits = [live.clone(), live.clone()]
        .map(|live| tokio::spawn(async move { live.wait_for("g", "X", 60 * SECOND).await }));
    sleep(20 * SECOND).await;
    server.set(&["as"]);
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap().resource, "as");
    }
    // At once if it is there.
    let start = Instant::now();
    live.wait_for("g", "X", SECOND).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);

    let error = live.wait_for("g", "Y", 3 * SECOND).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server does not serve the kind \"Y\" of \"g\" yet"
    );
    assert_eq!(start.elapsed(), 3 * SECOND);
    server.fail(Some(503));
    let error = live.wait_for("", "Y", 3 * SECOND).await.unwrap_err();
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test(start_paused = true)]
async fn no_change_is_lost() {
    let server = Server::default();
    server.set(&["as", "bs"]);
    let live = server.live().watch(false).start();
    live.ready().await.unwrap();
    let mut changes = live.changes();
    for resources in [&["bs"][..], &["bs", "cs"], &["bs", "cs", "ds"]] {
        server.set(resources);
        live.refresh().await.unwrap();
    }
    let (change, _) = changes.next().await.unwrap();
    assert_eq!((change.added.len(), change.removed.len()), (2, 1));
    assert!(timeout(5 * SECOND, changes.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_at_the_same_time_share_a_refresh() {
    let server = Server::default();
    server.set(&["as"]);
    let live = server.live().watch(false).start();
    live.ready().await.unwrap();
    let refreshes: Vec<_> = (0..50)
        .map(|_| {
            let live = live.clone();
            tokio::spawn(async move { live.refresh().await.is_ok() })
        })
        .collect();
    for refresh in refreshes {
        assert!(refresh.await.unwrap());
    }
    assert!(server.asked() <= 3, "{}", server.asked());
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_last_handle() {
    let server = Server::default();
    let watch = server.next_watch();
    let live = server.live().interval(SECOND).start();
    live.ready().await.unwrap();
    let mut changes = live.changes();
    drop(live);
    // A subscriber is enough.
    server.set(&["as"]);
    assert!(changes.next().await.is_some());
    drop(changes);
    sleep(SECOND).await;
    let asked = server.asked();
    assert!(watch.is_closed(), "the body is gone, and the task with it");
    sleep(100 * SECOND).await;
    assert_eq!(server.asked(), asked);
}

/// As in a stack: no layer reads the watch, waits for it, or keeps it.
#[tokio::test(start_paused = true)]
async fn a_watch_passes_all_layers() {
    use discovery_client::Stack;

    let server = Server::default();
    server.set(&["as"]);
    let watch = server.next_watch();
    let dir = tempfile::tempdir().unwrap();
    let inner = server.clone();
    let transport = tower::service_fn(move |request: Request<Full<Bytes>>| {
        std::future::ready(Ok::<_, io::Error>(inner.answer(&request)))
    });
    let stack = Stack::new("https://h:6443", dir.path()).unwrap();
    let (service, _handles) = stack.long_lived(transport);
    let live = Live::new(DiscoveryClient::<_, Full<Bytes>>::new(service));
    let live = live.interval(10_000 * SECOND).start();
    live.ready().await.unwrap();
    assert_eq!(names(&live), ["as"]);
    server.set(&["as", "bs"]);
    watch.send(added("bs")).unwrap();
    timeout(5 * SECOND, live.changes().next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(names(&live), ["as", "bs"]);
    // The two entries of the groups, and nothing of the watch.
    let files = std::fs::read_dir(dir.path().join("http"))
        .into_iter()
        .flatten();
    for file in files {
        let text = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains("ADDED"));
    }
}

/// A refresh may wait for something that a watch has, such as the only connection there is: both go on.
#[tokio::test(start_paused = true)]
async fn watches_go_on_during_a_refresh() {
    use discovery_core::testing::Gate;

    let (server, gate) = (Server::default(), Gate::new());
    server.set(&["as"]);
    let _events = server.next_watch();
    let service = tower::service_fn(move |request: Request<Full<Bytes>>| {
        let (server, gate) = (server.clone(), gate.clone());
        async move {
            if request.uri().query().is_some() {
                // Only now, when somebody looks.
                sleep(Duration::from_millis(1)).await;
                gate.open();
            } else {
                gate.opened().await;
            }
            Ok::<_, io::Error>(server.answer(&request))
        }
    });
    let live = Live::new(DiscoveryClient::new(service)).start();
    let ready = timeout(Duration::from_secs(20), live.ready()).await;
    assert!(ready.expect("nobody waits for ever").is_ok());
}
