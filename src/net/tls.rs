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
