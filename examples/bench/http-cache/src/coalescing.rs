//! A thousand tasks that ask for one expired key at the same time.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use discovery_bench_http_cache::{body, caches, get, origin, send};
use http::{Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;
use tower::{Service, service_fn, util::BoxCloneService};

use crate::{median, report};

type Server = BoxCloneService<Request<Empty<Bytes>>, Response<Full<Bytes>>, Infallible>;

const URI: &str = "http://127.0.0.1:6443/openapi/v3";
const TASKS: usize = 1000;
const RUNS: usize = 15;
const SIZE: usize = 64 << 10;
/// How long the service takes.
const TAKES: Duration = Duration::from_millis(20);

pub(crate) fn run() {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for (kind, validates) in [("304", true), ("200", false)] {
        measure(
            &runtime,
            &format!("{kind}/ours-memory"),
            validates,
            |server| caches::ours(caches::memory(), server),
        );
        let dir = tempfile::tempdir().expect("a directory");
        let mut run = 0;
        measure(
            &runtime,
            &format!("{kind}/ours-disk"),
            validates,
            |server| {
                run += 1;
                caches::ours(caches::disk(&dir.path().join(run.to_string())), server)
            },
        );
        measure(&runtime, &format!("{kind}/moka"), validates, caches::moka);
    }
}

fn measure<S, B>(runtime: &Runtime, name: &str, validates: bool, mut cache: impl FnMut(Server) -> S)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Debug,
    S::Future: Send,
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Debug,
{
    let (mut times, mut most) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let asked = Arc::new(AtomicU64::new(0));
        let server = server(Arc::clone(&asked), validates);
        let (elapsed, requests) = runtime.block_on(storm(cache(server), &asked));
        times.push(elapsed.as_secs_f64() * 1000.0);
        most = most.max(requests);
    }
    report(&format!("coalescing/{name}/ms"), median(times));
    report(&format!("coalescing/{name}/requests"), most);
}

/// From the moment that all tasks are there until all have their answers.
async fn storm<S, B>(mut service: S, asked: &AtomicU64) -> (Duration, u64)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Debug,
    S::Future: Send,
    B: http_body::Body + Send,
    B::Data: Send,
    B::Error: Debug,
{
    send(&mut service, get(URI)).await;
    let before = asked.load(Ordering::Relaxed);
    let barrier = Arc::new(Barrier::new(TASKS + 1));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (mut service, barrier) = (service.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                let response = send(&mut service, get(URI)).await;
                assert_eq!(response.body().len(), SIZE);
            })
        })
        .collect();
    barrier.wait().await;
    let start = Instant::now();
    for task in tasks {
        task.await.expect("an answer");
    }
    (start.elapsed(), asked.load(Ordering::Relaxed) - before)
}

/// The first answer has expired when it comes, later ones are fresh.
fn server(asked: Arc<AtomicU64>, validates: bool) -> Server {
    let document = body(SIZE);
    BoxCloneService::new(service_fn(move |request: Request<Empty<Bytes>>| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        let confirmed = request.headers().contains_key(header::IF_NONE_MATCH);
        let document = if confirmed {
            Bytes::new()
        } else {
            document.clone()
        };
        async move {
            if !first {
                tokio::time::sleep(TAKES).await;
            }
            let age = Duration::from_secs(if first { 1000 } else { 0 });
            let mut response = Response::new(Full::new(document));
            if confirmed {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
            }
            let headers = response.headers_mut();
            headers.insert(
                header::CACHE_CONTROL,
                "max-age=60".parse().expect("a field"),
            );
            headers.insert(header::DATE, origin::date(SystemTime::now() - age));
            headers.insert(header::AGE, age.as_secs().into());
            if validates {
                headers.insert(header::ETAG, "\"v1\"".parse().expect("a field"));
            }
            Ok(response)
        }
    }))
}
