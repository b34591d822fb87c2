//! Connections: from the socket to an answer and back, misbehaving where it is told to.

use std::{convert::Infallible, future, sync::Arc, sync::PoisonError, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, DATE, VARY},
    request::Parts,
};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::{JoinError, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::{
    answer::{self, Answer, Payload, reads},
    body::{Body, Plan},
    control::Control,
    fault::Fault,
    log::{Certified, Ticket},
    negotiate::Offer,
    routes::{self, Asked},
    state::{State, fmt_date},
};

/// Request bodies above this size are taken for empty.
const REQUEST_LIMIT: usize = 4 * 1024 * 1024;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const FLOW_SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// Accepts connections until `stop` fires or its sender goes away; then closes all of them.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(secure(stream, tls.clone(), Arc::clone(&state)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(ended) = connections.join_next() => tell(ended),
        }
    }
    drop(listener);
    connections.abort_all();
    while let Some(ended) = connections.join_next().await {
        tell(ended);
    }
}

/// A connection that ended in a panic would look like one that the client has left.
fn tell(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection failed");
    }
}

async fn secure(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    // Small writes must not wait for each other; without it everything works, only later.
    let _ = stream.set_nodelay(true);
    match tls {
        None => connection(stream, state, false).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => {
                let is_certified = stream.get_ref().1.peer_certificates().is_some();
                connection(stream, state, is_certified).await;
            }
            Err(error) => tracing::debug!(%error, "TLS handshake failed"),
        },
    }
}

async fn connection<S>(stream: S, state: Arc<State>, is_certified: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let number = state.log.connected();
    let cut = Arc::new(Notify::new());
    let exchange = Exchange {
        state,
        is_certified,
        cut: Arc::clone(&cut),
    };
    let service = service_fn(move |request| exchange.clone().serve(request, number));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().title_case_headers(true);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // In this order, so that what is written goes out before the connection is cut.
        biased;
        result = served => {
            if let Err(error) = result {
                tracing::debug!(error, "connection ended early");
            }
        }
        () = cut.notified() => {}
    }
}

#[derive(Clone)]
struct Exchange {
    state: Arc<State>,
    /// Whether the client has shown a certificate, which is as good as a token.
    is_certified: bool,
    /// Cuts the connection.
    cut: Arc<Notify>,
}

impl Exchange {
    async fn serve(
        self,
        mut request: Request<Incoming>,
        connection: u64,
    ) -> Result<Response<Body>, Infallible> {
        if self.is_certified {
            request.extensions_mut().insert(Certified);
        }
        let ticket = self.state.log.arrived(&request, connection);
        let (request, incoming) = request.into_parts();
        let body = if reads(&request) {
            Bytes::new()
        } else {
            let collected = Limited::new(incoming, REQUEST_LIMIT).collect().await;
            collected
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default()
        };

        let base = &self.state.base;
        let inside = request.uri.path().strip_prefix(base.as_str());
        let Some(path) = inside
            .filter(|path| path.starts_with('/'))
            .map(str::to_owned)
        else {
            return Ok(self.respond(&request, answer::no_such_page(), None, ticket));
        };
        self.wait(&path).await;

        let control = Control {
            state: Arc::clone(&self.state),
        };
        let any_fault = control.read().any_fault();
        let fault = if any_fault {
            control.write().take_fault(&path)
        } else {
            None
        };
        let answer = match &fault {
            Some(Fault::Answer(canned)) => Answer::canned(canned),
            Some(Fault::Cut) => {
                self.cut.notify_one();
                // The task of this connection drops this future.
                return future::pending().await;
            }
            _ => {
                if let Some(Fault::Delay(delay)) = fault {
                    tokio::time::sleep(delay).await;
                }
                let offer = {
                    let switches = control.read();
                    Offer {
                        v2: !switches.no_v2 && !switches.legacy_paths.contains(&path),
                        v2beta1: switches.v2beta1 && !switches.legacy_paths.contains(&path),
                        always: switches.ignores_accept,
                        never: switches.refuses_aggregated,
                    }
                };
                let asked = Asked {
                    state: &self.state,
                    site: &self.state.site(),
                    offer,
                    request: &request,
                    path: &path,
                };
                routes::answer(&asked, &body)
            }
        };
        Ok(self.respond(&request, answer, fault.as_ref(), ticket))
    }

    /// Waits as long as the switches say.
    async fn wait(&self, path: &str) {
        let (latency, hold) = {
            let switches = self
                .state
                .switches
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            (switches.latency, switches.holds.get(path).cloned())
        };
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
        if let Some(mut hold) = hold {
            // Nothing is ever sent: this ends when the holder goes away.
            let _ = hold.changed().await;
        }
    }

    fn respond(
        &self,
        request: &Parts,
        answer: Answer,
        fault: Option<&Fault>,
        ticket: Ticket,
    ) -> Response<Body> {
        let mut answer = answer;
        if let Ok(id) = HeaderValue::try_from(self.state.audit_id()) {
            answer = answer.value(AUDIT_ID, id);
        }
        if let Some(flow) = answer.flow {
            answer = answer
                .header(FLOW_SCHEMA, flow.schema)
                .header(PRIORITY_LEVEL, flow.priority_level);
        }
        let (vary, shifted) = {
            let switches = self
                .state
                .switches
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            (switches.vary_authorization, switches.clock_offset != 0)
        };
        if vary {
            answer = answer.line(VARY, "Authorization");
        }
        if shifted && let Ok(date) = HeaderValue::try_from(fmt_date(self.state.now())) {
            answer = answer.value(DATE, date);
        }

        ticket.answered(answer.status);
        let mut headers = answer.take_headers();
        let plan = match answer.payload {
            _ if answer.status == StatusCode::NOT_MODIFIED => Plan::Nothing,
            Payload::Sized(body) if request.method == Method::HEAD => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
                Plan::Nothing
            }
            _ if request.method == Method::HEAD => Plan::Nothing,
            payload => self.plan(payload, fault),
        };
        let mut response = Response::new(Body::new(plan, ticket));
        *response.status_mut() = answer.status;
        *response.headers_mut() = headers;
        response
    }

    fn plan(&self, payload: Payload, fault: Option<&Fault>) -> Plan {
        let (body, length) = match &payload {
            Payload::Sized(body) => (body, Some(body.len() as u64)),
            Payload::Unsized(body) | Payload::Open(body) => (body, None),
            Payload::Watch(_) => (&Bytes::new(), None),
        };
        let start = |bytes: usize| body.slice(..bytes.min(body.len()));
        match fault {
            Some(Fault::CutBody(bytes)) => Plan::Cut(start(*bytes), length, Arc::clone(&self.cut)),
            Some(Fault::Stall(bytes)) => Plan::Stall(start(*bytes), length),
            Some(Fault::Endless) => Plan::Endless(body.clone()),
            _ => match payload {
                Payload::Sized(body) => Plan::Sized(body),
                Payload::Unsized(body) => Plan::Unsized(body),
                Payload::Open(body) => Plan::Stall(body, None),
                Payload::Watch(events) => Plan::Watch(events),
            },
        }
    }
}
