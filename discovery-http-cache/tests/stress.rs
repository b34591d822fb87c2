//! Many requests at once on several threads, of which some are given up at any moment.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::store::{MapStore, Op, PutOptions, Store, Value, Writer};
use discovery_http_cache::{BoxFuture, HttpCacheLayer};
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

const KEYS: usize = 4;
const THREADS: usize = 4;

/// A test that hangs fails.
const LIMIT: Duration = Duration::from_secs(60);

/// xorshift64*.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// A body whose bytes follow from its number, so that no two bodies can be mixed unseen.
struct Numbered {
    pieces: VecDeque<Bytes>,
    is_cut: bool,
    /// Waits, with its task woken, before every second step.
    yields: bool,
}

fn bytes(number: u64, size: usize) -> Vec<u8> {
    let mut random = Random::new(number);
    (0..size).map(|_| random.below(256) as u8).collect()
}

impl Body for Numbered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.yields = !self.yields;
        if self.yields {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.is_cut => {
                self.is_cut = false;
                Poll::Ready(Some(Err("cut".into())))
            }
            None => Poll::Ready(None),
        }
    }
}

#[derive(Default)]
struct Origin {
    requests: AtomicUsize,
    numbers: AtomicU64,
    /// The number of changes, by key.
    versions: [AtomicU64; KEYS],
}

#[derive(Clone)]
struct Server {
    origin: Arc<Origin>,
    /// Whether some bodies break off, and some answers may not be stored.
    is_bad: bool,
}

impl Service<Request<Empty<Bytes>>> for Server {
    type Response = Response<Numbered>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let Self { origin, is_bad } = self.clone();
        Box::pin(async move {
            origin.requests.fetch_add(1, Ordering::SeqCst);
            let key: usize = request.uri().path()[1..].parse().unwrap();
            if request.method() == Method::PUT {
                let version = origin.versions[key].fetch_add(1, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                let response = Response::builder().header("x-version", version);
                return Ok(response.body(numbered(0, 0, false)).unwrap());
            }
            let version = origin.versions[key].load(Ordering::SeqCst);
            let number = origin.numbers.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let mut random = Random::new(!number);
            let size = random.below(3) as usize * 2_000;
            let kind = random.below(10);
            let response = Response::builder()
                .header("x-version", version)
                .header("x-number", number)
                .header("x-size", size)
                .header("x-accept", request.headers()["accept"].clone())
                .header("vary", "accept");
            let response = match kind {
                0 if is_bad => response.header("cache-control", "no-store"),
                1 if is_bad => response.header("cache-control", "max-age=0"),
                _ => response.header("cache-control", "max-age=600"),
            };
            let response = match kind % 2 {
                0 => response.header("content-length", size),
                _ => response,
            };
            Ok(response
                .body(numbered(number, size, is_bad && kind == 2))
                .unwrap())
        })
    }
}

fn numbered(number: u64, size: usize, is_cut: bool) -> Numbered {
    let whole = bytes(number, size);
    let pieces = whole.chunks(700).map(Bytes::copy_from_slice);
    Numbered {
        pieces: pieces.collect(),
        is_cut,
        yields: number.is_multiple_of(2),
    }
}

/// Polls a future so many times at most, and then drops it.
async fn at_most<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A store whose operations happen only after their task has yielded.
#[derive(Clone, Default)]
struct Yielding(MapStore);

impl Yielding {
    fn later<T: Send + Unpin + 'static>(
        &self,
        op: impl FnOnce(&MapStore) -> Op<T> + Send + 'static,
    ) -> Op<T> {
        let store = self.0.clone();
        Op::wait(async move {
            tokio::task::yield_now().await;
            op(&store).await
        })
    }
}

impl Store for Yielding {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        let key = key.to_owned();
        self.later(move |store| store.get(&key))
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        let key = key.to_owned();
        self.later(move |store| store.put_with(&key, value, options))
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let key = key.to_owned();
        self.later(move |store| store.create_with(&key, head, options))
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        let key = key.to_owned();
        self.later(move |store| store.remove(&key))
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(THREADS).enable_time();
    builder.build().unwrap()
}

fn request(method: Method, key: usize, accept: &str) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).header("accept", accept);
    let request = request.uri(format!("https://h/{key}"));
    request.body(Empty::new()).unwrap()
}

fn number<B>(response: &Response<B>, name: &str) -> u64 {
    response.headers()[name].to_str().unwrap().parse().unwrap()
}

/// Reads a response and compares it with what the server has sent under its number. Returns whether it was whole.
async fn check<B>(response: Response<B>, accept: &str) -> bool
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    assert_eq!(response.headers()["x-accept"], accept);
    let size = usize::try_from(number(&response, "x-size")).unwrap();
    let expected = bytes(number(&response, "x-number"), size);
    let hint = response.body().size_hint().exact();
    assert!(hint.is_none_or(|hint| hint == size as u64));
    match response.into_body().collect().await {
        Ok(body) => {
            assert!(body.to_bytes() == expected, "the bytes of another response");
            true
        }
        Err(_) => false,
    }
}

