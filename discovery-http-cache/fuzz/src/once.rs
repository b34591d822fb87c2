use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::store::{MapStore, Store, Value};
use discovery_core::sync::clock::ManualClock;
use discovery_http_cache::HttpCacheLayer;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::origin::Frames;

/// When the clock of an [`Ask`] starts: 2026-11-21T23:10:00Z.
///
/// ```
/// use std::time::SystemTime;
///
/// assert!(discovery_http_cache_fuzz::start() > SystemTime::UNIX_EPOCH);
/// ```
#[must_use]
pub fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_302_600)
}

/// A cache with a store and a clock of its own, for questions of the kind "is it reused, after that".
#[derive(Debug)]
pub struct Ask {
    clock: ManualClock,
    store: MapStore,
    layer: HttpCacheLayer<MapStore>,
}

/// The result of one request.
#[derive(Debug)]
pub struct Reply {
    /// Whether the server was asked.
    pub asked: bool,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it came.
    pub body: Vec<u8>,
}

impl Ask {
    /// A cache, with other options than the usual.
    ///
    /// ```
    /// use discovery_http_cache_fuzz::Ask;
    /// use http::{HeaderMap, Response, StatusCode};
    ///
    /// let ask = Ask::new(|layer| layer);
    /// let mut answer = Response::new("hello");
    /// answer.headers_mut().insert("cache-control", "max-age=5".parse().unwrap());
    /// assert!(ask.get(&HeaderMap::new(), &answer).asked);
    /// assert!(!ask.get(&HeaderMap::new(), &answer).asked);
    /// ask.wait(5);
    /// assert!(ask.get(&HeaderMap::new(), &answer).asked);
    /// ```
    #[must_use]
    pub fn new(options: impl FnOnce(HttpCacheLayer<MapStore>) -> HttpCacheLayer<MapStore>) -> Self {
        let (clock, store) = (ManualClock::new(start()), MapStore::new());
        let layer = HttpCacheLayer::new(store.clone()).clock(clock.clone());
        Self {
            clock,
            store,
            layer: options(layer),
        }
    }

    /// Lets so many seconds pass.
    pub fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Sends a GET with these headers. If the server is asked, this is what it answers.
    ///
    /// # Panics
    ///
    /// When the answer does not come at once.
    #[must_use]
    pub fn get(&self, headers: &HeaderMap, answer: &Response<&str>) -> Reply {
        let asked = Arc::new(AtomicUsize::new(0));
        let origin = Fixed {
            asked: Arc::clone(&asked),
            answer: Arc::new(answer.clone().map(str::to_owned)),
        };
        let mut cache = self.layer.layer(origin);
        let mut request = Request::new(Frames::of(""));
        *request.uri_mut() = "https://h:6443/apis".parse().expect("a URI");
        *request.headers_mut() = headers.clone();
        let mut context = Context::from_waker(Waker::noop());
        assert!(cache.poll_ready(&mut context).is_ready());
        let mut future = std::pin::pin!(cache.call(request));
        let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut context) else {
            panic!("there is nothing to wait for");
        };
        let (parts, body) = response.into_parts();
        let (mut body, mut data) = (std::pin::pin!(body), Vec::new());
        while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) {
            data.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        Reply {
            asked: asked.load(Ordering::Relaxed) > 0,
            status: parts.status,
            headers: parts.headers,
            body: data,
        }
    }

    /// The stored values, of all keys.
    #[must_use]
    pub fn stored(&self) -> Vec<Bytes> {
        let value = |key: &String| crate::world::now(self.store.get(key));
        let keys = self.store.all_keys();
        keys.iter()
            .filter_map(value)
            .map(Value::into_bytes)
            .collect()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &MapStore {
        &self.store
    }
}

/// Always answers the same.
#[derive(Clone)]
struct Fixed {
    asked: Arc<AtomicUsize>,
    answer: Arc<Response<String>>,
}

impl Service<Request<Frames>> for Fixed {
    type Response = Response<Frames>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Frames>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Frames::of(self.answer.body()));
        *response.status_mut() = self.answer.status();
        *response.headers_mut() = self.answer.headers().clone();
        std::future::ready(Ok(response))
    }
}
