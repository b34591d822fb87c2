//! A server that answers as told, and bodies frame by frame.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_core::BoxError;
use discovery_core::store::Store;
use discovery_disk::record::{Body as RecordBody, DiskStoreLayer};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use tokio_test::block_on;
use tower::{Layer, ServiceExt};

/// Frames one by one; tells its length and its end only if asked to.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) frames: VecDeque<Result<Frame<Bytes>, io::Error>>,
    pub(crate) exact: Option<u64>,
    pub(crate) tells_end: bool,
}

impl Script {
    pub(crate) fn data(pieces: &[&'static str]) -> Self {
        let frames = pieces.iter().map(|piece| Ok(Frame::data((*piece).into())));
        Self {
            frames: frames.collect(),
            ..Self::default()
        }
    }

    pub(crate) fn then(mut self, frame: Result<Frame<Bytes>, io::Error>) -> Self {
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

/// A request without content.
pub(crate) type Get = Request<Empty<Bytes>>;

pub(crate) fn get(path: &str) -> Get {
    Request::get(format!("https://host:6443{path}"))
        .body(Empty::new())
        .unwrap()
}

pub(crate) fn key(path: &str) -> String {
    format!("https://host:6443{path}")
}

pub(crate) fn stored(store: &dyn Store, path: &str) -> Option<String> {
    let value = block_on(store.get(&key(path))).unwrap()?;
    Some(String::from_utf8(value.into_bytes().into()).unwrap())
}

pub(crate) fn text<B: Body<Data = Bytes, Error: std::fmt::Debug>>(response: Response<B>) -> String {
    block_on(read(response))
}

pub(crate) async fn read<B: Body<Data = Bytes, Error: std::fmt::Debug>>(
    response: Response<B>,
) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}

/// Sends one request through a layer to a service that answers with `answer`. Returns the response, and how often
/// the service was asked.
pub(crate) fn send<B, R>(
    layer: &DiskStoreLayer,
    request: Request<B>,
    answer: impl Fn() -> Response<R>,
) -> (Response<RecordBody<R>>, u32)
where
    B: Body + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let answer = Arc::new(Mutex::new(Some(answer())));
    let inner = tower::service_fn(move |_: Request<B>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let response = answer.lock().unwrap().take();
        async { Ok::<_, Infallible>(response.expect("a request is sent once")) }
    });
    let response = block_on(layer.layer(inner).oneshot(request)).unwrap();
    (response, asked.load(Ordering::SeqCst))
}

pub(crate) fn full(body: &'static str) -> Response<Full<Bytes>> {
    Response::new(body.into())
}

pub(crate) fn script(body: Script) -> Response<Script> {
    Response::new(body)
}
