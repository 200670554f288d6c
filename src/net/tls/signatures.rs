//! The signatures that are verified: in certificates, and of handshakes.
//!
//! Beside rustls' own, those that blackbox_exporter verifies and that servers of companies still make: RSA by keys from 1024 bits on and, of
//! handshakes of TLS 1.2 only, with SHA-1. No certificate is good by SHA-1.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, RsaParameters, UnparsedPublicKey, VerificationAlgorithm};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use webpki::aws_lc_rs as webpki_algorithms;

use super::rsa::{self, Hash, Padding};

/// Those of certificates and of handshakes.
pub(super) static SUPPORTED: WebPkiSupportedAlgorithms =
    WebPkiSupportedAlgorithms { all: ALL, mapping: MAPPING.split_at(MAPPING.len() - 2).0 };

/// The same, and SHA-1 in handshakes of TLS 1.2, by which the servers may sign that are probed: as blackbox_exporter 0.28 takes it, though
/// RFC 9155 does not want it any more.
pub(super) static OF_SERVERS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms { all: ALL, mapping: MAPPING };

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

static ALL: &[Algorithm] = &[
    webpki_algorithms::ECDSA_P256_SHA256,
    webpki_algorithms::ECDSA_P256_SHA384,
    webpki_algorithms::ECDSA_P256_SHA512,
    webpki_algorithms::ECDSA_P384_SHA256,
    webpki_algorithms::ECDSA_P384_SHA384,
    webpki_algorithms::ECDSA_P384_SHA512,
    webpki_algorithms::ECDSA_P521_SHA256,
    webpki_algorithms::ECDSA_P521_SHA384,
    webpki_algorithms::ECDSA_P521_SHA512,
    webpki_algorithms::ED25519,
    RSA_PSS_SHA256,
    RSA_PSS_SHA384,
    RSA_PSS_SHA512,
    RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512,
    webpki_algorithms::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    webpki_algorithms::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    webpki_algorithms::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    webpki_algorithms::ML_DSA_44,
    webpki_algorithms::ML_DSA_65,
    webpki_algorithms::ML_DSA_87,
];

/// In the order in which Go offers them: a server that has several certificates chooses by it. Of one scheme, TLS 1.3 takes the first
/// algorithm only; before it, the curve is free.
static MAPPING: &[(SignatureScheme, &[Algorithm])] = &[
    (SignatureScheme::RSA_PSS_SHA256, &[RSA_PSS_SHA256]),
    (
        SignatureScheme::ECDSA_NISTP256_SHA256,
        &[
            webpki_algorithms::ECDSA_P256_SHA256,
            webpki_algorithms::ECDSA_P384_SHA256,
            webpki_algorithms::ECDSA_P521_SHA256,
        ],
    ),
    (SignatureScheme::ED25519, &[webpki_algorithms::ED25519]),
    (SignatureScheme::RSA_PSS_SHA384, &[RSA_PSS_SHA384]),
    (SignatureScheme::RSA_PSS_SHA512, &[RSA_PSS_SHA512]),
    (SignatureScheme::RSA_PKCS1_SHA256, &[RSA_PKCS1_SHA256]),
    (SignatureScheme::RSA_PKCS1_SHA384, &[RSA_PKCS1_SHA384]),
    (SignatureScheme::RSA_PKCS1_SHA512, &[RSA_PKCS1_SHA512]),
    (
        SignatureScheme::ECDSA_NISTP384_SHA384,
        &[
            webpki_algorithms::ECDSA_P384_SHA384,
            webpki_algorithms::ECDSA_P256_SHA384,
            webpki_algorithms::ECDSA_P521_SHA384,
        ],
    ),
    (
        SignatureScheme::ECDSA_NISTP521_SHA512,
        &[
            webpki_algorithms::ECDSA_P521_SHA512,
            webpki_algorithms::ECDSA_P384_SHA512,
            webpki_algorithms::ECDSA_P256_SHA512,
        ],
    ),
    (SignatureScheme::ML_DSA_44, &[webpki_algorithms::ML_DSA_44]),
    (SignatureScheme::ML_DSA_65, &[webpki_algorithms::ML_DSA_65]),
    (SignatureScheme::ML_DSA_87, &[webpki_algorithms::ML_DSA_87]),
    (SignatureScheme::RSA_PKCS1_SHA1, &[RSA_PKCS1_SHA1]),
    // aws-lc-rs has none for P-384.
    (SignatureScheme::ECDSA_SHA1_Legacy, &[ECDSA_P256_SHA1, ECDSA_P521_SHA1]),
];

