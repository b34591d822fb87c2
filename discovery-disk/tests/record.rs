//! `DiskStoreLayer`: record, replay, read through.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::key::Origin;
use discovery_core::store::{MapStore, Op, Store, Value, Writer};
use discovery_disk::KubectlStore;
use discovery_disk::record::{DiskStoreLayer, Mode, RecordBody, Replayed};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio_test::{assert_pending, assert_ready, block_on, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_test::mock;

/// Frames one by one; tells its length and its end only if asked to.
#[derive(Debug, Default)]
struct Script {
    frames: VecDeque<Result<Frame<Bytes>, io::Error>>,
    exact: Option<u64>,
    tells_end: bool,
}

impl Script {
    fn data(pieces: &[&'static str]) -> Self {
        let frames = pieces.iter().map(|piece| Ok(Frame::data((*piece).into())));
        Self {
            frames: frames.collect(),
            ..Self::default()
        }
    }

    fn then(mut self, frame: Result<Frame<Bytes>, io::Error>) -> Self {
        self.frames.push_back(frame);
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.frames.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map(SizeHint::with_exact).unwrap_or_default()
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://host:6443{path}"))
        .body(())
        .unwrap()
}

fn key(path: &str) -> String {
    format!("https://host:6443{path}")
}

fn stored(store: &dyn Store, path: &str) -> Option<String> {
    let value = block_on(store.get(&key(path))).unwrap()?;
    Some(String::from_utf8(value.into_bytes().into()).unwrap())
}

fn text<B: Body<Data = Bytes, Error: std::fmt::Debug>>(response: Response<B>) -> String {
    block_on(read(response))
}

async fn read<B: Body<Data = Bytes, Error: std::fmt::Debug>>(response: Response<B>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}

/// Sends one request through a layer to a service that answers as told, and says how often that
/// was asked.
fn send<R: Body + 'static>(
    layer: &DiskStoreLayer,
    request: Request<()>,
    answer: impl Fn() -> Response<R>,
) -> (Response<RecordBody<R>>, u32) {
    let asked = AtomicU32::new(0);
    let inner = tower::service_fn(|_: Request<()>| {
        asked.fetch_add(1, Ordering::SeqCst);
        let response = answer();
        async move { Ok::<_, Infallible>(response) }
    });
    let response = block_on(layer.layer(inner).oneshot(request)).unwrap();
    (response, asked.load(Ordering::SeqCst))
}

fn full(body: &'static str) -> Response<Full<Bytes>> {
    Response::new(body.into())
}

fn script(body: Script) -> Response<Script> {
    Response::new(body)
}

#[test]
fn reads_through() {
    let dir = tempfile::tempdir().unwrap();
    let layer = DiskStoreLayer::new(KubectlStore::new(dir.path()));
    let answer = || {
        Response::builder()
            .version(Version::HTTP_2)
            .header("x-b", "1")
            .header("x-b", "2")
            .header("etag", "\"e\"")
            .body(Full::<Bytes>::from("body"))
            .unwrap()
    };
    let (response, asked) = send(&layer, get("/api?timeout=32s"), answer);
    assert_eq!(asked, 1);
    assert!(response.extensions().get::<Replayed>().is_none());
    assert_eq!(text(response), "body");

    // By another process, with another layer.
    let layer = DiskStoreLayer::new(KubectlStore::new(dir.path()));
    let (response, asked) = send(&layer, get("/api?timeout=32s"), || full("other"));
    assert_eq!(asked, 0);
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.headers()["etag"], "\"e\"");
    let repeated: Vec<_> = response.headers().get_all("x-b").iter().collect();
    assert_eq!(repeated, ["1", "2"]);
    assert!(response.extensions().get::<Replayed>().is_some());
    assert_eq!(response.body().size_hint().exact(), Some(4));
    assert_eq!(text(response), "body");

    // What is not there is asked.
    let (response, asked) = send(&layer, get("/apis?timeout=32s"), || full("other"));
    assert_eq!((asked, text(response).as_str()), (1, "other"));
}

#[test]
fn records_always_or_never() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let record = layer.clone().mode(Mode::Record);
    let replay = layer.clone().mode(Mode::Replay);
    for body in ["one", "two"] {
        let (response, asked) = send(&record, get("/"), || full(body));
        assert_eq!((asked, text(response).as_str()), (1, body));
        let (response, asked) = send(&replay, get("/"), || full("never"));
        assert_eq!((asked, text(response).as_str()), (0, body));
    }
    let (response, asked) = send(&replay, get("/other"), || full("never"));
    assert_eq!((asked, response.status()), (0, StatusCode::GATEWAY_TIMEOUT));
    assert!(response.extensions().get::<Replayed>().is_none());
    assert_eq!(text(response), "");
    // Nothing is sent, whatever is asked.
    for method in [Method::HEAD, Method::POST, Method::DELETE] {
        let mut request = get("/");
        *request.method_mut() = method;
        let (response, asked) = send(&replay, request, || full("never"));
        assert_eq!((asked, response.status()), (0, StatusCode::GATEWAY_TIMEOUT));
    }
    assert_eq!(store.len(), 1);
}

