use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use discovery_core::dump::{self, DumpError, Framing};
use discovery_core::key::Redacted;
use discovery_core::store::{Op, Value};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Replayed;
use super::body::RecordBody;
use super::layer::{Config, Mode};
use super::sink::Sink;

type Lookup = Op<io::Result<Option<Value>>>;

pin_project! {
    /// The future of a [`DiskStoreService`](super::DiskStoreService).
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F, R> {
        /// Waiting for the store. Holds the inner service as it was made ready.
        Lookup {
            lookup: Lookup,
            // Taken together when the store has nothing.
            call: Option<(S, Request<B>)>,
            key: Option<String>,
            config: Config,
        },
        /// Waiting for the inner service.
        Inner {
            #[pin]
            future: F,
            // None if the answer is not to be recorded.
            recording: Option<(String, Config)>,
        },
        /// An answer without a body, which nobody would read to its end.
        Recording {
            sink: Sink,
            response: Option<Response<RecordBody<R>>>,
        },
        Answered {
            response: Option<Response<RecordBody<R>>>,
        },
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    pub(crate) fn new(inner: S, request: Request<B>, key: Option<String>, config: &Config) -> Self {
        let state = match (key, config.mode) {
            (Some(key), Mode::ReadThrough | Mode::Replay) => {
                return Self::looking_up(inner, request, key, config);
            }
            (None, Mode::Replay) => State::answered(miss()),
            (key, _) => State::call(inner, request, key.map(|key| (key, config.clone()))),
        };
        Self { state }
    }

    fn looking_up(inner: S, request: Request<B>, key: String, config: &Config) -> Self {
        let state = match config.store.get(&key) {
            Op::Ready(found) => State::found(found, (inner, request), key, config),
            lookup @ Op::Wait(_) => State::Lookup {
                lookup,
                call: Some((inner, request)),
                key: Some(key),
                config: config.clone(),
            },
        };
        Self { state }
    }
}

impl<S, B, R> State<S, B, S::Future, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    fn answered(response: Response<Bytes>) -> Self {
        Self::Answered {
            response: Some(response.map(RecordBody::stored)),
        }
    }

    fn call(mut inner: S, request: Request<B>, recording: Option<(String, Config)>) -> Self {
        Self::Inner {
            future: inner.call(request),
            recording,
        }
    }

    /// The next state, once the store has answered.
    fn found(
        found: io::Result<Option<Value>>,
        (inner, request): (S, Request<B>),
        key: String,
        config: &Config,
    ) -> Self {
        match found.map(|value| value.as_ref().map(decode)) {
            Ok(Some(Ok(response))) => return Self::answered(response),
            Ok(Some(Err(error))) => config.warned.record_damaged(&key, &error),
            Ok(None) => {}
            Err(error) => config.warned.store_failed(&key, "read", &error),
        }
        match config.mode {
            Mode::Replay => Self::answered(miss()),
            Mode::ReadThrough | Mode::Record => {
                Self::call(inner, request, Some((key, config.clone())))
            }
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Output = Result<Response<RecordBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Lookup {
                    lookup,
                    call,
                    key,
                    config,
                } => {
                    let found = ready!(Pin::new(lookup).poll(cx));
                    let call = call.take().expect("the store answers once");
                    let key = key.take().expect("the store answers once");
                    State::found(found, call, key, config)
                }
                StateProj::Inner { future, recording } => {
                    let response = ready!(future.poll(cx))?;
                    record(response, recording.take())
                }
                StateProj::Recording { sink, response } => {
                    ready!(sink.poll_finish(cx));
                    State::Answered {
                        response: response.take(),
                    }
                }
                StateProj::Answered { response } => {
                    let response = response.take().expect("polled again after it was ready");
                    return Poll::Ready(Ok(response));
                }
            };
            state.set(next);
        }
    }
}

/// Begins to record an answer, if it is to be recorded.
fn record<S, B, F, R: Body>(
    response: Response<R>,
    recording: Option<(String, Config)>,
) -> State<S, B, F, R> {
    let sink = recording.and_then(|(key, config)| sink(&response, key, &config));
    match sink {
        None => State::Answered {
            response: Some(response.map(RecordBody::passed)),
        },
        Some(sink) if response.body().is_end_stream() => State::Recording {
            sink,
            response: Some(response.map(RecordBody::passed)),
        },
        Some(sink) => State::Answered {
            response: Some(response.map(|body| RecordBody::teed(body, sink))),
        },
    }
}

fn sink<R: Body>(response: &Response<R>, key: String, config: &Config) -> Option<Sink> {
    let body = response.body();
    let exact = body.size_hint().exact();
    // http has no way to borrow the parts of a response.
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = response.status();
    parts.version = response.version();
    parts.headers = response.headers().clone();
    parts.extensions = response.extensions().clone();
    // A 101 Switching Protocols has no body: other bytes follow it.
    if parts.status.is_informational() || !(config.record_if)(&parts) {
        return None;
    }

    // 304 may tell the length of what it does not send (RFC 9110 §8.6).
    let length = match parts.status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Some(0),
        _ => dump::content_length(&parts.headers).ok()?.or(exact),
    };
    if exact.is_some() && exact != length {
        tracing::debug!(
            key = %Redacted::new(&key),
            "not recorded: the body is not as long as the header says"
        );
        return None;
    }
    if length.is_some_and(|length| length > config.max_body) {
        tracing::debug!(key = %Redacted::new(&key), length, "not recorded: the body is too long");
        return None;
    }
    let framing = Framing::of(&Method::GET, &parts, exact);
    let head = dump::encode_head(&Method::GET, &parts, framing, length);
    let mut sink = Sink::new(key, config);
    sink.begin(head, framing, length);
    if body.is_end_stream() {
        sink.end();
    }
    Some(sink)
}

fn decode(value: &Value) -> Result<Response<Bytes>, DumpError> {
    let mut response = dump::decode(&Method::GET, value)?;
    response.extensions_mut().insert(Replayed);
    Ok(response)
}

/// The answer to what was never recorded: as an HTTP cache answers a request that it must not
/// send (RFC 9111 §5.2.1.7).
fn miss() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
