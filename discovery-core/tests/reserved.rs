//! Calls that wait for readiness first.

use std::pin::pin;

use discovery_core::internal::reserved::{Oneshot, ready};
use tower::limit::ConcurrencyLimit;
use tower_service::Service;
use tower_test::mock;

#[tokio::test]
async fn a_call_begins_when_the_service_is_ready_and_not_before() {
    let (service, mut server) = mock::pair::<&str, &str>();
    server.allow(0);
    let mut call = tokio_test::task::spawn(Oneshot::new(service, "request"));
    tokio_test::assert_pending!(call.poll());
    tokio_test::assert_pending!(tokio_test::task::spawn(server.next_request()).poll());
    server.allow(1);
    tokio_test::assert_pending!(call.poll());
    let (request, respond) = server.next_request().await.unwrap();
    assert_eq!(request, "request");
    respond.send_response("response");
    assert_eq!(call.await.unwrap(), "response");
}

#[tokio::test]
async fn the_service_that_was_made_ready_is_the_one_that_is_called() {
    // A mock panics when it is called without having been ready.
    let (service, mut server) = mock::pair::<&str, &str>();
    let limited = ConcurrencyLimit::new(service, 1);
    let mut first = limited.clone();
    let call = ready(&mut first).await.unwrap().call("first");
    let mut second = tokio_test::task::spawn(Oneshot::new(limited, "second"));
    tokio_test::assert_pending!(second.poll());
    server.next_request().await.unwrap().1.send_response("1");
    assert_eq!(call.await.unwrap(), "1");
    assert!(second.is_woken(), "the place is free again");
    tokio_test::assert_pending!(second.poll());
    server.next_request().await.unwrap().1.send_response("2");
    assert_eq!(second.await.unwrap(), "2");
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_readiness_back() {
    let (service, _server) = mock::pair::<&str, &str>();
    let limited = ConcurrencyLimit::new(service, 1);
    let mut reserved = limited.clone();
    ready::<_, &str>(&mut reserved).await.unwrap();
    drop(Oneshot::new(reserved, "never sent"));
    let mut other = limited;
    let mut waits = pin!(ready::<_, &str>(&mut other));
    tokio_test::assert_ready!(tokio_test::task::spawn(waits.as_mut()).poll()).unwrap();
}

#[tokio::test]
async fn the_error_of_a_service_that_fails_to_become_ready_comes_out() {
    let (service, mut server) = mock::pair::<&str, &str>();
    server.send_error("broken");
    let error = Oneshot::new(service, "request").await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
}
