//! ECDSA that ring lacks and Go has: keys on the curve P-521 (NIST SP 800-186), for certificates and for signatures in
//! handshakes, and SHA-512 together with the smaller curves.

use std::sync::{Arc, LazyLock};

use p521::SecretKey;
use p521::ecdsa::signature::Signer as _;
use p521::ecdsa::signature::hazmat::PrehashVerifier as _;
use p521::ecdsa::{DerSignature, SigningKey};
use p521::pkcs8::DecodePrivateKey;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, PrivateKeyDer, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, alg_id,
};
use rustls::sign::{Signer, SigningKey as Key, public_key_to_spki};
use rustls::{SignatureAlgorithm, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP521_SHA512;

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

/// The algorithms that stand for a scheme of TLS.
type OfScheme = (SignatureScheme, &'static [Algorithm]);

/// The algorithms, those of the scheme first: in TLS 1.2 it tells the digest alone, and any curve may come with it.
static OWN: [Algorithm; 5] = [
    &Verification(
        alg_id::ECDSA_P521,
        alg_id::ECDSA_SHA512,
        digest::<Sha512>,
        p521,
    ),
    &Verification(
        alg_id::ECDSA_P384,
        alg_id::ECDSA_SHA512,
        digest::<Sha512>,
        p384,
    ),
    &Verification(
        alg_id::ECDSA_P256,
        alg_id::ECDSA_SHA512,
        digest::<Sha512>,
        p256,
    ),
    &Verification(
        alg_id::ECDSA_P521,
        alg_id::ECDSA_SHA384,
        digest::<Sha384>,
        p521,
    ),
    &Verification(
        alg_id::ECDSA_P521,
        alg_id::ECDSA_SHA256,
        digest::<Sha256>,
        p521,
    ),
];

/// These, and ring's.
static ALL: LazyLock<(Vec<Algorithm>, Vec<OfScheme>)> = LazyLock::new(|| {
    let rings = ring::default_provider().signature_verification_algorithms;
    let all = rings.all.iter().chain(&OWN).copied().collect();
    let own = (SCHEME, &OWN[..3]);
    let mapping = rings.mapping.iter().copied().chain([own]).collect();
    (all, mapping)
});

/// ring's cryptography, and this.
pub(super) fn provider() -> CryptoProvider {
    let (all, mapping) = &*ALL;
    CryptoProvider {
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all, mapping },
        ..ring::default_provider()
    }
}

/// A private key on P-521.
pub(super) fn key(der: &PrivateKeyDer<'_>) -> Option<Arc<dyn Key>> {
    let key = match der {
        PrivateKeyDer::Pkcs8(key) => SecretKey::from_pkcs8_der(key.secret_pkcs8_der()).ok()?,
        PrivateKeyDer::Sec1(key) => SecretKey::from_sec1_der(key.secret_sec1_der()).ok()?,
        _ => return None,
    };
    Some(Arc::new(Private(Arc::new(SigningKey::from(key)))))
}

struct Private(Arc<SigningKey>);

impl Key for Private {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let key = Self(Arc::clone(&self.0));
        offered.contains(&SCHEME).then(|| Box::new(key) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let point = self.0.verifying_key().to_sec1_point(false);
        Some(public_key_to_spki(&alg_id::ECDSA_P521, point.as_bytes()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Private {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature: Result<DerSignature, _> = self.0.try_sign(message);
        let signature = signature.map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(signature.as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}

/// Tells no more than that there is a key.
impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Private").finish_non_exhaustive()
    }
}

/// A curve, a digest, and how both are worked out.
#[derive(Debug)]
struct Verification(
    AlgorithmIdentifier,
    AlgorithmIdentifier,
    fn(&[u8]) -> Vec<u8>,
    Verify,
);

/// Whether this is the signature of a digest by a public key.
type Verify = fn(public_key: &[u8], digest: &[u8], signature: &[u8]) -> bool;

fn digest<D: Digest>(message: &[u8]) -> Vec<u8> {
    D::digest(message).to_vec()
}

macro_rules! curve {
    ($curve:ident) => {
        fn $curve(public_key: &[u8], digest: &[u8], signature: &[u8]) -> bool {
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(public_key);
            let signature = $curve::ecdsa::DerSignature::try_from(signature);
            match (key, signature) {
                (Ok(key), Ok(signature)) => key.verify_prehash(digest, &signature).is_ok(),
                _ => false,
            }
        }
    };
}

curve!(p256);
curve!(p384);
curve!(p521);

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let Self(_, _, digest, verify) = self;
        let digest = digest(message);
        // It is a number, so that zeros before it change nothing, and a short one would be refused.
        let mut number = vec![0; Sha512::output_size().saturating_sub(digest.len())];
        number.extend(digest);
        match verify(public_key, &number, signature) {
            true => Ok(()),
            false => Err(InvalidSignature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{Read, Write};
    use std::time::Duration;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::server::WebPkiClientVerifier;
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
        SupportedProtocolVersion,
    };

    /// Made by OpenSSL: a server's certificate, signed with SHA-256 by an authority in between, whose own is signed with
    /// SHA-384; the server's key; and the root. All keys are on P-521.
    const PEM: &[u8] = include_bytes!("ecdsa-p521.pem");

    /// A handshake in which both sides show the certificate.
    fn handshake(version: &'static SupportedProtocolVersion) -> Result<(), rustls::Error> {
        let certificates = CertificateDer::pem_slice_iter(PEM).collect::<Result<Vec<_>, _>>();
        let [leaf, between, root] = &certificates.unwrap()[..] else {
            panic!("three certificates");
        };
        let chain = vec![leaf.clone(), between.clone()];
        let key = || PrivateKeyDer::from_pem_slice(PEM).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let roots = Arc::new(roots);
        let provider = Arc::new(CryptoProvider {
            key_provider: &Keys,
            ..provider()
        });
        let users =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])?
            .with_client_cert_verifier(users.build().unwrap())
            .with_single_cert(chain.clone(), key())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key())?;
        let name = ServerName::try_from("server.test").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        let mut server = ServerConnection::new(Arc::new(server))?;
        client.writer().write_all(b"hello").unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut sent = Vec::new();
            client.write_tls(&mut sent).unwrap();
            server.read_tls(&mut &sent[..]).unwrap();
            server.process_new_packets()?;
            let mut sent = Vec::new();
            server.write_tls(&mut sent).unwrap();
            client.read_tls(&mut &sent[..]).unwrap();
            client.process_new_packets()?;
        }
        let mut sent = Vec::new();
        client.write_tls(&mut sent).unwrap();
        server.read_tls(&mut &sent[..]).unwrap();
        server.process_new_packets()?;
        let mut said = [0; 5];
        server.reader().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello");
        assert_eq!(server.peer_certificates().unwrap()[0], *leaf);
        Ok(())
    }

    #[derive(Debug)]
    struct Keys;

    impl rustls::crypto::KeyProvider for Keys {
        fn load_private_key(
            &self,
            der: PrivateKeyDer<'static>,
        ) -> Result<Arc<dyn Key>, rustls::Error> {
            Ok(key(&der).expect("a key on P-521"))
        }
    }

    #[test]
    fn both_sides_may_have_such_keys() {
        for version in [&TLS12, &TLS13] {
            handshake(version).unwrap();
        }
    }

    /// A certificate and its issuer's, from OpenSSL, for each of the smaller curves.
    #[test]
    fn the_smaller_curves_come_with_sha_512_as_well() {
        let pem = include_bytes!("ecdsa-sha512.pem");
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.unwrap();
        assert_eq!(certificates.len(), 4);
        for pair in certificates.chunks(2) {
            let mut roots = RootCertStore::empty();
            roots.add(pair[1].clone()).unwrap();
            let roots = Arc::new(roots);
            let verified = |provider: CryptoProvider| {
                let (roots, provider) = (Arc::clone(&roots), Arc::new(provider));
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
                let name = ServerName::try_from("server.test").unwrap();
                let now = UnixTime::since_unix_epoch(Duration::from_secs(1_900_000_000));
                let verifier = verifier.build().unwrap();
                verifier
                    .verify_server_cert(&pair[0], &[], &name, &[], now)
                    .is_ok()
            };
            assert!(verified(provider()));
            assert!(!verified(ring::default_provider()));
        }
    }

    #[test]
    fn a_signature_of_something_else_is_invalid() {
        let der = PrivateKeyDer::from_pem_slice(PEM).unwrap();
        let private = SecretKey::from_pkcs8_der(der.secret_der()).unwrap();
        let public = SigningKey::from(private)
            .verifying_key()
            .to_sec1_point(false);
        let key = key(&der).unwrap();
        let signer = key.choose_scheme(&[SCHEME]).unwrap();
        let signature = signer.sign(b"this").unwrap();
        let verified = |message: &[u8], signature: &[u8]| {
            OWN[0].verify_signature(public.as_bytes(), message, signature)
        };
        assert!(verified(b"this", &signature).is_ok());
        assert!(verified(b"that", &signature).is_err());
        assert!(verified(b"this", &signature[1..]).is_err());
        assert!(
            OWN[1]
                .verify_signature(public.as_bytes(), b"this", &signature)
                .is_err()
        );
        assert!(
            key.choose_scheme(&[SignatureScheme::ECDSA_NISTP384_SHA384])
                .is_none()
        );
    }
}
