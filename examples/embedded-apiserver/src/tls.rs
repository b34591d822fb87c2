//! A certificate authority for one run, and a certificate for loopback.

use std::{io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

/// The server's TLS identity: its certificate, and the authority that clients must trust.
/// A server that takes another's place needs the same.
#[derive(Clone)]
pub struct Identity {
    ca_pem: Arc<str>,
    authority: Arc<Authority>,
    certificate: CertificateDer<'static>,
    key: Arc<PrivateKeyDer<'static>>,
}

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Identity {
    /// Makes an authority, and a certificate for `127.0.0.1`, `::1` and `localhost` by it.
    ///
    /// # Errors
    ///
    /// When keys or certificates cannot be made.
    pub fn generate() -> io::Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "embedded API server authority");
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate().map_err(io::Error::other)?;
        let authority_certificate = authority
            .self_signed(&authority_key)
            .map_err(io::Error::other)?;
        let issuer = Issuer::new(authority, authority_key);

        let names = ["127.0.0.1", "::1", "localhost"].map(str::to_owned);
        let mut leaf = CertificateParams::new(names).map_err(io::Error::other)?;
        leaf.distinguished_name
            .push(DnType::CommonName, "embedded API server");
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf_key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = leaf
            .signed_by(&leaf_key, &issuer)
            .map_err(io::Error::other)?;

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        Ok(Self {
            ca_pem: authority_certificate.pem().into(),
            certificate: certificate.der().clone(),
            key: Arc::new(key),
            authority: Arc::new(Authority {
                certificate: authority_certificate.der().clone(),
                issuer,
            }),
        })
    }

    /// A certificate for a client, by the same authority, and its key, as PEM.
    ///
    /// ```
    /// use embedded_apiserver::{EmbeddedServer, Identity};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let identity = Identity::generate()?;
    /// let (certificate, key) = identity.client("somebody")?;
    /// let server = EmbeddedServer::builder().identity(identity).client_certificates(true).start().await?;
    /// assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    /// assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
    /// # server.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn client(&self, name: &str) -> io::Result<(String, String)> {
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name.push(DnType::CommonName, name);
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = leaf
            .signed_by(&key, &self.authority.issuer)
            .map_err(io::Error::other)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// For a server, which may ask its clients for a certificate by the authority.
    pub(super) fn config(&self, asks_clients: bool) -> io::Result<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = if asks_clients {
            let mut roots = RootCertStore::empty();
            let authority = self.authority.certificate.clone();
            roots.add(authority).map_err(io::Error::other)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(io::Error::other)?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The server's own certificate as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem(&self.certificate)
    }

    /// The authority's certificate as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let data = STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for start in (0..data.len()).step_by(64) {
        pem.push_str(&data[start..data.len().min(start + 64)]);
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
