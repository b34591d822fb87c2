//! Misses on few keys by many tasks, beside as many keys as tasks: waiting for others must not cost.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use discovery_bench_http_cache::{body, caches, get, send};
use http::{Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;

use crate::{median, report};

const TASKS: usize = 64;
const FEW: usize = 8;
const RUNS: usize = 9;
const SIZE: usize = 4 << 10;

#[derive(Clone, Copy, PartialEq)]
enum Answers {
    /// New keys in each round, whose answers are stored.
    Stored,
    /// Answers that have to be validated each time, and are confirmed.
    Confirmed,
    /// Answers that can be used once.
    Once,
}

pub(crate) fn run() {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let kinds = [
        ("stored", Answers::Stored),
        ("304", Answers::Confirmed),
        ("no-store", Answers::Once),
    ];
    for (delay, millis, rounds) in [("5ms", 5, 30), ("at-once", 0, 400)] {
        for (kind, answers) in kinds {
            let delay_for = Duration::from_millis(millis);
            let (mut few, mut many) = (Vec::new(), Vec::new());
            // In turns, so that noise of the machine meets both.
            for _ in 0..RUNS {
                few.push(measure(&runtime, FEW, answers, delay_for, rounds));
                many.push(measure(&runtime, TASKS, answers, delay_for, rounds));
            }
            report(&format!("throughput/{delay}/{kind}/few"), median(few));
            report(&format!("throughput/{delay}/{kind}/many"), median(many));
        }
    }
}

/// Answers in a second.
fn measure(
    runtime: &Runtime,
    keys: usize,
    answers: Answers,
    delay: Duration,
    rounds: usize,
) -> f64 {
    let document = body(SIZE);
    let server = tower::service_fn(move |request: Request<Empty<Bytes>>| {
        let document = document.clone();
        async move {
            if delay.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(delay).await;
            }
            Ok::<_, Infallible>(answer(&request, answers, document))
        }
    });
    let service = caches::ours(caches::memory(), server);
    let elapsed = runtime.block_on(async {
        let barrier = Arc::new(Barrier::new(TASKS + 1));
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (mut service, barrier) = (service.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    for round in 0..rounds {
                        let round = if answers == Answers::Stored { round } else { 0 };
                        let uri = format!("http://127.0.0.1:6443/{round}/{}", task % keys);
                        let response = send(&mut service, get(&uri)).await;
                        assert_eq!(response.body().len(), SIZE);
                    }
                })
            })
            .collect();
        barrier.wait().await;
        let start = Instant::now();
        for task in tasks {
            task.await.expect("answers");
        }
        start.elapsed()
    });
    (TASKS * rounds) as f64 / elapsed.as_secs_f64()
}

fn answer(
    request: &Request<Empty<Bytes>>,
    answers: Answers,
    document: Bytes,
) -> Response<Full<Bytes>> {
    let confirmed = request.headers().contains_key(header::IF_NONE_MATCH);
    let control = match answers {
        Answers::Stored => "max-age=86400",
        Answers::Confirmed => "no-cache",
        Answers::Once => "no-store",
    };
    let document = if confirmed { Bytes::new() } else { document };
    let mut response = Response::new(Full::new(document));
    if confirmed {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, control.parse().expect("a field"));
    headers.insert(header::ETAG, "\"v1\"".parse().expect("a field"));
    response
}
