//! One connection for requests that begin at the same time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Request;
use hyper_util::client::legacy::connect::capture_connection;
use tokio::sync::Mutex;
use tower_service::Service;

/// The state of the first connection to a server, for all requests.
#[derive(Clone, Default)]
pub(super) struct First {
    is_there: Arc<AtomicBool>,
    turn: Arc<Mutex<()>>,
}

/// Sends a request, but not before the first one has its connection: if that turns out to be of HTTP/2, it is for all of
/// them, as in Go. Nobody waits for an answer to another request.
pub(super) async fn send<S, B>(
    mut client: S,
    first: First,
    mut request: Request<B>,
) -> Result<S::Response, S::Error>
where
    S: Service<Request<B>>,
{
    if first.is_there.load(Ordering::Acquire) {
        return client.call(request).await;
    }
    let turn = first.turn.lock().await;
    if first.is_there.load(Ordering::Acquire) {
        drop(turn);
        return client.call(request).await;
    }
    let mut connection = capture_connection(&mut request);
    let mut answer = pin!(client.call(request));
    tokio::select! {
        answer = &mut answer => return answer,
        _ = connection.wait_for_connection_metadata() => {}
    }
    first.is_there.store(true, Ordering::Release);
    drop(turn);
    answer.await
}
