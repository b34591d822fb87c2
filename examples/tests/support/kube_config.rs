//! A configuration of kube-rs for the embedded server.

use embedded_apiserver::EmbeddedServer;
use kube::{Config, config::Kubeconfig};
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// The configuration of the server's kubeconfig, made without awaiting anything.
pub(crate) fn config(server: &EmbeddedServer) -> Config {
    let mut config = Config::new(server.url().parse().expect("a URL"));
    config.root_cert = server.ca_pem().map(|pem| {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        vec![certificate.to_vec()]
    });
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig()).expect("a kubeconfig");
    let user = kubeconfig.auth_infos.into_iter().next();
    config.auth_info = user.and_then(|user| user.auth_info).unwrap_or_default();
    config
}
