//! TLS to the upstream server.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// A configuration that trusts the authorities of a PEM file, or else those of the system.
pub(crate) fn client_config(authorities: Option<&Path>) -> Result<ClientConfig, Box<dyn Error>> {
    let roots = match authorities {
        Some(file) => from_file(file)?,
        None => from_system()?,
    };
    Ok(trusting(roots)?)
}

/// A configuration that trusts nobody, for a server without TLS.
pub(crate) fn trusting_nobody() -> ClientConfig {
    trusting(RootCertStore::empty()).expect("ring has the default versions")
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
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
