//! The `Accept` of test programs, and the authorities that they trust.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{io, sync::Arc, time::Duration};

use embedded_apiserver::{Control, Counters, EmbeddedServer};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// kubectl 1.37's `Accept` in requests for the groups.
pub(crate) const KUBECTL: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// Far more than anything takes; only against hanging for ever.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// TLS that trusts the server's own authority and nobody else; nobody at all without TLS there.
pub(crate) fn trusting(server: &EmbeddedServer) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = server.ca_pem() {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        roots.add(certificate).expect("a certificate");
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// [`Control::until`], but not for ever.
pub(crate) async fn until(control: &Control, enough: impl FnMut(&Counters) -> bool) {
    let waited = tokio::time::timeout(LIMIT, control.until(enough)).await;
    assert!(
        waited.is_ok(),
        "it never came to it: {:?}",
        control.counters()
    );
}

/// Reports that something was not tested, past the test harness, which hides what passing tests print.
pub(crate) fn not_tested(why: &str) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("not tested: {why}\n"));
}
