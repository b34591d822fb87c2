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
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    ServerName, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InconsistentKeys, OtherError,
    RootCertStore, SignatureScheme,
};

use super::authority::{SERVER_PURPOSES, Said, is_certificate, stands_for_others};
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
    let candidates = private_keys(key).ok_or("tls: failed to find any PEM data in key input")?;
    let ring = ring::default_provider().key_provider;
    let of = |candidate: &PrivateKeyDer<'static>| {
        let rings = ring.load_private_key(candidate.clone_key()).ok();
        rings.or_else(|| ecdsa::key(candidate))
    };
    let key = candidates.iter().find_map(of).ok_or(
        "the client key can't be used; ask for a certificate with an RSA key of at least 2048 bits, with an ECDSA key on \
         P-256, P-384 or P-521, or with an Ed25519 key",
    )?;
    let identity = CertifiedKey::new(chain, key);
    // The server decides about those that can't be compared, such as a certificate of X.509's first version.
    match identity.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("tls: private key does not match public key".into())
        }
        _ => Ok(Arc::new(identity)),
    }
}

/// The first private key of a text in PEM, in each form that its bytes may have: as for Go, the label need not tell which.
fn private_keys(pem: &[u8]) -> Option<[PrivateKeyDer<'static>; 3]> {
    const END: &str = " PRIVATE KEY-----";
    let text = String::from_utf8_lossy(pem);
    let relabelled = |line: &str| {
        let line = line.trim_end();
        let (label, is_key) = match line.split_once(' ') {
            Some((label, rest)) => (
                label,
                rest.ends_with("PRIVATE KEY-----") && line.ends_with(END),
            ),
            None => ("", false),
        };
        if is_key && matches!(label, "-----BEGIN" | "-----END") {
            format!("{label}{END}\n")
        } else {
            format!("{line}\n")
        }
    };
    let text: String = text.lines().map(relabelled).collect();
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
    let der = key.secret_pkcs8_der().to_vec();
    Some([
        PrivatePkcs1KeyDer::from(der.clone()).into(),
        PrivatePkcs8KeyDer::from(der.clone()).into(),
        PrivateSec1KeyDer::from(der).into(),
    ])
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

    /// The certificates that stand for others now; or all, for a server that is trusted itself.
    fn authorities(
        &self,
        is_known: bool,
        now: u64,
    ) -> impl Iterator<Item = &CertificateDer<'static>> {
        let stands = move |known: &&CertificateDer<'_>| {
            // The ones that can't be read are left to webpki.
            is_known || Said::read(known).is_none_or(|said| stands_for_others(&said, now))
        };
        self.certificates.iter().filter(stands)
    }

    /// Finds a path to an authority, for servers of any purpose that Go takes.
    fn path(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        is_known: bool,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let of = |der| webpki::anchor_from_trusted_cert(der).ok();
        let length = |der: &CertificateDer<'_>| Said::read(der).and_then(|said| said.path_length());
        let authorities: Vec<_> = self
            .authorities(is_known, now.as_secs())
            .filter_map(|der| Some((of(der)?, length(der))))
            .collect();
        let anchors: Vec<_> = authorities
            .iter()
            .map(|(anchor, _)| anchor.clone())
            .collect();
        let may_sign =
            |der: &&CertificateDer<'_>| Said::read(der).is_none_or(|said| said.may_sign());
        let intermediates: Vec<_> = intermediates.iter().filter(may_sign).cloned().collect();
        // webpki does not look at the limit of an authority that is trusted.
        let is_short = |path: &webpki::VerifiedPath<'_>| {
            let count = path.intermediate_certificates().count();
            let mut ends = authorities
                .iter()
                .filter(|(anchor, _)| anchor == path.anchor());
            let is_within = ends.any(|(_, length)| length.is_none_or(|length| count <= length));
            is_within
                .then_some(())
                .ok_or(webpki::Error::PathLenConstraintViolated)
        };
        let end = webpki::EndEntityCert::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        end.verify_for_usage(
            algorithms,
            &anchors,
            &intermediates,
            now,
            ForServers,
            None,
            Some(&is_short),
        )?;
        Ok(())
    }

    /// Whether an authority that is trusted has signed a certificate itself. For a server's that is an authority's, which
    /// Go takes and webpki does not.
    fn is_signed(&self, certificate: &Said<'_>, now: u64) -> bool {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let has_signed = |der: &CertificateDer<'_>| {
            let Some(said) = Said::read(der) else {
                return false;
            };
            // Names are webpki's business, which is not asked here.
            if said.constrains_names() || said.subject != certificate.issuer {
                return false;
            }
            let key = webpki::EndEntityCert::try_from(der);
            let verifies = |key: &webpki::EndEntityCert<'_>| {
                let mut fitting = algorithms
                    .iter()
                    .filter(|known| known.signature_alg_id().as_ref() == certificate.algorithm);
                fitting.any(|known| {
                    let (signed, signature) = (certificate.signed, certificate.signature);
                    key.verify_signature(*known, signed, signature).is_ok()
                })
            };
            key.is_ok_and(|key| verifies(&key))
        };
        self.authorities(false, now).any(has_signed)
    }

    /// Whether a certificate is trusted, whatever names it has.
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let is_known = self.certificates.iter().any(|known| known == certificate);
        let error = match self.path(certificate, intermediates, is_known, now) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let is_authority = matches!(error, webpki::Error::CaUsedAsEndEntity);
        let lacks_authority = is_authority || matches!(error, webpki::Error::UnknownIssuer);
        let said = Said::read(certificate)
            .filter(|said| said.is_usable(now.as_secs()) && said.is_for_servers());
        match said {
            // webpki looks at dates and purposes before.
            Some(_) if is_known && lacks_authority => Ok(()),
            Some(said) if is_authority && self.is_signed(&said, now.as_secs()) => Ok(()),
            _ => Err(error),
        }
    }

    /// The reason in rustls' words, which are made from webpki's where it does the same.
    fn refusal(
        &self,
        error: webpki::Error,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> rustls::Error {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.authorities(false, now.as_secs()).cloned());
        let provider = Arc::clone(&self.provider);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verified = verifier.ok().map(|verifier| {
            verifier.verify_server_cert(certificate, intermediates, name, &[], now)
        });
        match verified {
            None => CertificateError::UnknownIssuer.into(),
            Some(Err(error)) => error,
            Some(Ok(_)) => CertificateError::Other(OtherError(Arc::new(error))).into(),
        }
    }
}