const SHA256: Hash = Hash { algorithm: &digest::SHA256, oid: 1 };
const SHA384: Hash = Hash { algorithm: &digest::SHA384, oid: 2 };
const SHA512: Hash = Hash { algorithm: &digest::SHA512, oid: 3 };

static RSA_PSS_SHA256: Algorithm =
    &Rsa(alg_id::RSA_PSS_SHA256, Padding::Pss, SHA256, &signature::RSA_PSS_2048_8192_SHA256);
static RSA_PSS_SHA384: Algorithm =
    &Rsa(alg_id::RSA_PSS_SHA384, Padding::Pss, SHA384, &signature::RSA_PSS_2048_8192_SHA384);
static RSA_PSS_SHA512: Algorithm =
    &Rsa(alg_id::RSA_PSS_SHA512, Padding::Pss, SHA512, &signature::RSA_PSS_2048_8192_SHA512);
static RSA_PKCS1_SHA256: Algorithm =
    &Rsa(alg_id::RSA_PKCS1_SHA256, Padding::Pkcs1, SHA256, &signature::RSA_PKCS1_2048_8192_SHA256);
static RSA_PKCS1_SHA384: Algorithm =
    &Rsa(alg_id::RSA_PKCS1_SHA384, Padding::Pkcs1, SHA384, &signature::RSA_PKCS1_2048_8192_SHA384);
static RSA_PKCS1_SHA512: Algorithm =
    &Rsa(alg_id::RSA_PKCS1_SHA512, Padding::Pkcs1, SHA512, &signature::RSA_PKCS1_2048_8192_SHA512);

static RSA_PKCS1_SHA1: Algorithm =
    &Sha1(alg_id::RSA_ENCRYPTION, &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY);
static ECDSA_P256_SHA1: Algorithm = &Sha1(alg_id::ECDSA_P256, &signature::ECDSA_P256_SHA1_ASN1);
static ECDSA_P521_SHA1: Algorithm = &Sha1(alg_id::ECDSA_P521, &signature::ECDSA_P521_SHA1_ASN1);

/// RSA by keys from 1024 bits on: its name, what is verified of shorter keys, and who verifies those from 2048 bits on.
#[derive(Debug)]
struct Rsa(AlgorithmIdentifier, Padding, Hash, &'static RsaParameters);

impl SignatureVerificationAlgorithm for Rsa {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0
    }

    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let Self(_, padding, hash, long) = *self;
        let is_good = match RsaParameters::public_modulus_len(key) {
            Ok(..2048) => rsa::is_signed(padding, hash, key, message, signature),
            Ok(2048..) => UnparsedPublicKey::new(long, key).verify(message, signature).is_ok(),
            Err(_) => false,
        };
        if is_good { Ok(()) } else { Err(InvalidSignature) }
    }
}

/// SHA-1 in a handshake: of which keys, and who verifies it.
#[derive(Debug)]
struct Sha1(AlgorithmIdentifier, &'static dyn VerificationAlgorithm);

impl SignatureVerificationAlgorithm for Sha1 {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0
    }

    /// No certificate names it: it is none of those for certificates.
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(&[])
    }

    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.1, key).verify(message, signature).map_err(|_| InvalidSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rustls_verifies_is_verified_and_sha_1_is_in_no_certificate() {
        let rustls = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let ids = |algorithms: &[Algorithm]| {
            let mut ids: Vec<_> = algorithms
                .iter()
                .map(|algorithm| (algorithm.public_key_alg_id().to_vec(), algorithm.signature_alg_id().to_vec()))
                .collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(SUPPORTED.all), ids(rustls.all));
        assert_eq!(ids(OF_SERVERS.all), ids(rustls.all));
        for (scheme, algorithms) in rustls.mapping {
            let [strict, of_servers] = [SUPPORTED, OF_SERVERS].map(|ours| {
                let found = ours.mapping.iter().find(|(known, _)| known == scheme);
                let (_, known) = found.unwrap_or_else(|| panic!("{scheme:?} is missing"));
                (ids(known), known[0].public_key_alg_id())
            });
            assert_eq!(strict, (ids(algorithms), algorithms[0].public_key_alg_id()));
            assert_eq!(strict, of_servers);
        }
        assert_eq!(SUPPORTED.mapping.len(), rustls.mapping.len());
        let more = &OF_SERVERS.mapping[SUPPORTED.mapping.len()..];
        let more: Vec<_> = more.iter().map(|(scheme, _)| *scheme).collect();
        assert_eq!(more, [SignatureScheme::RSA_PKCS1_SHA1, SignatureScheme::ECDSA_SHA1_Legacy]);
    }
}
