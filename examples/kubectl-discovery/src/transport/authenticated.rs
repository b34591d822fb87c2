//! Requests with the user's credentials as they are at the time.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use discovery_core::BoxError;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tower::ServiceExt;

use super::connect::connect;
use super::credentials::{Credentials, Issued, impersonation};
use super::dial::Dialer;
use super::tls::Identity;
use super::{Body, Connection, Unsendable};
use crate::kuberc::Plugins;
use crate::server::Config;

/// A server, and a user whose credentials may change.
pub(super) struct Authenticated {
    dialer: Dialer,
    disable_compression: bool,
    impersonation: HeaderMap,
    credentials: Credentials,
    /// The connections under the certificate that was used last.
    connection: Mutex<Option<(Option<Identity>, Connection)>>,
}

/// The reason why there is no answer.
pub(super) enum Failure {
    /// There are no credentials to send.
    Unsendable(Unsendable),
    Exchange(BoxError),
}

impl Authenticated {
    /// Reads certificates and tokens, but runs no plugin and opens no socket.
    pub(super) fn new(config: &Config, plugins: &Plugins) -> Result<Self, BoxError> {
        let impersonation = impersonation(&config.user.impersonated)?;
        let credentials = Credentials::new(config, plugins)?;
        Ok(Self {
            dialer: Dialer::new(config)?,
            disable_compression: config.cluster.disable_compression,
            impersonation,
            credentials,
            connection: Mutex::default(),
        })
    }

    /// Sends a request, and once more if its credentials are refused and there are others by now: a token was replaced, or
    /// a plugin gives a new one.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        mut sending: impl FnMut(),
    ) -> Result<Response<Body>, Failure> {
        let issued = self.credentials.current().await;
        let issued = issued.map_err(Failure::Unsendable)?;
        sending();
        let response = self.send_as(&issued, request.clone()).await;
        let response = response.map_err(Failure::Exchange)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.credentials.other_than(&issued).await {
            None => Ok(response),
            Some(other) => {
                sending();
                self.send_as(&other, request)
                    .await
                    .map_err(Failure::Exchange)
            }
        }
    }

    async fn send_as(
        &self,
        issued: &Arc<Issued>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Body>, BoxError> {
        let headers = request.headers_mut();
        headers.extend(self.impersonation.clone());
        if let Some(value) = &issued.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        self.connection(issued).oneshot(request).await
    }

    fn connection(&self, issued: &Issued) -> Connection {
        let mut last = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let certificates = |identity: &Option<Identity>| {
            let identity = identity.as_ref();
            identity.map(|identity| identity.cert.clone())
        };
        if let Some((identity, connection)) = &*last
            && certificates(identity) == certificates(&issued.identity)
        {
            return connection.clone();
        }
        // A connection that is there keeps the certificate that it was made with.
        let dialer = self.dialer.identity(issued.identity.clone());
        let connection = connect(dialer, self.disable_compression);
        *last = Some((issued.identity.clone(), connection.clone()));
        connection
    }
}
