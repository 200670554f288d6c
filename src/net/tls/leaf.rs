//! Servers' certificates that say that they are CAs.

use rustls::pki_types::{AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm};
use x509_parser::certificate::X509Certificate;

/// The certificate of a server that is a CA, too, as `openssl req -x509 -CA` makes it. Go and browsers take it; webpki takes no CA for a
/// server. So webpki is shown the same certificate without that claim, and its signature is verified over what was signed.
#[derive(Debug)]
pub(super) struct Humbled {
    /// The certificate without the claim.
    pub(super) der: CertificateDer<'static>,
    /// What was signed, and what webpki takes for that.
    signed: Vec<u8>,
    shown: Vec<u8>,
}

impl Humbled {
    /// Nothing where it says no such thing.
    pub(super) fn of(der: &[u8], certificate: &X509Certificate<'_>) -> Option<Self> {
        let constraints = certificate.basic_constraints().ok().flatten()?;
        let extension =
            certificate.extensions().iter().find(|extension| extension.oid.to_id_string() == "2.5.29.19")?;
        // SEQUENCE { cA BOOLEAN TRUE, …
        let [0x30, _, 0x01, 0x01, 0xff, ..] = extension.value else { return None };
        let signed = certificate.tbs_certificate.as_ref();
        let (claim, start) = (offset(der, extension.value)? + 4, offset(der, signed)?);
        let mut humbled = der.to_vec();
        *humbled.get_mut(claim).filter(|_| constraints.value.ca)? = 0;
        let shown = humbled.get(start..start + signed.len())?.to_vec();
        Some(Self { der: humbled.into(), signed: signed.to_vec(), shown })
    }

    /// Algorithms that verify the signature of the certificate as it was signed.
    pub(super) fn algorithms(&self, algorithms: &[&'static dyn SignatureVerificationAlgorithm]) -> Vec<AsSigned<'_>> {
        algorithms.iter().map(|algorithm| AsSigned { algorithm: *algorithm, humbled: self }).collect()
    }
}

/// Where a part of some bytes begins.
fn offset(whole: &[u8], part: &[u8]) -> Option<usize> {
    part.as_ptr().addr().checked_sub(whole.as_ptr().addr()).filter(|offset| offset + part.len() <= whole.len())
}

/// An algorithm that verifies a certificate as it was signed.
#[derive(Debug)]
pub(super) struct AsSigned<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    humbled: &'a Humbled,
}

impl SignatureVerificationAlgorithm for AsSigned<'_> {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let Humbled { signed, shown, .. } = self.humbled;
        let message = if message == shown { signed } else { message };
        self.algorithm.verify_signature(key, message, signature)
    }
}
