//! TLS: the user's certificate as it is, and handshakes that end.

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use discovery_core::BoxError;
use http::Uri;
use kube::Config;
use kube::client::ConfigExt;
use kube::config::AuthInfo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tower_service::Service;

use crate::errors::go_words;

/// How long a handshake may take once the connection is there, as in Go.
const HANDSHAKE: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// Told when the connection below TLS is there.
    static DIALED: Arc<Notify>;
}

/// The TLS configuration, with the user's certificate as it is: rustls would look into it, and refuse one of X.509's first
/// version, as some clusters give their users. Servers decide what they take.
pub(super) fn client_config(config: &Config) -> Result<ClientConfig, BoxError> {
    let mut without = config.clone();
    let identity = take_identity(&mut without.auth_info)?;
    let mut tls = without.rustls_client_config()?;
    let Some((certificate, key)) = identity else {
        return Ok(tls);
    };
    let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or("tls: failed to find any PEM data in certificate input")?;
    let key = PrivateKeyDer::from_pem_slice(&key);
    let key = key.map_err(|_| "tls: failed to find any PEM data in key input")?;
    let key = tls.crypto_provider().key_provider.load_private_key(key).map_err(|_| {
        "the client key can't be used: RSA, ECDSA on P-256 or P-384, and Ed25519 are known here"
    })?;
    let identity = CertifiedKey::new(chain, key);
    tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
    Ok(tls)
}

type Identity = (Vec<u8>, Vec<u8>);

fn take_identity(user: &mut AuthInfo) -> Result<Option<Identity>, BoxError> {
    let certificate = (
        user.client_certificate_data.take(),
        user.client_certificate.take(),
    );
    let key = user.client_key_data.take();
    let key = (
        key.map(|data| data.expose_secret().to_owned()),
        user.client_key.take(),
    );
    match (content(certificate)?, content(key)?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        _ => Ok(None),
    }
}

fn content((data, file): (Option<String>, Option<String>)) -> Result<Option<Vec<u8>>, BoxError> {
    match (data, file) {
        (Some(data), _) => match STANDARD.decode(data) {
            Ok(content) => Ok(Some(content)),
            Err(_) => Err("illegal base64 data of the client certificate or its key".into()),
        },
        (None, Some(file)) => match fs::read(&file) {
            Ok(content) => Ok(Some(content)),
            Err(error) => Err(format!("open {file}: {}", go_words(&error)).into()),
        },
        (None, None) => Ok(None),
    }
}

/// A connector below TLS.
#[derive(Clone)]
pub(super) struct Dial<C>(pub(super) C);

/// A connector with TLS over a [`Dial`], whose handshakes have a limit.
#[derive(Clone)]
pub(super) struct Bounded<C>(pub(super) C);

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl<C> Service<Uri> for Dial<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
    C::Response: Send,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let dialing = self.0.call(target);
        Box::pin(async move {
            let connection = dialing.await.map_err(Into::into)?;
            // Not within `Bounded`: nobody waits for it.
            _ = DIALED.try_with(|dialed| dialed.notify_one());
            Ok(connection)
        })
    }
}

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
    C::Response: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let dialed = Arc::<Notify>::default();
        let connecting = DIALED.scope(Arc::clone(&dialed), self.0.call(target));
        Box::pin(async move {
            let limit = async {
                dialed.notified().await;
                tokio::time::sleep(HANDSHAKE).await;
            };
            tokio::select! {
                connection = connecting => connection.map_err(Into::into),
                () = limit => Err("net/http: TLS handshake timeout".into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_never_ends_has_a_limit_and_dialing_has_none() {
        let start = tokio::time::Instant::now();
        let dial = Dial(tower::service_fn(|_| async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Ok::<_, std::io::Error>(())
        }));
        let mut tls = Bounded(tower::service_fn(move |target| {
            let mut dial = dial.clone();
            async move {
                dial.call(target).await?;
                std::future::pending::<Result<(), BoxError>>().await
            }
        }));
        let error = tls.call(Uri::from_static("https://h")).await.unwrap_err();
        assert_eq!(error.to_string(), "net/http: TLS handshake timeout");
        assert_eq!(start.elapsed(), Duration::from_secs(35));
    }
}
