//! Stale responses: while they are validated behind, and when the server is out of reach.

mod common;

use common::{Broken, Server, World, get};
use discovery_core::testing::ManualExecutor;
use discovery_http_cache::{HttpCache, HttpCacheLayer};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};

struct Behind {
    world: World,
    later: ManualExecutor,
    service: HttpCache<Server>,
}

impl Behind {
    async fn new(cc: &str) -> Self {
        let world = World::strict();
        let later = ManualExecutor::new();
        let layer: HttpCacheLayer<_> = world.layer.clone().executor(later.clone());
        let service = layer.layer(world.server.clone());
        world
            .server
            .ok(&[("cache-control", cc), ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        Self {
            world,
            later,
            service,
        }
    }

    async fn get(&self, headers: &[(&str, &str)]) -> String {
        let response = self.service.clone().oneshot(get(headers)).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

const SWR: &str = "max-age=10, stale-while-revalidate=30";

/// RFC 5861 §3.
#[tokio::test]
async fn answers_at_once_and_validates_behind() {
    let behind = Behind::new(SWR).await;
    behind.world.pass(20);
    for _ in 0..3 {
        assert_eq!(behind.get(&[("range", "bytes=0-1")]).await, "on");
    }
    assert_eq!(behind.later.len(), 1, "one refresh for each key");
    behind.world.server.ok(&[("cache-control", SWR)], "two");
    behind.later.run().await;
    assert_eq!(behind.get(&[]).await, "two");
    assert_eq!(behind.later.len(), 0);

    // A failure leaves the next caller to it, and what may still be served stays.
    behind.world.pass(20);
    assert_eq!(behind.get(&[]).await, "two");
    for failure in [None, Some(503)] {
        match failure {
            Some(status) => behind.world.server.answer(status, &[], ""),
            None => behind.world.server.fail(),
        }
        behind.later.run().await;
        assert_eq!(behind.get(&[]).await, "two", "{failure:?}");
        assert_eq!(behind.later.len(), 1);
    }
    behind.world.server.answer(404, &[], "");
    behind.later.run().await;
    assert_eq!(behind.world.store.len(), 0);
    behind.world.server.ok(&[], "three");
    assert_eq!(behind.get(&[]).await, "three");
}

#[tokio::test]
async fn the_callers_request_is_the_refresh() {
    let behind = Behind::new(SWR).await;
    behind.world.pass(20);
    behind
        .get(&[("x-trace", "7"), ("if-none-match", "\"0\"")])
        .await;
    behind
        .world
        .server
        .answer(304, &[("cache-control", SWR)], "");
    behind.later.run().await;
    let asked = behind.world.server.last().headers;
    assert_eq!(
        (&asked["x-trace"], &asked["if-none-match"]),
        (&"7".parse().unwrap(), &"\"1\"".parse().unwrap())
    );
    // Fresh again.
    assert_eq!(behind.get(&[]).await, "one");
    assert_eq!(behind.world.server.requests(), 2);
}

#[tokio::test]
async fn when_it_validates_before() {
    for (cc, elapsed, request) in [
        (SWR, 41, ""),
        (SWR, 20, "no-cache"),
        (SWR, 20, "max-age=15"),
        (SWR, 20, "min-fresh=1"),
        (
            "max-age=10, stale-while-revalidate=30, must-revalidate",
            20,
            "",
        ),
        ("max-age=10, stale-while-revalidate=30, no-cache", 20, ""),
        ("max-age=10, stale-while-revalidate", 20, ""),
        ("max-age=10, stale-while-revalidate=x", 20, ""),
    ] {
        let behind = Behind::new(cc).await;
        behind.world.pass(elapsed);
        behind.world.server.ok(&[], "two");
        let cc = [("cache-control", request)];
        let headers = if request.is_empty() { &[][..] } else { &cc[..] };
        assert_eq!(
            behind.get(headers).await,
            "two",
            "{cc:?} {elapsed} {request}"
        );
        assert_eq!(behind.later.len(), 0);
    }
    // And without an executor.
    let behind = Behind::new(SWR).await;
    behind.world.pass(20);
    behind.world.server.ok(&[], "two");
    assert_eq!(behind.world.get(&[]).await.body, "two");
}

#[tokio::test]
async fn a_refresh_that_never_runs_blocks_nobody() {
    let behind = Behind::new(SWR).await;
    behind.world.pass(20);
    behind.get(&[]).await;
    drop(behind.later.take());
    behind.get(&[]).await;
    assert_eq!(behind.later.len(), 1);
}

/// `call` may be outside of the runtime that an executor needs.
#[tokio::test]
async fn what_is_validated_behind_starts_when_the_answer_is_polled() {
    let behind = Behind::new(SWR).await;
    behind.world.pass(20);
    let answer = tower::Service::call(&mut behind.service.clone(), get(&[]));
    assert_eq!(behind.later.len(), 0);
    let body = answer.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "one");
    assert_eq!(behind.later.len(), 1);
    behind.world.server.ok(&[("cache-control", SWR)], "two");
    behind.later.run().await;
    // Dropped before: nothing is validated, and the next one does it.
    behind.world.pass(20);
    drop(tower::Service::call(&mut behind.service.clone(), get(&[])));
    let kept = tower::Service::call(&mut behind.service.clone(), get(&[]));
    assert_eq!(behind.get(&[]).await, "two");
    assert_eq!(behind.later.len(), 1);
    drop(behind.later.take());
    // Nobody waits for one that is kept, and it is not what it would have been.
    behind.world.pass(40);
    behind.world.server.ok(&[("cache-control", SWR)], "three");
    assert_eq!(behind.get(&[]).await, "three");
    let body = kept.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "three");
}

/// RFC 9111 §4.2.4, §5.2.2.2, §5.2.2.4.
#[tokio::test]
async fn disconnected() {
    let table = [
        // (option, response, error status or failure, whether it is served stale)
        (true, "max-age=10", None, true),
        (true, "max-age=10, must-revalidate", None, false),
        (true, "max-age=10, no-cache", None, false),
        (true, "max-age=10", Some(503), false),
        (false, "max-age=10", None, false),
    ];
    for (option, cc, status, stale) in table {
        let world = World::new(|layer| layer.stale_if_disconnected(option));
        world
            .server
            .ok(&[("cache-control", cc), ("etag", "\"1\"")], "one");
        world.get(&[]).await;
        world.pass(1000);
        match status {
            Some(status) => world.server.answer(status, &[], "error"),
            None => world.server.fail(),
        }
        match world.send(get(&[])).await {
            Ok(got) if stale => {
                assert_eq!(
                    (&got.body[..], got.header("age")),
                    (&b"one"[..], Some("1000"))
                );
            }
            Ok(got) => assert_eq!(Some(got.status.as_u16()), status),
            Err(error) => assert_eq!((error, stale), (Broken("refused"), false), "{cc}"),
        }
    }
}

/// RFC 5861 §4: what a request asks for is stronger than what a response allows, but for what the
/// request allows itself.
#[tokio::test]
async fn requests_that_want_no_stale_response() {
    for (request, stale) in [
        ("", true),
        ("no-cache", false),
        ("no-cache, stale-if-error=60", false),
        ("max-age=0", false),
        ("max-age=15", false),
        ("max-age=30", true),
        ("min-fresh=1", false),
        ("max-age=0, stale-if-error=60", true),
    ] {
        for status in [Some(503), None] {
            let world = World::new(|layer| layer.stale_if_disconnected(true));
            let cc = ("cache-control", "max-age=10, stale-if-error=60");
            world.server.ok(&[cc, ("etag", "\"1\"")], "one");
            world.get(&[]).await;
            world.pass(20);
            match status {
                Some(status) => world.server.answer(status, &[], "error"),
                None => world.server.fail(),
            }
            let headers = [("cache-control", request)];
            let headers = if request.is_empty() {
                &[][..]
            } else {
                &headers
            };
            let got = world.send(get(headers)).await;
            assert_eq!(
                got.is_ok_and(|got| got.body == "one"),
                stale,
                "{request} {status:?}"
            );
            // For others it is as good as before.
            assert_eq!(world.store.len(), 1);
        }
    }
}

/// A refresh that hangs is given up where a timer is given, and the key can be refreshed again; without one, the next
/// refresh begins when the first has taken too long.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_does_not_keep_the_key_from_being_refreshed() {
    for has_timer in [true, false] {
        let later = ManualExecutor::new();
        let wait = std::time::Duration::from_secs(5);
        let mut world = common::mocked::Mocked::with(|layer| {
            let layer = layer.executor(later.clone()).max_wait(wait);
            if has_timer {
                layer.timer(hyper_util::rt::TokioTimer::new())
            } else {
                layer
            }
        });
        world.fill(common::mocked::ok(&[("cache-control", SWR)], "old"));
        world.pass(20);
        let stale = |world: &common::mocked::Mocked| {
            let mut task = world.ask(&[]);
            let response = tokio_test::assert_ready!(task.poll());
            assert_eq!(common::mocked::body(response), "old");
        };
        stale(&world);
        let mut hung = tokio_test::task::spawn(later.take().pop().unwrap());
        tokio_test::assert_pending!(hung.poll());
        let (_, _unanswered) = world.next().unwrap();
        stale(&world);
        assert_eq!(later.len(), 0, "one refresh for each key");

        tokio::time::advance(wait).await;
        world.pass(5);
        assert_eq!(hung.poll().is_ready(), has_timer);
        stale(&world);
        assert_eq!(later.len(), 1, "timer: {has_timer}");
        let mut second = tokio_test::task::spawn(later.take().pop().unwrap());
        tokio_test::assert_pending!(second.poll());
        let (_, send) = world.next().unwrap();
        send.send_response(common::mocked::ok(&[("cache-control", SWR)], "new"));
        tokio_test::assert_ready!(second.poll());
        let mut hit = world.ask(&[]);
        let response = tokio_test::assert_ready!(hit.poll());
        assert_eq!(common::mocked::body(response), "new");
        assert_eq!(world.layer.handle().stats().misses, 1);
    }
}

/// The answer to a HEAD is not what requests for the content wait for.
#[test]
fn a_background_refresh_by_head_makes_no_get_wait() {
    use common::mocked::{Mocked, body, ok};
    use tokio_test::{assert_pending, assert_ready, task};

    let later = ManualExecutor::new();
    let mut world = Mocked::with(|layer| layer.executor(later.clone()));
    world.fill(ok(&[("cache-control", SWR)], "old"));
    world.pass(20);
    let mut head = world.send(common::request(http::Method::HEAD, &[]));
    assert_eq!(body(assert_ready!(head.poll())), "");
    let mut refresh = task::spawn(later.take().pop().unwrap());
    assert_pending!(refresh.poll());
    let (request, _unanswered) = world.next().unwrap();
    assert_eq!(request.method(), http::Method::HEAD);
    // It is too old now to be served at once.
    world.pass(60);
    let mut get = world.ask(&[]);
    assert_pending!(get.poll());
    let (_, send) = world.next().expect("it does not wait for the HEAD");
    send.send_response(ok(&[("cache-control", SWR)], "new"));
    assert_eq!(body(assert_ready!(get.poll())), "new");
}
