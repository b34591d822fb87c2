//! Retries that the server asks for.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_client::retry::RetryAfterLayer;
use discovery_core::kube::plan::DeadlineExceeded;
use discovery_core::sync::clock::ManualClock;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_test::mock;

type Body = Full<Bytes>;
type Server = discovery_core::testing::ScriptedService<(), io::Error>;

/// A layer that notes what it would have waited for.
fn noting() -> (RetryAfterLayer, Arc<Mutex<Vec<Duration>>>) {
    let waits = Arc::<Mutex<Vec<_>>>::default();
    let noted = Arc::clone(&waits);
    let layer = RetryAfterLayer::new().sleep(move |duration| {
        noted.lock().unwrap().push(duration);
        Box::pin(std::future::ready(()))
    });
    (layer, waits)
}

fn busy(status: u16, retry_after: Option<&str>) -> Response<()> {
    let response = Response::builder().status(status);
    match retry_after {
        Some(value) => response.header("retry-after", value).body(()).unwrap(),
        None => response.body(()).unwrap(),
    }
}

fn request(method: Method) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri("/api")
        .header("x-kept", "yes");
    request.body(Body::default()).unwrap()
}

/// The status that comes out, and the waits, for these answers in turn.
async fn outcome(method: Method, answers: Vec<Response<()>>) -> (u16, Vec<Duration>) {
    outcome_with(None, method, answers).await
}

async fn outcome_with(
    deadline: Option<Duration>,
    method: Method,
    answers: Vec<Response<()>>,
) -> (u16, Vec<Duration>) {
    let (mut layer, waits) = noting();
    let has_deadline = deadline.is_some();
    if let Some(deadline) = deadline {
        layer = layer.deadline(deadline);
    }
    let (server, count) = (Server::default(), answers.len());
    for answer in answers {
        server.respond(answer);
    }
    // One at a time: a retry that held a readiness while it waited for another would hang.
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(ConcurrencyLimitLayer::new(1))
        .service(server.clone());
    let response = service.oneshot(request(method)).await.unwrap();
    assert_eq!(server.request_count(), count);
    for request in server.take_requests() {
        assert_eq!(request.uri().path(), "/api");
        assert_eq!(request.headers()["x-kept"], "yes");
    }
    let waits = waits.lock().unwrap().clone();
    let too_late = response.extensions().get::<DeadlineExceeded>().is_some();
    assert_eq!(too_late, has_deadline);
    (response.status().as_u16(), waits)
}

#[tokio::test]
async fn a_request_is_repeated_when_the_server_asks_for_it() {
    let answers = vec![busy(429, Some("1")), busy(503, Some("7")), busy(200, None)];
    let (status, waits) = outcome(Method::GET, answers).await;
    assert_eq!(
        (status, waits),
        (200, vec![Duration::from_secs(1), Duration::from_secs(7)])
    );
}

/// As in client-go, for which a number below zero has passed, and a status above 599 is an error of the server.
#[tokio::test]
async fn odd_numbers_ask_for_a_repeat_too() {
    let answers = vec![busy(503, Some("-1")), busy(600, Some("2")), busy(200, None)];
    let (status, waits) = outcome(Method::GET, answers).await;
    assert_eq!(
        (status, waits),
        (200, vec![Duration::ZERO, Duration::from_secs(2)])
    );
}

#[tokio::test]
async fn the_eleventh_answer_comes_out() {
    let answers = (0..11).map(|_| busy(500, Some("0"))).collect();
    let (status, waits) = outcome(Method::GET, answers).await;
    assert_eq!((status, waits.len()), (500, 10));
}

#[tokio::test]
async fn a_request_that_the_server_does_not_ask_for_again_is_sent_once() {
    for (method, status, retry_after) in [
        (Method::GET, 429, None),
        (Method::GET, 503, Some("Wed, 21 Oct 2026 07:28:00 GMT")),
        (Method::GET, 503, Some("18446744073709551615")),
        (Method::GET, 404, Some("1")),
        (Method::GET, 200, Some("1")),
        (Method::POST, 429, Some("1")),
    ] {
        let outcome = outcome(method, vec![busy(status, retry_after)]).await;
        assert_eq!(outcome, (status, Vec::new()), "{status} {retry_after:?}");
    }
}

#[tokio::test]
async fn a_request_with_content_is_sent_once_and_whole() {
    let (layer, waits) = noting();
    let (inner, mut handle) = mock::pair::<Request<Body>, Response<()>>();
    let service = ServiceBuilder::new().layer(layer).service(inner);
    let mut asked = request(Method::GET);
    *asked.body_mut() = Body::from("content");
    let server = async {
        let (request, respond) = handle.next_request().await.expect("a request");
        let content = request.into_body().collect().await.unwrap().to_bytes();
        respond.send_response(busy(503, Some("1")));
        content
    };
    let (response, content) = tokio::join!(service.oneshot(asked), server);
    assert_eq!(response.unwrap().status(), 503);
    assert_eq!(content, "content");
    assert!(waits.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_repeated_after_the_deadline() {
    let seconds = Duration::from_secs;
    for (limit, asked, waits) in [
        (3, vec!["8"], vec![]),
        (10, vec!["4", "4", "4"], vec![4, 4]),
        (9, vec!["8", "0", "1"], vec![8, 0]),
        (
            u64::MAX,
            vec![
                "9223372036854775807",
                "9223372036854775807",
                "9223372036854775807",
            ],
            vec![i64::MAX as u64; 2],
        ),
    ] {
        let answers = asked.iter().map(|wait| busy(429, Some(wait))).collect();
        let outcome = outcome_with(Some(seconds(limit)), Method::GET, answers).await;
        let waits = waits.into_iter().map(seconds).collect();
        assert_eq!(outcome, (429, waits), "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_attempts_counts_for_the_deadline() {
    let (layer, waits) = noting();
    let slow = tower::service_fn(|_: Request<Body>| async {
        tokio::time::advance(Duration::from_secs(2)).await;
        Ok::<_, io::Error>(busy(503, Some("1")))
    });
    let service = ServiceBuilder::new()
        .layer(layer.deadline(Duration::from_secs(6)))
        .service(slow);
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), waits.lock().unwrap().len()),
        (503, 2)
    );
}

#[tokio::test]
async fn errors_of_the_inner_service_come_out_unchanged() {
    let (layer, _) = noting();
    let failing = Server::default();
    failing.fail(io::ErrorKind::ConnectionReset.into());
    let service = ServiceBuilder::new().layer(layer).service(failing);
    let error: io::Error = service.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// client-go takes seconds only. A date is compared with that of the answer, and otherwise with the clock.
#[tokio::test]
async fn a_date_counts_as_well() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480));
    let date = "Wed, 21 Oct 2015 07:28:09 GMT";
    for (of_answer, expected) in [
        (None, Some(9)),
        (Some("Wed, 21 Oct 2015 07:28:04 GMT"), Some(5)),
        (Some("Wed, 21 Oct 2015 07:28:10 GMT"), None),
    ] {
        let (layer, waits) = noting();
        let server = Server::default();
        let mut first = busy(503, Some(date));
        if let Some(of_answer) = of_answer {
            let of_answer = http::HeaderValue::from_static(of_answer);
            first.headers_mut().insert("date", of_answer);
        }
        server.respond(first);
        server.respond(busy(200, None));
        let service = layer.clock(clock.clone()).max(1).layer(server.clone());
        service.oneshot(request(Method::GET)).await.unwrap();
        let expected: Vec<_> = expected.into_iter().map(Duration::from_secs).collect();
        assert_eq!(*waits.lock().unwrap(), expected, "{of_answer:?}");
    }
}
