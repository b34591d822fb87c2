//! TLS: the certificates that are trusted, and the user's own as it is.

use std::fs;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use discovery_core::BoxError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore,
    SignatureScheme,
};

use super::authority::{is_certificate, stands_for_others};
use super::ecdsa;
use crate::errors::go_words;
use crate::kubeconfig::{Cluster, User};

/// How long a handshake may take once the connection is there, as in Go.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A certificate and its key.
pub(super) type Identity = Arc<CertifiedKey>;

/// The settings of TLS for a server.
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    trusted: Trusted,
    /// Made when it is first needed: reading the system's certificates takes time.
    verifier: OnceLock<Arc<dyn ServerCertVerifier>>,
}

/// The servers that are trusted.
enum Trusted {
    /// Those with a certificate by somebody whom this machine trusts.
    System,
    /// Those with a certificate by one of these, or with one of these, in PEM.
    Authorities(Vec<u8>),
    /// All.
    Anybody,
}

impl Tls {
    /// Reads the authorities, but not those of the system.
    pub(super) fn new(cluster: &Cluster) -> Result<Self, BoxError> {
        let authorities = content(
            cluster.certificate_authority_data.as_ref(),
            cluster.certificate_authority.as_ref(),
            "the certificate authority",
        )?;
        Ok(Self {
            provider: Arc::new(ecdsa::provider()),
            trusted: match authorities {
                _ if cluster.insecure_skip_tls_verify => Trusted::Anybody,
                Some(authorities) if !authorities.is_empty() => Trusted::Authorities(authorities),
                // An empty file has none, as in Go.
                _ => Trusted::System,
            },
            verifier: OnceLock::new(),
        })
    }

    /// The configuration of connections with these protocols (RFC 7301), under the user's certificate.
    pub(super) fn client(
        &self,
        identity: Option<Identity>,
        protocols: &[&str],
    ) -> Result<ClientConfig, BoxError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier()?);
        let mut client = match identity {
            // As it is: rustls would look into it, and refuse one of X.509's first version, as some clusters give their
            // users. Servers decide what they take.
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
            None => builder.with_no_client_auth(),
        };
        client.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(client)
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, BoxError> {
        if let Some(verifier) = self.verifier.get() {
            return Ok(Arc::clone(verifier));
        }
        let provider = Arc::clone(&self.provider);
        let verifier: Arc<dyn ServerCertVerifier> = match &self.trusted {
            Trusted::System => Arc::new(rustls_platform_verifier::Verifier::new(provider)?),
            Trusted::Authorities(pem) => Arc::new(Known::new(pem, provider)?),
            Trusted::Anybody => Arc::new(Unverified(provider)),
        };
        Ok(Arc::clone(self.verifier.get_or_init(|| verifier)))
    }
}

/// The certificate of a user, if there is one; a key alone is of no use, and no harm.
pub(super) fn identity_of(user: &User) -> Result<Option<Identity>, BoxError> {
    let what = "the client certificate or its key";
    let certificate = content(
        user.client_certificate_data.as_ref(),
        user.client_certificate.as_ref(),
        what,
    )?;
    let Some(certificate) = certificate else {
        return Ok(None);
    };
    let key = content(
        user.client_key_data.as_ref(),
        user.client_key.as_ref(),
        what,
    )?;
    key.map(|key| identity(&certificate, &key)).transpose()
}

/// A certificate and its key, in PEM.
pub(super) fn identity(certificate: &[u8], key: &[u8]) -> Result<Identity, BoxError> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or("tls: failed to find any PEM data in certificate input")?;
    if !chain.iter().all(|certificate| is_certificate(certificate)) {
        return Err("x509: malformed certificate".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key);
    let key = key.map_err(|_| "tls: failed to find any PEM data in key input")?;
    let ring = ring::default_provider().key_provider;
    let key = match (ring.load_private_key(key.clone_key()), ecdsa::key(&key)) {
        (Ok(key), _) | (Err(_), Some(key)) => key,
        (Err(_), None) => {
            return Err(
                "the client key can't be used; ask for a certificate with an RSA key, with an ECDSA key on P-256, P-384 or \
                 P-521, or with an Ed25519 key"
                    .into(),
            );
        }
    };
    let identity = CertifiedKey::new(chain, key);
    // The server decides about those that can't be compared, such as a certificate of X.509's first version.
    match identity.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("tls: private key does not match public key".into())
        }
        _ => Ok(Arc::new(identity)),
    }
}

/// The content of a field, or of the file that another field names.
pub(super) fn content(
    data: Option<&String>,
    file: Option<&String>,
    what: &str,
) -> Result<Option<Vec<u8>>, BoxError> {
    match (data, file) {
        (Some(data), _) => match STANDARD.decode(data) {
            Ok(content) => Ok(Some(content)),
            Err(_) => Err(format!("illegal base64 data of {what}").into()),
        },
        (None, Some(file)) => match fs::read(file) {
            Ok(content) => Ok(Some(content)),
            Err(error) => Err(format!("open {file}: {}", go_words(&error)).into()),
        },
        (None, None) => Ok(None),
    }
}