#[test]
fn only_whole_documents_by_get_take_part() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
        let mut request = get("/");
        *request.method_mut() = method;
        let (response, asked) = send(&layer, request, || full("answer"));
        assert_eq!((asked, text(response).as_str()), (1, "answer"));
    }
    let mut range = get("/");
    range
        .headers_mut()
        .insert("range", "bytes=0-1".parse().unwrap());
    let (response, asked) = send(&layer, range.clone(), || full("an"));
    assert_eq!((asked, text(response).as_str()), (1, "an"));
    assert!(store.is_empty());

    text(send(&layer, get("/"), || full("answer")).0);
    let (response, asked) = send(&layer, range, || full("an"));
    assert_eq!((asked, text(response).as_str()), (1, "an"));
}

#[test]
fn some_responses_are_not_for_everybody() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let with = |name: &'static str, value: &'static str| {
        move || {
            let mut response = full("secret");
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        }
    };
    for (name, value) in [
        ("vary", "Authorization"),
        ("vary", "accept , COOKIE"),
        ("vary", "Proxy-Authorization"),
        ("vary", "Impersonate-User"),
        ("vary", "Impersonate-Extra-scopes"),
        ("cache-control", "no-store"),
        ("cache-control", "private, No-Store"),
    ] {
        let (response, _) = send(&layer, get("/"), with(name, value));
        assert_eq!(text(response), "secret");
        assert!(store.is_empty(), "{name}: {value}");
    }
    for status in [100, 101, 206, 301, 304, 401, 404, 500, 503] {
        let answer = || {
            let mut response = full("body");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        };
        let (response, _) = send(&layer, get("/"), answer);
        assert_eq!(text(response), "body");
        assert!(store.is_empty(), "{status}");
    }
    // Unless one wants to, but what is after 101 is no document.
    let all = layer.record_if(|_| true);
    for status in [101, 304, 404, 503] {
        let answer = || {
            let mut response = full(if status == 304 { "" } else { "body" });
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        };
        let path = format!("/{status}");
        text(send(&all, get(&path), answer).0);
        assert_eq!(stored(&store, &path).is_some(), status != 101, "{status}");
    }
    let (response, asked) = send(&all, get("/404"), || full("never"));
    assert_eq!((asked, response.status()), (0, StatusCode::NOT_FOUND));
}

#[test]
fn relative_uris_need_an_origin() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let relative = || Request::get("/api").body(()).unwrap();
    for _ in 0..2 {
        let (response, asked) = send(&layer, relative(), || full("one of many servers"));
        assert_eq!((asked, text(response).as_str()), (1, "one of many servers"));
    }
    assert!(store.is_empty());

    let origin = Origin::of(&Uri::from_static("https://host:6443")).unwrap();
    let layer = layer.origin(origin);
    text(send(&layer, relative(), || full("this server")).0);
    let (response, asked) = send(&layer, get("/api"), || full("never"));
    assert_eq!((asked, text(response).as_str()), (0, "this server"));
}

