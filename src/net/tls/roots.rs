//! Whom we trust, and until when: by webpki, and by what Go verifies beside that.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use aws_lc_rs::digest;
use rustls::DistinguishedName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, VerifiedPath};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::grants::{Grants, unix_time};
use super::leaf::{Adapted, readable};
use super::{hostname, signatures};

/// Certificates that we trust.
#[derive(Debug)]
pub(super) struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// The certificate of each anchor, and what it grants.
    certificates: Vec<(CertificateDer<'static>, Grants)>,
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

/// Those of PEM files that are in use, by their SHA-256.
static KNOWN: LazyLock<Mutex<HashMap<Vec<u8>, Weak<Roots>>>> = LazyLock::new(Mutex::default);

impl Roots {
    /// The system's.
    pub(super) fn system() -> Arc<Self> {
        SYSTEM.clone()
    }

    /// Those of a PEM file: the same for all who have it, since many modules name the same large one.
    pub(super) fn of_pem(pem: &[u8]) -> Result<Arc<Self>, String> {
        let key = digest::digest(&digest::SHA256, pem).as_ref().to_vec();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(roots);
        }
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let roots = Self::of_certificates(certificates.map_err(|error| format!("is not PEM: {error}"))?);
        if roots.anchors.is_empty() {
            return Err("holds no certificate".into());
        }
        let roots = Arc::new(roots);
        known.retain(|_, roots| roots.strong_count() > 0);
        known.insert(key, Arc::downgrade(&roots));
        Ok(roots)
    }

    fn of_certificates(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = Self { anchors: Vec::new(), certificates: Vec::new() };
        for certificate in certificates {
            let anchor = webpki::anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned());
            // One that cannot be read is one that nobody chains to.
            if let (Ok(anchor), Some(grants)) = (anchor, Grants::of_der(&certificate)) {
                roots.anchors.push(anchor);
                roots.certificates.push((certificate, grants));
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
        let expiry = self.verify_chain(chain, KeyUsage::server_auth(), now)?;
        hostname::check(&read(chain.first().ok_or(webpki::Error::UnknownIssuer)?)?, name)?;
        Ok(expiry)
    }

    /// Verifies a chain, the peer's own certificate first; says when the first of its certificates ends, the root's included.
    ///
    /// As in Go, a certificate that is itself among the roots is good without a signature, where its time and its purpose are right: a
    /// self-signed certificate in `ca_file`.
    pub(super) fn verify_chain(
        &self,
        chain: &[CertificateDer<'_>],
        purpose: KeyUsage,
        now: SystemTime,
    ) -> Result<SystemTime, webpki::Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(webpki::Error::UnknownIssuer)?;
        let certificate = read(leaf)?;
        let grants = Grants::of(&certificate);
        if self.certificates.iter().any(|(trusted, _)| trusted == leaf) {
            EndEntityCert::try_from(&*readable(leaf))?;
            grants.at(now)?;
            grants.serves(purpose)?;
            return Ok(grants.not_after);
        }
        let algorithms = signatures::SUPPORTED.all;
        match Adapted::of(leaf, &certificate) {
            None => self.path_expiry(leaf, &grants, intermediates, algorithms, purpose, now),
            Some(adapted) => {
                let as_signed = adapted.algorithms(algorithms);
                let as_signed: Vec<_> =
                    as_signed.iter().map(|one| one as &dyn SignatureVerificationAlgorithm).collect();
                self.path_expiry(&adapted.der, &grants, intermediates, &as_signed, purpose, now)
            }
        }
    }

    /// When the first certificate of a path ends that leads from a certificate to a root.
    fn path_expiry(
        &self,
        leaf: &CertificateDer<'_>,
        grants: &Grants,
        intermediates: &[CertificateDer<'_>],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        purpose: KeyUsage,
        now: SystemTime,
    ) -> Result<SystemTime, webpki::Error> {
        let expiry = Cell::new(grants.not_after);
        let check = |path: &VerifiedPath<'_>| {
            grants.serves(purpose)?;
            let mut end = grants.not_after;
            let mut between = 0;
            for issuer in path.intermediate_certificates() {
                let issuer = Grants::of_der(&issuer.der()).ok_or(webpki::Error::BadDer)?;
                issuer.signs()?;
                issuer.serves(purpose)?;
                end = end.min(issuer.not_after);
                between += 1;
            }
            let root = self.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
            let (_, root) = root.map(|root| &self.certificates[root]).ok_or(webpki::Error::UnknownIssuer)?;
            root.leads(between, now, purpose)?;
            expiry.set(end.min(root.not_after));
            Ok(())
        };
        let (time, roots) = (unix_time(now), &self.anchors);
        EndEntityCert::try_from(leaf)?.verify_for_usage(
            algorithms,
            roots,
            intermediates,
            time,
            EveryPurpose,
            None,
            Some(&check),
        )?;
        Ok(expiry.get())
    }

    /// The names of those who are trusted.
    pub(super) fn subjects(&self) -> Vec<DistinguishedName> {
        self.anchors.iter().map(|anchor| DistinguishedName::in_sequence(&anchor.subject)).collect()
    }
}

/// The purpose of certificates is asked when a path is there, for that of its root counts, too, and webpki does not know it.
struct EveryPurpose;

impl ExtendedKeyUsageValidator for EveryPurpose {
    fn validate(&self, _purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn read<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, webpki::Error> {
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|_| webpki::Error::BadDer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
        Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
    };

    use super::*;

    /// A certificate and its key.
    struct Made {
        der: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    /// From 2000 to 2100, for a server of a name.
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.test".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2100, 1, 1));
        params.is_ca = IsCa::ExplicitNoCa;
        params
    }

    /// The same for a CA.
    fn ca(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn sign(params: CertificateParams, by: Option<&Made>) -> Made {
        let key = KeyPair::generate().unwrap();
        let certificate = match by {
            Some(made) => params.signed_by(&key, &made.issuer),
            None => params.self_signed(&key),
        };
        Made { der: certificate.unwrap().der().clone(), issuer: Issuer::new(params, key) }
    }

    /// What a server is that shows `chain`, where `root` is trusted.
    fn verified(root: &Made, chain: &[&Made]) -> Result<SystemTime, webpki::Error> {
        let chain: Vec<_> = chain.iter().map(|made| made.der.clone()).collect();
        let roots = Roots::of_certificates(vec![root.der.clone()]);
        roots.verify(&chain, &"a.test".try_into().unwrap(), SystemTime::now())
    }

    fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
        change(&mut value);
        value
    }

    fn year(year: u64) -> SystemTime {
        // 2001 and 2100 begin so many days after 1970.
        let days = [(2001, 11_323), (2050, 29_220), (2100, 47_482)].iter().find(|(of, _)| *of == year).unwrap().1;
        SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400)
    }

    /// An extension that nobody knows, and that may not be passed over.
    fn strange() -> CustomExtension {
        with(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]), |extension| extension.set_criticality(true))
    }

    #[test]
    fn a_path_ends_with_the_first_of_its_certificates() {
        let early = |mut params: CertificateParams| {
            params.not_after = date_time_ymd(2050, 1, 1);
            params
        };
        for which in 0..4 {
            let or_early = |at, params| if at == which { early(params) } else { params };
            let root = sign(or_early(0, ca("root")), None);
            let between = sign(or_early(1, ca("between")), Some(&root));
            let leaf = sign(or_early(2, params("leaf")), Some(&between));
            assert_eq!(verified(&root, &[&leaf, &between]), Ok(year(if which < 3 { 2050 } else { 2100 })));
        }
    }

    #[test]
    fn a_root_is_good_for_what_it_says_and_as_long() {
        let under = |root: CertificateParams| {
            let root = sign(root, None);
            verified(&root, &[&sign(params("leaf"), Some(&root))]).err()
        };
        assert_eq!(under(ca("root")), None);
        let ended = under(with(ca("root"), |root| root.not_after = date_time_ymd(2001, 1, 1)));
        assert!(
            matches!(ended, Some(webpki::Error::CertExpired { not_after, .. }) if not_after == unix_time(year(2001)))
        );
        let begins = under(with(ca("root"), |root| root.not_before = date_time_ymd(2100, 1, 1)));
        assert!(matches!(begins, Some(webpki::Error::CertNotValidYet { .. })));
        // Trusted servers issue nothing: neither one that says so, nor one that says nothing.
        assert_eq!(under(params("root")), Some(webpki::Error::EndEntityUsedAsCa));
        let silent = with(params("root"), |root| root.is_ca = IsCa::NoCa);
        assert_eq!(under(silent), Some(webpki::Error::EndEntityUsedAsCa));
        let signs_crls = with(ca("root"), |root| root.key_usages = vec![KeyUsagePurpose::CrlSign]);
        assert_eq!(under(signs_crls), Some(webpki::Error::EndEntityUsedAsCa));
        let signs_all =
            with(ca("root"), |root| root.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign]);
        assert_eq!(under(signs_all), None);
        let odd = with(ca("root"), |root| root.custom_extensions = vec![strange()]);
        assert_eq!(under(odd), Some(webpki::Error::UnsupportedCriticalExtension));
        for (name, expected) in [("test", None), ("example", Some(webpki::Error::NameConstraintViolation))] {
            let permitted_subtrees = vec![GeneralSubtree::DnsName(name.into())];
            let constraints = NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() };
            assert_eq!(under(with(ca("root"), |root| root.name_constraints = Some(constraints))), expected);
        }
    }

    #[test]
    fn no_more_cas_stand_in_a_path_than_one_of_them_allows() {
        let limited =
            |name: &str, length| with(ca(name), |ca| ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(length)));
        for (of_root, of_between, expected) in [
            (limited("root", 0), None, Some(webpki::Error::PathLenConstraintViolated)),
            (limited("root", 1), None, None),
            (ca("root"), Some(0), None),
        ] {
            let root = sign(of_root, None);
            let between = of_between.map_or_else(|| ca("between"), |length| limited("between", length));
            let between = sign(between, Some(&root));
            assert_eq!(verified(&root, &[&sign(params("leaf"), Some(&between)), &between]).err(), expected);
            // A server that is a CA is none of them.
            let leaf = sign(ca("leaf"), Some(&between));
            assert_eq!(verified(&root, &[&leaf, &between]).err(), expected);
        }
        let root = sign(ca("root"), None);
        let upper = sign(limited("upper", 0), Some(&root));
        let lower = sign(ca("lower"), Some(&upper));
        let leaf = sign(params("leaf"), Some(&lower));
        assert_eq!(verified(&root, &[&leaf, &lower, &upper]), Err(webpki::Error::PathLenConstraintViolated));
    }

    #[test]
    fn a_ca_between_may_sign() {
        let root = sign(ca("root"), None);
        for (usages, expected) in [
            (vec![KeyUsagePurpose::DigitalSignature], Some(webpki::Error::EndEntityUsedAsCa)),
            (vec![KeyUsagePurpose::KeyCertSign], None),
        ] {
            let between = sign(with(ca("between"), |ca| ca.key_usages = usages), Some(&root));
            let leaf = sign(params("leaf"), Some(&between));
            assert_eq!(verified(&root, &[&leaf, &between]).err(), expected);
        }
        let between = sign(params("between"), Some(&root));
        let leaf = sign(params("leaf"), Some(&between));
        assert_eq!(verified(&root, &[&leaf, &between]), Err(webpki::Error::EndEntityUsedAsCa));
    }

    #[test]
    fn every_certificate_of_a_path_serves_its_purpose() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, Other, ServerAuth};

        for (purposes, is_good) in [
            (vec![ServerAuth], true),
            (vec![ClientAuth, ServerAuth], true),
            (vec![Any], true),
            (vec![ClientAuth, Any], true),
            (vec![ClientAuth], false),
            (vec![CodeSigning, Other(vec![1, 2, 3])], false),
        ] {
            for which in 0..4 {
                let meant = |at, params| {
                    with(params, |params: &mut CertificateParams| {
                        if at == which {
                            params.extended_key_usages.clone_from(&purposes);
                        }
                    })
                };
                let root = sign(meant(0, ca("root")), None);
                let between = sign(meant(1, ca("between")), Some(&root));
                let leaf = sign(meant(2, params("leaf")), Some(&between));
                let result = match which {
                    // One that is trusted itself.
                    3 => {
                        let leaf = sign(meant(3, params("leaf")), None);
                        verified(&leaf, &[&leaf])
                    }
                    _ => verified(&root, &[&leaf, &between]),
                };
                let refused = matches!(result, Err(webpki::Error::RequiredEkuNotFoundContext(_)));
                assert_eq!((result.is_ok(), refused), (is_good, !is_good), "{purposes:?} of {which}: {result:?}");
            }
        }
    }

    #[test]
    fn what_a_certificate_may_be_used_for_is_told() {
        let root = sign(ca("root"), None);
        let purposes = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Other(vec![1, 2, 300])];
        let leaf = sign(with(params("leaf"), |leaf| leaf.extended_key_usages = purposes), Some(&root));
        let Err(webpki::Error::RequiredEkuNotFoundContext(context)) = verified(&root, &[&leaf]) else { panic!() };
        assert_eq!(context.present, [vec![1, 3, 6, 1, 5, 5, 7, 3, 2], vec![1, 2, 300]]);
        assert_eq!(context.required, KeyUsage::server_auth());
    }

    #[test]
    fn a_server_that_says_it_is_a_ca_is_verified_as_any_other() {
        let root = sign(ca("root"), None);
        let leaf = sign(ca("leaf"), Some(&root));
        assert_eq!(verified(&root, &[&leaf]), Ok(year(2100)));
        // It needs the signature of its issuer.
        let other = sign(ca("root"), None);
        assert_eq!(verified(&other, &[&leaf]), Err(webpki::Error::InvalidSignatureForPublicKey));
        assert_eq!(verified(&sign(ca("another"), None), &[&leaf]), Err(webpki::Error::UnknownIssuer));
        assert_eq!(verified(&other, &[&sign(ca("leaf"), None)]), Err(webpki::Error::UnknownIssuer));
        let ended = sign(with(ca("leaf"), |leaf| leaf.not_after = date_time_ymd(2001, 1, 1)), Some(&root));
        assert!(matches!(verified(&root, &[&ended]), Err(webpki::Error::CertExpired { .. })));
        let odd = sign(with(ca("leaf"), |leaf| leaf.custom_extensions = vec![strange()]), Some(&root));
        assert_eq!(verified(&root, &[&odd]), Err(webpki::Error::UnsupportedCriticalExtension));
    }

    #[test]
    fn nothing_of_a_signed_certificate_may_be_changed() {
        let root = sign(ca("root"), None);
        for params in [params("leaf"), ca("leaf")] {
            let mut leaf = sign(params, Some(&root));
            let good = leaf.der.to_vec();
            assert!(verified(&root, &[&leaf]).is_ok());
            for byte in 0..good.len() {
                for bit in [0x01, 0x80, 0xff] {
                    let mut changed = good.clone();
                    changed[byte] ^= bit;
                    leaf.der = changed.into();
                    assert!(verified(&root, &[&leaf]).is_err(), "byte {byte} ^ {bit:#x}");
                }
            }
        }
    }

    #[test]
    fn one_that_is_trusted_itself_needs_no_issuer() {
        let root = sign(ca("root"), None);
        for leaf in [sign(params("leaf"), None), sign(ca("leaf"), None), sign(params("leaf"), Some(&root))] {
            assert_eq!(verified(&leaf, &[&leaf]), Ok(year(2100)));
        }
        let ended = sign(with(params("leaf"), |leaf| leaf.not_after = date_time_ymd(2001, 1, 1)), None);
        assert!(matches!(verified(&ended, &[&ended]), Err(webpki::Error::CertExpired { .. })));
        let odd = sign(with(params("leaf"), |leaf| leaf.custom_extensions = vec![strange()]), None);
        assert_eq!(verified(&odd, &[&odd]), Err(webpki::Error::UnsupportedCriticalExtension));
        assert_eq!(verified(&root, &[]), Err(webpki::Error::UnknownIssuer));
    }

    #[test]
    fn a_file_is_kept_once_for_all_who_name_it_and_for_as_long_as_one_does() {
        let pem = |name| ca(name).self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        let (one, other) = (pem("one"), pem("other"));
        let first = Roots::of_pem(one.as_bytes()).unwrap();
        assert!(Arc::ptr_eq(&first, &Roots::of_pem(one.as_bytes()).unwrap()));
        assert!(!Arc::ptr_eq(&first, &Roots::of_pem(other.as_bytes()).unwrap()));
        let digest = digest::digest(&digest::SHA256, one.as_bytes());
        drop(first);
        let kept = KNOWN.lock().unwrap().get(digest.as_ref()).is_some_and(|roots| roots.strong_count() > 0);
        assert!(!kept, "nobody names it any more");
        assert!(Roots::of_pem(b"none").is_err());
    }
}
