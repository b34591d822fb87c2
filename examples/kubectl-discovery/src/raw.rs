//! `get --raw`: past all caches.

use std::io::{self, Write};

use bytes::Bytes;
use discovery_client::request_defaults::go_duration;
use discovery_client::retry::RetryAfterLayer;
use discovery_core::http::exchange::{Collected, collect};
use discovery_core::kube::is_success;
use discovery_core::{Accept, Error as DiscoveryError};
use http::header::ACCEPT;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};

use crate::args::Get;
use crate::errors::Fatal;
use crate::session::{Session, agent};

/// The most that is read of an error answer.
const MAX_ERROR: u64 = 1 << 20;

pub(crate) fn run(session: &Session, flags: &Get) -> Result<(), Fatal> {
    let uri = uri(session, &flags.raw)?;
    session.wait(fetch(session, uri))
}

async fn fetch(session: &Session, uri: Uri) -> Result<(), Fatal> {
    let service = ServiceBuilder::new()
        .layer(RetryAfterLayer::new())
        .layer(agent())
        .service(session.transport.limit(session.timeout));
    let request = Request::get(uri.clone())
        .header(ACCEPT, Accept::LEGACY)
        .body(Full::<Bytes>::default())
        .map_err(Fatal::new)?;
    let response = service
        .oneshot(request)
        .await
        .map_err(|error| Fatal::sending(&error))?;
    if !is_success(response.status()) {
        let (parts, body) = response.into_parts();
        let (Collected::Whole(body) | Collected::TooLarge(body, _) | Collected::Broken(body, _)) =
            collect(body, MAX_ERROR).await;
        let failure = DiscoveryError::status(uri.to_string(), &Response::from_parts(parts, body));
        return Err(Fatal::failure(&failure, &session.url));
    }
    // As it comes: the body may be long, or have no end.
    let mut body = response.into_body();
    let mut out = io::stdout().lock();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fatal::broken(&uri, &*error))?;
        if let Ok(data) = frame.into_data() {
            out.write_all(&data)
                .map_err(|error| Fatal::output(&error))?;
        }
    }
    out.flush().map_err(|error| Fatal::output(&error))
}

/// The path below the server's own. Of a whole URL it is the path as well, as in kubectl.
fn uri(session: &Session, raw: &str) -> Result<Uri, Fatal> {
    let invalid = || {
        Fatal::new(format_args!(
            "--raw must be a valid URL path: parse {raw:?}: invalid URI for request"
        ))
    };
    let asked: Uri = raw.parse().map_err(|_| invalid())?;
    if !raw.starts_with('/') && asked.scheme().is_none() {
        return Err(invalid());
    }
    let mut query = asked.query().map(str::to_owned);
    if let Some(timeout) = session.timeout {
        let others = query.iter().flat_map(|query| query.split('&'));
        let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("timeout="));
        let own = format!("timeout={}", go_duration(timeout));
        query = Some(others.chain([own.as_str()]).collect::<Vec<_>>().join("&"));
    }
    let base = session.url.path().trim_end_matches('/');
    let target = match query {
        Some(query) => format!("{base}{}?{query}", asked.path()),
        None => format!("{base}{}", asked.path()),
    };
    let mut parts = session.url.clone().into_parts();
    parts.path_and_query = Some(target.parse::<PathAndQuery>().map_err(|_| invalid())?);
    Uri::from_parts(parts).map_err(|_| invalid())
}