#[test]
fn keys_can_be_chosen() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone()).key(|request| {
        let accept = request.headers.get("accept")?.to_str().ok()?;
        Some(format!("{accept} {}", request.uri.path()))
    });
    let accepting = |accept: &str| {
        let mut request = get("/api");
        request
            .headers_mut()
            .insert("accept", accept.parse().unwrap());
        request
    };
    text(send(&layer, accepting("json"), || full("{}")).0);
    text(send(&layer, accepting("yaml"), || full("---")).0);
    let mut keys = store.keys();
    keys.sort();
    assert_eq!(keys, ["json /api", "yaml /api"]);
    let (response, asked) = send(&layer, accepting("json"), || full("never"));
    assert_eq!((asked, text(response).as_str()), (0, "{}"));
    let (_, asked) = send(&layer, get("/api"), || full("no key"));
    assert_eq!(asked, 1);
}

#[test]
fn commits_at_the_true_end() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    // Length known by header, by the body, or not; the end told with the last frame, or not. The
    // reader stops after the last frame unless only the end itself tells.
    let cases = [
        (Some(6), None, false, true),
        (None, Some(6), false, true),
        (None, None, true, true),
        (None, None, false, false),
    ];
    for (at, (header, exact, tells_end, stops)) in cases.into_iter().enumerate() {
        let path = format!("/{at}");
        let answer = || {
            let body = Script {
                exact,
                tells_end,
                ..Script::data(&["one", "two"])
            };
            let mut response = script(body);
            if let Some(length) = header {
                response
                    .headers_mut()
                    .insert("content-length", length.into());
            }
            response
        };
        let (mut response, _) = send(&layer, get(&path), answer);
        let mut next = || block_on(response.body_mut().frame()).map(|frame| frame.unwrap());
        assert_eq!(next().unwrap().into_data().unwrap(), "one");
        assert_eq!(stored(&store, &path), None);
        assert_eq!(next().unwrap().into_data().unwrap(), "two");
        assert_eq!(stored(&store, &path).is_some(), stops, "case {at}");
        if !stops {
            assert!(next().is_none());
        }
        let dump = stored(&store, &path).unwrap();
        assert!(dump.ends_with("\r\n\r\nonetwo"), "{dump}");
        let (response, asked) = send(&layer, get(&path), || full("never"));
        assert_eq!((asked, text(response).as_str()), (0, "onetwo"));
    }
}

#[test]
fn answers_without_a_body_are_recorded_at_once() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    drop(send(&layer, get("/empty"), || full("")));
    assert!(stored(&store, "/empty").is_some());
    let no_content = || {
        let mut response = full("");
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    };
    drop(send(&layer, get("/204"), no_content));
    let (response, asked) = send(&layer, get("/204"), || full("never"));
    assert_eq!((asked, response.status()), (0, StatusCode::NO_CONTENT));
}

#[test]
fn what_is_cut_short_is_not_recorded() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let length = |length: u64, body: Script| {
        let mut response = script(body);
        response
            .headers_mut()
            .insert("content-length", length.into());
        response
    };

    // Given up by the reader.
    let (mut response, _) = send(&layer, get("/"), || script(Script::data(&["one", "two"])));
    block_on(response.body_mut().frame()).unwrap().unwrap();
    drop(response);
    // Never read.
    drop(send(&layer, get("/"), || script(Script::data(&["one"]))));
    // Shorter than promised.
    let (response, _) = send(&layer, get("/"), || {
        length(7, Script::data(&["one", "two"]))
    });
    assert_eq!(text(response), "onetwo");
    let (response, _) = send(&layer, get("/"), || {
        let tells_end = true;
        length(
            7,
            Script {
                tells_end,
                ..Script::default()
            },
        )
    });
    assert_eq!(text(response), "");
    // Longer.
    let (response, _) = send(&layer, get("/"), || length(2, Script::data(&["one"])));
    assert_eq!(text(response), "one");
    // Broken.
    let broken = || Script::data(&["one"]).then(Err(io::Error::other("broken pipe")));
    let (response, _) = send(&layer, get("/"), || script(broken()));
    let error = block_on(response.into_body().collect()).unwrap_err();
    assert_eq!(error.to_string(), "broken pipe");
    // With a header that is none.
    let (response, _) = send(&layer, get("/"), || {
        let mut response = script(Script::data(&["one"]));
        response
            .headers_mut()
            .insert("content-length", "1, 2".parse().unwrap());
        response
    });
    assert_eq!(text(response), "one");
    assert!(store.is_empty());
}