/// The purposes of servers, and any purpose.
struct ForServers;

impl webpki::ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, purposes: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut purposes = purposes.peekable();
        if purposes.peek().is_none() {
            return Ok(());
        }
        let is_one = |purpose: webpki::KeyPurposeId<'_>| {
            SERVER_PURPOSES
                .iter()
                .any(|known| purpose == webpki::KeyPurposeId::new(known))
        };
        for purpose in purposes {
            if is_one(purpose?) {
                return Ok(());
            }
        }
        #[expect(
            deprecated,
            reason = "the other one is told by rustls' verifier, which is asked for the words"
        )]
        Err(webpki::Error::RequiredEkuNotFound)
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Err(error) = self.verify(certificate, intermediates, now) {
            return Err(self.refusal(error, certificate, intermediates, name, now));
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        match (rustls::client::verify_server_name(&parsed, name), name) {
            (Err(error), ServerName::DnsName(host)) => {
                let said = Said::read(certificate);
                let has_star = said.is_some_and(|said| said.has_star_for(host.as_ref()));
                has_star.then(ServerCertVerified::assertion).ok_or(error)
            }
            (verified, _) => verified.map(|()| ServerCertVerified::assertion()),
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

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
        KeyPair, KeyUsagePurpose, NameConstraints,
    };

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

    /// Go takes a server's certificate that is an authority's, as `openssl req -x509 -CA` makes them, and any purpose.
    #[test]
    fn servers_have_the_certificates_that_go_takes() {
        type Change = fn(&mut CertificateParams);
        struct Row {
            authority: Change,
            between: Option<Change>,
            server: Change,
            is_trusted: bool,
        }
        const SAME: Change = |_| {};
        let to_authority: Change = |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let rows = [
            (SAME, None, SAME, true),
            (SAME, Some(SAME), SAME, true),
            (SAME, None, to_authority, true),
            // Somebody between would have to be verified as webpki does it.
            (SAME, Some(SAME), to_authority, false),
            (
                |it| {
                    it.name_constraints = Some(NameConstraints {
                        permitted_subtrees: vec![GeneralSubtree::DnsName("test".into())],
                        excluded_subtrees: Vec::new(),
                    });
                },
                None,
                to_authority,
                false,
            ),
            (
                SAME,
                None,
                |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
                true,
            ),
            (
                SAME,
                None,
                |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
                false,
            ),
            (
                SAME,
                None,
                |it| {
                    it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                    it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                },
                false,
            ),
            (
                SAME,
                None,
                |it| {
                    it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                    it.not_after = rcgen::date_time_ymd(2020, 1, 1);
                },
                false,
            ),
            (
                SAME,
                Some(|it| it.key_usages = vec![KeyUsagePurpose::CrlSign]),
                SAME,
                false,
            ),
            (
                |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
                Some(SAME),
                SAME,
                false,
            ),
            (
                |it| it.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)),
                Some(SAME),
                SAME,
                true,
            ),
            (
                |it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature],
                None,
                SAME,
                false,
            ),
        ]
        .map(
            |(authority, between, server, is_trusted): (Change, Option<Change>, Change, bool)| {
                Row {
                    authority,
                    between,
                    server,
                    is_trusted,
                }
            },
        );
        for (number, row) in rows.into_iter().enumerate() {
            let made = |name: &str, change: Change| {
                let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
                parameters
                    .distinguished_name
                    .push(rcgen::DnType::CommonName, name);
                if name != "server.test" {
                    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                }
                change(&mut parameters);
                parameters
            };
            let authority = made("authority.test", row.authority);
            let key = KeyPair::generate().unwrap();
            let trusted = authority.self_signed(&key).unwrap();
            let mut issuer = rcgen::Issuer::new(authority, key);
            let mut sent = Vec::new();
            if let Some(between) = row.between {
                let (between, key) = (made("between.test", between), KeyPair::generate().unwrap());
                sent.push(between.signed_by(&key, &issuer).unwrap().der().clone());
                issuer = rcgen::Issuer::new(between, key);
            }
            let server = made("server.test", row.server);
            let server = server
                .signed_by(&KeyPair::generate().unwrap(), &issuer)
                .unwrap();
            let provider = Arc::new(ecdsa::provider());
            let known = Known::new(trusted.pem().as_bytes(), provider).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
            for (name, is_its) in [("server.test", true), ("other.test", false)] {
                let name = ServerName::try_from(name).unwrap();
                let verified = known.verify_server_cert(server.der(), &sent, &name, &[], now);
                assert_eq!(
                    verified.is_ok(),
                    row.is_trusted && is_its,
                    "{number} {verified:?}"
                );
            }
        }
    }

    #[test]
    fn a_private_key_may_have_another_s_label() {
        let key = KeyPair::generate().unwrap();
        let pem = CertificateParams::default()
            .self_signed(&key)
            .unwrap()
            .pem();
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "MY OWN PRIVATE KEY"] {
            let text = key.serialize_pem().replace("PRIVATE KEY", label);
            for text in [
                text.clone(),
                text.replace('\n', "\r\n"),
                format!("{pem}{text}"),
            ] {
                assert!(identity(pem.as_bytes(), text.as_bytes()).is_ok(), "{label}");
            }
        }
        let public = key.public_key_pem();
        for text in [
            "",
            "garbage",
            &pem,
            &public,
            "-----BEGIN PRIVATE KEY-----\n",
        ] {
            assert!(identity(pem.as_bytes(), text.as_bytes()).is_err(), "{text}");
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
