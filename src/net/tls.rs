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

/// The `tls_config` of a module, its files read.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// The name to ask for and to check, instead of the target's.
    pub server_name: Option<String>,
    /// The lowest version to speak.
    pub min_version: Option<Version>,
    /// The highest version to speak.
    pub max_version: Option<Version>,
    /// Certificates to trust instead of the system's, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its chain, in PEM.
    pub cert: Option<Vec<u8>>,
    /// Its private key, in PEM.
    pub key: Option<Vec<u8>>,
    /// The application protocols to offer, the preferred first.
    pub alpn: Vec<Vec<u8>>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `TLS10`; it can be named, but is not spoken.
    Tls10,
    /// `TLS11`; it can be named, but is not spoken.
    Tls11,
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

impl Tls {
    /// Builds the configuration.
    ///
    /// # Errors
    /// One sentence that begins with the key of `tls_config` that is wrong.
    pub fn new(options: TlsOptions) -> Result<Self, String> {
        let max = options.max_version.unwrap_or(Version::Tls13);
        if max < Version::Tls12 {
            return Err("max_version: TLS 1.2 is the lowest version that this program speaks".into());
        }
        if options.min_version.is_some_and(|min| min > max) {
            return Err("max_version: it is lower than min_version".into());
        }
        match (&options.cert, &options.key) {
            (Some(_), None) => return Err("key: a client certificate needs its key".into()),
            (None, Some(_)) => return Err("cert: a client key needs its certificate".into()),
            _ => {}
        }
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