#[test]
fn trailers_are_passed_on_and_not_recorded() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let trailers = || HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    let body = || Script::data(&["one"]).then(Ok(Frame::trailers(trailers())));
    let (response, _) = send(&layer, get("/"), || script(body()));
    let collected = block_on(response.into_body().collect()).unwrap();
    assert_eq!(collected.trailers(), Some(&trailers()));
    assert_eq!(collected.to_bytes(), "one");
    assert!(store.is_empty());
}

#[test]
fn long_bodies_are_passed_on() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone()).max_body(5);
    // Told in advance, or found out on the way.
    for exact in [Some(6), None] {
        let body = || Script {
            exact,
            ..Script::data(&["one", "two"])
        };
        let (response, _) = send(&layer, get("/"), || script(body()));
        assert_eq!(text(response), "onetwo");
    }
    assert!(store.is_empty());
    let (response, _) = send(&layer, get("/"), || script(Script::data(&["on", "two"])));
    assert_eq!(text(response), "ontwo");
    assert_eq!(store.len(), 1);
}

#[test]
fn chunked_bodies_are_one_chunk() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let chunked = |body: Script| {
        let mut response = script(body);
        let chunked = "chunked".parse().unwrap();
        response.headers_mut().insert("transfer-encoding", chunked);
        response
    };
    text(
        send(&layer, get("/"), || {
            chunked(Script::data(&["one", "", "two"]))
        })
        .0,
    );
    let dump = stored(&store, "/").unwrap();
    assert!(dump.ends_with("\r\n\r\n6\r\nonetwo\r\n0\r\n\r\n"), "{dump}");

    // Unless they are too large to be held.
    let large = || (0..9).map(|n| vec![b'0' + n; 1 << 20]);
    let body = || Script {
        frames: large().map(|piece| Ok(Frame::data(piece.into()))).collect(),
        ..Script::default()
    };
    let (response, _) = send(&layer, get("/large"), || chunked(body()));
    assert!(text(response).into_bytes() == large().flatten().collect::<Vec<_>>());
    let (response, asked) = send(&layer, get("/large"), || full("never"));
    assert_eq!(asked, 0);
    assert!(text(response).into_bytes() == large().flatten().collect::<Vec<_>>());
}

#[test]
fn damaged_records_are_asked_for_again() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    for damage in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        "garbage",
    ] {
        block_on(store.put(&key("/"), Value::new("", damage))).unwrap();
        let replay = layer.clone().mode(Mode::Replay);
        let (response, _) = send(&replay, get("/"), || full("never"));
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        let (response, asked) = send(&layer, get("/"), || full("whole"));
        assert_eq!((asked, text(response).as_str()), (1, "whole"));
        let (response, asked) = send(&layer, get("/"), || full("never"));
        assert_eq!((asked, text(response).as_str()), (0, "whole"));
    }
}

/// Fails, or takes its time, in the operations named by its letters.
#[derive(Clone)]
struct Trouble {
    store: MapStore,
    fails: &'static str,
    waits: &'static str,
}

struct TroubledWriter(Trouble, Box<dyn Writer>);

impl Trouble {
    fn meet<T, F>(&self, what: char, op: F) -> Op<io::Result<T>>
    where
        T: Send + Unpin + 'static,
        F: FnOnce() -> Op<io::Result<T>> + Send + 'static,
    {
        let fails = self.fails.contains(what);
        let op = move || match fails {
            true => Op::Ready(Err(io::Error::other("trouble"))),
            false => op(),
        };
        if self.waits.contains(what) {
            return Op::wait(async {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                op().await
            });
        }
        op()
    }
}

impl Store for Trouble {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        let (store, key) = (self.store.clone(), key.to_owned());
        self.meet('g', move || store.get(&key))
    }

    fn put(&self, key: &str, value: Value) -> Op<io::Result<()>> {
        self.store.put(key, value)
    }

    fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let (this, key) = (self.clone(), key.to_owned());
        self.meet('o', move || {
            this.store.clone().create(&key, head).map(|writer| {
                writer.map(|writer| Box::new(TroubledWriter(this, writer)) as Box<dyn Writer>)
            })
        })
    }

    fn remove(&self, key: &str) -> Op<io::Result<bool>> {
        self.store.remove(key)
    }
}

