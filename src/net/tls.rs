//! TLS as a client: configurations made once per module, and what a handshake tells.

use std::sync::Arc;
use std::time::SystemTime;

/// TLS settings of a module, ready for use: the certificate pool is read and the configurations are built.
#[derive(Debug)]
pub struct Tls {
    /// The name to ask for and to check, instead of the target's.
    pub server_name: Option<String>,
    /// The configuration without ALPN, or with what the prober offers.
    pub config: Arc<rustls::ClientConfig>,
}

/// What a module says of TLS.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// Whether the peer's certificate is taken as it is.
    pub insecure_skip_verify: bool,
    /// The name to ask for and to check, instead of the target's.
    pub server_name: Option<String>,
    /// The lowest version that is offered.
    pub min_version: Option<TlsVersion>,
    /// The highest version that is offered.
    pub max_version: Option<TlsVersion>,
    /// The certificates to trust instead of the system's, as PEM.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate and its key, as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The application protocols to offer.
    pub alpn: Vec<Vec<u8>>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

impl Tls {
    /// TLS as the options want it.
    ///
    /// # Errors
    /// What is wrong with them, in one sentence.
    pub fn new(options: TlsOptions) -> Result<Self, String> {
        let mut config = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = options.alpn;
        Ok(Self { server_name: options.server_name, config: Arc::new(config) })
    }
}

/// What a TLS handshake told, also when its certificate is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// As Go prints it: `TLS 1.2`, `TLS 1.3`.
    pub version: &'static str,
    /// The IANA name of the cipher suite.
    pub cipher: String,
    /// The application protocol agreed on.
    pub alpn: Option<String>,
    /// The certificates as the server sent them, its own first.
    pub chain: Vec<Certificate>,
    /// The earliest end of the chain that was verified, its root included; nothing where verification failed or was off.
    pub chain_expiry: Option<SystemTime>,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of the DER, in hexadecimal.
    pub fingerprint_sha256: String,
    /// Distinguished name, in Go's `pkix.Name.String()` form.
    pub subject: String,
    /// Distinguished name of the issuer, likewise.
    pub issuer: String,
    /// DNS names of the subject alternative names, joined by commas.
    pub subject_alternative: String,
    /// Serial number, in lower-case hexadecimal.
    pub serial_number: String,
    /// Start of its time.
    pub not_before: SystemTime,
    /// End of its time.
    pub not_after: SystemTime,
}
