//! Whom we trust, and until when.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use rustls::DistinguishedName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};

use super::certificate::validity;
use super::provider::PROVIDER;

/// Certificates that we trust.
#[derive(Debug)]
pub(super) struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// The end of each anchor's time, which an anchor does not tell.
    expiries: Vec<SystemTime>,
    certificates: Vec<CertificateDer<'static>>,
}

/// The system's, read once.
static SYSTEM: LazyLock<Arc<Roots>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of the system's trust store could not be read");
    }
    if found.certs.is_empty() {
        tracing::warn!("the system trusts no certificate: install ca-certificates, or set ca_file");
    }
    Arc::new(Roots::of_certificates(found.certs))
});

impl Roots {
    /// The system's.
    pub(super) fn system() -> Arc<Self> {
        SYSTEM.clone()
    }

    /// Those of a PEM file.
    pub(super) fn of_pem(pem: &[u8]) -> Result<Arc<Self>, String> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let roots = Self::of_certificates(certificates.map_err(|error| format!("is not PEM: {error}"))?);
        if roots.anchors.is_empty() {
            return Err("holds no certificate".into());
        }
        Ok(Arc::new(roots))
    }

    fn of_certificates(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = Self { anchors: Vec::new(), expiries: Vec::new(), certificates: Vec::new() };
        for certificate in certificates {
            let anchor = webpki::anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned());
            // One that cannot be read is one that nobody chains to.
            if let (Ok(anchor), Some((_, not_after))) = (anchor, validity(&certificate)) {
                roots.anchors.push(anchor);
                roots.expiries.push(not_after);
                roots.certificates.push(certificate);
            }
        }
        roots
    }

    /// Verifies the chain of a server, its own certificate first, and its name; says when the first of its certificates ends, the root's
    /// included.
    pub(super) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: SystemTime,
    ) -> Result<SystemTime, webpki::Error> {
        let expiry = self.verify_chain(chain, webpki::KeyUsage::server_auth(), now)?;
        let leaf = chain.first().ok_or(webpki::Error::UnknownIssuer)?;
        webpki::EndEntityCert::try_from(leaf)?.verify_is_valid_for_subject_name(name)?;
        Ok(expiry)
    }

    /// Verifies a chain, the peer's own certificate first; says when the first of its certificates ends, the root's included.
    ///
    /// As in Go, a certificate that is itself among the roots is good without a signature, where its time is right: a self-signed
    /// certificate in `ca_file`.
    pub(super) fn verify_chain(
        &self,
        chain: &[CertificateDer<'_>],
        usage: webpki::KeyUsage,
        now: SystemTime,
    ) -> Result<SystemTime, webpki::Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(webpki::Error::UnknownIssuer)?;
        let end_entity = webpki::EndEntityCert::try_from(leaf)?;
        let (not_before, not_after) = validity(leaf).ok_or(webpki::Error::BadDer)?;
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let path = end_entity.verify_for_usage(
            PROVIDER.signature_verification_algorithms.all,
            &self.anchors,
            intermediates,
            UnixTime::since_unix_epoch(since_epoch),
            usage,
            None,
            None,
        );
        let trusted_itself = || (not_before..=not_after).contains(&now) && self.certificates.contains(leaf);
        match path {
            Ok(path) => {
                let root = self.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
                let intermediates = path.intermediate_certificates().filter_map(|cert| validity(&cert.der()));
                let ends = intermediates.map(|(_, not_after)| not_after).chain(root.map(|root| self.expiries[root]));
                Ok(ends.fold(not_after, SystemTime::min))
            }
            Err(_) if trusted_itself() => Ok(not_after),
            Err(error) => Err(error),
        }
    }

    /// The names of those who are trusted.
    pub(super) fn subjects(&self) -> Vec<DistinguishedName> {
        self.anchors.iter().map(|anchor| DistinguishedName::in_sequence(&anchor.subject)).collect()
    }
}