impl Writer for TroubledWriter {
    fn write(&mut self, data: &Bytes) -> io::Result<()> {
        if self.0.fails.contains('w') {
            return Err(io::Error::other("trouble"));
        }
        self.1.write(data)
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        let Self(trouble, writer) = *self;
        trouble.meet('c', || writer.commit())
    }
}

#[test]
fn a_store_in_trouble_fails_no_request() {
    let bodies: [&[&str]; 3] = [&[], &["one"], &["one", "two", "three"]];
    for fails in ["g", "o", "w", "c", "gowc", ""] {
        for waits in ["", "g", "o", "c", "goc"] {
            for pieces in bodies {
                for exact in [false, true] {
                    let store = MapStore::new();
                    let trouble = Trouble {
                        store: store.clone(),
                        fails,
                        waits,
                    };
                    let whole = pieces.concat();
                    let answer = || {
                        script(Script {
                            exact: exact.then_some(whole.len() as u64),
                            tells_end: exact,
                            ..Script::data(pieces)
                        })
                    };
                    let layer = DiskStoreLayer::new(trouble);
                    let (response, asked) = send(&layer, get("/"), answer);
                    assert_eq!((asked, text(response)), (1, whole.clone()));
                    // Reading that fails doesn't keep it from being written.
                    let writes = fails.is_empty() || fails == "g";
                    let writes = writes || (fails == "w" && whole.is_empty());
                    let recorded = stored(&store, "/").is_some();
                    assert_eq!(recorded, writes, "{fails} {waits} {pieces:?} {exact}");
                    if recorded && fails != "g" {
                        let (response, asked) = send(&layer, get("/"), || full("never"));
                        assert_eq!((asked, text(response)), (0, whole.clone()));
                    }
                }
            }
        }
    }
}

#[test]
fn the_last_frame_waits_for_the_record() {
    let store = MapStore::new();
    let trouble = Trouble {
        store: store.clone(),
        fails: "",
        waits: "oc",
    };
    let layer = DiskStoreLayer::new(trouble);
    let answer = || {
        let exact = Some(6);
        script(Script {
            exact,
            ..Script::data(&["one", "two"])
        })
    };
    let (response, _) = send(&layer, get("/"), answer);
    let mut body = pin!(response.into_body());
    let mut next = task::spawn(());
    let mut next = |body: &mut Pin<&mut RecordBody<Script>>| {
        next.enter(|cx, _| {
            body.as_mut()
                .poll_frame(cx)
                .map(|frame| frame.unwrap().unwrap())
        })
    };
    let frame = assert_ready!(next(&mut body));
    assert_eq!(frame.into_data().unwrap(), "one");
    let mut waited = 0;
    let frame = loop {
        match next(&mut body) {
            Poll::Ready(frame) => break frame,
            Poll::Pending => {
                waited += 1;
                assert!(!body.is_end_stream());
                assert!(body.size_hint().lower() >= 3, "the frame is still to come");
                assert_eq!(stored(&store, "/"), None);
            }
        }
    };
    assert!(waited > 0);
    assert_eq!(frame.into_data().unwrap(), "two");
    assert!(stored(&store, "/").is_some());
}

#[test]
fn errors_of_the_inner_service_are_its_own() {
    #[derive(Debug, PartialEq)]
    struct Own(u32);
    let layer = DiskStoreLayer::new(MapStore::new());
    let inner = tower::service_fn(|_: Request<()>| async { Err::<Response<Script>, _>(Own(7)) });
    let error = block_on(layer.layer(inner).oneshot(get("/"))).unwrap_err();
    assert_eq!(error, Own(7));
}

type Mock = mock::Mock<Request<()>, Response<Full<Bytes>>>;

#[tokio::test]
async fn calls_the_service_that_was_made_ready() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store);
    // A fresh clone would wait for the one place for ever.
    let (inner, mut handle): (Mock, _) = mock::pair();
    let limited = ServiceBuilder::new()
        .layer(layer)
        .concurrency_limit(1)
        .service(inner);
    for path in ["/one", "/two", "/one"] {
        let mut service = limited.clone();
        let mut response = task::spawn(async {
            let response = service.ready().await.unwrap().call(get(path)).await;
            read(response.unwrap()).await
        });
        let mut done = response.poll();
        if done.is_pending() {
            let (_, answer) = handle.next_request().await.unwrap();
            answer.send_response(full("answer"));
            done = response.poll();
        }
        assert_eq!(assert_ready!(done), "answer");
    }
    // The third came from the store.
    drop(limited);
    assert!(handle.next_request().await.is_none());
}

