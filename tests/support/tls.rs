//! Certificates for servers and clients, made by an authority of the test.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};

/// A certificate and its key, in PEM.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pair {
    /// Writes `NAME.pem` and `NAME.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.cert).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }
}

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self::of(params)
    }

    /// One whose certificate is as `params` say.
    pub(crate) fn of(params: CertificateParams) -> Self {
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its private key.
    pub(crate) fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// The certificate of a server on loopback.
    pub(crate) fn server(&self, name: &str) -> Pair {
        let names = [SanType::DnsName("localhost".try_into().unwrap()), SanType::IpAddress([127, 0, 0, 1].into())];
        self.sign(name, names.to_vec(), ExtendedKeyUsagePurpose::ServerAuth, 2100)
    }

    /// The certificate of a client with some names.
    pub(crate) fn client(&self, name: &str, sans: Vec<SanType>) -> Pair {
        self.sign(name, sans, ExtendedKeyUsagePurpose::ClientAuth, 2100)
    }

    /// The certificate of a client that has ended.
    pub(crate) fn expired_client(&self, name: &str) -> Pair {
        self.sign(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth, 2001)
    }

    /// A certificate with some names, from 2000 to the beginning of a year.
    pub(crate) fn sign(&self, name: &str, sans: Vec<SanType>, usage: ExtendedKeyUsagePurpose, until: i32) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = sans;
        params.extended_key_usages = vec![usage];
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        self.issue(&params, &KeyPair::generate().unwrap())
    }

    /// The certificate that `params` say, of a key.
    pub(crate) fn issue(&self, params: &CertificateParams, key: &KeyPair) -> Pair {
        let cert = params.signed_by(key, &self.0).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}
