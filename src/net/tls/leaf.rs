//! Certificates that Go and browsers take and webpki does not: those of servers that say that they are CAs, and those of X.509 before version 3.

use std::borrow::Cow;

use rustls::pki_types::{AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

/// A certificate as webpki takes it, whose signature is verified over what was signed.
#[derive(Debug)]
pub(super) struct Adapted {
    /// The certificate as it is shown.
    pub(super) der: CertificateDer<'static>,
    /// What was signed, and what webpki takes for that.
    signed: Vec<u8>,
    shown: Vec<u8>,
}

impl Adapted {
    /// Nothing where webpki takes it as it is.
    pub(super) fn of(der: &[u8], certificate: &X509Certificate<'_>) -> Option<Self> {
        match certificate.version() {
            X509Version::V3 => Self::humbled(der, certificate),
            _ => Self::renewed(der, certificate),
        }
    }

    /// Without the claim to be a CA, which `openssl req -x509 -CA` makes of servers.
    fn humbled(der: &[u8], certificate: &X509Certificate<'_>) -> Option<Self> {
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

    /// As version 3, of one without extensions, which `openssl x509 -req -CA` makes of clients.
    fn renewed(der: &[u8], certificate: &X509Certificate<'_>) -> Option<Self> {
        let signed = certificate.tbs_certificate.as_ref();
        let rest = der.get(offset(der, signed)? + signed.len()..)?;
        let content = match content(signed)? {
            // The version, where it is said; by default it is 1.
            [0xa0, 3, 2, 1, _, content @ ..] => content,
            content => content,
        };
        let shown = sequence(&[&[0xa0, 3, 2, 1, 2], content].concat());
        let der = sequence(&[&shown, rest].concat());
        Some(Self { der: der.into(), signed: signed.to_vec(), shown })
    }

    /// Algorithms that verify the signature of the certificate as it was signed.
    pub(super) fn algorithms(&self, algorithms: &[&'static dyn SignatureVerificationAlgorithm]) -> Vec<AsSigned<'_>> {
        algorithms.iter().map(|algorithm| AsSigned { algorithm: *algorithm, adapted: self }).collect()
    }
}

/// A certificate whose key webpki can read: for the signature of a handshake nothing else of it counts.
pub(super) fn readable<'a>(der: &'a CertificateDer<'a>) -> Cow<'a, CertificateDer<'a>> {
    let adapted = X509Certificate::from_der(der).ok().and_then(|(_, certificate)| Adapted::of(der, &certificate));
    adapted.map_or(Cow::Borrowed(der), |adapted| Cow::Owned(adapted.der))
}

/// What is in a SEQUENCE (X.690, section 8.1.3).
fn content(der: &[u8]) -> Option<&[u8]> {
    match der {
        [0x30, length, content @ ..] if *length < 0x80 => Some(content),
        [0x30, length, rest @ ..] => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    }
}

/// A SEQUENCE of it.
fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let head = match content.len() {
        short @ 0..0x80 => vec![0x30, short as u8],
        _ => [&[0x30, 0x80 | length.len() as u8], length].concat(),
    };
    [head.as_slice(), content].concat()
}

/// Where a part of some bytes begins.
fn offset(whole: &[u8], part: &[u8]) -> Option<usize> {
    part.as_ptr().addr().checked_sub(whole.as_ptr().addr()).filter(|offset| offset + part.len() <= whole.len())
}

/// An algorithm that verifies a certificate as it was signed.
#[derive(Debug)]
pub(super) struct AsSigned<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    adapted: &'a Adapted,
}

impl SignatureVerificationAlgorithm for AsSigned<'_> {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let Adapted { signed, shown, .. } = self.adapted;
        let message = if message == shown { signed } else { message };
        self.algorithm.verify_signature(key, message, signature)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_into_a_sequence_is_in_it(length in prop_oneof![0..300_usize, 65_530..65_545_usize]) {
            let bytes = vec![7; length];
            let sequence = sequence(&bytes);
            prop_assert_eq!(content(&sequence), Some(bytes.as_slice()));
        }
    }
}