#[tokio::test]
async fn waits_until_the_inner_service_is_ready() {
    let store = MapStore::new();
    let layer = DiskStoreLayer::new(store.clone());
    let (inner, mut handle): (Mock, _) = mock::pair();
    handle.allow(0);
    let mut service = task::spawn(layer.layer(inner.clone()));
    assert_pending!(
        service.enter(|cx, mut service| { Service::<Request<()>>::poll_ready(&mut *service, cx) })
    );
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready!(
        service.enter(|cx, mut service| { Service::<Request<()>>::poll_ready(&mut *service, cx) })
    )
    .unwrap();

    // Replay needs nobody.
    handle.allow(0);
    let mut replay = task::spawn(layer.mode(Mode::Replay).layer(inner));
    assert_ready!(
        replay.enter(|cx, mut service| { Service::<Request<()>>::poll_ready(&mut *service, cx) })
    )
    .unwrap();
}

#[tokio::test]
async fn a_slow_store_is_waited_for() {
    let store = MapStore::new();
    let trouble = Trouble {
        store: store.clone(),
        fails: "",
        waits: "g",
    };
    let layer = DiskStoreLayer::new(trouble);
    let (inner, mut handle): (Mock, _) = mock::pair();
    let mut service = layer.layer(inner);
    let call = service.ready().await.unwrap().call(get("/"));
    let answer = async {
        answer_to(&mut handle, "/").await;
    };
    let (response, ()) = tokio::join!(call, answer);
    assert_eq!(read(response.unwrap()).await, "answer");
    let response = service.ready().await.unwrap().call(get("/")).await;
    assert_eq!(read(response.unwrap()).await, "answer");
}

async fn answer_to(handle: &mut mock::Handle<Request<()>, Response<Full<Bytes>>>, path: &str) {
    let (request, answer) = handle.next_request().await.unwrap();
    assert_eq!(request.uri().path(), path);
    answer.send_response(full("answer"));
}

#[test]
fn any_request_body_and_any_data() {
    /// A body whose data is not `Bytes`.
    struct Chained(Option<bytes::buf::Chain<&'static [u8], &'static [u8]>>);
    impl Body for Chained {
        type Data = bytes::buf::Chain<&'static [u8], &'static [u8]>;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
            Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
        }
    }
    /// A request body that is nothing at all.
    struct Opaque;
    let layer = DiskStoreLayer::new(MapStore::new());
    let asked = Arc::new(Mutex::new(0));
    for _ in 0..2 {
        let asked = Arc::clone(&asked);
        let inner = tower::service_fn(move |_: Request<Opaque>| {
            *asked.lock().unwrap() += 1;
            let data = bytes::Buf::chain(&b"on"[..], &b"e"[..]);
            async { Ok::<_, Infallible>(Response::new(Chained(Some(data)))) }
        });
        let request = get("/").map(|()| Opaque);
        let response = block_on(layer.layer(inner).oneshot(request)).unwrap();
        assert_eq!(text(response), "one");
    }
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[test]
fn shows_what_it_is() {
    let layer = DiskStoreLayer::new(MapStore::new());
    assert_eq!(
        format!("{layer:?}"),
        "DiskStoreLayer { mode: ReadThrough, max_body: 67108864, .. }"
    );
    let service = layer.layer("inner");
    assert_eq!(
        format!("{service:?}"),
        "DiskStoreService { inner: \"inner\", mode: ReadThrough, .. }"
    );
    let (response, _) = send(&layer, get("/"), || full("body"));
    assert_eq!(format!("{:?}", response.body()), "RecordBody(\"recorded\")");
    let (response, _) = send(&layer, get("/"), || full("body"));
    text(response);
    let (response, _) = send(&layer, get("/"), || full("never"));
    assert_eq!(format!("{:?}", response.body()), "RecordBody(\"stored\")");
}
