//! TLS as a server, for those who scrape us.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoClientAuth, NoServerSessionStorage, ServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    SupportedCipherSuite,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::group::SECP521R1;
use super::hostname::address;
use super::leaf::readable;
use super::provider::PROVIDER;
use super::roots::Roots;
use super::{TlsProblem, TlsProblems, Version, identity, versions};

/// The `tls_server_config` of a web configuration, its files read.
#[derive(Debug, Clone)]
pub struct ServerTlsOptions {
    /// The server's certificate and its chain, in PEM.
    pub cert: Option<Vec<u8>>,
    /// Its private key, in PEM.
    pub key: Option<Vec<u8>>,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Who may sign the certificates of clients, in PEM; the system's CAs where nobody is named.
    pub client_ca: Option<Vec<u8>>,
    /// The names of which a client's certificate must have one.
    pub client_allowed_sans: Option<Vec<String>>,
    /// The lowest version to speak.
    pub min_version: Version,
    /// The highest version to speak.
    pub max_version: Version,
    /// The suites of TLS 1.2, the preferred first; all where there are none. Those of TLS 1.3 are not chosen, as in Go.
    pub cipher_suites: Vec<Suite>,
    /// Whether the server's order of suites counts, and not the client's.
    pub prefer_server_cipher_suites: bool,
    /// The groups of the key exchange, the preferred first; all where there are none.
    pub curve_preferences: Vec<Group>,
    /// Whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
}

/// What is asked of clients, by Go's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    NoClientCert,
    /// A certificate, any or none.
    RequestClientCert,
    /// A certificate, any.
    RequireAnyClientCert,
    /// A certificate that is verified, or none.
    VerifyClientCertIfGiven,
    /// A certificate that is verified.
    RequireAndVerifyClientCert,
}

/// A cipher suite that is spoken.
#[derive(Debug, Clone, Copy)]
pub struct Suite(SupportedCipherSuite);

impl Suite {
    /// Those that are spoken, by their IANA names.
    pub const ALL: [(&'static str, Self); 9] = [
        ("TLS_AES_128_GCM_SHA256", Self(cipher_suite::TLS13_AES_128_GCM_SHA256)),
        ("TLS_AES_256_GCM_SHA384", Self(cipher_suite::TLS13_AES_256_GCM_SHA384)),
        ("TLS_CHACHA20_POLY1305_SHA256", Self(cipher_suite::TLS13_CHACHA20_POLY1305_SHA256)),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Self(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Self(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)),
        (
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Self(cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Self(cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)),
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Self(cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)),
        (
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            Self(cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
    ];
}

/// A group of the key exchange that is spoken.
#[derive(Debug, Clone, Copy)]
pub struct Group(&'static dyn SupportedKxGroup);

impl Group {
    /// Those that can be chosen, by Go's names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("CurveP256", Self(kx_group::SECP256R1)),
        ("CurveP384", Self(kx_group::SECP384R1)),
        ("CurveP521", Self(SECP521R1)),
        ("X25519", Self(kx_group::X25519)),
    ];
}

/// Builds the configuration of a server.
///
/// # Errors
/// Everything that is wrong with the options.
pub fn server(options: ServerTlsOptions) -> Result<Arc<ServerConfig>, TlsProblems> {
    let ServerTlsOptions {
        cert,
        key,
        client_auth,
        client_ca,
        client_allowed_sans,
        min_version,
        max_version,
        cipher_suites,
        prefer_server_cipher_suites,
        curve_preferences,
        http2,
    } = options;
    let mut problems = Vec::new();
    let mut noted = |problem| problems.push(problem);
    let versions = versions(Some(min_version), Some(max_version)).map_err(&mut noted).unwrap_or_default();
    let identity = match identity(cert, key) {
        Ok(Some(identity)) => Some(identity),
        Ok(None) => {
            noted(TlsProblem { option: "cert", message: "is missing, and TLS needs it".into() });
            None
        }
        Err(problems) => {
            problems.into_iter().for_each(&mut noted);
            None
        }
    };
    let verifier = ClientVerifier::new(client_auth, client_ca, client_allowed_sans).map_err(&mut noted).ok();
    let (true, Some(identity), Some(verifier)) = (problems.is_empty(), identity, verifier) else {
        return Err(TlsProblems(problems));
    };
    let provider = Arc::new(chosen(&cipher_suites, &curve_preferences));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| TlsProblems(vec![TlsProblem { option: "cipher_suites", message: error.to_string() }]))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_client_cert_verifier(Arc::new(NoClientAuth)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
    config.ignore_client_order = prefer_server_cipher_suites;
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    if client_auth != ClientAuth::NoClientCert {
        // In a resumed session nobody looks at the client's certificate, which may have ended.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// The cryptography with the suites and groups that were chosen.
fn chosen(suites: &[Suite], groups: &[Group]) -> CryptoProvider {
    let mut provider = CryptoProvider::clone(&PROVIDER);
    if !suites.is_empty() {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        let tls12 = suites.iter().map(|Suite(suite)| *suite).filter(|suite| suite.tls13().is_none());
        provider.cipher_suites.extend(tls12);
    }
    if !groups.is_empty() {
        provider.kx_groups = groups.iter().map(|Group(group)| *group).collect();
    }
    provider
}

/// Looks at the certificates of clients.
#[derive(Debug)]
struct ClientVerifier {
    /// Whom a chain must lead to; nothing where any certificate will do.
    roots: Option<Arc<Roots>>,
    mandatory: bool,
    allowed_sans: Option<Vec<String>>,
    hints: Vec<DistinguishedName>,
}

impl ClientVerifier {
    /// Nothing where clients are asked for nothing.
    fn new(
        auth: ClientAuth,
        ca: Option<Vec<u8>>,
        allowed_sans: Option<Vec<String>>,
    ) -> Result<Option<Self>, TlsProblem> {
        let named = ca.map(|pem| Roots::of_pem(&pem)).transpose();
        let named = named.map_err(|message| TlsProblem { option: "client_ca", message })?;
        let (verified, required) = match auth {
            ClientAuth::NoClientCert => return Ok(None),
            ClientAuth::RequestClientCert => (false, false),
            ClientAuth::RequireAnyClientCert => (false, true),
            ClientAuth::VerifyClientCertIfGiven => (true, false),
            ClientAuth::RequireAndVerifyClientCert => (true, true),
        };
        Ok(Some(Self {
            hints: named.as_ref().map(|roots| roots.subjects()).unwrap_or_default(),
            roots: verified.then(|| named.unwrap_or_else(Roots::system)),
            // Who shows nothing has none of the names.
            mandatory: required || allowed_sans.is_some(),
            allowed_sans,
        }))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
            let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
            roots.verify_chain(&chain, webpki::KeyUsage::client_auth(), now).map_err(fault)?;
        }
        if let Some(allowed) = &self.allowed_sans {
            let names = subject_alternative_names(end_entity);
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, &readable(certificate), signed, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, &readable(certificate), signed, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate, in the words that make the right alert.
fn fault(error: webpki::Error) -> Error {
    Error::InvalidCertificate(match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::BadDer => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

/// The DNS names, e-mail addresses, IP addresses and URIs of a certificate, as Go writes them.
fn subject_alternative_names(der: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let written = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(written).collect()
}
