//! TLS to the server.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a server is to prove, and by whom.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// For the host, with the authorities of a PEM file or else of the system.
    pub(crate) fn new(host: &str, authorities: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let roots = match authorities {
            Some(file) => from_file(file)?,
            None => from_system()?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            connector: Arc::new(config).into(),
            name: host.to_owned().try_into()?,
        })
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn from_file(file: &Path) -> Result<RootCertStore, Box<dyn Error>> {
    let named = |error: &dyn Error| format!("{}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| named(&error))? {
        roots.add(certificate.map_err(|error| named(&error))?)?;
    }
    if roots.is_empty() {
        return Err(format!("{}: no certificate", file.display()).into());
    }
    Ok(roots)
}

fn from_system() -> Result<RootCertStore, Box<dyn Error>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}"));
        let why = why.unwrap_or_default();
        return Err(format!("the system has no authorities{why}; give --upstream-ca").into());
    }
    Ok(roots)
}
