//! Peak memory of a body of one GiB that goes into a store on disk while it is read.
//!
//! Each case is a process of its own, which says what its resident set was at most.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll};

use bytes::Bytes;
use discovery_bench_http_cache::{caches, get, runtime};
use discovery_disk::KubectlStore;
use discovery_disk::store::DiskStoreOptions;
use discovery_http_cache::HttpCacheLayer;
use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, Service, ServiceExt};

use crate::report;

/// The first argument of the processes that do the work.
pub(crate) const CHILD: &str = "large-child";

const URI: &str = "http://127.0.0.1:6443/large";
const FRAME: usize = 64 << 10;
const SIZE: u64 = 1 << 30;
/// More than the body.
const LIMIT: u64 = 2 << 30;

pub(crate) fn run() {
    for length in ["announced", "unknown"] {
        for kind in ["bare", "ours", "streaming"] {
            let program = std::env::current_exe().expect("this program");
            let mut child = Command::new(program);
            child.args([CHILD, kind, length]).stderr(Stdio::inherit());
            let output = child.output().expect("a process");
            assert!(output.status.success(), "{kind}: {}", output.status);
            let peak = String::from_utf8_lossy(&output.stdout);
            report(&format!("large/{length}/{kind}/kB"), peak.trim());
        }
    }
}

/// Reads the body once, and prints the largest resident set in kB.
pub(crate) fn child(kind: &str, length: &str) {
    let announced = length == "announced";
    let server = tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
        let mut response = Response::new(Frames { left: SIZE });
        let headers = response.headers_mut();
        headers.insert(
            header::CACHE_CONTROL,
            "max-age=60".parse().expect("a field"),
        );
        if announced {
            headers.insert(header::CONTENT_LENGTH, SIZE.into());
        }
        Ok::<_, Infallible>(response)
    });
    let dir = tempfile::tempdir().expect("a directory");
    runtime().block_on(async {
        match kind {
            "ours" => {
                let options = DiskStoreOptions::new().max_value_size(LIMIT);
                let store = KubectlStore::with_options(dir.path(), options);
                let layer = HttpCacheLayer::new(store).max_body_size(LIMIT);
                read(layer.layer(server)).await;
                assert!(stored(dir.path()) > SIZE, "not stored");
                assert_eq!(layer.handle().stats().stores, 1);
            }
            "streaming" => {
                read(caches::streaming(dir.path(), LIMIT, server).await).await;
                assert!(stored(dir.path()) > SIZE, "not stored");
            }
            _ => read(server).await,
        }
    });
    println!("{}", peak());
}

async fn read<S, B>(service: S)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = service.oneshot(get(URI)).await.expect("an answer");
    let mut body = std::pin::pin!(response.into_body());
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        seen += frame.expect("a frame").data_ref().map_or(0, Bytes::len) as u64;
    }
    assert_eq!(seen, SIZE);
}

/// How many bytes are in a directory's files.
fn stored(dir: &Path) -> u64 {
    let entries = dir.read_dir().expect("a directory");
    entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| match entry.metadata().expect("its metadata") {
            data if data.is_dir() => stored(&entry.path()),
            data => data.len(),
        })
        .sum()
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.expect("the largest resident set")
}

/// A body whose frames are made when they are asked for. It does not say how long it is.
struct Frames {
    left: u64,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= FRAME as u64;
        let data = Bytes::from(vec![self.left as u8; FRAME]);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