/// Waits for a handshake, but not for ever.
pub(super) async fn bounded<T, E: Into<BoxError>>(
    handshake: impl Future<Output = Result<T, E>>,
) -> Result<T, BoxError> {
    match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err("net/http: TLS handshake timeout".into()),
    }
}

/// Trusts the certificates by known authorities, and, as Go does, a server's own that is among these, which need not be an
/// authority.
#[derive(Debug)]
struct Known {
    provider: Arc<CryptoProvider>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Known {
    fn new(pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Self, BoxError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .filter_map(Result::ok)
            .collect();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 {
            return Err(
                "unable to load root certificates: unable to parse bytes as PEM block".into(),
            );
        }
        Ok(Self {
            provider,
            certificates,
        })
    }

    /// Verifies with those certificates that stand for others now, or for themselves: webpki would take any that is
    /// trusted.
    fn authorities(&self, is_known: bool, now: UnixTime) -> Option<Arc<WebPkiServerVerifier>> {
        let now = now.as_secs();
        let stands =
            |known: &&CertificateDer<'_>| is_known || stands_for_others(known, now) != Some(false);
        let mut roots = RootCertStore::empty();
        let authorities = self.certificates.iter().filter(stands).cloned();
        roots.add_parsable_certificates(authorities);
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .ok()
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_known = self.certificates.iter().any(|known| known == certificate);
        let verified = match self.authorities(is_known, now) {
            Some(authorities) => {
                authorities.verify_server_cert(certificate, intermediates, name, ocsp, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match verified {
            Err(error) if lacks_authority(&error) && is_known => {
                let certificate = ParsedCertificate::try_from(certificate)?;
                rustls::client::verify_server_name(&certificate, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

/// Whether nothing is wrong with a certificate but that no authority stands for it. webpki looks at the dates before.
fn lacks_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(error) = error else {
        return false;
    };
    match error {
        CertificateError::UnknownIssuer => true,
        // An authority is no server, for webpki.
        CertificateError::Other(error) => matches!(
            error.0.downcast_ref(),
            Some(webpki::Error::CaUsedAsEndEntity)
        ),
        _ => false,
    }
}

/// Trusts everybody who has the key of the certificate that he shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Anybody could have made this certificate, and so has its key.
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn own(is_authority: bool, from: i32, to: i32) -> (String, CertificateDer<'static>) {
        let mut parameters = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
        if is_authority {
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = parameters
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap();
        (certificate.pem(), certificate.der().clone())
    }

    fn verified(trusted: &str, certificate: &CertificateDer<'_>, name: &str) -> bool {
        let known = Known::new(trusted.as_bytes(), Arc::new(ring::default_provider())).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let name = ServerName::try_from(name).unwrap();
        known
            .verify_server_cert(certificate, &[], &name, &[], now)
            .is_ok()
    }

    #[test]
    fn only_authorities_stand_for_others_and_only_in_their_time() {
        for (is_authority, to, expected) in [
            (true, 2100, true),
            (true, 2020, false),
            (false, 2100, false),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut parameters = CertificateParams::new(vec!["issuer.test".to_owned()]).unwrap();
            parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
            if is_authority {
                parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }
            let trusted = parameters.self_signed(&key).unwrap().pem();
            let issuer = rcgen::Issuer::new(parameters, key);
            let server = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
            let certificate = server.signed_by(&KeyPair::generate().unwrap(), &issuer);
            let certificate = certificate.unwrap().der().clone();
            let found = verified(&trusted, &certificate, "server.test");
            assert_eq!(found, expected, "{is_authority} {to}");
        }
    }

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["me".to_owned()]).unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        let with = |certificate: &str, key: &KeyPair| {
            let made = identity(certificate.as_bytes(), key.serialize_pem().as_bytes());
            made.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(with(&pem, &key), Ok(()));
        let other = with(&pem, &KeyPair::generate().unwrap());
        assert_eq!(
            other.unwrap_err(),
            "tls: private key does not match public key"
        );
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(with(bad, &key).unwrap_err(), "x509: malformed certificate");
    }

    /// Go takes a certificate that is trusted itself; webpki wants an authority's.
    #[test]
    fn a_server_s_own_certificate_may_be_the_one_that_is_trusted() {
        for is_authority in [true, false] {
            let (pem, certificate) = own(is_authority, 2020, 2100);
            assert!(verified(&pem, &certificate, "server.test"));
            assert!(!verified(&pem, &certificate, "other.test"));
            let (_, another) = own(is_authority, 2020, 2100);
            assert!(!verified(&pem, &another, "server.test"));
            for (from, to) in [(2000, 2020), (2090, 2100)] {
                let (pem, certificate) = own(is_authority, from, to);
                assert!(!verified(&pem, &certificate, "server.test"));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_never_ends_has_a_limit() {
        let start = tokio::time::Instant::now();
        let never = std::future::pending::<Result<(), BoxError>>();
        let error = bounded(never).await.unwrap_err();
        assert_eq!(error.to_string(), "net/http: TLS handshake timeout");
        assert_eq!(start.elapsed(), HANDSHAKE);
    }
}
