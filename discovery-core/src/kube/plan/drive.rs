//! Plans carried out over an HTTP service.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::Plan;
use crate::http::exchange::{Collected, exchange};
use crate::kube::asked_url::AskedUrl;
use crate::kube::error::url_text;
use crate::{BoxError, Error};

/// A response extension, and the source of an [`Error`]: the server put the request off for longer
/// than the caller has time. The response is the last that came.
///
/// A layer below, which repeats requests, puts it there; a layer can't make an error of its inner
/// service's type.
///
/// ```
/// use discovery_core::kube::plan::{DeadlineExceeded, ask};
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

/// A response extension: the response stands for this failure of a request that a cache has sent for several
/// callers. A cache can't make an error of its inner service's type.
#[derive(Clone, Debug)]
pub(crate) struct SharedFailure(pub(crate) Error);

/// Carries out a [`Plan`] over an HTTP service, with all requests of the plan in flight that it
/// allows.
///
/// `dress` completes a request: host, query, headers, body. The service is cloned for each request,
/// and each clone is waited for until it is ready. Errors of the service, like error answers, become
/// [`Error`]s of the plan.
///
/// ```
/// use discovery_core::kube::plan::drive;
/// use discovery_core::Plan;
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
    limit: u64,
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

/// Sends a request, reads the answer of up to `limit` bytes, and makes an [`Error`] of a
/// failure. An error answer is an answer.
///
/// ```
/// use discovery_core::kube::plan::ask;
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
    limit: u64,
) -> Result<Response<Bytes>, Error>
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: Into<BoxError>,
    RB: HttpBody<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    let url = url_text(request.uri());
    let exchanged = exchange(service, request, limit).await;
    if let Ok((parts, _)) = &exchanged
        && let Some(SharedFailure(error)) = parts.extensions.get()
    {
        return Err(error.clone());
    }
    match exchanged {
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

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("context deadline exceeded")
    }
}

impl std::error::Error for DeadlineExceeded {}