fn stress(store: impl Store, has_executor: bool) {
    let runtime = runtime();
    let origin = Arc::new(Origin::default());
    let layer = HttpCacheLayer::new(store);
    let layer = if has_executor {
        let spawner = runtime.handle().clone();
        layer.executor(Spawner(spawner))
    } else {
        layer
    };
    let service = layer.layer(Server {
        origin: Arc::clone(&origin),
        is_bad: true,
    });
    let sent = Arc::new(AtomicUsize::new(0));
    let run = async {
        let mut tasks = JoinSet::new();
        for seed in 0..64 {
            let (service, origin, sent) = (service.clone(), Arc::clone(&origin), Arc::clone(&sent));
            tasks.spawn(async move {
                let mut random = Random::new(seed + 1);
                for _ in 0..60 {
                    let key = usize::try_from(random.below(KEYS as u64)).unwrap();
                    let accept = ["a", "b", "c"][random.below(3) as usize];
                    let polls = match random.below(3) {
                        0 => random.below(12),
                        _ => u64::MAX,
                    };
                    sent.fetch_add(1, Ordering::SeqCst);
                    if random.below(20) == 0 {
                        let put = service.clone().oneshot(request(Method::PUT, key, accept));
                        at_most(polls, put).await;
                        continue;
                    }
                    let response = service.clone().oneshot(request(Method::GET, key, accept));
                    let read = async { check(response.await.unwrap(), accept).await };
                    at_most(polls, read).await;
                }
                drop(origin);
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        // Nothing is left that anybody waits for.
        for key in 0..KEYS {
            for accept in ["a", "b", "c"] {
                let response = service.clone().oneshot(request(Method::GET, key, accept));
                check(response.await.unwrap(), accept).await;
            }
        }
    };
    runtime.block_on(async { tokio::time::timeout(LIMIT, run).await.expect("it hangs") });
    let requests = origin.requests.load(Ordering::SeqCst);
    let sent = sent.load(Ordering::SeqCst) + KEYS * 3;
    assert!(requests < sent, "{requests} of {sent}");
}

struct Spawner(tokio::runtime::Handle);

impl hyper::rt::Executor<BoxFuture<()>> for Spawner {
    fn execute(&self, future: BoxFuture<()>) {
        self.0.spawn(future);
    }
}

#[test]
fn every_body_is_that_of_its_head_over_a_store_that_answers_at_once() {
    stress(MapStore::new(), true);
}

#[test]
fn every_body_is_that_of_its_head_over_a_store_that_takes_its_time() {
    stress(Yielding::default(), false);
}

/// One request is forwarded for all of a key, whatever the threads do.
#[test]
fn one_request_for_each_key_and_variant_however_the_threads_run() {
    let runtime = runtime();
    for round in 0..60 {
        let origin = Arc::new(Origin::default());
        let server = Server {
            origin: Arc::clone(&origin),
            is_bad: false,
        };
        let slow = round % 2 == 0;
        let service = if slow {
            HttpCacheLayer::new(Yielding::default()).layer(server)
        } else {
            HttpCacheLayer::new(MapStore::new()).layer(server)
        };
        let run = async {
            let mut tasks = JoinSet::new();
            for n in 0..40 {
                let service = service.clone();
                tasks.spawn(async move {
                    let response = service.oneshot(request(Method::GET, n % 2, "a")).await;
                    assert!(check(response.unwrap(), "a").await);
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
        };
        runtime.block_on(async { tokio::time::timeout(LIMIT, run).await.expect("it hangs") });
        assert_eq!(origin.requests.load(Ordering::SeqCst), 2, "round {round}");
    }
}

/// RFC 9111 §4.4: what is asked for after a change has been answered is never from before it.
#[test]
fn no_response_is_older_than_a_change_that_was_answered_before_the_request() {
    for slow in [false, true] {
        let runtime = runtime();
        let origin = Arc::new(Origin::default());
        let server = Server {
            origin: Arc::clone(&origin),
            is_bad: true,
        };
        let service = if slow {
            HttpCacheLayer::new(Yielding::default()).layer(server)
        } else {
            HttpCacheLayer::new(MapStore::new()).layer(server)
        };
        let answered: Arc<[AtomicU64; KEYS]> = Arc::default();
        let run = async {
            let mut tasks = JoinSet::new();
            for seed in 0..32 {
                let (service, answered) = (service.clone(), Arc::clone(&answered));
                tasks.spawn(async move {
                    let mut random = Random::new(seed + 1);
                    for _ in 0..100 {
                        let key = usize::try_from(random.below(KEYS as u64)).unwrap();
                        let accept = ["a", "b"][random.below(2) as usize];
                        if random.below(8) == 0 {
                            let put = service.clone().oneshot(request(Method::PUT, key, accept));
                            let version = number(&put.await.unwrap(), "x-version");
                            answered[key].fetch_max(version, Ordering::SeqCst);
                            continue;
                        }
                        let at_least = answered[key].load(Ordering::SeqCst);
                        let get = service.clone().oneshot(request(Method::GET, key, accept));
                        let response = get.await.unwrap();
                        let version = number(&response, "x-version");
                        assert!(
                            version >= at_least,
                            "{version} after {at_least}, slow: {slow}"
                        );
                        check(response, accept).await;
                    }
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
        };
        runtime.block_on(async { tokio::time::timeout(LIMIT, run).await.expect("it hangs") });
    }
}
