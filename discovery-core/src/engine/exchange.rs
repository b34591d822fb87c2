use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response, response};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::kube::error::url_text;
use crate::plan::AskedUrl;
use crate::{BoxError, Error, Plan};

/// A body that was read to its end, or as far as it went.
#[derive(Debug)]
pub enum Collected<B: HttpBody> {
    /// All of it.
    Whole(Bytes),
    /// More than the limit: what was read, and the rest to come.
    TooLarge(Bytes, Pin<Box<B>>),
    /// It broke off: what was read, and the error.
    Broken(Bytes, B::Error),
}

/// A response extension, and the source of a [`Error`]: the server put the request off for longer
/// than the caller has time. The response is the last that came.
///
/// A layer below, which repeats requests, puts it there; a layer can't make an error of its inner
/// service's type.
///
/// ```
/// use discovery_core::engine::{DeadlineExceeded, ask};
/// use http::{Request, Response};
/// use http_body_util::Full;
/// # tokio_test::block_on(async {
///
/// let service = tower::service_fn(|_: Request<()>| async {
///     let busy = Response::builder().status(429).extension(DeadlineExceeded);
///     Ok::<_, std::io::Error>(busy.body(Full::<bytes::Bytes>::default()).unwrap())
/// });
/// let failure = ask(service, Request::get("http://h/api").body(()).unwrap(), 100).await.unwrap_err();
/// assert!(failure.is_transport());
/// // As Go says it.
/// let source = std::error::Error::source(&failure).unwrap();
/// assert_eq!(source.to_string(), "context deadline exceeded");
/// assert!(source.is::<DeadlineExceeded>());
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineExceeded;

/// Reads a body of up to `limit` bytes. Trailers are dropped.
///
/// ```
/// use discovery_core::engine::{Collected, collect};
/// use http_body_util::Full;
/// # tokio_test::block_on(async {
///
/// let body = || Full::new(bytes::Bytes::from("body"));
/// assert!(matches!(collect(body(), 4).await, Collected::Whole(data) if data == "body"));
/// assert!(matches!(collect(body(), 3).await, Collected::TooLarge(..)));
/// # });
/// ```
pub async fn collect<B: HttpBody<Data = Bytes>>(body: B, limit: usize) -> Collected<B> {
    let mut body = Box::pin(body);
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame {
            Ok(frame) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                // Most bodies come in one piece, which need not be copied.
                match first.take() {
                    None if all.is_empty() => first = Some(data),
                    before => {
                        all.extend_from_slice(&before.unwrap_or_default());
                        all.extend_from_slice(&data);
                    }
                }
            }
            Err(error) => return Collected::Broken(joined(first, all), error),
        }
        if first.as_ref().map_or(0, Buf::remaining) + all.len() > limit {
            return Collected::TooLarge(joined(first, all), body);
        }
    }
    Collected::Whole(joined(first, all))
}

fn joined(first: Option<Bytes>, all: BytesMut) -> Bytes {
    first.unwrap_or_else(|| all.freeze())
}

/// Carries out a [`Plan`] over an HTTP service, with all requests of the plan in flight that it
/// allows.
///
/// `dress` completes a request: host, query, headers, body. The service is cloned for each request,
/// and each clone is waited for until it is ready. Errors of the service, like error answers, become
/// [`Error`]s of the plan.
///
/// ```
/// use discovery_core::{Plan, engine::drive};
/// use http::{Request, Response, response};
/// use http_body_util::Full;
/// # tokio_test::block_on(async {
///
/// let service = tower::service_fn(|request: Request<()>| async move {
///     Ok::<_, std::io::Error>(Response::new(Full::<bytes::Bytes>::from(match request.uri().path() {
///         "/api" => r#"{"kind":"APIVersions","versions":[]}"#,
///         _ => r#"{"kind":"APIGroupList","groups":[]}"#,
///     })))
/// });
/// let mut plan = Plan::everything();
/// drive(&mut plan, &service, |request| request, 1 << 20, |_| ()).await;
/// assert!(plan.finish()?.snapshot.is_complete());
/// # Ok::<(), discovery_core::Error>(())
/// # }).unwrap();
/// ```
///
/// `progress` is called after each answer.
pub async fn drive<S, B, RB>(
    plan: &mut Plan,
    service: &S,
    mut dress: impl FnMut(Request<()>) -> Request<B>,
    limit: usize,
    mut progress: impl FnMut(&Plan),
) where
    S: Service<Request<B>, Response = Response<RB>> + Clone,
    S::Error: Into<BoxError>,
    RB: HttpBody<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    let mut under_way = FuturesUnordered::new();
    loop {
        while let Some((ticket, request)) = plan.next() {
            let request = dress(request);
            let answer = ask(service.clone(), request, limit);
            under_way.push(async move { (ticket, answer.await) });
        }
        let Some((ticket, answer)) = under_way.next().await else {
            return;
        };
        plan.feed(ticket, answer);
        progress(plan);
        if plan.is_done() {
            return;
        }
    }
}

/// Sends a request, reads the answer of up to `limit` bytes, and makes a [`Error`] of what goes
/// wrong. An error answer is an answer.
///
/// ```
/// use discovery_core::engine::ask;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// # tokio_test::block_on(async {
///
/// let service = tower::service_fn(|_: Request<()>| async {
///     Ok::<_, std::io::Error>(Response::new(Full::<bytes::Bytes>::from("endless")))
/// });
/// let failure = ask(service, Request::get("http://h/version").body(()).unwrap(), 3).await;
/// assert_eq!(
///     failure.unwrap_err().to_string(),
///     "the answer from http://h/version has more than 3 bytes",
/// );
/// # });
/// ```
///
/// # Errors
///
/// When there is no answer, or one that is too large or breaks off; and for an answer that carries
/// [`DeadlineExceeded`].
pub async fn ask<S, B, RB>(
    service: S,
    request: Request<B>,
    limit: usize,
) -> Result<Response<Bytes>, Error>
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: Into<BoxError>,
    RB: HttpBody<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    let url = url_text(request.uri());
    match exchange(service, false, request, limit).await {
        Err(error) => Err(Error::transport(url, error)),
        Ok((parts, _)) if parts.extensions.get::<DeadlineExceeded>().is_some() => {
            Err(Error::transport(url, DeadlineExceeded))
        }
        Ok((_, Collected::TooLarge(..))) => Err(Error::too_large(url, limit)),
        Ok((_, Collected::Broken(_, error))) => Err(Error::cut_short(url, error)),
        Ok((mut parts, Collected::Whole(body))) => {
            parts.extensions.insert(AskedUrl(url));
            Ok(Response::from_parts(parts, body))
        }
    }
}

/// Sends a request and reads the answer. `is_ready` says that the service has been waited for.
pub(super) async fn exchange<S, B, RB>(
    mut service: S,
    is_ready: bool,
    request: Request<B>,
    limit: usize,
) -> Result<(response::Parts, Collected<RB>), S::Error>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: HttpBody<Data = Bytes>,
{
    if !is_ready {
        poll_fn(|cx| service.poll_ready(cx)).await?;
    }
    let answer = service.call(request);
    // A readiness that is no longer needed is given back before the answer comes.
    drop(service);
    let (parts, body) = answer.await?.into_parts();
    Ok((parts, collect(body, limit).await))
}

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("context deadline exceeded")
    }
}

impl std::error::Error for DeadlineExceeded {}
